"""Right solutions of lab 01's exercises."""

import torch
import torch.nn.functional as F
from methods import sft, tokens
from methods.tokens import IGNORE


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


def loss_by_pytorch(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def loss_by_selection(logits, labels):
    counts = labels[:, 1:] != -100
    chosen = logits[:, :-1][counts].log_softmax(-1)
    return -chosen[torch.arange(len(chosen)), labels[:, 1:][counts]].mean()


def loss_in_double(logits, labels):
    return sft.sft_loss(logits.double(), labels)


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


RIGHT = {
    "sft.mask_prompt": [mask_by_loop, mask_in_place, mask_by_comprehension],
    "sft.token_log_probs": [by_cross_entropy, by_loops, by_logsumexp],
    "sft.loss": [loss_by_pytorch, loss_by_selection, loss_in_double],
    "sft.sequence_loss": [sequence_by_loop, sequence_by_cross_entropy, sequence_in_double],
    "sft.gradient_step": [step_through_data, step_by_add, step_by_optimizer],
    "sft.silent_bug": [collate_by_pad_sequence, collate_by_filling, collate_as_list],
}
