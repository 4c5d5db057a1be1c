"""The document's rules for choosing a method, as data, and what is wrong with them.

Section 5 has *gates*: a quantity that a team knows, and the methods that each range of it leads to.
Sections 3 and 4 and the two summary tables have *needs*: how much of a quantity a method takes. The
lists below hold both, word for word; `lint` compares them and finds a case for each fault.

Quantities: memory in GB, examples (pairs for RLHF), budget in dollars.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

SFT, PEFT, RLHF = METHODS = ("SFT", "PEFT", "RLHF")
UNITS = {"memory": "GB", "examples": "examples", "budget": "dollars"}


class Range(NamedTuple):
    """Numbers from low to high. An end that is left out does not belong to it."""

    low: float = 0
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True

    def holds(self, value: float) -> bool:
        above = value > self.low or self.with_low and value == self.low
        return above and (value < self.high or self.with_high and value == self.high)


def below(high: float) -> Range:
    return Range(high=high, with_high=False)


def above(low: float) -> Range:
    return Range(low, with_low=False)


class Gate(NamedTuple):
    """A rule that sends each value of a quantity to methods."""

    quantity: str
    leads_to: tuple[tuple[object, tuple[str, ...]], ...]  # (a Range or a word, methods)
    quote: str

    def methods(self, value: object) -> set[str]:
        """The methods that a value leads to; none where the gate says nothing of it."""
        return {
            method
            for place, methods in self.leads_to
            if (place.holds(value) if isinstance(place, Range) else place == value)
            for method in methods
        }


class Need(NamedTuple):
    """How much of a quantity a method takes, as one place of the document has it."""

    method: str
    quantity: str
    range: Range
    where: str
    quote: str


# The document -------------------------------------------------------------------------------------

GATES = (
    Gate(
        "answers",
        (("clear", (SFT, PEFT)), ("subjective", (RLHF,))),
        "Clear answers exist? → SFT/PEFT; Need subjective preferences? → RLHF",
    ),
    Gate(
        "memory",
        ((below(24), (PEFT,)), (Range(24, 80), (SFT,)), (above(80), (RLHF,))),
        "Storage: <24GB → PEFT; 24-80GB → SFT; >80GB → RLHF",
    ),
    Gate(
        "examples",
        ((below(1_000), (PEFT,)), (Range(1_000, 10_000), (SFT, PEFT)), (above(10_000), METHODS)),
        "Data: <1K → PEFT; 1K-10K → SFT/PEFT; >10K → All possible",
    ),
    Gate(
        "budget",
        ((below(5_000), (PEFT,)), (Range(5_000, 20_000), (SFT,)), (above(20_000), (RLHF,))),
        "Budget: <$5K → PEFT; 5K-20K → SFT; >$20K → RLHF",
    ),
    Gate(
        "team",
        (("junior", (SFT, PEFT)), ("advanced", METHODS)),
        "Junior team → SFT/PEFT; Advanced team → Can try RLHF",
    ),
)
NEEDS = (
    Need(SFT, "memory", Range(50, 80), "section 4", "50-80GB"),
    Need(PEFT, "memory", Range(10, 15), "section 4", "10-15GB"),
    Need(RLHF, "memory", Range(80), "section 4", "80GB+"),
    Need(SFT, "examples", Range(10_000, 100_000), "both summaries", "10K-100K"),
    Need(PEFT, "examples", Range(500, 5_000), "both summaries", "500-5K"),
    Need(RLHF, "examples", Range(10_000, 100_000), "the first summary", "10K-100K pairs"),
    Need(
        RLHF, "examples", Range(50_000, 100_000), "the second summary", "50K-100K preference pairs"
    ),
    Need(SFT, "budget", Range(2_000, 6_000), "section 4", "$2K-6K"),
    Need(PEFT, "budget", Range(200, 3_000), "section 4", "$200-3K"),
    Need(RLHF, "budget", Range(20_000, 60_000), "section 4", "$20K-60K"),
)
# The parts of a total in the cost breakdown of section 4, in dollars: compute, data annotation.
PARTS = {
    SFT: (Range(50, 100), Range(2_000, 5_000)),
    PEFT: (Range(10, 30), Range(200, 2_500)),
    RLHF: (Range(500, 1_500), Range(20_000, 50_000)),
}


def read_generously(gates: Iterable[Gate] = GATES) -> tuple[Gate, ...]:
    """The gates, if more of a quantity also allows what less of it allows.

    "24-80GB → SFT" then means that 24 GB are enough for SFT, and that PEFT stays possible.
    """
    return tuple(
        gate._replace(leads_to=cumulated(gate.leads_to)) if gate.quantity in UNITS else gate
        for gate in gates
    )


def cumulated(leads_to: Iterable[tuple[Range, tuple[str, ...]]]) -> tuple:
    so_far, found = (), []
    for place, methods in leads_to:
        so_far = tuple(dict.fromkeys((*so_far, *methods)))
        found.append((place, so_far))
    return tuple(found)


def tree(case: Mapping) -> str:
    """The leaf of section 5's decision tree.

    The tree asks for "sufficient" resources or budget and names no number. What the document says
    that the method needs is taken for sufficient.
    """
    if case["answers"] == "clear":
        sufficient = case["memory"] >= 50 and case["budget"] >= 2_000
        return SFT if sufficient else PEFT
    return RLHF if case["budget"] >= 20_000 else PEFT


# What the rules say of a case ---------------------------------------------------------------------

# A value inside each range that some rule tells apart.
VALUES = {
    "answers": ("clear", "subjective"),
    "memory": (8, 12, 20, 40, 60, 100),
    "examples": (100, 700, 3_000, 7_000, 30_000, 70_000, 200_000),
    "budget": (100, 1_000, 2_500, 4_000, 5_500, 10_000, 40_000, 100_000),
    "team": ("junior", "advanced"),
}


def cases() -> Iterator[dict]:
    """Every combination of VALUES."""
    for values in itertools.product(*VALUES.values()):
        yield dict(zip(VALUES, values))


def methods_left(case: Mapping, gates: Iterable[Gate] = GATES) -> set[str]:
    """The methods to which every gate leads."""
    return set(METHODS).intersection(*(gate.methods(case[gate.quantity]) for gate in gates))


# Faults -------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """What is wrong: its kind, what shows it, and the words of the document that clash."""

    kind: str
    shown_by: str
    quotes: tuple[str, ...]


def lint() -> list[Fault]:
    """All faults, by kind."""
    return [
        *gates_that_leave_no_method(),
        *gates_that_send_without_means(),
        *gates_that_refuse_what_is_affordable(),
        *needs_that_differ(),
        *needs_with_a_gap(),
        *totals_that_are_no_sums(),
        *leaves_that_the_gates_refuse(),
    ]


def gates_that_leave_no_method(gates: Sequence[Gate] = GATES) -> Iterator[Fault]:
    """Two gates that agree on no method for some case."""
    for first, second in itertools.combinations(gates, 2):
        for one, other in itertools.product(VALUES[first.quantity], VALUES[second.quantity]):
            if not first.methods(one) & second.methods(other):
                yield Fault(
                    "no method left",
                    f"{described(first.quantity, one)} and {described(second.quantity, other)}",
                    (first.quote, second.quote),
                )
                break


def gates_that_send_without_means(
    gates: Sequence[Gate] = GATES, needs: Sequence[Need] = NEEDS
) -> Iterator[Fault]:
    """A gate that sends a value to methods which all need more of that very quantity."""
    for gate in gates:
        for value in numbers_of(gate.quantity):
            short = [
                need
                for need in needs
                if need.quantity == gate.quantity
                and need.method in gate.methods(value)
                and value < need.range.low
            ]
            if gate.methods(value) and {need.method for need in short} == gate.methods(value):
                yield Fault(
                    "sent without means",
                    f"{described(gate.quantity, value)}: {in_words(gate.methods(value))} is chosen "
                    f"and needs {short[0].range.low:,} or more",
                    (gate.quote, short[0].quote),
                )


def gates_that_refuse_what_is_affordable(
    gates: Sequence[Gate] = GATES, needs: Sequence[Need] = NEEDS
) -> Iterator[Fault]:
    """A gate that refuses a method to a value within that method's own range."""
    for gate, need in itertools.product(gates, needs):
        values = [value for value in numbers_of(gate.quantity) if need.range.holds(value)]
        refused = [value for value in values if need.method not in gate.methods(value)]
        if gate.quantity == need.quantity and refused:
            yield Fault(
                "refused though affordable",
                f"{described(gate.quantity, refused[0])} are enough for {need.method} in "
                f"{need.where}, and lead to {in_words(gate.methods(refused[0]))}",
                (gate.quote, need.quote),
            )


def needs_that_differ(needs: Sequence[Need] = NEEDS) -> Iterator[Fault]:
    """Two places that give one method different ranges of one quantity."""
    for one, other in itertools.combinations(needs, 2):
        if one[:2] == other[:2] and one.range != other.range:
            yield Fault(
                "two ranges",
                f"{one.method}, {one.quantity}: {one.quote} in {one.where}, "
                f"{other.quote} in {other.where}",
                (one.quote, other.quote),
            )


def needs_with_a_gap(needs: Sequence[Need] = NEEDS) -> Iterator[Fault]:
    """Values between the ranges of a quantity, which belong to no method."""
    for quantity, unit in UNITS.items():
        ranges = [need.range[:2] for need in needs if need.quantity == quantity]
        for low, high in uncovered(ranges):
            yield Fault(
                "no range",
                f"{low:,} to {high:,} {unit} are in no method's range",
                tuple(need.quote for need in needs if need.quantity == quantity),
            )


def uncovered(ranges: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The gaps between ranges: what lies between their lowest and highest end and in none of them.

    ranges: (low, high), in any order; they may overlap or touch
    returns (low, high) of each gap, from low to high
    """
    gaps, reached = [], None
    for low, high in sorted(ranges):
        if reached is not None and low > reached:
            gaps.append((reached, low))
        reached = high if reached is None else max(reached, high)
    return gaps


def totals_that_are_no_sums(
    parts: Mapping[str, tuple[Range, ...]] = PARTS, needs: Sequence[Need] = NEEDS
) -> Iterator[Fault]:
    """A total of section 4 that its parts do not add up to, at the low end or at the high one."""
    for need in needs:
        if need.quantity != "budget":
            continue
        low, high = (
            sum(ends) for ends in zip(*((one.low, one.high) for one in parts[need.method]))
        )
        if (low, high) != (need.range.low, need.range.high):
            yield Fault(
                "no sum",
                f"{need.method}: the parts make {low:,} to {high:,} dollars, the table says "
                f"{need.range.low:,} to {need.range.high:,}",
                (need.quote,),
            )


def leaves_that_the_gates_refuse(gates: Sequence[Gate] = GATES) -> Iterator[Fault]:
    """For each leaf of the tree, a case that reaches it and whose gates leave other methods only."""
    for leaf in METHODS:
        for case in cases():
            left = methods_left(case, gates)
            if tree(case) == leaf and left and leaf not in left:
                yield Fault(
                    "tree against gates",
                    f"{', '.join(described(name, value) for name, value in case.items())}: "
                    f"{leaf} by the tree, {in_words(left)} by the gates",
                    ("Decision Tree", "Decision Flow"),
                )
                break


def numbers_of(quantity: str) -> tuple[float, ...]:
    return VALUES[quantity] if quantity in UNITS else ()


def described(quantity: str, value: object) -> str:
    """A value in words, such as "40 GB" or "a junior team"."""
    if quantity == "answers":
        return f"{value} answers"
    return f"a {value} team" if quantity == "team" else f"{value:,} {UNITS[quantity]}"


def in_words(methods: Iterable[str]) -> str:
    return " or ".join(method for method in METHODS if method in set(methods)) or "nothing"
