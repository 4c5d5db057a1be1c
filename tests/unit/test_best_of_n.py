"""Best-of-n against trying all subsets."""

import itertools
import math

import pytest
import torch
from methods.best_of_n import best_of_n, expected_value, kl_of_best_of_n


def test_the_highest_reward_of_each_prompt_is_kept():
    rewards = torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, -1.0], [-3.0, -2.0, -1.0]])
    assert best_of_n(rewards).tolist() == [1, 0, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_refused(value):
    with pytest.raises(FloatingPointError, match="not finite"):
        best_of_n(torch.tensor([[1.0, value]]))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_expected_value_is_the_mean_over_all_subsets(n):
    rewards, values = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = torch.stack(
        [
            torch.stack(
                [
                    values[row, max(subset, key=rewards[row].__getitem__)]
                    for subset in itertools.combinations(range(5), n)
                ]
            ).mean()
            for row in range(3)
        ]
    )
    torch.testing.assert_close(expected_value(rewards, values, n), expected.double())


@pytest.mark.parametrize("n", [0, 6])
def test_n_must_fit_the_responses(n):
    with pytest.raises(ValueError, match="between 1 and the 5"):
        expected_value(torch.zeros(2, 5), torch.zeros(2, 5), n)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_divergence_of_best_of_n(n):
    """With so many outcomes that none is drawn twice: the best of n has the density n F^(n−1)."""
    ranks = (torch.arange(100_000, dtype=torch.double) + 0.5) / 100_000
    ratio = n * ranks ** (n - 1)
    assert kl_of_best_of_n(n) == pytest.approx((ratio * ratio.log()).mean().item(), abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_equal_rewards_are_settled_as_when_one_is_chosen(n):
    """Best-of-n keeps the first of equals, so the expected value must take that one's value."""
    rewards = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, 2.0, 2.0, 0.0]])
    values = torch.tensor([[10.0, 20.0, 5.0, 40.0], [1.0, 3.0, 7.0, 9.0]])
    subsets = list(itertools.combinations(range(4), n))
    for row in range(2):
        chosen = [
            values[row, list(some)][best_of_n(rewards[row, list(some)].unsqueeze(0))]
            for some in subsets
        ]
        expected = expected_value(rewards, values, n)[row]
        assert torch.allclose(expected, torch.stack(chosen).mean().double())
