"""Pipelines: what each function is by definition, and what is refused."""

import math
import statistics

import pytest
import torch
from course.statistics import T_QUANTILES, mean_interval
from methods import pipelines
from methods.lora import initialise, lora_update
from torch.nn.functional import linear

D_OUT, D_IN, RANK, ALPHA = 7, 9, 3, 5.0


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(seed):
    """A weight, A and B, none of them zero."""
    return drawn(seed, D_OUT, D_IN), drawn(seed + 1, RANK, D_IN), drawn(seed + 2, D_OUT, RANK)


def policy(x, weight, A, B, alpha=ALPHA):
    return linear(x, weight) + lora_update(x, A, B, alpha)


# The next stage -----------------------------------------------------------------------------------


def test_the_reference_and_the_policy_of_the_next_stage_are_the_old_policy():
    x, (weight, A, B) = drawn(9, 4, 6, D_IN), layer(1)
    new_weight, new_A, new_B = pipelines.begin_stage(weight, A, B, ALPHA)
    before = policy(x, weight, A, B)
    torch.testing.assert_close(linear(x, new_weight), before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(policy(x, new_weight, new_A, new_B), before, rtol=1e-5, atol=1e-5)
    assert (linear(x, weight) - before).abs().max() > 0.1, "the last stage has learned nothing"


def test_the_first_gradient_reaches_b_and_the_next_one_a():
    x, target = drawn(9, 20, D_IN), drawn(10, 20, D_OUT)
    weight, A, B = pipelines.begin_stage(*layer(1), ALPHA)
    A.requires_grad_()
    B.requires_grad_()
    optimizer = torch.optim.SGD([A, B], lr=1e-3)
    for A_learns in (False, True):
        optimizer.zero_grad()
        (policy(x, weight, A, B) - target).square().mean().backward()
        assert B.grad.abs().max() > 1e-3 and bool(A.grad.any()) == A_learns
        optimizer.step()


def test_after_two_stages_the_weight_has_the_sum_of_both_updates():
    weight, A, B = layer(1)
    first, _, _ = pipelines.begin_stage(weight, A, B, ALPHA)
    new_A, new_B = drawn(5, 2, D_IN), drawn(6, D_OUT, 2)  # another rank, another alpha
    second, _, _ = pipelines.begin_stage(first, new_A, new_B, 3.0)
    expected = weight + B @ A * ALPHA / RANK + new_B @ new_A * 3.0 / 2
    torch.testing.assert_close(second, expected, rtol=1e-5, atol=1e-5)


def test_what_the_last_stage_learned_is_left_as_it_was():
    before = layer(1)
    given = [tensor.clone() for tensor in before]
    for tensor in pipelines.begin_stage(*given, ALPHA):
        tensor.add_(1)
    assert all(map(torch.equal, given, before))


def test_a_stage_that_learned_nothing_begins_with_a_weight_of_its_own():
    weight = drawn(1, D_OUT, D_IN)
    A, B = initialise(D_OUT, D_IN, RANK)
    new_weight, new_A, new_B = pipelines.begin_stage(weight, A, B, ALPHA)
    assert torch.equal(new_weight, weight) and torch.equal(new_A, A) and not new_B.any()
    assert new_weight.data_ptr() != weight.data_ptr()


def test_a_weight_of_another_shape_is_refused():
    _, A, B = layer(1)
    with pytest.raises(ValueError, match="one shape: weight"):
        pipelines.begin_stage(torch.zeros(D_OUT, 1), A, B, ALPHA)


# One batch, many adapters -------------------------------------------------------------------------

CHOSEN = [2, 0, -1, 3, 2, -1]


def batch(adapter=CHOSEN, adapters=4, time=5):
    x = drawn(1, len(adapter), time, D_IN)
    A, B = drawn(3, adapters, RANK, D_IN), drawn(4, adapters, D_OUT, RANK)
    return [x, drawn(2, D_OUT, D_IN), A, B, ALPHA, torch.tensor(adapter)]


def row_by_row(x, weight, A, B, alpha, adapter):
    """The definition."""
    return torch.stack(
        [
            linear(row, weight) + (lora_update(row, A[k], B[k], alpha) if k >= 0 else 0)
            for row, k in zip(x, adapter.tolist(), strict=True)
        ]
    )


@pytest.mark.parametrize(
    "adapter, adapters",
    [(CHOSEN, 4), ([-1, -1, -1], 2), ([1, 1], 2), ([0], 1), ([-1], 1), (list(range(6)), 6)],
)
@pytest.mark.parametrize("time", [1, 5])
def test_each_row_has_its_own_adapter(adapter, adapters, time):
    given = batch(adapter, adapters, time)
    torch.testing.assert_close(pipelines.mixed_batch(*given), row_by_row(*given))


def test_a_batch_of_one_adapter_is_a_layer_with_that_adapter():
    x, weight, A, B, alpha, _ = batch()
    for k in range(len(A)):
        mixed = pipelines.mixed_batch(x, weight, A, B, alpha, torch.full((len(x),), k))
        torch.testing.assert_close(mixed, policy(x, weight, A[k], B[k]))
    based = pipelines.mixed_batch(x, weight, A, B, alpha, torch.full((len(x),), -1))
    torch.testing.assert_close(based, linear(x, weight))


def test_rows_and_adapters_can_be_put_in_another_order():
    x, weight, A, B, alpha, adapter = batch()
    mixed = pipelines.mixed_batch(x, weight, A, B, alpha, adapter)
    rows = torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(
        pipelines.mixed_batch(x[rows], weight, A, B, alpha, adapter[rows]), mixed[rows]
    )
    renamed = torch.where(adapter < 0, -1, len(A) - 1 - adapter)
    torch.testing.assert_close(
        pipelines.mixed_batch(x, weight, A.flip(0), B.flip(0), alpha, renamed), mixed
    )


def test_gradients_are_those_of_a_loop():
    found = []
    for function in (pipelines.mixed_batch, row_by_row):
        given = batch()
        learned = [given[place].requires_grad_() for place in (0, 2, 3)]
        function(*given).square().sum().backward()
        found.append([tensor.grad for tensor in learned])
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
    _, of_A, of_B = found[0]
    assert not of_A[1].any() and not of_B[1].any(), "no row has this adapter"


@pytest.mark.parametrize(
    "place, value, said",
    [
        (0, torch.zeros(6, D_IN), "x has the shape"),
        (1, torch.zeros(1, D_IN), "weight has the shape"),
        (2, torch.zeros(4, RANK, 1), "A has the shape"),
        (3, torch.zeros(4, D_OUT, 1), "B has the shape"),
        (3, torch.zeros(1, D_OUT, RANK), "B has the shape"),
        (5, torch.zeros(1, dtype=int), "adapter has the shape"),
        (5, torch.zeros(7, dtype=int), "adapter has the shape"),
        (5, torch.tensor([0, 1, 2, 3, 4, -1]), "no adapter 4: .* from 0 to 3"),
        (5, torch.tensor([0, 1, 2, 3, -2, -1]), "no adapter -2"),
        (5, torch.zeros(6), "whole numbers"),
        (5, torch.zeros(6, dtype=bool), "whole numbers"),
    ],
)
def test_what_would_be_spread_or_looked_up_elsewhere_is_refused(place, value, said):
    given = batch()
    given[place] = value
    with pytest.raises(ValueError, match=said):
        pipelines.mixed_batch(*given)


# Groups with a signal -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_expected_share_is_what_a_simulation_finds(size):
    success, groups = torch.tensor([0.02, 0.3, 0.5, 0.9, 1.0]), 40_000
    generator = torch.Generator().manual_seed(size)
    wins = (torch.rand(groups, size, len(success), generator=generator) < success).sum(1)
    seen = ((wins > 0) & (wins < size)).float().mean().item()
    # four standard errors of a mean over independent groups, at most
    tolerance = 4 * 0.5 / math.sqrt(groups * len(success))
    expected = pipelines.groups_with_signal(success, size).item()
    assert expected == pytest.approx(seen, abs=tolerance)


@pytest.mark.parametrize("size", [2, 4, 7])
def test_the_expected_share_is_a_sum_over_the_numbers_that_succeed(size):
    success = torch.tensor([0.1, 0.45, 0.8], dtype=torch.float64)
    wins = [math.comb(size, k) * success**k * (1 - success) ** (size - k) for k in range(1, size)]
    torch.testing.assert_close(pipelines.groups_with_signal(success, size), sum(wins).mean())


def test_prompts_that_are_sure_and_groups_of_one_have_no_signal():
    for success, size in (([0.0, 1.0], 8), ([0.3, 0.6], 1), ([1.0], 2), ([0.0], 5)):
        assert pipelines.groups_with_signal(torch.tensor(success), size) == 0
    half = pipelines.groups_with_signal(torch.tensor([0.0, 0.5, 1.0, 0.5]), 2)
    assert half.item() == pytest.approx(0.25)


def test_where_successes_gather_in_a_few_prompts_there_is_less_signal():
    spread = torch.tensor([0.02, 0.05, 0.98, 0.35])
    alike = spread.mean().expand(4)
    assert pipelines.groups_with_signal(spread, 4) < pipelines.groups_with_signal(alike, 4)


@pytest.mark.parametrize(
    "success, size, said",
    [
        ([0.5, 1.1], 4, "above 1"),
        ([-0.1], 4, "below 0"),
        ([math.nan, 0.5], 4, "no number"),
        ([], 4, "no prompt"),
        ([0.5], 0, "size is 0"),
        ([0.5], -1, "size is -1"),
        ([0.5], 2.5, "size is 2.5"),
    ],
)
def test_what_is_no_probability_and_no_size_is_refused(success, size, said):
    with pytest.raises(ValueError, match=said):
        pipelines.groups_with_signal(torch.tensor(success), size)


# Seed by seed -------------------------------------------------------------------------------------


def test_an_interval_of_three_seeds_by_hand():
    # differences 1, 2 and 6: mean 3, deviations -2, -1 and 3, variance (4 + 1 + 9) / 2 = 7
    mean, half = pipelines.paired_interval([3.0, 5.0, 4.0], [2.0, 3.0, -2.0], 4.303)
    assert mean == 3.0
    assert half == pytest.approx(4.303 * math.sqrt(7 / 3))


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_it_is_the_courses_interval_of_the_differences(count):
    first, second = drawn(1, count).tolist(), drawn(2, count).tolist()
    mean, half = pipelines.paired_interval(first, second, T_QUANTILES[count - 2])
    expected, ends = mean_interval([a - b for a, b in zip(first, second)])
    assert mean == pytest.approx(expected)
    assert [mean - half, mean + half] == pytest.approx(ends)


def test_what_both_share_from_seed_to_seed_does_not_widen_the_interval():
    shared = [10.0, -20.0, 35.0, 5.0]
    first = [one + gap for one, gap in zip(shared, (1.0, 1.5, 0.5, 1.0))]
    mean, half = pipelines.paired_interval(first, shared, 3.182)
    assert mean == 1.0 and half == pytest.approx(3.182 * math.sqrt(0.5 / 3 / 4))
    apart = 3.182 * math.sqrt((statistics.variance(first) + statistics.variance(shared)) / 4)
    assert apart > 50 * half


def test_the_other_way_round_only_the_sign_of_the_mean_changes():
    first, second = [1.0, 4.0, 2.5], [0.5, 1.0, 3.0]
    mean, half = pipelines.paired_interval(first, second, 4.303)
    assert pipelines.paired_interval(second, first, 4.303) == (-mean, half)
    assert pipelines.paired_interval(first, first, 4.303) == (0, 0)


@pytest.mark.parametrize(
    "first, second, said",
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0], "3 results and 2"),
        ([1.0], [1.0, 2.0], "1 results and 2"),
        ([1.0], [2.0], "two seeds at least, and 1"),
        ([], [], "two seeds at least, and 0"),
    ],
)
def test_a_seed_without_a_partner_or_without_a_second_is_refused(first, second, said):
    with pytest.raises(ValueError, match=said):
        pipelines.paired_interval(first, second, 4.303)
