"""Means and intervals over seeds. What is computed here counts in the provenance of results."""

import math
import statistics
from collections.abc import Iterable
from numbers import Real

import torch

from .errors import CourseError

# 97.5 % quantiles of Student's t, for 1 to 9 degrees of freedom
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def mean_interval(values: Iterable[float | torch.Tensor]) -> tuple[float, list[float] | None]:
    """The mean over seeds and its 95 % t-interval, from a small table of quantiles.

    values: 1 to 10 finite numbers · returns (mean, [low, high]), or (mean, None) for a single value
    """
    values = [finite(value, "mean_interval") for value in values]
    if not 1 <= len(values) <= len(T_QUANTILES) + 1:
        raise CourseError(
            f"mean_interval takes 1 to {len(T_QUANTILES) + 1} values, one per seed; "
            f"it was given {len(values)}."
        )
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, None
    half = T_QUANTILES[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, [mean - half, mean + half]


def finite(value: object, name: str) -> int | float:
    """`value` as a plain int or float; raises CourseError unless it is one finite number."""
    try:
        number = value.item() if hasattr(value, "item") else value
    except (RuntimeError, ValueError):  # more than one element
        number = None
    if not isinstance(number, Real):
        raise CourseError(
            f"{name}: {type(value).__name__} is not one number; "
            "give an int, a float or a tensor with one element."
        )
    number = number if type(number) is int else float(number)
    if not math.isfinite(number):
        raise CourseError(f"{name}: the value is {number}; a record holds finite numbers only.")
    return number
