'use strict';
/* The page of a study: sorts and filters the table, draws one mark a pair, and opens the page of a subject. */
(() => {
  const { pairs, numbers } = JSON.parse(document.getElementById('data').textContent);
  const SVG = 'http://www.w3.org/2000/svg';
  const RANK = { FAIL: 0, '': 1, CHECK: 2, PASS: 3 };
  const SIDE = 20;          // px left and right of the axis
  const TOP = 34;           // px for the names of outliers
  const SWARM = 96;         // px for the marks
  const BOX = 16;           // px for quartiles and fences
  const MOST_NAMES = 6;     // outliers with a name in the picture
  const REACH = 14;         // px from the pointer to the mark it means
  const EXTEND = 2.5;       // a threshold is in the picture when the axis grows no more than by this factor, or pairs are few
  const tip = document.getElementById('tip');
  const said = document.getElementById('said');
  const shown = pairs.map(() => true);
  const plots = [];
  let chosen = -1;

  const format = (value) => {
    if (Number.isInteger(value) || Math.abs(value) >= 1000) return String(Math.round(value));
    return String(Number(value.toPrecision(3)));
  };

  const open = (place, event) => {
    const { href } = pairs[place];
    if (!href) return;
    if (event && (event.ctrlKey || event.metaKey)) window.open(href, '_blank');
    else window.location.href = href;
  };

  const add = (parent, name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };

  /* -------------------------------------------------------------------------------------------- one number */
  const shape = (verdict, x, y, r) => {
    const at = (dx, dy) => `${(x + dx).toFixed(1)} ${(y + dy).toFixed(1)}`;
    if (verdict === 'FAIL') return `M${at(-r, -r)}h${2 * r}v${2 * r}h${-2 * r}Z`;
    if (verdict === 'CHECK') return `M${at(0, -1.2 * r)}L${at(1.2 * r, r)}L${at(-1.2 * r, r)}Z`;
    return `M${at(-r, 0)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  };

  const ticks = (low, high, wanted) => {
    const rough = (high - low) / Math.max(wanted, 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) found.push([k * step, (k * step).toFixed(digits)]);
    return found;
  };

  class Plot {
    constructor(figure) {
      this.figure = figure;
      this.box = figure.querySelector('.plot');
      this.number = numbers[Number(figure.dataset.number)];
      this.order = pairs.map((_, place) => place).filter((place) => this.number.values[place] !== null);
      this.order.sort((a, b) => this.number.values[a] - this.number.values[b]);
      this.at = new Map();
      this.marks = new Map();
      this.width = 0;
    }

    domain() {
      const { values, lines, spread } = this.number;
      let low = values[this.order[0]];
      let high = values[this.order[this.order.length - 1]];
      if (spread) [low, high] = [Math.min(low, spread[1]), Math.max(high, spread[3])];
      const range = high - low || Math.abs(high) * 0.02 || 1;  // all the same
      for (const line of lines) {
        const [a, b] = [Math.min(low, line.at), Math.max(high, line.at)];
        if (!spread || b - a <= EXTEND * range) [low, high] = [a, b];
      }
      const pad = (high - low) * 0.04 || range / 2;
      return [low - pad, high + pad];
    }

    draw() {
      const width = Math.floor(this.box.clientWidth);
      if (!width || width === this.width) return;
      this.width = width;
      this.box.textContent = '';
      const [low, high] = this.domain();
      this.x = (value) => SIDE + ((value - low) / (high - low)) * (width - 2 * SIDE);
      const floor = TOP + SWARM + BOX;
      const { title, unit, spread, outliers } = this.number;
      const svg = add(this.box, 'svg', { height: floor + 42, viewBox: `0 0 ${width} ${floor + 42}`, tabindex: 0, role: 'group' });
      svg.setAttribute('aria-label', `${title}: ${this.order.length} pairs, ${outliers.length} outliers. Arrow keys go from pair to pair, Enter opens.`);
      this.svg = svg;
      const seen = this.number.lines.filter((line) => line.at >= low && line.at <= high);
      this.thresholds(seen, floor);
      if (spread) this.quartiles(spread, floor - BOX / 2, low, high);
      this.place();
      const size = (verdict) => (['CHECK', 'FAIL'].includes(verdict) ? Math.max(this.radius, 3.5) : this.radius);
      for (const verdict of ['PASS', '', 'CHECK', 'FAIL']) {  // what matters lies on top
        for (const place of this.order) {
          if (pairs[place].verdict !== verdict) continue;
          const [x, y] = this.at.get(place);
          const mark = add(svg, 'path', { class: `dot ${verdict || 'PASS'}${this.radius < 3 ? ' small' : ''}`, d: shape(verdict, x, y, size(verdict)), 'data-pair': pairs[place].name });
          this.marks.set(place, mark);
        }
      }
      this.names(outliers.slice(0, MOST_NAMES));
      this.words(seen);
      this.ring = add(svg, 'circle', { class: 'ring', r: this.radius + 4, visibility: 'hidden' });
      add(svg, 'path', { class: 'axis', d: `M0 ${floor}H${width}` });
      for (const [value, text] of ticks(low, high, width / 90)) {
        const x = this.x(value);
        add(svg, 'path', { class: 'axis', d: `M${x} ${floor}v5` });
        if (x > SIDE - 1 && x < width - SIDE + 1) add(svg, 'text', { class: 'quiet', x, y: floor + 18, 'text-anchor': 'middle' }, text);
      }
      add(svg, 'text', { x: width / 2, y: floor + 36, 'text-anchor': 'middle' }, `${title} (${unit || 'no unit'})`);
      this.listen();
      this.update();
      this.choose(chosen);
    }

    thresholds(lines, floor) {
      for (const { at, way, status } of lines) {
        const x = this.x(at);
        const [from, to] = way === 'above' ? [x, this.width] : [0, x];
        add(this.svg, 'rect', { class: 'bad', x: from, y: TOP, width: Math.max(to - from, 0), height: floor - TOP });
        add(this.svg, 'path', { class: `${status}-line`, d: `M${x} ${TOP}V${floor}` });
      }
    }

    /* What the lines are, on their bad side where there is room. */
    words(lines) {
      for (const { at, way, status } of lines) {
        const x = this.x(at);
        const right = (way === 'above') === ((way === 'above' ? this.width - x : x) > 70);
        const y = TOP + SWARM - (status === 'FAIL' ? 4 : 18);
        const text = way === 'above' ? `${status} \u2192` : `\u2190 ${status}`;
        add(this.svg, 'text', { class: 'quiet', x: x + (right ? 4 : -4), y, 'text-anchor': right ? 'start' : 'end' }, text);
      }
    }

    quartiles([lowest, q1, median, q3, highest], y, low, high) {
      const [a, b, m] = [this.x(q1), this.x(q3), this.x(median)];
      add(this.svg, 'rect', { class: 'middle', x: a, y: y - 5, width: Math.max(b - a, 1), height: 10 });
      add(this.svg, 'path', { class: 'median', d: `M${m} ${y - 6}v12` });
      for (const [value, way] of [[lowest, 4], [highest, -4]]) {
        if (value >= low && value <= high) add(this.svg, 'path', { class: 'fence', d: `M${this.x(value) + way} ${y - 6}h${-way}v12h${way}` });
      }
    }

    /* Marks of about the same value go above and below the middle, in columns as wide as a mark. */
    place() {
      this.radius = this.order.length > 300 ? 2.2 : 3.5;
      const wide = 2 * this.radius + 1;
      const columns = new Map();
      for (const place of this.order) {
        const x = this.x(this.number.values[place]);
        const key = Math.round(x / wide);
        if (!columns.has(key)) columns.set(key, []);
        columns.get(key).push([place, x]);
      }
      const most = Math.max(...[...columns.values()].map((column) => column.length));
      const step = Math.min(wide, (SWARM - 2 * wide) / most);  // the same in all columns: their height is the density
      const middle = TOP + SWARM / 2;
      for (const column of columns.values()) {
        column.sort(([a], [b]) => ((a * 7919) % 1009) - ((b * 7919) % 1009));  // by value they would form stripes
        column.forEach(([place, x], k) => {
          const away = Math.ceil(k / 2) * (k % 2 ? -1 : 1);
          this.at.set(place, [x, middle + away * step]);
        });
      }
    }

    /* Names of the farthest outliers, in two rows above, where there is room; the text below names all. */
    names(places) {
      const rows = [[], []];
      for (const place of places) {
        const [x, y] = this.at.get(place);
        const wide = pairs[place].name.length * 6.6 + 8;
        const left = Math.min(Math.max(x - wide / 2, 2), this.width - wide - 2);
        const row = rows.findIndex((taken) => left >= 0 && taken.every(([a, b]) => left > b || left + wide < a));
        if (row < 0) continue;
        rows[row].push([left, left + wide]);
        const level = 28 - 14 * row;
        add(this.svg, 'path', { class: 'leader', d: `M${x} ${y - this.radius}V${level + 3}` });
        add(this.svg, 'text', { x: left + wide / 2, y: level, 'text-anchor': 'middle', 'data-name': pairs[place].name }, pairs[place].name);
      }
    }

    nearest(event) {
      const frame = this.svg.getBoundingClientRect();
      const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
      let [best, least] = [-1, REACH * REACH];
      for (const [place, [x, y]] of this.at) {
        const distance = (x - px) ** 2 + (y - py) ** 2;
        if (shown[place] && distance < least) [best, least] = [place, distance];
      }
      return best;
    }

    listen() {
      this.svg.addEventListener('pointermove', (event) => { if (event.pointerType !== 'touch') choose(this.nearest(event), this); });
      this.svg.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch') choose(-1); });
      this.svg.addEventListener('blur', () => choose(-1));
      this.svg.addEventListener('click', (event) => {
        const place = this.nearest(event);
        if (place < 0) { choose(-1); return; }
        if (event.pointerType === 'touch' && place !== chosen) choose(place, this);  // a finger looks first
        else open(place, event);
      });
      this.svg.addEventListener('keydown', (event) => this.press(event));
    }

    press(event) {
      const there = this.order.filter((place) => shown[place]);
      if (!there.length) return;
      const now = there.indexOf(chosen);
      const last = there.length - 1;
      const next = { ArrowRight: Math.min(now + 1, last), ArrowLeft: now < 0 ? last : Math.max(now - 1, 0), Home: 0, End: last }[event.key];
      if (next !== undefined) choose(there[next], this);
      else if (event.key === 'Enter' && now >= 0) open(chosen, event);
      else if (event.key === 'Escape') choose(-1);
      else return;
      event.preventDefault();
    }

    update() {
      for (const [place, mark] of this.marks) mark.classList.toggle('off', !shown[place]);
    }

    choose(place) {
      if (!this.ring) return;
      const at = this.at.get(place);
      this.ring.setAttribute('visibility', at ? 'visible' : 'hidden');
      if (at) { this.ring.setAttribute('cx', at[0]); this.ring.setAttribute('cy', at[1]); }
    }
  }

  /* The pair under the pointer or the keys is ringed in all pictures. */
  const choose = (place, plot) => {
    if (place !== chosen) {
      if (rowOf[chosen]) rowOf[chosen].classList.remove('chosen');
      chosen = place;
      if (rowOf[place]) rowOf[place].classList.add('chosen');
      for (const other of plots) other.choose(place);
    }
    tip.hidden = place < 0 || !plot;
    if (tip.hidden) return;
    const { name, verdict, status, href } = pairs[place];
    const value = `${format(plot.number.values[place])} ${plot.number.unit}`.trim();
    tip.textContent = `${name}: ${value}, ${verdict || status}${href ? '' : ' (no page to open)'}`;
    said.textContent = tip.textContent;
    const frame = plot.svg.getBoundingClientRect();
    const [x, y] = plot.at.get(place);
    const left = Math.min(Math.max(frame.left + x - tip.offsetWidth / 2, 4), document.documentElement.clientWidth - tip.offsetWidth - 4);
    tip.style.left = `${left}px`;
    tip.style.top = `${frame.top + y - tip.offsetHeight - 12}px`;
  };

  /* ----------------------------------------------------------------------------------------------- the table */
  const body = document.querySelector('#table tbody');
  const rows = [...body.rows];
  const rowOf = [];
  const words = [];
  for (const row of rows) {
    const place = Number(row.dataset.place);
    rowOf[place] = row;
    words[place] = `${row.cells[0].textContent} ${row.cells[1].textContent} ${row.cells[2].textContent} ${row.dataset.words || ''}`.toLowerCase();
  }
  const outliers = rowOf.map((row) => Number(row.cells[3].textContent));
  const value = (key, place) => {
    if (key === 'name') return place;  // pairs come in natural order
    if (key === 'verdict') return -RANK[pairs[place].verdict];
    if (key === 'reason') return rowOf[place].cells[2].textContent || null;
    if (key === 'outliers') return outliers[place];
    return numbers[Number(key)].values[place];
  };

  const sort = (key, sign) => {
    const keyed = rows.map((row) => [value(key, Number(row.dataset.place)), row]);
    keyed.sort(([a, one], [b, two]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // what is missing comes last, either way
      if (a === b) return one.dataset.place - two.dataset.place;
      return sign * (a < b ? -1 : 1);
    });
    body.append(...keyed.map(([, row]) => row));
  };

  for (const head of document.querySelectorAll('#table thead th')) {
    head.querySelector('button').addEventListener('click', () => {
      const first = ['verdict', 'outliers'].includes(head.dataset.key) ? 'descending' : 'ascending';
      const other = first === 'ascending' ? 'descending' : 'ascending';
      const way = head.getAttribute('aria-sort') === first ? other : first;
      for (const each of head.parentNode.cells) each.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', way);
      sort(head.dataset.key, way === 'ascending' ? 1 : -1);
    });
  }

  const find = document.getElementById('find');
  const only = document.getElementById('only-outliers');
  const boxes = [...document.querySelectorAll('#verdict-filter input')];
  const kinds = [...document.querySelectorAll('#contrast-filter input')];
  const filter = () => {
    const asked = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const unwanted = new Set(kinds.filter((box) => !box.checked).map((box) => box.value));
    pairs.forEach((pair, place) => {
      shown[place] = wanted.has(pair.verdict) && !unwanted.has(pair.kind) && (!only.checked || outliers[place] > 0) && asked.every((word) => words[place].includes(word));
      rowOf[place].hidden = !shown[place];
    });
    document.getElementById('shown').textContent = `${shown.filter(Boolean).length} of ${pairs.length} shown`;
    for (const plot of plots) plot.update();
  };
  for (const control of [find, only, ...boxes, ...kinds]) control.addEventListener('input', filter);

  body.addEventListener('click', (event) => {
    const row = event.target.closest('tr');
    if (!row || event.target.closest('a') || String(window.getSelection())) return;
    open(Number(row.dataset.place), event);
  });

  /* ---------------------------------------------------------- pictures are drawn when they come into sight */
  for (const figure of document.querySelectorAll('figure')) plots.push(new Plot(figure));
  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) plots.find((plot) => plot.figure === entry.target).draw();
  }, { rootMargin: '300px' });
  for (const plot of plots) sight.observe(plot.figure);
  const again = () => { for (const plot of plots) if (plot.width) plot.draw(); };
  window.addEventListener('resize', again);
  window.addEventListener('scroll', () => { tip.hidden = true; }, { passive: true });
  window.addEventListener('beforeprint', () => { for (const plot of plots) plot.draw(); });
  filter();  // a page that is gone back to keeps what was typed
})();
