"""What only lab 10's checks have to be tested for."""

import inspect

import pytest
import torch
from banks import points, right_solutions
from checks import failures
from course import find, run_checks
from course.learner import NOTEBOOK_SEED
from methods import remedies

SEEDS = range(9)
POINTS = {"forward_loss": 3, "energy_left": 2, "cautious": 2, "stop_at": 2}
IDS = [f"failures.{name}" for name in POINTS]

every_exercise = pytest.mark.parametrize("id", IDS)


def given_in(id, seed):
    """With what the checks call the function: its arguments by name, for each call."""
    reference, calls = find(id).reference, []
    names = list(inspect.signature(reference).parameters)

    def listening(*arguments):
        calls.append(dict(zip(names, arguments)))
        return reference(*arguments)

    assert not any(result.mistake for result in run_checks(find(id), listening, seed))
    return calls


def test_the_points_are_those_of_the_lab():
    told = {name: find(f"failures.{name}").points for name in POINTS}
    assert told == POINTS and sum(told.values()) == 9


@pytest.mark.parametrize(
    "id, function",
    [
        pytest.param(id, function, id=function.__name__)
        for id in IDS
        for function in right_solutions(id)
    ],
)
def test_a_right_solution_gets_full_marks(id, function):
    for seed in SEEDS:
        assert points(id, function, seed) == (find(id).points, []), f"seed {seed}"


@pytest.mark.parametrize(
    "id, wrong",
    [
        pytest.param(id, wrong, id=wrong.function.__name__)
        for id in IDS
        for wrong in find(id).wrong_solutions
    ],
)
def test_a_wrong_solution_hears_its_own_words(id, wrong):
    by_chance_right = wrong.function.__name__.endswith("_of_the_notebook")
    for seed in SEEDS:
        if by_chance_right and seed == NOTEBOOK_SEED:
            continue
        results = run_checks(find(id), wrong.function, seed)
        assert any(
            result.mistake.startswith(wrong.message) and result.next == wrong.next
            for result in results
        ), f"seed {seed}: {results}"


@every_exercise
def test_ten_mistakes_have_names_at_least(id):
    assert len({wrong.message for wrong in find(id).wrong_solutions}) >= 10


@every_exercise
def test_what_is_asked_first_is_not_the_same_for_two_seeds(id):
    first = [as_text(given_in(id, seed)[0]) for seed in SEEDS]
    assert len(set(first)) == len(first)


def as_text(given):
    return tuple(
        (tuple(value.shape), *value.flatten().tolist())
        if isinstance(value, torch.Tensor)
        else str(value)
        for value in given.values()
    )


def test_the_noise_is_not_the_same_both_ways_and_its_rows_add_up_to_1():
    for seed in SEEDS:
        noises = [given["noise"] for given in given_in("failures.forward_loss", seed)]
        for noise in noises:
            torch.testing.assert_close(noise.sum(-1), torch.ones(len(noise)))
        assert sum(not torch.allclose(noise, noise.T, atol=0.02) for noise in noises) > 6
        assert any((noise == 0).any() for noise in noises)
        assert any((noise.diag() < 0.5).all() for noise in noises)
        assert any(torch.equal(noise, torch.eye(len(noise))) for noise in noises)
        assert len({len(noise) for noise in noises}) >= 3


def test_an_unlikely_label_is_one_that_probabilities_cannot_hold():
    for seed in SEEDS:
        logits, labels, noise = failures.unlikely(seed, 150.0)
        seen = logits.softmax(-1) @ noise
        assert (seen[torch.arange(len(labels)), labels] == 0).all()
        assert 140 < remedies.forward_loss(logits, labels, noise) < 160


def test_the_mean_log_of_a_probability_is_right_but_where_it_underflows():
    for seed in SEEDS:
        earned, _ = points("failures.forward_loss", failures.log_of_a_probability, seed)
        assert earned == 2


def test_matrices_are_square_taller_and_wider_and_no_singular_value_is_small():
    for seed in SEEDS:
        changes = [given["change"] for given in given_in("failures.energy_left", seed)]
        shapes = [tuple(change.shape) for change in changes]
        assert any(rows > columns > 1 for rows, columns in shapes)
        assert any(1 < rows < columns for rows, columns in shapes)
        assert any(rows == columns for rows, columns in shapes)
        assert any(not change.any() for change in changes)
        for shape in failures.some_shapes(seed):
            values = torch.linalg.svdvals(failures.some_change(seed, *shape))
            assert len(values) == min(shape) and values[-1] > values[0] / 5


def test_reward_models_disagree_here_more_and_there_less():
    for seed in SEEDS:
        calls = given_in("failures.cautious", seed)
        shapes = {tuple(given["scores"].shape) for given in calls}
        weights = [given["weight"] for given in calls]
        assert any(models == batch for models, batch in shapes)
        assert any(models > batch > 1 for models, batch in shapes)
        assert any(1 < models < batch for models, batch in shapes)
        assert any(models == 1 for models, _ in shapes)
        assert 0 in weights and any(0 < weight < 1 for weight in weights) and max(weights) > 1
        assert all((given["scores"] < 0).any() for given in calls[:6])


def test_a_course_comes_back_below_the_budget_and_exceeds_it_by_more_later():
    for seed in range(200):
        for before in (0, 1, 5):
            kl, budget = failures.some_course(seed, before)
            assert remedies.stop_at(kl, budget) == before
            assert kl[before] > budget > kl[before + 1] and kl[-1] < budget
            assert max(kl) > kl[before] and budget not in kl


def test_some_courses_end_within_the_budget_and_some_reach_it():
    for seed in SEEDS:
        calls = [(given["kl"], given["budget"]) for given in given_in("failures.stop_at", seed)]
        answers = {remedies.stop_at(kl, budget) - len(kl) for kl, budget in calls}
        assert 0 in answers and min(answers) < 0
        assert any(budget in kl for kl, budget in calls) and any(not kl for kl, _ in calls)
        assert any(kl and kl[0] > budget for kl, budget in calls)
