"""Exact binomial bounds: what n runs without failure do and do not say.

Owns: Clopper-Pearson limits in integers, so that the same counts print the same bound everywhere.
Source: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the
case of the binomial", Biometrika 26 (1934).
"""

from __future__ import annotations

from math import comb

PPM = 1_000_000


def at_most_ppm_exceeds(failures: int, runs: int, chance_ppm: int, level_ppm: int) -> bool:
    """Whether P(X <= failures) > level for X ~ Binomial(runs, chance); exact, in integers."""
    other = PPM - chance_ppm
    tail = sum(comb(runs, i) * chance_ppm**i * other ** (runs - i) for i in range(failures + 1))
    return bool(tail * PPM > level_ppm * PPM**runs)


def upper_bound_ppm(failures: int, runs: int, confidence_ppm: int = 950_000) -> int:
    """Return the one-sided upper limit of the chance of failure, in ppm, rounded up.

    The largest chance that would still give so few failures more often than 1 - confidence.
    Raises ValueError unless 0 <= failures <= runs and runs >= 1.
    """
    if not 0 <= failures <= runs or runs < 1:
        raise ValueError(f"{failures} failures of {runs} runs")
    if not 0 < confidence_ppm < PPM:
        raise ValueError(f"a confidence lies between 0 and 1,000,000 ppm: {confidence_ppm}")
    if failures == runs:
        return PPM
    low, high = 0, PPM
    while high - low > 1:
        middle = (low + high) // 2
        if at_most_ppm_exceeds(failures, runs, middle, PPM - confidence_ppm):
            low = middle
        else:
            high = middle
    return high


def interval_ppm(failures: int, runs: int, confidence_ppm: int = 950_000) -> tuple[int, int]:
    """Return the two-sided Clopper-Pearson interval in ppm, rounded outwards."""
    half_ppm = PPM - (PPM - confidence_ppm) // 2
    upper = upper_bound_ppm(failures, runs, half_ppm)
    lower = PPM - upper_bound_ppm(runs - failures, runs, half_ppm)
    return lower, upper
