"""The rate to take from a sweep, against examples that can be worked out by hand."""

import itertools
import math

import pytest
from planning.rates import gentlest_rate

RATES = [1e-4, 1e-3, 1e-2, 1e-1]
# Means 3, 2.1, 2 and 5. The runs of the best differ by 1, 0 and −1 from their mean, so that their
# standard deviation is 1 and the standard error 1/√3 = 0.577.
LOSSES = [[3.0, 3.0, 3.0], [2.1, 2.1, 2.1], [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]


def test_a_gentler_rate_within_one_standard_error_is_taken():
    assert gentlest_rate(RATES, LOSSES) == (1e-3, False)


@pytest.mark.parametrize(
    "mean, chosen", [(2.0, 1e-3), (2.57, 1e-3), (2.58, 1e-2), (2.9, 1e-2), (1.9, 1e-3)]
)
def test_the_margin_is_one_standard_error_of_the_best(mean, chosen):
    losses = [LOSSES[0], [mean] * 3, *LOSSES[2:]]
    assert gentlest_rate(RATES, losses) == (chosen, False)


def test_a_mean_that_lies_just_on_the_margin_is_within():
    # The deviation of 1 and 3 is √2, over √2 seeds 1: the margin is 2 + 1.
    assert gentlest_rate([0.1, 0.2, 0.3], [[3.0, 3.0], [1.0, 3.0], [9.0, 9.0]]) == (0.1, False)


def test_the_spread_of_other_rates_does_not_matter():
    losses = [[0.0, 3.0, 6.6], [3.0, 3.0, 3.0], [2.0, 2.0, 2.0], [5.0, 5.0, 5.0]]
    assert gentlest_rate(RATES, losses) == (1e-2, False)


def test_a_gentler_rate_may_lie_beyond_one_that_is_worse():
    losses = [[2.5, 2.5, 2.5], [4.0, 4.0, 4.0], *LOSSES[2:]]
    assert gentlest_rate(RATES, losses) == (1e-4, False)


def test_with_one_seed_the_best_rate_is_taken():
    assert gentlest_rate(RATES, [[3.0], [2.0 + 1e-9], [2.0], [5.0]]) == (1e-2, False)


@pytest.mark.parametrize("diverged", [math.nan, math.inf, -math.inf])
def test_a_rate_at_which_any_run_diverged_is_out(diverged):
    losses = [LOSSES[0], LOSSES[1], [1.0, diverged, 3.0], LOSSES[3]]
    assert gentlest_rate(RATES, losses) == (1e-3, False)
    losses = [LOSSES[0], [2.1, 2.1, diverged], *LOSSES[2:]]
    assert gentlest_rate(RATES, losses) == (1e-2, False)


@pytest.mark.parametrize(
    "best, edge", [(0, True), (1, False), (2, False), (3, True)], ids=["low", "in", "in", "high"]
)
def test_the_best_rate_may_lie_at_an_edge(best, edge):
    losses = [[1.0 if place == best else 2.0] for place in range(4)]
    assert gentlest_rate(RATES, losses) == (RATES[best], edge)


def test_the_edge_is_that_of_the_best_rate_and_not_of_the_chosen():
    losses = [[2.5, 2.5, 2.5], LOSSES[1], LOSSES[2], LOSSES[3]]
    assert gentlest_rate(RATES, losses) == (1e-4, False)
    assert gentlest_rate(RATES[:3], losses[:3]) == (1e-4, True)


def test_rates_that_diverged_are_edges_too():
    losses = [[math.nan] * 3, [1.0] * 3, [2.0] * 3, [math.inf] * 3]
    assert gentlest_rate(RATES, losses) == (1e-3, False)


def test_a_single_rate_is_both_edges():
    assert gentlest_rate([0.1], [[1.0, 2.0]]) == (0.1, True)


@pytest.mark.parametrize("losses", [[[math.nan], [math.inf]], [[1.0, math.nan], [math.nan, 2.0]]])
def test_there_is_none_where_runs_diverged_at_every_rate(losses):
    assert gentlest_rate([0.1, 0.2], losses) is None


def test_there_is_none_of_an_empty_sweep():
    assert gentlest_rate([], []) is None


def test_the_order_of_rates_and_of_seeds_does_not_matter():
    for order in itertools.permutations(range(4)):
        turned = [list(reversed(LOSSES[place])) for place in order]
        assert gentlest_rate([RATES[place] for place in order], turned) == (1e-3, False)


def test_losses_belong_to_rates():
    with pytest.raises(ValueError, match="argument"):
        gentlest_rate(RATES, LOSSES[:3])


def test_nothing_is_changed():
    rates, losses = [2.0, 1.0], [[1.0, 2.0], [3.0, math.inf]]
    gentlest_rate(rates, losses)
    assert rates == [2.0, 1.0] and losses == [[1.0, 2.0], [3.0, math.inf]]
