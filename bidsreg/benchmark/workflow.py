"""The graph of a benchmark: every image made ready once, every pair prealigned once, every method run and judged."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.benchmark.alignment import ALIGNMENTS
from bidsreg.benchmark.case import ENDS, Case, RescanCase
from bidsreg.benchmark.folds import Folds, LeftOut
from bidsreg.benchmark.interfaces import CaseMask, Evaluate
from bidsreg.benchmark.method_nodes import method_node_name, register_node
from bidsreg.benchmark.methods import AFFINE, Method
from bidsreg.benchmark.rescan import init_rescan_wf, rescan_nodes
from bidsreg.benchmark.settings import digest
from bidsreg.benchmark.translation_nodes import fit_name, fit_node, plain_name, translate_node, translations_of
from bidsreg.interfaces.bias import N4
from bidsreg.interfaces.conform import Conform
from bidsreg.workflows.prealign import init_prealign_wf
from bidsreg.workflows.resources import gigabytes, solver_gigabytes, voxel_shape

if typing.TYPE_CHECKING:
    from bidsreg.benchmark.settings import BenchmarkSettings

#: What a graph of an image gives.
READY = ('preproc', 'mask')


def init_benchmark_wf(
    *,
    settings: BenchmarkSettings,
    work: Iterable[tuple[Case, Iterable[tuple[Method, Mapping[str, Any]]]]],
    labels: Mapping[int, str],
    folds: Folds | None = None,
    cases: Sequence[Case] = (),
    name: str = 'benchmark_wf',
) -> pe.Workflow:
    """Build the graph of a benchmark.

    An image that several pairs share is made ready once. A pair or a method that fails stops nothing but what needs it.

    Parameters
    ----------
    settings
        What was asked for.
    work
        The pairs, and for each its methods with inputs of their :class:`~bidsreg.benchmark.interfaces.Evaluate`:
        ``cell``, ``facts`` and ``example``.
    labels
        Names of the labels that count, by value.
    folds, cases
        How the heads of all drawn pairs were dealt, and those pairs; for methods that translate.
    name
        Name of the workflow.
    """
    graph = _Graph(settings=settings, labels=labels, folds=folds or Folds({}), cases=cases, name=name)
    todo = [(case, list(methods)) for case, methods in work]
    for case, methods in todo:
        graph.pair(case, methods)
    for case, methods in todo:
        graph.add_models(case, methods)
    return graph.workflow


class _Graph:
    """The graph while it is being built: every image, pair and model is in it once, whoever needs it."""

    def __init__(
        self, *, settings: BenchmarkSettings, labels: Mapping[int, str], folds: Folds, cases: Sequence[Case], name: str
    ) -> None:
        self.settings, self.labels, self.folds, self.cases = settings, labels, folds, cases
        self.workflow = pe.Workflow(name=name)
        self.images: dict[str, pe.Workflow] = {}
        self.pairs: dict[str, pe.Workflow] = {}
        self.models: dict[str, pe.Node] = {}

    def pair(self, case: Case, methods: Sequence[tuple[Method, Mapping[str, Any]]] = ()) -> pe.Workflow:
        """Return the graph of a pair; made with the methods that are to be run on it when it is first asked for."""
        if case.node_name not in self.pairs:
            build = _GRAPHS[type(case)]
            case_wf = build(case=case, methods=methods, labels=self.labels, settings=self.settings)
            self.workflow.add_nodes([case_wf])
            self.pairs[case.node_name] = case_wf
            for end in ready_ends(case):
                ready = [(f'outputnode.{what}', f'inputnode.{end}_{what}') for what in READY]
                self.workflow.connect([(self._image(case, end), case_wf, ready)])
        return self.pairs[case.node_name]

    def add_models(self, case: Case, methods: Sequence[tuple[Method, Mapping[str, Any]]]) -> None:
        """Add the trainings that the methods of a pair need; all pairs with methods must be there."""
        for recipe in translations_of(methods):
            model, name = self._model(recipe, self.folds.left_out(case)), plain_name(recipe)
            ends = [('model', f'inputnode.model_{name}'), ('cpu_seconds', f'inputnode.training_{name}')]
            self.workflow.connect([(model, self.pair(case), ends)])

    def _image(self, case: Case, end: str) -> pe.Workflow:
        name = image_name(case, end)
        if name not in self.images:
            self.images[name] = init_image_wf(case=case, end=end, labels=self.labels, settings=self.settings, name=name)
        return self.images[name]

    def _model(self, recipe: str, left_out: LeftOut) -> pe.Node:
        """Return the node that trains a translation without some groups of heads."""
        name = fit_name(recipe, left_out)
        if name not in self.models:
            scans = self.folds.scans(self.cases, left_out)
            fit = fit_node(recipe=recipe, name=name, scans=scans, settings=self.settings)
            self.models[name] = fit
            for what, field in (('preproc', 'images'), ('mask', 'masks')):
                merge = pe.Node(niu.Merge(len(scans)), name=f'{name}_{field}')
                for number, (case, end) in enumerate(scans, start=1):
                    source, output = self._source(case, end, what)
                    self.workflow.connect([(source, merge, [(output, f'in{number}')])])
                self.workflow.connect([(merge, fit, [('out', field)])])
        return self.models[name]

    def _source(self, case: Case, end: str, what: str) -> tuple[pe.Workflow, str]:
        """Return where an image, or its mask, comes from: with the pair where it has no mask of its own."""
        if end in ready_ends(case):
            return self._image(case, end), f'outputnode.{what}'
        return self.pair(case), f'ready.{end if what == "preproc" else f"{end}_mask"}'


def ready_ends(case: Case) -> tuple[str, ...]:
    """Tell which images have a mask of their own; without one, the moving image gets that of the fixed one."""
    return ENDS if case.has_moving_brain else ENDS[:1]


def image_name(case: Case, end: str) -> str:
    """Return the name of the node group that makes an image ready; the same for the same files."""
    files = [str(getattr(case, f'{end}{what}')) for what in ('', '_mask', '_labels')]
    return f'image_{end}_{digest(files)}'


def cell_nodes(case: Case, method: Method, folds: Folds | None = None, cases: Sequence[Case] = ()) -> list[str]:
    """Name the nodes a cell depends on, as the ends of their full names: its own first, the pair's last.

    Parameters
    ----------
    case, method
        The cell.
    folds, cases
        As for :func:`init_benchmark_wf`: what a translation is trained on comes before the cell.
    """
    own = [f'{case.node_name}.{node}' for node in _CELL_NODES[type(case)](method)]
    if method.translation and folds is not None:
        left_out = folds.left_out(case)
        own += [f'{case.node_name}.translate_{plain_name(method.translation)}', fit_name(method.translation, left_out)]
        own += [image_name(*scan) for scan in folds.scans(cases, left_out) if scan[1] in ready_ends(scan[0])]
    return [*own, *(image_name(case, end) for end in ready_ends(case)), case.node_name]


def init_image_wf(
    *, case: Case, end: str, labels: Mapping[int, str], settings: BenchmarkSettings, name: str
) -> pe.Workflow:
    """Build a graph that makes one image sane, finds its brain, and corrects its bias field inside.

    Parameters
    ----------
    case, end
        The pair, and which of its images: ``fixed`` or ``moving``.
    labels, settings, name
        See :func:`init_benchmark_wf`.

    Outputs
    -------
    preproc
        The image as every method gets it.
    mask
        Its brain mask.
    """
    workflow = pe.Workflow(name=name)
    source, files = getattr(case, end), case.files()
    shape = voxel_shape(source)
    outputnode = pe.Node(niu.IdentityInterface(fields=list(READY)), name='outputnode')
    conform = pe.Node(Conform(in_file=str(source)), name='conform', mem_gb=gigabytes('conform', shape))
    threads = settings.omp_nthreads
    mask = pe.Node(
        CaseMask(values=sorted(labels), num_threads=threads),
        name='mask',
        n_procs=threads,
        mem_gb=gigabytes('brain_mask', shape),
    )
    for trait, role in (('user_mask', f'{end}_mask'), ('labels', f'{end}_labels')):
        if role in files:
            setattr(mask.inputs, trait, str(files[role]))
    if end == 'fixed' and settings.contrasts[0] != 'T1w':  # of moving images none is looked for
        mask.inputs.contrast = settings.contrasts[0]
    n4 = pe.Node(N4(method=settings.bias_correction, sloppy=settings.sloppy), name='n4', mem_gb=gigabytes('n4', shape))
    workflow.connect([
        (conform, mask, [('out_file', 'in_file')]),
        (conform, n4, [('out_file', 'in_file')]),
        (mask, n4, [('out_mask', 'mask')]),
        (mask, outputnode, [('out_mask', 'mask')]),
        (n4, outputnode, [('out_file', 'preproc')]),
    ])  # fmt:skip
    return workflow


def init_case_wf(
    *,
    case: Case,
    methods: Iterable[tuple[Method, Mapping[str, Any]]],
    labels: Mapping[int, str],
    settings: BenchmarkSettings,
) -> pe.Workflow:
    """Build the graph of one pair: prealignment, then a solver and a judgement for each method.

    Parameters
    ----------
    case
        The pair.
    methods, labels, settings
        See :func:`init_benchmark_wf`.

    Inputs
    ------
    fixed_preproc, fixed_mask
        Fixed image and its brain mask, from :func:`init_image_wf`.
    moving_preproc, moving_mask
        The same of the moving image, where it has a mask or labels.
    model_NAME, training_NAME
        For each translation that the methods need: its model, and the CPU seconds of its training.
    """
    workflow = pe.Workflow(name=case.node_name)
    methods = list(methods)
    recipes = translations_of(methods)
    fields = [f'{end}_{what}' for end in ENDS for what in READY]
    fields += [f'{what}_{plain_name(recipe)}' for recipe in recipes for what in ('model', 'training')]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name='inputnode')
    ready = pe.Node(
        niu.IdentityInterface(fields=['fixed', 'fixed_mask', 'moving', 'moving_mask', 'affine']), name='ready'
    )
    workflow.connect(inputnode, 'fixed_preproc', ready, 'fixed')
    workflow.connect(inputnode, 'fixed_mask', ready, 'fixed_mask')
    _connect_moving(workflow, inputnode=inputnode, ready=ready, case=case, settings=settings)
    for recipe in recipes:
        translate, name = translate_node(recipe=recipe, settings=settings), plain_name(recipe)
        workflow.connect([
            (inputnode, translate, [(f'model_{name}', 'model'), (f'training_{name}', 'training_cpu_seconds')]),
            (ready, translate, [('moving', 'in_file'), ('moving_mask', 'mask')]),
        ])  # fmt:skip
    for method, inputs in methods:
        _add_method(workflow, ready=ready, case=case, method=method, inputs=inputs, labels=labels, settings=settings)
    return workflow


def _connect_moving(
    workflow: pe.Workflow, *, inputnode: pe.Node, ready: pe.Node, case: Case, settings: BenchmarkSettings
) -> None:
    """Connect the moving image and the matrix that leads to it, by what is known about the moving brain."""
    shapes = {'fixed_shape': voxel_shape(case.fixed), 'moving_shape': voxel_shape(case.moving)}
    if 'moving' not in ready_ends(case):
        prealign_wf = init_prealign_wf(
            bias_correction=settings.bias_correction,
            random_seed=settings.random_seed,
            sloppy=settings.sloppy,
            **shapes,
        )
        prealign_wf.inputs.inputnode.moving = str(case.moving)
        workflow.connect([
            (inputnode, prealign_wf, [
                ('fixed_preproc', 'inputnode.fixed'),
                ('fixed_mask', 'inputnode.fixed_mask'),
            ]),
            (prealign_wf, ready, [
                ('outputnode.preproc', 'moving'),
                ('outputnode.mask', 'moving_mask'),
                ('outputnode.linear', 'affine'),
            ]),
        ])  # fmt:skip
        return
    workflow.connect([(inputnode, ready, [('moving_preproc', 'moving'), ('moving_mask', 'moving_mask')])])
    if settings.prealign != 'none':
        ALIGNMENTS[settings.task](workflow, inputnode=inputnode, ready=ready, shapes=shapes, settings=settings)


def _add_method(
    workflow: pe.Workflow,
    *,
    ready: pe.Node,
    case: Case,
    method: Method,
    inputs: Mapping[str, Any],
    labels: Mapping[int, str],
    settings: BenchmarkSettings,
) -> None:
    """Add a solver and the judgement of what it finds; the affine alone needs no solver."""
    fields = ['fixed', 'fixed_mask', 'moving', *(['affine'] if settings.prealign != 'none' else [])]
    evaluate = _evaluate_node(case=case, method=method, inputs=inputs, labels=labels)
    workflow.connect([(ready, evaluate, [(field, field) for field in fields])])
    if method.name == AFFINE:
        return
    register = register_node(case=case, method=method, settings=settings)
    given = [(field, field) for field in (*fields, 'moving_mask')]
    if method.translation:
        given.remove(('moving', 'moving'))
        translate = workflow.get_node(f'translate_{plain_name(method.translation)}')
        workflow.connect([
            (translate, register, [('out_file', 'moving')]),
            (translate, evaluate, [('facts', 'translation')]),
        ])  # fmt:skip
    workflow.connect([
        (ready, register, given),
        (register, evaluate, [
            ('forward', 'forward'),
            ('inverse', 'inverse'),
            ('result', 'result'),
            ('seconds', 'method_seconds'),
            ('cpu_seconds', 'method_cpu_seconds'),
        ]),
    ])  # fmt:skip


def _case_nodes(method: Method) -> list[str]:
    """Name the nodes of a method in the graph of a pair."""
    return [f'{kind}_{method_node_name(method)}' for kind in ('register', 'evaluate')]


def _evaluate_node(*, case: Case, method: Method, inputs: Mapping[str, Any], labels: Mapping[int, str]) -> pe.Node:
    files = case.files()
    known = {role: str(files[role]) for role in ('fixed_labels', 'moving_labels', 'points') if role in files}
    names = {str(value): name for value, name in labels.items()}
    return pe.Node(
        Evaluate(method=method.name, labels=names, **known, **inputs),
        name=f'evaluate_{method_node_name(method)}',
        mem_gb=solver_gigabytes(voxel_shape(case.fixed), voxel_shape(case.moving)),
    )


#: The graph of a pair, and the names of a method's nodes in it, by the kind of the pair.
_GRAPHS: Mapping[type[Case], Callable[..., pe.Workflow]] = {Case: init_case_wf, RescanCase: init_rescan_wf}
_CELL_NODES: Mapping[type[Case], Callable[[Method], list[str]]] = {Case: _case_nodes, RescanCase: rescan_nodes}
