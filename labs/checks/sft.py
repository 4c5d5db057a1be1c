"""The checks of lab 01's exercises: what each function must do, and the mistake that each failure
points to."""

import functools
import random
from collections.abc import Callable

import torch
from course import Exercise, Mistake
from methods import sft, tokens
from methods.tokens import IGNORE
from torch import Tensor

VOCAB = 11


def random_tokens(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(2, VOCAB) for _ in range(length)]


def random_batch(seed: int, rows: int = 3, time: int = 9) -> tuple[Tensor, Tensor]:
    """Logits (rows, time, VOCAB) and labels (rows, time): a masked prompt, a response, padding;
    lengths differ.

    The second row has a prompt of a single token.
    """
    rng = random.Random(seed)
    logits = torch.randn(rows, time, VOCAB, generator=torch.Generator().manual_seed(seed)) * 2
    labels = torch.full((rows, time), IGNORE)
    for row in range(rows):
        start, length = 1 if row == 1 else rng.randint(2, 4), 1 + row % 4
        labels[row, start : start + length] = torch.tensor(random_tokens(rng, length))
    return logits, labels


def some_number(seed: int, low: float, high: float) -> float:
    """Another number for every seed: an argument is to be used, not what it happened to be in the
    notebook."""
    return random.Random(seed).uniform(low, high)


def twice(test: Callable) -> Callable:
    """The test on a second batch as well: one number, or one mask, may happen to be right on the
    first."""

    @functools.wraps(test)
    def tested(student, seed):
        test(student, seed)
        test(student, seed + 10**6)

    return tested


def close(value, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether a returned tensor or number equals the expected one, whatever its float type."""
    try:
        value = torch.as_tensor(value).detach().to(expected.dtype)
    except (TypeError, ValueError, RuntimeError):
        return False
    return value.shape == expected.shape and torch.allclose(
        value, expected, rtol=tolerance, atol=tolerance
    )


def needs_something(value) -> None:
    if value is None:
        raise Mistake("your function returns nothing", next="end it with return")


def needs_scalar(value) -> None:
    needs_something(value)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise Mistake(
            "the loss must be one number, a tensor without dimensions",
            next="end with a sum or a mean over everything that is left",
        )


# Prompt masking -----------------------------------------------------------------------------------

mask_prompt = Exercise("sft.mask_prompt", reference=tokens.mask_prompt, minutes=5, difficulty=1)


def masked(student, seed: int) -> tuple[list, list, list, list]:
    rng = random.Random(seed)
    ids = rng.sample(range(2, 99), 40)  # no two alike, so that every shift shows
    prompt, response = ids[: rng.randint(3, 30)], ids[30 : 30 + rng.randint(2, 10)]
    result = student(list(prompt), list(response))
    needs_something(result)
    if (
        not isinstance(result, tuple | list)
        or len(result) != 2
        or not all(isinstance(part, list) for part in result)
    ):
        raise Mistake(
            "two lists are expected, the ids and the labels",
            next="return ids, labels, both plain lists",
        )
    return prompt, response, *result


@mask_prompt.check(points=1)
def keeps_every_token(student, seed):
    prompt, response, ids, _ = masked(student, seed)
    if ids == response:
        raise Mistake(
            "the prompt is missing from the ids",
            next="the model must read the prompt: keep it in the ids",
        )
    if ids != prompt + response:
        raise Mistake(
            "the ids are not the prompt followed by the response",
            next="start from prompt + response",
        )


@mask_prompt.check(points=1)
@twice
def ignores_the_prompt(student, seed):
    prompt, _, _, labels = masked(student, seed)
    if labels[: len(prompt)] == prompt:
        raise Mistake(
            "the prompt tokens still count", next=f"give every prompt token the label {IGNORE}"
        )
    if labels[: len(prompt)] != [IGNORE] * len(prompt):
        raise Mistake(
            f"the prompt's labels must all be {IGNORE}",
            next=f"one {IGNORE} per prompt token, no more, no less",
        )


@mask_prompt.check(points=1)
def keeps_the_response(student, seed):
    prompt, response, ids, labels = masked(student, seed)
    if len(labels) != len(prompt) + len(response):
        raise Mistake("ids and labels differ in length", next="one label for each id")
    if labels[len(prompt) :] != response:
        shifted = (
            labels[len(prompt) : -1] == response[1:] or labels[len(prompt) + 1 :] == response[:-1]
        )
        if shifted:
            raise Mistake(
                "the labels are shifted", next="label t belongs to id t; the loss does the shifting"
            )
        raise Mistake(
            "the response's labels are not the response",
            next="copy all of the response, from its first token to its last",
        )


# Log-probabilities of the response ----------------------------------------------------------------

token_log_probs = Exercise(
    "sft.token_log_probs", reference=tokens.token_log_probs, minutes=15, difficulty=2
)


def log_probs_of(student, logits: Tensor, labels: Tensor) -> Tensor:
    value = student(logits.clone().requires_grad_(), labels.clone())
    needs_something(value)
    expected = (labels.shape[0], labels.shape[1] - 1)
    if not isinstance(value, Tensor) or tuple(value.shape) != expected:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise Mistake(
            f"the result must have the shape (batch, time - 1) = {expected}, yours is {got}",
            next="the last logits predict nothing, the first label is predicted by nothing; gather keeps a last "
            "dimension of 1, squeeze it",
        )
    if not value.requires_grad:
        raise Mistake(
            "no gradient flows through the log-probabilities",
            next="no detach, no .item(), no numpy on the way",
        )
    return value.detach()


@token_log_probs.check(points=2)
def predicts_the_next_token(student, seed):
    logits, labels = random_batch(seed)
    counts = labels[:, 1:] != IGNORE
    value = log_probs_of(student, logits, labels)
    if close(value[counts], tokens.token_log_probs(logits, labels)[counts]):
        return
    unshifted = (
        logits.log_softmax(-1)
        .gather(-1, labels.where(labels != IGNORE, 0).unsqueeze(-1))
        .squeeze(-1)
    )
    if close(value[counts], unshifted[:, 1:][counts]):
        raise Mistake(
            "a token is scored by its own position's logits",
            next="the logits at t predict the label at t + 1",
        )
    raw = logits[:, :-1].gather(-1, labels[:, 1:].where(counts, 0).unsqueeze(-1)).squeeze(-1)
    if close(value[counts], raw[counts]):
        raise Mistake(
            "these are logits, not log-probabilities",
            next="normalise over the vocabulary: log_softmax(-1)",
        )
    if close(-value[counts], tokens.token_log_probs(logits, labels)[counts]):
        raise Mistake(
            "the sign is wrong: log-probabilities are at most 0", next="leave the minus to the loss"
        )
    raise Mistake(
        "the log-probabilities are not those of the labels",
        next="gather along the vocabulary with the labels",
    )


@token_log_probs.check(points=1)
@twice
def ignores_what_does_not_count(student, seed):
    logits, labels = random_batch(seed)
    value = log_probs_of(student, logits, labels)
    if not (value[labels[:, 1:] == IGNORE] == 0).all():
        raise Mistake(
            f"tokens labelled {IGNORE} are scored", next="put 0 where the label is to be ignored"
        )


@token_log_probs.check(points=1)
def stands_large_logits(student, seed):
    logits, labels = random_batch(seed)
    value = log_probs_of(student, logits * 100, labels)
    if not torch.isfinite(value).all():
        raise Mistake(
            "large logits give infinities", next="log_softmax is stable, log of softmax is not"
        )


# The loss -----------------------------------------------------------------------------------------

sft_loss = Exercise("sft.loss", reference=sft.sft_loss, minutes=10, difficulty=2)


@sft_loss.check(points=2)
@twice
def is_the_mean_over_response_tokens(student, seed):
    logits, labels = random_batch(seed)
    value, expected = student(logits.clone(), labels.clone()), sft.sft_loss(logits, labels)
    needs_scalar(value)
    if close(value, expected):
        return
    counts = labels[:, 1:] != IGNORE
    if close(-value, expected):
        raise Mistake(
            "the sign is wrong: this rises when the response gets more likely",
            next="negate the log-probability",
        )
    if close(value, expected * counts.sum() / counts.numel()):
        raise Mistake(
            "the mean runs over prompt and padding too",
            next="divide by the number of tokens that count",
        )
    if close(value, expected * counts.sum()):
        raise Mistake(
            "the tokens are summed, not averaged", next="divide by the number of tokens that count"
        )
    if close(value, sft.sequence_loss(logits, labels)):
        raise Mistake(
            "this is the mean over responses, not over tokens",
            next="sum over everything, divide by the tokens",
        )
    per_row = -(tokens.token_log_probs(logits, labels).sum(-1) / counts.sum(-1)).mean()
    if close(value, per_row):
        raise Mistake(
            "the tokens are averaged within each response first",
            next="sum and count over the whole batch",
        )
    raise Mistake(
        "this is not the mean negative log-likelihood of the response tokens",
        next="start from token_log_probs(logits, labels)",
    )


@sft_loss.check(points=1)
def does_not_count_the_prompt(student, seed):
    logits, labels = random_batch(seed)
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed + 1)) * 5
    # The logits that stand two places or more before the first counted label predict the prompt
    # alone.
    before = ((labels.roll(-1, 1) != IGNORE).cumsum(-1) == 0).unsqueeze(-1)
    one, two, three = (
        student(each, labels.clone())
        for each in (logits, logits + noise * before, logits + noise * ~before)
    )
    needs_scalar(one)
    if not close(two, torch.as_tensor(one).detach()):
        raise Mistake(
            "the prompt tokens are being counted", next=f"leave out every token labelled {IGNORE}"
        )
    if close(three, torch.as_tensor(one).detach()):
        raise Mistake(
            "the response's tokens do not count either",
            next="score each token by the logits before it",
        )


@sft_loss.check(points=1)
def passes_the_gradient(student, seed):
    logits, labels = random_batch(seed)
    mine, theirs = (logits.clone().requires_grad_() for _ in range(2))
    value = student(mine, labels.clone())
    needs_scalar(value)
    if not value.requires_grad:
        raise Mistake(
            "no gradient flows through the loss", next="no detach, no .item(), no numpy on the way"
        )
    value.backward()
    sft.sft_loss(theirs, labels).backward()
    if not close(mine.grad, theirs.grad):
        raise Mistake(
            "the gradient is not that of the mean negative log-likelihood",
            next="check what you divide by, and that nothing is detached",
        )


# The other convention -----------------------------------------------------------------------------

sequence_loss = Exercise("sft.sequence_loss", reference=sft.sequence_loss, minutes=5, difficulty=1)


@sequence_loss.check(points=2)
@twice
def sums_each_response_then_averages(student, seed):
    logits, labels = random_batch(seed)
    value, expected = student(logits.clone(), labels.clone()), sft.sequence_loss(logits, labels)
    needs_scalar(value)
    if close(value, expected):
        return
    if close(-value, expected):
        raise Mistake(
            "the sign is wrong: this rises when the response gets more likely",
            next="negate the log-probability",
        )
    if close(value, sft.sft_loss(logits, labels)):
        raise Mistake(
            "this is the mean over tokens again", next="sum over time, then mean over the batch"
        )
    if close(value, expected * len(labels)):
        raise Mistake("the responses are summed, not averaged", next="take the mean over the batch")
    raise Mistake(
        "this is not the sum over each response, averaged over the batch",
        next="sum(-1) first, then mean()",
    )


@sequence_loss.check(points=1)
def weighs_by_length(student, seed):
    rng = random.Random(seed)
    few, times = rng.randint(2, 5), rng.randint(5, 10)
    labels = torch.full((2, few * times + 2), IGNORE)
    labels[0, 1 : 1 + few], labels[1, 1 : 1 + few * times] = 3, 3
    logits = torch.zeros(*labels.shape, VOCAB, requires_grad=True)
    value = student(logits, labels)
    needs_scalar(value)
    if not value.requires_grad:
        raise Mistake(
            "no gradient flows through the loss", next="no detach, no .item(), no numpy on the way"
        )
    value.backward()
    short, long = logits.grad[0].abs().sum(), logits.grad[1].abs().sum()
    if not close(long / short, torch.tensor(float(times)), 1e-3):
        raise Mistake(
            f"a response of {few * times} tokens must pull {times} times as hard as one of {few}",
            next="do not divide by a response's length",
        )


# The update ---------------------------------------------------------------------------------------

gradient_step = Exercise("sft.gradient_step", reference=sft.gradient_step, minutes=10, difficulty=2)


def parameters_with_gradients(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    parameters = [
        torch.randn(shape, generator=generator).requires_grad_() for shape in ((3, 2), (4,))
    ]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return parameters


@gradient_step.check(points=2)
def goes_down_the_gradient(student, seed):
    parameters = parameters_with_gradients(seed)
    before = [p.detach().clone() for p in parameters]
    gradients = [p.grad.clone() for p in parameters]
    rate = some_number(seed, 0.05, 0.3)
    student(parameters, rate)
    moved = [p.detach() - b for p, b in zip(parameters, before)]
    if all((m == 0).all() for m in moved):
        raise Mistake(
            "the parameters have not moved",
            next="change them in place: p -= … under torch.no_grad()",
        )
    if all(close(m, rate * g) for m, g in zip(moved, gradients)):
        raise Mistake("this climbs the gradient", next="subtract")
    factor = (moved[0] / gradients[0]).mean()
    if not close(-factor, torch.tensor(rate)) and all(
        close(m, factor * g) for m, g in zip(moved, gradients)
    ):
        raise Mistake(
            f"the learning rate is not used: it is {rate:.3f}, and the parameters moved by {factor:.3f} "
            "times their gradients",
            next="multiply the gradient by learning_rate",
        )
    if not all(close(m, -rate * g) for m, g in zip(moved, gradients)):
        raise Mistake(
            "not every parameter moved by -learning_rate * gradient", next="loop over all of them"
        )


@gradient_step.check(points=1)
def leaves_no_gradient_behind(student, seed):
    parameters = parameters_with_gradients(seed)
    frozen = torch.ones(2)
    try:
        student([frozen, *parameters], some_number(seed, 0.05, 0.3))
    except (TypeError, AttributeError):
        raise Mistake(
            "a parameter without a gradient stops the step", next="skip it where p.grad is None"
        ) from None
    if not (frozen == 1).all():
        raise Mistake(
            "a parameter without a gradient was changed", next="skip it where p.grad is None"
        )
    if any(p.grad is not None and (p.grad != 0).any() for p in parameters):
        raise Mistake(
            "the gradients stay and would be added to the next ones",
            next="set p.grad = None after the step",
        )


# Find the silent bug ------------------------------------------------------------------------------

collate = Exercise("sft.silent_bug", reference=tokens.collate, minutes=20, difficulty=3)


def collated(student, seed: int, pad_id: int) -> tuple[list, Tensor, Tensor]:
    rng = random.Random(seed)
    examples = []
    for _ in range(3):
        prompt, response = (
            random_tokens(rng, rng.randint(2, 4)),
            random_tokens(rng, rng.randint(1, 5)) + [1],
        )
        examples.append(tokens.mask_prompt(prompt, response))
    examples.append(
        tokens.mask_prompt([5], [1])
    )  # certainly shorter than the others, so that there is padding
    result = student([(list(ids), list(labels)) for ids, labels in examples], pad_id)
    needs_something(result)
    if (
        not isinstance(result, tuple | list)
        or len(result) != 2
        or not all(isinstance(t, Tensor) for t in result)
    ):
        raise Mistake(
            "two tensors are expected, the ids and the labels",
            next="return torch.tensor(ids), torch.tensor(labels)",
        )
    ids, labels = result
    if ids.shape != labels.shape or ids.is_floating_point() or labels.is_floating_point():
        raise Mistake(
            f"ids {tuple(ids.shape)} and labels {tuple(labels.shape)} must be integers of one shape",
            next="pad both to the same length",
        )
    if ids.ndim != 2 or len(ids) != len(examples):
        raise Mistake(
            f"{len(examples)} examples need as many rows, and the ids are {tuple(ids.shape)}",
            next="one row for each example, all of one length: (batch, time)",
        )
    return examples, ids, labels


@collate.check(points=1)
def pads_on_the_right(student, seed):
    pad_id = VOCAB + random.Random(seed).randrange(1, 90)
    examples, ids, _ = collated(student, seed, pad_id)
    longest = max(len(row) for row, _ in examples)
    if ids.tolist() == [[pad_id] * (longest - len(row)) + row for row, _ in examples]:
        raise Mistake(
            "the padding stands on the left",
            next="the training loop relies on padding on the right",
        )
    if (
        ids.shape == (len(examples), longest)
        and all(told[: len(row)] == row for told, (row, _) in zip(ids.tolist(), examples))
        and (ids != pad_id).all()
    ):
        raise Mistake(
            f"the padding is not pad_id: here it must be {pad_id}",
            next="row + [pad_id] * (longest - len(row))",
        )
    if ids.tolist() != [row + [pad_id] * (longest - len(row)) for row, _ in examples]:
        raise Mistake(
            "the ids are not the examples padded to one length",
            next="row + [pad_id] * (longest - len(row))",
        )


@collate.check(points=1)
def ignores_padding(student, seed):
    examples, _, labels = collated(student, seed, pad_id=0)
    for row, (ids, _) in zip(labels.tolist(), examples):
        if any(label != IGNORE for label in row[len(ids) :]):
            raise Mistake(
                "the padding counts as if it were the response",
                next=f"pad the labels with {IGNORE}",
            )


@collate.check(points=2)
def keeps_the_stop_token(student, seed):
    examples, _, labels = collated(student, seed, pad_id=1)
    for row, (ids, expected) in zip(labels.tolist(), examples):
        if row[len(ids) - 1] == IGNORE:
            raise Mistake(
                "the stop token at the end of a response does not count",
                next="here pad_id is the stop token's id: ignore padding by its position, not by its id",
            )
        if row[: len(ids)] != expected:
            raise Mistake(
                "the labels of the real tokens have changed", next="copy them; pad behind them"
            )
