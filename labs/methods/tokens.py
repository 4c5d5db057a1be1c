"""Token arithmetic that several methods share.

    logits at time t predict token t + 1        so a table about choices is one column shorter

A row is a prompt and its response. `labels` repeats the ids of the tokens that count and holds
IGNORE everywhere else. Every table (batch, time - 1) holds at t what belongs to the choice of token
t + 1; `counts`, a table of bool, is true where that token counts.
"""

from collections.abc import Sequence

import torch
from methods.arguments import check_shape, check_tables, check_whole
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

IGNORE = -100  # label of a token that does not count; PyTorch's and transformers' convention

Tokens = tuple[list[int], list[int]]  # ids and labels of one row
Batch = tuple[Tensor, Tensor]  # ids and labels of several rows


# Rows ---------------------------------------------------------------------------------------------


def mask_prompt(prompt: list[int], response: list[int]) -> Tokens:
    """Ids and labels of one example: prompt and response in a row, the prompt's labels IGNORE."""
    return prompt + response, [IGNORE] * len(prompt) + response


def collate(examples: Sequence[Tokens], pad_id: int) -> Batch:
    """Pad (ids, labels) pairs on the right to one length: two int tensors (batch, time).

    Padding gets the label IGNORE by its position, not by its id: where `pad_id` is also the stop
    token, the stop token at the end of a response still counts. Raises ValueError for no example,
    ids and labels of different length, and a pad_id that is none.
    """
    check_pad_id(pad_id)
    if not examples:
        raise ValueError("there is no example to make a batch of: give at least one")
    if any(len(ids) != len(labels) for ids, labels in examples):
        raise ValueError("an example has more ids than labels, or fewer: give one label per token")
    longest = max(len(ids) for ids, _ in examples)
    ids = [ids + [pad_id] * (longest - len(ids)) for ids, _ in examples]
    labels = [labels + [IGNORE] * (longest - len(labels)) for _, labels in examples]
    return torch.tensor(ids), torch.tensor(labels)


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, *, side: str = "right"
) -> tuple[Tensor, Tensor]:
    """Rows of token ids as one tensor.

    returns ids, int (batch, time), and real, bool (batch, time), False on padding

    Raises ValueError for no row, a row without a token, and a pad_id that is none.
    """
    check_pad_id(pad_id)
    if not len(rows) or not all(len(row) for row in rows):
        raise ValueError("there is no row, or one holds no token: give at least one token in each")
    padded = {"batch_first": True, "padding_side": side}
    ids = pad_sequence([torch.tensor(row) for row in rows], padding_value=pad_id, **padded)
    real = pad_sequence(
        [torch.ones(len(row), dtype=torch.bool) for row in rows], padding_value=False, **padded
    )
    return ids, real


def join(
    prompts: Sequence[list[int]], responses: Sequence[list[int]], pad_id: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each prompt with its response, padded on the right.

    returns ids, int (batch, time) · real, bool (batch, time), False on padding · labels, int
    (batch, time), IGNORE on prompt and padding
    """
    examples = [mask_prompt(*pair) for pair in zip(prompts, responses, strict=True)]
    ids, real = pad([ids for ids, _ in examples], pad_id)
    labels, _ = pad([labels for _, labels in examples], IGNORE)
    return ids, real, labels


def check_pad_id(pad_id: int) -> None:
    """Raises ValueError for what cannot stand in a row, such as None."""
    if pad_id is None:
        raise ValueError(
            "pad_id is None, since the tokenizer has no padding token: give its stop token's id"
        )
    check_whole("pad_id", pad_id, least=IGNORE)


# Choices ------------------------------------------------------------------------------------------


def token_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """log π(y_t | x, y_<t) of every token that counts, 0 elsewhere.

    logits: float (batch, time, vocab) · labels: int (batch, time), IGNORE where the token does not
    count · returns float (batch, time - 1): the logits at time t predict the token at t + 1
    """
    check_shape("labels", labels, None, None)
    check_shape("logits", logits, *labels.shape, None)
    logits, labels = logits[:, :-1], labels[:, 1:]
    counts = labels != IGNORE
    log_probs = logits.log_softmax(-1).gather(-1, labels.where(counts, 0).unsqueeze(-1)).squeeze(-1)
    return log_probs.where(counts, 0)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the next-token distribution, in nats: float (..., vocab) → float (...).

    A token that is ruled out (logit −∞) adds 0, the limit of p log p.
    """
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs.where(log_probs > -torch.inf, 0)).sum(-1)


# Tables with places that count --------------------------------------------------------------------


def place(values: Sequence[Sequence[float]], counts: Tensor) -> Tensor:
    """One float per response token, put where `counts` is true, row by row; 0 elsewhere.

    Raises ValueError where a row has more values than places, or fewer.
    """
    check_tables(counts)
    if [len(row) for row in values] != counts.sum(-1).tolist():
        raise ValueError("a row has more values than places that count, or fewer")
    flat = torch.tensor([value for row in values for value in row], device=counts.device)
    return torch.zeros(counts.shape, device=counts.device).masked_scatter(counts, flat)


def last_token(counts: Tensor) -> Tensor:
    """True at the last place of each row that counts: bool (batch, time) → bool (batch, time)."""
    check_tables(counts)
    return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)


def masked_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over the places that count; a scalar, NaN where none does.

    values, counts: (batch, time). What stands elsewhere does not matter, be it NaN.
    """
    check_tables(counts, values=values)
    return values.where(counts, 0).sum() / counts.sum()


def whiten(values: Tensor, counts: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the places that count, 0 elsewhere; float (batch, time).

    Values that are all the same become 0.
    """
    check_tables(counts, values=values)
    if values.dtype == torch.float16:  # which cannot tell the 1e-8 below from 0
        return whiten(values.float(), counts).half()
    centred = values - masked_mean(values, counts)
    # Once more: the rounding of a mean far from 0 would look like a deviation from it.
    centred = centred - masked_mean(centred, counts)
    variance = masked_mean(centred.square(), counts)
    return (centred / (variance + 1e-8).sqrt()).where(counts, 0)
