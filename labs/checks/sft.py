"""The checks of lab 01's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import random

import torch
import torch.nn.functional as F
from checks.shared import (
    NO_GRADIENT,
    NOT_FINITE,
    ONE_NUMBER,
    VOCAB,
    WRONG_SHAPE,
    close,
    expect,
    in_place,
    needs_gradient,
    needs_gradients,
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
)
from course import Exercise, Mistake
from course.registry import IN_PLACE_OF_A_LEAF, NEW_TENSOR, SWITCHED_OFF
from methods import sft, tokens
from methods.tokens import IGNORE
from torch import Tensor

# Prompt masking -----------------------------------------------------------------------------------

mask_prompt = Exercise("sft.mask_prompt", reference=tokens.mask_prompt, minutes=5, difficulty=1)
PROMPT_LABELLED = "the prompt tokens still count", f"give every prompt token the label {IGNORE}"
NOT_ALL_IGNORED = (
    f"the prompt's labels must all be {IGNORE}",
    f"one {IGNORE} per prompt token, no more, no less",
)
NOT_THE_RESPONSE = (
    "the response's labels are not the response",
    "copy all of the response, from its first token to its last",
)
TOKEN_0 = ("the token 0 is taken for one that is to be ignored", f"only the label {IGNORE} is")
SHIFTED = "the labels are shifted", "label t belongs to id t; the loss does the shifting"


@mask_prompt.wrong(*PROMPT_LABELLED)
def mask_nothing(prompt, response):
    return prompt + response, prompt + response


@mask_prompt.wrong(*PROMPT_LABELLED)
def mask_response(prompt, response):
    return prompt + response, prompt + [IGNORE] * len(response)


@mask_prompt.wrong(*NOT_ALL_IGNORED)
def short_labels(prompt, response):
    return prompt + response, response


@mask_prompt.wrong(
    "the prompt is missing from the ids", next="the model must read the prompt: keep it in the ids"
)
def drop_prompt(prompt, response):
    return response, response


@mask_prompt.wrong(*SHIFTED)
def shift_labels(prompt, response):
    return prompt + response, [IGNORE] * len(prompt) + response[1:] + [IGNORE]


@mask_prompt.wrong(*SHIFTED)
def shift_labels_to_the_right(prompt, response):
    return prompt + response, [IGNORE] * (len(prompt) + 1) + response[:-1]


@mask_prompt.wrong(*NOT_THE_RESPONSE)
def mask_one_too_many(prompt, response):
    return prompt + response, [IGNORE] * (len(prompt) + 1) + response[1:]


@mask_prompt.wrong(*NOT_THE_RESPONSE)
def lose_stop(prompt, response):
    return prompt + response, [IGNORE] * len(prompt) + response[:-1] + [IGNORE]


@mask_prompt.wrong(
    "tokens of the response that the prompt holds as well do not count",
    next="mask by position, not by token",
)
def mask_by_token(prompt, response):
    ids = prompt + response
    return ids, [IGNORE if token in prompt else token for token in ids]


@mask_prompt.wrong(
    "the response is looked for by its first token, and the prompt may hold that too",
    next="len(prompt) tells where the response begins",
)
def start_by_first_token(prompt, response):
    ids = prompt + response
    start = ids.index(response[0])
    return ids, [IGNORE] * start + ids[start:]


@mask_prompt.wrong(*TOKEN_0)
def response_without_token_0(prompt, response):
    return prompt + response, [IGNORE] * len(prompt) + [token or IGNORE for token in response]


@mask_prompt.wrong(*NOT_THE_RESPONSE)
def masked_after_the_last_token(prompt, response):
    ids, labels = tokens.mask_prompt(prompt, response)
    end = len(prompt) + response.index(response[-1]) + 1 if response else len(ids)
    return ids, labels[:end] + [IGNORE] * (len(ids) - end)


@mask_prompt.wrong(*NOT_THE_RESPONSE)
def masked_from_64_on(prompt, response):
    ids, labels = tokens.mask_prompt(prompt, response)
    return ids, labels[:64] + [IGNORE] * len(labels[64:])


@mask_prompt.wrong(*in_place("prompt"))
def prompt_grows(prompt, response):
    labels = [IGNORE] * len(prompt) + response
    prompt += response
    return prompt, labels


@mask_prompt.wrong(*in_place("response"))
def response_is_the_labels(prompt, response):
    ids = prompt + response
    response[:0] = [IGNORE] * len(prompt)
    return ids, response


def example(seed: int) -> tuple[list[int], list[int]]:
    """A prompt and a response, no two tokens alike, so that every shift shows."""
    rng = random.Random(seed)
    tokens = rng.sample(range(2, 99), 40)
    return tokens[: rng.randint(3, 30)], tokens[30 : 30 + rng.randint(2, 10)]


def repeating_example(seed: int) -> tuple[list[int], list[int]]:
    """A response in words of its prompt: its first token is the prompt's second, and tokens
    repeat, the token 0 and its own last one among them."""
    rng = random.Random(seed)
    prompt = rng.sample(range(2, VOCAB), 2) + random_tokens(rng, rng.randint(2, 7)) + [0]
    return prompt, [prompt[1], 1, *rng.choices(prompt, k=rng.randint(2, 6)), 0, 1]


def long_example(seed: int) -> tuple[list[int], list[int]]:
    """Longer than most that a batch holds."""
    rng = random.Random(seed)
    return random_tokens(rng, rng.randint(20, 60)), random_tokens(rng, rng.randint(90, 120))


def two_lists(value) -> tuple[list, list]:
    needs_something(value)
    if not is_two(value, list):
        raise Mistake(
            "two lists are expected, the ids and the labels",
            next="return ids, labels, both plain lists",
        )
    return tuple(value)


def is_two(value, kind: type) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(part, kind) for part in value)
    )


@mask_prompt.check(points=1)
def keeps_every_token(student, seed):
    expect(
        mask_prompt,
        student,
        example(seed),
        otherwise=(
            "the ids are not the prompt followed by the response",
            "start from prompt + response",
        ),
        read=lambda value, prompt, response: two_lists(value)[0],
    )


@mask_prompt.check(points=1)
@twice
def ignores_the_prompt(student, seed):
    for make in (example, repeating_example):
        expect(
            mask_prompt,
            student,
            make(seed),
            otherwise=NOT_ALL_IGNORED,
            read=lambda value, prompt, response: two_lists(value)[1][: len(prompt)],
        )


@mask_prompt.check(points=1)
def keeps_the_response(student, seed):
    cut_off = example(seed)[0], []
    for prompt, response in (example(seed), repeating_example(seed), long_example(seed), cut_off):
        needs_untouched(mask_prompt, student, (prompt, response))
        _, labels = two_lists(student(list(prompt), list(response)))
        if len(labels) != len(prompt) + len(response):
            raise Mistake("ids and labels differ in length", next="one label for each id")
        expect(
            mask_prompt,
            student,
            (prompt, response),
            otherwise=NOT_THE_RESPONSE,
            read=lambda value, prompt, response: two_lists(value)[1][len(prompt) :],
        )


# Log-probabilities of the response ----------------------------------------------------------------

token_log_probs = Exercise(
    "sft.token_log_probs", reference=tokens.token_log_probs, minutes=15, difficulty=2
)
NOT_THE_LABELS = (
    "the log-probabilities are not those of the labels",
    "gather along the vocabulary with the labels",
)
IGNORED_SCORED = (f"tokens labelled {IGNORE} are scored", "put 0 where the label is to be ignored")
INFINITIES = "large logits give infinities", "log_softmax is stable, log of softmax is not"
TOO_LIKELY = (
    "very unlikely tokens are scored as if they were likelier",
    "log_softmax needs no small number inside the logarithm",
)
ONE_FEWER = (
    "(batch, time - 1): the last logits predict nothing, the first label is predicted by nothing; "
    "gather keeps a last dimension of 1: squeeze(-1) takes it away and leaves the others"
)


def picked(scores: Tensor, labels: Tensor) -> Tensor:
    """The scores (batch, time, vocab) of the labels, 0 where they are to be ignored."""
    counts = labels != IGNORE
    return scores.gather(-1, labels.where(counts, 0).unsqueeze(-1)).squeeze(-1).where(counts, 0)


@token_log_probs.wrong(
    "a token is scored by its own position's logits",
    next="the logits at t predict the label at t + 1",
)
def no_shift(logits, labels):
    return picked(logits.log_softmax(-1), labels)[:, 1:]


@token_log_probs.wrong(
    "these are logits, not log-probabilities", next="normalise over the vocabulary: log_softmax(-1)"
)
def raw_logits(logits, labels):
    return picked(logits[:, :-1], labels[:, 1:])


@token_log_probs.wrong(
    "the sign is wrong: log-probabilities are at most 0", next="leave the minus to the loss"
)
def negated(logits, labels):
    return -tokens.token_log_probs(logits, labels)


@token_log_probs.wrong(*IGNORED_SCORED)
def keep_ignored(logits, labels):
    labels = labels[:, 1:].clamp(min=0)
    return logits[:, :-1].log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


@token_log_probs.wrong(*INFINITIES)
def log_of_softmax(logits, labels):
    return picked(logits[:, :-1].softmax(-1).log(), labels[:, 1:])


@token_log_probs.wrong(
    "the probabilities of a position do not add up to 1 over the vocabulary",
    next="the softmax belongs over the last dimension: log_softmax(-1)",
)
def softmax_over_time(logits, labels):
    return picked(logits[:, :-1].log_softmax(1), labels[:, 1:])


@token_log_probs.wrong(WRONG_SHAPE, next=ONE_FEWER)
def full_length(logits, labels):
    return F.pad(tokens.token_log_probs(logits, labels), (1, 0))


@token_log_probs.wrong(WRONG_SHAPE, next=ONE_FEWER)
def squeezes_all(logits, labels):
    return tokens.token_log_probs(logits, labels).squeeze()


@token_log_probs.wrong(*TOKEN_0)
def ignores_token_0(logits, labels):
    return tokens.token_log_probs(logits, labels.where(labels != 0, IGNORE))


@token_log_probs.wrong(*TOO_LIKELY)
def adds_a_little(logits, labels):
    return picked((logits[:, :-1].softmax(-1) + 1e-8).log(), labels[:, 1:])


@token_log_probs.wrong(*in_place("labels"))
def labels_in_place(logits, labels):
    labels = labels[:, 1:]
    counts = labels != IGNORE
    labels[~counts] = 0
    return picked(logits[:, :-1].log_softmax(-1), labels).where(counts, 0)


@token_log_probs.wrong(*NO_GRADIENT)
def log_probs_detached(logits, labels):
    return tokens.token_log_probs(logits.detach(), labels)


def learning_batch(seed: int) -> tuple[Tensor, Tensor]:
    logits, labels = random_batch(seed)
    return logits.requires_grad_(), labels


def unlikely_batch(seed: int) -> tuple[Tensor, Tensor]:
    """Logits of some hundreds, by which every label is all but impossible."""
    logits, labels = random_batch(seed)
    labelled = F.one_hot(labels[:, 1:].clamp(min=0), VOCAB)
    logits[:, :-1] -= 10 * labelled
    return (100 * logits).requires_grad_(), labels


def log_probs(value, logits: Tensor, labels: Tensor) -> Tensor:
    numbers(value, tuple(labels[:, 1:].shape), next=ONE_FEWER)
    needs_gradient(value)
    return value.detach()


@token_log_probs.check(points=2)
def predicts_the_next_token(student, seed):
    logits, labels = learning_batch(seed)
    for given in ((logits, labels), (logits[2:].detach().requires_grad_(), labels[2:])):
        expect(
            token_log_probs,
            student,
            given,
            otherwise=NOT_THE_LABELS,
            read=lambda value, logits, labels: log_probs(value, logits, labels)[
                labels[:, 1:] != IGNORE
            ],
        )


@token_log_probs.check(points=1)
@twice
def ignores_what_does_not_count(student, seed):
    logits, labels = learning_batch(seed)
    needs_untouched(token_log_probs, student, (logits, labels))
    value = log_probs(student(logits, labels.clone()), logits, labels)
    if not (value[labels[:, 1:] == IGNORE] == 0).all():
        raise Mistake(*IGNORED_SCORED)


@token_log_probs.check(points=1)
def stands_large_logits(student, seed):
    logits, labels = unlikely_batch(seed)
    if not torch.isfinite(log_probs(student(logits, labels.clone()), logits, labels)).all():
        raise Mistake(*INFINITIES)
    expect(token_log_probs, student, (logits, labels), otherwise=TOO_LIKELY)


# The loss -----------------------------------------------------------------------------------------

sft_loss = Exercise("sft.loss", reference=sft.sft_loss, minutes=10, difficulty=2)
NOT_THE_MEAN = (
    "this is not the mean negative log-likelihood of the response tokens",
    "start from token_log_probs(logits, labels)",
)
PROMPT_COUNTS = "the prompt tokens are being counted", f"leave out every token labelled {IGNORE}"
SIGN = (
    "the sign is wrong: this rises when the response gets more likely",
    "negate the log-probability",
)
COUNT = "divide by the number of tokens that count"
FIRST_LABEL = (
    "the first label of a row is counted, and no logits predict it",
    "count in labels[:, 1:], as you score",
)
ACROSS_ROWS = (
    "the last logits of a row predict the first token of the next row",
    "shift before you flatten: logits[:, :-1] and labels[:, 1:]",
)
GAPS = (
    f"tokens labelled {IGNORE} inside a response count",
    "look at each label, not at the first and the last",
)


@sft_loss.wrong(*SIGN)
def wrong_sign(logits, labels):
    return -sft.sft_loss(logits, labels)


@sft_loss.wrong("the mean runs over prompt and padding too", next=COUNT)
def mean_over_all(logits, labels):
    return -tokens.token_log_probs(logits, labels).mean()


@sft_loss.wrong("the tokens are summed, not averaged", next=COUNT)
def sum_of_tokens(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum()


@sft_loss.wrong(
    "this is the mean over responses, not over tokens",
    next="sum over everything, divide by the tokens",
)
def mean_over_responses(logits, labels):
    return sft.sequence_loss(logits, labels)


@sft_loss.wrong(
    "the tokens are averaged within each response first", next="sum and count over the whole batch"
)
def mean_of_means(logits, labels):
    counts = (labels[:, 1:] != IGNORE).sum(-1)
    return -(tokens.token_log_probs(logits, labels).sum(-1) / counts).mean()


@sft_loss.wrong(*PROMPT_COUNTS)
def prompt_counts(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].clamp(min=0).flatten())


@sft_loss.wrong(*ONE_NUMBER)
def unreduced(logits, labels):
    return -tokens.token_log_probs(logits, labels)


@sft_loss.wrong(*NO_GRADIENT)
def detached(logits, labels):
    return sft.sft_loss(logits.detach(), labels)


@sft_loss.wrong(*NO_GRADIENT)
def as_number(logits, labels):
    return sft.sft_loss(logits, labels).item()


@sft_loss.wrong(
    "a token that the model is certain of is left out: its log-probability is 0",
    next="count the labels, not the log-probabilities",
)
def mean_of_what_is_not_0(logits, labels):
    log_probs = tokens.token_log_probs(logits, labels)
    return -log_probs[log_probs != 0].mean()


@sft_loss.wrong(*TOKEN_0)
def token_0_ignored(logits, labels):
    return sft.sft_loss(logits, labels.where(labels != 0, IGNORE))


@sft_loss.wrong(*NOT_THE_MEAN)
def one_token_of_the_prompt(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum() / (labels[:, 2:] != IGNORE).sum()


@sft_loss.wrong(*NOT_THE_MEAN)
def hard_coded(logits, labels):
    return torch.tensor(3.1416, requires_grad=True)


def unmasked_batch(seed: int) -> tuple[Tensor, Tensor]:
    """Rows without a prompt: even the first token has a label, though no logits predict it. The last
    has a prompt, and one token inside its response is masked."""
    logits, _ = random_batch(seed)
    labels = torch.randint(0, VOCAB, (3, 9), generator=torch.Generator().manual_seed(seed))
    labels[2, :3] = labels[2, 5] = IGNORE
    return logits, labels


def sure_of_one(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The batch, with a model that is certain of the first token of the last response."""
    logits = logits.clone()
    place = int((labels[-1] != IGNORE).nonzero()[0])
    logits[-1, place - 1, labels[-1, place]] += 300
    return logits, labels


@sft_loss.wrong(*FIRST_LABEL)
def divides_by_the_first_label_too(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum() / (labels != IGNORE).sum()


@sft_loss.wrong(*ACROSS_ROWS)
def flattens_before_the_shift(logits, labels):
    scores, labels = logits.flatten(0, 1)[:-1], labels.flatten()[1:]
    return F.cross_entropy(scores, labels, ignore_index=IGNORE)


@sft_loss.wrong(*GAPS)
def spans_without_gaps(logits, labels):
    counts = labels[:, 1:] != IGNORE
    inside = (counts.cumsum(-1) > 0) & (counts.flip(-1).cumsum(-1).flip(-1) > 0)
    filled = labels[:, 1:].where(counts, 0).where(inside, IGNORE)
    return -picked(logits[:, :-1].log_softmax(-1), filled).sum() / inside.sum()


@sft_loss.check(points=2)
@twice
def is_the_mean_over_response_tokens(student, seed):
    logits, labels = random_batch(seed)
    expect(sft_loss, student, (logits, labels), otherwise=NOT_THE_MEAN, read=number)
    expect(sft_loss, student, sure_of_one(logits, labels), otherwise=NOT_THE_MEAN, read=number)
    expect(sft_loss, student, unmasked_batch(seed), otherwise=NOT_THE_MEAN, read=number)


@sft_loss.check(points=1)
def does_not_count_the_prompt(student, seed):
    logits, labels = random_batch(seed)
    noise = randoms(seed + 1, *logits.shape) * 5
    # The logits that stand two places or more before the first counted label predict the prompt
    # alone.
    before = ((labels.roll(-1, 1) != IGNORE).cumsum(-1) == 0).unsqueeze(-1)
    loss, other_prompt, other_response = (
        number(student(each, labels.clone()))
        for each in (logits, logits + noise * before, logits + noise * ~before)
    )
    if not close(other_prompt, loss):
        raise Mistake(*PROMPT_COUNTS)
    if close(other_response, loss):
        raise Mistake(
            "the response's tokens do not count either",
            next="score each token by the logits before it",
        )


@sft_loss.check(points=1)
def passes_the_gradient(student, seed):
    check_the_divisor = "check what you divide by, and that nothing is detached"
    needs_gradients(sft_loss, student, random_batch(seed), "logits", next=check_the_divisor)


# The other convention -----------------------------------------------------------------------------

sequence_loss = Exercise("sft.sequence_loss", reference=sft.sequence_loss, minutes=5, difficulty=1)
NOT_THE_SUMS_MEAN = (
    "this is not the sum over each response, averaged over the batch",
    "sum(-1) first, then mean()",
)


@sequence_loss.wrong(*SIGN)
def sequence_wrong_sign(logits, labels):
    return -sft.sequence_loss(logits, labels)


@sequence_loss.wrong(
    "this is the mean over tokens again", next="sum over time, then mean over the batch"
)
def mean_over_tokens(logits, labels):
    return sft.sft_loss(logits, labels)


@sequence_loss.wrong(*NO_GRADIENT)
def sequence_detached(logits, labels):
    return sft.sequence_loss(logits.detach(), labels)


sequence_loss.wrong("the responses are summed, not averaged", next="take the mean over the batch")(
    sum_of_tokens
)
sequence_loss.wrong(*NOT_THE_SUMS_MEAN)(mean_of_means)
sequence_loss.wrong(*NOT_THE_SUMS_MEAN)(hard_coded)


@sequence_loss.wrong(*ACROSS_ROWS)
def sums_across_rows(logits, labels):
    scores, targets = logits.flatten(0, 1)[:-1], labels.flatten()[1:]
    return F.cross_entropy(scores, targets, ignore_index=IGNORE, reduction="sum") / len(labels)


@sequence_loss.wrong(*FIRST_LABEL)
def mean_times_length_with_the_first_label(logits, labels):
    lengths = (labels != IGNORE).sum(-1).float()
    return sft.sft_loss(logits, labels) * lengths.mean()


@sequence_loss.wrong("the responses are summed, not averaged", next="take the mean over the batch")
def squeezes_a_single_place(logits, labels):
    log_probs = tokens.token_log_probs(logits, labels).squeeze()
    return -log_probs.sum(-1).mean()


@sequence_loss.wrong("the responses are not averaged over their number", next="mean over the batch")
def three_responses(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum() / 3


@sequence_loss.wrong(*NOT_FINITE)
def logarithm_of_a_product(logits, labels):
    return -tokens.token_log_probs(logits, labels).exp().prod(-1).log().mean()


@sequence_loss.check(points=2)
@twice
def sums_each_response_then_averages(student, seed):
    logits, labels = random_batch(seed)
    one_place = logits[:, :2], labels[:, :2].where(labels[:, :2] != IGNORE, 4)
    more = random_batch(seed, rows=random.Random(seed).choice((4, 5)))
    for given in ((logits, labels), more, unmasked_batch(seed), one_place, (60 * logits, labels)):
        expect(sequence_loss, student, given, otherwise=NOT_THE_SUMS_MEAN, read=number)


@sequence_loss.check(points=1)
def weighs_by_length(student, seed):
    rng = random.Random(seed)
    few, times = rng.randint(2, 3), rng.randint(5, 10)
    labels = torch.full((2, few * times + rng.randint(2, 20)), IGNORE)
    labels[0, 1 : 1 + few], labels[1, 1 : 1 + few * times] = 3, 3
    logits = torch.zeros(*labels.shape, VOCAB, requires_grad=True)
    value = student(logits, labels)
    number(value)
    needs_gradient(value)
    value.backward()
    short, long = logits.grad[0].abs().sum(), logits.grad[1].abs().sum()
    if not close(long / short, torch.tensor(float(times)), 1e-3):
        raise Mistake(
            f"a response of {few * times} tokens must pull {times} times as hard as one of {few}",
            next="do not divide by a response's length",
        )


# The update ---------------------------------------------------------------------------------------

gradient_step = Exercise("sft.gradient_step", reference=sft.gradient_step, minutes=10, difficulty=2)
NOT_MOVED = ("the parameters have not moved", "change them in place: p -= … under torch.no_grad()")
RATE_UNUSED = "the learning rate is not used", "multiply the gradient by learning_rate"
NOT_EVERY = ("not every parameter moved by -learning_rate * gradient", "loop over all of them")
GRADIENT_STAYS = (
    "the gradients stay and would be added to the next ones",
    "set p.grad = None after the step",
)
STOPS_EARLY = (
    "the step ends at the first parameter without a gradient",
    "skip that one and go on with the next: continue, not break",
)
NO_MORE_GRADIENTS = (
    "after the step the parameters require no gradient any more",
    "leave requires_grad alone: `with torch.no_grad():` is enough",
)
STUMBLES = ("a parameter without a gradient stops the step", "skip it where p.grad is None")


@gradient_step.wrong(*NOT_MOVED)
@torch.no_grad()
def rebind(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p = p - learning_rate * p.grad


@gradient_step.wrong(
    "your function raised AttributeError: 'NoneType' object has no attribute 'zero_'",
    next=NEW_TENSOR,
)
@torch.no_grad()
def rebind_and_clear(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p = p - learning_rate * p.grad
            p.grad.zero_()


@gradient_step.wrong("this climbs the gradient", next="subtract")
@torch.no_grad()
def climb(parameters, learning_rate):
    sft.gradient_step(parameters, -learning_rate)


@gradient_step.wrong(*RATE_UNUSED)
@torch.no_grad()
def no_rate(parameters, learning_rate):
    sft.gradient_step(parameters, 1)


gradient_step.wrong(*RATE_UNUSED)(with_the_notebooks(gradient_step, "learning_rate"))


@gradient_step.wrong(*NOT_EVERY)
@torch.no_grad()
def first_only(parameters, learning_rate):
    sft.gradient_step([p for p in parameters if p.grad is not None][:1], learning_rate)


@gradient_step.wrong(*GRADIENT_STAYS)
@torch.no_grad()
def keep_gradient(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad


@gradient_step.wrong(*STUMBLES)
@torch.no_grad()
def stumble(parameters, learning_rate):
    for p in parameters:
        p -= learning_rate * p.grad
        p.grad = None


@gradient_step.wrong(*STOPS_EARLY)
@torch.no_grad()
def stops_at_none(parameters, learning_rate):
    for p in parameters:
        if p.grad is None:
            break
        p -= learning_rate * p.grad
        p.grad = None


@gradient_step.wrong(*NO_MORE_GRADIENTS)
def frozen_for_good(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p.requires_grad_(False)
            p -= learning_rate * p.grad
            p.grad = None


@gradient_step.wrong(*SWITCHED_OFF)
def switched_off_for_good(parameters, learning_rate):
    torch.set_grad_enabled(False)
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad
            p.grad = None


@gradient_step.wrong(
    "your function raised RuntimeError: a leaf Variable that requires grad", next=IN_PLACE_OF_A_LEAF
)
def without_no_grad(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad


def parameters_with_gradients(seed: int) -> list[Tensor]:
    parameters = [randoms(seed, 3, 2).requires_grad_(), randoms(seed + 1, 4).requires_grad_()]
    for place, parameter in enumerate(parameters):
        parameter.grad = randoms(seed + 2 + place, *parameter.shape)
    return parameters


def as_left(value, parameters: list[Tensor], learning_rate: float) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def needs_the_rate(student, seed: int, rate: float) -> None:
    """Another constant than those of the wrong solutions may stand in the rate's place, too."""
    before, once, again = (parameters_with_gradients(seed) for _ in range(3))
    student(once, rate)
    student(again, 2 * rate)
    before, once, again = (as_left(None, each, rate) for each in (before, once, again))
    if close(once, again) and not close(once, before):
        raise Mistake(f"{RATE_UNUSED[0]}: {rate:.3f} and twice that move alike", RATE_UNUSED[1])


@gradient_step.check(points=2)
def goes_down_the_gradient(student, seed):
    parameters, rate = parameters_with_gradients(seed), some_number(seed, 0.05, 0.3)
    needs_the_rate(student, seed, rate)
    expect(gradient_step, student, (parameters, rate), otherwise=NOT_EVERY, read=as_left)


@gradient_step.wrong(*NOT_MOVED)
def new_ones_in_the_list(parameters, learning_rate):
    for place, parameter in enumerate(parameters):
        if parameter.grad is not None:
            parameters[place] = (parameter - learning_rate * parameter.grad).detach()
            parameters[place].requires_grad_()


@gradient_step.check(points=1)
def leaves_no_gradient_behind(student, seed):
    alone = parameters_with_gradients(seed)
    student(list(alone), some_number(seed, 0.05, 0.3))
    if all(torch.equal(now, before) for now, before in zip(alone, parameters_with_gradients(seed))):
        raise Mistake(*NOT_MOVED)
    parameters, frozen = parameters_with_gradients(seed), torch.ones(2)
    try:
        student([frozen, *parameters], some_number(seed, 0.05, 0.3))
    except (TypeError, AttributeError):
        raise Mistake(*STUMBLES) from None
    if not (frozen == 1).all():
        raise Mistake("a parameter without a gradient was changed", next=STUMBLES[1])
    begun = parameters_with_gradients(seed)
    if all(torch.equal(now, before) for now, before in zip(parameters, begun)):
        raise Mistake(*STOPS_EARLY)
    if any(p.grad is not None and (p.grad != 0).any() for p in parameters):
        raise Mistake(*GRADIENT_STAYS)
    if not all(p.requires_grad for p in parameters):
        raise Mistake(*NO_MORE_GRADIENTS)


# Find the silent bug ------------------------------------------------------------------------------

collate = Exercise("sft.silent_bug", reference=tokens.collate, minutes=20, difficulty=3)
PADDING_COUNTS = ("the padding counts as if it were the response", f"pad the labels with {IGNORE}")
STOP_IGNORED = (
    "the stop token at the end of a response does not count",
    "here pad_id is the stop token's id: ignore padding by its position, not by its id",
)
LABELS_LEFT = (
    "the labels are padded on the left, and the ids are not",
    f"each label belongs under its id: row + [{IGNORE}] * (longest - len(row))",
)
NOT_PADDED = (
    "the ids are not the examples padded to one length",
    "row + [pad_id] * (longest - len(row))",
)
NOT_PAD_ID = "the padding is not pad_id", "row + [pad_id] * (longest - len(row))"
TWO_TENSORS = (
    "two tensors are expected, the ids and the labels",
    "return torch.tensor(ids), torch.tensor(labels)",
)
LABELS_CHANGED = "the labels of the real tokens have changed", "copy them; pad behind them"
AS_MANY_ROWS = (
    "4 examples need as many rows",
    "one row for each example, all of one length: (batch, time)",
)


@collate.wrong(*STOP_IGNORED)
def mask_by_id(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    return ids, ids.masked_fill(ids == pad_id, IGNORE)


@collate.wrong(*STOP_IGNORED)
def mask_labels_by_id(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    return ids, labels.masked_fill(labels == pad_id, IGNORE)


@collate.wrong(*PADDING_COUNTS)
def padding_counts(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    return tuple(
        torch.tensor([part + [pad_id] * (longest - len(part)) for part in parts])
        for parts in zip(*examples)
    )


@collate.wrong(
    "the padding stands on the left", next="the training loop relies on padding on the right"
)
def pad_left(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    return tuple(
        torch.tensor([[fill] * (longest - len(part)) + part for part in parts])
        for parts, fill in zip(zip(*examples), (pad_id, IGNORE))
    )


@collate.wrong(*LABELS_LEFT)
def pads_the_labels_left(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    labels = [[IGNORE] * (longest - len(labels)) + labels for _, labels in examples]
    return tokens.collate(examples, pad_id)[0], torch.tensor(labels)


@collate.wrong(*NOT_PAD_ID)
def pads_with_0(examples, pad_id):
    return tokens.collate(examples, 0)


@collate.wrong(*NOT_PAD_ID)
def pads_with_ignore(examples, pad_id):
    return tokens.collate(examples, IGNORE)


@collate.wrong(*NOT_PADDED)
def cut_to_shortest(examples, pad_id):
    shortest = min(len(ids) for ids, _ in examples)
    return tuple(torch.tensor([part[:shortest] for part in parts]) for parts in zip(*examples))


@collate.wrong(*AS_MANY_ROWS)
def no_rows(examples, pad_id):
    return torch.empty(0, 0, dtype=torch.long), torch.empty(0, 0, dtype=torch.long)


@collate.wrong(*in_place("examples"))
def examples_grow(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    for ids, labels in examples:
        labels += [IGNORE] * (longest - len(labels))
        ids += [pad_id] * (longest - len(ids))
    return tuple(torch.tensor(part) for part in zip(*examples))


@collate.wrong(*TWO_TENSORS)
def lists_only(examples, pad_id):
    return tuple(t.tolist() for t in tokens.collate(examples, pad_id))


def four_examples(seed: int) -> list[sft.Tokens]:
    """Of different length; the last one is certainly shorter than the others, so that there is
    padding.

    The prompt of the second holds a stop token and its response two, the third was cut off before
    it ended.
    """
    rng = random.Random(seed)
    prompts = [random_tokens(rng, rng.randint(2, 7)) for _ in range(3)]
    prompts[1][0] = 1
    responses = [random_tokens(rng, length) for length in (rng.randint(1, 2), 5, rng.randint(2, 3))]
    responses[1][rng.randint(1, 3)] = 1
    return [
        *(
            tokens.mask_prompt(prompt, response + ending)
            for prompt, response, ending in zip(prompts, responses, ([1], [1], []))
        ),
        tokens.mask_prompt([5], [1]),
    ]


def two_tensors(value, examples: list[sft.Tokens], pad_id: int) -> tuple[list, list]:
    """The rows of ids and labels."""
    needs_something(value)
    if not is_two(value, Tensor):
        raise Mistake(*TWO_TENSORS)
    ids, labels = value
    if ids.shape != labels.shape or ids.is_floating_point() or labels.is_floating_point():
        raise Mistake(
            f"ids {tuple(ids.shape)} and labels {tuple(labels.shape)} "
            "must be integers of one shape",
            next="pad both to the same length",
        )
    if ids.ndim != 2 or len(ids) != len(examples):
        raise Mistake(f"{AS_MANY_ROWS[0]}, and the ids are {tuple(ids.shape)}", AS_MANY_ROWS[1])
    return ids.tolist(), labels.tolist()


def labels_of(student, seed: int, pad_id: int) -> list[tuple[list, list]]:
    """Of each example: the labels as returned, and those without padding."""
    examples = four_examples(seed)
    ids, labels = two_tensors(student(four_examples(seed), pad_id), examples, pad_id)
    if any(row[: len(real)] != real for row, (real, _) in zip(ids, examples)):
        raise Mistake(*NOT_PADDED)
    return list(zip(labels, [right for _, right in examples]))


@collate.wrong(*STOP_IGNORED)
def ends_at_the_first_stop(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    after = (ids == 1).cumsum(-1) - (ids == 1).long() > 0
    return ids, labels.where(~after, IGNORE)


@collate.wrong(*STOP_IGNORED)
def ends_at_the_first_stop_of_the_response(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    after = (labels == 1).cumsum(-1) - (labels == 1).long() > 0
    return ids, labels.where(~after, IGNORE)


@collate.wrong(*LABELS_CHANGED)
def stops_every_row(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    for row, (real, _) in enumerate(examples):
        labels[row, len(real) - 1] = 1
    return ids, labels


@collate.check(points=1)
def pads_on_the_right(student, seed):
    pad_id = VOCAB + random.Random(seed).randrange(1, 90)
    needs_untouched(collate, student, (four_examples(seed), pad_id))
    expect(
        collate,
        student,
        (four_examples(seed), pad_id),
        otherwise=NOT_PADDED,
        read=lambda *returned: two_tensors(*returned)[0],
    )


@collate.check(points=1)
def ignores_padding(student, seed):
    for labels, right in labels_of(student, seed, pad_id=0):
        padding = len(labels) - len(right)
        if padding and labels == [IGNORE] * padding + right:
            raise Mistake(*LABELS_LEFT)
        if any(label != IGNORE for label in labels[len(right) :]):
            raise Mistake(*PADDING_COUNTS)


@collate.check(points=2)
def keeps_the_stop_token(student, seed):
    for labels, right in labels_of(student, seed, pad_id=1):
        if labels[len(right) - 1] == IGNORE:
            raise Mistake(*STOP_IGNORED)
        if labels[: len(right)] != right:
            raise Mistake(*LABELS_CHANGED)
