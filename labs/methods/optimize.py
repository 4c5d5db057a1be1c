"""The loop that every method trains by: AdamW on a loss, one step for each batch.

    θ ← θ − η_t m̂_t / (√v̂_t + ε)        Loshchilov and Hutter 2019, algorithm 2, with λ = 0

m̂ and v̂ are running means of the gradient and of its square, η_t the learning rate times its
schedule. A method brings a loss and batches, and nothing else.

Left out on purpose: weight decay, gradient clipping, gradient accumulation.
"""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Schedule = Callable[[int], float]  # step, from 0 → share of the learning rate
Batch = TypeVar("Batch")

REFUSAL = "the loss is {loss} at step {step}: lower the learning rate"


def adamw(parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.AdamW:
    """The optimizer of all parameters that require a gradient.

    Raises ValueError if none does.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ValueError(
            "no parameter of the model requires a gradient: thaw some, activate an adapter, "
            "or unmerge it"
        )
    return torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0, fused=True)


def minimize(
    loss: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    schedule: Schedule | None = None,
    refusal: str = REFUSAL,
) -> list[float]:
    """One step down the gradient of loss(batch) for each batch; returns the loss of every step.

    loss: of a batch, whatever a batch is, to a scalar · schedule: None leaves the learning rate as
    it is · refusal: what to say of a loss that is not finite, with {loss} and {step} filled in

    Raises FloatingPointError at such a loss, before it reaches the parameters.
    """
    scheduler = schedule and torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    losses = []
    for batch in batches:
        value = loss(batch)
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(refusal.format(loss=losses[-1], step=len(losses)))
        value.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        optimizer.zero_grad()
    return losses


# Schedules ----------------------------------------------------------------------------------------


def warm_up_and_decay(steps: int) -> Schedule:
    """Up over the first tenth of the steps, flat, then down to 0 over the last third."""
    up, down = max(1, steps // 10), max(1, steps // 3)
    return lambda step: min((step + 1) / up, 1, max(0, steps - step) / down)


def linear_decay(steps: int) -> Schedule:
    """From 1 down to 0 in a straight line."""
    return lambda step: 1 - step / steps
