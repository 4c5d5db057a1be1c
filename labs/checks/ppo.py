"""The checks of lab 04's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from checks.models import PAD, VOCAB, small_model
from checks.sft import picked
from checks.shared import (
    ALIKE,
    NO_GRADIENT,
    NOT_FINITE,
    NOTHING_TO_LEARN,
    WRONG_SHAPE,
    as_loss,
    call,
    close,
    expect,
    in_place,
    in_words,
    needs_gradients,
    needs_parameter_gradients,
    needs_untouched,
    number,
    numbers,
    random_batch,
    randoms,
    some_number,
    twice,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake
from methods import kl, models, ppo, rollouts, tokens
from methods.tokens import IGNORE
from torch import Tensor

FOR_EACH_TOKEN = "one number for each token: (batch, time)"
ALL_COUNTING = "divide by the number of tokens that count"
WHOLE_BATCH = "sum and count over the whole batch"
REACHES_THE_LOSS = (
    "what stands on prompt and padding reaches the loss",
    "sum only the tokens that count: multiply by counts, or index with it",
)
FOR_EACH = "this is one loss for each token", "take the mean over the tokens that count"
CLIP_KNOWN = "clip is taken to be the notebook's", "clip is an argument: use it"
OVER_ALL = "the mean runs over prompt and padding too", ALL_COUNTING
TOKENS_SUMMED = "the tokens are summed, not averaged", ALL_COUNTING
BY_RESPONSE = "the tokens are averaged within each response first", WHOLE_BATCH


def some_clip(seed: int) -> float:
    return some_number(seed, 0.18, 0.32)


def counting(seed: int) -> Tensor:
    """Which tokens count, bool (4, 9): prompts and responses differ in length, the last response
    has no padding, and the one before fills its row."""
    _, labels = random_batch(seed, rows=4, time=10)
    labels[3, 5:] = 2
    labels[2, 1:] = 2
    labels[1, 1 : 2 + random.Random(seed + 7).randrange(7)] = 2
    counts = labels[:, 1:] != IGNORE
    if 2 * counts.sum() == counts.numel():  # half of the sum over all would be the mean
        counts[3, counts[3].nonzero()[0] - 1] = True
    return counts


def in_all_ways(seed: int, counts: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Moves up, down and hardly, and to each of them numbers of both signs, of size `least` or
    more; 0 where nothing counts."""
    places = torch.arange(int(counts.sum()))
    moves, signed = torch.zeros(counts.shape), torch.zeros(counts.shape)
    noise = 0.05 * randoms(seed + 1, len(places)).clamp(-1, 1)
    moves[counts] = torch.tensor([0.5, -0.5, 0.1])[places % 3] + noise
    signs = torch.tensor([1.0, -1.0])[places // 3 % 2]
    signed[counts] = signs * (least + randoms(seed + 2, len(places)).abs())
    return moves, signed


def table_of(value, counts: Tensor) -> Tensor:
    return numbers(value, tuple(counts.shape), next=FOR_EACH_TOKEN)


def counted(counts: Tensor) -> Callable:
    """For expect: what the returned table holds where the tokens count."""
    return lambda value, *given: table_of(value, counts)[counts]


def mean(values: Tensor, counts: Tensor) -> Tensor:
    return values[counts].mean()


def needs_what_counts_alone(exercise: Exercise, student: Callable, arguments: tuple) -> None:
    """The loss stays the same when other numbers stand on prompt and padding."""
    *tables, counts, clip = arguments
    noisy = [table.where(counts, filler) for filler, table in enumerate(tables, start=1)]
    loss, other = (number(call(student, (*some, counts, clip))) for some in (tables, noisy))
    if not close(other, loss):
        raise Mistake(*REACHES_THE_LOSS)


# An estimate of the divergence --------------------------------------------------------------------

k3 = Exercise("ppo.k3", reference=kl.k3, minutes=5, difficulty=1)
U = "u = log_q − log_p: the samples come from p"
K3 = "k3 is exp(u) − 1 − u"
NO_SUM = "one value for each element: no sum, no mean"
NOT_K3 = "this is not exp(u) − 1 − u", U
ALL_0 = "all values are 0, and the policies differ", U
EQUAL_ARE_0 = "equal policies must give 0", K3

k3.wrong("this is k1: unbiased, but negative at times", next="add the control variate, exp(u) − 1")(
    kl.k1
)
k3.wrong("this is k2: never negative, but biased", next=K3)(kl.k2)


@k3.wrong("p and q have changed places", next=U)
def changed_places(log_p, log_q):
    return kl.k3(log_q, log_p)


@k3.wrong("the estimate is not allowed above 10", next="k3 has no upper end: no clamp")
def held_at_10(log_p, log_q):
    return kl.k3(log_p, log_q).clamp(max=10)


@k3.wrong(*NOT_FINITE)
def log_of_the_ratio(log_p, log_q):
    ratio = (log_q - log_p).exp()
    return ratio - 1 - ratio.log()


@k3.wrong("−u is missing", next=K3)
def without_u(log_p, log_q):
    return (log_q - log_p).exp() - 1


@k3.wrong("−1 is missing: equal policies must give 0", next=K3)
def without_1(log_p, log_q):
    return (log_q - log_p).exp() - (log_q - log_p)


@k3.wrong("u is added, not subtracted", next=K3)
def plus_u(log_p, log_q):
    return (log_q - log_p).exp() - 1 + (log_q - log_p)


@k3.wrong("the sign is wrong", next=K3)
def negative(log_p, log_q):
    return -kl.k3(log_p, log_q)


@k3.wrong(
    "the values are already weighted by p", next="the samples come from p: that is the weight"
)
def weighted(log_p, log_q):
    return log_p.exp() * kl.k3(log_p, log_q)


@k3.wrong(*ALL_0)
def zero(log_p, log_q):
    return torch.zeros_like(log_p)


@k3.wrong(*EQUAL_ARE_0)
def plus_a_constant(log_p, log_q):
    return kl.k3(log_p, log_q) + 0.1


@k3.wrong(*NOT_K3)
def absolute_u(log_p, log_q):
    return (log_q - log_p).abs()


@k3.wrong(WRONG_SHAPE, next=NO_SUM)
def mean_k3(log_p, log_q):
    return kl.k3(log_p, log_q).mean()


@k3.wrong(*in_place("log_q"))
def u_in_place(log_p, log_q):
    log_q -= log_p
    return log_q.exp() - 1 - log_q


def two_policies(seed: int) -> tuple[Tensor, Tensor]:
    return randoms(seed, 4, 6).log_softmax(-1), randoms(seed + 100, 4, 6).log_softmax(-1)


def estimates(student, policies: tuple[Tensor, Tensor]) -> Tensor:
    return numbers(call(student, policies), tuple(policies[0].shape), next=NO_SUM)


@k3.check(points=2)
def is_the_third_estimate(student, seed):
    expect(k3, student, two_policies(seed), otherwise=NOT_K3, shape=NO_SUM)
    one, other = two_policies(seed)
    for special in ((one[0], other[0]), (one, other - 130), (one - 13, other)):
        expect(k3, student, special, otherwise=NOT_K3, shape=NO_SUM)
    needs_untouched(k3, student, two_policies(seed))


@k3.check(points=1)
def has_the_divergence_as_its_mean(student, seed):
    log_p, log_q = two_policies(seed)
    log_q[:, 0] -= 16  # a token that q all but rules out, so that its k3 is large
    policies = log_p, log_q = log_p, log_q.log_softmax(-1)
    average = (log_p.exp().double() * estimates(student, policies)).sum(-1)
    divergence = kl.full(log_p, log_q)
    if not close(average, divergence):
        raise Mistake(
            f"on average over p it gives {average[0]:.3f} where the divergence is "
            f"{divergence[0]:.3f}",
            next="k1 and k3 have the right mean, k2 has not",
        )


@k3.check(points=1)
def is_never_negative(student, seed):
    log_p, log_q = two_policies(seed)
    value = estimates(student, (log_p, log_q))
    if (value < -1e-5).any():
        raise Mistake(
            f"one of its values is {value.min():.3f}",
            next="a divergence is at least 0, and k3 is, too, in each sample",
        )
    if (value < 1e-9).all():
        raise Mistake(*ALL_0)
    if not close(estimates(student, (log_p, log_p.clone())), torch.zeros(4, 6)):
        raise Mistake(*EQUAL_ARE_0)


# The rewards of the tokens ------------------------------------------------------------------------

token_rewards = Exercise("ppo.token_rewards", reference=ppo.token_rewards, minutes=15, difficulty=2)
SIGNS = "R_t = −β (log π − log π_ref)_t: a token that the reference finds less likely costs"
END = "the last True of each row of counts; the rows differ"
LOG_RATIO = "R_t takes the log-ratio itself; it may be negative"
NO_REWARDS = (
    "all rewards are 0",
    "the tokens that count pay the penalty; the last one earns the score",
)
PROMPT_REWARDED = "prompt or padding gets a reward", "put 0 where counts is false"


@token_rewards.wrong("the penalty is paid out: leaving the reference earns", next=SIGNS)
def penalty_earned(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, -beta)


token_rewards.wrong("beta is taken to be the notebook's", next="beta is an argument: use it")(
    with_the_notebooks(token_rewards, "beta")
)


@token_rewards.wrong("beta is not used", next="the penalty is β times the log-ratio")
def beta_unused(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, 1)


@token_rewards.wrong("beta is not used, and the sign is wrong", next=SIGNS)
def beta_unused_penalty_earned(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, -1)


@token_rewards.wrong("there is no penalty", next=SIGNS)
def no_penalty(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, 0)


@token_rewards.wrong(
    "the whole penalty stands at the last token", next="each token pays for its own log-ratio"
)
def penalty_at_the_end(scores, log_probs, ref_log_probs, counts, beta):
    total = scores - beta * (log_probs - ref_log_probs).sum(-1)
    return tokens.last_token(counts) * total.unsqueeze(-1)


@wrong_part(token_rewards)
def wrong_penalty(penalty):
    """The rewards with another penalty, a function of both log-probabilities."""

    def rewards(scores, log_probs, ref_log_probs, counts, beta):
        score = tokens.last_token(counts) * scores.unsqueeze(-1)
        return (score - beta * penalty(log_probs, ref_log_probs)).where(counts, 0)

    return rewards


wrong_penalty("the penalty is k3, not the log-ratio", next=LOG_RATIO)(kl.k3)
wrong_penalty("the penalty is k2, not the log-ratio", next="R_t takes the log-ratio itself")(kl.k2)


@wrong_penalty("the penalty is |log-ratio|", next=LOG_RATIO)
def absolute_log_ratio(log_probs, ref_log_probs):
    return (log_probs - ref_log_probs).abs()


@wrong_penalty("the policy is not compared with the reference", next=SIGNS)
def policy_alone(log_probs, ref_log_probs):
    return log_probs


@wrong_penalty(
    "ratios are subtracted, not their logarithms", next="no exp: R_t takes the log-ratio"
)
def ratio_itself(log_probs, ref_log_probs):
    return (log_probs - ref_log_probs).exp()


@wrong_part(token_rewards)
def wrong_place(place):
    """The rewards with the scores put elsewhere, by a function of the scores, (batch, 1), and
    counts."""

    def rewards(scores, log_probs, ref_log_probs, counts, beta):
        penalty = ppo.token_rewards(0 * scores, log_probs, ref_log_probs, counts, beta)
        return penalty + place(scores.unsqueeze(-1), counts)

    return rewards


@wrong_place("the score is paid nowhere", next=END)
def nowhere(scores, counts):
    return 0 * scores


@wrong_place("every token of the response earns the whole score", next="only the last one does")
def everywhere(scores, counts):
    return counts * scores


@wrong_place("the score stands in the last column, which is padding in the shorter rows", next=END)
def last_column(scores, counts):
    return F.one_hot(torch.tensor(counts.shape[1] - 1), counts.shape[1]) * scores


@wrong_place("the score stands in the last column, and where that is padding it is lost", next=END)
def last_column_if_it_counts(scores, counts):
    return last_column(scores, counts) * counts


@wrong_place("the place is counted from the start of the row, as if there were no prompt", next=END)
def column_of_the_length(scores, counts):
    return F.one_hot(counts.sum(-1) - 1, counts.shape[1]) * scores


@wrong_place(
    "the place is counted from the start of the row, and where that is no response the score is "
    "lost",
    next=END,
)
def column_of_the_length_if_it_counts(scores, counts):
    return column_of_the_length(scores, counts) * counts


@wrong_place("the score is paid at the first token of the response", next=END)
def first_token(scores, counts):
    return (counts & (counts.cumsum(-1) == 1)) * scores


@wrong_place("the score is paid one token too early", next=END)
def too_early(scores, counts):
    return tokens.last_token(counts).roll(-1, 1) * scores


@wrong_place("the score is paid one token too early, or not at all", next=END)
def too_early_or_not_at_all(scores, counts):
    return too_early(scores, counts) * counts


@wrong_place("the score is spread over the response", next="the last token earns all of it")
def spread(scores, counts):
    return counts * scores / counts.sum(-1, keepdim=True)


@wrong_place("the sign of the score is wrong", next="the score is earned, the penalty is paid")
def score_negated(scores, counts):
    return tokens.last_token(counts) * -scores


@wrong_place("prompt and padding earn the score, too", next=END)
def on_prompt_and_padding(scores, counts):
    return scores.expand(counts.shape)


@token_rewards.wrong("the score is multiplied by beta", next="only the penalty is")
def score_times_beta(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(beta * scores, log_probs, ref_log_probs, counts, beta)


@token_rewards.wrong(*NO_REWARDS)
def no_rewards(scores, log_probs, ref_log_probs, counts, beta):
    return torch.zeros(counts.shape)


@token_rewards.wrong(*PROMPT_REWARDED)
def rewards_unmasked(scores, log_probs, ref_log_probs, counts, beta):
    return tokens.last_token(counts) * scores.unsqueeze(-1) - beta * (log_probs - ref_log_probs)


@token_rewards.wrong(WRONG_SHAPE, next=FOR_EACH_TOKEN)
def rewards_of_responses(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, beta).sum(-1)


@token_rewards.wrong(*in_place("log_probs"))
def rewards_in_place(scores, log_probs, ref_log_probs, counts, beta):
    log_probs -= ref_log_probs
    return ppo.token_rewards(scores, log_probs, 0 * log_probs, counts, beta)


def rollout(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """The function's arguments, the log-probabilities 0 where nothing counts."""
    counts = counting(seed)
    log_probs, ref_log_probs = (-randoms(seed + i, *counts.shape).exp() * counts for i in (1, 2))
    return randoms(seed, 4) + 3, log_probs, ref_log_probs, counts, some_number(seed, 0.2, 0.6)


@token_rewards.check(points=2)
def pays_for_leaving_the_reference(student, seed):
    _, log_probs, ref_log_probs, counts, beta = rollout(seed)
    expect(
        token_rewards,
        student,
        (torch.zeros(4), log_probs, ref_log_probs, counts, beta),
        otherwise=("with all scores 0, this is not −β (log π − log π_ref) of each token", SIGNS),
        read=counted(counts),
    )


@token_rewards.check(points=1)
def pays_the_score_at_the_last_token(student, seed):
    scores, log_probs, _, counts, beta = rollout(seed)
    expect(
        token_rewards,
        student,
        (scores, log_probs, log_probs.clone(), counts, beta),
        otherwise=("with no penalty, not the last response token alone earns the score", END),
        shape=FOR_EACH_TOKEN,
    )


@token_rewards.check(points=1)
@twice
def leaves_prompt_and_padding_at_0(student, seed):
    scores, log_probs, ref_log_probs, counts, beta = rollout(seed)
    # The log-probabilities of a prompt are not 0 by nature.
    given = scores, log_probs.where(counts, -5), ref_log_probs, counts, beta
    value = table_of(call(student, given), counts)
    if (value[counts] == 0).all():
        raise Mistake(*NO_REWARDS)
    if not (value[~counts] == 0).all():
        raise Mistake(*PROMPT_REWARDED)
    needs_untouched(token_rewards, student, given)


# The advantages -----------------------------------------------------------------------------------

gae = Exercise("ppo.gae", reference=ppo.gae, minutes=25, difficulty=3)
DELTA = "δ_t = R_t + γ V_{t+1} − V_t"
BACKWARDS = f"go backwards: Â_t = δ_t + γλ Â_{{t+1}}, with {DELTA}"
NOT_THE_SUM = (
    "this is not the sum of the δ that follow, each multiplied by γλ once more",
    BACKWARDS,
)
PADDING_FOLLOWS = (
    "what stands in the padding reaches the response",
    "after the last token, the next value and the next advantage are 0, whatever stands there",
)
PROMPT_HAS_ADVANTAGE = "prompt or padding gets an advantage", "put 0 where counts is false"
NO_ADVANTAGE = "all advantages are 0", BACKWARDS
AT_LAMBDA_1 = "with λ = 1, Â is the discounted sum of the rewards minus V", BACKWARDS
AT_LAMBDA_0 = "with λ = 0, Â is δ", BACKWARDS


@gae.wrong("the sum runs over what came before, not over what follows", next=BACKWARDS)
def forwards(rewards, values, counts, gamma, lam):
    deltas, so_far = ppo.gae(rewards, values, counts, gamma, 0), 0
    result = torch.zeros_like(rewards)
    for t in range(rewards.shape[1]):
        result[:, t] = so_far = (deltas[:, t] + gamma * lam * so_far) * counts[:, t]
    return result


def recursion(rewards, values, counts, discount: float, decay: float, subtract: float = 1):
    """Â_t = R_t + discount · V_{t+1} − subtract · V_t + decay · Â_{t+1}."""
    advantages, following, next_value = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + discount * next_value - subtract * values[:, t]
        advantages[:, t] = following = (delta + decay * following).where(counts[:, t], 0)
        next_value = values[:, t].where(counts[:, t], 0)
    return advantages


@wrong_part(gae)
def wrong_factors(factors):
    """The recursion with other factors, of the next value and of the next advantage, a function of
    γ and λ."""

    def advantages(rewards, values, counts, gamma, lam):
        return recursion(rewards, values, counts, *factors(gamma, lam))

    return advantages


@wrong_factors("this is δ alone", next=BACKWARDS)
def delta_alone(gamma, lam):
    return gamma, 0


@wrong_factors("λ is not used", next="Â_{t+1} is multiplied by γλ")
def without_lambda(gamma, lam):
    return gamma, gamma


@wrong_factors("Â_{t+1} is multiplied by λ alone", next="by γλ")
def lambda_alone(gamma, lam):
    return gamma, lam


@wrong_factors("Â_{t+1} is not multiplied by γλ", next=BACKWARDS)
def no_decay(gamma, lam):
    return gamma, 1


@wrong_factors("the next value is not discounted", next=DELTA)
def value_undiscounted(gamma, lam):
    return 1, gamma * lam


@wrong_factors("γ is not used", next=BACKWARDS)
def without_gamma(gamma, lam):
    return 1, lam


@wrong_factors("the next value is discounted by γλ", next=DELTA)
def value_discounted_twice(gamma, lam):
    return gamma * lam, gamma * lam


@wrong_factors("the next value is missing from δ", next=DELTA)
def without_next_value(gamma, lam):
    return 0, gamma * lam


@gae.wrong("the value is not subtracted: there is no baseline", next=DELTA)
def without_baseline(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma, gamma * lam, subtract=0)


@gae.wrong("the critic is not asked", next=DELTA)
def without_critic(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, 0 * values, counts, gamma, lam)


gae.wrong("γ is taken to be the notebook's", next="γ is an argument: use it")(
    with_the_notebooks(gae, "gamma")
)
gae.wrong("λ is taken to be the notebook's", next="λ is an argument: use it")(
    with_the_notebooks(gae, "lam")
)


@gae.wrong("these are the returns, Â + V", next="return Â alone")
def returns_instead(rewards, values, counts, gamma, lam):
    return (ppo.gae(rewards, values, counts, gamma, lam) + values).where(counts, 0)


@gae.wrong("the sign is wrong", next=DELTA)
def advantages_negated(rewards, values, counts, gamma, lam):
    return -ppo.gae(rewards, values, counts, gamma, lam)


@gae.wrong(
    "the advantages are whitened already", next="return them as they are; whitening comes later"
)
def whitened(rewards, values, counts, gamma, lam):
    return tokens.whiten(ppo.gae(rewards, values, counts, gamma, lam), counts)


@gae.wrong("the advantages are whitened and the sign is wrong", next=BACKWARDS)
def whitened_and_negated(rewards, values, counts, gamma, lam):
    return -whitened(rewards, values, counts, gamma, lam)


@gae.wrong(*NO_ADVANTAGE)
def no_advantage(rewards, values, counts, gamma, lam):
    return torch.zeros_like(rewards)


@gae.wrong(*NOT_THE_SUM)
def without_the_first_column(rewards, values, counts, gamma, lam):
    return F.pad(ppo.gae(rewards, values, counts, gamma, lam)[:, 1:], (1, 0))


@gae.wrong(*NOT_FINITE)
def divided_by_0(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, counts, gamma, lam) / (values - values)


@gae.wrong("the result must be a tensor, yours is a tuple", next="return what the docstring says")
def with_returns(rewards, values, counts, gamma, lam):
    advantages = ppo.gae(rewards, values, counts, gamma, lam)
    return advantages, advantages + values


@gae.wrong(*PADDING_FOLLOWS)
def masked_at_the_end(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, torch.ones_like(counts), gamma, lam).where(counts, 0)


@gae.wrong(*PADDING_FOLLOWS)
def next_value_of_padding(rewards, values, counts, gamma, lam):
    result, following = torch.zeros_like(rewards), 0
    next_values = F.pad(values[:, 1:], (0, 1))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_values[:, t] - values[:, t]
        result[:, t] = following = (delta + gamma * lam * following) * counts[:, t]
    return result


@gae.wrong(*PROMPT_HAS_ADVANTAGE)
def on_the_prompt(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards * counts, values * counts, torch.ones_like(counts), gamma, lam)


@gae.wrong(*in_place("rewards"))
def into_the_rewards(rewards, values, counts, gamma, lam):
    return rewards.copy_(ppo.gae(rewards, values, counts, gamma, lam))


@gae.wrong(*AT_LAMBDA_1)
def fixed_lambda(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, counts, gamma, 0.7)


def episode(seed: int) -> tuple[Tensor, Tensor, Tensor, float, float]:
    """The function's arguments, rewards and values 0 where nothing counts."""
    counts = counting(seed)
    rewards, values = (randoms(seed + i, *counts.shape) * counts for i in (1, 2))
    gamma, lam = some_number(seed, 0.8, 0.95), some_number(seed + 1, 0.5, 0.75)
    return rewards, values, counts, gamma, lam


@gae.check(points=2)
def adds_up_what_follows(student, seed):
    given = _, _, counts, _, _ = episode(seed)
    expect(gae, student, given, otherwise=NOT_THE_SUM, read=counted(counts))


@gae.check(points=1)
@twice
def lets_nothing_follow_the_end(student, seed):
    given = rewards, values, counts, gamma, lam = episode(seed)
    clean = table_of(call(student, given), counts)
    if (clean[counts] == 0).all():
        raise Mistake(*NO_ADVANTAGE)
    # A critic has a number for prompt and padding as well.
    noisy = rewards.where(counts, -4), values.where(counts, 7), counts, gamma, lam
    value = table_of(call(student, noisy), counts)
    if not close(value[counts], clean[counts]):
        raise Mistake(*PADDING_FOLLOWS)
    if not (value[~counts] == 0).all():
        raise Mistake(*PROMPT_HAS_ADVANTAGE)


@gae.check(points=1)
def leaves_rewards_and_values_alone(student, seed):
    rewards, values, counts, gamma, _ = episode(seed)
    noisy = rewards.where(counts, -4), values.where(counts, 7), counts, gamma, 0.5
    needs_untouched(gae, student, noisy)
    for lam, words in ((1.0, AT_LAMBDA_1), (0.0, AT_LAMBDA_0)):
        arguments = rewards, values, counts, gamma, lam
        expect(gae, student, arguments, otherwise=words, read=counted(counts))


# The policy's loss --------------------------------------------------------------------------------

clipped_surrogate = Exercise(
    "ppo.clipped_surrogate", reference=ppo.clipped_surrogate, minutes=20, difficulty=3
)
SMALLER = "of ratio · Â and clipped ratio · Â, the smaller one counts"
CLAMP = "clamp(1 − clip, 1 + clip)"
STOPS = (
    "zero where the ratio has left the interval in the direction of the advantage, and only there"
)
NO_CLIP = "if clip is None, the ratio is not clipped"
NEEDS_CLIP = "clip may be None, and then your function stops", NO_CLIP
CLIP_OF_0 = "a clip of 0 is taken for None", "ask whether clip is None"
CLIPS_WITHOUT = "with clip None, the loss must be −mean(ρ Â)", NO_CLIP


@clipped_surrogate.wrong(
    "the sign is wrong: minimising this makes good tokens less likely",
    next="L^CLIP is to be maximised: the loss is its negative",
)
def surrogate_negated(log_probs, old_log_probs, advantages, counts, clip):
    return -ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip)


clipped_surrogate.wrong(*CLIP_KNOWN)(with_the_notebooks(clipped_surrogate, "clip"))


def gains(log_probs, old_log_probs, advantages, clip) -> tuple[Tensor, Tensor]:
    ratio = (log_probs - old_log_probs).exp()
    return ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages


@wrong_part(clipped_surrogate)
def wrong_gain(gain):
    """The loss of another gain, which is right only without a clip."""

    def loss(log_probs, old_log_probs, advantages, counts, clip):
        if clip is None:
            return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip)
        return -mean(gain(log_probs, old_log_probs, advantages, clip), counts)

    return loss


@wrong_gain("the ratio is not clipped", next=SMALLER)
def unclipped(log_probs, old_log_probs, advantages, clip):
    return (log_probs - old_log_probs).exp() * advantages


@wrong_gain(
    "the clipped ratio always counts: a policy that went astray gets no gradient back", next=SMALLER
)
def always_clipped(log_probs, old_log_probs, advantages, clip):
    return gains(log_probs, old_log_probs, advantages, clip)[1]


@wrong_gain("the larger gain counts", next=SMALLER)
def larger_gain(log_probs, old_log_probs, advantages, clip):
    return torch.maximum(*gains(log_probs, old_log_probs, advantages, clip))


@wrong_gain("the ratio stands on its head", next="new over old: exp(log_probs − old_log_probs)")
def upside_down(log_probs, old_log_probs, advantages, clip):
    return torch.minimum(*gains(old_log_probs, log_probs, advantages, clip))


@wrong_gain("the ratio is still a logarithm", next="take the exp of the difference")
def logarithms(log_probs, old_log_probs, advantages, clip):
    ratio = log_probs - old_log_probs
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


@wrong_gain("the difference is clipped at ±ε, not the ratio at 1 ± ε", next=CLAMP)
def around_0(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(-clip, clip) * advantages)


@wrong_gain(
    "the gain is clipped, not the ratio",
    next="first clip the ratio, then multiply by the advantage",
)
def gain_clipped(log_probs, old_log_probs, advantages, clip):
    gain = (log_probs - old_log_probs).exp() * advantages
    return torch.minimum(gain, gain.clamp(1 - clip, 1 + clip))


@wrong_gain("the ratio is only clipped from above", next=CLAMP)
def from_above(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(max=1 + clip) * advantages)


@wrong_gain("the ratio is only clipped from below", next=CLAMP)
def from_below(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(min=1 - clip) * advantages)


@wrong_gain(
    "there is no ratio: this is log π times the advantage",
    next="exp(log_probs − old_log_probs) is the ratio",
)
def no_ratio(log_probs, old_log_probs, advantages, clip):
    return log_probs * advantages


@wrong_gain("the gradient in log_probs is another one", next=STOPS)
def ratio_detached(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantages, ratio.detach().clamp(1 - clip, 1 + clip) * advantages)


@wrong_gain("the gradient in log_probs is another one", next=STOPS)
def straight_through(log_probs, old_log_probs, advantages, clip):
    gain, clipped = gains(log_probs, old_log_probs, advantages, clip)
    return gain + (torch.minimum(gain, clipped) - gain).detach()


@clipped_surrogate.wrong(*OVER_ALL)
def surrogate_over_all(log_probs, old_log_probs, advantages, counts, clip):
    everything = torch.ones_like(counts)
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, everything, clip)


@clipped_surrogate.wrong(*TOKENS_SUMMED)
def surrogate_summed(log_probs, old_log_probs, advantages, counts, clip):
    return counts.sum() * ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip)


@clipped_surrogate.wrong(*BY_RESPONSE)
def surrogate_by_response(log_probs, old_log_probs, advantages, counts, clip):
    rows = zip(log_probs, old_log_probs, advantages, counts)
    return torch.stack([ppo.clipped_surrogate(*row, clip) for row in rows]).mean()


@clipped_surrogate.wrong("the responses are summed, then averaged", next=ALL_COUNTING)
def surrogate_summed_by_response(log_probs, old_log_probs, advantages, counts, clip):
    return surrogate_summed(log_probs, old_log_probs, advantages, counts, clip) / len(counts)


@clipped_surrogate.wrong(*FOR_EACH)
def surrogate_of_each_token(log_probs, old_log_probs, advantages, counts, clip):
    return -torch.minimum(*gains(log_probs, old_log_probs, advantages, clip)) * counts


@clipped_surrogate.wrong(*REACHES_THE_LOSS)
def surrogate_not_masked(log_probs, old_log_probs, advantages, counts, clip):
    clip = math.inf if clip is None else clip
    return -torch.minimum(*gains(log_probs, old_log_probs, advantages, clip)).sum() / counts.sum()


@clipped_surrogate.wrong(*NOT_FINITE)
def surrogate_divides_by_0(log_probs, old_log_probs, advantages, counts, clip):
    nothing = torch.zeros_like(counts)
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, nothing, clip)


@clipped_surrogate.wrong(*NO_GRADIENT)
def surrogate_as_number(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip).item()


@clipped_surrogate.wrong(*NO_GRADIENT)
def surrogate_detached(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs.detach(), old_log_probs, advantages, counts, clip)


@clipped_surrogate.wrong(*in_place("advantages"))
def surrogate_in_place(log_probs, old_log_probs, advantages, counts, clip):
    advantages *= counts.sum()
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip) / counts.sum()


@clipped_surrogate.wrong(*NEEDS_CLIP)
def surrogate_needs_clip(log_probs, old_log_probs, advantages, counts, clip):
    return -mean(torch.minimum(*gains(log_probs, old_log_probs, advantages, clip)), counts)


@clipped_surrogate.wrong(*CLIPS_WITHOUT)
def surrogate_default_clip(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip or 0.2)


def after_an_update(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """The function's arguments: ratios above, below and within the clip interval, each with
    advantages of both signs."""
    counts = counting(seed)
    old_log_probs = -randoms(seed, *counts.shape).exp() * counts
    moves, advantages = in_all_ways(seed, counts, least=0.3)
    return old_log_probs + moves, old_log_probs, advantages, counts, some_clip(seed)


@clipped_surrogate.check(points=2)
@twice
def is_the_mean_of_the_smaller_gain(student, seed):
    expect(
        clipped_surrogate,
        student,
        after_an_update(seed),
        otherwise=("this is not the negative mean of min(ρ Â, clip(ρ) Â)", SMALLER),
        read=as_loss,
    )


@clipped_surrogate.check(points=1)
def stops_where_the_clip_holds(student, seed):
    needs_what_counts_alone(clipped_surrogate, student, after_an_update(seed))
    needs_gradients(clipped_surrogate, student, after_an_update(seed), "log_probs", next=STOPS)


@clipped_surrogate.wrong(*CLIP_OF_0)
def no_clip_of_0(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip or None)


@clipped_surrogate.check(points=1)
@twice
def can_do_without_the_clip(student, seed):
    *tables, _ = after_an_update(seed)
    with in_words(TypeError, *NEEDS_CLIP):
        expect(clipped_surrogate, student, (*tables, None), otherwise=CLIPS_WITHOUT, read=number)
    with_0, right = (number(call(f, (*tables, 0.0))) for f in (student, ppo.clipped_surrogate))
    if not close(with_0, right):
        raise Mistake(*CLIP_OF_0)


# The critic's loss --------------------------------------------------------------------------------

value_loss = Exercise("ppo.value_loss", reference=ppo.value_loss, minutes=10, difficulty=2)
LARGER = "of the error of the value and of that of the held value, the larger one counts"
HELD = "old_values + (values − old_values).clamp(−clip, clip)"
HOLDS = "zero where the held value has the larger error, and only there"


value_loss.wrong(*CLIP_KNOWN)(with_the_notebooks(value_loss, "clip"))


@value_loss.wrong("the half is missing", next="half the squared error: divide by 2")
def no_half(values, old_values, returns, counts, clip):
    return 2 * ppo.value_loss(values, old_values, returns, counts, clip)


def errors(values, old_values, returns, clip) -> tuple[Tensor, Tensor]:
    held = old_values + (values - old_values).clamp(-clip, clip)
    return (values - returns).square(), (held - returns).square()


def larger_error(values, held, returns) -> Tensor:
    return torch.maximum((values - returns).square(), (held - returns).square())


@wrong_part(value_loss)
def wrong_error(error):
    """Half the mean of another error."""

    def loss(values, old_values, returns, counts, clip):
        return mean(error(values, old_values, returns, clip), counts) / 2

    return loss


@wrong_error("the smaller error counts", next=LARGER)
def smaller_error(values, old_values, returns, clip):
    return torch.minimum(*errors(values, old_values, returns, clip))


@wrong_error("the value is not held", next=LARGER)
def not_held(values, old_values, returns, clip):
    return (values - returns).square()


@wrong_error("the value is not held, and the half is missing", next=LARGER)
def not_held_no_half(values, old_values, returns, clip):
    return 2 * (values - returns).square()


@wrong_error("the held value always counts", next=LARGER)
def always_held(values, old_values, returns, clip):
    return errors(values, old_values, returns, clip)[1]


@wrong_error("the value is not held", next=LARGER)
def held_around_the_return(values, old_values, returns, clip):
    return larger_error(values, returns + (values - returns).clamp(-clip, clip), returns)


@wrong_error("the value itself is clipped, not its move", next=HELD)
def value_clipped(values, old_values, returns, clip):
    return larger_error(values, values.clamp(-clip, clip), returns)


@wrong_error("the move is clipped and not added to the old value", next=HELD)
def move_alone(values, old_values, returns, clip):
    return larger_error(values, (values - old_values).clamp(-clip, clip), returns)


@wrong_error(
    "the value is held to a ratio, as a policy is",
    next="values may be negative: hold their difference within ±clip",
)
def held_to_a_ratio(values, old_values, returns, clip):
    held = old_values * (values / old_values).clamp(1 - clip, 1 + clip)
    return larger_error(values, held, returns)


@wrong_error("the errors are not squared", next="the squared error")
def not_squared(values, old_values, returns, clip):
    return torch.maximum(*errors(values, old_values, returns, clip)).sqrt()


@wrong_error("the two errors are added", next=LARGER)
def both_errors(values, old_values, returns, clip):
    return sum(errors(values, old_values, returns, clip))


@wrong_error("the two errors are averaged", next=LARGER)
def mean_of_both(values, old_values, returns, clip):
    return sum(errors(values, old_values, returns, clip)) / 2


@wrong_error("the gradient in values is another one", next=HOLDS)
def held_with_gradient(values, old_values, returns, clip):
    error, held = errors(values, old_values, returns, clip)
    return error + (torch.maximum(error, held) - error).detach()


@value_loss.wrong("the sign is wrong", next="an error is to be minimised as it stands")
def critic_negated(values, old_values, returns, counts, clip):
    return -ppo.value_loss(values, old_values, returns, counts, clip)


@value_loss.wrong(*OVER_ALL)
def critic_over_all(values, old_values, returns, counts, clip):
    return ppo.value_loss(values, old_values, returns, torch.ones_like(counts), clip)


@value_loss.wrong(f"{OVER_ALL[0]}, and the half is missing", next=ALL_COUNTING)
def critic_over_all_no_half(values, old_values, returns, counts, clip):
    return 2 * critic_over_all(values, old_values, returns, counts, clip)


@value_loss.wrong(*TOKENS_SUMMED)
def critic_summed(values, old_values, returns, counts, clip):
    return ppo.value_loss(values, old_values, returns, counts, clip) * counts.sum()


@value_loss.wrong(*BY_RESPONSE)
def critic_by_response(values, old_values, returns, counts, clip):
    rows = zip(values, old_values, returns, counts)
    return torch.stack([ppo.value_loss(*row, clip) for row in rows]).mean()


@value_loss.wrong(*FOR_EACH)
def critic_of_each_token(values, old_values, returns, counts, clip):
    return torch.maximum(*errors(values, old_values, returns, clip)) / 2 * counts


@value_loss.wrong(*REACHES_THE_LOSS)
def critic_not_masked(values, old_values, returns, counts, clip):
    return torch.maximum(*errors(values, old_values, returns, clip)).sum() / counts.sum() / 2


@value_loss.wrong(*NO_GRADIENT)
def critic_detached(values, old_values, returns, counts, clip):
    return ppo.value_loss(values.detach(), old_values, returns, counts, clip)


@value_loss.wrong(*in_place("old_values"))
def critic_in_place(values, old_values, returns, counts, clip):
    held = old_values.add_((values - old_values).clamp(-clip, clip))
    return mean(larger_error(values, held, returns), counts) / 2


def after_a_critics_update(
    seed: int, towards: float = 1, far: float = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """The function's arguments: values that have moved up, down and hardly, each with returns above
    and below them. towards, far: how much further those move that move towards their returns,
    and how much further off those returns are"""
    counts = counting(seed)
    old_values = randoms(seed, *counts.shape) * counts
    moves, away = in_all_ways(seed, counts, least=0.8)
    closer = moves * away > 0
    moves, away = moves.where(~closer, towards * moves), away.where(~closer, far * away)
    return old_values + moves, old_values, old_values + away, counts, some_clip(seed)


TWO_MEANS = (
    "the larger of the two means counts, not the larger error of each token",
    "take the larger one first, token by token, then the mean",
)


@value_loss.wrong(*TWO_MEANS)
def larger_of_two_means(values, old_values, returns, counts, clip):
    held = old_values + (values - old_values).clamp(-clip, clip)
    plain, other = (mean((each - returns).square(), counts) for each in (values, held))
    return torch.maximum(plain, other) / 2


@value_loss.check(points=2)
@twice
def is_half_the_mean_of_the_larger_error(student, seed):
    # The larger mean is the held values' on one of these inputs, and the values' own on the other.
    both = (after_a_critics_update(seed, towards=0), after_a_critics_update(seed, far=6))
    if all(close(as_loss(call(student, each)), larger_of_two_means(*each), ALIKE) for each in both):
        raise Mistake(*TWO_MEANS)
    expect(
        value_loss,
        student,
        after_a_critics_update(seed),
        otherwise=("this is not half the mean of the larger squared error", LARGER),
        read=as_loss,
    )


@value_loss.check(points=1)
def stops_where_the_value_is_held(student, seed):
    needs_what_counts_alone(value_loss, student, after_a_critics_update(seed))
    needs_gradients(value_loss, student, after_a_critics_update(seed), "values", next=HOLDS)


# Find the silent bug ------------------------------------------------------------------------------

response_log_probs = Exercise(
    "ppo.silent_bug", reference=rollouts.response_log_probs, minutes=20, difficulty=3
)
SHIFT = "the logits at t have read token t: they predict token t + 1"
BEFORE_SOFTMAX = "divide the logits by it, before the softmax"
ONE_FEWER = "the first token is predicted by nothing: (batch, time - 1)"
OTHERS_SCORED = (
    "tokens of the prompt or of the padding are scored",
    f"put 0 where the label is {IGNORE}",
)


PADDING_READ = (
    "with padding on the left, the model reads the padding",
    "call model(**inputs(model, ids, real)): real tells what is none",
)


def logits_of(model, ids, real) -> Tensor:
    return model(**models.inputs(model, ids, real)).logits


@response_log_probs.wrong(
    "each token is scored after the model has read it: it sees what it should predict", next=SHIFT
)
def reads_first(model, ids, real, labels, temperature):
    return picked((logits_of(model, ids, real) / temperature).log_softmax(-1), labels)[:, 1:]


@response_log_probs.wrong(
    "each token is scored after the model has read it, and the temperature is not used", next=SHIFT
)
def reads_first_without_temperature(model, ids, real, labels, temperature):
    return reads_first(model, ids, real, labels, 1)


@response_log_probs.wrong("each token is predicted from one token too few", next=SHIFT)
def one_token_too_few(model, ids, real, labels, temperature):
    logits = logits_of(model, ids, real).roll(1, 1)
    return tokens.token_log_probs(logits / temperature, labels)


@response_log_probs.wrong("the temperature is not used", next=BEFORE_SOFTMAX)
def temperature_unused(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(model, ids, real, labels, 1)


response_log_probs.wrong(
    "the temperature is taken to be the notebook's", next="it is an argument: use it"
)(with_the_notebooks(response_log_probs, "temperature"))


@response_log_probs.wrong("the logits are multiplied by the temperature", next="divide them by it")
def temperature_times(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(model, ids, real, labels, 1 / temperature)


@response_log_probs.wrong(
    "the log-probabilities are divided by the temperature", next=BEFORE_SOFTMAX
)
def temperature_too_late(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(model, ids, real, labels, 1) / temperature


@response_log_probs.wrong(
    "these are logits, not log-probabilities", next="normalise over the vocabulary: log_softmax(-1)"
)
def bare_logits(model, ids, real, labels, temperature):
    return picked(logits_of(model, ids, real)[:, :-1] / temperature, labels[:, 1:])


@response_log_probs.wrong("these are probabilities, not their logarithms", next="log_softmax(-1)")
def probabilities(model, ids, real, labels, temperature):
    return picked((logits_of(model, ids, real)[:, :-1] / temperature).softmax(-1), labels[:, 1:])


@response_log_probs.wrong(
    "the sign is wrong: log-probabilities are at most 0", next="return them as they are"
)
def log_probs_negated(model, ids, real, labels, temperature):
    return -rollouts.response_log_probs(model, ids, real, labels, temperature)


@response_log_probs.wrong(*PADDING_READ)
def padding_is_read(model, ids, real, labels, temperature):
    return tokens.token_log_probs(model(ids).logits / temperature, labels)


@response_log_probs.wrong(*OTHERS_SCORED)
def everything_scored(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(model, ids, real, ids, temperature)


@response_log_probs.wrong(WRONG_SHAPE, next=ONE_FEWER)
def full_length(model, ids, real, labels, temperature):
    return F.pad(rollouts.response_log_probs(model, ids, real, labels, temperature), (1, 0))


@response_log_probs.wrong(*in_place("labels"))
def labels_in_place(model, ids, real, labels, temperature):
    log_probs = rollouts.response_log_probs(model, ids, real, labels, temperature)
    labels[labels == IGNORE] = 0
    return log_probs


@response_log_probs.wrong(*NOTHING_TO_LEARN)
@torch.no_grad()
def nothing_to_learn(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(model, ids, real, labels, temperature)


def read_and_scored(seed: int) -> tuple[torch.nn.Module, Tensor, Tensor, Tensor, float]:
    """The function's arguments, three rows of 9: a prompt, a response that alone has labels,
    padding on the right."""
    _, labels = random_batch(seed)
    prompts = torch.randint(2, VOCAB, labels.shape, generator=torch.Generator().manual_seed(seed))
    lasts = (labels != IGNORE).long() * torch.arange(labels.shape[1])
    real = torch.arange(labels.shape[1]) <= lasts.amax(-1, keepdim=True)
    ids = labels.where(labels != IGNORE, prompts).where(real, PAD)
    return small_model(), ids, real, labels, some_number(seed, 1.4, 2.2)


def padded_on_the_left(model, ids, real, labels, temperature):
    """The same rows, pushed to the right; nothing real is lost."""
    moves = (~real).sum(-1).tolist()
    ids, real, labels = (
        torch.stack([row.roll(by) for row, by in zip(table, moves)])
        for table in (ids, real, labels)
    )
    return model, ids, real, labels, temperature


def log_probs(value, model, ids, real, labels, temperature) -> Tensor:
    return numbers(value, tuple(labels[:, 1:].shape), next=ONE_FEWER)


def response_alone(value, model, ids, real, labels, temperature) -> Tensor:
    return log_probs(value, model, ids, real, labels, temperature)[labels[:, 1:] != IGNORE]


@response_log_probs.wrong(*NOT_FINITE)
def log_of_the_softmax(model, ids, real, labels, temperature):
    probabilities = (logits_of(model, ids, real) / temperature).softmax(-1)
    counts = labels[:, 1:] != IGNORE
    places = labels[:, 1:].where(counts, 0).unsqueeze(-1)
    return probabilities[:, :-1].gather(-1, places).squeeze(-1).log().where(counts, 0)


@response_log_probs.check(points=2)
def predicts_each_token_before_it_is_read(student, seed):
    given = read_and_scored(seed)
    not_the_response = "these are not the log-probabilities of the response's tokens", SHIFT
    expect(response_log_probs, student, given, otherwise=not_the_response, read=response_alone)
    expect(response_log_probs, student, given, otherwise=OTHERS_SCORED, read=log_probs)
    needs_untouched(response_log_probs, student, given)
    sure = *given[:-1], 0.004  # so cold that most tokens are all but impossible
    expect(response_log_probs, student, sure, otherwise=not_the_response, read=response_alone)
    left = padded_on_the_left(*given)
    expect(response_log_probs, student, left, otherwise=PADDING_READ, read=response_alone)


@response_log_probs.check(points=1)
def shares_one_probability_among_all_candidates(student, seed):
    model, ids, real, labels, temperature = read_and_scored(seed)
    place = int((labels[2] != IGNORE).nonzero()[-1])  # the last token of the longest response
    ids, real, labels = (table[2:3].repeat(VOCAB, 1) for table in (ids, real, labels))
    ids[:, place] = labels[:, place] = torch.arange(VOCAB)
    every = model, ids, real, labels, temperature
    total = log_probs(call(student, every), *every)[:, place - 1].exp().sum()
    if not close(total, torch.tensor(1.0)):
        raise Mistake(
            f"the probabilities of all candidates for one token add up to {total:.2f}, not to 1",
            next="the logits that score a token must be the same whichever token it is",
        )


@response_log_probs.check(points=1)
def teaches_the_policy(student, seed):
    given = read_and_scored(seed)
    needs_parameter_gradients(response_log_probs, student, given, randoms(seed, 3, 8))
