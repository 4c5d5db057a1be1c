"""The checks of lab 07's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import copy
import itertools
import random
from collections.abc import Callable

from checks.shared import expect_on_all, kind_of, needs_something, needs_untouched
from course import Exercise, Mistake
from planning import decide, rules

# What no rule speaks of ---------------------------------------------------------------------------

uncovered = Exercise("choose.uncovered", reference=rules.uncovered, minutes=15, difficulty=2)
GO_UP = "go through the ranges from low to high, and remember the highest end so far"
PAIRS = "a list of (low, high) is expected"
TOUCHING = (
    "ranges that touch have no gap between them",
    "a gap begins only where low is above the highest end so far",
)
OUTSIDE = "only what lies between the lowest and the highest end is a gap", GO_UP


def gaps_of(ranges: list, start=None, reach: Callable = max, touch: bool = False) -> list:
    """The solution with some of its parts changed."""
    gaps, reached = [], start
    for low, high in ranges:
        if reached is not None and (low >= reached if touch else low > reached):
            gaps.append((reached, low))
        reached = high if reached is None else reach(reached, high)
    return gaps


@uncovered.wrong("the ranges come in any order", next="sort them first")
def as_given(ranges):
    return gaps_of(ranges)


@uncovered.wrong(
    "a range may lie inside another one: what counts is the highest end so far", next=GO_UP
)
def neighbours_only(ranges):
    return gaps_of(sorted(ranges), reach=lambda reached, high: high)


@uncovered.wrong(*TOUCHING)
def touching_ranges(ranges):
    return gaps_of(sorted(ranges), touch=True)


@uncovered.wrong(*OUTSIDE)
def from_zero(ranges):
    return gaps_of(sorted(ranges), start=0)


@uncovered.wrong(*OUTSIDE)
def to_infinity(ranges):
    last = max((high for _, high in ranges), default=0)
    return [*gaps_of(sorted(ranges)), (last, float("inf"))]


@uncovered.wrong("low and high have changed places", next="give (low, high) of each gap")
def turned(ranges):
    return [(high, low) for low, high in rules.uncovered(ranges)]


@uncovered.wrong("this is the first gap alone", next="go on to the last range")
def first_gap(ranges):
    return rules.uncovered(ranges)[:1]


@uncovered.wrong("this is the last gap alone", next="collect the gaps in a list")
def last_gap(ranges):
    return rules.uncovered(ranges)[-1:]


@uncovered.wrong("the gaps come from high to low", next="give them from low to high")
def from_high_to_low(ranges):
    return rules.uncovered(ranges)[::-1]


@uncovered.wrong("these are the ranges themselves, joined", next="what lies between them is asked")
def joined(ranges):
    found = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found


@uncovered.wrong("the ranges are sorted by their high ends", next="sort them by their low ends")
def by_high_ends(ranges):
    return gaps_of(sorted(ranges, key=lambda ends: ends[1]))


@uncovered.wrong(
    "the gaps lie between each range and every later one",
    next="compare with the highest end so far",
)
def every_pair(ranges):
    pairs = itertools.combinations(sorted(ranges), 2)
    return [(one[1], other[0]) for one, other in pairs if other[0] > one[1]]


@uncovered.wrong("ranges is changed in place", next="make a new one; the caller still needs ranges")
def sorts_the_callers(ranges):
    ranges.sort()
    return gaps_of(ranges)


@uncovered.wrong(PAIRS, next="append (reached, low) for each gap")
def widths(ranges):
    return [high - low for low, high in rules.uncovered(ranges)]


def some_ranges(seed: int, gaps: int = 2) -> list[tuple[float, float]]:
    """Groups of ranges that overlap, touch and lie inside one another, with gaps between the groups;
    shuffled. The lowest end is above 0."""
    rng = random.Random(seed)
    ranges, low = [], rng.randint(2, 9)
    for _ in range(gaps + 1):
        high = low + rng.randint(14, 20)
        ranges += [(low, high), (low + 1, low + 2), (low + 4, low + 6), (high, high + 3)]
        low = high + 3 + rng.randint(2, 40)
    rng.shuffle(ranges)
    while ranges == sorted(ranges):
        rng.shuffle(ranges)
    return ranges


def as_gaps(value, *given) -> list[tuple[float, float]]:
    """What was returned as a list of pairs of numbers; or a Mistake."""
    needs_something(value)
    try:
        return [(float(low), float(high)) for low, high in value]
    except (TypeError, ValueError):
        kind = kind_of(value) if not isinstance(value, (list, tuple)) else "a list of others"
        raise Mistake(
            f"{PAIRS}, yours is {kind}", next="append (reached, low) for each gap"
        ) from None


@uncovered.check(points=2)
def finds_every_gap(student, seed):
    otherwise = "these are not the gaps between the ranges", GO_UP
    inputs = [(some_ranges(seed + 10**6 * gaps, gaps),) for gaps in (2, 3, 1)]
    expect_on_all(uncovered, student, inputs, otherwise, as_gaps)
    needs_untouched(uncovered, student, inputs[0])


@uncovered.check(points=1)
def finds_none_where_there_is_none(student, seed):
    """And one where there is one: an empty list for everything is no answer."""
    one = some_ranges(seed, gaps=1)
    for given, message in (
        (some_ranges(seed, gaps=0), "there is a gap where ranges cover everything"),
        (one[:1], "a single range has no gap"),
        ([], "no ranges, no gaps: the list is empty"),
    ):
        expect_on_all(uncovered, student, [(one,), (given,)], (message, GO_UP), as_gaps)


@uncovered.check(points=1)
def minds_long_ranges(student, seed):
    """One range holds all others, or reaches into a later group; two begin alike; a range is a single
    number; gaps are small; the numbers are fractions, 0, or lie below it."""
    otherwise = "a long range covers what lies inside it", GO_UP
    ranges = some_ranges(seed)
    low, high = min(ranges)[0], max(high for _, high in ranges)
    bridging = [*ranges, (low, rules.uncovered(ranges)[0][1])]
    twice = [(low, high) for low, high in ranges for high in (high, low + 1)]
    close_by = [(0, seed % 7 + 0.25), (seed % 7 + 0.5, 8), (9, 9), (10, 12)]
    around_0 = [(-9, -5), (-5, 0), (seed % 5 + 1, 8), (-7, -7)]
    holding_all = [*ranges, (low - 1, high + 1)]
    fractions = [(0.5 * low, 0.5 * high) for low, high in ranges]
    negative = [(low - 100, high - 100) for low, high in ranges]
    inputs = [
        (given,)
        for given in (bridging, holding_all, twice, close_by, around_0, fractions, negative)
    ]
    expect_on_all(uncovered, student, inputs, otherwise, as_gaps)


# The first row that holds -------------------------------------------------------------------------

first_row = Exercise("choose.first_row", reference=decide.first_row, minutes=10, difficulty=1)
HOLDS = "a row holds if all of present are facts and none of absent is"
NO_ROW = "no row holds: return None", "return None after the loop"


def answers(rows: list, holds: Callable) -> list:
    """The answers of all rows that hold."""
    return [answer for present, absent, answer in rows if holds(present, absent)]


def first(rows: list, holds: Callable) -> str | None:
    return next(iter(answers(rows, holds)), None)


@first_row.wrong(
    "a row that comes first goes before later ones", next="return at the first that holds"
)
def last_that_holds(rows, facts):
    holding = answers(
        rows, lambda present, absent: set(present) <= set(facts) and not set(absent) & set(facts)
    )
    return holding[-1] if holding else None


@first_row.wrong("the names in absent are not minded", next=HOLDS)
def absent_ignored(rows, facts):
    return first(rows, lambda present, absent: set(present) <= set(facts))


@first_row.wrong("the names in present are not minded", next=HOLDS)
def present_ignored(rows, facts):
    return first(rows, lambda present, absent: not set(absent) & set(facts))


@first_row.wrong("one of the names in present is not enough", next="all of present must be facts")
def any_present(rows, facts):
    return first(
        rows,
        lambda present, absent: (
            (not present or set(present) & set(facts)) and not set(absent) & set(facts)
        ),
    )


@first_row.wrong("a single name of absent is enough to refuse a row", next=HOLDS)
def all_absent(rows, facts):
    return first(
        rows,
        lambda present, absent: (
            set(present) <= set(facts) and not (absent and set(absent) <= set(facts))
        ),
    )


@first_row.wrong("facts that a row does not name do not matter to it", next=HOLDS)
def exactly_present(rows, facts):
    return first(
        rows, lambda present, absent: set(present) == set(facts) and not set(absent) & set(facts)
    )


@first_row.wrong("a row with nothing in present can hold, too", next=HOLDS)
def empty_never(rows, facts):
    return first(
        rows,
        lambda present, absent: (
            present and set(present) <= set(facts) and not set(absent) & set(facts)
        ),
    )


@first_row.wrong("absent and present have changed places", next=HOLDS)
def changed_places(rows, facts):
    return first(
        rows, lambda present, absent: set(absent) <= set(facts) and not set(present) & set(facts)
    )


@first_row.wrong("this gives up at the first row that does not hold", next="go on to the next row")
def gives_up(rows, facts):
    return decide.first_row(rows[:1], facts)


@first_row.wrong("this is the row's place, not its answer", next="return the answer of the row")
def place(rows, facts):
    answer = decide.first_row(rows, facts)
    return None if answer is None else [row[2] for row in rows].index(answer)


@first_row.wrong("this is the whole row", next="return its answer alone")
def whole_row(rows, facts):
    answer = decide.first_row(rows, facts)
    return None if answer is None else next(row for row in rows if row[2] == answer)


@first_row.wrong("one answer is expected, not all of them", next="return at the first that holds")
def all_answers(rows, facts):
    return answers(
        rows, lambda present, absent: set(present) <= set(facts) and not set(absent) & set(facts)
    )


@first_row.wrong(*NO_ROW)
def last_row_anyway(rows, facts):
    answer = decide.first_row(rows, facts)
    return rows[-1][2] if answer is None and rows else answer


@first_row.wrong(*NO_ROW)
def empty_text(rows, facts):
    return decide.first_row(rows, facts) or ""


def some_names(rng: random.Random, count: int) -> list[str]:
    """Different words. The second has the first one in it, as "train" has "rain"."""
    letters = rng.sample("bcdfghjkmpqtvwxyz", count)
    names = [letter + rng.choice("aeiou") + rng.choice("lnrs") for letter in letters]
    names[1] = letters[1] + names[0]
    return names


def some_table(seed: int) -> tuple[list, list[str]]:
    """Rows (present, absent, answer) of every shape, and all names that occur in them and one that
    does not."""
    rng = random.Random(seed)
    one, two, three, four, five, other = names = some_names(rng, 6)
    shapes = [
        ([one, two], [three, four]),
        ([three], [five]),
        ([four, five], [four]),
        ([one, three], []),
        ([two], [one]),
        ([], [one, two, five]),
        ([five], [two, three]),
        ([one], [five]),
    ]
    rng.shuffle(names)
    rows = [(*shape, f"answer {number} of {seed}") for number, shape in enumerate(shapes)]
    rows[3] = (*shapes[3], 0)  # an answer like any other
    return rows, names


def sets_of(names: list[str]) -> list[list[str]]:
    return [list(some) for n in range(len(names) + 1) for some in itertools.combinations(names, n)]


def as_answer(value, *given):
    return value


def on_all_sets(rows: list, names: list[str]) -> list[tuple]:
    """The rows with every set of the names as facts."""
    return [(rows, facts[::-1]) for facts in sets_of(names)]


@first_row.check(points=2)
def finds_the_first_row_that_holds(student, seed):
    otherwise = "another row is the first that holds", HOLDS
    rows, names = some_table(seed)
    held = [given for given in on_all_sets(rows, names) if decide.first_row(*given) is not None]
    expect_on_all(first_row, student, held, otherwise, as_answer)
    needs_untouched(first_row, student, held[-1])


@first_row.check(points=1)
def gives_none_where_no_row_holds(student, seed):
    """And an answer where one does."""
    rows, names = some_table(seed)
    inputs = [*on_all_sets(rows, names), *on_all_sets(rows[:1], names), ([], names), ([], [])]
    expect_on_all(first_row, student, inputs, NO_ROW, as_answer)


@first_row.check(points=1)
def minds_rows_without_conditions(student, seed):
    otherwise = "a row without conditions always holds", HOLDS
    rows, names = some_table(seed)
    first, last = [([], [], f"always {seed}"), *rows], [*rows, ([], [], f"else {seed}")]
    inputs = [*on_all_sets(first, names[:2]), *on_all_sets(last, names)]
    expect_on_all(first_row, student, inputs, otherwise, as_answer)


# What a table forgets -----------------------------------------------------------------------------

holes = Exercise("choose.holes", reference=decide.holes, minutes=15, difficulty=2)
ALL_SETS = "go through every set of names, from none to all"
LISTS = "a list of lists of names is expected"


def filtered(names: list[str], keep: Callable) -> list[list[str]]:
    return [facts for facts in sets_of(names) if keep(facts)]


@holes.wrong("the empty set of facts is left out", next=ALL_SETS)
def without_none(rows, names):
    return [facts for facts in decide.holes(rows, names) if facts]


@holes.wrong("the set of all names is left out", next=ALL_SETS)
def without_all(rows, names):
    return [facts for facts in decide.holes(rows, names) if len(facts) < len(names)]


@holes.wrong("sets of more than one fact are left out", next=ALL_SETS)
def single_facts(rows, names):
    return [facts for facts in decide.holes(rows, names) if len(facts) <= 1]


@holes.wrong("these are the sets for which a row holds", next="those for which none does are asked")
def complement(rows, names):
    return filtered(names, lambda facts: decide.first_row(rows, facts) is not None)


@holes.wrong("one row that does not hold is no hole: another one may", next="first_row gives None")
def any_row_fails(rows, names):
    return filtered(
        names, lambda facts: any(decide.first_row([row], facts) is None for row in rows)
    )


@holes.wrong("these are all sets of facts", next="keep those for which first_row gives None")
def every_set(rows, names):
    return sets_of(names)


@holes.wrong("the same set comes more than once", next="the order of its facts makes no other set")
def permutations(rows, names):
    return [
        list(facts)
        for n in range(len(names) + 1)
        for facts in itertools.permutations(names, n)
        if decide.first_row(rows, facts) is None
    ]


@holes.wrong("only the first hole is there", next="collect all of them")
def first_hole(rows, names):
    return decide.holes(rows, names)[:1]


@holes.wrong("the last row is not looked at", next="give all rows to first_row")
def without_the_last_row(rows, names):
    return decide.holes(rows[:-1], names)


@holes.wrong("these are the facts that are not true", next="give the facts that are")
def what_is_missing(rows, names):
    return [[name for name in names if name not in facts] for facts in decide.holes(rows, names)]


@holes.wrong(LISTS, next="append each set as a list")
def how_many(rows, names):
    return len(decide.holes(rows, names))


def as_sets(value, *given) -> list[tuple[str, ...]]:
    """What was returned as a sorted list of sorted sets; or a Mistake."""
    needs_something(value)
    try:
        if any(isinstance(facts, str) for facts in value):
            raise TypeError
        return sorted(tuple(sorted(facts)) for facts in value)
    except TypeError:
        kind = kind_of(value) if not isinstance(value, (list, tuple)) else "a list of others"
        raise Mistake(f"{LISTS}, yours is {kind}", next="append each set as a list") from None


def leaky_table(seed: int) -> tuple[list, list[str]]:
    """A table with holes: among them no facts at all, all of them, and some of each size between."""
    rng = random.Random(seed)
    names = some_names(rng, 4)
    one, two, three, four = names
    rows = [
        ([one], [two, three], f"first {seed}"),
        ([two, three], [four], f"second {seed}"),
        ([two], [two], f"never {seed}"),
        ([four], [one], f"third {seed}"),
    ]
    return rows, names


@holes.check(points=2)
def finds_every_hole(student, seed):
    otherwise = "these are not the sets for which no row holds", ALL_SETS
    rows, names = some_table(seed)
    inputs = [leaky_table(seed), leaky_table(seed + 10**6), (rows[:3], names)]
    expect_on_all(holes, student, inputs, otherwise, as_sets)
    needs_untouched(holes, student, leaky_table(seed))


@holes.check(points=1)
def finds_none_in_a_total_table(student, seed):
    """And some in one that is not."""
    rows, names = copy.deepcopy(leaky_table(seed))
    otherwise = "a table whose last row always holds has no hole", "first_row gives its answer"
    inputs = [(rows, names), ([*rows, ([], [], f"else {seed}")], names)]
    expect_on_all(holes, student, inputs, otherwise, as_sets)


@holes.check(points=1)
def minds_the_smallest_tables(student, seed):
    rows, names = leaky_table(seed)
    otherwise = "without rows every set is a hole, without names there is one set", ALL_SETS
    inputs = [([], names[:2]), ([], []), (rows[:1], names[:1]), (rows[:1], [])]
    expect_on_all(holes, student, inputs, otherwise, as_sets)
