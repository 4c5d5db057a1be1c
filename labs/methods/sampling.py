"""Sampling responses in batches, with the log-probability of every token that was drawn.

Prompts of different length are padded on the left, so that all of them end at the same column and
the next token of each is one column further. The key–value cache keeps what earlier tokens
contributed, so that each new token costs one column, not the whole row. A response ends with its
stop token, which belongs to it and is scored like any other token.

Left out on purpose: top-k and top-p, which would make the sampler another policy than the one that
is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Samples:
    """One response to each prompt.

    responses: token ids, the stop token included if the model gave it · log_probs: log π(y_t | x,
    y_<t) at the temperature of sampling, one float per token of the response · stopped: whether the
    response ended by itself
    """

    responses: list[list[int]]
    log_probs: list[list[float]]
    stopped: list[bool]


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, *, side: str = "right"
) -> tuple[Tensor, Tensor]:
    """Rows of token ids as one tensor: ids, int (batch, time), and real, bool (batch, time), False
    on padding."""
    padded = dict(batch_first=True, padding_side=side)
    ids = pad_sequence([torch.tensor(row) for row in rows], padding_value=pad_id, **padded)
    real = pad_sequence(
        [torch.ones(len(row), dtype=torch.bool) for row in rows], padding_value=False, **padded
    )
    return ids, real


def inputs(ids: Tensor, real: Tensor) -> dict[str, Tensor]:
    """A causal model's arguments for padded rows, such that padding on either side changes
    nothing."""
    if real[
        :, 0
    ].all():  # all padding comes after the real tokens, where causal attention never looks
        return {"input_ids": ids}
    return {
        "input_ids": ids,
        "attention_mask": real.long(),
        "position_ids": (real.cumsum(-1) - 1).clamp(min=0),
    }


def check_lengths(
    model: torch.nn.Module, prompts: Sequence[list[int]], max_new_tokens: int
) -> None:
    """Raise ValueError for no prompts, an empty one, and one that leaves no room for the
    response."""
    context = getattr(model.config, "max_position_embeddings", None)
    if not prompts or not all(prompts) or max_new_tokens < 1:
        raise ValueError(
            "sampling needs at least one prompt, no empty prompt, and room for at least one new token"
        )
    longest = max(map(len, prompts))
    if context is not None and longest + max_new_tokens > context:
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's context of "
            f"{context}: shorten the prompt or lower max_new_tokens"
        )


@torch.no_grad()
def sample(
    model: torch.nn.Module,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    stop_id: int,
    pad_id: int,
    temperature: float = 1.0,
) -> Samples:
    """Draw one response to each prompt from π(y | x), with torch's global generator.

    A response that has not stopped after max_new_tokens is cut there; `stopped` tells. Raises
    ValueError for a prompt that leaves no room for the response, FloatingPointError for logits that
    are NaN.
    """
    check_lengths(model, prompts, max_new_tokens)
    ids, real = (tensor.to(model.device) for tensor in pad(prompts, pad_id, side="left"))
    positions, cache, open_rows = (real.cumsum(-1) - 1).clamp(min=0), None, real.new_ones(len(ids))
    tokens, log_probs = [], []
    for _ in range(max_new_tokens):
        output = model(
            input_ids=ids,
            attention_mask=real.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        choices = (output.logits[:, -1] / temperature).log_softmax(-1)
        if choices.isnan().any():
            raise FloatingPointError(
                "the policy's logits are NaN: its parameters are spoilt; lower the learning rate"
            )
        drawn = torch.multinomial(choices.exp(), 1)
        # A row that has stopped runs on, so that the batch stays whole; cut_at_stop takes its
        # further tokens away.
        tokens.append(drawn)
        log_probs.append(choices.gather(-1, drawn))
        open_rows = open_rows & (drawn.squeeze(-1) != stop_id)
        if not open_rows.any():
            break
        ids, cache, positions = drawn, output.past_key_values, positions[:, -1:] + 1
        real = torch.cat([real, real.new_ones(len(real), 1)], dim=1)
    return cut_at_stop(torch.cat(tokens, 1).tolist(), torch.cat(log_probs, 1).tolist(), stop_id)


def cut_at_stop(tokens: list[list[int]], log_probs: list[list[float]], stop_id: int) -> Samples:
    """Each row up to and including its first stop token."""
    lengths = [row.index(stop_id) + 1 if stop_id in row else len(row) for row in tokens]
    return Samples(
        responses=[row[:n] for row, n in zip(tokens, lengths)],
        log_probs=[row[:n] for row, n in zip(log_probs, lengths)],
        stopped=[row[n - 1] == stop_id for row, n in zip(tokens, lengths)],
    )
