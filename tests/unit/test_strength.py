"""What is published of the checks' strength is counted rightly, current and good enough."""

import ast
import json

import pytest
import strength
import torch
from banks import by_heart
from checks.shared import public_calls, traits
from course.registry import all_ids, find
from faults import bare

from grading.course import digest_of_checks

TOLD = json.loads(strength.FILE.read_text("utf8"))
ENTRIES = {entry["id"]: entry for entry in TOLD["exercises"]}
every_exercise = pytest.mark.parametrize("id", all_ids())
every_published_exercise = pytest.mark.parametrize("id", ENTRIES)


# The mutants of the solutions ---------------------------------------------------------------------


@every_exercise
def test_every_mutant_of_a_solution_compiles_and_differs(id):
    found = strength.mutants_of(id)
    for part, mutant in found:
        compile(mutant.source, "<mutant>", "exec")
        assert mutant.source != ast.unparse(bare(strength.source_of(part))), mutant.fault
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
        *found["masked_mean: other function: return values.where(counts, 0).mean() / counts.sum()"],
    )
    assert half(*given) == 2 * reference(*given) == 4 * in_helper(*given) == 6.5


# The public answers -------------------------------------------------------------------------------


def test_public_calls_are_those_of_the_notebooks_check():
    calls = public_calls("lora.parameters")
    assert len(calls) == 7 and all(len(call) == 3 for call in calls)
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
    monkeypatch.setattr(strength, "digest_of_checks", lambda id: "sha")
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
        "blind_wrong": 0,
        "blind_accepted_at_first": 0,
        "blind_accepted": [],
        "blind_right": 0,
        "blind_rejected": [],
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

    monkeypatch.setattr(strength, "TIMEOUT_SECONDS", 1)
    (verdicts,) = strength.verdicts_of([strength.Case("sft.loss", "mutant", "loops", lambda: loop)])
    assert verdicts == [[(0, "it took longer than 1 s")] * len(find("sft.loss").checks)]


# What is published --------------------------------------------------------------------------------


def test_the_published_exercises_are_the_registered_ones():
    topics = sorted({id.partition(".")[0] for id in ENTRIES.keys() ^ set(all_ids())})
    assert not topics, f"exercises have come or gone: run python tools/strength.py {topics[0]}"
    assert list(ENTRIES) == all_ids() and TOLD["seeds"] == len(strength.SEEDS) == 20


@every_published_exercise
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


@every_published_exercise
def test_what_is_published_meets_the_goals(id):
    assert strength.missed(ENTRIES[id]) == []


@every_published_exercise
def test_every_equivalent_mutant_is_a_survivor_with_a_reason(id):
    assert ENTRIES[id]["equivalent"] == strength.EQUIVALENT.get(id, {})
    assert all(ENTRIES[id]["equivalent"].values())
