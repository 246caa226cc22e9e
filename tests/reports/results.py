"""What ``bidsreg-pair`` may have said of a registration."""

from bidsreg.registration.events import LevelEnded

#: A linear alignment of which the rigid was kept.
RIGID_KEPT = {'kept': 'rigid', 'mind_heldout': {'rigid': 0.02375, 'affine': 0.02584}, 'stretch': 0.031}

RESULT = {
    'method': 'node-mind',
    'device': 'cpu',
    'threads': 2,
    'seed': 2026,
    'seconds': {'load': 1.0, 'solve': 60.5, 'finish': 3.25, 'total': 64.75},
    'peak_memory_mb': 1834.2,
    'iterations': 95,
    'events': [
        LevelEnded(4.0, 1.0, 40, 40, False, 0).as_dict(),
        LevelEnded(2.0, 1.0, 30, 30, True, 1).as_dict(),
    ],
    'loss_history': [
        {
            'level': level,
            'iteration': i,
            'loss': 1 / (i + level),
            'similarity': 0.9 / (i + level),
            'regularity': 0.1 / (i + level),
            'factor': 1.0,
        }
        for level in (4.0, 2.0, 1.0)
        for i in range(1, 13)
    ],
    'jacobian': {
        'min': 0.81,
        'p01': 0.9,
        'median': 1.0,
        'p99': 1.12,
        'max': 1.3,
        'sdlogj': 0.051,
        'folds': 0,
        'folds_percent': 0.0,
    },
    'displacement_mm': {'mean': 1.1, 'p95': 2.6, 'max': 3.9},
    'inverse_consistency_mm': {'mean': 0.012, 'p95': 0.03, 'p99': 0.05, 'max': 0.11},
    'evidence': {
        'before': {'mind_heldout': 0.113, 'mi': 0.21, 'nmi': 1.05, 'edge_correlation': 0.12},
        'affine': {'mind_heldout': 0.078, 'mi': 0.43, 'nmi': 1.11, 'edge_correlation': 0.41},
        'diffeo': {'mind_heldout': 0.073, 'mi': 0.427, 'nmi': 1.12, 'edge_correlation': 0.47},
    },
    'decision': {'kept': 'diffeo', 'reason': 'two of two kinds of evidence are better than the affine'},
}
