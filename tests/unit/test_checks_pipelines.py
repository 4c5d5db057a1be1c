"""What only lab 09's checks have to be tested for."""

import inspect

import pytest
import torch
from banks import points
from checks import pipelines as checks
from course import find, run_checks
from methods import lora, pipelines

SEEDS = range(6)
POINTS = {"begin_stage": 3, "mixed_batch": 4, "with_signal": 2, "paired_interval": 3}
IDS = [f"pipelines.{name}" for name in POINTS]

every_exercise = pytest.mark.parametrize("id", IDS)


def given_in(id, seed):
    """With what the checks call the function: its arguments by name, for each call. A call that ends
    in an exception is left out."""
    reference, calls = find(id).reference, []
    names = list(inspect.signature(reference).parameters)

    def listening(*arguments):
        value = reference(*arguments)
        calls.append(dict(zip(names, arguments)))
        return value

    assert not any(result.mistake for result in run_checks(find(id), listening, seed))
    return calls


def earned(id, function, seed=1):
    return [result.earned for result in run_checks(find(id), function, seed)]


def heard(id, function, seed=1):
    return [result.mistake for result in run_checks(find(id), function, seed) if result.mistake]


def test_the_points_are_those_of_the_lab():
    told = {name: find(f"pipelines.{name}").points for name in POINTS}
    assert told == POINTS and sum(told.values()) == 12


@every_exercise
def test_ten_mistakes_have_names_at_least(id):
    assert len({wrong.message for wrong in find(id).wrong_solutions}) >= 10


@every_exercise
def test_what_is_asked_first_is_not_the_same_for_two_seeds(id):
    first = [str(given_in(id, seed)[0]) for seed in SEEDS]
    assert len(set(first)) == len(first)


# The next stage -----------------------------------------------------------------------------------


def test_layers_are_wider_taller_and_square_and_the_policy_is_never_the_base():
    for seed in SEEDS:
        layers = checks.some_layers(seed)
        sides = [(*weight.shape, len(A)) for weight, A, _, _ in layers]
        assert any(rank < d_out < d_in for d_out, d_in, rank in sides)
        assert any(rank < d_in < d_out for d_out, d_in, rank in sides)
        assert any(rank < d_out == d_in for d_out, d_in, rank in sides)
        assert any(rank == 1 for *_, rank in sides) and any(rank > 6 for *_, rank in sides)
        assert any(len(A) == alpha for _, A, _, alpha in layers)
        assert all((B @ A).abs().max() > 0.1 for _, A, B, _ in layers)


def test_what_a_stage_is_worth_when_one_thing_is_wrong():
    def unmerged(weight, A, B, alpha):
        return weight.clone(), A.clone(), B.clone()

    def unscaled(weight, A, B, alpha):
        return weight + B @ A, A.clone(), torch.zeros_like(B)

    def twice(weight, A, B, alpha):
        return lora.merged_weight(weight, A, B, alpha), A.clone(), B.clone()

    def alias(weight, A, B, alpha):
        return lora.merged_weight(weight, A, B, alpha), A.detach(), torch.zeros_like(B)

    told = {
        function.__name__: earned("pipelines.begin_stage", function)
        for function in (unmerged, unscaled, twice, alias)
    }
    assert told == {
        "unmerged": [0, 0, 0],
        "unscaled": [0, 1, 1],
        "twice": [1, 0, 1],
        "alias": [1, 1, 0],
    }


def test_a_product_that_fits_only_square_matrices_is_named_whatever_its_factor():
    def turned(weight, A, B, alpha):
        return weight + (B @ A).T * alpha, A.clone(), torch.zeros_like(B)

    assert heard("pipelines.begin_stage", turned)[0] == "the product B A is transposed"


def test_any_view_of_an_argument_is_found_and_a_copy_is_none():
    weight = torch.ones(3, 4)
    for view in (weight, weight[:], weight.T, weight.view(-1), weight.detach(), weight[1:]):
        assert checks.lies_in(view, weight)
    for copy in (weight.clone(), weight + 0, weight.double(), torch.zeros_like(weight)):
        assert not checks.lies_in(copy, weight)


@pytest.mark.parametrize("size", [1e-8, 1e-3, 1.0, 1e4])
def test_a_small_b_is_not_zero_and_the_rounding_of_a_product_is(size):
    A, B = size * torch.randn(4, 9), torch.randn(8, 4) / size
    assert not checks.adds_nothing(A, B) and not checks.adds_nothing(A, 1e-9 * B)
    assert checks.adds_nothing(A, 0 * B) and checks.adds_nothing(0 * A, B)
    left, right = torch.linalg.qr(torch.randn(4, 4)).Q.split(2, dim=1)
    assert checks.adds_nothing(right @ torch.randn(2, 9) * size, torch.randn(8, 2) @ left.T)


# One batch, many adapters -------------------------------------------------------------------------


def test_no_row_has_the_adapter_that_another_mistake_would_give_it():
    for seed in range(60):
        for rows, adapters in ((4, 4), (5, 3), (6, 4), (9, 6)):
            chosen = checks.mixed_up(seed, rows, adapters)
            assert {0, adapters - 1} < set(chosen) and len(set(chosen)) < rows == len(chosen)
            assert chosen[0] != 0 and chosen[0] != chosen[-1] and chosen != sorted(chosen)
            based = checks.with_the_base(seed, chosen)
            assert based.count(-1) == 2 and based[0] >= 0 <= based[-1]


def test_batches_vary_in_all_sizes():
    for seed in SEEDS:
        calls = given_in("pipelines.mixed_batch", seed)
        sizes = {
            name: {given[of].shape[side] for given in calls}
            for name, of, side in (
                ("rows", "x", 0),
                ("time", "x", 1),
                ("d_in", "x", 2),
                ("adapters", "A", 0),
                ("rank", "A", 1),
                ("d_out", "B", 1),
            )
        }
        assert all(len(found) >= 4 for found in sizes.values()), sizes
        assert all(1 in sizes[name] for name in ("rows", "time", "rank", "adapters", "d_out"))
        assert any(given["A"].shape[1] > given["x"].shape[2] for given in calls)
        assert len({given["alpha"] for given in calls}) >= 8
        chosen = [given["adapter"] for given in calls]
        assert any((rows == -1).all() and len(rows) > 1 for rows in chosen)
        assert any((rows >= 0).all() for rows in chosen)
        for first, last in ((True, False), (False, True)):
            assert any((rows[0] < 0) == first and (rows[-1] < 0) == last for rows in chosen)
        for given in calls:
            if (given["adapter"] < 0).any() and given["alpha"] == given["A"].shape[1]:
                break
        else:
            pytest.fail("no batch with the base in which the factor is 1")


def test_what_a_batch_is_worth_when_one_thing_is_wrong():
    def unscaled(x, weight, A, B, alpha, adapter):
        return pipelines.mixed_batch(x, weight, A, B, A.shape[1], adapter)

    def last_for_the_base(x, weight, A, B, alpha, adapter):
        return pipelines.mixed_batch(x, weight, A, B, alpha, adapter % len(A))

    def detached(x, weight, A, B, alpha, adapter):
        return pipelines.mixed_batch(x, weight, A, B, alpha, adapter).detach()

    def marked(x, weight, A, B, alpha, adapter):
        out = pipelines.mixed_batch(x, weight, A, B, alpha, adapter)
        adapter[adapter < 0] = 0
        return out

    told = {
        function.__name__: earned("pipelines.mixed_batch", function)
        for function in (unscaled, last_for_the_base, detached, marked)
    }
    assert told == {
        "unscaled": [0, 1, 0, 1],
        "last_for_the_base": [1, 0, 1, 1],
        "detached": [1, 1, 1, 0],
        "marked": [1, 1, 1, 0],
    }


def test_sides_that_do_not_fit_are_named_on_a_batch_where_they_do():
    def turned(x, weight, A, B, alpha, adapter):
        return x @ weight + pipelines.mixed_batch(x, 0 * weight, A, B, alpha, adapter)

    assert heard("pipelines.mixed_batch", turned)[0] == "the base's weight is transposed"


# Numbers ------------------------------------------------------------------------------------------


def test_successes_lie_far_apart_and_edges_are_there():
    for seed in SEEDS:
        calls = given_in("pipelines.with_signal", seed)
        assert {1, 2} < {given["size"] for given in calls}
        assert any(len(given["success"]) == given["size"] for given in calls)
        assert any(len(given["success"]) == 1 for given in calls)
        assert any((given["success"] == 0).all() for given in calls)
        assert any((given["success"] == 1).all() for given in calls)
        assert calls[0]["success"].std() > 0.15


def test_an_estimate_is_told_from_a_share_whatever_draws_it():
    def seeded(success, size):
        generator = torch.Generator().manual_seed(7)
        wins = (torch.rand(2000, size, len(success), generator=generator) < success).sum(1)
        return ((wins > 0) & (wins < size)).float().mean()

    def unseeded(success, size):
        return pipelines.groups_with_signal(success, size) + 0.001 * torch.randn(())

    for seed in SEEDS:
        assert heard("pipelines.with_signal", seeded, seed)[0] == checks.NEARLY[0]
        assert heard("pipelines.with_signal", unseeded, seed)[0] == checks.SAMPLED[0]


def test_methods_vary_together_and_pairs_are_worth_it():
    for seed in SEEDS:
        for first, second, quantile in checks.several_seeds(seed):
            _, half = pipelines.paired_interval(first, second, quantile)
            assert half > 0.02
        lengths = {len(given["first"]) for given in given_in("pipelines.paired_interval", seed)}
        assert {2, 3} < lengths and len(lengths) >= 5


def test_whatever_is_raised_refuses_a_seed_without_partner():
    def refusing(error):
        def interval(first, second, quantile):
            if len(first) != len(second):
                raise error
            return pipelines.paired_interval(first, second, quantile)

        return interval

    for error in (ValueError, AssertionError, RuntimeError, Exception):
        assert points("pipelines.paired_interval", refusing(error), 2) == (3, [])

    def by_zip(first, second, quantile):
        pairs = list(zip(first, second))
        return pipelines.paired_interval(*zip(*pairs), quantile)

    assert earned("pipelines.paired_interval", by_zip) == [1, 1, 0]


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor])
def test_two_numbers_may_come_as_a_list_a_tuple_or_a_tensor(kind):
    def interval(first, second, quantile):
        return kind(pipelines.paired_interval(first, second, quantile))

    assert points("pipelines.paired_interval", interval, 3) == (3, [])
