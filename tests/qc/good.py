"""The numbers of a good pair that the verdict looks at, as a QC file has them."""

GOOD = {
    'overlap': {'mask_dice': {'affine': 0.97}, 'brain_in_view': {'affine': 1.0}, 'brain_with_signal': 0.99},
    'alternatives': {
        'shift_margin': 0.4,
        'best_shift': '5 mm to the left',
        'turn_margin': 0.4,
        'best_turn': '+10° about the feet-head axis',
        'mirror_margin': 0.5,
        'person_margin': 0.5,
    },
    'contrast': -0.4,
    'depth_contrast': 0.3,
    'tissue_contrast': -0.7,
    'mask_evidence': {
        'both_halves': 0.97,
        'width_share': 0.84,
        'on_grid_edge': 0.0,
        'brain_around': 0.1,
        'dark_inside': 0.0001,
        'beside_mm': 4.0,
        'second_dice': 0.97,
        'second_beyond': 0.001,
    },
    'masks': {'t1w_ml': 1400.0},
    'affine': {
        'rotation_total_deg': 5.0,
        'scales': [1.0, 1.01, 0.99],
        'stretches': [0.99, 1.0, 1.01],
        'shears': [0.0, 0.002, 0.0],
    },
    'result': {
        'decision': {'kept': 'diffeo', 'found_mm': 4.0},
        'evidence': {'before': {'mi': 0.2}, 'affine': {'mi': 0.4}, 'diffeo': {'mi': 0.45}},
        'jacobian': {'sdlogj': 0.05, 'folds_percent': 0.0},
        'displacement_mm': {'p95': 2.0},
        'inverse_consistency_mm': {'p99': 0.05},
    },
}
