"""Supervised fine-tuning (SFT): make the demonstrated responses likely.

    L_SFT(θ) = − Σ_{t=1..T} log π_θ(y_t | x, y_<t)        x the prompt, y the response and its stop token

The formula leaves two conventions open, and both change what is learned: which tokens count (here:
the response's alone, Touvron et al. 2023, section 3.1), and how the sum becomes one number for a
batch (`sft_loss`: mean over the tokens of the batch; `sequence_loss`: sum over a response, mean
over responses).

Left out on purpose: packing, gradient accumulation, mixed precision, several devices.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

IGNORE = -100  # label of a token that does not count; PyTorch's and transformers' convention

Tokens = tuple[list[int], list[int]]
Batch = tuple[Tensor, Tensor]


# One example → one batch --------------------------------------------------------------------------


def mask_prompt(prompt: list[int], response: list[int]) -> Tokens:
    """Token ids and labels of one example: prompt and response in a row, the prompt's labels
    IGNORE."""
    return prompt + response, [IGNORE] * len(prompt) + response


def collate(examples: Sequence[Tokens], pad_id: int) -> Batch:
    """Pad (ids, labels) pairs on the right to one length: two int tensors (batch, time).

    Padding gets the label IGNORE by its position, not by its id: where `pad_id` is also the stop
    token, the stop token at the end of a response still counts.
    """
    longest = max(len(ids) for ids, _ in examples)
    ids = [ids + [pad_id] * (longest - len(ids)) for ids, _ in examples]
    labels = [labels + [IGNORE] * (longest - len(labels)) for _, labels in examples]
    return torch.tensor(ids), torch.tensor(labels)


def batches(
    examples: Sequence[Tokens],
    *,
    batch_size: int,
    steps: int,
    pad_id: int,
    seed: int,
    collate: Callable[[Sequence[Tokens], int], Batch] = collate,
) -> Iterator[Batch]:
    """`steps` batches, each epoch in a new random order; an epoch's incomplete last batch is
    dropped.

    Raises ValueError if there are fewer examples than one batch takes.
    """
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


# The loss -----------------------------------------------------------------------------------------


def token_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """log π(y_t | x, y_<t) of every token that counts, 0 elsewhere.

    logits: float (batch, time, vocab) · labels: int (batch, time), IGNORE where the token does not
    count returns float (batch, time - 1): the logits at time t predict the token at t + 1
    """
    logits, labels = logits[:, :-1], labels[:, 1:]
    counts = labels != IGNORE
    log_probs = logits.log_softmax(-1).gather(-1, labels.where(counts, 0).unsqueeze(-1)).squeeze(-1)
    return log_probs.where(counts, 0)


def sft_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Token mean: every response token of the batch weighs the same, so a long response weighs
    more. Scalar, nats.

    Shapes as in token_log_probs.
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
    model: torch.nn.Module,
    batches: Iterable[Batch],
    *,
    steps: int,
    learning_rate: float,
    loss: Callable[[Tensor, Tensor], Tensor] = sft_loss,
) -> list[float]:
    """Full tuning: AdamW on all parameters that require a gradient; returns the loss of every step.

    The learning rate rises over the first tenth of `steps` and falls to zero over the last third.
    Raises FloatingPointError at the first loss that is not finite, before it reaches the
    parameters, and ValueError if no parameter requires a gradient.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError(
            "no parameter of the model requires a gradient: thaw some, activate an adapter, or unmerge it"
        )
    optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(steps))
    losses = []
    for ids, labels in batches:
        # Padding on the right comes after every real token: causal attention never looks at it, no
        # mask is needed.
        logits = model(input_ids=ids.to(model.device), use_cache=False).logits
        value = loss(logits, labels.to(model.device))
        losses.append(value.item())
        if not torch.isfinite(value):
            raise FloatingPointError(
                f"the loss is {losses[-1]} at step {len(losses)}: lower the learning rate "
                f"({learning_rate}), and check that every batch has a token that counts"
            )
        value.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return losses


def warm_up_and_decay(steps: int) -> Callable[[int], float]:
    """Share of the learning rate at each step: up over the first tenth, flat, then down to 0 over
    the last third."""
    up, down = max(1, steps // 10), max(1, steps // 3)
    return lambda step: min((step + 1) / up, 1, max(0, steps - step) / down)
