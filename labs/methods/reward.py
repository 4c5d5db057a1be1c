"""Reward models: a language model's body, one number as its output, trained on preferences.

Bradley and Terry (1952) turn rewards into the probability of a choice, given the prompt x:

    P(y_w ≻ y_l | x) = σ(r(x, y_w) − r(x, y_l))          L_RM = −E [log σ(r(x, y_w) − r(x, y_l))]

A ranking of K responses to one prompt holds K(K−1)/2 pairs. They share their responses, so they
stay together in one batch element and are averaged there (Ouyang et al. 2022, equation 1). A pair
is a ranking with K = 2.

The loss fixes the rewards of one prompt up to a shift: rewards of different prompts cannot be
compared by it.
"""

import copy
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence

import torch
from methods.arguments import check_rows, check_shape, check_shapes, check_whole
from methods.models import check_tokens, evaluating, inputs, width
from methods.optimize import adamw, linear_decay, minimize
from methods.tokens import pad
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

# A prompt and its responses, the preferred one first; all token ids
Ranking = tuple[list[int], list[list[int]]]


class ScalarModel(nn.Module):
    """A language model's body and a linear head: one number for every prefix of a row.

    Reward models and critics are of this class. The body is copied from
    `model`, any causal language model of transformers that names its body; the head starts at zero,
    so that the training starts with no opinion (and with the loss at log 2). Raises ValueError for
    a model that the library PEFT has wrapped, and for one without a body.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        if hasattr(model, "peft_config"):
            raise ValueError(
                "the model is wrapped by the library PEFT: give model.merge_and_unload(), or its "
                "bare base, model.unload()"
            )
        if model.base_model is model:
            raise ValueError(
                f"{type(model).__name__} does not say which part of it is the body without the "
                "output layer: choose another base"
            )
        self.body = copy.deepcopy(model.base_model)
        self.head = nn.Linear(width(model), 1, bias=False, device=model.device, dtype=model.dtype)
        nn.init.zeros_(self.head.weight)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        """The number for the prefix that ends with each token; of no meaning on padding.

        ids: int (batch, time) · real: bool (batch, time), False on padding, which may stand on
        either side · returns float (batch, time)
        """
        hidden = self.body(**inputs(self.body, ids, real), use_cache=False).last_hidden_state
        return self.head(hidden).squeeze(-1)


def reward_at_end(scores: Tensor, real: Tensor) -> Tensor:
    """The reward of each row: the number at its last real token.

    scores: float (batch, time) · real: bool (batch, time), False on padding · returns float
    (batch,)

    Raises ValueError for a row of padding alone.
    """
    check_shapes(scores=scores, real=real)
    check_rows(real)
    positions = torch.arange(real.shape[1], device=real.device)
    return scores.gather(-1, positions.where(real, -1).argmax(-1, keepdim=True)).squeeze(-1)


def batch_rewards(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int) -> Tensor:
    """The rewards of a batch with their gradients, float (rankings, K).

    Raises ValueError unless all rankings are of one K.
    """
    sizes = {len(responses) for _, responses in rankings}
    if len(sizes) > 1:
        raise ValueError(f"a batch needs rankings of one K, and these have K in {sorted(sizes)}")
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = pad(rows, pad_id)
    check_tokens(model.body, ids)
    ids, real = ids.to(model.device), real.to(model.device)
    return reward_at_end(model(ids, real), real).view(len(rankings), -1)


@torch.no_grad()
def rewards(
    model: ScalarModel,
    prompts: Sequence[list[int]],
    responses: Sequence[list[int]],
    *,
    pad_id: int,
    batch_size: int = 256,
) -> Tensor:
    """r(x, y) of each prompt and response, float (batch,), on the model's device.

    Raises ValueError for a row that the model cannot read.
    """
    check_whole("batch_size", batch_size)
    alone = [(prompt, [response]) for prompt, response in zip(prompts, responses, strict=True)]
    batches = [alone[start : start + batch_size] for start in range(0, len(alone), batch_size)]
    with evaluating(model):
        scored = [batch_rewards(model, batch, pad_id).squeeze(-1) for batch in batches]
    return torch.cat(scored) if scored else torch.zeros(0, device=model.device)


# The loss -----------------------------------------------------------------------------------------


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Mean negative log-probability of the choices. Both float (pairs,); returns a scalar, in nats
    per choice.

    Raises ValueError if there is no pair: the mean of nothing would be NaN.
    """
    check_shape("chosen", chosen, None)
    check_shapes(chosen=chosen, rejected=rejected)
    if chosen.numel() == 0:
        raise ValueError("there is no pair to learn from: give at least one")
    return -logsigmoid(chosen - rejected).mean()


def ranking_loss(rewards: Tensor) -> Tensor:
    """The same over all pairs of each ranking; returns a scalar, in nats per choice.

    rewards: float (rankings, K), the preferred response first. Every ranking has the same K, so the
    mean over all pairs is the mean over rankings of their means. Raises ValueError if K is below 2.
    """
    check_shape("rewards", rewards, None, None)
    check_whole("K, the responses in a ranking,", rewards.shape[1], least=2)
    better, worse = zip(*itertools.combinations(range(rewards.shape[1]), 2))
    return bradley_terry_loss(rewards[:, better].flatten(), rewards[:, worse].flatten())


# Training -----------------------------------------------------------------------------------------


def check_rankings(rankings: Sequence[Ranking]) -> None:
    """Refuse what nothing can be learned from.

    Raises ValueError for no rankings, rankings of different or too small K, and equal responses in
    one ranking.
    """
    sizes = {len(responses) for _, responses in rankings}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(
            f"rankings of one K, at least 2, are needed, and these have K in {sorted(sizes)}: "
            "give at least one pair, and train rankings of different K apart"
        )
    for number, (_, responses) in enumerate(rankings):
        if len(set(map(tuple, responses))) < len(responses):
            raise ValueError(
                f"ranking {number} holds the same response twice, which nobody can prefer to "
                "itself: drop it"
            )


def batches(
    rankings: Sequence[Ranking], *, batch_size: int, epochs: int, seed: int
) -> Iterator[list[Ranking]]:
    """The rankings in batches, each epoch in a new order; its last batch may be smaller."""
    rng = random.Random(seed)
    for _ in range(epochs):
        order = rng.sample(rankings, len(rankings))
        yield from (order[start : start + batch_size] for start in range(0, len(order), batch_size))


def train(
    model: ScalarModel,
    rankings: Sequence[Ranking],
    *,
    pad_id: int,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 5e-4,
    seed: int = 0,
) -> list[float]:
    """Fit the reward model, in place; returns the loss of every step.

    The learning rate falls to zero in a straight line. Raises ValueError as check_rankings does,
    and FloatingPointError at the first loss or gradient that is not finite, before it reaches the
    parameters.
    """
    check_rankings(rankings)
    check_whole("epochs", epochs)
    check_whole("batch_size", batch_size)
    return minimize(
        lambda batch: ranking_loss(batch_rewards(model, batch, pad_id)),
        batches(rankings, batch_size=batch_size, epochs=epochs, seed=seed),
        adamw(model.parameters(), learning_rate),
        schedule=linear_decay(epochs * math.ceil(len(rankings) / batch_size)),
    )


def accuracy(model: ScalarModel, rankings: Iterable[Ranking], pad_id: int) -> float:
    """Share of pairs whose order the rewards reproduce, in [0, 1]; equal rewards count as wrong.

    Raises ValueError if there is no pair, and FloatingPointError for a reward that is NaN.
    """
    prompts, responses, sizes = [], [], []
    for prompt, ranked in rankings:
        prompts += [prompt] * len(ranked)
        responses += ranked
        sizes.append(len(ranked))
    scored = rewards(model, prompts, responses, pad_id=pad_id)
    if scored.isnan().any():
        raise FloatingPointError("a reward is NaN: the reward model is spoilt, train it again")
    right = [
        better > worse
        for row in scored.split(sizes)
        for better, worse in itertools.combinations(row.tolist(), 2)
    ]
    if not right:
        raise ValueError("there is no pair to judge: give at least one ranking of two responses")
    return sum(right) / len(right)
