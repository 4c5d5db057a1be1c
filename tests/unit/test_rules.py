"""The document's rules as data: word for word, and with the faults that the ledger names."""

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
from planning import rules
from planning.rules import GATES, METHODS, NEEDS, PEFT, RLHF, SFT, Gate, Need, Range, above, below

SOURCE = (Path(__file__).resolve().parents[2] / "chapters/source.md").read_text("utf-8")


def test_every_rule_stands_in_the_document():
    for rule in (*GATES, *NEEDS):
        for part in rule.quote.split("; "):
            assert part in SOURCE, part


@pytest.mark.parametrize(
    "range_, inside, outside",
    [
        (below(24), (0, 8, 23.9), (24, 80)),
        (Range(24, 80), (24, 50, 80), (23.9, 80.1)),
        (above(80), (80.1, 1e6), (80, 24)),
        (Range(80), (80, 1e6, math.inf), (79.9,)),
    ],
)
def test_a_range_holds_the_ends_that_belong_to_it(range_, inside, outside):
    assert all(map(range_.holds, inside)) and not any(map(range_.holds, outside))


def test_every_value_of_a_gate_leads_somewhere():
    for gate in GATES:
        for value in rules.VALUES[gate.quantity]:
            assert gate.methods(value) and gate.methods(value) <= set(METHODS)
    numeric = [gate for gate in GATES if gate.quantity in rules.UNITS]
    for gate, value in itertools.product(numeric, (0, 23.999, 24, 80, 80.001, 1e3, 5e3, 1e4, 2e4)):
        assert gate.methods(value), (gate.quote, value)


def test_values_tell_every_range_apart():
    """Each range of a gate or a need has a value inside it, or no case could show a fault there."""
    for gate in GATES:
        for place, _ in gate.leads_to:
            values = rules.VALUES[gate.quantity]
            assert any(place.holds(v) if isinstance(place, Range) else place == v for v in values)
    for need in NEEDS:
        assert any(map(need.range.holds, rules.VALUES[need.quantity])), need


def test_the_faults_that_the_ledger_names_are_found():
    told = {(fault.kind, fault.shown_by) for fault in rules.lint()}
    assert ("sent without means", "40 GB: SFT is chosen and needs 50 or more") in told
    assert ("no range", "15 to 50 GB are in no method's range") in told
    assert (
        "refused though affordable",
        "2,500 dollars are enough for SFT in section 4, and lead to PEFT",
    ) in told
    assert any(kind == "two ranges" and text.startswith("RLHF, examples") for kind, text in told)
    kinds = Counter(kind for kind, _ in told)
    assert kinds["no sum"] == 3 and kinds["no method left"] == 9 and len(kinds) == 7


def test_a_fault_is_one_of_the_rules_it_quotes():
    for fault in rules.lint():
        for quote in fault.quotes:
            assert all(part in SOURCE for part in quote.split("; ")), quote


def test_rules_without_a_fault_have_none():
    gates = (
        Gate("memory", ((below(10), (PEFT,)), (Range(10), METHODS)), ""),
        Gate("budget", ((Range(0), METHODS),), ""),
    )
    needs = (
        Need(PEFT, "memory", Range(0, 10), "", ""),
        Need(SFT, "memory", Range(10, 20), "", ""),
        Need(RLHF, "memory", Range(20), "", ""),
    )
    assert list(rules.gates_that_leave_no_method(gates)) == []
    assert list(rules.gates_that_send_without_means(gates, needs)) == []
    assert list(rules.gates_that_refuse_what_is_affordable(gates, needs)) == []
    assert list(rules.needs_that_differ(needs)) == [] == list(rules.needs_with_a_gap(needs))
    parts = {SFT: (Range(1, 2), Range(3, 4))}
    totals = (Need(SFT, "budget", Range(4, 6), "", ""),)
    assert list(rules.totals_that_are_no_sums(parts, totals)) == []


@pytest.mark.parametrize(
    "ranges, gaps",
    [
        ([(50, 80), (10, 15), (80, math.inf)], [(15, 50)]),
        ([(0, 5), (3, 9), (12, 13), (1, 2)], [(9, 12)]),
        ([(0, 100), (20, 30), (40, 50), (100, 200)], []),
        ([(7, 9)], []),
        ([], []),
    ],
)
def test_gaps_lie_between_the_ranges(ranges, gaps):
    assert rules.uncovered(ranges) == gaps


def test_most_cases_are_left_without_a_method_and_half_of_them_read_generously():
    cases = list(rules.cases())
    assert len(cases) == math.prod(map(len, rules.VALUES.values())) == 1344
    strict = [case for case in cases if not rules.methods_left(case)]
    generous = rules.read_generously()
    left = [case for case in cases if not rules.methods_left(case, generous)]
    assert len(strict) == 1130 and len(left) == 666
    assert {case["answers"] for case in left} == {"subjective"}
    for case in cases:  # reading generously forbids nothing that was allowed
        assert rules.methods_left(case) <= rules.methods_left(case, generous)


def test_the_tree_always_ends_in_a_leaf():
    assert {rules.tree(case) for case in rules.cases()} == set(METHODS)
