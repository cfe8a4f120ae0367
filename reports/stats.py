"""Statistics of samples; pure functions.

A sample is one process's figure: the process is the unit of replication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
BOOTSTRAP_RESAMPLES = 2000
BOOTSTRAP_SEED = 1
# Below this many samples an interval would pretend to know; the range is shown instead.
SAMPLES_FOR_INTERVAL = 5


@dataclass(frozen=True)
class Estimate:
    """A median with its interval, in the unit of the samples.

    `kind` is "95 % interval" (bootstrap) or "range" (fewer than 5 samples).
    """

    median: float
    low: float
    high: float
    count: int
    kind: str


def estimate(samples: Sequence[float]) -> Estimate | None:
    """The median of samples and how sure it is; None of no samples."""
    if not samples:
        return None
    values = np.sort(np.asarray(samples, dtype=float))
    median = float(np.median(values))
    if len(values) < SAMPLES_FOR_INTERVAL or values[0] == values[-1]:
        return Estimate(median, float(values[0]), float(values[-1]), len(values), "range")
    interval = stats.bootstrap(
        (values,),
        np.median,
        confidence_level=CONFIDENCE,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return Estimate(
        median, float(interval.low), float(interval.high), len(values), "95 % interval"
    )


def growth_exponent(sizes: Sequence[float], times: Sequence[float]) -> float | None:
    """The slope of log(time) over log(size): 1 is linear, 0 is constant.

    None with fewer than three sizes: two points always lie on a line.
    """
    pairs = [(s, t) for s, t in zip(sizes, times) if s > 0 and t > 0]
    if len(pairs) < 3:
        return None
    x = [math.log(s) for s, _ in pairs]
    y = [math.log(t) for _, t in pairs]
    return float(stats.linregress(x, y).slope)
