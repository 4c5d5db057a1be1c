"""Laws of growth: each finds itself again, and the line is the one with the least squares."""

import math

import numpy as np
import pytest
from planning import laws
from planning.labels import most_uncertain

COUNTS = [16, 32, 64, 128, 256, 512, 1024, 2048]
TRUE = {
    "logarithm": lambda n: 0.1 + 0.05 * math.log(n),
    "power": lambda n: 0.9 - 0.8 * n**-0.5,
    "saturation": lambda n: 0.9 - 0.8 * math.exp(-n / 100),
}


@pytest.mark.parametrize("name", TRUE)
def test_each_law_extrapolates_itself_best(name):
    misfits = laws.extrapolated(COUNTS, [TRUE[name](count) for count in COUNTS])
    assert min(misfits, key=misfits.get) == name and misfits[name] < 2e-3


@pytest.mark.parametrize("name", TRUE)
def test_the_numbers_of_a_law_come_back(name):
    law = getattr(laws, name)(COUNTS, [TRUE[name](count) for count in COUNTS])
    expected = {
        "logarithm": {"a": 0.1, "b": 0.05},
        "power": {"ceiling": 0.9, "A": 0.8, "beta": 0.5},
        "saturation": {"ceiling": 0.9, "A": 0.8, "tau": 100},
    }[name]
    assert law.numbers == pytest.approx(expected, rel=0.02)
    assert law.error < 2e-3
    assert law.value(64) == pytest.approx(TRUE[name](64), abs=3e-3)


def test_extrapolation_sees_nothing_of_what_is_held_out():
    values = [TRUE["power"](count) for count in COUNTS]
    other = values[:-2] + [5.0, 5.0]
    one, two = (laws.extrapolated(COUNTS, each) for each in (values, other))
    for name in one:
        promised = [value + one[name] for value in values[-2:]]
        assert two[name] > 3.9 > one[name] and promised


def test_the_line_is_numpys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.normal(size=(2, 9))
        b, a = np.polyfit(x, y, 1)
        assert laws.line(x, y) == pytest.approx((a, b))


@pytest.mark.parametrize("x, y", [([1], [2]), ([3, 3], [1, 2]), ([1, 2], [1]), ([], [])])
def test_a_line_that_cannot_be_is_refused(x, y):
    with pytest.raises(ValueError, match="at least two points"):
        laws.line(x, y)


@pytest.mark.parametrize("law", laws.LAWS)
def test_no_law_begins_at_0_examples(law):
    with pytest.raises(ValueError, match="above 0 examples"):
        law([0, 1, 2], [0.1, 0.2, 0.3])


def test_uncertain_is_near_0_on_either_side():
    assert most_uncertain([3.0, -0.5, 0.25, -4.0, 0.5], 3) == [2, 1, 4]
    assert most_uncertain([1.0], 0) == []
