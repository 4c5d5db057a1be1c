"""The checks of lab 05's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import copy
import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from checks.models import MINE, OTHER, PAD, VOCAB, small_model
from checks.policies import adapted_policy
from checks.ppo import mean
from checks.reward import kind_of_error
from checks.sft import picked
from checks.shared import (
    NO_GRADIENT,
    NOT_FINITE,
    NOTHING_TO_LEARN,
    RETURNS_NOTHING,
    WRONG_SHAPE,
    Words,
    as_loss,
    call,
    close,
    expect,
    in_place,
    kind_of,
    needs_gradients,
    needs_parameter_gradients,
    needs_something,
    needs_untouched,
    number,
    numbers,
    random_batch,
    random_tokens,
    randoms,
    some_number,
    twice,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake
from course.registry import SWITCHED_OFF
from methods import distill, dpo, grpo, kl, lora, reference, reward, rollouts, tokens, verifiers
from methods.tokens import IGNORE
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

BETA_KNOWN = "beta is taken to be the notebook's", "beta is an argument: use it"


def some_beta(seed: int) -> float:
    return some_number(seed, 0.15, 0.85)


def of_responses(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """log π and log π_ref of whole responses. What the policy has learned is small beside what the
    responses differ in anyway."""
    ref_log_probs = -50 + 7 * randoms(seed + 1, *shape)
    return ref_log_probs + 3 * randoms(seed + 2, *shape), ref_log_probs


# The implicit reward ------------------------------------------------------------------------------

implicit_reward = Exercise(
    "after.implicit_reward", reference=dpo.implicit_reward, minutes=5, difficulty=1
)
IMPLIED = "r̂ = β (log π − log π_ref)"
ONE_REWARD_EACH = "one reward for each response: no sum, no mean"
NOT_IMPLIED = "this is not β times the log-ratio", IMPLIED
REFERENCE_UNUSED = "the reference is not used", IMPLIED


@wrong_part(implicit_reward)
def wrong_reward(rewards):
    """Other rewards, a function of log π, log π_ref and β."""
    return lambda log_probs, ref_log_probs, beta: rewards(log_probs, ref_log_probs, beta)


implicit_reward.wrong(*BETA_KNOWN)(with_the_notebooks(implicit_reward, "beta"))


@wrong_reward(
    "policy and reference have changed places",
    next="what the policy finds likelier than the reference does has the higher reward",
)
def places_changed(log_p, log_q, beta):
    return beta * (log_q - log_p)


@wrong_reward("beta is not used", next=IMPLIED)
def no_beta(log_p, log_q, beta):
    return log_p - log_q


@wrong_reward("the log-ratio is divided by beta", next="solve π* = π_ref exp(r/β) / Z for r")
def over_beta(log_p, log_q, beta):
    return (log_p - log_q) / beta


@wrong_reward(*REFERENCE_UNUSED)
def policy_alone(log_p, log_q, beta):
    return beta * log_p


@wrong_reward("beta multiplies the policy's part alone", next=IMPLIED)
def beta_on_the_policy(log_p, log_q, beta):
    return beta * log_p - log_q


@wrong_reward("beta multiplies the reference's part alone", next=IMPLIED)
def beta_on_the_reference(log_p, log_q, beta):
    return log_p - beta * log_q


@wrong_reward("this is the ratio, not its logarithm", next="no exp: log π − log π_ref")
def ratio(log_p, log_q, beta):
    return beta * (log_p - log_q).exp()


@wrong_reward(
    "one logarithm is divided by the other", next="the log of a ratio is a difference of logarithms"
)
def ratio_of_logarithms(log_p, log_q, beta):
    return beta * log_p / log_q


@wrong_reward("the sign of the log-ratio is lost", next="a reward may be negative")
def absolute(log_p, log_q, beta):
    return beta * (log_p - log_q).abs()


@wrong_reward("negative rewards become 0", next="a reward may be negative: no clamp")
def never_negative(log_p, log_q, beta):
    return beta * (log_p - log_q).clamp(min=0)


@wrong_reward("the mean is subtracted", next="Z is left out: return β times the log-ratio as it is")
def without_the_mean(log_p, log_q, beta):
    return beta * (log_p - log_q - (log_p - log_q).mean())


@wrong_reward(
    "this is log σ of the reward", next="the loss takes the logsigmoid; here the reward is asked"
)
def already_a_loss(log_p, log_q, beta):
    return logsigmoid(beta * (log_p - log_q))


@wrong_reward("the log-ratio is held within ±1", next="no clamp: a reward may be of any size")
def held_within_1(log_p, log_q, beta):
    return beta * (log_p - log_q).clamp(-1, 1)


@wrong_reward(WRONG_SHAPE, next=ONE_REWARD_EACH)
def mean_reward(log_p, log_q, beta):
    return beta * (log_p - log_q).mean()


@wrong_reward(WRONG_SHAPE, next=ONE_REWARD_EACH)
def margins_instead(log_p, log_q, beta):
    return (beta * (log_p - log_q)).diff(dim=-1) if log_p.ndim else beta * (log_p - log_q)


@implicit_reward.wrong(*in_place("log_probs"))
def reward_in_place(log_probs, ref_log_probs, beta):
    log_probs -= ref_log_probs
    return beta * log_probs


@implicit_reward.wrong(*in_place("ref_log_probs"))
def reference_in_place(log_probs, ref_log_probs, beta):
    return ref_log_probs.sub_(log_probs) * -beta


@implicit_reward.wrong(*NOT_IMPLIED)
def far_from_the_reference(log_probs, ref_log_probs, beta):
    return beta * (log_probs - ref_log_probs).clamp(-20, 20)


@implicit_reward.check(points=1)
@twice
def is_beta_times_the_log_ratio(student, seed):
    pairs = random.Random(seed).randint(3, 6)
    given = *of_responses(seed, pairs, 2), some_beta(seed)
    expect(implicit_reward, student, given, otherwise=NOT_IMPLIED, shape=ONE_REWARD_EACH)
    needs_untouched(implicit_reward, student, given)


@implicit_reward.check(points=1)
def takes_any_shape(student, seed):
    beta = some_beta(seed + 1)
    rows = random.Random(seed).randint(2, 5)
    for shape in ((rows,), (rows, 3, 2), ()):
        given = *of_responses(seed, *shape), beta
        expect(implicit_reward, student, given, otherwise=NOT_IMPLIED, shape=ONE_REWARD_EACH)
    log_probs, ref_log_probs = of_responses(seed, rows, 4)
    far = log_probs + 300 * randoms(seed, rows, 4), ref_log_probs, beta
    expect(implicit_reward, student, far, otherwise=NOT_IMPLIED, shape=ONE_REWARD_EACH)


# The loss of DPO ----------------------------------------------------------------------------------

dpo_loss = Exercise("after.dpo_loss", reference=dpo.dpo_loss, minutes=10, difficulty=2)
DPO = "the loss is −log σ of the margin, r̂ of the chosen − r̂ of the rejected"
COLUMNS = "the chosen response stands in column 0: [:, 0]"
OTHER_WAY_ROUND = (
    "chosen and rejected have changed places, or policy and reference",
    "r̂ = β (log π − log π_ref), and the rejected response's is subtracted",
)
MEAN_OF_PAIRS = "take the mean over the pairs"
STABLE = "torch.nn.functional.logsigmoid, or softplus, is stable; log of sigmoid is not"
NO_SMALL_NUMBER = (
    "no clamp and no small number inside the log: they end the learning where it is needed"
)


def margins(log_probs: Tensor, ref_log_probs: Tensor, beta: float) -> Tensor:
    rewards = beta * (log_probs - ref_log_probs)
    return rewards[:, 0] - rewards[:, 1]


dpo_loss.wrong(*BETA_KNOWN)(with_the_notebooks(dpo_loss, "beta"))


@wrong_part(dpo_loss)
def wrong_curve(curve):
    """The mean of another function of the margins."""
    return lambda *given: curve(margins(*given)).mean()


@wrong_curve(
    "the sign is wrong: this rises when the choices get more likely",
    next="negate the log-probability",
)
def rising(margin):
    return logsigmoid(margin)


@wrong_curve(*OTHER_WAY_ROUND)
def rejected_first(margin):
    return -logsigmoid(-margin)


@wrong_curve("the logarithm is missing", next=DPO)
def no_logarithm(margin):
    return -margin.sigmoid()


@wrong_curve("this is the mean probability of a wrong choice", next=DPO)
def mean_error(margin):
    return (-margin).sigmoid()


@wrong_curve("the sigmoid is missing", next=DPO)
def no_sigmoid(margin):
    return -margin


@wrong_curve("this is a hinge: it stops at a margin of 1", next=DPO)
def hinge(margin):
    return (1 - margin).clamp(min=0)


@wrong_curve("the margin is squared: that is another loss", next=DPO)
def squared(margin):
    return (1 - margin).square()


@wrong_curve("these are bits, not nats", next="use the natural logarithm")
def in_bits(margin):
    return -logsigmoid(margin) / math.log(2)


@dpo_loss.wrong("this is IPO's loss: it aims at a margin", next=DPO)
def ipo(log_probs, ref_log_probs, beta):
    return (margins(log_probs, ref_log_probs, 1) - 1 / (2 * beta)).square().mean()


@wrong_part(dpo_loss)
def wrong_margin(margin):
    """The mean −log σ of another margin, a function of log π, log π_ref and β."""
    return lambda *given: -logsigmoid(margin(*given)).mean()


@wrong_margin("the reference is not used", next="the implicit reward is β times log π − log π_ref")
def without_the_reference(log_p, log_q, beta):
    return margins(log_p, 0 * log_q, beta)


@wrong_margin("beta is not used", next="the implicit reward is β times the log-ratio")
def margin_without_beta(log_p, log_q, beta):
    return margins(log_p, log_q, 1)


@wrong_margin("the log-ratio is divided by beta", next="multiply by beta")
def margin_over_beta(log_p, log_q, beta):
    return margins(log_p, log_q, 1 / beta)


@wrong_margin("beta multiplies the policy's part alone", next=IMPLIED)
def margin_beta_on_the_policy(log_p, log_q, beta):
    return margins(log_p, log_q / beta, beta)


@wrong_margin("the reference's log-probabilities are added, not subtracted", next=IMPLIED)
def reference_added(log_p, log_q, beta):
    return margins(log_p, -log_q, beta)


@wrong_margin(*OTHER_WAY_ROUND)
def margin_of_the_reference(log_p, log_q, beta):
    return margins(log_q, log_p, beta)


@wrong_margin("the rejected response is not used", next=DPO)
def chosen_alone(log_p, log_q, beta):
    return beta * (log_p - log_q)[:, 0]


@wrong_margin("the chosen response is not used", next=DPO)
def rejected_alone(log_p, log_q, beta):
    return -beta * (log_p - log_q)[:, 1]


@wrong_margin("the rewards of a pair are added", next=DPO)
def rewards_added(log_p, log_q, beta):
    return beta * (log_p - log_q).sum(-1)


@wrong_margin(
    "ratios are subtracted, not their logarithms", next="no exp: the reward is a log-ratio"
)
def ratios_subtracted(log_p, log_q, beta):
    both = beta * (log_p - log_q).exp()
    return both[:, 0] - both[:, 1]


@wrong_margin(
    "the margins are averaged before the sigmoid",
    next="σ bends: first the loss of each pair, then the mean",
)
def mean_margin(log_p, log_q, beta):
    return margins(log_p, log_q, beta).mean()


@wrong_margin("two pairs are compared, not the two responses of a pair", next=COLUMNS)
def rows_for_columns(log_p, log_q, beta):
    return margins(log_p.T, log_q.T, beta)


@dpo_loss.wrong("the sigmoid is taken of each reward, not of the margin", next=DPO)
def sigmoid_of_each(log_probs, ref_log_probs, beta):
    losses = logsigmoid(beta * (log_probs - ref_log_probs))
    return (losses[:, 1] - losses[:, 0]).mean()


@dpo_loss.wrong("chosen and rejected are judged each by itself", next=DPO)
def each_by_itself(log_probs, ref_log_probs, beta):
    rewards = beta * (log_probs - ref_log_probs)
    return -(logsigmoid(rewards[:, 0]) + logsigmoid(-rewards[:, 1])).mean()


@dpo_loss.wrong(
    "the logarithm is taken of the mean probability", next="first the log, then the mean"
)
def mean_before_log(log_probs, ref_log_probs, beta):
    return -margins(log_probs, ref_log_probs, beta).sigmoid().mean().log()


@dpo_loss.wrong("the pairs are summed, not averaged", next=MEAN_OF_PAIRS)
def summed(log_probs, ref_log_probs, beta):
    return -logsigmoid(margins(log_probs, ref_log_probs, beta)).sum()


@dpo_loss.wrong("the pairs are summed and divided by their responses", next=MEAN_OF_PAIRS)
def over_the_responses(log_probs, ref_log_probs, beta):
    return -logsigmoid(margins(log_probs, ref_log_probs, beta)).sum() / log_probs.numel()


@dpo_loss.wrong("this is one loss for each pair", next="take their mean")
def one_for_each_pair(log_probs, ref_log_probs, beta):
    return -logsigmoid(margins(log_probs, ref_log_probs, beta))


@dpo_loss.wrong("a margin of -150 costs inf", next=STABLE)
def naive_log(log_probs, ref_log_probs, beta):
    return -margins(log_probs, ref_log_probs, beta).sigmoid().log().mean()


@dpo_loss.wrong("a choice with a margin of -150 must cost 150 nats", next=NO_SMALL_NUMBER)
def small_number_inside(log_probs, ref_log_probs, beta):
    return -(margins(log_probs, ref_log_probs, beta).sigmoid() + 1e-8).log().mean()


@dpo_loss.wrong("a choice with a margin of -150 must cost 150 nats", next=NO_SMALL_NUMBER)
def margin_held_at_20(log_probs, ref_log_probs, beta):
    return -logsigmoid(margins(log_probs, ref_log_probs, beta).clamp(-20, 20)).mean()


@dpo_loss.wrong("the gradient in log_probs is not finite", next="no infinity may arise on the way")
def gradient_of_what_is_not_taken(log_probs, ref_log_probs, beta):
    margin = margins(log_probs, ref_log_probs, beta)
    return -torch.where(margin > -80, margin.sigmoid().log(), margin).mean()


@dpo_loss.wrong(*NO_GRADIENT)
def loss_as_a_number(log_probs, ref_log_probs, beta):
    return dpo.dpo_loss(log_probs, ref_log_probs, beta).item()


@dpo_loss.wrong("the gradient in log_probs is another one", next="both responses learn")
def rejected_detached(log_probs, ref_log_probs, beta):
    halves = log_probs[:, :1], log_probs[:, 1:].detach()
    return dpo.dpo_loss(torch.cat(halves, 1), ref_log_probs, beta)


@dpo_loss.wrong(*in_place("ref_log_probs"))
def loss_in_place(log_probs, ref_log_probs, beta):
    ref_log_probs.sub_(log_probs).mul_(-beta)
    return -logsigmoid(ref_log_probs[:, 0] - ref_log_probs[:, 1]).mean()


def compared(seed: int) -> tuple[Tensor, Tensor, float]:
    """The function's arguments: some pairs are in favour of the choice, some against it."""
    log_probs, ref_log_probs = of_responses(seed, random.Random(seed).randint(3, 7), 2)
    beta = some_beta(seed)
    for pair, (low, high) in enumerate(((0.7, 1.5), (-1.5, -0.7))):
        margin = some_number(seed + pair, low, high)
        ahead = margins(log_probs, ref_log_probs, beta)[pair].item()
        log_probs[pair, 0] += (margin - ahead) / beta
    return log_probs, ref_log_probs, beta


@dpo_loss.check(points=2)
@twice
def is_the_mean_negative_log_probability_of_the_choice(student, seed):
    otherwise = "this is not the mean of −log σ of the margin", DPO
    expect(dpo_loss, student, compared(seed), otherwise=otherwise, read=as_loss)
    one_pair = *of_responses(seed + 5, 1, 2), some_beta(seed + 5)
    two_pairs = *of_responses(seed + 6, 2, 2), some_beta(seed + 6)
    for given in (one_pair, two_pairs):
        expect(dpo_loss, student, given, otherwise=otherwise, read=as_loss)


@dpo_loss.check(points=1)
def stands_large_margins(student, seed):
    beta, same = some_beta(seed), torch.tensor([[-50.0, -50.0]])
    for size in (150.0, 1000.0):
        astray = same - torch.tensor([[size / beta, 0.0]])
        value = number(call(student, (astray, same, beta)))
        if not torch.isfinite(value):
            raise Mistake(f"a margin of {-size:.0f} costs {value.item()}", next=STABLE)
        if not close(value, torch.tensor(size)):
            raise Mistake(
                f"a choice with a margin of {-size:.0f} must cost {size:.0f} nats, "
                f"yours {value.item():.4g}",
                next=NO_SMALL_NUMBER,
            )
    far = torch.tensor([[-400.0, 0.0], [0.0, -400.0]]) / beta - 50
    given = far, same.repeat(2, 1), beta
    needs_gradients(dpo_loss, student, given, "log_probs", next=STABLE)


@dpo_loss.check(points=1)
def passes_the_gradient(student, seed):
    needs_gradients(dpo_loss, student, compared(seed), "log_probs", next="both responses learn")


# Advantages in a group ----------------------------------------------------------------------------

group_advantages = Exercise(
    "after.group_advantages", reference=grpo.standardised, minutes=10, difficulty=2
)
IN_GROUPS = "scores.view(-1, size) has one group in each row"
ONE_ADVANTAGE_EACH = "one number for each response: (responses,)"
STANDARDISED = "(score − the group's mean) / (the group's standard deviation + 1e-4)"
SAMPLE = "divide by size − 1, as std() does"
SMALL_NUMBER = (
    "not 1e-4 is added to the deviation",
    "add it to the standard deviation itself, not to the variance",
)
EQUAL_SCORES = "in a group of equal scores everybody must get 0", STANDARDISED
SIZE_KNOWN = "size is taken to be the notebook's", "size is an argument: view(-1, size)"
WHOLE_BATCH = "the scores are compared with the whole batch, not with their group", IN_GROUPS
TAKEN_APART = (
    "the responses of a group are taken from all over the batch: they stand next to each other",
    IN_GROUPS,
)


def register_wrong_groups(exercise: Exercise) -> None:
    """Wrong solutions: the reference with other groups."""

    def register(groups: Callable, words: Words) -> None:
        exercise.wrong(*words)(groups)

    def compares_with_the_whole_batch(scores, size):
        return exercise.reference(scores, len(scores))

    def takes_groups_apart(scores, size):
        table = scores.view(size, -1)
        return exercise.reference(table.T.flatten(), size).view(-1, size).T.flatten()

    def leaves_groups_in_rows(scores, size):
        return exercise.reference(scores, size).view(-1, size)

    def first_group_alone(scores, size):
        return exercise.reference(scores[:size], size)

    register(with_the_notebooks(exercise, "size"), SIZE_KNOWN)
    register(compares_with_the_whole_batch, WHOLE_BATCH)
    register(takes_groups_apart, TAKEN_APART)
    register(leaves_groups_in_rows, (WRONG_SHAPE, ONE_ADVANTAGE_EACH))
    register(first_group_alone, (WRONG_SHAPE, ONE_ADVANTAGE_EACH))


register_wrong_groups(group_advantages)


@wrong_part(group_advantages)
def wrong_in_group(advantages):
    """Another function of the groups, (groups, size) to the same shape or (groups, 1)."""

    def of_scores(scores, size):
        groups = scores.view(-1, size)
        return advantages(groups).expand_as(groups).flatten()

    return of_scores


def centred(groups: Tensor) -> Tensor:
    return groups - groups.mean(-1, keepdim=True)


def spread(groups: Tensor, **options) -> Tensor:
    return groups.std(-1, keepdim=True, **options)


@wrong_in_group("nothing is divided by the standard deviation", next=STANDARDISED)
def not_divided(groups):
    return centred(groups)


@wrong_in_group("the group's mean is not subtracted", next=STANDARDISED)
def not_centred(groups):
    return groups / (spread(groups) + 1e-4)


@wrong_in_group("the sign is wrong", next="a score above the group's mean is an advantage")
def below_the_mean(groups):
    return -centred(groups) / (spread(groups) + 1e-4)


@wrong_in_group("the deviation divides by size, not by size − 1", next=SAMPLE)
def of_the_population(groups):
    return centred(groups) / (spread(groups, correction=0) + 1e-4)


@wrong_in_group("this divides by the variance", next="take its square root: std()")
def over_the_variance(groups):
    return centred(groups) / (groups.var(-1, keepdim=True) + 1e-4)


@wrong_in_group("the deviation is the whole batch's", next="std(-1, keepdim=True) of the groups")
def over_the_batch(groups):
    return centred(groups) / (groups.std() + 1e-4)


@wrong_in_group("the mean is the whole batch's", next="mean(-1, keepdim=True) of the groups")
def centred_on_the_batch(groups):
    return (groups - groups.mean()) / (spread(groups) + 1e-4)


@wrong_in_group("this is the mean of the others, as in RLOO", next=STANDARDISED)
def others_in_standard_deviations(groups):
    return centred(groups) * groups.shape[-1] / (groups.shape[-1] - 1) / (spread(groups) + 1e-4)


@wrong_in_group("the median is subtracted, not the mean", next=STANDARDISED)
def from_the_median(groups):
    return (groups - groups.median(-1, keepdim=True).values) / (spread(groups) + 1e-4)


@wrong_in_group("this divides by the range of the group", next=STANDARDISED)
def over_the_range(groups):
    width = groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)
    return centred(groups) / (width + 1e-4)


@wrong_in_group("this divides by the mean deviation", next="the standard deviation: std()")
def over_the_mean_deviation(groups):
    return centred(groups) / (centred(groups).abs().mean(-1, keepdim=True) + 1e-4)


@wrong_in_group("these are the group's statistics, not the advantages", next=STANDARDISED)
def means_alone(groups):
    return groups.mean(-1, keepdim=True)


@wrong_in_group(*SMALL_NUMBER)
def another_small_number(groups):
    return centred(groups) / (spread(groups) + 1e-8)


@wrong_in_group(*SMALL_NUMBER)
def in_the_root(groups):
    return centred(groups) / (groups.var(-1, keepdim=True) + 1e-4).sqrt()


@wrong_in_group(*SMALL_NUMBER)
def at_least_a_small_number(groups):
    return centred(groups) / spread(groups).clamp(min=1e-4)


@wrong_in_group(*SMALL_NUMBER)
def equal_scores_by_hand(groups):
    return (centred(groups) / spread(groups)).nan_to_num(0)


@wrong_in_group(*NOT_FINITE)
def divided_by_0(groups):
    return centred(groups) / spread(groups)


@wrong_in_group(*EQUAL_SCORES)
def equal_scores_stay(groups):
    equal = spread(groups) == 0
    return torch.where(equal, groups, centred(groups) / (spread(groups) + 1e-4))


@group_advantages.wrong(*in_place("scores"))
def advantages_in_place(scores, size):
    groups = scores.view(-1, size)
    groups -= groups.mean(-1, keepdim=True)
    return (groups / (groups.std(-1, keepdim=True) + 1e-4)).flatten()


def many_groups(seed: int) -> list[tuple[Tensor, int]]:
    """Scores in groups of two sizes. Their number fits groups of any size but perhaps 5, so that
    another size shows in the numbers."""
    rng = random.Random(seed)
    sizes = [rng.choice((3, 4, 6))]
    sizes.append(rng.choice([size for size in (3, 4, 5, 6) if size != sizes[0]]))
    return [scored_groups(seed + size, 12 * rng.randint(1, 2), size) for size in sizes]


def scored_groups(seed: int, groups: int, size: int) -> tuple[Tensor, int]:
    """Scores, and the size of a group: some prompts are easier than others. The scores of a group lie
    so far apart that 1e-4 does not matter."""
    easy, noise = 2 * randoms(seed + 1, groups, 1) + 1, randoms(seed + 2, groups, size)
    wide = 1.5 + randoms(seed + 3, groups, 1).abs()
    return (easy + wide * noise / spread(noise)).flatten(), size


def other_groups(seed: int) -> list[tuple[Tensor, int]]:
    """Few groups, or one alone, of each size from 2 to 6."""
    rng = random.Random(seed)
    sizes = rng.sample(range(2, 7), 5)
    found = [scored_groups(seed + size, rng.randint(1, 4), size) for size in sizes]
    return [*found, scored_groups(seed, 1, sizes[0]), right_or_wrong(rng)]


def right_or_wrong(rng: random.Random) -> tuple[Tensor, int]:
    """Scores of a verifier, some points or 0, and the size of a group: in each some are equal."""
    size, points = rng.randint(4, 6), float(rng.randint(5, 9))
    groups = [[points] * right + [0.0] * (size - right) for right in rng.sample(range(1, size), 3)]
    for group in groups:
        rng.shuffle(group)
    return torch.tensor(groups).flatten(), size


def needs_no_other_group(exercise: Exercise, student: Callable, seed: int) -> None:
    """A response's advantage stays the same when the scores of another prompt change."""
    scores, size = scored_groups(seed, 3, random.Random(seed).randint(2, 6))
    other = scores.clone()
    other[-size:] = 9 * randoms(seed, size) - 4
    before, after = (
        numbers(call(student, (some, size)), tuple(some.shape), next=ONE_ADVANTAGE_EACH)
        for some in (scores, other)
    )
    if not close(after[:-size], before[:-size]):
        raise Mistake(*WHOLE_BATCH)
    needs_untouched(exercise, student, (scores, size))


NOT_STANDARDISED = "these are not the scores in standard deviations of their group", STANDARDISED


@group_advantages.check(points=2)
def compares_within_the_group(student, seed):
    for given in many_groups(seed):
        expect(
            group_advantages, student, given, otherwise=NOT_STANDARDISED, shape=ONE_ADVANTAGE_EACH
        )


@group_advantages.check(points=1)
def gives_equal_scores_0(student, seed):
    rng = random.Random(seed)
    for size in rng.sample(range(3, 7), 2):
        scores, _ = scored_groups(seed, 4, size)
        equal = scores.view(-1, size).clone()
        equal[0], equal[2] = 1.0, rng.choice((0.25, 0.5, -1.5, 2.0))
        for some, otherwise in ((equal.flatten(), EQUAL_SCORES), (2e-4 * scores, SMALL_NUMBER)):
            given = some, size
            expect(group_advantages, student, given, otherwise=otherwise, shape=ONE_ADVANTAGE_EACH)


@group_advantages.check(points=1)
def takes_groups_of_any_size(student, seed):
    for given in other_groups(seed):
        expect(
            group_advantages, student, given, otherwise=NOT_STANDARDISED, shape=ONE_ADVANTAGE_EACH
        )
    needs_no_other_group(group_advantages, student, seed)


# Leave one out ------------------------------------------------------------------------------------

leave_one_out = Exercise(
    "after.leave_one_out", reference=grpo.leave_one_out, minutes=10, difficulty=2
)
OTHERS = "score − (the group's sum − score) / (size − 1)"
NOT_LEFT_OUT = "this is not the score minus the mean of the others in its group", OTHERS

register_wrong_groups(leave_one_out)


@wrong_part(leave_one_out)
def wrong_baseline(baseline):
    """The scores minus another baseline, a function of the groups."""

    def of_scores(scores, size):
        groups = scores.view(-1, size)
        return (groups - baseline(groups)).flatten()

    return of_scores


def mean_of_others(groups: Tensor) -> Tensor:
    return (groups.sum(-1, keepdim=True) - groups) / (groups.shape[-1] - 1)


@wrong_baseline("the mean contains the response itself: leave it out", next=OTHERS)
def with_itself(groups):
    return groups.mean(-1, keepdim=True)


@wrong_baseline("the others' sum is subtracted, not their mean", next="divide by size − 1")
def sum_of_others(groups):
    return groups.sum(-1, keepdim=True) - groups


@wrong_baseline("the others are size − 1, and this divides by size", next="divide by size − 1")
def others_over_size(groups):
    return (groups.sum(-1, keepdim=True) - groups) / groups.shape[-1]


@wrong_baseline(
    "the response is left in the sum, and not counted", next="subtract the score from the sum"
)
def itself_not_counted(groups):
    return groups.sum(-1, keepdim=True) / (groups.shape[-1] - 1)


@wrong_baseline("the best of the others is subtracted, not their mean", next=OTHERS)
def best_of_others(groups):
    return others_of(groups).amax(-1)


@wrong_baseline("the median of the others is subtracted, not their mean", next=OTHERS)
def median_of_others(groups):
    return others_of(groups).median(-1).values


def others_of(groups: Tensor) -> Tensor:
    """float (groups, size, size - 1)."""
    size = groups.shape[-1]
    return torch.stack([groups[:, [o for o in range(size) if o != i]] for i in range(size)], 1)


@wrong_baseline("only the next response is subtracted", next=OTHERS)
def next_response(groups):
    return groups.roll(-1, 1)


@wrong_baseline("only the first response is subtracted", next=OTHERS)
def first_response(groups):
    return groups[:, :1]


@wrong_baseline("nothing is subtracted", next=OTHERS)
def nothing_subtracted(groups):
    return 0 * groups


@wrong_baseline("the score itself is missing: this is minus the mean of the others", next=OTHERS)
def left_out_of_the_score(groups):
    return groups + mean_of_others(groups)


@leave_one_out.wrong("this is the mean of the others alone", next="the score minus that")
def baseline_alone(scores, size):
    return mean_of_others(scores.view(-1, size)).flatten()


@leave_one_out.wrong("the sign is wrong", next="the score minus the mean of the others")
def others_minus_the_score(scores, size):
    return -grpo.leave_one_out(scores, size)


@leave_one_out.wrong(
    "this is divided by the standard deviation, as in GRPO", next="RLOO divides by nothing"
)
def leave_one_out_divided(scores, size):
    groups = scores.view(-1, size)
    return (grpo.leave_one_out(scores, size).view(-1, size) / (spread(groups) + 1e-4)).flatten()


@leave_one_out.wrong(*in_place("scores"))
def leave_one_out_in_place(scores, size):
    groups = scores.view(-1, size)
    groups -= mean_of_others(groups)
    return groups.flatten()


@leave_one_out.wrong("the others of the whole batch are averaged", next=IN_GROUPS)
def half_of_the_batch(scores, size):
    groups = scores.view(-1, size)
    others = (scores.sum() - groups.sum(-1, keepdim=True)) / max(len(scores) - size, 1)
    return (groups - others).flatten()


@leave_one_out.check(points=2)
def leaves_out_the_response_itself(student, seed):
    for given in many_groups(seed):
        expect(leave_one_out, student, given, otherwise=NOT_LEFT_OUT, shape=ONE_ADVANTAGE_EACH)


@leave_one_out.check(points=1)
def takes_any_group(student, seed):
    for given in other_groups(seed):
        expect(leave_one_out, student, given, otherwise=NOT_LEFT_OUT, shape=ONE_ADVANTAGE_EACH)
    needs_no_other_group(leave_one_out, student, seed)


# Divide by a constant -----------------------------------------------------------------------------

constant_mean = Exercise(
    "after.constant_mean", reference=grpo.constant_mean, minutes=5, difficulty=1
)
CONSTANT = "divide by len(values) × longest, whatever the responses hold"
LONGEST_UNUSED = "longest is not used", CONSTANT
OTHER_PLACES = (
    "what stands where counts is False reaches the result",
    "0 × nan is nan: use where, or an index, not a product",
)
NOT_CONSTANT = "this is not the sum over the tokens that count, divided by a constant", CONSTANT

constant_mean.wrong("longest is taken to be the notebook's", next="longest is an argument: use it")(
    with_the_notebooks(constant_mean, "longest")
)


@wrong_part(constant_mean)
def wrong_divisor(divisor):
    """The sum over the tokens that count, divided by another number."""
    return lambda values, counts, longest: values.where(counts, 0).sum() / divisor(counts, longest)


@wrong_divisor("this is the mean over all tokens that count: that is DAPO", next=CONSTANT)
def all_that_count(counts, longest):
    return counts.sum()


@wrong_divisor("the sum is not divided", next=CONSTANT)
def not_divided_at_all(counts, longest):
    return 1


@wrong_divisor("the sum is not divided by the number of responses", next=CONSTANT)
def longest_alone(counts, longest):
    return longest


@wrong_divisor("the sum is divided by the number of responses alone", next=CONSTANT)
def responses_alone(counts, longest):
    return len(counts)


@wrong_divisor(
    "longest is taken to be the width of the table", next="longest is an argument: use it"
)
def width_of_the_table(counts, longest):
    return counts.numel()


@wrong_divisor(
    "longest is taken to be the longest response here", next="longest is an argument: use it"
)
def longest_here(counts, longest):
    return len(counts) * counts.sum(-1).max()


@wrong_divisor("the sum is divided by the width of the table and by longest", next=CONSTANT)
def width_and_longest(counts, longest):
    return counts.shape[1] * longest


@wrong_divisor("the sum is divided by the tokens that count and by longest", next=CONSTANT)
def counting_and_longest(counts, longest):
    return counts.sum() * longest


@wrong_divisor(
    "a response without a token that counts is left out of their number",
    next="len(values) counts every response",
)
def empty_rows_left_out(counts, longest):
    return counts.any(-1).sum() * longest


@constant_mean.wrong(
    "the tokens are averaged within each response first: that is GRPO", next=CONSTANT
)
def mean_of_means(values, counts, longest):
    return (values.where(counts, 0).sum(-1) / counts.sum(-1)).nan_to_num(0).mean()


@constant_mean.wrong("this is one number for each response", next="sum over the responses too")
def one_for_each_response(values, counts, longest):
    return values.where(counts, 0).sum(-1) / longest


@constant_mean.wrong("the sign is wrong", next="no minus: the caller turns a gain into a loss")
def constant_negated(values, counts, longest):
    return -grpo.constant_mean(values, counts, longest)


@constant_mean.wrong("the tokens that do not count are summed", next="where(counts, 0)")
def wrong_way_round(values, counts, longest):
    return values.where(~counts, 0).sum() / (len(values) * longest)


@constant_mean.wrong("all tokens are summed, whether they count or not", next="where(counts, 0)")
def counts_ignored(values, counts, longest):
    return values.sum() / (len(values) * longest)


@constant_mean.wrong(*OTHER_PLACES)
def by_a_product(values, counts, longest):
    return (values * counts).sum() / (len(values) * longest)


@constant_mean.wrong(*NO_GRADIENT)
def constant_as_a_number(values, counts, longest):
    return grpo.constant_mean(values, counts, longest).item()


@constant_mean.wrong(*in_place("values"))
def zeros_in_place(values, counts, longest):
    values.data[~counts] = 0
    return values.sum() / (len(values) * longest)


@constant_mean.wrong(*NOT_CONSTANT)
def absolute_values(values, counts, longest):
    return values.abs().where(counts, 0).sum() / (len(values) * longest)


PRIMES = 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97


def gains_of_tokens(seed: int, filler: float = 3.0) -> tuple[Tensor, Tensor, int]:
    """The function's arguments: prompts and responses of several lengths, up to the last column.
    longest is a large prime number, so that no other product is the same."""
    rng = random.Random(seed)
    rows, time = rng.randint(3, 6), rng.randint(8, 11)
    lengths = [5, 2, *(rng.randint(1, 4) for _ in range(rows - 2))]
    lengths[-1] += sum(lengths) == time
    counts = torch.zeros(rows, time, dtype=torch.bool)
    for row, length in enumerate(lengths):
        start = time - length if row == 1 else rng.randint(0, 3)
        counts[row, start : start + length] = True
    values = (0.5 + randoms(seed, rows, time)).where(counts, torch.tensor(filler))
    return values, counts, rng.choice(PRIMES)


def another(longest: int, seed: int) -> int:
    return random.Random(seed).choice([prime for prime in PRIMES if prime != longest])


@constant_mean.check(points=2)
@twice
def divides_the_sum_by_a_constant(student, seed):
    values, counts, longest = gains_of_tokens(seed)
    other = another(longest, seed)
    narrow = counts.shape[1] - 1 - random.Random(seed).randint(1, 2)  # prompts need room, too
    for each in (longest, other, narrow):
        given = values, counts, each
        expect(constant_mean, student, given, otherwise=NOT_CONSTANT, read=as_loss)
    with_an_empty_row = counts.clone()
    with_an_empty_row[random.Random(seed).randrange(1, len(counts))] = False
    one_token = values[:1, :1].abs() + 0.3, torch.tensor([[True]]), other
    for given in ((values, with_an_empty_row, longest), one_token):
        expect(constant_mean, student, given, otherwise=NOT_CONSTANT, read=as_loss)


@constant_mean.check(points=1)
def hears_only_what_counts(student, seed):
    clean = number(call(student, gains_of_tokens(seed)))
    for filler in (-7.0, math.nan, math.inf):
        other = number(call(student, gains_of_tokens(seed, filler)))
        if not close(other, clean):
            raise Mistake(*OTHER_PLACES)
    values, counts, longest = gains_of_tokens(seed)
    for each in (longest, another(longest, seed)):
        needs_gradients(
            constant_mean,
            student,
            (values, counts, each),
            "values",
            next="a token that counts has 1 / (responses × longest), any other has 0",
        )


# The reverse divergence ---------------------------------------------------------------------------

reverse_kl = Exercise("after.reverse_kl", reference=distill.reverse_kl, minutes=20, difficulty=3)
DIVERGENCE = "Σ_v p_v (log p_v − log q_v), p the student's probabilities, q the teacher's"
SHIFT = "the token at t + 1 counts or not, and the logits at t belong to it: [:, :-1] and [:, 1:]"
THAT_COUNT = "divide by the number of tokens that count"
ALL_TOKENS_AT_ONCE = "sum and count over the whole batch"
THROUGH_THE_WEIGHTS = "the weights p depend on the student's logits, too: do not detach them"
OTHERS_REACH = (
    "what stands on prompt and padding reaches the loss",
    f"only places where the label of the next token is not {IGNORE} count",
)
NOT_THE_DIVERGENCE = "this is not the mean of D_KL(student ‖ teacher)", DIVERGENCE


def counting(labels: Tensor) -> Tensor:
    return labels[:, 1:] != IGNORE


@wrong_part(reverse_kl)
def wrong_divergence(divergence):
    """The mean over the tokens that count of something else, a function of the log-probabilities of
    student and teacher, (batch, time - 1, vocab)."""

    def loss(student_logits, teacher_logits, labels):
        log_p, log_q = (
            logits[:, :-1].log_softmax(-1) for logits in (student_logits, teacher_logits)
        )
        return mean(divergence(log_p, log_q), counting(labels))

    return loss


@wrong_divergence(
    "this is the forward divergence, D_KL(teacher ‖ student)",
    next="the student's probabilities are the weights",
)
def forward(log_p, log_q):
    return (log_q.exp() * (log_q - log_p)).sum(-1)


@wrong_divergence("the sign is wrong: a divergence is never negative", next=DIVERGENCE)
def divergence_negated(log_p, log_q):
    return (log_p.exp() * (log_q - log_p)).sum(-1)


@wrong_divergence(
    "this is the cross-entropy: the student's own entropy is missing", next=DIVERGENCE
)
def cross_entropy(log_p, log_q):
    return -(log_p.exp() * log_q).sum(-1)


@wrong_divergence("this is the cross-entropy with the teacher as target", next=DIVERGENCE)
def cross_entropy_of_the_teacher(log_p, log_q):
    return -(log_q.exp() * log_p).sum(-1)


@wrong_divergence("this is the student's entropy: the teacher is missing", next=DIVERGENCE)
def entropy_alone(log_p, log_q):
    return -(log_p.exp() * log_p).sum(-1)


@wrong_divergence("the log-ratio is not weighted by the probabilities", next=DIVERGENCE)
def unweighted(log_p, log_q):
    return (log_p - log_q).sum(-1)


@wrong_divergence("the vocabulary is averaged, not summed", next="sum over the last dimension")
def mean_over_the_vocabulary(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).mean(-1)


@wrong_divergence("the two divergences are added", next="the student's probabilities alone weigh")
def both_directions(log_p, log_q):
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)


@wrong_divergence(
    "the two divergences are averaged", next="the student's probabilities alone weigh"
)
def mean_of_both_directions(log_p, log_q):
    return both_directions(log_p, log_q) / 2


@wrong_divergence("this is the Jensen–Shannon divergence", next=DIVERGENCE)
def jensen_shannon(log_p, log_q):
    middle = ((log_p.exp() + log_q.exp()) / 2).log()
    parts = (each.exp() * (each - middle) for each in (log_p, log_q))
    return sum(part.sum(-1) for part in parts) / 2


@wrong_divergence("the log-probabilities are compared by their squares", next=DIVERGENCE)
def squared_difference(log_p, log_q):
    return (log_p.exp() * (log_p - log_q).square()).sum(-1)


@wrong_divergence("the probabilities are subtracted, not their logarithms", next=DIVERGENCE)
def of_probabilities(log_p, log_q):
    return (log_p.exp() * (log_p.exp() - log_q.exp())).sum(-1)


@wrong_divergence("these are bits, not nats", next="use the natural logarithm")
def divergence_in_bits(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).sum(-1) / math.log(2)


@wrong_divergence("the gradient in student_logits is another one", next=THROUGH_THE_WEIGHTS)
def weights_detached(log_p, log_q):
    return (log_p.detach().exp() * (log_p - log_q)).sum(-1)


@reverse_kl.wrong(
    "the logits are not normalised", next="log_softmax(-1) of both before they are subtracted"
)
def bare_logits(student_logits, teacher_logits, labels):
    weights = student_logits.softmax(-1)
    return mean((weights * (student_logits - teacher_logits)).sum(-1)[:, :-1], counting(labels))


@wrong_part(reverse_kl)
def of_one_token(estimate):
    """The mean of an estimate from the label's token alone, a function of its log-probabilities."""

    def loss(student_logits, teacher_logits, labels):
        counts = counting(labels)
        log_p, log_q = (
            tokens.token_log_probs(logits, labels) for logits in (student_logits, teacher_logits)
        )
        return mean(estimate(log_p, log_q), counts)

    return loss


EVERY_TOKEN = "the labels only tell where; sum over the whole vocabulary"


@of_one_token("this compares the label's token alone", next=EVERY_TOKEN)
def log_ratio_of_the_label(log_p, log_q):
    return log_p - log_q


@of_one_token("this is an estimate from the label's token alone", next=EVERY_TOKEN)
def estimate_from_the_label(log_p, log_q):
    return kl.k3(log_p, log_q)


@of_one_token("this weighs the label's token alone", next=EVERY_TOKEN)
def share_of_the_label(log_p, log_q):
    return log_p.exp() * (log_p - log_q)


@of_one_token("this is SFT on the student's own response", next=DIVERGENCE)
def likelihood_of_the_label(log_p, log_q):
    return -log_p


def each_divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    return kl.full(student_logits, teacher_logits)


@reverse_kl.wrong("the logits at t are taken for token t: they belong to t + 1", next=SHIFT)
def not_shifted(student_logits, teacher_logits, labels):
    return mean(each_divergence(student_logits, teacher_logits), labels != IGNORE)


@reverse_kl.wrong("the shift goes the wrong way", next=SHIFT)
def shifted_the_other_way(student_logits, teacher_logits, labels):
    return mean(each_divergence(student_logits, teacher_logits)[:, 1:], labels[:, :-1] != IGNORE)


@reverse_kl.wrong("the labels are shifted by two", next=SHIFT)
def shifted_twice(student_logits, teacher_logits, labels):
    return mean(each_divergence(student_logits, teacher_logits)[:, :-2], labels[:, 2:] != IGNORE)


@reverse_kl.wrong("the mean runs over prompt and padding too", next=THAT_COUNT)
def over_all(student_logits, teacher_logits, labels):
    return each_divergence(student_logits, teacher_logits)[:, :-1].mean()


@reverse_kl.wrong("the tokens that count are divided by the number of all tokens", next=THAT_COUNT)
def divided_by_all(student_logits, teacher_logits, labels):
    counts = counting(labels)
    return (each_divergence(student_logits, teacher_logits)[:, :-1] * counts).mean()


@reverse_kl.wrong("the tokens are summed, not averaged", next=THAT_COUNT)
def tokens_summed(student_logits, teacher_logits, labels):
    return distill.reverse_kl(student_logits, teacher_logits, labels) * counting(labels).sum()


@reverse_kl.wrong("the sum is divided by the number of responses", next=THAT_COUNT)
def over_the_batch_size(student_logits, teacher_logits, labels):
    return tokens_summed(student_logits, teacher_logits, labels) / len(labels)


@reverse_kl.wrong("the tokens are averaged within each response first", next=ALL_TOKENS_AT_ONCE)
def by_response(student_logits, teacher_logits, labels):
    counts = counting(labels)
    values = each_divergence(student_logits, teacher_logits)[:, :-1] * counts
    return (values.sum(-1) / counts.sum(-1)).mean()


@reverse_kl.wrong("this is one number for each token", next="take the mean over those that count")
def of_each_token(student_logits, teacher_logits, labels):
    return each_divergence(student_logits, teacher_logits)[:, :-1] * counting(labels)


@reverse_kl.wrong("this is one number for each token", next="take the mean over those that count")
def of_those_that_count(student_logits, teacher_logits, labels):
    return each_divergence(student_logits, teacher_logits)[:, :-1][counting(labels)]


@reverse_kl.wrong(
    "the token 0 is taken for one that does not count", next=f"only the label {IGNORE} is none"
)
def without_token_0(student_logits, teacher_logits, labels):
    return distill.reverse_kl(student_logits, teacher_logits, labels.where(labels > 0, IGNORE))


@reverse_kl.wrong(
    "the student's logits are compared with themselves", next="q is the teacher's distribution"
)
def with_itself_alone(student_logits, teacher_logits, labels):
    return distill.reverse_kl(student_logits, student_logits, labels)


@reverse_kl.wrong(*NOT_FINITE)
def log_of_the_softmax(student_logits, teacher_logits, labels):
    p, q = (logits[:, :-1].softmax(-1) for logits in (student_logits, teacher_logits))
    return mean((p * (p.log() - q.log())).sum(-1), counting(labels))


@reverse_kl.wrong(
    "with logits far apart, this is not the divergence",
    next="log_softmax(-1) needs no small number inside a log",
)
def small_number_in_the_log(student_logits, teacher_logits, labels):
    p, q = (logits[:, :-1].softmax(-1) for logits in (student_logits, teacher_logits))
    return mean((p * ((p + 1e-10).log() - (q + 1e-10).log())).sum(-1), counting(labels))


@reverse_kl.wrong(*OTHERS_REACH)
def divergence_by_a_product(student_logits, teacher_logits, labels):
    counts = counting(labels)
    values = each_divergence(student_logits, teacher_logits)[:, :-1]
    return (values * counts).sum() / counts.sum()


@reverse_kl.wrong(*NO_GRADIENT)
def student_detached(student_logits, teacher_logits, labels):
    return distill.reverse_kl(student_logits.detach(), teacher_logits, labels)


@reverse_kl.wrong(*in_place("labels"))
def labels_in_place(student_logits, teacher_logits, labels):
    loss = distill.reverse_kl(student_logits, teacher_logits, labels)
    labels[labels == IGNORE] = 0
    return loss


@reverse_kl.wrong(*in_place("teacher_logits"))
def teacher_in_place(student_logits, teacher_logits, labels):
    teacher_logits -= teacher_logits.logsumexp(-1, keepdim=True)
    return distill.reverse_kl(student_logits, teacher_logits, labels)


def taught(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The function's arguments: prompts of several lengths, responses, padding. The vocabulary and
    the number of rows vary; a row may begin with a token that counts, which nothing predicts."""
    rng = random.Random(seed)
    _, labels = random_batch(seed, rows=rng.randint(3, 5), time=rng.randint(8, 11))
    labels[0, 0] = 3
    vocab = rng.randint(VOCAB, VOCAB + 6)
    student, teacher = (1.5 * randoms(seed + i, *labels.shape, vocab) for i in (1, 2))
    return student, teacher + 0.3 * student, labels


@reverse_kl.check(points=2)
@twice
def is_the_mean_divergence(student, seed):
    expect(reverse_kl, student, taught(seed), otherwise=NOT_THE_DIVERGENCE, read=as_loss)
    logits, other, labels = taught(seed + 1)
    shifted = logits + 5 * randoms(seed, *labels.shape, 1), other - 4, labels
    expect(reverse_kl, student, shifted, otherwise=NOT_THE_DIVERGENCE, read=as_loss)


@reverse_kl.check(points=1)
def stands_far_logits_and_hears_no_other_place(student, seed):
    logits, other, labels = taught(seed)
    words = (
        "with logits far apart, this is not the divergence",
        "log_softmax(-1) needs no small number inside a log",
    )
    for near in (1, 60):
        far = near * logits, 60 * other, labels
        expect(reverse_kl, student, far, otherwise=words, read=number)
    counts = F.pad(counting(labels), (0, 1), value=False).unsqueeze(-1)
    clean = number(call(student, (logits, other, labels)))
    for filler in (9 * randoms(seed + 3, *logits.shape), torch.full_like(logits, math.nan)):
        noisy = logits.where(counts, filler), other.where(counts, filler.flip(-1)), labels
        if not close(number(call(student, noisy)), clean):
            raise Mistake(*OTHERS_REACH)
    if close(clean, torch.tensor(0.0)):
        raise Mistake(*NOT_THE_DIVERGENCE)


@reverse_kl.check(points=1)
def teaches_the_student(student, seed):
    needs_gradients(reverse_kl, student, taught(seed), "student_logits", next=THROUGH_THE_WEIGHTS)


# A verifier that cannot be cheated ----------------------------------------------------------------

verifier = Exercise("after.verifier", reference=verifiers.right_total, minutes=15, difficulty=2)
FROM_THE_PROMPT = "compute the total from the prompt, and compare the whole response with it"
WORD_BY_WORD = 'write down the one right response, such as ["6", "6", "<eos>"], and compare'
NOTHING_ELSE = "the response may hold the total and the stop token, and nothing else"
NO_NUMBER, ONE_OR_0 = "the result must be a number", "return 1.0 or 0.0"

NOT_ACCEPTED = "the right total does not earn 1", FROM_THE_PROMPT
OTHER_LENGTHS = (
    "the right total does not earn 1 where the numbers have not two digits each",
    "split the prompt at +, and join the digits on each side",
)
WRONG_TOTAL = "a wrong total earns something", FROM_THE_PROMPT
LAST_DIGIT = "a total earns something of which only the last digit is right", "compare every digit"
FIRST_DIGIT = (
    "a total earns something of which only the first digit is right",
    "compare every digit",
)
OFF_BY_ONE = "a total that is off by one earns something", "compare for equality"
NO_CARRY = "a total without its carries earns something", "add the numbers, not their digits"
OTHER_ORDER = "the right digits in another order earn something", WORD_BY_WORD
A_PART = (
    "a part of the total earns something",
    "compare the lengths too: zip ends with the shorter one",
)
MORE_DIGITS = "the total with further digits earns something", NOTHING_ELSE
NO_STOP = (
    "a response without its stop token earns something",
    'the last word of a right response is "<eos>"',
)
STOPS_TWICE = "a second stop token earns something", NOTHING_ELSE
WORDS_BEHIND = "a response with further words behind the total earns something", NOTHING_ELSE
WORDS_BEFORE = "a response with further words before the total earns something", NOTHING_ELSE
OWN_PROMPT = (
    "a response that asks something else, and answers that, earns something",
    "what is asked stands in the prompt alone",
)
LEADING_0 = "a total with a 0 in front earns something", WORD_BY_WORD
IN_ONE_WORD = (
    "a total that is not written digit by digit earns something",
    "split() gives the words: each digit is one",
)
READ_BY_INT = (
    "what int() reads as the same number earns something, though it is written otherwise",
    WORD_BY_WORD,
)
NONSENSE = "nonsense earns something", WORD_BY_WORD
EMPTY = "an empty response earns something", WORD_BY_WORD
RAISES = ("your function raised", "a model may say anything: return 0.0 for what you cannot read")


def asked(prompt: str) -> int:
    left, right = prompt.removeprefix("total :").removesuffix("=").split("+")
    return int("".join(left.split())) + int("".join(right.split()))


@wrong_part(verifier)
def wrong_comparison(accepts):
    """A verifier that accepts other responses: a function of the right words and of those said."""
    return lambda prompt, response: float(accepts([*str(asked(prompt)), "<eos>"], response.split()))


@verifier.wrong(*WRONG_TOTAL)
def looks_at_the_form(prompt, response):
    *digits, stop = response.split() or [""]
    return float(bool(digits) and all(map(str.isdecimal, digits)) and stop == "<eos>")


@verifier.wrong(*WRONG_TOTAL)
def everything_is_right(prompt, response):
    return 1.0


@verifier.wrong(*NOT_ACCEPTED)
def nothing_is_right(prompt, response):
    return 0.0


@verifier.wrong(*NOT_ACCEPTED)
def turned_round(prompt, response):
    return 1 - verifiers.right_total(prompt, response)


@verifier.wrong(*NOT_ACCEPTED)
def in_one_word_alone(prompt, response):
    return float(response.split() == [str(asked(prompt)), "<eos>"])


@verifier.wrong(*NOT_ACCEPTED)
def without_the_stop(prompt, response):
    return float(response.split() == [*str(asked(prompt))])


@wrong_comparison(*LAST_DIGIT)
def compares_the_last_digit(right, said):
    return said[-2:] == right[-2:]


@wrong_comparison(*FIRST_DIGIT)
def compares_the_first_digit(right, said):
    return said[:1] == right[:1] and said[-1:] == right[-1:]


@wrong_comparison(*WRONG_TOTAL)
def compares_the_length(right, said):
    return len(said) == len(right) and said[-1] == "<eos>"


@wrong_comparison(*OTHER_ORDER)
def compares_sorted_digits(right, said):
    return sorted(said) == sorted(right)


@wrong_comparison(*OTHER_ORDER)
def written_backwards(right, said):
    return said == right or said[:-1] == right[-2::-1] and said[-1:] == right[-1:]


@wrong_comparison(*OFF_BY_ONE)
def one_off_is_near_enough(right, said):
    try:
        return (
            said[-1:] == ["<eos>"] and abs(int("".join(said[:-1])) - int("".join(right[:-1]))) < 2
        )
    except ValueError:
        return False


@wrong_comparison(*A_PART)
def zips(right, said):
    return all(one == other for one, other in zip(right, said))


@wrong_comparison(*A_PART)
def is_contained_in_the_right_one(right, said):
    return " ".join(said).removesuffix(" <eos>") in " ".join(right) and said[-1:] == right[-1:]


@wrong_comparison(*LAST_DIGIT)
def share_of_right_digits(right, said):
    pairs = zip(right[:-1], said[:-1])
    return sum(one == other for one, other in pairs) / max(len(right) - 1, len(said) - 1)


@wrong_comparison(*NO_STOP)
def stop_is_not_asked(right, said):
    return said[: len(right) - 1] == right[:-1] and said[len(right) - 1 :] in ([], ["<eos>"])


@wrong_comparison(*NO_STOP)
def last_word_is_not_read(right, said):
    return said[:-1] == right[:-1] or said == right[:-1]


@wrong_comparison(*STOPS_TWICE)
def stops_again(right, said):
    return said[: len(right)] == right and set(said[len(right) :]) <= {"<eos>"}


@wrong_comparison(*WORDS_BEHIND)
def begins_rightly(right, said):
    return said[: len(right)] == right


@wrong_comparison(*WORDS_BEHIND)
def between_the_total_and_the_stop(right, said):
    return said[: len(right) - 1] == right[:-1] and said[-1:] == right[-1:]


@wrong_comparison(*WORDS_BEFORE)
def ends_rightly(right, said):
    return said[-len(right) :] == right


@wrong_comparison(*MORE_DIGITS)
def is_contained(right, said):
    return " ".join(right[:-1]) in " ".join(said) and said[-1:] == right[-1:]


@wrong_comparison(*WORDS_BEHIND)
def other_words_are_passed_over(right, said):
    return [word for word in said if word.isdecimal() or word == "<eos>"] == right


@wrong_comparison(*LEADING_0)
def zeros_in_front_are_passed_over(right, said):
    while said[:1] == ["0"] and said[:2] != ["0", "<eos>"]:
        said = said[1:]
    return said == right


@wrong_comparison(*IN_ONE_WORD)
def spaces_do_not_matter(right, said):
    return said[-1:] == right[-1:] and "".join(said) == "".join(right)


@wrong_comparison(*LEADING_0)
def compares_numbers(right, said):
    try:
        return said[-1:] == right[-1:] and int("".join(said[:-1])) == int("".join(right[:-1]))
    except ValueError:
        return False


@wrong_comparison(*READ_BY_INT)
def compares_digit_by_digit_with_int(right, said):
    try:
        digits = [int(word) for word in said[:-1]]
    except ValueError:
        return False
    return said[-1:] == right[-1:] and digits == [int(digit) for digit in right[:-1]]


@wrong_comparison(f"{RAISES[0]} ValueError for a response that it cannot read", next=RAISES[1])
def raises_at_words(right, said):
    numbers = [int(word) for word in said if word != "<eos>"]
    return said == right and numbers is not None


@wrong_comparison(f"{RAISES[0]} IndexError for a response that it cannot read", next=RAISES[1])
def raises_at_nothing(right, said):
    return said[-1] == "<eos>" and said == right


@wrong_comparison(*EMPTY)
def empty_is_right(right, said):
    return not said or said == right


@verifier.wrong(*NO_CARRY)
def adds_the_digits(prompt, response):
    left, right = (side.split() for side in prompt[7:-1].split("+"))
    width = max(len(left), len(right))
    columns = zip(
        left[::-1] + ["0"] * (width - len(left)), right[::-1] + ["0"] * (width - len(right))
    )
    digits = [str((int(one) + int(other)) % 10) for one, other in columns][::-1]
    return max(
        verifiers.right_total(prompt, response), float(response.split() == [*digits, "<eos>"])
    )


@verifier.wrong(*OTHER_LENGTHS)
def two_digits_each(prompt, response):
    digits = [int(word) for word in prompt.split() if word.isdecimal()]
    if len(digits) != 4:
        return 0.0
    total = 10 * (digits[0] + digits[2]) + digits[1] + digits[3]
    return float(response.split() == [*str(total), "<eos>"])


@verifier.wrong(*OTHER_LENGTHS)
def by_places(prompt, response):
    words = (prompt + " 0 0 0 0").split()
    total = sum(
        int(word) for word in ("".join(words[2:4]), "".join(words[5:7])) if word.isdecimal()
    )
    return float(response.split() == [*str(total), "<eos>"])


@verifier.wrong(*OTHER_LENGTHS)
def halves(prompt, response):
    digits = "".join(word for word in prompt.split() if word.isdecimal())
    middle = len(digits) // 2
    total = int(digits[:middle] or 0) + int(digits[middle:] or 0)
    return float(response.split() == [*str(total), "<eos>"])


@verifier.wrong(*OWN_PROMPT)
def believes_the_response(prompt, response):
    question, _, answer = (prompt + response).rpartition("=")
    question = "total :" + question.rpartition("total :")[2]
    with_a_sum = (
        question.count("+") == 1 and question[7:].replace("+", "").replace(" ", "").isdecimal()
    )
    return verifiers.right_total(question + "=", answer) if with_a_sum else 0.0


@verifier.wrong(*WORDS_BEFORE)
def reads_behind_the_last_equals(prompt, response):
    return verifiers.right_total(prompt, response.rpartition("=")[2])


@verifier.wrong(NO_NUMBER, next=ONE_OR_0)
def in_words(prompt, response):
    return "right" if verifiers.right_total(prompt, response) else "wrong"


@verifier.wrong(*RETURNS_NOTHING)
def only_if_it_is_right(prompt, response):
    if verifiers.right_total(prompt, response):
        return 1.0


def spaced(number: int | str) -> str:
    return " ".join(str(number))


def prompt_of(left: int, right: int) -> str:
    return f"total : {spaced(left)} + {spaced(right)} ="


def response_of(said: int | str) -> str:
    return f" {spaced(said)} <eos>"


def sum_where(rng: random.Random, holds: Callable[[int, int], bool]) -> tuple[int, int]:
    """Two numbers of two digits; no two digits of their total are alike, and none is 0."""
    while True:
        left, right = rng.randint(11, 98), rng.randint(11, 98)
        digits = set(str(left + right))
        if len(digits - {"0"}) == len(str(left + right)) and holds(left, right):
            return left, right


def two_digit_sums(rng: random.Random) -> list[tuple[int, int]]:
    """With a carry, without one, and with a total of three digits."""
    carries = [
        lambda left, right: left % 10 + right % 10 > 9 and left + right < 99,
        lambda left, right: left % 10 + right % 10 < 10 and left + right < 99,
        lambda left, right: left + right > 99,
    ]
    return [sum_where(rng, holds) for holds in carries]


def sums_of_other_lengths(rng: random.Random) -> list[tuple[int, int]]:
    """From one digit to three, and longer."""
    lengths = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3), (3, 3), (5, 4)]
    sums = [[rng.randrange(10 ** (n - 1), 10**n) for n in pair] for pair in lengths]
    return [*map(tuple, sums), (rng.randint(96, 99), rng.randint(4, 9)), (rng.randint(1, 4), 0)]


def worth(student: Callable, sum_of: tuple[int, int], response: str) -> float:
    """What the verifier says, or a Mistake if that is no number."""
    value = student(prompt_of(*sum_of), response)
    needs_something(value)
    try:
        return float(None if isinstance(value, str) else value)
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(f"{NO_NUMBER}, yours is {kind_of(value)}", next=ONE_OR_0) from None


def accepts(student: Callable, sums: list[tuple[int, int]], words: Words) -> None:
    if any(worth(student, each, response_of(sum(each))) != 1 for each in sums):
        raise Mistake(words[0], next=words[1])


def refuses(
    student: Callable, sum_of: tuple[int, int], classes: list[tuple[Words, list[str]]]
) -> None:
    """classes: responses that are worth nothing, and the words for who gives something for them"""
    for (message, next), responses in classes:
        if any(worth(student, sum_of, response) != 0 for response in responses):
            raise Mistake(message, next=next)


def beside(digit: str) -> tuple[str, str]:
    return str(int(digit) - 1), str(int(digit) + 1)


def wrong_totals(rng: random.Random, left: int, right: int) -> list[tuple[Words, list[str]]]:
    total = str(left + right)
    without_carry = f"{(left // 10 + right // 10) % 10}{(left + right) % 10}"
    others = [rng.choice(sorted(set("123456789") - {*total, *beside(digit)})) for digit in total]
    orders = {total[::-1], total[1:] + total[:1], total[-1] + total[:-1]} - {total}
    classes = [
        (WRONG_TOTAL, ["".join(others)]),
        (LAST_DIGIT, ["".join(others[:-1]) + total[-1]]),
        (FIRST_DIGIT, [total[0] + "".join(others[1:])]),
        (OFF_BY_ONE, [str(left + right - 1), str(left + right + 1)]),
        (NO_CARRY, [] if total.endswith(without_carry) else [without_carry]),
        (OTHER_ORDER, sorted(orders)),
        (A_PART, [total[:-1], total[1:]]),
        (MORE_DIGITS, [total + "0", "1" + total, total + total]),
        (WRONG_TOTAL, [str(left), str(right), f"{left}{right}"]),
    ]
    told = [(words, [response_of(each) for each in wrong]) for words, wrong in classes]
    return [*told, (A_PART, [f" {spaced(total[:-1])}", f" {spaced(total[1:])}"])]


def tricks(rng: random.Random, left: int, right: int) -> list[tuple[Words, list[str]]]:
    """Responses that hold the right total, or an answer to something else."""
    first, *rest = str(left + right)
    total, right_one = spaced(left + right), response_of(left + right)
    another = rng.randint(1, 4), rng.randint(1, 4)
    behind = " ".join(rest)
    return [
        (NO_STOP, [f" {total}", f" {total} .", f" {total} 1"]),
        (WORDS_BEHIND, [f"{right_one} thank you", f" {total} is the total <eos>"]),
        (WORDS_BEHIND, [f"{right_one} 1", f" {total} or 1 <eos>"]),
        (OWN_PROMPT, [f" {prompt_of(*another)}{response_of(sum(another))}"]),
        (WORDS_BEFORE, [f" the total is{right_one}", f" {prompt_of(left, right)}{right_one}"]),
        (WORDS_BEFORE, [f" {total} ={right_one}"]),
        (STOPS_TWICE, [f"{right_one} <eos>", f" {first} <eos> {behind} <eos>"]),
        (LEADING_0, [f" 0 {total} <eos>", f" 0 0 {total} <eos>"]),
        (IN_ONE_WORD, [f" {left + right} <eos>", f" {total.replace(' ', '-')} <eos>"]),
        (READ_BY_INT, [f" +{total} <eos>", f" + {total} <eos>", f" 0{total} <eos>"]),
        (
            READ_BY_INT,
            [f" {chr(ord(first) + 0xFEE0)} {behind} <eos>", f" {first} _ {behind} <eos>"],
        ),
    ]


UNREADABLE = [
    " <eos> <eos>",
    " dear customer , we are sorry <eos>",
    " + = : <eos>",
    " ² <eos>",
    " nan <eos>",
    " 1e9 <eos>",
    " " + "0 " * 60,
    " < eos >",
    "\n",
    "None",
]


@verifier.check(points=2)
def knows_the_right_total(student, seed):
    rng = random.Random(seed)
    sums = two_digit_sums(rng)
    accepts(student, sums, NOT_ACCEPTED)
    accepts(student, sums_of_other_lengths(rng), OTHER_LENGTHS)
    for each in sums:
        refuses(student, each, wrong_totals(rng, *each))


@verifier.check(points=1)
def cannot_be_cheated(student, seed):
    rng = random.Random(seed)
    sums = two_digit_sums(rng)
    accepts(student, sums, NOT_ACCEPTED)
    for each in sums:
        refuses(student, each, tricks(rng, *each))


@verifier.check(points=1)
def reads_anything(student, seed):
    sums = two_digit_sums(random.Random(seed))
    accepts(student, sums, NOT_ACCEPTED)
    for each in sums:
        try:
            refuses(student, each, [(EMPTY, ["", " ", " <eos>"]), (NONSENSE, UNREADABLE)])
        except Mistake:
            raise
        except Exception as error:
            message, next = RAISES
            told = f"{message} {kind_of_error(error)} for a response that it cannot read"
            raise Mistake(told, next=next) from None


# The reference inside the policy ------------------------------------------------------------------

reference_logits = Exercise(
    "after.reference_logits", reference=reference.reference_logits, minutes=15, difficulty=2
)
REMEMBER = "remember each layer's `active` first, set it to None, and give it back"
ALL_TOKENS = "policy(input_ids=ids).logits has all of them: (batch, time, vocab)"
NOT_THE_BASE = "these are not the base's logits", REMEMBER
STILL_ON = (
    "these are the policy's own logits: the adapter still answers",
    "set `active` of every layer to None before you ask",
)
LEFT_OFF = "the adapter is off afterwards: the policy would go on as the base", REMEMBER
OTHER_ACTIVE = "afterwards another adapter is active than before", REMEMBER
OTHERS_TRAIN = (
    "afterwards other parameters require a gradient than before",
    "lora.activate and lora.merge freeze parameters; a layer's `active` can be set by itself",
)
OTHER_NUMBERS = (
    "afterwards the numbers of the policy are others",
    "switch the adapter off instead of changing its numbers, or put them back",
)
TAKEN_OFF = "afterwards the policy has other parameters than before", REMEMBER
WITH_GRADIENT = (
    "the result has a gradient, and nothing is to be learned from the reference",
    "ask under torch.no_grad()",
)


def logits_of(policy: nn.Module, ids: Tensor) -> Tensor:
    return policy(input_ids=ids).logits


def set_active(policy: nn.Module, name: str | None) -> None:
    for layer in lora.layers(policy).values():
        layer.active = name


@reference_logits.wrong(*STILL_ON)
@torch.no_grad()
def own_logits(policy, ids):
    return logits_of(policy, ids)


@reference_logits.wrong(*STILL_ON)
@torch.no_grad()
def switched_off_too_late(policy, ids):
    logits = logits_of(policy, ids)
    set_active(policy, None)
    set_active(policy, MINE)
    return logits


@reference_logits.wrong(*STILL_ON)
@torch.no_grad()
def merged(policy, ids):
    lora.merge(policy)
    logits = logits_of(policy, ids)
    lora.unmerge(policy)
    return logits


@reference_logits.wrong(*STILL_ON)
@torch.no_grad()
def frozen_alone(policy, ids):
    trains = [p.requires_grad for p in policy.parameters()]
    policy.requires_grad_(False)
    logits = logits_of(policy, ids)
    for p, it in zip(policy.parameters(), trains):
        p.requires_grad_(it)
    return logits


@reference_logits.wrong("only the first layer's adapter is switched off", next=STILL_ON[1])
@torch.no_grad()
def first_layer_off(policy, ids):
    layer = next(iter(lora.layers(policy).values()))
    name, layer.active = layer.active, None
    logits = logits_of(policy, ids)
    layer.active = name
    return logits


@reference_logits.wrong("the adapter is subtracted instead of left out", next=REMEMBER)
def subtracted(policy, ids):
    def negate():
        for layer in lora.layers(policy).values():
            layer.B[layer.active].data.neg_()

    with torch.no_grad():
        negate()
        logits = logits_of(policy, ids)
        negate()
    return logits


@reference_logits.wrong("another adapter answers, not the base", next=STILL_ON[1])
@torch.no_grad()
def other_adapter_asked(policy, ids):
    set_active(policy, OTHER)
    logits = logits_of(policy, ids)
    set_active(policy, MINE)
    return logits


@reference_logits.wrong(
    "these are log-probabilities, not logits", next="return .logits as they are"
)
def log_probabilities(policy, ids):
    return reference.reference_logits(policy, ids).log_softmax(-1)


@reference_logits.wrong("these are probabilities, not logits", next="return .logits as they are")
def probabilities(policy, ids):
    return reference.reference_logits(policy, ids).softmax(-1)


@reference_logits.wrong(WRONG_SHAPE, next=ALL_TOKENS)
def last_token_alone(policy, ids):
    return reference.reference_logits(policy, ids)[:, -1]


@reference_logits.wrong(WRONG_SHAPE, next=ALL_TOKENS)
def one_token_fewer(policy, ids):
    return reference.reference_logits(policy, ids)[:, :-1]


@reference_logits.wrong(*LEFT_OFF)
@torch.no_grad()
def never_on_again(policy, ids):
    lora.activate(policy, None)
    return logits_of(policy, ids)


@reference_logits.wrong(*LEFT_OFF)
@torch.no_grad()
def set_off_for_good(policy, ids):
    set_active(policy, None)
    return logits_of(policy, ids)


@reference_logits.wrong(*LEFT_OFF)
def remembered_too_late(policy, ids):
    set_active(policy, None)
    remembered = [layer.active for layer in lora.layers(policy).values()]
    with torch.no_grad():
        logits = logits_of(policy, ids)
    for layer, name in zip(lora.layers(policy).values(), remembered):
        layer.active = name
    return logits


@reference_logits.wrong(*LEFT_OFF)
def first_layer_on_again(policy, ids):
    first, *_ = lora.layers(policy).values()
    name = first.active
    logits = set_off_for_good(policy, ids)
    first.active = name
    return logits


@reference_logits.wrong(*OTHER_ACTIVE)
def first_adapter_on_again(policy, ids):
    logits = set_off_for_good(policy, ids)
    for layer in lora.layers(policy).values():
        layer.active = next(iter(layer.configs))
    return logits


@reference_logits.wrong(*OTHER_ACTIVE)
def last_adapter_on_again(policy, ids):
    logits = set_off_for_good(policy, ids)
    for layer in lora.layers(policy).values():
        layer.active = list(layer.configs)[-1]
    return logits


@reference_logits.wrong(*LEFT_OFF)
def default_on_again(policy, ids):
    logits = set_off_for_good(policy, ids)
    set_active(policy, "default")
    return logits


@reference_logits.wrong(*OTHERS_TRAIN)
def frozen_afterwards(policy, ids):
    names = [layer.active for layer in lora.layers(policy).values()]
    logits = never_on_again(policy, ids)
    for layer, name in zip(lora.layers(policy).values(), names):
        layer.active = name
    return logits


@reference_logits.wrong(*OTHERS_TRAIN)
def activated_again(policy, ids):
    name = next(iter(lora.layers(policy).values())).active
    logits = never_on_again(policy, ids)
    lora.activate(policy, name)
    return logits


@reference_logits.wrong(*OTHERS_TRAIN)
def all_train_afterwards(policy, ids):
    logits = reference.reference_logits(policy, ids)
    policy.requires_grad_(True)
    return logits


@reference_logits.wrong(*OTHER_NUMBERS)
@torch.no_grad()
def zeros_in_b(policy, ids):
    for layer in lora.layers(policy).values():
        layer.B[layer.active].zero_()
    return logits_of(policy, ids)


@reference_logits.wrong(*TAKEN_OFF)
@torch.no_grad()
def stripped(policy, ids):
    lora.strip(policy)
    return logits_of(policy, ids)


@reference_logits.wrong(*TAKEN_OFF)
def removed(policy, ids):
    logits = reference.reference_logits(policy, ids)
    lora.remove(policy, next(iter(lora.layers(policy).values())).active)
    return logits


@reference_logits.wrong(*WITH_GRADIENT)
def without_no_grad(policy, ids):
    with reference.adapter_off(policy):
        return logits_of(policy, ids)


@reference_logits.wrong(*SWITCHED_OFF)
def gradients_off_for_good(policy, ids):
    torch.set_grad_enabled(False)
    with reference.adapter_off(policy):
        return logits_of(policy, ids)


@reference_logits.wrong(*in_place("ids"))
def ids_in_place(policy, ids):
    logits = reference.reference_logits(policy, ids)
    ids += 1
    return logits


def some_ids(seed: int) -> Tensor:
    rng = random.Random(seed)
    shape = rng.randint(1, 3), rng.randint(4, 9)
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def parameters_of(policy: nn.Module) -> dict[str, tuple[Tensor, bool]]:
    return {path: (p.detach().clone(), p.requires_grad) for path, p in policy.named_parameters()}


def asked_of(student: Callable, policy: nn.Module, ids: Tensor) -> None:
    """The function is asked once; the policy and the ids must be as they were."""
    before, given = parameters_of(policy), ids.clone()
    value = student(policy, given)
    numbers(value, (*ids.shape, VOCAB), next=ALL_TOKENS)
    if isinstance(value, Tensor) and value.requires_grad:
        raise Mistake(*WITH_GRADIENT)
    if not torch.equal(given, ids):
        raise Mistake(*in_place("ids"))
    after = parameters_of(policy)
    if after.keys() != before.keys():
        raise Mistake(*TAKEN_OFF)
    changed = [path for path in before if not torch.equal(after[path][0], before[path][0])]
    switched = [path for path in changed if path.endswith(".active_number")]
    if any(after[path][0] == 0 for path in switched):
        raise Mistake(*LEFT_OFF)
    if switched:
        raise Mistake(*OTHER_ACTIVE)
    if changed:
        raise Mistake(*OTHER_NUMBERS)
    if any(after[path][1] != trains for path, (_, trains) in before.items()):
        raise Mistake(*OTHERS_TRAIN)


def answers_as_the_base(student: Callable, policy: nn.Module, ids: Tensor) -> None:
    expect(reference_logits, student, (policy, ids), otherwise=NOT_THE_BASE, shape=ALL_TOKENS)


@reference_logits.check(points=1)
def asks_the_base(student, seed):
    answers_as_the_base(student, adapted_policy(), some_ids(seed))


@reference_logits.check(points=1)
def gives_the_policy_back(student, seed):
    policy, ids = adapted_policy(), some_ids(seed)
    answers_as_the_base(student, policy, ids)  # who never switches it off earns nothing here
    asked_of(student, policy, ids)


@reference_logits.check(points=1)
def leaves_alone_what_trains(student, seed):
    """A part of the base trains as well as the adapter, or a part of the adapter alone, or nothing."""
    ids = some_ids(seed)
    for endings in ((f".A.{MINE}", f".B.{MINE}", "norm.weight"), (f".B.{MINE}",), ()):
        policy = adapted_policy()
        for path, p in policy.named_parameters():
            p.requires_grad_(path.endswith(endings))
        answers_as_the_base(student, policy, ids)
        asked_of(student, policy, ids)


# Find the silent bug ------------------------------------------------------------------------------

pair_log_probs = Exercise(
    "after.silent_bug", reference=dpo.pair_log_probs, minutes=20, difficulty=3
)
IN_ITS_PLACE = (
    "order[i] says which row stands at place i: write result[order] = scored, or index with "
    "order.argsort()"
)
ONE_ROW_EACH = "one row for each pair: view(-1, 2)"
ALONE = "compare with a pair that you score alone"
NOT_THE_LOG_PROBS = (
    "these are not the log-probabilities of the responses, each after its prompt",
    ALONE,
)
SUM = "add the log-probabilities of a response's tokens: sum(-1)"
LABELS = f"join gives labels that hold {IGNORE} on prompt and padding"
PAIRS_GROW = "the pairs are changed in place", "prompt + response makes a new list, += does not"


def rows_of(pairs) -> list[tuple[list[int], list[int]]]:
    return [(prompt, response) for prompt, both in pairs for response in both]


def scored_rows(model, rows, pad_id) -> Tensor:
    """log π(y | x) of each (prompt, response): float (rows,)."""
    ids, real, labels = tokens.join(*zip(*rows), pad_id)
    return rollouts.response_log_probs(model, ids, real, labels, 1.0).sum(-1)


def from_long_to_short(rows) -> list[int]:
    """The numbers of the rows in another order, the longest row first."""
    return sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))


def scored_in_halves(model, pairs, pad_id) -> tuple[Tensor, Tensor]:
    """The rows' log-probabilities from the longest row to the shortest, and which rows these are."""
    rows = rows_of(pairs)
    order = from_long_to_short(rows)
    some = [rows[row] for row in order]
    halves = some[: len(some) // 2], some[len(some) // 2 :]
    scored = torch.cat([scored_rows(model, half, pad_id) for half in halves])
    return scored, torch.tensor(order)


@pair_log_probs.wrong(
    "the rows are put back in a wrong order: numbers stand where those of other rows belong",
    next=IN_ITS_PLACE,
)
def restored_by_order(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    some = [rows[row] for row in order]
    halves = some[: len(some) // 2], some[len(some) // 2 :]  # the long ones, and the short ones
    scored = torch.cat([scored_rows(model, half, pad_id) for half in halves])
    return scored[torch.tensor(order)].view(-1, 2)


@pair_log_probs.wrong(
    "the rows are not put back: they stand from the longest to the shortest", next=IN_ITS_PLACE
)
def not_restored(model, pairs, pad_id):
    return scored_in_halves(model, pairs, pad_id)[0].view(-1, 2)


@pair_log_probs.wrong("the rows are put back from the last to the first", next=IN_ITS_PLACE)
def restored_backwards(model, pairs, pad_id):
    return scored_in_halves(model, pairs, pad_id)[0].flip(0).view(-1, 2)


@pair_log_probs.wrong(
    "the rows are sorted by their responses and put back as if by their whole length",
    next="one and the same order there and back",
)
def restored_by_another_order(model, pairs, pad_id):
    rows = rows_of(pairs)
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][1]))
    scored = scored_rows(model, [rows[row] for row in order], pad_id)
    return scored[torch.tensor(from_long_to_short(rows)).argsort()].view(-1, 2)


@wrong_part(pair_log_probs)
def wrong_table(table):
    """Another table from the right one, (pairs, 2)."""
    return lambda model, pairs, pad_id: table(dpo.pair_log_probs(model, pairs, pad_id))


@wrong_table(
    "chosen and rejected have changed places", next="the chosen response stands in column 0"
)
def rejected_in_column_0(table):
    return table.flip(1)


@wrong_table("the sign is wrong: log-probabilities are at most 0", next="return them as they are")
def negated(table):
    return -table


@wrong_table("these are probabilities, not their logarithms", next="no exp")
def exponentials(table):
    return table.exp()


@wrong_table("numbers of different pairs stand in one row", next=ONE_ROW_EACH)
def columns_mixed(table):
    return table.flatten().view(2, -1).T


@wrong_table(WRONG_SHAPE, next=ONE_ROW_EACH)
def flat(table):
    return table.flatten()


@wrong_table(WRONG_SHAPE, next=ONE_ROW_EACH)
def transposed(table):
    return table.T


@wrong_table(WRONG_SHAPE, next=ONE_ROW_EACH)
def differences(table):
    return table[:, 0] - table[:, 1]


@wrong_table(*NOTHING_TO_LEARN)
def nothing_to_learn(table):
    return table.detach()


@wrong_part(pair_log_probs)
def wrong_rows(change):
    """The log-probabilities of other rows than prompt and response."""
    return lambda model, pairs, pad_id: scored_rows(
        model, [change(*row) for row in rows_of(pairs)], pad_id
    ).view(-1, 2)


@wrong_rows("the prompt's tokens are scored too", next=LABELS)
def prompts_scored(prompt, response):
    return prompt[:1], prompt[1:] + response


@wrong_rows("most of the prompt is left out", next="the model must read what was asked")
def without_prompt(prompt, response):
    return prompt[-1:], response


@wrong_rows("the last token is left out", next="the stop token is scored too")
def stop_left_out(prompt, response):
    return prompt, response[:-1]


@wrong_rows("the response's first token is not scored", next=LABELS)
def first_token_left_out(prompt, response):
    return prompt + response[:1], response[1:]


@wrong_rows("the prompt stands behind the response", next="join(prompts, responses, pad_id)")
def prompt_behind(prompt, response):
    return response, prompt


@pair_log_probs.wrong("the responses stand beside another pair's prompts", next=ALONE)
def mismatched(model, pairs, pad_id):
    return dpo.pair_log_probs(model, dpo.mismatch(pairs), pad_id)


@pair_log_probs.wrong("all chosen ones come first, and then all rejected ones", next=ONE_ROW_EACH)
def chosen_ones_first(model, pairs, pad_id):
    rows = rows_of(pairs)
    return scored_rows(model, rows[::2] + rows[1::2], pad_id).view(-1, 2)


@wrong_part(pair_log_probs)
def wrong_sum(number_of):
    """Another number for each row, a function of its logits, labels and tokens' log-probabilities."""

    def table(model, pairs, pad_id):
        ids, real, labels = tokens.join(*zip(*rows_of(pairs)), pad_id)
        logits = model(input_ids=ids).logits
        return number_of(logits, ids, real, labels, pad_id).view(-1, 2)

    return table


@wrong_sum("the tokens of a response are averaged, not summed", next=SUM)
def mean_of_tokens(logits, ids, real, labels, pad_id):
    return tokens.token_log_probs(logits, labels).sum(-1) / (labels != IGNORE).sum(-1)


@wrong_sum("this is the last token's log-probability alone", next=SUM)
def last_token(logits, ids, real, labels, pad_id):
    log_probs = tokens.token_log_probs(logits, labels)
    return (log_probs * tokens.last_token(labels[:, 1:] != IGNORE)).sum(-1)


@wrong_sum(
    "each token is scored after the model has read it", next="response_log_probs does the shift"
)
def reads_first(logits, ids, real, labels, pad_id):
    return picked(logits.log_softmax(-1), labels).sum(-1)


@wrong_sum("these are logits, not log-probabilities", next="normalise: log_softmax(-1)")
def bare_logits_of_tokens(logits, ids, real, labels, pad_id):
    return picked(logits[:, :-1], labels[:, 1:]).sum(-1)


@wrong_sum("prompt and padding are scored too", next=LABELS)
def everything_scored(logits, ids, real, labels, pad_id):
    return tokens.token_log_probs(logits, ids).sum(-1)


@wrong_sum("the padding is scored too", next=LABELS)
def padding_scored(logits, ids, real, labels, pad_id):
    return tokens.token_log_probs(logits, labels.where(real, pad_id)).sum(-1)


@wrong_sum(
    "a token that has pad_id's number is taken for padding, where it stands in a response",
    next="join gives labels by the place and not by the id",
)
def padding_by_id(logits, ids, real, labels, pad_id):
    return tokens.token_log_probs(logits, labels.where(ids != pad_id, IGNORE)).sum(-1)


@pair_log_probs.wrong(*PAIRS_GROW)
def prompt_grows(model, pairs, pad_id):
    table = dpo.pair_log_probs(model, pairs, pad_id)
    for prompt, both in pairs:
        prompt += both[0]
    return table


@pair_log_probs.wrong(*PAIRS_GROW)
def pairs_sorted_in_place(model, pairs, pad_id):
    table = dpo.pair_log_probs(model, pairs, pad_id)
    pairs.sort(key=lambda pair: -len(pair[0]))
    return table


def some_pairs(seed: int) -> list[reward.Ranking]:
    """Prompts with two responses each, of several lengths; the token 0 is in a response. Sorting
    the rows by length is another permutation than its inverse; now the chosen response is the longer
    one of its pair, now the rejected one."""
    rng = random.Random(seed)
    while True:
        pairs = []
        for _ in range(rng.randint(3, 5)):
            prompt = random_tokens(rng, rng.randint(2, 5))
            responses = [random_tokens(rng, length) + [1] for length in rng.sample(range(1, 9), 2)]
            pairs.append((prompt, responses))
        pairs[0][1][0] = [*pairs[1][1][1]]  # a response may answer two prompts
        pairs[2][1][rng.randrange(2)].insert(0, 0)
        lengths = [sum(map(len, row)) for row in rows_of(pairs)]
        order = from_long_to_short(rows_of(pairs))
        elsewhere = sum(order[place] != row for row, place in enumerate(order))
        mixed = 2 * elsewhere > len(order) and len(set(lengths)) > 4
        by_length = sorted(pairs, key=lambda pair: -len(pair[0]))
        longer = [len(chosen) - len(rejected) for _, (chosen, rejected) in pairs]
        if mixed and by_length != pairs and min(longer) < 0 < max(longer):
            return pairs


def table_of(student: Callable, model: nn.Module, pairs: list, pad_id: int = PAD) -> Tensor:
    """What is returned, float (pairs, 2); the pairs must stay as they were."""
    given = copy.deepcopy(pairs)
    value = student(model, given, pad_id)
    if given != pairs:
        raise Mistake(*PAIRS_GROW)
    return numbers(value, (len(pairs), 2), next=ONE_ROW_EACH)


@pair_log_probs.check(points=2)
def scores_each_response_after_its_prompt(student, seed):
    model, pairs = small_model(), some_pairs(seed)
    # Many tokenizers pad with the stop token, here 1, and then real tokens look like padding.
    for pad_id in (PAD, 1, random.Random(seed).randrange(2, VOCAB)):
        given = model, pairs, pad_id
        expect(pair_log_probs, student, given, otherwise=NOT_THE_LOG_PROBS, shape=ONE_ROW_EACH)
    table_of(student, model, pairs)


@pair_log_probs.check(points=1)
def scores_a_pair_the_same_in_any_company(student, seed):
    model, pairs = small_model(), some_pairs(seed)
    together = table_of(student, model, pairs)
    alone = torch.cat([table_of(student, model, [pair]) for pair in pairs])
    if not close(together, alone):
        raise Mistake(
            "a pair gets other numbers in company than alone",
            next="padding must not be scored, and every row must be put back in its own place",
        )
    if not close(table_of(student, model, pairs[::-1]), together.flip(0)):
        raise Mistake(
            "in another order the pairs get other numbers",
            next="every row must be put back in its own place",
        )
    (prompt, responses), *others = pairs
    longer = prompt[::-1] + [
        2,
        3,
        5 if prompt[-1] == 4 else 4,
    ]  # its last token is another one, too
    other = table_of(student, model, [(longer, responses), *others])
    if torch.allclose(other[0], together[0], rtol=1e-4, atol=0):
        raise Mistake(
            "another prompt, and the log-probabilities of its responses stay the same",
            next="what does the model read? print one row of ids",
        )


@pair_log_probs.check(points=1)
def teaches_the_policy(student, seed):
    pairs = some_pairs(seed)
    needs_parameter_gradients(
        pair_log_probs, student, (small_model(), pairs, PAD), randoms(seed, len(pairs), 2)
    )
