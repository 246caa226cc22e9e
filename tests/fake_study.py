"""The derivatives of a study that never was: QC files with believable numbers, a few bad pairs, failures, gaps.

``python -m tests.fake_study OUT 40`` writes one to look at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bidsreg.qc.verdict import judge
from bidsreg.registration.events import LevelEnded

#: What is wrong with which subjects (by their place), and what the group page is to make of it.
FLIPPED, ASTRAY, CROPPED, FOLDED, FAILED, WAITING, BROKEN, NO_T2W, NO_T1W = 5, 11, 17, 8, 21, 23, 26, 29, 32
LEAST = 33


def facts(name: str, number: int, random: np.random.Generator) -> dict[str, Any]:
    """The content of a QC file, in all its parts."""

    def near(mean: float, sd: float, digits: int = 5) -> float:
        return round(float(random.normal(mean, sd)), digits)

    def some(scale: float, digits: int = 4) -> list[float]:
        return [round(float(value), digits) for value in random.normal(0, scale, 3)]

    turn, shift = some(3), some(4)
    mi = {'before': 0.1 + abs(near(0.12, 0.03)), 'affine': abs(near(0.52, 0.05))}
    mi['diffeo'] = mi['affine'] + abs(near(0.04, 0.01))
    steps = ('mind_heldout', 'mi', 'nmi', 'edge_correlation')
    evidence = {
        stage: dict(
            zip(steps, (near(0.1 - 0.2 * mi[stage] / 2, 0.003), mi[stage], 1 + mi[stage] / 6, mi[stage]), strict=True)
        )
        for stage in mi
    }
    moved = abs(near(1.4, 0.35)) + 0.2
    solve = abs(near(70, 12)) + 5
    return {
        'pair': name,
        'fingerprint': '0f1e2d3c4b5a6978',
        'sources': {f'bids:raw:{name}_T1w.nii.gz': [1, 2], f'bids:raw:{name}_T2w.nii.gz': [1, 2]},
        'images': {
            't1w': {'shape': [176, 240, 256], 'voxel_mm': [1.0, 1.0, 1.0], 'obliqueness_deg': abs(near(2, 2, 3))},
            't2w': {
                'shape': [320, 320, 60],
                'voxel_mm': [0.7, 0.7, 2.5 if number % 9 else 3.0],
                'obliqueness_deg': abs(near(6, 4, 3)),
            },
        },
        'overlap': {
            'mask_dice': {'before': near(0.9, 0.03), 'affine': min(near(0.983, 0.003), 1)},
            'brain_in_view': {'before': min(near(0.995, 0.005), 1), 'affine': min(near(0.998, 0.002), 1)},
            'brain_with_signal': min(near(0.997, 0.002), 1),
        },
        'alternatives': {
            'mutual_information': near(0.6, 0.05),
            'shift_margin': near(0.62, 0.05),
            'best_shift': '5 mm downwards',
            'turn_margin': near(0.7, 0.05),
            'best_turn': '-10° about the left-right axis',
            'mirror_margin': near(0.6, 0.06),
            'person_margin': near(0.6, 0.05),
        },
        'contrast': near(-0.45, 0.05),
        'depth_contrast': abs(near(0.4, 0.05)),
        'tissue_contrast': near(-0.7, 0.05),
        'mask_evidence': {
            'both_halves': min(near(0.975, 0.004), 1),
            'width_share': near(0.82, 0.015),
            'on_grid_edge': 0.0,
            'brain_around': near(0.15, 0.04),
            'dark_inside': near(0.0003, 0.0001),
            'beside_mm': near(4.0, 0.5),
            # of a mask that the user gave
            'second_dice': near(0.96, 0.006) if number % 4 == 0 else None,
            'second_beyond': abs(near(0.002, 0.001)) if number % 4 == 0 else None,
        },
        'edge_lncc': {'before': near(0.1, 0.03), 'affine': near(0.5, 0.04), 'registered': near(0.57, 0.04)},
        'mask_method': 'deepbet, as the background is not zero',
        **({'second_mask_method': 'deepbet, as the background is not zero'} if number % 4 == 0 else {}),
        'masks': {'t1w_ml': near(1450, 120, 1), 't2w_ml': near(1450, 120, 1)},
        'prealign_start': 'the positions of the scanner',
        'linear': {'kept': 'affine', 'mind_heldout': {'rigid': 0.022, 'affine': 0.02 + number / 1e4}, 'stretch': 0.004},
        **{
            key: {
                'rotation_deg': turn,
                'rotation_total_deg': round(float(np.linalg.norm(turn)), 4),
                'translation_mm': shift,
                'translation_total_mm': round(float(np.linalg.norm(shift)), 4),
                'stretches': [1 + value for value in some(0.006)] if key == 'affine' else [1.0, 1.0, 1.0],
                'scales': [1 + value for value in some(0.006)] if key == 'affine' else [1.0, 1.0, 1.0],
                'shears': some(0.004) if key == 'affine' else [0.0, 0.0, 0.0],
                'determinant': near(1, 0.004) if key == 'affine' else 1.0,
            }
            for key in ('affine', 'rigid')
        },
        't1w_findings': [],
        't2w_findings': ['qform and sform disagree; the sform is used'] if number % 7 == 0 else [],
        't1w_skull_stripped': False,
        't2w_skull_stripped': False,
        'seconds_per_step': {
            'masking': {'brain_mask': abs(near(20, 2, 2)), 'n4': abs(near(30, 4, 2))},
            'prealign': {'rigid': abs(near(15, 2, 2)), 'affine': abs(near(18, 2, 2))},
            'registration': {'register': solve},
        },
        'result': {
            'method': 'node-mind',
            'settings': {'levels': [[4.0, 40], [2.0, 30], [1.0, 25]]},
            'versions': {'bidsreg': '0.1.0'},
            'device': 'cpu',
            'threads': 4,
            'seed': 2026,
            'iterations': int(random.integers(80, 110)),
            'events': [
                LevelEnded(4.0, 1.0, 40, 40, False, 0).as_dict(),
                LevelEnded(2.0, 1.0, 30, 30, True, 1).as_dict(),
            ],
            'attempts': 1,
            'repaired_voxels': 0,
            'path_length_mm': None,
            'loss_history': [
                {
                    'level': level,
                    'iteration': k,
                    'loss': 0.011010151356458664 / (k + 1),
                    'similarity': 0.011010151356458664 / (k + 1),
                    'regularity': 0.00012345678901234,
                    'factor': 1.0,
                }
                for level in (4.0, 2.0, 1.0)
                for k in range(32)
            ],
            'decision': {
                'kept': 'diffeo',
                'reason': 'the deformation does no harm',
                'better': 'diffeo',
                'found_mm': moved * 1.6,
            },
            'evidence': evidence,
            'jacobian': {
                'min': near(0.8, 0.04),
                'p01': near(0.92, 0.01),
                'median': near(1, 0.002),
                'p99': near(1.08, 0.01),
                'max': near(1.2, 0.05),
                'sdlogj': abs(near(0.035, 0.008)),
                'folds': 0,
                'folds_percent': 0.0,
            },
            'displacement_mm': {'mean': moved / 2, 'p95': moved, 'max': moved * 1.6},
            'inverse_consistency_mm': {'mean': 0.004, 'p95': 0.01, 'p99': abs(near(0.02, 0.006)) + 0.004, 'max': 0.2},
            'grid': {'shape': [92, 108, 100], 'spacing_mm': [1.0, 1.0, 1.0], 'affine': np.eye(4).tolist()},
            'seconds': {'load': 1.0, 'solve': solve, 'finish': 3.0, 'total': solve + 4},
            'peak_memory_mb': near(2400, 30, 1),
        },
    }


def spoil(found: dict[str, Any], number: int) -> None:
    """Make the bad ones bad."""
    if number == FLIPPED:
        found['alternatives'] |= {
            'mirror_margin': -1.61,
            'turn_margin': 0.31,
            'shift_margin': 0.33,
            'person_margin': -1.7,
        }
    elif number == ASTRAY:
        found['overlap']['mask_dice']['affine'] = 0.76
        found['alternatives'] |= {'shift_margin': -0.41, 'turn_margin': 0.02, 'person_margin': 0.04}
        found['affine'] |= {'scales': [1.09, 0.93, 1.02], 'stretches': [0.91, 1.04, 1.1], 'rotation_total_deg': 34.0}
        found['result']['displacement_mm']['p95'] = 6.3
    elif number == CROPPED:
        found['overlap'] |= {'brain_in_view': {'before': 0.88, 'affine': 0.9}, 'brain_with_signal': 0.86}
    elif number == FOLDED:
        found['result']['jacobian'] |= {'folds': 35, 'folds_percent': 0.0035, 'sdlogj': 0.39}


def write_study(out: Path, subjects: int = 40, seed: int = 0) -> list[str]:
    """Write derivatives as earlier runs leave them, as far as the study page reads them.

    Parameters
    ----------
    out : Path
        Folder to make.
    subjects : int
        At least :data:`LEAST`. Every twelfth has two sessions.
    seed : int
        Of the numbers.

    Returns
    -------
    list of str
        The names of all pairs, and of the subject that has none.
    """
    if subjects < LEAST:
        raise ValueError(f'the bad ones do not fit into {subjects} subjects')
    random = np.random.default_rng(seed)
    (out / 'logs').mkdir(parents=True)
    description = {
        'Name': 'bidsreg: T1w/T2w registration of a study that never was',
        'GeneratedBy': [{'Name': 'bidsreg'}],
    }
    (out / 'dataset_description.json').write_text(json.dumps({**description, 'DatasetType': 'derivative'}))
    plan, names = ['subject\tsession\tt1w\tt2w\tdecision\treason'], []
    width = len(str(subjects))
    for number in range(1, subjects + 1):
        subject = f'{number:0{width}d}'
        for session in ('1', '2') if number % 12 == 0 else ('',):
            name = f'sub-{subject}' + (f'_ses-{session}' if session else '')
            names.append(name)
            t1w, t2w = f'{name}_T1w.nii.gz', f'{name}_T2w.nii.gz'
            if number == NO_T2W:
                plan += [f'{subject}\t\t{t1w}\t\tleft out\tno T2w', f'{subject}\t\t\t\tno pair\tonly T1w, no T2w']
                continue
            if number == NO_T1W:
                plan += [
                    f'{subject}\t\t\t{t2w}\tleft out\tno T1w in its session',
                    f'{subject}\t\t\t\tno pair\tonly T2w',
                ]
                continue
            plan.append(f'{subject}\t{session}\t{t1w}\t{t2w}\tregister\tthe only T1w of the session; no mask')
            if number == FAILED:
                end = {'pair_name': name, 'subject': subject, 'session': None, 'status': 'failed', 'step': 'register'}
                said = 'the process was killed: memory <used up> & gone'
                record = {name: {**end, 'detail': said, 'cause': 'killed', 'crash_file': 'logs/run/crash-1.txt'}}
                (out / 'logs' / f'sub-{subject}_outcomes.json').write_text(json.dumps(record))
            if number in (FAILED, WAITING):
                continue
            found = facts(name, number, random)
            spoil(found, number)
            found['verdict'] = judge(found).as_dict()
            path = (
                out
                / f'sub-{subject}'
                / (f'ses-{session}' if session else '')
                / 'anat'
                / f'{name}_desc-registration_qc.json'
            )
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(found, indent=2)[: 900 if number == BROKEN else None])
    (out / 'logs' / 'pairs.tsv').write_text('\n'.join(plan) + '\n')
    return names


def write_pages(out: Path, names: list[str]) -> None:
    """Stand-ins for the pages of the subjects, with a place for every pair."""
    for subject in {name.partition('_')[0] for name in names}:
        mine = [name for name in names if name.partition('_')[0] == subject]
        body = ''.join(f'<p id="{name}" style="height:2000px">{name}</p>' for name in mine)
        (out / f'{subject}.html').write_text(f'<!DOCTYPE html><title>{subject}</title><h1>{subject}</h1>{body}')


def add_flair(out: Path, subjects: Sequence[str], odd: str = '') -> list[str]:
    """Give subjects of a study a FLAIR whose numbers are theirs but for what a turn loses; `odd` has one of its own."""
    names = []
    for place, subject in enumerate(subjects):
        name = f'{subject}_from-FLAIR_to-T1w'
        anat = out / subject / 'anat'
        facts = json.loads((anat / f'{subject}_desc-registration_qc.json').read_text().replace('t2w', 'flair'))
        facts |= {'pair': name, 'contrasts': {'fixed': 'T1w', 'moving': 'FLAIR'}}
        facts['alternatives']['turn_margin'] = 0.95 if subject == odd else 0.3 + 0.01 * place
        (anat / f'{name}_desc-registration_qc.json').write_text(json.dumps(facts))
        names.append(name)
    return names


if __name__ == '__main__':
    folder = Path(sys.argv[1])
    write_pages(folder, write_study(folder, int(sys.argv[2])))
