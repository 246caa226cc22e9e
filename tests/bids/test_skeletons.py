"""The plans of public datasets, whose files are here by name alone, each with the table that a person agrees with.

The names are those of the repository bids-standard/bids-examples, and of datasets on OpenNeuro.
"""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.cli import main
from bidsreg.settings import Settings
from tests.planning import dataset


def named(stem: str, names: str, extension: str = '.nii.gz') -> list[str]:
    return [f'{stem}_{name}{extension}' for name in names.split()]


def rows(table) -> list[list[str]]:
    """The table of a plan, without sub- and ses- and extensions in the names."""

    def short(name: str) -> str:
        return re.sub(r'^sub-[^_]*_(ses-[^_]*_)?|\.nii(\.gz)?$', '', name)

    return [[r.subject, r.session, short(r.t1w), short(r.t2w), r.decision, r.reason] for r in table.itertuples()]


def agrees(table, expected: str) -> None:
    """Compare a table with one whose last column holds words that the reason must have, in any order of the rows."""
    wanted = sorted([cell.strip() for cell in line.split('|')] for line in expected.strip().splitlines())
    found = sorted(rows(table))
    assert [row[:5] for row in found] == [row[:5] for row in wanted]
    for row, goal in zip(found, wanted, strict=True):
        assert goal[5] in row[5], (row, goal)


MOTION = (
    [
        f'task-{task}_acq-{sequence}PMC{correction}_rec-{rec}_{suffix}'
        for task, sequences, recs in (
            ('nodding', ('mprage', 't1tirm', 't2tse'), ('wore', 'wre')),
            ('shaking', ('mprage',), ('wore', 'wre')),
            ('still', ('mprage', 't1tirm', 't2tse'), ('wore',)),
        )
        for sequence in sequences
        for correction in ('off', 'on')
        for rec in recs
        for suffix in ('T2w' if sequence == 't2tse' else 'T1w',)
    ]
    + ['task-nodding_acq-t2starPMCoff_rec-wre_T2starw', 'task-nodding_acq-t2starPMCon_rec-wre_T2starw']
    + ['task-still_acq-t2starPMCoff_rec-wore_T2starw', 'task-still_acq-t2starPMCon_rec-wore_T2starw']
)
MOTION_PLAN = """
01 | | task-nodding_acq-mpragePMCoff_rec-wore_T1w | task-nodding_acq-t2tsePMCoff_rec-wore_T2w | register | in task
01 | | task-nodding_acq-mpragePMCoff_rec-wre_T1w  | task-nodding_acq-t2tsePMCoff_rec-wre_T2w  | register | rec
01 | | task-nodding_acq-mpragePMCon_rec-wore_T1w  | task-nodding_acq-t2tsePMCon_rec-wore_T2w  | register | labels
01 | | task-nodding_acq-mpragePMCon_rec-wre_T1w   | task-nodding_acq-t2tsePMCon_rec-wre_T2w   | register | labels
01 | | task-still_acq-mpragePMCoff_rec-wore_T1w   | task-still_acq-t2tsePMCoff_rec-wore_T2w   | register | in task
01 | | task-still_acq-mpragePMCon_rec-wore_T1w    | task-still_acq-t2tsePMCon_rec-wore_T2w    | register | labels
01 | | task-nodding_acq-t1tirmPMCoff_rec-wore_T1w | | left out | another T1w was chosen
01 | | task-nodding_acq-t1tirmPMCoff_rec-wre_T1w  | | left out | another T1w was chosen
01 | | task-nodding_acq-t1tirmPMCon_rec-wore_T1w  | | left out | another T1w was chosen
01 | | task-nodding_acq-t1tirmPMCon_rec-wre_T1w   | | left out | another T1w was chosen
01 | | task-shaking_acq-mpragePMCoff_rec-wore_T1w | | left out | another T1w was chosen
01 | | task-shaking_acq-mpragePMCoff_rec-wre_T1w  | | left out | another T1w was chosen
01 | | task-shaking_acq-mpragePMCon_rec-wore_T1w  | | left out | another T1w was chosen
01 | | task-shaking_acq-mpragePMCon_rec-wre_T1w   | | left out | another T1w was chosen
01 | | task-still_acq-t1tirmPMCoff_rec-wore_T1w   | | left out | another T1w was chosen
01 | | task-still_acq-t1tirmPMCon_rec-wore_T1w    | | left out | another T1w was chosen
"""
NORMALIZED_PLAN = """
02 | localizer1 | acq-prescannormalized_rec-pydeface_T1w | acq-prescannormalized_rec-pydeface_T2w | register | acq, rec
02 | localizer1 | acq-unnormalized_rec-pydeface_T1w      | acq-unnormalized_rec-pydeface_T2w      | register | acq, rec
02 | things10   | acq-prescannormalized_rec-pydeface_T1w |                                        | left out | no T2w
"""
SKELETONS = {
    # one of each: nothing to choose
    'hcp_example_bids': (
        named('sub-100307', 'T1w T2w'),
        '100307 | | T1w | T2w | register | the only T1w of the subject',
    ),
    # the T2 in plane with the functional images is no T2w of the head
    'ds051': (
        named('sub-01', 'run-01_T1w run-02_T1w run-01_inplaneT2'),
        """
        01 | |            | | no pair  | only T1w, no T2w; inplaneT2 is not registered
        01 | | run-01_T1w | | left out | no T2w
        01 | | run-02_T1w | | left out | no T2w
        """,
    ),
    # gradient echoes by run and echo
    'ds000117': (
        named(
            'sub-01_ses-mri', 'acq-mprage_T1w ' + ' '.join(f'run-{r}_echo-{e}_FLASH' for r in '12' for e in '1234567')
        ),
        """
        01 |     |                | | no pair  | only T1w, no T2w; FLASH is not registered
        01 | mri | acq-mprage_T1w | | left out | no T2w in its session
        """,
    ),
    # parts of a scan along the body
    'mri_chunk': (
        named('sub-001', 'chunk-1_T1w chunk-2_T1w'),
        """
        001 | |             | | no pair  | only T1w, no T2w
        001 | | chunk-1_T1w | | left out | no T2w
        001 | | chunk-2_T1w | | left out | no T2w
        """,
    ),
    # the images of two inversions, and the one that is made from them
    'qmri_mp2rage': (
        named('sub-1', 'UNIT1 T1map inv-1_part-mag_MP2RAGE inv-1_part-phase_MP2RAGE', '.nii')
        + named('sub-1', 'inv-2_part-mag_MP2RAGE inv-2_part-phase_MP2RAGE', '.nii')
        + ['sub-1_mod-MP2RAGE_defacemask.nii.gz'],
        """
        1 | |                          | | no pair  | only T1w, no T2w
        1 | | UNIT1                    | | left out | no T2w
        1 | | inv-1_part-mag_MP2RAGE   | | left out | no T1w image by itself
        1 | | inv-1_part-phase_MP2RAGE | | left out | not a magnitude image
        1 | | inv-2_part-mag_MP2RAGE   | | left out | no T1w image by itself
        1 | | inv-2_part-phase_MP2RAGE | | left out | not a magnitude image
        """,
    ),
    # the same with several echoes and without that one
    'qmri_mp2rageme': (
        named('sub-1', 'inv-1_part-mag_MP2RAGE inv-1_part-phase_MP2RAGE', '.nii')
        + named('sub-1', 'echo-1_inv-2_part-mag_MP2RAGE echo-2_inv-2_part-phase_MP2RAGE', '.nii'),
        """
        1 | |                                 | | no pair  | no T1w and no T2w (see the files left out)
        1 | | inv-1_part-mag_MP2RAGE          | | left out | no T1w image by itself
        1 | | inv-1_part-phase_MP2RAGE        | | left out | not a magnitude image
        1 | | echo-1_inv-2_part-mag_MP2RAGE   | | left out | no T1w image by itself
        1 | | echo-2_inv-2_part-phase_MP2RAGE | | left out | not a magnitude image
        """,
    ),
    # magnitude and phase of one scan
    'qmri_qsm': (
        named('sub-01', 'part-mag_T1w part-phase_T1w', '.nii'),
        """
        01 | |                | | no pair  | only T1w, no T2w
        01 | | part-mag_T1w   | | left out | no T2w
        01 | | part-phase_T1w | | left out | not a magnitude image
        """,
    ),
    # heads that move, corrected on the scanner (PMC) and in the reconstruction (wre) or not: like goes with like
    'ds004332': (
        named('sub-01', ' '.join(MOTION), '.nii'),
        MOTION_PLAN,
    ),
    # a T1w made from an MP2RAGE, older names of its inversions, and FLAIR of another resolution
    'ds000221': (
        named('sub-010002_ses-01', 'T2w acq-lowres_FLAIR acq-mp2rage_T1map acq-mp2rage_T1w acq-mp2rage_defacemask')
        + named('sub-010002_ses-01', 'inv-1_mp2rage inv-2_mp2rage')
        + named('sub-010001_ses-02', 'acq-mp2rage_T1w acq-lowres_FLAIR inv-1_mp2rage inv-2_mp2rage'),
        """
        010001 |    |                 |     | no pair  | only T1w, no T2w; FLAIR is not registered
        010001 | 02 | acq-mp2rage_T1w |     | left out | no T2w in its session
        010002 | 01 | acq-mp2rage_T1w | T2w | register | the only T1w of the session
        """,
    ),
    # two kinds of T2w, and T1w of later sessions
    'ds002685': (
        named('sub-01_ses-00', 'T1w acq-spc_T2w acq-tse_T2w FLAIR')
        + named('sub-15_ses-00', 'T1w acq-spc_T2w FLAIR')
        + named('sub-15_ses-16', 'T1w')
        + named('sub-15_ses-20', 'T1w'),
        """
        01 | 00 | T1w | acq-spc_T2w | register | the only T1w of the session
        01 | 00 | T1w | acq-tse_T2w | register | the only T1w of the session
        15 | 00 | T1w | acq-spc_T2w | register | the only T1w of the session
        15 | 16 | T1w |             | left out | no T2w in its session
        15 | 20 | T1w |             | left out | no T2w in its session
        """,
    ),
    # each scan with and without the scanner's correction of its intensities, all without their faces
    'ds004192': (
        named('sub-02_ses-localizer1', 'acq-prescannormalized_rec-pydeface_T1w acq-prescannormalized_rec-pydeface_T2w')
        + named('sub-02_ses-localizer1', 'acq-unnormalized_rec-pydeface_T1w acq-unnormalized_rec-pydeface_T2w')
        + named('sub-02_ses-localizer1', 'acq-SAGph_T2star acq-TOF3Dmultislab_rec-pydeface_angio')
        + named('sub-02_ses-localizer1', 'acq-unnormalized_rec-pydeface_mod-T2w_defacemask')
        + named('sub-02_ses-things10', 'acq-prescannormalized_rec-pydeface_T1w'),
        NORMALIZED_PLAN,
    ),
}


@pytest.mark.parametrize('name', SKELETONS)
def test_plans_of_public_datasets(tmp_path, name):
    files, expected = SKELETONS[name]
    root = dataset(tmp_path / name, *files)
    agrees(plan_table(find_pairs(Settings(bids_dir=root, output_dir=tmp_path / 'out'))), expected)


def test_sessions_that_hold_one_contrast_only(tmp_path):
    """ds000031: a head scanned for years; the T1w nearest in time is that of the morning, of another session."""
    sessions = {'015': 'T1w', '016': 'T2w', '052': 'T1w', '053': 'T2w', '2015': 'T1w', '2017': 'T1w T2w'}
    root = dataset(
        tmp_path / 'raw', *(file for s, kinds in sessions.items() for file in named(f'sub-01_ses-{s}', kinds))
    )
    times = {
        '015': '2012-10-29T17:06:18.430000',
        '016': '2012-10-30T07:58:42.190000',
        '052': '2013-02-25T16:34:04.710000',
        '053': '2013-02-25T17:28:30.097500',
    }
    options = {'bids_dir': root, 'output_dir': tmp_path / 'out'}
    apart = """
        01 | 015  | T1w |     | left out | no T2w in its session
        01 | 016  |     | T2w | left out | --pairing subject would
        01 | 052  | T1w |     | left out | no T2w in its session
        01 | 053  |     | T2w | left out | --pairing subject would
        01 | 2015 | T1w |     | left out | no T2w in its session
        01 | 2017 | T1w | T2w | register | the only T1w of the session
        """
    agrees(plan_table(find_pairs(Settings(**options))), apart)
    for session, time in times.items():
        file = f'anat/sub-01_ses-{session}_{sessions[session]}.nii.gz'
        table = root / f'sub-01/ses-{session}/sub-01_ses-{session}_scans.tsv'
        table.write_text(f'filename\tacq_time\n{file}\t{time}\n')
    together = """
        01 | 016  | T1w | T2w | register | ses-015, the nearest with a T1w
        01 | 053  | T1w | T2w | register | ses-052, the nearest with a T1w
        01 | 2015 | T1w |     | left out | no T2w in its session
        01 | 2017 | T1w | T2w | register | the only T1w of the session
        """
    agrees(plan_table(find_pairs(Settings(**options, pairing='subject'))), together)


def test_masks_of_fmriprep_that_name_no_session(tmp_path):
    """ds002799: a mask of all T1w of a subject is that of the scan on whose grid it lies."""
    root = dataset(tmp_path / 'raw', *named('sub-314_ses-preop', 'T1w T2w', '.nii'), 'sub-314_ses-postop_T1w.nii')
    derived = tmp_path / 'fmriprep' / 'sub-314' / 'anat'
    derived.mkdir(parents=True)
    (derived / 'sub-314_desc-preproc_T1w.nii.gz').touch()
    (derived / 'sub-314_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz').touch()
    options = {'bids_dir': root, 'output_dir': tmp_path / 'out', 'derivatives': [tmp_path / 'fmriprep']}
    for shift, words in ((0.0, 'brain mask of the user in'), (5.0, 'is of another grid')):
        for path, x in (
            (root / 'sub-314/ses-preop/anat/sub-314_ses-preop_T1w.nii', 0.0),
            (derived / 'sub-314_desc-brain_mask.nii.gz', shift),
        ):
            affine = np.eye(4)
            affine[0, 3] = x
            nib.save(nib.Nifti1Image(np.ones((160, 200, 180), 'uint8'), affine), path)
        expected = f"""
            314 | preop  | T1w | T2w | register | {words}
            314 | postop | T1w |     | left out | no T2w in its session
            """
        agrees(plan_table(find_pairs(Settings(**options))), expected)


def test_the_command_shows_the_same_plan(tmp_path, capsys):
    files, _ = SKELETONS['ds004332']
    root = dataset(tmp_path / 'ds004332', *files)
    places = [str(root), str(tmp_path / 'out'), 'participant', '-w', str(tmp_path / 'work')]
    assert main([*places, '--dry-run', '--skip-bids-validation']) == 0
    text = capsys.readouterr().out
    assert '6 pair(s) to register' in text
    for words in ('t2tsePMCon_rec-wre', 'left out', 'another T1w was', 'agrees best in task'):
        assert words in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ds004332']
