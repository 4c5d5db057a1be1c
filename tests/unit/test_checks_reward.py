"""How well lab 03's checks tell right from wrong: a bank of wrong solutions and one of unusual but
correct ones.

Each wrong solution carries the words that its check must say.
"""

import itertools
import math

import checks.reward
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from banks import by_heart, cases, points
from course import find, run_checks
from methods import reward, tokens
from methods.best_of_n import best_of_n

SEEDS = range(1, 21)  # 0 is the notebook's: who knows its answers by heart is right there


# The loss of a choice -----------------------------------------------------------------------------


def wrong_sign(chosen, rejected):
    return F.logsigmoid(chosen - rejected).mean()


def changed_places(chosen, rejected):
    return -F.logsigmoid(rejected - chosen).mean()


def summed(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).sum()


def one_for_each_pair(chosen, rejected):
    return -F.logsigmoid(chosen - rejected)


def no_logarithm(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).mean()


def mean_before_log(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).mean().log()


def mean_margin(chosen, rejected):
    return -F.logsigmoid((chosen - rejected).mean())


def hinge(chosen, rejected):
    return (1 - (chosen - rejected)).clamp(min=0).mean()


def sigmoid_of_each(chosen, rejected):
    return (F.logsigmoid(rejected) - F.logsigmoid(chosen)).mean()


def no_sigmoid(chosen, rejected):
    return (rejected - chosen).mean()


def in_bits(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).mean() / math.log(2)


def squared(chosen, rejected):
    return (1 - (chosen - rejected)).square().mean()


def mean_error(chosen, rejected):
    return torch.sigmoid(rejected - chosen).mean()


def log_of_a_negative(chosen, rejected):
    return -(chosen - rejected).log().mean()


def gradient_of_what_is_not_taken(chosen, rejected):
    margin = chosen - rejected
    return -torch.where(margin > -80, margin.sigmoid().log(), margin).mean()


def in_place(chosen, rejected):
    chosen -= rejected
    return -F.logsigmoid(chosen).mean()


def chosen_alone(chosen, rejected):
    return -F.logsigmoid(chosen).mean()


def naive_log(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).log().mean()


def small_number_inside(chosen, rejected):
    return -(torch.sigmoid(chosen - rejected) + 1e-8).log().mean()


def as_a_number(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).mean().item()


def detached(chosen, rejected):
    return -F.logsigmoid(chosen.detach() - rejected).mean()


def by_softplus(chosen, rejected):
    return F.softplus(rejected - chosen).mean()


def by_cross_entropy(chosen, rejected):
    return F.cross_entropy(
        torch.stack([chosen, rejected], 1), torch.zeros(len(chosen), dtype=torch.long)
    )


def by_binary_cross_entropy(chosen, rejected):
    return F.binary_cross_entropy_with_logits(chosen - rejected, torch.ones_like(chosen))


def by_logaddexp(chosen, rejected):
    return sum(torch.logaddexp(torch.zeros(()), r - c) for c, r in zip(chosen, rejected)) / len(
        chosen
    )


def by_einsum_in_double(chosen, rejected):
    margins = chosen.double().clone().sub_(rejected)
    return -torch.einsum("i->", F.logsigmoid(margins)) / margins.numel()


def with_a_dimension(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).mean(0, keepdim=True)


# The reward of a row ------------------------------------------------------------------------------


def last_column(scores, real):
    return scores[:, -1]


def first_padding(scores, real):
    return F.pad(scores, (0, 1))[torch.arange(len(real)), real.sum(-1)]


def one_before(scores, real):
    return scores[torch.arange(len(real)), real.sum(-1) - 2]


def first_column(scores, real):
    return scores[:, 0]


def mean_of_the_row(scores, real):
    return (scores * real).sum(-1) / real.sum(-1)


def largest(scores, real):
    return scores.masked_fill(~real, -99).amax(-1)


def longest_row(scores, real):
    return scores[:, real.sum(-1).max() - 1]


def never_the_first_column(scores, real):
    return scores.gather(
        -1, torch.arange(real.shape[1]).where(real, 1).argmax(-1, keepdim=True)
    ).squeeze(-1)


def right_padding_only(scores, real):
    return scores[torch.arange(len(real)), real.sum(-1) - 1]


def without_gradient(scores, real):
    return torch.tensor([row[keep][-1].item() for row, keep in zip(scores, real)])


def all_columns(scores, real):
    return scores * real


def sum_of_the_row(scores, real):
    return (scores * real).sum(-1)


def largest_of_all(scores, real):
    return scores.amax(-1)


def mask_overwritten(scores, real):
    ends = reward.reward_at_end(scores, real)
    real[:] = False
    return ends


def padding_overwritten(scores, real):
    scores[~real] = 0
    return reward.reward_at_end(scores, real)


def ends_by_einsum_in_double(scores, real):
    after = torch.cat([real[:, 1:], torch.zeros(len(real), 1, dtype=torch.bool)], 1)
    return torch.einsum("bt,bt->b", scores.double(), (real & ~after).double())


def row_by_row(scores, real):
    return torch.stack([row[keep][-1] for row, keep in zip(scores, real)])


def by_flipping(scores, real):
    return scores.flip(1).gather(1, real.flip(1).int().argmax(1, keepdim=True))[:, 0]


def by_one_hot(scores, real):
    last = real & (real.flip(1).cumsum(1).flip(1) == 1)
    return (scores * last).sum(1)


def by_nonzero(scores, real):
    return scores[range(len(real)), [int(row.nonzero().max()) for row in real]]


# The loss of a ranking ----------------------------------------------------------------------------


def neighbours(rewards):
    return -F.logsigmoid(rewards[:, :-1] - rewards[:, 1:]).mean()


def best_against_rest(rewards):
    return -F.logsigmoid(rewards[:, :1] - rewards[:, 1:]).mean()


def best_against_worst(rewards):
    return -F.logsigmoid(rewards[:, 0] - rewards[:, -1]).mean()


def both_orders(rewards):
    pairs = itertools.permutations(range(rewards.shape[1]), 2)
    return torch.stack(
        [-F.logsigmoid(rewards[:, i] - rewards[:, j]).mean() for i, j in pairs]
    ).mean()


def with_itself(rewards):
    return -F.logsigmoid(rewards.unsqueeze(2) - rewards.unsqueeze(1)).mean()


def worst_first(rewards):
    return reward.ranking_loss(rewards.flip(1))


def pairs_summed(rewards):
    return reward.ranking_loss(rewards) * math.comb(rewards.shape[1], 2)


def for_four_only(rewards):
    return reward.ranking_loss(rewards[:, :4])


def listwise(rewards):
    return -(rewards - rewards.flip(1).logcumsumexp(1).flip(1)).sum(1).mean()


def rising(rewards):
    return -reward.ranking_loss(rewards)


def last_against_rest(rewards):
    return -F.logsigmoid(rewards[:, :-1] - rewards[:, -1:]).mean()


def with_itself_once(rewards):
    pairs = itertools.combinations_with_replacement(range(rewards.shape[1]), 2)
    return torch.stack(
        [-F.logsigmoid(rewards[:, i] - rewards[:, j]).mean() for i, j in pairs]
    ).mean()


def times(factor, name):
    def scaled(rewards):
        return reward.ranking_loss(rewards) * factor(len(rewards), rewards.shape[1])

    scaled.__name__ = name
    return scaled


def ranking_detached(rewards):
    return reward.ranking_loss(rewards.detach())


def by_cross_entropy_in_double(rewards):
    pairs = [
        rewards.double()[:, [i, j]] for i, j in itertools.combinations(range(rewards.shape[1]), 2)
    ]
    return F.cross_entropy(
        torch.cat(pairs), torch.zeros(len(pairs) * len(rewards), dtype=torch.long)
    )


def by_triangle(rewards):
    K = rewards.shape[1]
    better, worse = torch.triu_indices(K, K, offset=1)
    return F.softplus(rewards[:, worse] - rewards[:, better]).mean()


def by_two_loops(rewards):
    losses = [
        F.softplus(row[j] - row[i])
        for row in rewards
        for i in range(len(row))
        for j in range(i + 1, len(row))
    ]
    return sum(losses) / len(losses)


def ranking_by_ranking(rewards):
    def one(row):
        margins = (row.unsqueeze(1) - row.unsqueeze(0))[
            torch.ones(len(row), len(row)).triu(1).bool()
        ]
        return -F.logsigmoid(margins).mean()

    return torch.stack([one(row) for row in rewards]).mean()


# Best of n ----------------------------------------------------------------------------------------


def worst(rewards):
    return rewards.argmin(-1)


def the_reward(rewards):
    return rewards.amax(-1)


def over_all(rewards):
    return rewards.argmax()


def over_prompts(rewards):
    return rewards.argmax(0)


def from_one(rewards):
    return rewards.argmax(-1) + 1


def last_of_equals(rewards):
    check_finite(rewards)
    return rewards.shape[1] - 1 - rewards.flip(1).argmax(1)


def lets_nan_through(rewards):
    return rewards.argmax(-1)


def only_nan(rewards):
    if rewards.isnan().any():
        raise FloatingPointError("NaN")
    return rewards.argmax(-1)


def minus_infinity_through(rewards):
    if rewards.isnan().any() or rewards.isposinf().any():
        raise FloatingPointError("a reward is not finite")
    return rewards.argmax(-1)


def through_all_prompts(rewards):
    check_finite(rewards)
    return rewards.argmax(-1) + rewards.shape[1] * torch.arange(len(rewards))


def sorted_in_place(rewards):
    check_finite(rewards)
    best = rewards.argmax(-1)
    rewards.copy_(rewards.sort(-1).values)
    return best


def with_one_hot(rewards):
    check_finite(rewards)
    return F.one_hot(rewards.argmax(-1), rewards.shape[1])


def from_the_end(rewards):
    return rewards.argmax(-1) - rewards.shape[1]


def as_floats(rewards):
    check_finite(rewards)
    return rewards.argmax(-1).float()


def check_finite(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")


def by_max(rewards):
    check_finite(rewards)
    return rewards.max(-1).indices


def by_a_loop_of_tensors(rewards):
    check_finite(rewards)
    return [max(range(len(row)), key=row.__getitem__) for row in rewards.double()]


def as_a_list(rewards):
    check_finite(rewards)
    return [row.index(max(row)) for row in rewards.tolist()]


def by_numpy(rewards):
    if not np.isfinite(rewards.numpy()).all():
        raise ValueError("a reward is not finite")
    return rewards.numpy().argmax(1)


# The silent bug -----------------------------------------------------------------------------------


def padded(rankings, pad_id, row=lambda prompt, response: prompt + response):
    return tokens.pad(
        [row(prompt, response) for prompt, ranked in rankings for response in ranked], pad_id
    )


def at_padding(model, rankings, pad_id):
    return model(*padded(rankings, pad_id))[:, -1].view(len(rankings), -1)


def without_prompt(model, rankings, pad_id):
    ids, real = padded(rankings, pad_id, lambda prompt, response: response)
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


def prompt_behind(model, rankings, pad_id):
    ids, real = padded(rankings, pad_id, lambda prompt, response: response + prompt)
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


def stop_left_out(model, rankings, pad_id):
    ids, real = padded(rankings, pad_id, lambda prompt, response: (prompt + response)[:-1])
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


def columns_mixed(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).flatten().view(-1, len(rankings)).T


def flat(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).flatten()


def without_learning(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).detach()


def prompt_grows(model, rankings, pad_id):
    for prompt, ranked in rankings:
        prompt += ranked[0]
    return reward.batch_rewards(model, rankings, pad_id)


def prompts_alone(model, rankings, pad_id):
    ids, real = padded(rankings, pad_id, lambda prompt, response: prompt)
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


def negated(model, rankings, pad_id):
    return -reward.batch_rewards(model, rankings, pad_id)


def worst_response_first(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).flip(1)


def first_responses_first(model, rankings, pad_id):
    rows = [prompt + ranked[k] for k in range(len(rankings[0][1])) for prompt, ranked in rankings]
    ids, real = tokens.pad(rows, pad_id)
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


def first_prompt_for_all(model, rankings, pad_id):
    return reward.batch_rewards(model, [(rankings[0][0], ranked) for _, ranked in rankings], pad_id)


def one_by_one(model, rankings, pad_id):
    def alone(ids):
        return model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))[0, -1]

    return torch.stack(
        [
            torch.stack([alone(prompt + response) for response in ranked])
            for prompt, ranked in rankings
        ]
    )


def padded_on_the_left(model, rankings, pad_id):
    rows = [[*prompt, *response] for prompt, ranked in rankings for response in ranked]
    ids, real = tokens.pad(rows, pad_id, side="left")
    return model(ids, real)[:, -1].reshape(len(rankings), len(rankings[0][1]))


def ranking_at_a_time(model, rankings, pad_id):
    return torch.cat([reward.batch_rewards(model, [ranking], pad_id) for ranking in rankings])


def own_padding(model, rankings, pad_id):
    rows = [prompt + response for prompt, ranked in rankings for response in ranked]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows])
    numbers = model(ids, torch.ones_like(ids, dtype=torch.bool))
    return torch.stack([number[len(row) - 1] for number, row in zip(numbers, rows)]).unflatten(
        0, (len(rankings), -1)
    )


WRONG = {
    "reward.bradley_terry_loss": [
        (wrong_sign, "the sign is wrong"),
        (changed_places, "have changed places"),
        (summed, "summed, not averaged"),
        (one_for_each_pair, "one loss for each pair"),
        (no_logarithm, "logarithm is missing"),
        (mean_before_log, "of the mean probability"),
        (mean_margin, "before the sigmoid"),
        (hinge, "hinge"),
        (chosen_alone, "not used"),
        (naive_log, "costs inf"),
        (small_number_inside, "must cost"),
        (as_a_number, "no gradient flows"),
        (detached, "no gradient reaches chosen"),
        (sigmoid_of_each, "of each reward, not of the margin"),
        (no_sigmoid, "sigmoid is missing"),
        (in_bits, "bits"),
        (squared, "squared"),
        (mean_error, "mean probability of a wrong choice"),
        (log_of_a_negative, "infinities or NaN"),
        (in_place, "chosen is changed in place"),
        (gradient_of_what_is_not_taken, "gradient in chosen is not finite"),
        (by_heart("reward.bradley_terry_loss"), "not the mean of −log σ"),
    ],
    "reward.at_end": [
        (last_column, "it is padding"),
        (first_padding, "one column too far"),
        (one_before, "before the last"),
        (first_column, "first token"),
        (mean_of_the_row, "averaged"),
        (largest, "largest number"),
        (longest_row, "same column"),
        (right_padding_only, "does not tell the place"),
        (without_gradient, "no gradient flows"),
        (all_columns, "shape"),
        (sum_of_the_row, "summed"),
        (largest_of_all, "padding and all"),
        (padding_overwritten, "scores is changed in place"),
        (mask_overwritten, "real is changed in place"),
        (never_the_first_column, "not the number at the last real token"),
        (by_heart("reward.at_end"), "not the number at the last real token"),
    ],
    "reward.ranking_loss": [
        (neighbours, "only neighbours"),
        (best_against_rest, "only the best is compared"),
        (best_against_worst, "best and the worst"),
        (both_orders, "both orders"),
        (with_itself, "with themselves"),
        (worst_first, "taken for the best"),
        (pairs_summed, "are summed"),
        (for_four_only, "with 6 responses"),
        (listwise, "Plackett"),
        (rising, "the sign is wrong"),
        (last_against_rest, "only the last"),
        (with_itself_once, "responses are compared with themselves"),
        (ranking_detached, "no gradient flows"),
        (times(lambda n, K: n * math.comb(K, 2), "all_summed"), "everything is summed"),
        (times(lambda n, K: n, "rankings_summed"), "rankings are summed"),
        (times(lambda n, K: math.comb(K, 2) / K, "over_k"), "divided by K and"),
        (times(lambda n, K: math.comb(K, 2) / (K - 1), "over_k_less_1"), "divided by K − 1"),
        (times(lambda n, K: math.comb(K, 2) / K**2, "over_k_squared"), "divided by K²"),
        (times(lambda n, K: 0.5, "each_pair_half"), "each pair counts half"),
        (by_heart("reward.ranking_loss"), "not the mean loss of all pairs"),
    ],
    "reward.best_of_n": [
        (worst, "worst response"),
        (the_reward, "not their places"),
        (over_all, "shape"),
        (over_prompts, "shape"),
        (from_one, "counts from 1"),
        (last_of_equals, "another one than the first"),
        (lets_nan_through, "nan is let through"),
        (only_nan, "inf is let through"),
        (as_floats, "whole number"),
        (minus_infinity_through, "-inf is let through"),
        (through_all_prompts, "through all prompts"),
        (sorted_in_place, "rewards is changed in place"),
        (with_one_hot, "one index for each prompt"),
        (from_the_end, "from the end"),
        (by_heart("reward.best_of_n"), "shape"),
    ],
    "reward.silent_bug": [
        (at_padding, "which is padding"),
        (without_prompt, "without their prompts"),
        (prompt_behind, "behind the response"),
        (stop_left_out, "last token is left out"),
        (columns_mixed, "in one row"),
        (flat, "shape"),
        (without_learning, "no gradient flows"),
        (prompt_grows, "changed in place"),
        (prompts_alone, "without the responses"),
        (negated, "sign is wrong"),
        (worst_response_first, "worst response comes first"),
        (first_responses_first, "have changed places"),
        (first_prompt_for_all, "each after its prompt"),
        (at_padding, "the rewards of the other prompts"),
        (without_prompt, "rewards of its responses stay the same"),
        (by_heart("reward.silent_bug"), "each after its prompt"),
    ],
}
RIGHT = {
    "reward.bradley_terry_loss": [
        reward.bradley_terry_loss,
        by_softplus,
        by_cross_entropy,
        by_binary_cross_entropy,
        by_logaddexp,
        by_einsum_in_double,
        with_a_dimension,
    ],
    "reward.at_end": [
        reward.reward_at_end,
        row_by_row,
        by_flipping,
        by_one_hot,
        by_nonzero,
        ends_by_einsum_in_double,
    ],
    "reward.ranking_loss": [
        reward.ranking_loss,
        by_triangle,
        by_two_loops,
        ranking_by_ranking,
        by_cross_entropy_in_double,
    ],
    "reward.best_of_n": [best_of_n, by_max, as_a_list, by_a_loop_of_tensors, by_numpy],
    "reward.silent_bug": [
        reward.batch_rewards,
        one_by_one,
        padded_on_the_left,
        ranking_at_a_time,
        own_padding,
    ],
}


def test_every_exercise_of_the_lab_has_both_banks():
    ids = {
        exercise.id for exercise in vars(checks.reward).values() if hasattr(exercise, "reference")
    }
    assert ids == WRONG.keys() == RIGHT.keys()
    assert min(map(len, WRONG.values())) >= 8 and min(map(len, RIGHT.values())) >= 4


@pytest.mark.parametrize("id, function, words", cases(WRONG))
def test_a_wrong_solution_is_told_why(id, function, words):
    for seed in SEEDS[:8]:
        earned, mistakes = points(id, function, seed)
        assert earned < find(id).points, f"seed {seed}: full points"
        assert any(words in str(mistake) for mistake in mistakes), f"seed {seed}: {mistakes}"


@pytest.mark.parametrize("id, function", cases(RIGHT))
def test_a_right_solution_gets_all_points(id, function):
    for seed in SEEDS:
        earned, mistakes = points(id, function, seed)
        assert earned == find(id).points, f"seed {seed}: {mistakes}"


@pytest.mark.parametrize("id", WRONG)
@pytest.mark.parametrize(
    "value", [None, ..., "text", [], 0.0, float("nan"), torch.zeros(3, 3, 3)], ids=repr
)
def test_a_constant_earns_nothing(id, value):
    assert points(id, lambda *_: value, seed=0)[0] == 0


@pytest.mark.parametrize("id", WRONG)
def test_a_stub_and_an_exception_are_named(id):
    def stub(*_): ...

    def broken(*_):
        raise KeyError("left")

    assert all("returns nothing" in result.mistake for result in run_checks(find(id), stub, 0))
    assert all(
        "KeyError" in result.mistake and not result.earned
        for result in run_checks(find(id), broken, 0)
    )


def test_every_mistake_that_is_named_says_what_to_try_next():
    for id, entries in WRONG.items():
        for function, words in entries:
            named = [
                result for result in run_checks(find(id), function, 1) if words in result.mistake
            ]
            assert all(result.next for result in named), function.__name__


def test_the_colleagues_bug_copied_earns_nothing():
    assert points("reward.silent_bug", at_padding, seed=0)[0] == 0
