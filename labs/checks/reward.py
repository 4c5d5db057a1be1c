"""The checks of lab 03's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import copy
import itertools
import math
import random

import torch
import torch.nn.functional as F
from checks.models import PAD, reward_model
from checks.shared import (
    NO_GRADIENT,
    NOT_FINITE,
    NOTHING_TO_LEARN,
    WRONG_SHAPE,
    as_loss,
    close,
    expect,
    in_place,
    in_words,
    needs_gradients,
    needs_parameter_gradients,
    needs_untouched,
    no_gradient_in,
    number,
    numbers,
    random_tokens,
    randoms,
    twice,
    wrong_part,
)
from course import Exercise, Mistake
from methods import best_of_n, reward, tokens
from torch import Tensor
from torch.nn.functional import logsigmoid

# The loss of a choice -----------------------------------------------------------------------------

bradley_terry_loss = Exercise(
    "reward.bradley_terry_loss", reference=reward.bradley_terry_loss, minutes=10, difficulty=2
)
LOSS = "the loss is −log σ of the margin"
MARGIN = "the margin is chosen − rejected"
STABLE = "torch.nn.functional.logsigmoid, or softplus, is stable; log of sigmoid is not"
NO_SMALL_NUMBER = (
    "no clamp and no small number inside the log: they end the learning where it is needed"
)


@bradley_terry_loss.wrong(
    "the sign is wrong: this rises when the choices get more likely",
    next="negate the log-probability",
)
def wrong_sign(chosen, rejected):
    return logsigmoid(chosen - rejected).mean()


@bradley_terry_loss.wrong("chosen and rejected have changed places", next=MARGIN)
def changed_places(chosen, rejected):
    return -logsigmoid(rejected - chosen).mean()


@bradley_terry_loss.wrong("the pairs are summed, not averaged", next="take the mean over the pairs")
def summed(chosen, rejected):
    return -logsigmoid(chosen - rejected).sum()


@bradley_terry_loss.wrong("this is one loss for each pair", next="take their mean")
def one_for_each_pair(chosen, rejected):
    return -logsigmoid(chosen - rejected)


@bradley_terry_loss.wrong("the logarithm is missing", next=LOSS)
def no_logarithm(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).mean()


@bradley_terry_loss.wrong("this is the mean probability of a wrong choice", next=LOSS)
def mean_error(chosen, rejected):
    return torch.sigmoid(rejected - chosen).mean()


@bradley_terry_loss.wrong(
    "the logarithm is taken of the mean probability", next="first the log, then the mean"
)
def mean_before_log(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).mean().log()


@bradley_terry_loss.wrong(
    "the margin is averaged before the sigmoid",
    next="σ bends: first the loss of each pair, then the mean",
)
def mean_margin(chosen, rejected):
    return -logsigmoid((chosen - rejected).mean())


@bradley_terry_loss.wrong("the sigmoid is taken of each reward, not of the margin", next=MARGIN)
def sigmoid_of_each(chosen, rejected):
    return (logsigmoid(rejected) - logsigmoid(chosen)).mean()


@bradley_terry_loss.wrong("the rejected response is not used", next=MARGIN)
def chosen_alone(chosen, rejected):
    return -logsigmoid(chosen).mean()


@bradley_terry_loss.wrong("this is a hinge: it stops at a margin of 1", next=LOSS)
def hinge(chosen, rejected):
    return (1 - (chosen - rejected)).clamp(min=0).mean()


@bradley_terry_loss.wrong("the sigmoid is missing", next=LOSS)
def no_sigmoid(chosen, rejected):
    return (rejected - chosen).mean()


@bradley_terry_loss.wrong("the margin is squared: that is another loss", next=LOSS)
def squared(chosen, rejected):
    return (1 - (chosen - rejected)).square().mean()


@bradley_terry_loss.wrong("these are bits, not nats", next="use the natural logarithm")
def in_bits(chosen, rejected):
    return -logsigmoid(chosen - rejected).mean() / math.log(2)


@bradley_terry_loss.wrong(*NOT_FINITE)
def log_of_a_negative(chosen, rejected):
    return -(chosen - rejected).log().mean()


@bradley_terry_loss.wrong("a margin of -150 costs inf", next=STABLE)
def naive_log(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).log().mean()


@bradley_terry_loss.wrong("a choice with a margin of -150 must cost 150 nats", next=NO_SMALL_NUMBER)
def small_number_inside(chosen, rejected):
    return -(torch.sigmoid(chosen - rejected) + 1e-8).log().mean()


@bradley_terry_loss.wrong(
    "the gradient in chosen is not finite", next="no infinity may arise on the way"
)
def gradient_of_what_is_not_taken(chosen, rejected):
    margin = chosen - rejected
    return -torch.where(margin > -80, margin.sigmoid().log(), margin).mean()


@bradley_terry_loss.wrong(*in_place("chosen"))
def subtract_in_place(chosen, rejected):
    chosen -= rejected
    return -logsigmoid(chosen).mean()


@bradley_terry_loss.wrong(*NO_GRADIENT)
def as_a_number(chosen, rejected):
    return reward.bradley_terry_loss(chosen, rejected).item()


@bradley_terry_loss.wrong(*no_gradient_in("chosen"))
def detached(chosen, rejected):
    return reward.bradley_terry_loss(chosen.detach(), rejected)


def random_pairs(seed: int) -> tuple[Tensor, Tensor]:
    chosen, rejected = randoms(seed, 6) + 0.5, randoms(seed + 100, 6)
    chosen[0] = rejected[0] - 0.7  # one choice at least that the rewards do not expect
    return chosen, rejected


@bradley_terry_loss.check(points=2)
@twice
def is_the_mean_negative_log_probability_of_the_choice(student, seed):
    expect(
        bradley_terry_loss,
        student,
        random_pairs(seed),
        otherwise=(
            "this is not the mean of −log σ(chosen − rejected)",
            "the margin of each pair comes first",
        ),
        read=as_loss,
    )


@bradley_terry_loss.check(points=1)
def stands_large_margins(student, seed):
    for size in (150.0, 1000.0):
        value = number(student(torch.tensor([0.0]), torch.tensor([size])))
        if not torch.isfinite(value):
            raise Mistake(f"a margin of {-size:.0f} costs {value.item()}", next=STABLE)
        if not close(value, torch.tensor(size)):
            raise Mistake(
                f"a choice with a margin of {-size:.0f} must cost {size:.0f} nats, "
                f"yours {value.item():.4g}",
                next=NO_SMALL_NUMBER,
            )
    far = torch.tensor([0.0, 1.0]), torch.tensor([150.0, -150.0])
    needs_gradients(bradley_terry_loss, student, far, "chosen", "rejected", next=STABLE)


@bradley_terry_loss.check(points=1)
def passes_the_gradient(student, seed):
    needs_gradients(
        bradley_terry_loss,
        student,
        random_pairs(seed),
        "chosen",
        "rejected",
        next="check the sign and what you divide by",
    )


# The reward of a row ------------------------------------------------------------------------------

reward_at_end = Exercise("reward.at_end", reference=reward.reward_at_end, minutes=10, difficulty=2)
COLUMN = "find the column of each row's last True in real"
LAST_PREFIX = "only the last prefix has seen the whole response"
ENDS = "n real tokens end in column n − 1"
ONE_FOR_EACH_ROW = "one number for each row"
NOT_THE_LAST = "this is not the number at the last real token", COLUMN
NO_SUCH_COLUMN = (
    "a column is read that is not there",
    "the last of n columns has the number n − 1",
)


@reward_at_end.wrong("the last column is read, and it is padding", next=COLUMN)
def last_column(scores, real):
    return scores[:, -1]


@reward_at_end.wrong("the first padding is read, one column too far", next=ENDS)
def first_padding(scores, real):
    return F.pad(scores, (0, 1))[torch.arange(len(real)), real.sum(-1)]


@reward_at_end.wrong(*NO_SUCH_COLUMN)
def behind_the_last_column(scores, real):
    return scores[:, scores.shape[1]]


@reward_at_end.wrong("the token before the last is read", next=ENDS)
def one_before(scores, real):
    return scores[torch.arange(len(real)), real.sum(-1) - 2]


@reward_at_end.wrong("the first token is read: it has seen no response", next=COLUMN)
def first_column(scores, real):
    return scores[:, 0]


@reward_at_end.wrong("this is the largest number of the row", next=COLUMN)
def largest(scores, real):
    return scores.masked_fill(~real, -99).amax(-1)


@reward_at_end.wrong("this is the largest number, padding and all", next=COLUMN)
def largest_of_all(scores, real):
    return scores.amax(-1)


@reward_at_end.wrong("the numbers of a row are averaged", next=LAST_PREFIX)
def mean_of_the_row(scores, real):
    return (scores * real).sum(-1) / real.sum(-1)


@reward_at_end.wrong("the numbers of a row are summed", next=LAST_PREFIX)
def sum_of_the_row(scores, real):
    return (scores * real).sum(-1)


@reward_at_end.wrong("every row is read in the same column", next="the rows differ in length")
def longest_row(scores, real):
    return scores[:, real.sum(-1).max() - 1]


@reward_at_end.wrong(
    "with padding on the left, the number of real tokens does not tell the place of the last",
    next=COLUMN,
)
def right_padding_only(scores, real):
    return scores[torch.arange(len(real)), real.sum(-1) - 1]


@reward_at_end.wrong(*NOT_THE_LAST)
def never_the_first_column(scores, real):
    ends = torch.arange(real.shape[1]).where(real, 1).argmax(-1, keepdim=True)
    return scores.gather(-1, ends).squeeze(-1)


@reward_at_end.wrong(WRONG_SHAPE, next=ONE_FOR_EACH_ROW)
def all_columns(scores, real):
    return scores * real


@reward_at_end.wrong(WRONG_SHAPE, next=ONE_FOR_EACH_ROW)
def squeezes_all(scores, real):
    ends = torch.arange(real.shape[1]).where(real, 0).argmax(-1, keepdim=True)
    return scores.gather(-1, ends).squeeze()


@reward_at_end.wrong(*NO_GRADIENT)
def without_gradient(scores, real):
    return torch.tensor([row[keep][-1].item() for row, keep in zip(scores, real)])


@reward_at_end.wrong(*in_place("real"))
def mask_overwritten(scores, real):
    ends = reward.reward_at_end(scores, real)
    real[:] = False
    return ends


@reward_at_end.wrong(*in_place("scores"))
def padding_overwritten(scores, real):
    scores[~real] = 0
    return reward.reward_at_end(scores, real)


def padded_rows(seed: int, sides: str) -> tuple[Tensor, Tensor]:
    """Numbers (rows, 8) and where they are real; each row is padded on its side, "r" or "l", or
    not at all, "-".

    The first row has a single token.
    """
    time, lengths = 8, [1, *random.Random(seed).sample(range(2, 7), len(sides) - 1)]
    real = torch.zeros(len(sides), time, dtype=torch.bool)
    for row, (side, length) in enumerate(zip(sides, lengths)):
        real[
            row, {"r": slice(0, length), "l": slice(time - length, time), "-": slice(0, time)}[side]
        ] = True
    scores = randoms(seed, *real.shape)
    scores[1, lengths[1] - 1] = 0.0  # a reward like any other
    return scores.where(real, scores + 20), real  # what stands on padding must not go unnoticed


@reward_at_end.wrong("a reward of exactly 0 is passed over", next=COLUMN)
def last_that_is_not_0(scores, real):
    masked = scores * real
    places = torch.arange(scores.shape[1])
    return scores.gather(1, places.where(masked != 0, -1).argmax(-1, keepdim=True)).squeeze(-1)


@reward_at_end.check(points=2)
@twice
def reads_the_last_real_token(student, seed):
    with in_words(IndexError, *NO_SUCH_COLUMN):
        expect(
            reward_at_end,
            student,
            padded_rows(seed, "rrrrrr"),
            otherwise=NOT_THE_LAST,
            shape=ONE_FOR_EACH_ROW,
        )


@reward_at_end.check(points=1)
def takes_padding_on_either_side(student, seed):
    with in_words(IndexError, *NO_SUCH_COLUMN):
        expect(
            reward_at_end,
            student,
            padded_rows(seed, "l-rl"),
            otherwise=(
                "padding may stand on the left, on the right or nowhere, "
                "and there another token is read",
                COLUMN,
            ),
            shape=ONE_FOR_EACH_ROW,
        )
        one = tuple(table[1:] for table in padded_rows(seed, "rr"))
        expect(reward_at_end, student, one, otherwise=NOT_THE_LAST, shape=ONE_FOR_EACH_ROW)


@reward_at_end.check(points=1)
def lets_the_last_token_alone_learn(student, seed):
    needs_gradients(
        reward_at_end,
        student,
        padded_rows(seed, "rrrrrr"),
        "scores",
        next="each row's gradient is 1 at its last real token and 0 elsewhere",
    )


# The loss of a ranking ----------------------------------------------------------------------------

ranking_loss = Exercise(
    "reward.ranking_loss", reference=reward.ranking_loss, minutes=15, difficulty=2
)
PAIRS = "itertools.combinations(range(K), 2) lists the pairs, the better one first"
HOW_MANY = "a ranking of K holds K (K − 1) / 2 pairs"
ALL_PAIRS = f"{HOW_MANY}: {PAIRS}"
ANY_K = "K is rewards.shape[1]"


@ranking_loss.wrong(
    "the sign is wrong: this rises when the rewards fit the ranking",
    next="negate the log-probability",
)
def rising(rewards):
    return -reward.ranking_loss(rewards)


@ranking_loss.wrong(
    "the worst response is taken for the best", next="the preferred response stands first"
)
def worst_first(rewards):
    return reward.ranking_loss(rewards.flip(1))


@ranking_loss.wrong("only neighbours are compared", next=ALL_PAIRS)
def neighbours(rewards):
    return -logsigmoid(rewards[:, :-1] - rewards[:, 1:]).mean()


@ranking_loss.wrong("only the best is compared with the others", next=ALL_PAIRS)
def best_against_rest(rewards):
    return -logsigmoid(rewards[:, :1] - rewards[:, 1:]).mean()


@ranking_loss.wrong("only the best and the worst are compared", next=ALL_PAIRS)
def best_against_worst(rewards):
    return -logsigmoid(rewards[:, 0] - rewards[:, -1]).mean()


@ranking_loss.wrong("only the last is compared with the others", next=ALL_PAIRS)
def last_against_rest(rewards):
    return -logsigmoid(rewards[:, :-1] - rewards[:, -1:]).mean()


def mean_over(pairs, rewards: Tensor) -> Tensor:
    better, worse = zip(*pairs)
    return -logsigmoid(rewards[:, better] - rewards[:, worse]).mean()


@ranking_loss.wrong("every pair is counted in both orders", next=PAIRS)
def both_orders(rewards):
    return mean_over(itertools.permutations(range(rewards.shape[1]), 2), rewards)


@ranking_loss.wrong(
    "responses are compared with themselves, and each pair in both orders", next=PAIRS
)
def with_itself(rewards):
    return mean_over(itertools.product(range(rewards.shape[1]), repeat=2), rewards)


@ranking_loss.wrong("responses are compared with themselves", next=PAIRS)
def with_itself_once(rewards):
    return mean_over(itertools.combinations_with_replacement(range(rewards.shape[1]), 2), rewards)


@wrong_part(ranking_loss)
def wrong_factor(factor):
    """The loss times a factor that depends on the number of rankings and on K."""
    return lambda rewards: reward.ranking_loss(rewards) * factor(*rewards.shape)


@wrong_factor("everything is summed, nothing averaged", next="take the mean over all pairs")
def all_summed(rankings, K):
    return rankings * math.comb(K, 2)


@wrong_factor(
    "the pairs of a ranking are summed",
    next="K − 1 times too many gradients for each response: average",
)
def pairs_summed(rankings, K):
    return math.comb(K, 2)


@wrong_factor(
    "the rankings are summed, not averaged", next="take the mean over the rankings as well"
)
def rankings_summed(rankings, K):
    return rankings


@wrong_factor("the sum is divided by K and not by the pairs", next=HOW_MANY)
def over_k(rankings, K):
    return math.comb(K, 2) / K


@wrong_factor("the sum is divided by K − 1 and not by the pairs", next=HOW_MANY)
def over_k_less_1(rankings, K):
    return math.comb(K, 2) / (K - 1)


@wrong_factor("the sum is divided by K² and not by the pairs", next=HOW_MANY)
def over_k_squared(rankings, K):
    return math.comb(K, 2) / K**2


@wrong_factor("the sum is divided by K (K − 1): each pair counts half", next=HOW_MANY)
def each_pair_half(rankings, K):
    return 1 / 2


@ranking_loss.wrong(
    "this is the loss of a whole ranking (Plackett–Luce)", next="here each pair has its own loss"
)
def listwise(rewards):
    return -(rewards - rewards.flip(1).logcumsumexp(1).flip(1)).sum(1).mean()


@ranking_loss.wrong("with 6 responses, this is not the mean loss of the 15 pairs", next=ANY_K)
def the_first_four(rewards):
    return reward.ranking_loss(rewards[:, :4])


@ranking_loss.wrong("with 2 responses, one is asked for that is not there", next=ANY_K)
def always_four(rewards):
    return mean_over(itertools.combinations(range(4), 2), rewards)


@ranking_loss.wrong(*NO_GRADIENT)
def ranking_detached(rewards):
    return reward.ranking_loss(rewards.detach())


NOT_FOR_SUCH = (
    "for equal or for very large rewards this is not the mean loss of all pairs",
    "−log σ of a margin of 0 is log 2; logsigmoid stands large margins",
)


@ranking_loss.wrong("pairs of equal rewards are left out", next=HOW_MANY)
def unequal_pairs(rewards):
    pairs = list(itertools.combinations(range(rewards.shape[1]), 2))
    margins = torch.stack([rewards[:, i] - rewards[:, j] for i, j in pairs])
    return -F.logsigmoid(margins[margins != 0]).mean()


@ranking_loss.wrong(*NOT_FINITE)
def ratio_of_exponentials(rewards):
    pairs = itertools.combinations(range(rewards.shape[1]), 2)
    exp = rewards.exp()
    return -torch.stack([(exp[:, i] / (exp[:, i] + exp[:, j])).log() for i, j in pairs]).mean()


@ranking_loss.check(points=2)
@twice
def is_the_mean_over_all_pairs(student, seed):
    rewards = randoms(seed, 3, 4) + torch.tensor([0.6, 0.3, 0.0, -0.3])
    expect(
        ranking_loss,
        student,
        (rewards,),
        otherwise=("this is not the mean loss of all pairs of each ranking", PAIRS),
        read=number,
    )
    equal = rewards.clone()
    equal[0, 1] = equal[0, 2]
    for special in (equal, 200 * rewards):
        expect(ranking_loss, student, (special,), otherwise=NOT_FOR_SUCH, read=number)


@ranking_loss.check(points=1)
def takes_any_number_of_responses(student, seed):
    for K in (2, 3, 6):
        where = f"with {K} responses"
        with in_words(IndexError, f"{where}, one is asked for that is not there", ANY_K):
            expect(
                ranking_loss,
                student,
                (randoms(seed + K, 2, K),),
                otherwise=(
                    f"{where}, this is not the mean loss of the {math.comb(K, 2)} pairs",
                    ANY_K,
                ),
                read=number,
            )


@ranking_loss.check(points=1)
def passes_a_rankings_gradient(student, seed):
    needs_gradients(
        ranking_loss,
        student,
        (randoms(seed, 3, 4),),
        "rewards",
        next="check which pairs count and what you divide by",
    )


# Best of n ----------------------------------------------------------------------------------------

choose_best = Exercise("reward.best_of_n", reference=best_of_n.best_of_n, minutes=5, difficulty=1)
ONE_INDEX = "one index for each prompt"
FROM_0 = "the first response has the index 0"
NOT_THE_FIRST = (
    "of equal rewards, another one than the first is kept",
    "responses repeat: keep the first, so that every run keeps the same one",
)
REFUSE = "raise a FloatingPointError unless torch.isfinite(rewards).all()"


@choose_best.wrong("the worst response is kept", next="the highest reward is the best")
def worst(rewards):
    return rewards.argmin(-1)


@choose_best.wrong(
    "these are the highest rewards, not their places", next="argmax tells where the maximum is"
)
def the_reward(rewards):
    return rewards.amax(-1)


@choose_best.wrong(
    "the index counts through all prompts", next="it counts the responses of one prompt"
)
def through_all_prompts(rewards):
    return best_of_n.best_of_n(rewards) + rewards.shape[1] * torch.arange(len(rewards))


@choose_best.wrong("the index counts from 1", next=FROM_0)
def from_one(rewards):
    return rewards.argmax(-1) + 1


@choose_best.wrong("the index counts from the end", next=FROM_0)
def from_the_end(rewards):
    return rewards.argmax(-1) - rewards.shape[1]


@choose_best.wrong(
    "one index for each prompt is expected, not one number for each response", next="argmax(-1)"
)
def with_one_hot(rewards):
    return F.one_hot(best_of_n.best_of_n(rewards), rewards.shape[1])


@choose_best.wrong(WRONG_SHAPE, next=ONE_INDEX)
def over_all(rewards):
    return rewards.argmax()


@choose_best.wrong(WRONG_SHAPE, next=ONE_INDEX)
def over_prompts(rewards):
    return rewards.argmax(0)


@choose_best.wrong(
    "an index is a whole number, and these are float32", next="argmax gives whole numbers"
)
def as_floats(rewards):
    return best_of_n.best_of_n(rewards).float()


@choose_best.wrong(*in_place("rewards"))
def sorted_in_place(rewards):
    best = best_of_n.best_of_n(rewards)
    rewards.copy_(rewards.sort(-1).values)
    return best


@choose_best.wrong(*NOT_THE_FIRST)
def last_of_equals(rewards):
    return rewards.shape[1] - 1 - best_of_n.best_of_n(rewards.flip(1))


@choose_best.wrong("a reward of nan is let through, and argmax takes it for the best", next=REFUSE)
def lets_nan_through(rewards):
    return rewards.argmax(-1)


@choose_best.wrong("a reward of nan raises AssertionError, not FloatingPointError", next=REFUSE)
def asserts(rewards):
    assert torch.isfinite(rewards).all()
    return rewards.argmax(-1)


@choose_best.wrong("a reward of nan raises ValueError, not FloatingPointError", next=REFUSE)
def raises_value_error(rewards):
    if not torch.isfinite(rewards).all():
        raise ValueError("a reward is not finite")
    return rewards.argmax(-1)


@choose_best.wrong("a reward of inf is let through", next=REFUSE)
def only_nan(rewards):
    if rewards.isnan().any():
        raise FloatingPointError("NaN")
    return rewards.argmax(-1)


@choose_best.wrong("a reward of -inf is let through", next=REFUSE)
def minus_infinity_through(rewards):
    if rewards.isnan().any() or rewards.isposinf().any():
        raise FloatingPointError("a reward is not finite")
    return rewards.argmax(-1)


def kind_of_error(error: Exception) -> str:
    """Its own name; a grader knows the one that it had in the learner's process."""
    return getattr(error, "kind", type(error).__name__)


def needs_finite(rewards: Tensor) -> None:
    if not torch.isfinite(rewards).all():
        raise FloatingPointError


def needs_indices(student, rewards: Tensor) -> None:
    """The function returns a whole number for each prompt and leaves the rewards as they were."""
    needs_untouched(choose_best, student, (rewards,))
    value = student(rewards.clone())
    numbers(value, (len(rewards),), next=ONE_INDEX)
    kind = torch.as_tensor(value).dtype
    if kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise Mistake(
            f"an index is a whole number, and these are {str(kind).removeprefix('torch.')}",
            next="argmax gives whole numbers",
        )


NOT_FOR_ALL = (
    "the highest reward is not kept where all are negative, or nearly equal",
    "argmax compares them as they are",
)


@choose_best.wrong(*NOT_FOR_ALL)
def begins_at_0(rewards):
    needs_finite(rewards)
    best = []
    for row in rewards.tolist():
        highest, place = 0.0, 0
        for index, value in enumerate(row):
            if value > highest:
                highest, place = value, index
        best.append(place)
    return torch.tensor(best)


@choose_best.wrong(*NOT_FOR_ALL)
def nearly_equal(rewards):
    needs_finite(rewards)
    return (rewards >= rewards.amax(-1, keepdim=True) - 1e-2).long().argmax(-1)


@choose_best.wrong(WRONG_SHAPE, next=ONE_INDEX)
def squeezes_a_single_prompt(rewards):
    needs_finite(rewards)
    return rewards.squeeze().argmax(-1)


@choose_best.check(points=2)
def keeps_the_highest_reward(student, seed):
    rewards = randoms(seed, 5, 4)
    # The best of the first prompts stand in other columns than their worst, and not all in one
    # column.
    rewards[torch.arange(5), torch.tensor([3, 0, 2, 1, 2])] += 6
    expect(
        choose_best,
        student,
        (rewards,),
        otherwise=(
            "the response with the highest reward is not kept",
            "one argmax for each prompt, along its responses",
        ),
        shape=ONE_INDEX,
    )
    needs_indices(student, rewards)
    below_0, one_prompt, one_response = rewards - 20, rewards[1:2], rewards[:, :1]
    for special in (below_0, one_prompt, one_response, 1e-4 * rewards):
        expect(choose_best, student, (special,), otherwise=NOT_FOR_ALL, shape=ONE_INDEX)


@choose_best.check(points=1)
def keeps_the_first_of_equals(student, seed):
    rewards = randoms(seed, 40, 24).clamp(max=2)
    rng = random.Random(seed)
    for row in rewards:
        row[rng.sample(range(24), 4)] = 3.0
    expect(choose_best, student, (rewards,), otherwise=NOT_THE_FIRST, shape=ONE_INDEX)
    needs_indices(student, rewards)


@choose_best.check(points=1)
def refuses_what_is_not_finite(student, seed):
    for value in (float("nan"), float("inf"), float("-inf")):
        rewards = randoms(seed, 3, 4)
        needs_indices(student, rewards)
        rewards[1, 2] = value
        try:
            student(rewards)
        except FloatingPointError:
            continue
        except Exception as error:
            raise Mistake(
                f"a reward of {value} raises {kind_of_error(error)}, not FloatingPointError",
                next=REFUSE,
            ) from None
        taken = ", and argmax takes it for the best" if value != value else ""
        raise Mistake(f"a reward of {value} is let through{taken}", next=REFUSE)


# Find the silent bug ------------------------------------------------------------------------------

batch_rewards = Exercise(
    "reward.silent_bug", reference=reward.batch_rewards, minutes=15, difficulty=3
)
LEFT_OUT = "the reward model must read what was asked: prompt + response"
ONE_ROW = "one row for each ranking: view(len(rankings), -1)"
IN_A_ROW = "list all responses of a prompt in a row"
NOT_THE_REWARDS = (
    "these are not the rewards of the responses, each after its prompt",
    "compare with a row that you score alone",
)
NOT_ALWAYS_TWO = "with three responses to each prompt, the rewards do not fit into rows", ONE_ROW
GROWS = "the rankings are changed in place", "prompt + response makes a new list, += does not"


def rewards_of(rows, model, rankings, pad_id) -> Tensor:
    ids, real = tokens.pad(rows, pad_id)
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


@batch_rewards.wrong(
    "the stop token at the end of a row is taken for padding, since pad_id is its id, too",
    next="pad gives real, which goes by the place and not by the id",
)
def padding_by_id(model, rankings, pad_id):
    rows = [prompt + response for prompt, ranked in rankings for response in ranked]
    ids, _ = tokens.pad(rows, pad_id)
    real = ids != pad_id
    return reward.reward_at_end(model(ids, real), real).view(len(rankings), -1)


@wrong_part(batch_rewards)
def wrong_row(row):
    """The rewards of other rows than prompt + response."""

    def rewards(model, rankings, pad_id):
        rows = [row(prompt, response) for prompt, ranked in rankings for response in ranked]
        return rewards_of(rows, model, rankings, pad_id)

    return rewards


@wrong_row(
    "the responses are scored without their prompts: "
    "the same words earn the same, whatever was asked",
    next=LEFT_OUT,
)
def without_prompt(prompt, response):
    return response


@wrong_row("the prompts are scored, without the responses", next=LEFT_OUT)
def without_response(prompt, response):
    return prompt


@wrong_row("the prompt stands behind the response", next=LEFT_OUT)
def prompt_behind(prompt, response):
    return response + prompt


@wrong_row("the last token is left out", next="the stop token is scored too")
def stop_left_out(prompt, response):
    return (prompt + response)[:-1]


@batch_rewards.wrong(
    "the number is read in the last column, which is padding in the shorter rows",
    next="reward_at_end finds the place",
)
def at_padding(model, rankings, pad_id):
    rows = [prompt + response for prompt, ranked in rankings for response in ranked]
    return model(*tokens.pad(rows, pad_id))[:, -1].view(len(rankings), -1)


@batch_rewards.wrong(*NOT_ALWAYS_TWO)
def always_two(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).reshape(-1, 2)


@batch_rewards.wrong("the sign is wrong", next="return the rewards as they are")
def negated(model, rankings, pad_id):
    return -reward.batch_rewards(model, rankings, pad_id)


@batch_rewards.wrong("the worst response comes first", next="keep the order of the responses")
def worst_response_first(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).flip(1)


@batch_rewards.wrong("rewards of different prompts have changed places", next=IN_A_ROW)
def first_responses_first(model, rankings, pad_id):
    rows = [prompt + ranked[k] for k in range(len(rankings[0][1])) for prompt, ranked in rankings]
    return rewards_of(rows, model, rankings, pad_id)


@batch_rewards.wrong(
    "rewards of different prompts stand in one row",
    next=f"{IN_A_ROW}, then view(len(rankings), -1)",
)
def columns_mixed(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).flatten().view(-1, len(rankings)).T


@batch_rewards.wrong(*NOT_THE_REWARDS)
def first_prompt_for_all(model, rankings, pad_id):
    return reward.batch_rewards(model, [(rankings[0][0], ranked) for _, ranked in rankings], pad_id)


@batch_rewards.wrong(WRONG_SHAPE, next=ONE_ROW)
def flat(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).flatten()


@batch_rewards.wrong(*GROWS)
def prompt_grows(model, rankings, pad_id):
    for prompt, responses in rankings:
        prompt += responses[0]
    return reward.batch_rewards(model, rankings, pad_id)


@batch_rewards.wrong(*NOTHING_TO_LEARN)
def without_learning(model, rankings, pad_id):
    return reward.batch_rewards(model, rankings, pad_id).detach()


def random_rankings(seed: int) -> list[reward.Ranking]:
    """Three prompts with two responses each, all of different length and content."""
    rng = random.Random(seed)
    rankings = []
    for prompt_length, lengths in ((2, (5, 2)), (4, (1, 6)), (3, (3, 4))):
        rankings.append(
            (random_tokens(rng, prompt_length), [random_tokens(rng, n - 1) + [1] for n in lengths])
        )
    return rankings


def scored(student, model: reward.ScalarModel, rankings: list[reward.Ranking]) -> Tensor:
    """The rewards as returned; the rankings must stay as they were."""
    given = copy.deepcopy(rankings)
    value = student(model, given, PAD)
    if given != rankings:
        raise Mistake(*GROWS)
    return numbers(value, (len(rankings), len(rankings[0][1])), next=ONE_ROW)


@batch_rewards.check(points=2)
def scores_each_response_to_its_prompt(student, seed):
    model, rankings = reward_model(), random_rankings(seed)
    scored(student, model, rankings)
    expect(batch_rewards, student, (model, rankings, PAD), otherwise=NOT_THE_REWARDS)
    # Many tokenizers pad with the stop token, here 1, and then real tokens look like padding.
    expect(batch_rewards, student, (model, rankings, 1), otherwise=NOT_THE_REWARDS)
    three = [(prompt, [*responses, prompt[:2] + [1]]) for prompt, responses in rankings]
    with in_words(RuntimeError, *NOT_ALWAYS_TWO):
        expect(
            batch_rewards, student, (model, three, PAD), otherwise=NOT_THE_REWARDS, shape=ONE_ROW
        )


@batch_rewards.check(points=1)
def hears_another_question(student, seed):
    model, rankings = reward_model(), random_rankings(seed)
    before = scored(student, model, rankings)
    # The longest row becomes longer still, and so does the padding.
    *others, (prompt, responses) = rankings
    after = scored(student, model, [*others, (prompt[::-1] + [2, 3, 4, 5, 6, 7], responses)])
    if close(after[2], before[2]):
        raise Mistake(
            "another prompt, and the rewards of its responses stay the same",
            next="what does the model read? print one row of ids",
        )
    if not close(after[:2], before[:2]):
        raise Mistake(
            "another prompt changes the rewards of the other prompts' responses",
            next="score a ranking by itself and in company; padding must not be read",
        )


@batch_rewards.check(points=1)
def teaches_the_model(student, seed):
    given = reward_model(), random_rankings(seed), PAD
    needs_parameter_gradients(batch_rewards, student, given, randoms(seed, 3, 2))
