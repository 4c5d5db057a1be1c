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

REFUSAL = "the {what} is {value} at step {step}: lower the learning rate"


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
    it is · refusal: what to say of a loss or a gradient that is not finite, with {what}, {value}
    and {step} filled in

    Raises FloatingPointError at such a loss or gradient, before it reaches the parameters, and
    TypeError for a loss that is no scalar tensor with a gradient.
    """
    scheduler = schedule and torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    losses = []
    for batch in batches:
        value = loss(batch)
        check_loss(value)
        losses.append(value.item())
        _check_finite("loss", losses[-1], len(losses), refusal)
        value.backward()
        # A finite loss may have a gradient that is not, as exp(89) · 0 does.
        _check_finite("gradient's norm", gradient_norm(optimizer), len(losses), refusal)
        optimizer.step()
        if scheduler:
            scheduler.step()
        optimizer.zero_grad()
    return losses


def check_loss(loss: Tensor) -> None:
    """Raises TypeError for what cannot be minimised."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        kind = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise TypeError(f"the loss is {kind}: return one number, as a tensor")
    if not loss.requires_grad:
        raise TypeError(
            "the loss has no gradient: compute it from the model's output, without .item(), "
            ".detach() and torch.no_grad()"
        )


def gradient_norm(optimizer: torch.optim.Optimizer) -> float:
    """The length of the whole gradient, all parameters in one vector."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item()


def _check_finite(what: str, value: float, step: int, refusal: str) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(refusal.format(what=what, value=value, step=step))


# Schedules ----------------------------------------------------------------------------------------


def warm_up_and_decay(steps: int) -> Schedule:
    """Up over the first tenth of the steps, flat, then down to 0 over the last third."""
    up, down = max(1, steps // 10), max(1, steps // 3)
    return lambda step: min((step + 1) / up, 1, max(0, steps - step) / down)


def linear_decay(steps: int) -> Schedule:
    """From 1 down to 0 in a straight line."""
    return lambda step: 1 - step / steps
