"""Distillation: a student learns from a teacher's distribution over every next token.

On the student's own samples, the reverse divergence (Gu et al. 2024, equation 1; Agarwal et al.
2024 train on such samples with several divergences):

    L = E_{y~π_S} [ Σ_t D_KL( π_S(· | x, y_<t) ‖ π_T(· | x, y_<t) ) ] / tokens

Each token gets a whole distribution to learn from, where a reward gives one number for a response.
The samples are taken as given: no gradient goes through the choice of y.

On the teacher's samples, distillation is SFT: E_{y~π_T} [−log π_S(y)] is the forward divergence
D_KL(π_T ‖ π_S) up to the teacher's entropy, which the student does not change (Kim and Rush 2016,
section 3.2). `demonstrations` draws them; `methods.sft` trains on them.

Left out on purpose: mixtures of both divergences, a temperature of the loss, teachers with another
tokenizer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from methods import kl, rollouts
from methods.arguments import check_shape
from methods.models import evaluating, inputs
from methods.optimize import adamw, minimize
from methods.tokens import IGNORE, Tokens, join, mask_prompt, masked_mean
from torch import Tensor, nn

# Logits of student and teacher, and labels → a scalar
Divergence = Callable[[Tensor, Tensor, Tensor], Tensor]


def reverse_kl(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """D_KL(π_S ‖ π_T) of the next token, a mean over the tokens that count. Scalar, in nats.

    logits: float (batch, time, vocab) · labels: int (batch, time), IGNORE where the token does not
    count; the logits at time t belong to the token at t + 1
    """
    check_shape("student_logits", student_logits, *labels.shape, None)
    check_shape("teacher_logits", teacher_logits, *student_logits.shape)
    counts = labels[:, 1:] != IGNORE
    return masked_mean(kl.full(student_logits[:, :-1], teacher_logits[:, :-1]), counts)


def forward_kl(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """D_KL(π_T ‖ π_S), otherwise as reverse_kl."""
    return reverse_kl(teacher_logits, student_logits, labels)


@torch.no_grad()
def demonstrations(
    teacher: nn.Module,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    stop_id: int,
    pad_id: int,
) -> list[Tokens]:
    """One response of the teacher to each prompt, as ids and labels for SFT; cut ones are left out.

    Raises what `rollouts.sample` raises.
    """
    drawn = rollouts.sample(
        teacher, prompts, max_new_tokens=max_new_tokens, stop_id=stop_id, pad_id=pad_id
    )
    rows = zip(prompts, drawn.responses, drawn.stopped)
    return [mask_prompt(prompt, response) for prompt, response, stopped in rows if stopped]


def train(
    student: nn.Module,
    teacher: nn.Module,
    prompts: Iterable[Sequence[list[int]]],
    *,
    max_new_tokens: int,
    stop_id: int,
    pad_id: int,
    learning_rate: float = 1e-3,
    divergence: Divergence = reverse_kl,
) -> Iterator[dict[str, float]]:
    """On-policy distillation, one step for each batch of prompts; yields each step's metrics.

    student: trained in place · teacher: any causal model with the same vocabulary, not changed ·
    prompts: batches of prompts, in token ids · divergence: reverse_kl or forward_kl, which then reads
    the student's samples too

    A step is yielded after its update. Metrics: divergence on the step's samples, in nats per token
    · length, in tokens, and stopped, as for rollouts. Raises ValueError for a teacher with another
    vocabulary, as rollouts.sample does, and if no parameter of the student requires a gradient;
    FloatingPointError for a loss or a gradient that is not finite, before it reaches the parameters.
    """
    check_teacher(student, teacher)
    optimizer = adamw(student.parameters(), learning_rate)
    for batch in prompts:
        drawn = rollouts.sample(
            student, batch, max_new_tokens=max_new_tokens, stop_id=stop_id, pad_id=pad_id
        )
        rows = [tensor.to(student.device) for tensor in join(batch, drawn.responses, pad_id)]
        with evaluating(student, teacher):
            losses = minimize(
                lambda row: _loss(student, teacher, divergence, *row),
                [rows],
                optimizer,
                refusal="the {what} is {value}: lower the learning rate "
                f"({learning_rate}); the last update was not made",
            )
        yield {
            "divergence": losses[0],
            "length": sum(map(len, drawn.responses)) / len(batch),
            "stopped": sum(drawn.stopped) / len(batch),
        }


def _loss(
    student: nn.Module,
    teacher: nn.Module,
    divergence: Divergence,
    ids: Tensor,
    real: Tensor,
    labels: Tensor,
) -> Tensor:
    with torch.no_grad():
        aim = teacher(**inputs(teacher, ids, real), use_cache=False).logits
    return divergence(student(**inputs(student, ids, real), use_cache=False).logits, aim, labels)


def check_teacher(student: nn.Module, teacher: nn.Module) -> None:
    """Raises ValueError for a teacher that speaks of other tokens.

    Only the sizes can be compared: two vocabularies of one size may still differ.
    """
    own, theirs = (model.config.vocab_size for model in (student, teacher))
    if own != theirs:
        raise ValueError(
            f"the student knows {own} tokens and the teacher {theirs}: choose a teacher with the "
            "student's tokenizer, or train on its texts by SFT"
        )
