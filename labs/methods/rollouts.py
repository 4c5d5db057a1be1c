"""Rollouts: responses that a policy samples, with what every later update needs to know of them.

    y_t ~ π(· | x, y_<t),  t = 1, 2, …        until the stop token, which belongs to the response

Prompts of different length are padded on the left, so that all of them end at the same column and
the next token of each is one column further. The key–value cache keeps what earlier tokens
contributed, so that each new token costs one column, not the whole row. The stop token is scored
like any other token.

Every model answers in evaluation mode here: with dropout, a response would be scored by another
policy than the one that sampled it.

Left out on purpose: top-k and top-p, which would make the sampler another policy than the one that
is trained.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from methods import kl
from methods.arguments import check_positive, check_shape, check_whole
from methods.models import check_cache, check_tokens, evaluating, inputs
from methods.tokens import IGNORE, join, pad, place, token_log_probs
from torch import Tensor, nn
from torch.nn import functional

# Prompts and responses in token ids → r(x, y), float (batch,)
Score = Callable[[Sequence[list[int]], Sequence[list[int]]], Tensor]


# Sampling -----------------------------------------------------------------------------------------


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


@torch.no_grad()
def sample(
    model: nn.Module,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    stop_id: int,
    pad_id: int,
    temperature: float = 1.0,
) -> Samples:
    """Draw one response to each prompt from π(y | x), with torch's global generator.

    A response that has not stopped after max_new_tokens is cut there; `stopped` tells. Raises
    ValueError for a prompt that leaves no room for the response or holds an unknown id, for a
    temperature that is not a finite number above 0, and for a model without a key–value cache;
    FloatingPointError for logits that are NaN.
    """
    check_whole("max_new_tokens", max_new_tokens)
    check_positive("temperature", temperature)
    check_cache(model)
    ids, real = pad(prompts, pad_id, side="left")
    check_tokens(model, ids, room=max_new_tokens)
    with evaluating(model):
        tokens, log_probs = _draw(
            model, ids.to(model.device), real.to(model.device), max_new_tokens, stop_id, temperature
        )
    return cut_at_stop(tokens.tolist(), log_probs.tolist(), stop_id)


def _draw(
    model: nn.Module,
    ids: Tensor,
    real: Tensor,
    max_new_tokens: int,
    stop_id: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities, (batch, drawn), until every row has stopped."""
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
        if getattr(output, "past_key_values", None) is None:
            raise ValueError(
                f"{type(model).__name__} gives no key–value cache back, so nothing can be sampled "
                "from it here: choose a transformer with one"
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
    return torch.cat(tokens, 1), torch.cat(log_probs, 1)


def cut_at_stop(tokens: list[list[int]], log_probs: list[list[float]], stop_id: int) -> Samples:
    """Each row up to and including its first stop token."""
    lengths = [row.index(stop_id) + 1 if stop_id in row else len(row) for row in tokens]
    return Samples(
        responses=[row[:n] for row, n in zip(tokens, lengths)],
        log_probs=[row[:n] for row, n in zip(log_probs, lengths)],
        stopped=[row[n - 1] == stop_id for row, n in zip(tokens, lengths)],
    )


def response_log_probs(
    model: nn.Module, ids: Tensor, real: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """log π(y_t | x, y_<t) of every response token, with its gradient, 0 elsewhere.

    ids, labels: int (batch, time) · real: bool (batch, time), False on padding · returns float
    (batch, time - 1)
    """
    check_positive("temperature", temperature)
    logits = model(**inputs(model, ids, real), use_cache=False).logits
    return token_log_probs(logits / temperature, labels)


ROWS_AT_ONCE = 32


def log_probs_by_length(
    model: nn.Module, ids: Tensor, real: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """The same table, computed for a few rows of similar length at a time.

    In one large batch most rows are padded far beyond their own end, and padding costs as much as
    text. Rows of a length have little of it, and a few of them fit into a processor's cache.
    """
    order, longest = real.sum(-1).argsort(), ids.shape[1]
    ends = (real * torch.arange(1, longest + 1, device=real.device)).amax(-1)
    tables = []
    for rows in order.split(ROWS_AT_ONCE):
        end = int(ends[rows].max())
        some = (tensor[rows, :end] for tensor in (ids, real, labels))
        table = response_log_probs(model, *some, temperature)
        tables.append(functional.pad(table, (0, longest - end)))
    return torch.cat(tables)[order.argsort()]


# Rollouts -----------------------------------------------------------------------------------------


@dataclass
class Rollout:
    """Responses of the current policy, scored, with the log-probabilities of both models.

    prompts, responses: token ids · stopped: whether each response ended by itself · ids, real:
    (batch, time) as for a model, padded on the right · labels: (batch, time), IGNORE on prompt and
    padding · counts: bool (batch, time - 1) · scores: r(x, y), (batch,) · log_probs, ref_log_probs:
    of policy and reference, float (batch, time - 1), 0 where counts is false
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    stopped: list[bool]
    ids: Tensor
    real: Tensor
    labels: Tensor
    counts: Tensor
    scores: Tensor
    log_probs: Tensor
    ref_log_probs: Tensor

    def select(self, rows: Tensor) -> Self:
        """Some rows, without the padding that none of them needs: it would only cost time.

        rows: int (rows,), their numbers
        """
        spare = self.real.shape[1] - int(self.real[rows].sum(-1).max())

        def part(value):
            if isinstance(value, list):
                return [value[row] for row in rows.tolist()]
            return value[rows] if value.dim() == 1 else value[rows, : value.shape[1] - spare]

        return replace(self, **{name: part(value) for name, value in vars(self).items()})


@torch.no_grad()
def roll_out(
    policy: nn.Module,
    reference: nn.Module,
    score: Score,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    stop_id: int,
    pad_id: int,
) -> Rollout:
    """Sample one response to each prompt and score it.

    A response that was cut at max_new_tokens is scored as it stands, and the cut counts as its end:
    what would have followed is worth nothing. Raises what `sample` raises, TypeError or ValueError
    where `score` returns anything but a tensor (batch,), and FloatingPointError for a score that is
    not finite.
    """
    samples = sample(
        policy,
        prompts,
        max_new_tokens=max_new_tokens,
        stop_id=stop_id,
        pad_id=pad_id,
        temperature=temperature,
    )
    rows = join(prompts, samples.responses, pad_id)
    ids, real, labels = (tensor.to(policy.device) for tensor in rows)
    counts = labels[:, 1:] != IGNORE
    scores = score(prompts, samples.responses)
    check_shape("the score", scores, len(prompts))
    scores = scores.to(policy.device).float()
    if not torch.isfinite(scores).all():
        raise FloatingPointError(
            "a response got a score that is not finite: check the reward; nothing was updated"
        )
    with evaluating(reference):
        ref_log_probs = log_probs_by_length(reference, ids, real, labels, temperature)
    return Rollout(
        prompts=list(prompts),
        responses=samples.responses,
        stopped=samples.stopped,
        ids=ids,
        real=real,
        labels=labels,
        counts=counts,
        scores=scores,
        log_probs=place(samples.log_probs, counts),
        ref_log_probs=ref_log_probs,
    )


def minibatches(rollout: Rollout, *, size: int, passes: int) -> Iterator[Tensor]:
    """Numbers of `size` rows at a time, each pass over the rollout in a new random order.

    The last minibatch of a pass may be smaller. Raises ValueError for a size or passes below 1.
    """
    check_whole("size", size)
    check_whole("passes", passes)
    for _ in range(passes):
        yield from torch.randperm(len(rollout.ids), device=rollout.ids.device).split(size)


def summary(rollout: Rollout) -> dict[str, float]:
    """Metrics of a rollout, means over its responses.

    score · kl: Σ_t (log π − log π_ref)_t, in nats · length: in tokens, stop token included ·
    stopped: share that ended by itself
    """
    return {
        "score": rollout.scores.mean().item(),
        "kl": kl.k1(rollout.log_probs, rollout.ref_log_probs).sum(-1).mean().item(),
        "length": rollout.counts.sum(-1).float().mean().item(),
        "stopped": sum(rollout.stopped) / len(rollout.stopped),
    }
