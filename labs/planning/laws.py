"""Laws of growth: how a performance depends on the number of examples, fitted and extrapolated.

    logarithm      a + b log N                      what "performance ∝ log(data size)" comes to
    power law      ceiling − A N^−β                   Zhang et al. 2024, equation 1, at one model size
    saturation     ceiling − A exp(−N / τ)            what has been learned is missing from the rest

The ceiling is what infinitely many examples would bring; of a loss it would be a floor. Each law is
linear but for one number (β, τ), which is searched on a grid; the rest follows by least squares.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

BETAS = np.geomspace(0.02, 5, 400)


class Law(NamedTuple):
    """A fitted law. value: of the performance at N examples · numbers: its parameters, by name ·
    error: root mean square over what it was fitted to"""

    name: str
    value: Callable[[float], float]
    numbers: dict[str, float]
    error: float


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Intercept a and slope b of the straight line a + b x with the least squared error.

    b = Σ(x − x̄)(y − ȳ) / Σ(x − x̄)², where ȳ may be left out, since Σ(x − x̄) is 0. Raises ValueError
    for fewer than two different x.
    """
    check_points(x, y)
    x, y = np.asarray(x, float), np.asarray(y, float)
    away = x - x.mean()
    slope = (away * y).sum() / (away**2).sum()
    return y.mean() - slope * x.mean(), slope


def check_points(x: Sequence[float], y: Sequence[float]) -> None:
    """Raises ValueError for points through which no single line goes best."""
    if len(x) != len(y) or len({float(one) for one in x}) < 2:
        raise ValueError("a line needs at least two points with different x, and a y for each")


def logarithm(counts: Sequence[float], values: Sequence[float]) -> Law:
    """a + b log N. Raises ValueError as `line` does, and for a count that is not above 0."""
    _check(counts)
    a, b = line([math.log(count) for count in counts], values)
    return _law("logarithm", lambda n: a + b * math.log(n), {"a": a, "b": b}, counts, values)


def power(counts: Sequence[float], values: Sequence[float]) -> Law:
    """ceiling − A N^−β. Raises ValueError as `logarithm` does."""
    _check(counts)
    return _best(
        "power law",
        [(float(beta), lambda n, beta=beta: n**-beta) for beta in BETAS],
        "beta",
        counts,
        values,
    )


def saturation(counts: Sequence[float], values: Sequence[float]) -> Law:
    """ceiling − A exp(−N / τ). Raises ValueError as `logarithm` does."""
    _check(counts)
    taus = np.geomspace(min(counts) / 10, max(counts) * 10, 400)
    return _best(
        "saturation",
        [(float(tau), lambda n, tau=tau: math.exp(-n / tau)) for tau in taus],
        "tau",
        counts,
        values,
    )


LAWS = (logarithm, power, saturation)


def _best(
    name: str,
    bends: Sequence[tuple[float, Callable[[float], float]]],
    what: str,
    counts: Sequence[float],
    values: Sequence[float],
) -> Law:
    """Of all bends, ceiling − A · bend(N) with the least squared error."""
    fits = []
    for number, bend in bends:
        x = [bend(count) for count in counts]
        if max(x) - min(x) > 1e-12:
            ceiling, slope = line(x, values)
            law = _law(
                name,
                lambda n, top=ceiling, slope=slope, bend=bend: top + slope * bend(n),
                {"ceiling": ceiling, "A": -slope, what: number},
                counts,
                values,
            )
            fits.append(law)
    return min(fits, key=lambda law: law.error)


def _law(
    name: str,
    value: Callable[[float], float],
    numbers: dict[str, float],
    counts: Sequence[float],
    values: Sequence[float],
) -> Law:
    return Law(name, value, numbers, misfit(value, counts, values))


def misfit(
    value: Callable[[float], float], counts: Sequence[float], values: Sequence[float]
) -> float:
    """Root mean square of the differences between a law and values."""
    return math.sqrt(sum((value(n) - y) ** 2 for n, y in zip(counts, values)) / len(counts))


def _check(counts: Sequence[float]) -> None:
    if not all(count > 0 for count in counts):
        raise ValueError("a law starts above 0 examples: leave the others out")


def extrapolated(
    counts: Sequence[float], values: Sequence[float], held: int = 2
) -> dict[str, float]:
    """For each law, fitted to all but the `held` largest counts, its misfit on those."""
    order = sorted(zip(counts, values))
    shown, later = order[:-held], order[-held:]
    return {law.__name__: misfit(law(*zip(*shown)).value, *zip(*later)) for law in LAWS}
