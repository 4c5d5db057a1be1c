"""How well lab 01's checks tell right from wrong: a bank of wrong solutions and one of unusual but
correct ones.

Each wrong solution carries the words that its check must say.
"""

import math

import checks.sft
import pytest
import torch
import torch.nn.functional as F
from banks import by_heart, cases, points, public_calls
from course import find
from methods import sft, tokens
from methods.tokens import IGNORE

SEEDS = range(1, 21)  # 0 is the notebook's: who knows its answers by heart is right there


# Prompt masking -----------------------------------------------------------------------------------


def mask_nothing(prompt, response):
    return prompt + response, prompt + response


def mask_response(prompt, response):
    return prompt + response, prompt + [IGNORE] * len(response)


def drop_prompt(prompt, response):
    return response, response


def mask_one_too_many(prompt, response):
    return prompt + response, [IGNORE] * (len(prompt) + 1) + response[1:]


def shift_labels(prompt, response):
    return prompt + response, [IGNORE] * len(prompt) + response[1:] + [IGNORE]


def short_labels(prompt, response):
    return prompt + response, response


def lose_stop(prompt, response):
    return prompt + response, [IGNORE] * len(prompt) + response[:-1] + [IGNORE]


def mask_by_loop(prompt, response):
    ids, labels = [], []
    for token in prompt:
        ids.append(token)
        labels.append(-100)
    for token in response:
        ids.append(token)
        labels.append(token)
    return ids, labels


def mask_in_place(prompt, response):
    ids = list(prompt)
    ids.extend(response)
    labels = ids.copy()
    labels[: len(prompt)] = [IGNORE] * len(prompt)
    return [ids, labels]


def mask_by_comprehension(prompt, response):
    ids = [*prompt, *response]
    return ids, [token if i >= len(prompt) else IGNORE for i, token in enumerate(ids)]


# Log-probabilities --------------------------------------------------------------------------------


def no_shift(logits, labels):
    counts = labels != IGNORE
    picked = (
        logits.log_softmax(-1)
        .gather(-1, labels.where(counts, 0).unsqueeze(-1))
        .squeeze(-1)
        .where(counts, 0)
    )
    return picked[:, 1:]


def raw_logits(logits, labels):
    labels = labels[:, 1:]
    counts = labels != IGNORE
    return (
        logits[:, :-1]
        .gather(-1, labels.where(counts, 0).unsqueeze(-1))
        .squeeze(-1)
        .where(counts, 0)
    )


def keep_ignored(logits, labels):
    labels = labels[:, 1:]
    return logits[:, :-1].log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)


def negated(logits, labels):
    return -tokens.token_log_probs(logits, labels)


def log_of_softmax(logits, labels):
    labels = labels[:, 1:]
    counts = labels != IGNORE
    return (
        logits[:, :-1]
        .softmax(-1)
        .gather(-1, labels.where(counts, 0).unsqueeze(-1))
        .squeeze(-1)
        .log()
        .where(counts, 0)
    )


def softmax_over_time(logits, labels):
    labels = labels[:, 1:]
    counts = labels != IGNORE
    return (
        logits[:, :-1]
        .log_softmax(1)
        .gather(-1, labels.where(counts, 0).unsqueeze(-1))
        .squeeze(-1)
        .where(counts, 0)
    )


def full_length(logits, labels):
    return F.pad(tokens.token_log_probs(logits, labels), (1, 0))


def by_cross_entropy(logits, labels):
    flat = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none", ignore_index=IGNORE
    )
    return -flat.view(labels.shape[0], -1)


def by_loops(logits, labels):
    result = torch.zeros(labels.shape[0], labels.shape[1] - 1)
    for row in range(labels.shape[0]):
        for t in range(labels.shape[1] - 1):
            if labels[row, t + 1] != IGNORE:
                result[row, t] = logits[row, t].log_softmax(0)[labels[row, t + 1]]
    return result


def by_logsumexp(logits, labels):
    logits, labels = logits[:, :-1].double(), labels[:, 1:]
    picked = torch.take_along_dim(logits, labels.clamp(min=0)[..., None], -1)[..., 0]
    return (picked - logits.logsumexp(-1)) * (labels != IGNORE)


# The loss -----------------------------------------------------------------------------------------


def mean_over_all(logits, labels):
    return -tokens.token_log_probs(logits, labels).mean()


def sum_of_tokens(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum()


def wrong_sign(logits, labels):
    return -sft.sft_loss(logits, labels)


def mean_of_means(logits, labels):
    counts = (labels[:, 1:] != IGNORE).sum(-1)
    return -(tokens.token_log_probs(logits, labels).sum(-1) / counts).mean()


def prompt_counts(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].clamp(min=0).flatten())


def detached(logits, labels):
    return sft.sft_loss(logits.detach(), labels)


def as_number(logits, labels):
    return sft.sft_loss(logits, labels).item()


def unreduced(logits, labels):
    return -tokens.token_log_probs(logits, labels)


def one_token_of_the_prompt(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum() / (labels[:, 2:] != IGNORE).sum()


def hard_coded(logits, labels):
    return torch.tensor(3.1416, requires_grad=True)


def loss_by_pytorch(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def loss_by_selection(logits, labels):
    counts = labels[:, 1:] != -100
    chosen = logits[:, :-1][counts].log_softmax(-1)
    return -chosen[torch.arange(len(chosen)), labels[:, 1:][counts]].mean()


def loss_in_double(logits, labels):
    return sft.sft_loss(logits.double(), labels)


# The other convention -----------------------------------------------------------------------------


def sequence_sum_over_batch(logits, labels):
    return -tokens.token_log_probs(logits, labels).sum()


def sequence_divided_by_length(logits, labels):
    return mean_of_means(logits, labels)


def sequence_wrong_sign(logits, labels):
    return -sft.sequence_loss(logits, labels)


def sequence_detached(logits, labels):
    return sft.sequence_loss(logits.detach(), labels)


def sequence_by_loop(logits, labels):
    return sum(
        -tokens.token_log_probs(logits[i : i + 1], labels[i : i + 1]).sum()
        for i in range(len(labels))
    ) / len(labels)


def sequence_by_cross_entropy(logits, labels):
    flat = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum", ignore_index=IGNORE
    )
    return flat / labels.shape[0]


def sequence_in_double(logits, labels):
    return sft.sequence_loss(logits.double(), labels)


# The update ---------------------------------------------------------------------------------------


@torch.no_grad()
def climb(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p += learning_rate * p.grad
            p.grad = None


@torch.no_grad()
def no_rate(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p -= p.grad
            p.grad = None


@torch.no_grad()
def rebind(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p = p - learning_rate * p.grad


@torch.no_grad()
def rate_of_the_notebook(parameters, learning_rate):
    sft.gradient_step(parameters, public_calls("sft.gradient_step")[0][1])


@torch.no_grad()
def keep_gradient(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad


@torch.no_grad()
def first_only(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad
            p.grad = None
            break


@torch.no_grad()
def stumble(parameters, learning_rate):
    for p in parameters:
        p -= learning_rate * p.grad
        p.grad = None


def without_no_grad(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad


def step_through_data(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p.data = p.data - learning_rate * p.grad
            p.grad.zero_()


def step_by_add(parameters, learning_rate):
    with torch.no_grad():
        for p in filter(lambda p: p.grad is not None, parameters):
            p.add_(p.grad, alpha=-learning_rate)
            p.grad = None


def step_by_optimizer(parameters, learning_rate):
    optimizer = torch.optim.SGD([p for p in parameters if p.grad is not None], lr=learning_rate)
    optimizer.step()
    optimizer.zero_grad()


# The silent bug -----------------------------------------------------------------------------------


def mask_by_id(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    return ids, ids.masked_fill(ids == pad_id, IGNORE)


def mask_labels_by_id(examples, pad_id):
    ids, labels = tokens.collate(examples, pad_id)
    return ids, labels.masked_fill(labels == pad_id, IGNORE)


def padding_counts(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    return tuple(
        torch.tensor([part + [pad_id] * (longest - len(part)) for part in parts])
        for parts in zip(*examples)
    )


def pads_with_0(examples, pad_id):
    return tokens.collate(examples, 0)


def pad_left(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    return (
        torch.tensor([[pad_id] * (longest - len(ids)) + ids for ids, _ in examples]),
        torch.tensor([[IGNORE] * (longest - len(ids)) + labels for ids, labels in examples]),
    )


def cut_to_shortest(examples, pad_id):
    shortest = min(len(ids) for ids, _ in examples)
    return tuple(torch.tensor([part[:shortest] for part in parts]) for parts in zip(*examples))


def no_rows(examples, pad_id):
    return torch.empty(0, 0, dtype=torch.long), torch.empty(0, 0, dtype=torch.long)


def lists_only(examples, pad_id):
    return tuple(t.tolist() for t in tokens.collate(examples, pad_id))


def collate_by_pad_sequence(examples, pad_id):
    def pad(parts, value):
        return torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(p) for p in parts], batch_first=True, padding_value=value
        )

    return pad([ids for ids, _ in examples], pad_id), pad(
        [labels for _, labels in examples], IGNORE
    )


def collate_by_filling(examples, pad_id):
    shape = len(examples), max(len(ids) for ids, _ in examples)
    ids, labels = torch.full(shape, pad_id), torch.full(shape, IGNORE)
    for row, (a, b) in enumerate(examples):
        ids[row, : len(a)], labels[row, : len(b)] = torch.tensor(a), torch.tensor(b)
    return ids, labels


def collate_as_list(examples, pad_id):
    return list(tokens.collate(examples, pad_id))


WRONG = {
    "sft.mask_prompt": [
        (mask_nothing, "prompt tokens still count"),
        (mask_response, "prompt tokens still count"),
        (drop_prompt, "prompt is missing"),
        (mask_one_too_many, "not the response"),
        (shift_labels, "shifted"),
        (short_labels, "prompt's labels must all be -100"),
        (lose_stop, "not the response"),
        (by_heart("sft.mask_prompt"), "not the prompt followed by the response"),
    ],
    "sft.token_log_probs": [
        (no_shift, "own position's logits"),
        (raw_logits, "logits, not log-probabilities"),
        (keep_ignored, "labelled -100 are scored"),
        (negated, "sign is wrong"),
        (log_of_softmax, "infinities"),
        (softmax_over_time, "not those of the labels"),
        (full_length, "shape"),
        (by_heart("sft.token_log_probs"), "not those of the labels"),
    ],
    "sft.loss": [
        (mean_over_all, "prompt and padding too"),
        (sum_of_tokens, "summed, not averaged"),
        (wrong_sign, "sign is wrong"),
        (mean_of_means, "within each response first"),
        (sft.sequence_loss, "mean over responses"),
        (prompt_counts, "prompt tokens are being counted"),
        (detached, "no gradient flows"),
        (as_number, "one number"),
        (unreduced, "one number"),
        (one_token_of_the_prompt, "not the mean negative"),
        (hard_coded, "not the mean negative"),
        (by_heart("sft.loss"), "not the mean negative"),
    ],
    "sft.sequence_loss": [
        (sft.sft_loss, "mean over tokens again"),
        (sequence_sum_over_batch, "summed, not averaged"),
        (sequence_divided_by_length, "not the sum over each response"),
        (sequence_wrong_sign, "sign is wrong"),
        (sequence_detached, "no gradient flows"),
        (hard_coded, "not the sum over each response"),
        (by_heart("sft.sequence_loss"), "not the sum over each response"),
    ],
    "sft.gradient_step": [
        (climb, "climbs"),
        (no_rate, "learning rate is not used"),
        (rebind, "have not moved"),
        (keep_gradient, "gradients stay"),
        (first_only, "not every parameter"),
        (stumble, "without a gradient stops"),
        (without_no_grad, "RuntimeError"),
        (rate_of_the_notebook, "learning rate is not used"),
        (by_heart("sft.gradient_step"), "have not moved"),
    ],
    "sft.silent_bug": [
        (mask_by_id, "stop token"),
        (mask_labels_by_id, "stop token"),
        (padding_counts, "padding counts"),
        (pad_left, "on the left"),
        (cut_to_shortest, "padded to one length"),
        (lists_only, "two tensors"),
        (pads_with_0, "the padding is not pad_id"),
        (no_rows, "4 examples need as many rows"),
        (by_heart("sft.silent_bug"), "padded to one length"),
    ],
}
RIGHT = {
    "sft.mask_prompt": [tokens.mask_prompt, mask_by_loop, mask_in_place, mask_by_comprehension],
    "sft.token_log_probs": [tokens.token_log_probs, by_cross_entropy, by_loops, by_logsumexp],
    "sft.loss": [sft.sft_loss, loss_by_pytorch, loss_by_selection, loss_in_double],
    "sft.sequence_loss": [
        sft.sequence_loss,
        sequence_by_loop,
        sequence_by_cross_entropy,
        sequence_in_double,
    ],
    "sft.gradient_step": [sft.gradient_step, step_through_data, step_by_add, step_by_optimizer],
    "sft.silent_bug": [
        tokens.collate,
        collate_by_pad_sequence,
        collate_by_filling,
        collate_as_list,
    ],
}


@pytest.mark.parametrize("id, function, said", cases(WRONG))
def test_wrong_solutions_lose_points_and_hear_why(id, function, said):
    for seed in SEEDS:
        earned, mistakes = points(id, function, seed)
        assert earned < find(id).points
        assert any(said in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize("id, function", cases(RIGHT))
def test_correct_solutions_get_full_marks_however_written(id, function):
    for seed in SEEDS:
        assert points(id, function, seed) == (find(id).points, [])


def test_every_exercise_has_its_banks():
    ids = {exercise.id for exercise in vars(checks.sft).values() if hasattr(exercise, "checks")}
    assert ids == set(WRONG) == set(RIGHT)
    assert all(len(WRONG[id]) >= 5 and len(RIGHT[id]) >= 4 for id in ids)


def test_an_empty_function_earns_nothing():
    for id in WRONG:
        assert points(id, lambda *_: None, seed=0)[0] == 0


def test_naive_but_correct_costs_only_the_point_for_stability():
    earned, mistakes = points("sft.token_log_probs", log_of_softmax, seed=3)
    assert (earned, mistakes) == (3, ["large logits give infinities"])
    assert not math.isfinite(
        log_of_softmax(torch.tensor([[[0.0, 9e3], [0, 0]]]), torch.tensor([[IGNORE, 0]]))
    )
