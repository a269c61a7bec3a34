#!/usr/bin/env python3
"""Writes mann_whitney.json: what SciPy and a slow inversion of the test make of random samples.

    pip install scipy && python3 tests/judges/mann_whitney.py

The p-value is SciPy's. The interval is found without the closed form that ringward uses: the test is
run at a shift inside every gap between neighbouring differences, ranks and all, and the interval ends
at the first gap in which the statistic is no longer beyond its critical value. All samples are
multiples of 1/1024, so that differences are exact and ties are ties.
"""

import json
import pathlib

import numpy as np
from scipy.stats import mannwhitneyu, norm, rankdata

TOLERANCE = 0.25


def statistic(x, y, shift):
    """The standardised rank sum of x - shift among y, continuity and ties corrected."""
    n, m = len(x), len(y)
    ranks = rankdata(np.concatenate([x - shift, y]))
    d = ranks[:n].sum() - n * (n + 1) / 2 - n * m / 2
    _, ties = np.unique(ranks, return_counts=True)
    total = n + m
    sigma = np.sqrt(
        n * m / 12 * ((total + 1) - (ties**3 - ties).sum() / (total * (total - 1)))
    )
    if sigma == 0:
        return 0.0
    return (d - 0.5 * np.sign(d)) / sigma


def interval(x, y, confidence):
    """Where the two-sided test at 1 - confidence no longer rejects."""
    ends = np.unique(np.subtract.outer(x, y))
    critical = norm.isf((1 - confidence) / 2)
    gaps = (ends[:-1] + ends[1:]) / 2
    at = np.array([statistic(x, y, gap) for gap in gaps])
    low = ends[np.argmax(at <= critical)] if (at <= critical).any() else ends[-1]
    beyond = np.nonzero(at >= -critical)[0]
    high = ends[beyond[-1] + 1] if len(beyond) else ends[0]
    return float(low), float(high)


def reference(x, y, confidence):
    n, m = len(x), len(y)
    test = mannwhitneyu(x, y, alternative="two-sided", method="asymptotic", use_continuity=True)
    constant = len(np.unique(np.concatenate([x, y]))) == 1
    low, high = interval(x, y, confidence)
    estimate = float(np.median(np.subtract.outer(x, y)))
    cles = float(np.mean([(a > b) + 0.5 * (a == b) for a in x for b in y]))
    same = n == m and bool((np.sort(x) == np.sort(y)).all())
    if same:
        ratio = 1.0
    elif x.mean() == 0 or y.mean() == 0:
        ratio = None
    else:
        ratio = float(x.mean() / y.mean())
    band = TOLERANCE * abs(estimate)
    if low > band and (ratio is None or ratio >= 1):
        label = "High"
    elif high < -band and (ratio is None or ratio <= 1):
        label = "Low"
    else:
        label = "Pass"
    return {
        "experiment": x.tolist(),
        "control": y.tolist(),
        "confidence": confidence,
        "u": float(test.statistic),
        "pValue": None if constant else float(test.pvalue),
        "interval": [low, high],
        "estimate": estimate,
        "cles": cles,
        "meanRatio": ratio,
        "class": label,
    }


def grid(values):
    return np.round(np.asarray(values) * 1024) / 1024


def cases(random):
    """Continuous, coarse (many ties), zero-inflated, constant on one side or both, and shifted."""
    makers = [
        lambda size, shift: grid(random.normal(10 + shift, 2, size)),
        lambda size, shift: np.round(random.normal(5 + shift, 1.5, size)),
        lambda size, shift: np.round(random.exponential(2, size) + shift) * (random.random(size) < 0.3),
        lambda size, shift: grid(random.lognormal(1, 1, size)) + np.round(shift),
        lambda size, shift: np.full(size, 3.0 + np.round(shift)),
        lambda size, shift: np.where(random.random(size) < 0.1, 7.0, 4.0 + np.round(shift)),
    ]
    for index in range(240):
        n, m = random.integers(1, 16, 2)
        if index % 40 == 0:
            n, m = 50, 60
        shift = random.choice([0.0, 0.0, 0.5, 3.0, -3.0, 20.0])
        x = makers[random.integers(len(makers))](n, shift)
        # Most often both sides are of one kind, as two populations of one service are.
        kind = index % len(makers)
        if index % 3:
            x = makers[kind](n, shift)
        y = makers[kind](m, 0.0)
        confidence = float(random.choice([0.98, 0.98, 0.95, 0.9, 0.999, 0.5]))
        yield reference(x, y, confidence)


if __name__ == "__main__":
    found = list(cases(np.random.default_rng(20261102)))
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in found)
    target = pathlib.Path(__file__).with_name("mann_whitney.json")
    target.write_text(f"[\n{lines}\n]\n")
    labels = [case["class"] for case in found]
    print(len(found), "cases:", {label: labels.count(label) for label in sorted(set(labels))})
