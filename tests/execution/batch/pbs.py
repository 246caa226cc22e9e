"""Pretended qsub, qstat and qdel, which answer as OpenPBS's manual has it, and run the jobs on this machine.

Jobs may ask for memory and time, and are killed beyond them; more than 1 TB is refused. There is one GPU. Everything
lies in the folder PRETENDED_PBS.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

FOLDER = Path(os.environ['PRETENDED_PBS'])
#: Exit status of jobs that were killed: for their memory, for their time, by qdel.
MEMORY, WALLTIME, DELETED = -27, -29, 256 + signal.SIGTERM
HEAD = """
server:
                                                            Req'd  Req'd   Elap
Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time
--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----"""


def read(number: str) -> dict:
    return json.loads((FOLDER / f'{number}.json').read_text())


def write(number: str, **changes) -> None:
    path = FOLDER / f'{number}.json'
    job = {**(read(number) if path.exists() else {}), **changes}
    path.with_suffix('.new').write_text(json.dumps(job))
    path.with_suffix('.new').replace(path)


def qsub(words: list[str]) -> int:
    """Take a job, or refuse it."""
    parser = argparse.ArgumentParser('qsub')
    for name in ('-N', '-j', '-o', '-q'):
        parser.add_argument(name)
    parser.add_argument('-l', action='append', default=[])
    parser.add_argument('script')
    given = parser.parse_args(words)
    asked = dict(part.partition('=')[::2] for part in re.split('[:,]', ':'.join(given.l)) if part)
    memory = int(asked['mem'].removesuffix('mb'))
    if memory > 10**6:
        print('qsub: Job violates queue and/or server resource limits', file=sys.stderr)
        return 188
    number = str(1 + len(list(FOLDER.glob('*.json'))))
    job = {'name': given.N, 'log': given.o, 'script': given.script, 'memory': memory, 'state': 'Q'}
    write(number, **job, walltime=float(asked.get('walltime', 3600)), gpu=asked.get('ngpus') == '1', status=None)
    subprocess.Popen([sys.executable, __file__, 'mom', number], start_new_session=True, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    print(f'{number}.server')
    return 0


def mom(words: list[str]) -> int:
    """Run one job to its end."""
    import psutil  # only here: the others are called many times a second

    (number,) = words
    job = read(number)
    with (FOLDER / 'gpu').open('w') as gpu, open(job['log'], 'w') as log:
        if job['gpu']:
            fcntl.flock(gpu, fcntl.LOCK_EX)
        if read(number)['state'] == 'Q':
            process = psutil.Popen(['bash', job['script']], stdout=log, stderr=log, start_new_session=True)
            write(number, state='R', pid=process.pid)
            write(number, state='F', status=watch(process, job, log))
    return 0


def watch(process: psutil.Popen, job: dict, log) -> int:
    """Wait for a job, and kill it where it takes more than it asked for; its exit status."""
    import psutil

    end = time.time() + job['walltime']
    while process.poll() is None:
        used = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            used = sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20
        for status, over in ((MEMORY, used > job['memory']), (WALLTIME, time.time() > end)):
            if over:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                print('=>> PBS: job killed:', 'mem' if status == MEMORY else 'walltime', 'exceeded limit', file=log)
                return status
        time.sleep(0.05)
    return 256 - process.returncode if process.returncode < 0 else process.returncode


def qstat(words: list[str]) -> int:
    """List the jobs that have not ended, or tell all of one."""
    if words[:2] == ['-x', '-f']:
        job = read(words[2])
        print(f'Job Id: {words[2]}.server\n    Job_Name = {job["name"]}\n    job_state = {job["state"]}')
        print(f'    Exit_status = {job["status"]}' if job['status'] is not None else '')
        return 0
    if words[:1] != ['-u']:
        return 2
    jobs = [(path.stem, json.loads(path.read_text())) for path in FOLDER.glob('*.json')]
    lines = []
    for number, job in jobs:
        if job['state'] != 'F':
            name = job['name'] if len(job['name']) < 11 else f'{job["name"][:9]}*'
            start = f'{number + ".server":15} {words[1][:8]:8} workq    {name:10}'
            lines.append(f'{start}    --    1   1  {job["memory"]}mb   --  {job["state"]}   -- ')
    print('\n'.join([HEAD, *lines]) if lines else '')
    return 0


def qdel(words: list[str]) -> int:
    """End jobs."""
    for number in words:
        job = read(number)
        if job['state'] == 'F':
            print(f'qdel: Job has finished {number}.server', file=sys.stderr)
            return 35
        if job['state'] == 'Q':
            write(number, state='F', status=DELETED)
        else:
            os.killpg(job['pid'], signal.SIGTERM)
    return 0


if __name__ == '__main__':
    sys.exit({'qsub': qsub, 'qstat': qstat, 'qdel': qdel, 'mom': mom}[sys.argv[1]](sys.argv[2:]))
