"""What each batch system says of its jobs, and what it means; its programs are pretended."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsreg.execution.batch import GridEnginePlugin, PbsPlugin, SlurmPlugin, pbs, sge, slurm
from bidsreg.execution.batch.jobs import Job, Request
from bidsreg.execution.batch.programs import BatchSystemError
from bidsreg.outcome import Cause


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(None, Request(1, 400), tmp_path / 'batchscript.sh', 'bidsreg.sub_01.work', '7')


@pytest.fixture
def says(monkeypatch):
    """Let programs say something, by their names; all others fail."""

    def install(module, **answers: str) -> None:
        def ask(command, tries=1):
            if command[0] not in answers:
                raise BatchSystemError('does not answer')
            return answers[command[0]]

        monkeypatch.setattr(module, 'ask', ask)

    return install


@pytest.mark.parametrize(
    ('state', 'log', 'state_found', 'cause'),
    [
        ('CANCELLED', '', 'CANCELLED', Cause.CANCELLED),
        ('TIMEOUT', '', 'TIMEOUT', Cause.TIME_LIMIT),
        ('DEADLINE', '', 'DEADLINE', Cause.TIME_LIMIT),
        ('NODE_FAIL', '', 'NODE_FAIL', Cause.MACHINE_LOST),
        ('PREEMPTED', '', 'PREEMPTED', Cause.CANCELLED),
        ('OUT_OF_MEMORY', '', 'OUT_OF_MEMORY', Cause.OUT_OF_MEMORY),
        ('COMPLETED', '', 'COMPLETED', None),
        ('FAILED', 'slurmstepd: error: Detected 1 oom-kill event(s)', 'OUT_OF_MEMORY', Cause.OUT_OF_MEMORY),
        ('CANCELLED', 'JOB 7 CANCELLED AT x DUE TO TIME LIMIT', 'TIMEOUT', Cause.TIME_LIMIT),
        (None, 'slurmstepd: *** JOB 7 CANCELLED AT 2026', 'CANCELLED', Cause.CANCELLED),
        (None, '', '', None),
    ],
)
@pytest.mark.parametrize('program', ['scontrol', 'sacct'])
def test_slurm(says, job, program, state, log, state_found, cause):
    """The controller knows, or the accounting, or the log alone."""
    answer = {'scontrol': f'JobId=7 JobState={state} Reason=None', 'sacct': f'{state}+\n'}[program]
    says(slurm, **({program: answer} if state else {}))
    job.log.write_text(log)
    end = SlurmPlugin().end_of(job)
    assert (end.state, end.cause) == (state_found, cause)


def test_slurms_queue(says):
    says(slurm, squeue='7|None|bidsreg.sub_01.work\n8|BadConstraints|odd|name\n\n')
    assert SlurmPlugin().queue() == {'7': ('bidsreg.sub_01.work', 'None'), '8': ('odd|name', 'BadConstraints')}
    assert SlurmPlugin().stuck('BadConstraints')
    assert not SlurmPlugin().stuck('Resources')


@pytest.mark.parametrize(
    ('plugin', 'answer', 'number'),
    [
        (SlurmPlugin, 'a greeting\n712;cluster\n', '712'),
        (SlurmPlugin, '712\n', '712'),
        (SlurmPlugin, 'no', None),
        (GridEnginePlugin, 'a greeting\n712\n', '712'),
        (GridEnginePlugin, 'no', None),
        (PbsPlugin, '712.server\n', '712'),
        (PbsPlugin, 'no', None),
    ],
)
def test_the_number_of_a_job(plugin, answer, number):
    assert plugin().number_in(answer) == number


@pytest.mark.parametrize(
    ('answer', 'state', 'cause'),
    [
        ('failed       0\nexit_status  1\nmaxvmem      100.000M\n', 'exit status 1', None),
        ('failed       0\nexit_status  137\nmaxvmem      399.000M\n', 'exit status 137', Cause.OUT_OF_MEMORY),
        ('failed       37  : qmaster enforced h_rt limit\nexit_status  137\n', 'limit', Cause.TIME_LIMIT),
        ('failed       100 : assumedly after job\nexit_status  137\n', 'killed', Cause.CANCELLED),
        ('failed       0\nexit_status  9\nmaxvmem      1.000G\n', 'exit status 9', Cause.OUT_OF_MEMORY),
        (None, '', None),
    ],
)
def test_grid_engine(says, job, answer, state, cause):
    says(sge, **({'qacct': answer} if answer else {}))
    end = GridEnginePlugin().end_of(job)
    assert (end.state, end.cause) == (state, cause)


def test_grid_engines_queue(says):
    entry = '<job_list><JB_job_number>7</JB_job_number><JB_name>bidsreg.a</JB_name><state>Eqw</state></job_list>'
    says(sge, qstat=f'<job_info><queue_info>{entry}</queue_info></job_info>')
    assert GridEnginePlugin().queue() == {'7': ('bidsreg.a', 'Eqw')}
    assert GridEnginePlugin().stuck('Eqw')
    says(sge, qstat='<job_info>')
    with pytest.raises(BatchSystemError, match='cannot be read'):
        GridEnginePlugin().queue()


@pytest.mark.parametrize(
    ('answer', 'state', 'cause'),
    [
        ('    Exit_status = 1\n', 'exit status 1', None),
        ('    Exit_status = -29\n', 'walltime', Cause.TIME_LIMIT),
        ('    comment = walltime 10 exceeded limit 5\n', 'walltime', Cause.TIME_LIMIT),
        ('    Exit_status = 271\n', 'killed', Cause.CANCELLED),
        ('    Exit_status = -27\n', 'exit status -27', Cause.OUT_OF_MEMORY),
        ('    Exit_status = 1\n    comment = mem 500 exceeded limit\n', 'exit status 1', Cause.OUT_OF_MEMORY),
        (None, '', None),
    ],
)
def test_pbs(says, job, answer, state, cause):
    says(pbs, **({'qstat': answer} if answer else {}))
    end = PbsPlugin().end_of(job)
    assert (end.state, end.cause) == (state, cause)


def test_the_queue_of_pbs_has_jobs_that_are_over(says):
    lines = [
        'Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time',
        '--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----',
        '7.server        me       workq    bidsreg.s* 12       1   1  400mb 00:10 R 00:01',
        '8.server        me       workq    bidsreg.s* 13       1   1  400mb 00:10 F 00:01',
    ]
    says(pbs, qstat='\n'.join(lines))
    assert PbsPlugin().queue() == {'7': ('bidsreg.s*', 'R')}


@pytest.mark.parametrize(
    ('plugin', 'words'),
    [
        (SlurmPlugin, 'sbatch --parsable --job-name=bidsreg.sub_01.work -o {log} -x {script}'),
        (GridEnginePlugin, 'qsub -terse -w e -N bidsreg.sub_01.work -j y -o {log} -x {script}'),
        (PbsPlugin, 'qsub -N bidsreg.sub_01.work -j oe -o {log} -x {script}'),
    ],
)
def test_how_a_job_is_submitted(job, plugin, words):
    places = {'log': job.log, 'script': job.script}
    assert plugin().command(job, ['-x']) == [word.format(**places) for word in words.split()]


def test_a_percent_sign_in_a_path_is_no_pattern_of_slurms(job):
    odd = Job(None, job.request, Path('/50%j/b.sh'), 'n')
    assert '/50%%j/b.out' in SlurmPlugin().command(odd, [])
