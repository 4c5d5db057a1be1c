"""The mutants are the faults they say, and what is published of the checks' strength is current and
good enough."""

import ast
import json

import mutants
import pytest
import strength
import torch
from banks import by_heart
from checks.shared import public_calls, traits
from course.registry import all_ids, find

from grading.judge import digest_of_checks

TOLD = json.loads(strength.FILE.read_text("utf8"))
ENTRIES = {entry["id"]: entry for entry in TOLD["exercises"]}
every_exercise = pytest.mark.parametrize("id", all_ids())


# The mutator --------------------------------------------------------------------------------------


def made(body, arguments="x, y", calls=()):
    """The faults of the mutants of a function with this body."""
    source = f"def f({arguments}):\n" + "\n".join(f"    {line}" for line in body.split("\n")) + "\n"
    return [mutant.fault for mutant in mutants.mutants(source, calls)]


@pytest.mark.parametrize(
    "body, faults",
    [
        ("return -x", ["sign: return x"]),
        (
            "return x + y",
            [
                "sign: return x - y",
                "sign: return -(x + y)",
                "part left out: return x",
                "part left out: return y",
            ],
        ),
        ("x -= y", ["sign: x += y"]),
        (
            "return x - y",
            ["order: return y - x", "part left out: return x", "part left out: return -y"],
        ),
        ("return x @ y", ["order: return y @ x"]),
        ("return g(x, y)", ["order: return g(y, x)"]),
        ("return (x, y)", ["order: return (y, x)"]),
        ("return x * y", ["part left out: return x", "part left out: return y"]),
        ("return x / len(y)", ["part left out: return x", "part left out: return 1 / len(y)"]),
        ("return x & y", ["part left out: return x"]),
        ("return x + 1e-08", ["part left out: return x", "constant: return x + 0.0"]),
        ("return x.where(y, 0)", ["step left out: return x"]),
        ("return x.detach()", ["step left out: return x"]),
        ("return x.exp()", ["step left out: return x"]),
        ("return reversed(x)", ["step left out: return x"]),
        ("return x.mean()", ["other function: return x.sum()"]),
        ("return torch.minimum(x, y)", ["other function: return torch.maximum(x, y)"]),
        ("return max(x)", ["other function: return min(x)"]),
        ("return torch.zeros(x)", ["other function: return torch.randn(x)"]),
        (
            "return x.log_softmax(-1)",
            [
                "other function: return x.softmax(-1)",
                "unstable: return x.softmax(-1).log()",
                "constant: return x.log_softmax(0)",
            ],
        ),
        (
            "return logsigmoid(x)",
            ["other function: return torch.sigmoid(x)", "unstable: return torch.sigmoid(x).log()"],
        ),
        ("return x[:, 1:]", ["off by one: return x[:, 2:]", "off by one: return x[:, 0:]"]),
        ("return x[:, :-1]", ["off by one: return x[:, :0]", "off by one: return x[:, :-2]"]),
        ("return x[:, y]", ["off by one: return x[:, y + 1]", "off by one: return x[:, y - 1]"]),
        ("return range(x)", ["off by one: return range(x - 1)", "off by one: return range(1, x)"]),
        ("return x < y", ["comparison: return x <= y"]),
        ("return x != y", ["comparison: return x == y"]),
        ("return not x", ["comparison: return x"]),
        (
            "return x.clamp(-1, y)",
            [
                "clamp of one side: return x.clamp(min=-1)",
                "clamp of one side: return x.clamp(max=y)",
            ],
        ),
        (
            "return g(True, 1, 2)",
            [
                "constant: return g(False, 1, 2)",
                "constant: return g(True, 0, 2)",
                "constant: return g(True, 1, 1)",
            ],
        ),
        ("if x:\n    raise ValueError(x - y)", ["statement left out: raise ValueError(x - y)"]),
        ("x.zero_()\nreturn x", ["statement left out: x.zero_()"]),
        ("for x in y:\n    x.zero_()", ["loop ends early: break"]),
        ("if x:\n    y.zero_()", ["statement left out: if True:"]),
        ("return g(x)", ["other argument: return g(y)"]),
        ("return g(x) + 2 * y", ["x and y exchanged: return g(y) + 2 * x"]),
    ],
)
def test_each_kind_of_fault_is_made(body, faults):
    assert set(faults) <= set(made(body))


def test_what_is_symmetric_is_not_swapped():
    assert not [
        fault
        for fault in made("return torch.minimum(x, y) + max(y, x)")
        if fault.startswith("order")
    ]


def test_an_exceptions_text_and_the_sign_of_a_number_are_left_alone():
    assert made("raise ValueError(1 - x)", "x") == ["statement left out: raise ValueError(1 - x)"]
    assert made("return -1", "x") == ["constant: return 0"]


def test_the_arguments_of_calls_tell_what_may_be_constant_changed_or_learned():
    learned, other = torch.ones(2, requires_grad=True), torch.ones(2)
    found = made(
        "return x - y * rate",
        "x, y, rate",
        [{"x": other, "y": learned, "rate": 0.3}, {"rate": 0.7}],
    )
    assert (
        "rate taken to be 0.3: rate = 0.3" in found
        and "rate taken to be 0.7: rate = 0.7" not in found
    )
    assert "in place: return operator.isub(x, y * rate)" in found
    assert "detached: return x - y.detach() * rate" in found
    assert "detached: return (x - y * rate).detach()" in found
    assert "detached: return x.detach() - y * rate" not in found
    assert not [
        fault for fault in made("return x - y") if fault.startswith(("detached", "in place"))
    ]


def test_a_line_that_stands_there_twice_gives_two_names():
    found = made("y = g(1)\nx = 2\nx = 2\nreturn x + y")
    assert (
        len(found) == len(set(found))
        and "constant: x = 1" in found
        and "constant: x = 1 (2)" in found
    )


@every_exercise
def test_every_mutant_of_a_solution_compiles_and_differs(id):
    found = strength.mutants_of(id)
    for part, mutant in found:
        compile(mutant.source, "<mutant>", "exec")
        assert mutant.source != ast.unparse(mutants.bare(strength.source_of(part))), mutant.fault
    assert (
        len({mutant.source for _, mutant in found})
        == len({mutant.fault for _, mutant in found})
        == len(found)
        >= 8
    )


def test_a_mutant_is_the_solution_with_the_fault():
    reference = find("ppo.value_loss").reference
    found = {
        mutant.fault: (part, mutant.source)
        for part, mutant in strength.mutants_of("ppo.value_loss")
    }
    given = (
        torch.tensor([1.0, 2.0]),
        torch.zeros(2),
        torch.tensor([4.0, 4.0]),
        torch.tensor([True, True]),
        9.0,
    )
    half = strength.build(reference, *found["part left out: return masked_mean(error, counts)"])
    in_helper = strength.build(
        reference,
        *found["masked_mean: other function: return (values * counts).mean() / counts.sum()"],
    )
    assert half(*given) == 2 * reference(*given) == 4 * in_helper(*given) == 6.5


# The public answers -------------------------------------------------------------------------------


def test_public_calls_are_those_of_the_notebooks_check():
    calls = public_calls("lora.parameters")
    assert len(calls) == 3 and all(len(call) == 3 for call in calls)
    assert (
        traits((torch.ones(2), [1]))
        != traits((torch.ones(2, 1), [1]))
        != traits((torch.zeros(2, 1), [1]))
    )


@every_exercise
def test_every_bank_is_filled_and_has_answers_by_heart(id):
    kinds = [case.kind for case in strength.cases_of(id)]
    assert kinds.count("wrong") >= 5 and kinds.count("right") >= 3
    assert by_heart(id).__name__ in [case.name for case in strength.cases_of(id)]


# Counting -----------------------------------------------------------------------------------------


class TwoChecks:
    points, checks = 3, [None, None]


@pytest.fixture
def counted(monkeypatch):
    """entry() for cases of a made exercise: {kind and name: verdicts}."""
    monkeypatch.setattr(strength, "find", lambda id: TwoChecks)
    monkeypatch.setattr(strength.judge, "digest_of_checks", lambda id: "sha")
    monkeypatch.setattr(strength, "EQUIVALENT", {"tiny.sum": {"sign: x": "squared"}})

    def count(*found):
        cases = [
            (strength.Case("tiny.sum", kind, name, None, "too small"), verdicts)
            for kind, name, verdicts in found
        ]
        return strength.entry("tiny.sum", "01_tiny", cases)

    return count


FULL, NAMED = [(2, ""), (1, "")], [(0, "it is too small"), (1, "")]
OTHER, SLOW = [(0, "no"), (0, "no")], [(0, "too long"), (0, "too long")]


def test_what_goes_wrong_is_counted_by_name(counted):
    told = counted(
        ("stub", "stub", [OTHER]),
        ("reference", "reference", [FULL, FULL, NAMED]),
        ("wrong", "good", [NAMED, NAMED]),
        ("wrong", "lucky", [NAMED, FULL]),
        ("wrong", "vague", [OTHER]),
        ("right", "fine", [FULL]),
        ("right", "odd", [FULL, NAMED]),
        ("right", "slow", [FULL, SLOW]),
        ("mutant", "sign: x", [FULL] * 3),
        ("mutant", "order: y", [FULL] * 3),
        ("mutant", "a", [FULL, OTHER]),
        ("mutant", "loops", [SLOW]),
        ("mutant", "b", [[(0, "your function raised KeyError")] * 2]),
    )
    assert told == {
        "id": "tiny.sum",
        "lab": "01_tiny",
        "points": 3,
        "checks": 2,
        "checks_sha256": "sha",
        "stub_earned": 0,
        "reference_failed": 1,
        "wrong": 3,
        "accepted": ["lucky"],
        "not_named": ["lucky", "vague"],
        "right": 3,
        "rejected": ["odd", "slow"],
        "mutants": 5,
        "raising": 1,
        "equivalent": {"sign: x": "squared"},
        "survivors": ["order: y"],
        "verdicts": 13,
        "flakes": 4,
    }
    assert strength.killed(told) == 3 / 4
    assert strength.missed(told) == [
        "the reference fails",
        "wrong solutions are accepted",
        "mistakes are not named",
        "right solutions are rejected",
        "verdicts depend on the seed",
        "too many mutants survive",
    ]


def test_a_stub_that_earns_something_misses_a_goal(counted):
    told = counted(
        ("stub", "stub", [NAMED]), ("reference", "reference", [FULL]), ("mutant", "a", [OTHER])
    )
    assert strength.missed(told) == ["the stub earns points"]


def test_a_mutant_that_loops_for_ever_is_stopped_and_counts_as_killed(monkeypatch):
    def loop(*arguments):
        while True:
            pass

    monkeypatch.setattr(strength, "PATIENCE", 1)
    (verdicts,) = strength.judge_all([strength.Case("sft.loss", "mutant", "loops", lambda: loop)])
    assert verdicts == [[(0, "it took longer than 1 s")] * len(find("sft.loss").checks)]


# What is published --------------------------------------------------------------------------------


def test_the_published_exercises_are_the_registered_ones():
    assert list(ENTRIES) == all_ids() and TOLD["seeds"] == len(strength.SEEDS) == 20


@every_exercise
def test_what_is_published_is_of_the_checks_as_they_are(id):
    told = ENTRIES[id]
    assert told["checks_sha256"] == digest_of_checks(id), (
        "the checks have changed: run python tools/strength.py"
    )
    assert (told["points"], told["checks"]) == (find(id).points, len(find(id).checks))
    cases = strength.cases_of(id)
    for kind, counted in (
        ("wrong", told["wrong"]),
        ("right", told["right"]),
        ("mutant", told["mutants"]),
    ):
        assert counted == sum(case.kind == kind for case in cases), (
            "a bank has changed: run python tools/strength.py"
        )


@every_exercise
def test_what_is_published_meets_the_goals(id):
    assert strength.missed(ENTRIES[id]) == []


@every_exercise
def test_every_equivalent_mutant_is_a_survivor_with_a_reason(id):
    assert ENTRIES[id]["equivalent"] == strength.EQUIVALENT.get(id, {})
    assert all(ENTRIES[id]["equivalent"].values())
