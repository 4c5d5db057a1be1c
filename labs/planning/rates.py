"""Choosing a learning rate from a sweep."""

import math
import statistics
from collections.abc import Sequence


def gentlest_rate(
    rates: Sequence[float], losses: Sequence[Sequence[float]]
) -> tuple[float, bool] | None:
    """The learning rate to take from a sweep, and whether the sweep should go on.

    It is the lowest rate whose mean loss is within one standard error of the best one's, as Breiman
    et al. 1984 choose the smallest of the trees that are about as good. A rate at which any run
    diverged is out.

    rates: each another one, in any order · losses: for each rate one of each seed, NaN or inf where
    the run diverged
    returns the rate, and whether the best rate is the lowest or the highest that was tried, so that a
    better one may lie beyond; None if runs diverged at every rate
    """
    means = {
        rate: statistics.fmean(some)
        for rate, some in zip(rates, losses, strict=True)
        if all(map(math.isfinite, some))
    }
    if not means:
        return None
    best = min(means, key=means.get)
    within = means[best] + _standard_error(losses[list(rates).index(best)])
    gentlest = min(rate for rate, mean in means.items() if mean <= within)
    return gentlest, best in (min(rates), max(rates))


def _standard_error(values: Sequence[float]) -> float:
    """Of the mean; 0 for a single value, which tells nothing of it."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
