"""Supervised fine-tuning (SFT): make the demonstrated responses likely.

    L_SFT(θ) = − Σ_{t=1..T} log π_θ(y_t | x, y_<t)      x the prompt, y response and stop token

The formula leaves two conventions open, and both change what is learned: which tokens count (here:
the response's alone, Touvron et al. 2023, section 3.1; `methods.tokens` masks the others), and how
the sum becomes one number for a batch (`sft_loss`: mean over the tokens of the batch;
`sequence_loss`: sum over a response, mean over responses).

Left out on purpose: packing, gradient accumulation, mixed precision, several devices.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from methods.arguments import check_whole
from methods.models import check_tokens
from methods.optimize import REFUSAL, adamw, minimize, warm_up_and_decay
from methods.tokens import IGNORE, Batch, Tokens, collate, token_log_probs
from torch import Tensor, nn

# The loss -----------------------------------------------------------------------------------------


def sft_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Token mean: every response token of the batch weighs the same. Scalar, nats per token.

    So a long response weighs more than a short one. Shapes as in token_log_probs.
    """
    return -token_log_probs(logits, labels).sum() / (labels[:, 1:] != IGNORE).sum()


def sequence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The formula above for each response, then the mean over the batch. Scalar, nats per response.

    Shapes as in token_log_probs.
    """
    return -token_log_probs(logits, labels).sum(-1).mean()


# The update ---------------------------------------------------------------------------------------


@torch.no_grad()
def gradient_step(parameters: Iterable[Tensor], learning_rate: float) -> None:
    """θ ← θ − η ∇L for every parameter that has a gradient, in place; the gradients are cleared."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter -= learning_rate * parameter.grad
            parameter.grad = None


def fine_tune(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    steps: int,
    learning_rate: float,
    loss: Callable[[Tensor, Tensor], Tensor] = sft_loss,
) -> list[float]:
    """Train all parameters that require a gradient, in place; returns the loss of every step.

    The learning rate rises over the first tenth of `steps` and falls to zero over the last third.
    Raises FloatingPointError at the first loss or gradient that is not finite, before it reaches
    the parameters, and ValueError for rows that the model cannot read and if no parameter requires
    a gradient.
    """

    def batch_loss(batch: Batch) -> Tensor:
        # Padding on the right comes after every real token: causal attention never looks at it, so
        # no mask is needed.
        check_tokens(model, batch[0])
        ids, labels = (part.to(model.device) for part in batch)
        return loss(model(input_ids=ids, use_cache=False).logits, labels)

    return minimize(
        batch_loss,
        batches,
        adamw(model.parameters(), learning_rate),
        schedule=warm_up_and_decay(steps),
        refusal=f"{REFUSAL} ({learning_rate}), and check that every batch has a token that counts",
    )


# Batches ------------------------------------------------------------------------------------------


def batches(
    examples: Sequence[Tokens],
    *,
    batch_size: int,
    steps: int,
    pad_id: int,
    seed: int,
    collate: Callable[[Sequence[Tokens], int], Batch] = collate,
) -> Iterator[Batch]:
    """`steps` batches, each epoch in a new random order; what fills no batch is dropped.

    Raises ValueError if there are fewer examples than one batch takes.
    """
    check_whole("batch_size", batch_size)
    check_whole("steps", steps, least=0)
    if len(examples) < batch_size:
        raise ValueError(
            f"a batch takes {batch_size} examples and there are {len(examples)}: "
            "give more examples or a smaller batch_size"
        )
    rng, order = random.Random(seed), []
    for _ in range(steps):
        if len(order) < batch_size:
            order = rng.sample(range(len(examples)), len(examples))
        yield collate([examples[order.pop()] for _ in range(batch_size)], pad_id)
