"""The checks of lab 03's exercises: what each function must do, and the mistake that each failure
points to."""

import random

import torch
from checks.models import PAD, reward_model
from checks.shared import FLOWS, close, needs_something, random_tokens, randoms, twice
from course import Exercise, Mistake
from methods import best_of_n, reward, tokens
from torch import Tensor

# For the checks of labs 03 and 04 -----------------------------------------------------------------


def numbers(value, shape: tuple[int, ...], what: str, next: str) -> Tensor:
    """What was returned, a tensor, an array, a list or a number, as a tensor without gradient; or a
    Mistake."""
    needs_something(value)
    try:
        value = torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"{what} must be a tensor {shape}, yours is a {type(value).__name__}", next=next
        ) from None
    if tuple(value.shape) != tuple(shape):
        raise Mistake(
            f"{what} must have the shape {tuple(shape)}, yours has {tuple(value.shape)}", next=next
        )
    return value


def number(value) -> Tensor:
    """What was returned as a tensor without dimensions; or a Mistake."""
    needs_something(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.reshape(())
    return numbers(
        value,
        (),
        "the loss",
        next="it is one number: end with a sum or a mean over everything that is left",
    )


def diagnose(value: Tensor, wrong: dict[str, tuple[Tensor, str]]) -> None:
    """Name the mistake whose result the value is: {message: (result, what to try next)}."""
    if not torch.isfinite(value).all():
        raise Mistake(
            "there are infinities or NaN in what your function returns",
            next="print the steps: log of 0 or less, 0 / 0, or exp of something large",
        )
    for message, (result, next) in wrong.items():
        if close(
            value, result, 1e-5
        ):  # closer than what is right has to be: wrong results may lie side by side
            raise Mistake(message, next=next)


def call(student, given: dict[str, Tensor], *others):
    return student(*(tensor.clone() for tensor in given.values()), *others)


def needs_untouched(student, given: dict[str, Tensor], *others) -> None:
    """The function returns something and leaves its arguments as they were."""
    mine = {name: tensor.clone() for name, tensor in given.items()}
    needs_something(student(*mine.values(), *others))
    for name, tensor in mine.items():
        if not torch.equal(tensor, given[name]):
            raise Mistake(
                f"{name} is changed in place",
                next=f"make a new tensor; the caller still needs {name}",
            )


def needs_gradients(student, reference, learned: dict[str, Tensor], *others, next: str) -> None:
    """The gradient in each of `learned`, the function's first arguments, is that of the
    reference."""
    needs_untouched(student, learned, *others)
    mine, theirs = (
        {name: tensor.clone().requires_grad_() for name, tensor in learned.items()}
        for _ in range(2)
    )
    value = student(*mine.values(), *others)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise Mistake("no gradient flows through your function", next=FLOWS)
    value.sum().backward()
    reference(*theirs.values(), *others).sum().backward()
    for name, tensor in mine.items():
        if tensor.grad is None:
            raise Mistake(
                f"no gradient reaches {name}", next=f"use {name} itself, without detach or .data"
            )
        if not torch.isfinite(tensor.grad).all():
            raise Mistake(
                f"the gradient in {name} is not finite", next="no infinity may arise on the way"
            )
        if not close(tensor.grad, theirs[name].grad):
            raise Mistake(f"the gradient in {name} is another one", next=next)


def needs_parameter_gradients(
    student, reference, model: torch.nn.Module, weights: Tensor, *others
) -> None:
    """The gradient in the model's parameters, of the weighted sum of the function's results, is the
    reference's."""
    grads = []
    for function in (student, reference):
        model.zero_grad()
        value = function(model, *others)
        needs_something(value)
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise Mistake(
                "no gradient flows through your function",
                next=f"{FLOWS}, and nothing that runs under torch.no_grad()",
            )
        numbers(value, tuple(weights.shape), "the result", next="the shape is in the docstring")
        (value * weights).sum().backward()
        grads.append(
            [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
        )
    if not all(close(mine, theirs) for mine, theirs in zip(*grads)):
        raise Mistake(
            "the gradient in the model's parameters is another one",
            next="first get the values right",
        )


# The loss of a choice -----------------------------------------------------------------------------

bradley_terry_loss = Exercise(
    "reward.bradley_terry_loss", reference=reward.bradley_terry_loss, minutes=10, difficulty=2
)
STABLE = "torch.nn.functional.logsigmoid, or softplus, is stable; log of sigmoid is not"


def random_pairs(seed: int) -> dict[str, Tensor]:
    chosen, rejected = randoms(seed, 6) + 0.5, randoms(seed + 100, 6)
    chosen[0] = rejected[0] - 0.7  # one choice at least that the rewards do not expect
    return {"chosen": chosen, "rejected": rejected}


@bradley_terry_loss.check(points=2)
@twice
def is_the_mean_negative_log_probability_of_the_choice(student, seed):
    pairs = random_pairs(seed)
    value, (chosen, rejected) = call(student, pairs), pairs.values()
    margin, expected = chosen - rejected, reward.bradley_terry_loss(*pairs.values())
    if isinstance(value, Tensor) and value.shape == margin.shape:
        raise Mistake("this is one loss for each pair", next="take their mean")
    value = number(value)
    if close(value, expected):
        return
    log_p = margin.sigmoid().log()
    diagnose(
        value,
        {
            "the sign is wrong: this rises when the choices get more likely": (
                -expected,
                "negate the log-probability",
            ),
            "chosen and rejected have changed places": (
                -(-margin).sigmoid().log().mean(),
                "the margin is chosen − rejected",
            ),
            "the pairs are summed, not averaged": (-log_p.sum(), "take the mean over the pairs"),
            "the logarithm is missing": (
                -margin.sigmoid().mean(),
                "the loss is −log σ of the margin",
            ),
            "this is the mean probability of a wrong choice": (
                (-margin).sigmoid().mean(),
                "the loss is −log σ of the margin",
            ),
            "the logarithm is taken of the mean probability": (
                -margin.sigmoid().mean().log(),
                "first the log, then the mean",
            ),
            "the margin is averaged before the sigmoid": (
                -margin.mean().sigmoid().log(),
                "σ bends: first the loss of each pair, then the mean",
            ),
            "the sigmoid is taken of each reward, not of the margin": (
                -(chosen.sigmoid().log() - rejected.sigmoid().log()).mean(),
                "the margin is chosen − rejected",
            ),
            "the rejected response is not used": (
                -chosen.sigmoid().log().mean(),
                "the margin is chosen − rejected",
            ),
            "this is a hinge: it stops at a margin of 1": (
                (1 - margin).clamp(min=0).mean(),
                "the loss is −log σ of the margin",
            ),
            "the sigmoid is missing": (-margin.mean(), "the loss is −log σ of the margin"),
            "the margin is squared: that is another loss": (
                (1 - margin).square().mean(),
                "the loss is −log σ of the margin",
            ),
            "these are bits, not nats": (
                -margin.sigmoid().log2().mean(),
                "use the natural logarithm",
            ),
        },
    )
    raise Mistake(
        "this is not the mean of −log σ(chosen − rejected)",
        next="the margin of each pair comes first",
    )


@bradley_terry_loss.check(points=1)
def stands_large_margins(student, seed):
    for size in (150.0, 1000.0):
        value = number(student(torch.tensor([0.0]), torch.tensor([size])))
        if not torch.isfinite(value):
            raise Mistake(f"a margin of {-size:.0f} costs {value.item()}", next=STABLE)
        if not close(value, torch.tensor(size)):
            raise Mistake(
                f"a choice with a margin of {-size:.0f} must cost {size:.0f} nats, yours {value.item():.4g}",
                next="no clamp and no small number inside the log: they end the learning where it is needed",
            )
    far = {"chosen": torch.tensor([0.0, 1.0]), "rejected": torch.tensor([150.0, -150.0])}
    needs_gradients(student, reward.bradley_terry_loss, far, next=STABLE)


@bradley_terry_loss.check(points=1)
def passes_the_gradient(student, seed):
    needs_gradients(
        student,
        reward.bradley_terry_loss,
        random_pairs(seed),
        next="check the sign and what you divide by",
    )


# The reward of a row ------------------------------------------------------------------------------

reward_at_end = Exercise("reward.at_end", reference=reward.reward_at_end, minutes=10, difficulty=2)
COLUMN = "find the column of each row's last True in real"


def padded_rows(seed: int, sides: str, longest: int, time: int) -> dict[str, Tensor]:
    """Numbers (rows, time) and where they are real; each row is padded on its side, "r" or "l", or
    not at all, "-".

    The first row has a single token.
    """
    lengths = [1, *random.Random(seed).sample(range(2, longest + 1), len(sides) - 1)]
    real = torch.zeros(len(sides), time, dtype=torch.bool)
    for row, (side, length) in enumerate(zip(sides, lengths)):
        real[
            row, {"r": slice(0, length), "l": slice(time - length, time), "-": slice(0, time)}[side]
        ] = True
    scores = randoms(seed, *real.shape)
    return {
        "scores": scores.where(real, scores + 20),
        "real": real,
    }  # what stands on padding must not go unnoticed


def ends_of(student, given: dict[str, Tensor]) -> Tensor:
    try:
        value = call(student, given)
    except IndexError:
        raise Mistake(
            "a column is read that is not there", next="the last of n columns has the number n − 1"
        ) from None
    return numbers(value, (len(given["real"]),), "the result", next="one number for each row")


@reward_at_end.check(points=2)
@twice
def reads_the_last_real_token(student, seed):
    given = padded_rows(seed, "rrrrrr", longest=6, time=8)
    scores, real = given.values()
    value, rows, length = ends_of(student, given), torch.arange(len(real)), real.sum(-1)
    if close(value, reward.reward_at_end(scores, real)):
        return
    diagnose(
        value,
        {
            "the last column is read, and it is padding": (scores[:, -1], COLUMN),
            "the first padding is read, one column too far": (
                scores[rows, length],
                "n real tokens end in column n − 1",
            ),
            "the token before the last is read": (
                scores[rows, length - 2],
                "n real tokens end in column n − 1",
            ),
            "the first token is read: it has seen no response": (scores[:, 0], COLUMN),
            "this is the largest number of the row": (scores.where(real, -99).amax(-1), COLUMN),
            "this is the largest number, padding and all": (scores.amax(-1), COLUMN),
            "the numbers of a row are averaged": (
                (scores * real).sum(-1) / length,
                "only the last prefix has seen the whole response",
            ),
            "the numbers of a row are summed": (
                (scores * real).sum(-1),
                "only the last prefix has seen the whole response",
            ),
            "every row is read in the same column": (
                scores[:, length.max() - 1],
                "the rows differ in length",
            ),
        },
    )
    raise Mistake("this is not the number at the last real token", next=COLUMN)


@reward_at_end.check(points=1)
def takes_padding_on_either_side(student, seed):
    given = padded_rows(seed, "l-rl", longest=6, time=8)
    scores, real = given.values()
    value = ends_of(student, given)
    if close(value, reward.reward_at_end(scores, real)):
        return
    counted = scores[torch.arange(len(real)), real.sum(-1) - 1]
    diagnose(
        value,
        {
            "with padding on the left, the number of real tokens does not tell the place of the last": (
                counted,
                COLUMN,
            ),
            "the last column is read, and in some rows it is padding": (scores[:, -1], COLUMN),
        },
    )
    raise Mistake(
        "padding may stand on the left, on the right or nowhere, and there another token is read",
        next=COLUMN,
    )


@reward_at_end.check(points=1)
def lets_the_last_token_alone_learn(student, seed):
    given = padded_rows(seed, "rrrrrr", longest=6, time=8)
    needs_untouched(student, given)
    scores, real = given.values()
    needs_gradients(
        student,
        reward.reward_at_end,
        {"scores": scores},
        real,
        next="each row's gradient is 1 at its last real token and 0 elsewhere",
    )


# The loss of a ranking ----------------------------------------------------------------------------

ranking_loss = Exercise(
    "reward.ranking_loss", reference=reward.ranking_loss, minutes=15, difficulty=2
)
PAIRS = "itertools.combinations(range(K), 2) lists the pairs, the better one first"


@ranking_loss.check(points=2)
@twice
def is_the_mean_over_all_pairs(student, seed):
    rewards = randoms(seed, 3, 4) + torch.tensor([0.6, 0.3, 0.0, -0.3])
    value, expected = number(student(rewards.clone())), reward.ranking_loss(rewards)
    if close(value, expected):
        return
    loss = (
        -(rewards.unsqueeze(2) - rewards.unsqueeze(1)).sigmoid().log()
    )  # [ranking, better, worse]
    K = rewards.shape[1]
    pairs = K * (K - 1) // 2
    listwise = -(rewards - rewards.flip(1).logcumsumexp(1).flip(1)).sum(1).mean()
    diagnose(
        value,
        {
            "the sign is wrong: this rises when the rewards fit the ranking": (
                -expected,
                "negate the log-probability",
            ),
            "the worst response is taken for the best": (
                reward.ranking_loss(rewards.flip(1)),
                "the preferred response stands first",
            ),
            "only neighbours are compared": (
                loss.diagonal(1, 1, 2).mean(),
                f"a ranking of {K} holds {pairs} pairs: {PAIRS}",
            ),
            "only the best is compared with the others": (
                loss[:, 0, 1:].mean(),
                f"a ranking of {K} holds {pairs} pairs: {PAIRS}",
            ),
            "only the best and the worst are compared": (
                loss[:, 0, -1].mean(),
                f"a ranking of {K} holds {pairs} pairs: {PAIRS}",
            ),
            "only the last is compared with the others": (
                loss[:, :-1, -1].mean(),
                f"a ranking of {K} holds {pairs} pairs: {PAIRS}",
            ),
            "every pair is counted in both orders": (
                (loss.sum() - loss.diagonal(0, 1, 2).sum()) / (3 * 2 * pairs),
                PAIRS,
            ),
            "responses are compared with themselves, and each pair in both orders": (
                loss.mean(),
                PAIRS,
            ),
            "responses are compared with themselves": (
                loss.triu().sum() / (3 * (pairs + K)),
                PAIRS,
            ),
            "everything is summed, nothing averaged": (
                expected * 3 * pairs,
                "take the mean over all pairs",
            ),
            "the pairs of a ranking are summed": (
                expected * pairs,
                "K − 1 times too many gradients for each response: average",
            ),
            "the rankings are summed, not averaged": (
                expected * 3,
                "take the mean over the rankings as well",
            ),
            "the sum is divided by K and not by the pairs": (
                expected * pairs / K,
                f"a ranking of {K} holds {pairs} pairs",
            ),
            "the sum is divided by K − 1 and not by the pairs": (
                expected * pairs / (K - 1),
                f"a ranking of {K} holds {pairs} pairs",
            ),
            "the sum is divided by K² and not by the pairs": (
                expected * pairs / K**2,
                f"a ranking of {K} holds {pairs} pairs",
            ),
            "the sum is divided by K (K − 1): each pair counts half": (
                expected / 2,
                f"a ranking of {K} holds {pairs} pairs",
            ),
            "this is the loss of a whole ranking (Plackett–Luce)": (
                listwise,
                "here each pair has its own loss",
            ),
        },
    )
    raise Mistake("this is not the mean loss of all pairs of each ranking", next=PAIRS)


@ranking_loss.check(points=1)
def takes_any_number_of_responses(student, seed):
    for K in (2, 3, 6):
        rewards = randoms(seed + K, 2, K)
        told = f"with {K} responses"
        try:
            value = number(student(rewards.clone()))
        except IndexError:
            raise Mistake(
                f"{told}, one is asked for that is not there", next="K is rewards.shape[1]"
            ) from None
        if not close(value, reward.ranking_loss(rewards)):
            raise Mistake(
                f"{told}, this is not the mean loss of the {K * (K - 1) // 2} pairs",
                next="K is rewards.shape[1]",
            )


@ranking_loss.check(points=1)
def passes_a_rankings_gradient(student, seed):
    needs_gradients(
        student,
        reward.ranking_loss,
        {"rewards": randoms(seed, 3, 4)},
        next="check which pairs count and what you divide by",
    )


# Best of n ----------------------------------------------------------------------------------------

choose_best = Exercise("reward.best_of_n", reference=best_of_n.best_of_n, minutes=5, difficulty=1)


def kept(student, rewards: Tensor) -> Tensor:
    """The indices as returned, int (prompts,)."""
    mine = rewards.clone()
    given = student(mine)
    needs_something(given)
    if not torch.equal(mine, rewards):
        raise Mistake("rewards is changed in place", next="argmax needs no change of the rewards")
    if getattr(given, "shape", None) == rewards.shape:
        raise Mistake(
            "one index for each prompt is expected, not one number for each response",
            next="argmax(-1)",
        )
    value = numbers(given, (len(rewards),), "the result", next="one index for each prompt")
    if close(value, rewards.amax(-1)):
        raise Mistake(
            "these are the highest rewards, not their places",
            next="argmax tells where the maximum is",
        )
    kind = torch.as_tensor(given).dtype
    if kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise Mistake(
            f"an index is a whole number, and these are {str(kind).removeprefix('torch.')}",
            next="argmax gives whole numbers",
        )
    return value


@choose_best.check(points=2)
def keeps_the_highest_reward(student, seed):
    rewards = randoms(seed, 5, 4)
    # The best of the first prompts stand in other columns than their worst, and not all in one
    # column.
    rewards[torch.arange(5), torch.tensor([3, 0, 2, 1, 2])] += 6
    value = kept(student, rewards)
    if close(value, rewards.argmax(-1)):
        return
    diagnose(
        value,
        {
            "the worst response is kept": (rewards.argmin(-1), "the highest reward is the best"),
            "the index counts through all prompts": (
                rewards.argmax(-1) + 4 * torch.arange(5),
                "it counts the responses of one prompt",
            ),
            "the index counts from 1": (
                rewards.argmax(-1) + 1,
                "the first response has the index 0",
            ),
            "the index counts from the end": (
                rewards.argmax(-1) - 4,
                "the first response has the index 0",
            ),
        },
    )
    raise Mistake(
        "the response with the highest reward is not kept",
        next="one argmax for each prompt, along its responses",
    )


@choose_best.check(points=1)
def keeps_the_first_of_equals(student, seed):
    rewards = randoms(seed, 40, 24).clamp(max=2)
    first = random.Random(seed)
    for row in rewards:
        row[first.sample(range(24), 4)] = 3.0
    if not close(kept(student, rewards), rewards.argmax(-1)):
        raise Mistake(
            "of equal rewards, another one than the first is kept",
            next="responses repeat: keep the first, so that every run keeps the same one",
        )


@choose_best.check(points=1)
def refuses_what_is_not_finite(student, seed):
    for value in (float("nan"), float("inf"), float("-inf")):
        rewards = randoms(seed, 3, 4)
        kept(student, rewards)
        rewards[1, 2] = value
        try:
            student(rewards)
        except Exception:
            continue
        taken = ", and argmax takes it for the best" if value != value else ""
        raise Mistake(
            f"a reward of {value} is let through{taken}",
            next="raise a FloatingPointError unless torch.isfinite(rewards).all()",
        )


# Find the silent bug ------------------------------------------------------------------------------

batch_rewards = Exercise(
    "reward.silent_bug", reference=reward.batch_rewards, minutes=15, difficulty=3
)


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
    given = [
        (list(prompt), [list(response) for response in responses]) for prompt, responses in rankings
    ]
    value = student(model, given, PAD)
    if given != rankings:
        raise Mistake(
            "the rankings are changed in place",
            next="prompt + response makes a new list, += does not",
        )
    return numbers(
        value,
        (len(rankings), len(rankings[0][1])),
        "the result",
        next="one row for each ranking: view(len(rankings), -1)",
    )


def alone(model: reward.ScalarModel, row: list[int]) -> Tensor:
    """The numbers of one row's prefixes; nothing is padded."""
    ids = torch.tensor([row])
    return model(ids, torch.ones_like(ids, dtype=torch.bool))[0].detach()


@batch_rewards.check(points=2)
def scores_each_response_to_its_prompt(student, seed):
    model, rankings = reward_model(), random_rankings(seed)
    value = scored(student, model, rankings)
    expected = reward.batch_rewards(model, rankings, PAD).detach()
    if close(value, expected):
        return

    def rewards(row) -> Tensor:  # the number at the end of row(prompt, response), for each of them
        return torch.stack(
            [
                torch.stack([alone(model, row(prompt, response))[-1] for response in responses])
                for prompt, responses in rankings
            ]
        )

    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = tokens.pad(rows, PAD)
    at_padding = model(ids, real)[:, -1].view(expected.shape).detach()
    left_out = "the reward model must read what was asked: prompt + response"
    diagnose(
        value,
        {
            "the responses are scored without their prompts: the same words earn the same, whatever was asked": (
                rewards(lambda prompt, response: response),
                left_out,
            ),
            "the prompts are scored, without the responses": (
                rewards(lambda prompt, response: prompt),
                left_out,
            ),
            "the prompt stands behind the response": (
                rewards(lambda prompt, response: response + prompt),
                left_out,
            ),
            "the last token is left out": (
                rewards(lambda prompt, response: (prompt + response)[:-1]),
                "the stop token is scored too",
            ),
            "the number is read in the last column, which is padding in the shorter rows": (
                at_padding,
                "reward_at_end finds the place",
            ),
            "the sign is wrong": (-expected, "return the rewards as they are"),
            "the worst response comes first": (expected.flip(1), "keep the order of the responses"),
            "rewards of different prompts have changed places": (
                expected.T.reshape(expected.shape),
                "list all responses of a prompt in a row",
            ),
            "rewards of different prompts stand in one row": (
                expected.flatten().view(expected.shape[::-1]).T,
                "list all responses of a prompt in a row, then view(len(rankings), -1)",
            ),
        },
    )
    raise Mistake(
        "these are not the rewards of the responses, each after its prompt",
        next="compare with a row that you score alone",
    )


@batch_rewards.check(points=1)
def hears_another_question(student, seed):
    model, rankings = reward_model(), random_rankings(seed)
    before = scored(student, model, rankings)
    (prompt, responses), *rest = rankings[
        ::-1
    ]  # the longest row becomes longer still, and so does the padding
    after = scored(student, model, [(prompt[::-1] + [2, 3, 4, 5, 6, 7], responses), *rest][::-1])
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
    model, rankings = reward_model(), random_rankings(seed)
    needs_parameter_gradients(
        student, reward.batch_rewards, model, randoms(seed, 3, 2), rankings, PAD
    )
