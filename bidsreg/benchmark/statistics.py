"""Paired tests of the difference between methods, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats


def compare(values: pd.DataFrame, reference: str) -> dict[str, float]:
    """Compare every method with a reference, over the pairs that both have done.

    Parameters
    ----------
    values : DataFrame
        One row per pair, one column per method; NaN where a method has not done the pair.
    reference : str
        A column; without it there is nothing to compare with.

    Returns
    -------
    dict
        For each of the other columns, in their order, the p of Wilcoxon's signed-rank test (two-sided), corrected by
        Holm; NaN when there is no pair in common.
    """
    if reference not in values:
        return {}
    others = [name for name in values if name != reference]
    raw = [signed_rank((values[name] - values[reference]).dropna().to_numpy()) for name in others]
    return dict(zip(others, holm(raw), strict=True))


def signed_rank(differences: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; 1 when all differences are zero, NaN without any."""
    if not len(differences):
        return float('nan')
    return float(stats.wilcoxon(differences).pvalue) if np.any(differences != 0) else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's step-down method; NaN stays NaN and does not count.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, float)
    order = [i for i in np.argsort(values) if np.isfinite(values[i])]
    out = np.full(len(values), np.nan)
    if order:
        steps = np.arange(len(order), 0, -1)
        out[order] = np.minimum(np.maximum.accumulate(values[order] * steps), 1)
    return [float(value) for value in out]
