"""How well the checks tell right from wrong: every exercise, with the wrong solutions that stand
beside its checks and the right ones in tests/unit/right."""

import pytest
import torch
from banks import by_heart, points, right_solutions
from blind_bank import EXCUSED, FOLDER, blind_answers
from course import find, run_checks
from course.learner import NOTEBOOK_SEED
from course.registry import all_ids

# Not the notebook's: who knows its answers by heart is right there. tools/strength.py takes twenty,
# and its stored result is bound to the code of the checks.
SEEDS = range(NOTEBOOK_SEED + 1, NOTEBOOK_SEED + 6)

every_exercise = pytest.mark.parametrize("id", all_ids())


def each(solutions, name):
    return [
        pytest.param(id, solution, id=f"{id}-{name(solution)}")
        for id in all_ids()
        for solution in solutions(id)
    ]


@pytest.mark.parametrize(
    "id, wrong", each(lambda id: find(id).wrong_solutions, lambda wrong: wrong.function.__name__)
)
def test_a_wrong_solution_loses_points_and_hears_why(id, wrong):
    by_chance_right = wrong.function.__name__.endswith("_of_the_notebook")
    for seed in SEEDS if by_chance_right else (NOTEBOOK_SEED, *SEEDS):
        results = run_checks(find(id), wrong.function, seed)
        assert any(result.mistake for result in results), f"seed {seed}: full points"
        assert any(
            result.mistake.startswith(wrong.message) and result.next == wrong.next
            for result in results
        ), f"seed {seed}: {results}"


@pytest.mark.parametrize("id, function", each(right_solutions, lambda function: function.__name__))
def test_a_right_solution_gets_all_points_however_it_is_written(id, function):
    for seed in SEEDS:
        assert points(id, function, seed) == (find(id).points, []), f"seed {seed}"


@pytest.mark.parametrize("id, answer", each(blind_answers, lambda answer: answer.name))
def test_an_answer_that_was_written_blind_is_judged_rightly(id, answer):
    for seed in SEEDS:
        _, mistakes = points(id, answer.function, seed)
        assert bool(mistakes) != answer.is_right, f"seed {seed}, {answer.note}: {mistakes}"


def test_every_exercise_has_answers_that_were_written_blind():
    for id in all_ids():
        names = {answer.name for answer in blind_answers(id)}
        assert len(names) >= 9, f"{id} has {len(names)} answers written blind: see blind_bank.py"
    known = {(id, name) for id in all_ids() for name in names_in_the_file(id)}
    assert EXCUSED.keys() <= known, "an excused answer is not there any more"


def names_in_the_file(id):
    text = (FOLDER / f"{id.replace('.', '_')}.py").read_text("utf8")
    return [line[4:].partition("(")[0] for line in text.splitlines() if line.startswith("def ")]


@every_exercise
def test_the_reference_gets_all_points(id):
    for seed in SEEDS:
        assert points(id, find(id).reference, seed) == (find(id).points, []), f"seed {seed}"


@every_exercise
def test_both_banks_are_filled_and_every_solution_has_a_name_of_its_own(id):
    wrong = [solution.function.__name__ for solution in find(id).wrong_solutions]
    right = [function.__name__ for function in right_solutions(id)]
    topic = id.partition(".")[0]
    assert len(set(wrong)) == len(wrong), "two wrong solutions have one name"
    assert len(wrong) >= 5, f"labs/checks/{topic}.py has {len(wrong)} wrong solutions: write five"
    assert len(set(right)) == len(right), "two right solutions have one name"
    assert len(right) >= 3, (
        f"RIGHT in tests/unit/right/{topic}.py has {len(right)} solutions of {id}: write three"
    )
    assert find(id).reference not in right_solutions(id)


@every_exercise
def test_every_mistake_that_has_a_name_has_something_to_try_next(id):
    for wrong in find(id).wrong_solutions:
        assert wrong.next or wrong.message.startswith("your function raised"), wrong.message


@every_exercise
def test_an_exception_is_named_by_every_check(id):
    def broken(*arguments):
        raise KeyError("left")

    results = run_checks(find(id), broken, 0)
    assert all("KeyError" in result.mistake and not result.earned for result in results)


@every_exercise
def test_answers_by_heart_are_right_in_the_notebook_and_nowhere_else(id):
    assert points(id, by_heart(id), NOTEBOOK_SEED) == (find(id).points, [])
    for seed in SEEDS:
        assert points(id, by_heart(id), seed)[0] < find(id).points, f"seed {seed}"


@every_exercise
@pytest.mark.parametrize(
    "value",
    [
        None,
        ...,
        0,
        1,
        True,
        0.5,
        float("nan"),
        "",
        "text",
        [],
        ([], []),
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(3, 3, 3),
        torch.zeros((), requires_grad=True),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_what_does_not_look_at_its_arguments_earns_nothing(id, value):
    for seed in range(5):
        assert points(id, lambda *arguments, **keywords: value, seed)[0] == 0, f"seed {seed}"
