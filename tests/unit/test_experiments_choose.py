"""What lab 07 counts: on tables small enough to count by hand."""

import pytest
from experiments import choose as experiment
from planning import decide, rules
from planning.reports import REPORTS
from planning.rules import PEFT, RLHF, SFT


def test_the_gaps_are_those_between_the_needs():
    gaps = experiment.gaps_by_quantity(rules.uncovered)
    assert gaps == {
        "memory": [(15, 50)],
        "examples": [(5_000, 10_000)],
        "budget": [(6_000, 20_000)],
    }


@pytest.mark.parametrize(
    "quantity, method, allowed, needed",
    [
        ("memory", SFT, 24, 50),
        ("examples", SFT, 1_000, 10_000),
        ("budget", SFT, 5_000, 2_000),
        ("budget", PEFT, 0, 200),
        ("memory", RLHF, 80, 80),
    ],
)
def test_where_a_gate_and_a_need_begin(quantity, method, allowed, needed):
    gate = next(gate for gate in rules.GATES if gate.quantity == quantity)
    assert experiment.lowest_allowed(gate, method) == allowed
    assert experiment.lowest_need(method, quantity) == needed


def test_a_generous_reading_leaves_fewer_cases_without_a_method():
    strict, generous = experiment.shares_without_a_method().values()
    assert strict["all"] == 1130 / 1344 and generous["all"] == 666 / 1344
    assert generous["clear"] == 0 and generous["subjective"] == 666 / 672
    for share in (strict, generous):  # half of the cases are of each kind
        assert share["all"] == pytest.approx((share["clear"] + share["subjective"]) / 2)


def test_a_row_changes_what_it_alone_answers():
    rows = [
        ([decide.PROMPT], [], "a"),
        ([decide.PROMPT, decide.CHANGE], [], "never reached"),
        ([], [decide.PROMPT], "b"),
    ]
    # 32 of 64 sets of facts hold PROMPT. Without the first row, half of them fall to the second.
    assert experiment.changed_without(rows, 0, decide.holes) == 32
    assert experiment.changed_without(rows, 1, decide.holes) == 0
    assert experiment.changed_without(rows, 2, decide.holes) == 32


def test_agreement_counts_what_teams_did():
    alone = {report.name: experiment.agreement([report]) for report in REPORTS}
    assert alone["Alpaca"] == {"tree": 1, "table": 1}
    assert alone["LIMA"] == {"tree": 0, "table": 1}
    assert alone["InstructGPT"] == {"tree": 1, "table": 1}  # comparisons after SFT, by either name
    assert alone["DeepSeek-R1-Zero"] == {"tree": 0, "table": 1}
    disagreeing = REPORTS[0]._replace(did=decide.DPO)
    assert experiment.agreement([disagreeing]) == {"tree": 0, "table": 0}
