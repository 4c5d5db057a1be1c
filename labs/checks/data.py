"""The checks of lab 06's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import math
import random

from checks.cost import as_number
from checks.shared import RETURNS_NOTHING, expect_on_all, kind_of, needs_something, needs_untouched
from course import Exercise, Mistake
from planning import cost, labels, laws

# A straight line ----------------------------------------------------------------------------------

line = Exercise("data.line", reference=laws.line, minutes=12, difficulty=2)
FORMULA = "b is Σ(x − x̄)(y − ȳ) / Σ(x − x̄)², and a is ȳ − b x̄"
A_PAIR = "a pair of numbers is expected, intercept and slope"


def _mean(values) -> float:
    return sum(values) / len(values)


def _slope(x, y, x_mean, y_mean) -> float:
    above = sum((one - x_mean) * (other - y_mean) for one, other in zip(x, y))
    return above / sum((one - x_mean) ** 2 for one in x)


@line.wrong("intercept and slope have changed places", next="return a first, then b")
def turned(x, y):
    return laws.line(x, y)[::-1]


@line.wrong(
    "this is the slope alone", next="the intercept is the mean of y minus b times that of x"
)
def slope_alone(x, y):
    return laws.line(x, y)[1]


@line.wrong("this line goes through the origin", next=FORMULA)
def through_the_origin(x, y):
    return 0.0, _slope(x, y, 0, 0)


@line.wrong("this line goes through the first and the last point alone", next=FORMULA)
def first_and_last(x, y):
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    return y[0] - slope * x[0], slope


@line.wrong("x and y have changed places", next=FORMULA)
def x_on_y(x, y):
    return laws.line(y, x)


@line.wrong("the slope is the inverse of the regression of x on y", next=FORMULA)
def inverse(x, y):
    slope = 1 / laws.line(y, x)[1]
    return _mean(y) - slope * _mean(x), slope


@line.wrong("the sign of the slope is lost in the intercept", next="a is ȳ − b x̄, with a minus")
def intercept_with_plus(x, y):
    slope = laws.line(x, y)[1]
    return _mean(y) + slope * _mean(x), slope


@line.wrong("the intercept is the value at 0, not the first value", next=FORMULA)
def first_value(x, y):
    return y[0], laws.line(x, y)[1]


@line.wrong("the intercept is the value at 0, not the mean of y", next=FORMULA)
def mean_of_y(x, y):
    return _mean(y), laws.line(x, y)[1]


@line.wrong("the slope is a mean of the slopes between neighbours", next=FORMULA)
def mean_of_slopes(x, y):
    steps = [(y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i in range(len(x) - 1)]
    return _mean(y) - _mean(steps) * _mean(x), _mean(steps)


@line.wrong("this is a correlation, not a slope", next="divide by the squares of x alone")
def correlation(x, y):
    x_mean, y_mean = _mean(x), _mean(y)
    above = sum((one - x_mean) * (other - y_mean) for one, other in zip(x, y))
    slope = above / math.sqrt(
        sum((one - x_mean) ** 2 for one in x) * sum((one - y_mean) ** 2 for one in y)
    )
    return y_mean - slope * x_mean, slope


@line.wrong("x is taken as it is: the logarithm comes later", next="leave math.log out")
def takes_the_logarithm(x, y):
    return laws.line([math.log(one) for one in x], y)


@line.wrong(*RETURNS_NOTHING)
def fits_in_silence(x, y):
    pass


def some_points(seed: int, count: int = 7) -> tuple[list[float], list[float]]:
    """Points near a line, x above 0, not in order, unevenly apart, no mean of which is 0."""
    rng = random.Random(seed)
    x = [round(1 + 20 * rng.random() ** 2 + 0.01 * i, 3) for i in range(count)]
    slope = rng.choice((-1, 1)) * rng.uniform(0.5, 2)
    y = [round(rng.uniform(3, 5) + slope * one + rng.uniform(-2, 2), 3) for one in x]
    return x, y


def as_line(value, *given) -> tuple[float, ...]:
    """What was returned as a pair of numbers, or a number as one; or a Mistake."""
    needs_something(value)
    if isinstance(value, (int, float)):
        return (as_number(value),)
    try:
        return tuple(round(float(one), 7) for one in value)
    except (TypeError, ValueError):
        raise Mistake(f"{A_PAIR}, yours is {kind_of(value)}", next="return a, b") from None


@line.check(points=2)
def has_the_least_squares(student, seed):
    otherwise = "another line has a smaller squared error", FORMULA
    inputs = [some_points(seed + step, count) for step, count in enumerate((7, 4, 11))]
    expect_on_all(line, student, inputs, otherwise, as_line)
    needs_untouched(line, student, some_points(seed))


@line.check(points=1)
def holds_for_all_points(student, seed):
    """Exact lines, two points, a level line, points in falling order, large and negative numbers."""
    otherwise = "it is right for some points and wrong for others", FORMULA
    x, y = some_points(seed)
    inputs = [
        ([1, 2, 5], [3.0, 5.0, 11.0]),
        ([2.0, 8.0], [1.0, -2.0]),
        (x, [4.25] * len(x)),
        (sorted(x, reverse=True), y),
        ([1000 * one for one in x], [one - 50 for one in y]),
        ([1, 1, 3, 3], [0, 2, 4, 6]),
        ([1, 1, 1, 3, 4], [0, 2, 7, 6, 1]),
    ]
    expect_on_all(line, student, inputs, otherwise, as_line)


# Hours of labelling -------------------------------------------------------------------------------

label_hours = Exercise("data.label_hours", reference=cost.label_hours, minutes=6, difficulty=1)
HOURS = "each judgement of each item takes its minutes; an hour has 60"


@label_hours.wrong("these are minutes", next="divide by 60")
def in_minutes(items, minutes, judgements):
    return 60 * cost.label_hours(items, minutes, judgements)


@label_hours.wrong("every item is judged several times", next="multiply by judgements")
def judged_once(items, minutes, judgements):
    return cost.label_hours(items, minutes)


@label_hours.wrong("the items are missing", next=HOURS)
def one_item(items, minutes, judgements):
    return cost.label_hours(1, minutes, judgements)


@label_hours.wrong("the minutes are missing", next=HOURS)
def one_minute(items, minutes, judgements):
    return cost.label_hours(items, 1, judgements)


@label_hours.wrong("more judgements take more time, not less", next="multiply by judgements")
def shared_out(items, minutes, judgements):
    return cost.label_hours(items, minutes) / judgements


@label_hours.wrong("these are days of 8 hours", next="leave out the 8")
def in_days(items, minutes, judgements):
    return cost.label_hours(items, minutes, judgements) / 8


@label_hours.wrong("an hour has 60 minutes; 3,600 is its seconds", next="divide by 60")
def as_seconds(items, minutes, judgements):
    return cost.label_hours(items, minutes, judgements) / 60


@label_hours.wrong("judgements are not added to the minutes", next="multiply by them")
def added(items, minutes, judgements):
    return items * (minutes + judgements) / 60


@label_hours.wrong("part of an hour counts, too", next="divide with /, and round nothing")
def whole_hours(items, minutes, judgements):
    return items * minutes * judgements // 60


@label_hours.wrong("part of an hour counts as that part", next="round nothing")
def rounded_up(items, minutes, judgements):
    return math.ceil(cost.label_hours(items, minutes, judgements))


@label_hours.wrong("each judgement is of one item, not of a pair of items", next=HOURS)
def pairs_of_items(items, minutes, judgements):
    return cost.label_hours(items * (items - 1) / 2, minutes, judgements)


@label_hours.wrong(*RETURNS_NOTHING)
def says_nothing(items, minutes, judgements):
    pass


@label_hours.check(points=2)
def multiplies_all_three(student, seed):
    otherwise = "these are not the hours", HOURS
    rng = random.Random(seed)
    inputs = [
        (rng.randint(1001, 2000), rng.choice((1.5, 2.5, 7)), rng.choice((3, 5, 7)))
        for _ in range(4)
    ]
    inputs += [(50_000, 2, 1), (1, 1, 1), (seed % 90 + 7, 0.25, 2), (0, 4, 3)]
    expect_on_all(label_hours, student, inputs, otherwise, as_number)


# What to ask next ---------------------------------------------------------------------------------

most_uncertain = Exercise(
    "data.most_uncertain", reference=labels.most_uncertain, minutes=12, difficulty=2
)
CLOSE = "a pair is uncertain if its margin is near 0, above or below"
PLACES = "a list of places, counted from 0, is expected"


@most_uncertain.wrong("a margin far below 0 is certain, too", next="order by abs(margin)")
def smallest_margins(margins, count):
    return sorted(range(len(margins)), key=lambda place: margins[place])[:count]


@most_uncertain.wrong("these are the most certain pairs", next=CLOSE)
def most_certain(margins, count):
    return sorted(range(len(margins)), key=lambda place: -abs(margins[place]))[:count]


@most_uncertain.wrong("these are the largest margins", next=CLOSE)
def largest_margins(margins, count):
    return sorted(range(len(margins)), key=lambda place: -margins[place])[:count]


@most_uncertain.wrong("these are margins, and their places are asked for", next=PLACES)
def margins_themselves(margins, count):
    return sorted(margins, key=abs)[:count]


@most_uncertain.wrong("places are counted from 0", next="use range(len(margins))")
def from_one(margins, count):
    return [place + 1 for place in labels.most_uncertain(margins, count)]


@most_uncertain.wrong("the closest comes first", next="sort by abs(margin), from small to large")
def closest_last(margins, count):
    return labels.most_uncertain(margins, count)[::-1]


@most_uncertain.wrong("the places are in the order of the pairs", next="put the closest first")
def in_place_order(margins, count):
    return sorted(labels.most_uncertain(margins, count))


@most_uncertain.wrong("this is one too many", next="a slice [:count] holds count places")
def one_too_many(margins, count):
    return labels.most_uncertain(margins, count + 1)


@most_uncertain.wrong("this is one too few", next="a slice [:count] holds count places")
def one_too_few(margins, count):
    return labels.most_uncertain(margins, count - 1) if count else []


@most_uncertain.wrong("these are all pairs, not the most uncertain ones", next="cut after count")
def all_of_them(margins, count):
    return labels.most_uncertain(margins, len(margins))


@most_uncertain.wrong(
    "equal margins have places of their own", next="sort the places; margins.index finds the first"
)
def found_by_value(margins, count):
    return [margins.index(one) for one in sorted(margins, key=abs)[:count]]


@most_uncertain.wrong(
    "margins is changed in place", next="make a new one; the caller still needs margins"
)
def sorts_the_margins(margins, count):
    places = labels.most_uncertain(margins, count)
    margins.sort(key=abs)
    return places


@most_uncertain.wrong("nearness to the mean is not uncertainty", next=CLOSE)
def near_the_mean(margins, count):
    mean = sum(margins) / max(len(margins), 1)
    return sorted(range(len(margins)), key=lambda place: abs(margins[place] - mean))[:count]


def some_margins(seed: int, count: int = 12) -> list[float]:
    """Margins on both sides of 0, all of different size, their mean far from it."""
    rng = random.Random(seed)
    sizes = rng.sample(range(1, 400), count)
    return [size / 64 * rng.choice((1, 1, 1, -1)) + 0.001 for size in sizes]


def as_places(value, *given) -> list:
    """What was returned as a list of numbers; or a Mistake."""
    needs_something(value)
    try:
        return [float(one) for one in value]
    except (TypeError, ValueError):
        raise Mistake(f"{PLACES}, yours is {kind_of(value)}", next="collect the places") from None


@most_uncertain.check(points=2)
def takes_the_closest(student, seed):
    otherwise = "other pairs are closer", CLOSE
    inputs = [(some_margins(seed + step), count) for step, count in enumerate((5, 3, 8))]
    expect_on_all(most_uncertain, student, inputs, otherwise, as_places)
    needs_untouched(most_uncertain, student, (some_margins(seed), 4))


@most_uncertain.check(points=1)
def minds_ties_and_edges(student, seed):
    """Equal margins, the earlier first, in a long list too; opposite ones; 0; large ones; nothing to
    choose; everything."""
    otherwise = "equal distances keep the order of the pairs, and count may be 0 or all", CLOSE
    margins = some_margins(seed)
    inputs = [
        ([0.5, 0.25, 0.5, 0.25, 0.5], 4),
        ([2.0, -1.0, 1.0, 0.0, -2.0], 3),
        ([1.0, -1.0, 0.5, -0.5, 2.0], 4),
        ([50.0, -45.0, 800.0, -900.0, 48.0], 4),
        ([0.25 * (place * 7 % 5 - 2) for place in range(60)], 40),
        (margins, 0),
        (margins, len(margins)),
        ([-3.0], 1),
        ([], 0),
    ]
    expect_on_all(most_uncertain, student, inputs, otherwise, as_places)
