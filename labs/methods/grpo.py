"""Group relative policy optimisation (GRPO) and its relatives: PPO's update without a critic.

Each prompt gets G responses. What the others earned tells how well one of them did:

    GRPO     Â_i = (r_i − mean(r)) / std(r)                Shao et al. 2024, section 4.1.2
    Dr. GRPO Â_i =  r_i − mean(r)                          Liu et al. 2025, section 3.2
    RLOO     Â_i =  r_i − mean of the other G − 1          Ahmadian et al. 2024, section 2.3

Every token of a response has its response's advantage, and PPO's clipped gain:

    g_t = min( ρ_t Â, clip(ρ_t, 1 − ε, 1 + ε) Â ) − β k3(π_θ, π_ref)_t      Shao et al., equation 3

What is left open is how tokens become one number: a mean over each response, then over responses
(GRPO, which makes a token of a long response weigh less); one mean over all tokens (DAPO, Yu et al.
2025, equation 8); a sum divided by a constant (Dr. GRPO). RLOO takes a response for one action: one
ratio for all of it, and the penalty inside the reward.

Left out on purpose: a length penalty, dynamic sampling, a learning-rate schedule, several devices.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from methods import kl, rollouts
from methods.arguments import (
    check_from_0,
    check_positive,
    check_rows,
    check_shape,
    check_shapes,
    check_tables,
    check_whole,
)
from methods.models import evaluating
from methods.optimize import adamw, minimize
from methods.reference import reference_of
from methods.rollouts import Rollout, Score, log_probs_by_length
from methods.tokens import masked_mean
from torch import Tensor, nn

# Advantages ---------------------------------------------------------------------------------------

# scores, float (responses,), the G responses to a prompt next to each other, and G → the same shape
Advantages = Callable[[Tensor, int], Tensor]


def centred(scores: Tensor, size: int) -> Tensor:
    """Â_i = r_i − the group's mean. scores: float (responses,) · returns the same shape.

    Raises ValueError for a size below 2, and for scores that are no whole groups.
    """
    groups = in_groups(scores, size)
    return (groups - groups.mean(-1, keepdim=True)).flatten()


def standardised(scores: Tensor, size: int) -> Tensor:
    """Â_i = (r_i − mean) / standard deviation of the group. Shapes and errors as in centred.

    The deviation is that of a sample (n − 1), and 1e-4 keeps equal scores from dividing by 0; both
    as in TRL. A group in which all fare alike gets 0.
    """
    groups = in_groups(scores, size)
    deviations = groups.std(-1, keepdim=True)
    return ((groups - groups.mean(-1, keepdim=True)) / (deviations + 1e-4)).flatten()


def leave_one_out(scores: Tensor, size: int) -> Tensor:
    """Â_i = r_i − the mean of the group's others, on whom y_i has no influence: so the gradient is
    unbiased. Shapes and errors as in centred."""
    groups = in_groups(scores, size)
    others = (groups.sum(-1, keepdim=True) - groups) / (size - 1)
    return (groups - others).flatten()


def in_groups(scores: Tensor, size: int) -> Tensor:
    """float (groups, size), counted from each group's first. Raises ValueError for a group of one and
    for a rest.

    Only differences matter, and so those of equal scores are 0: of their rounding, which is not 0,
    AdamW would make a whole step.
    """
    check_whole("size", size, least=2)
    check_shape("scores", scores, None)
    if len(scores) % size:
        raise ValueError(
            f"{len(scores)} scores are no groups of {size}: give {size} responses to each prompt"
        )
    groups = scores.view(-1, size)
    return groups - groups[:, :1]


# Gain ---------------------------------------------------------------------------------------------


def clipped_gain(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    *,
    clip: float,
    clip_high: float | None = None,
    ceiling: float = math.inf,
) -> Tensor:
    """min(ρÂ, clip(ρ, 1 − ε, 1 + ε_high) Â), element by element; one shape, any.

    The clip is one-sided: it holds a ratio only on the side to which the advantage pulls. For a
    negative advantage nothing holds a ratio that grows, unless there is a ceiling.

    clip_high: ε_high, None for the same as below (DAPO, Yu et al. 2025) · ceiling: the largest ratio
    that counts (TRL calls it delta, and the clip two-sided)
    """
    check_shapes(log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages)
    ratio = (log_probs - old_log_probs).exp()
    held = ratio.clamp(1 - clip, 1 + (clip if clip_high is None else clip_high))
    return torch.minimum(ratio.clamp(max=ceiling) * advantages, held * advantages)


# Aggregation --------------------------------------------------------------------------------------

# values and counts, (batch, time), and where a response is cut → a scalar
Aggregate = Callable[[Tensor, Tensor, int], Tensor]


def response_mean(values: Tensor, counts: Tensor, longest: int) -> Tensor:
    """A mean over each response, then over responses: GRPO. Scalar."""
    check_tables(counts, values=values)
    check_rows(counts)
    return (values.where(counts, 0).sum(-1) / counts.sum(-1)).mean()


def token_mean(values: Tensor, counts: Tensor, longest: int) -> Tensor:
    """One mean over all tokens that count: DAPO. Scalar."""
    return masked_mean(values, counts)


def constant_mean(values: Tensor, counts: Tensor, longest: int) -> Tensor:
    """The sum over all tokens, divided by responses × longest, whatever they hold: Dr. GRPO."""
    check_tables(counts, values=values)
    return values.where(counts, 0).sum() / (len(values) * longest)


# The method ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GRPOConfig:
    """What GRPO may be set to; RECIPES has its relatives.

    size: G, responses to a prompt · advantages, aggregate: functions above · whole_response: one
    ratio for a response, and the penalty in its reward · clip, clip_high, ceiling: as in clipped_gain
    · beta: weight of the KL penalty · passes: how often a rollout is used · minibatch: responses per
    update · learning_rate: AdamW's · max_new_tokens: where a response is cut · temperature: of the
    sampling, and of every probability that is compared with it

    Raises ValueError for what none of them can be.
    """

    size: int = 8
    advantages: Advantages = standardised
    aggregate: Aggregate = response_mean
    whole_response: bool = False
    clip: float = 0.2
    clip_high: float | None = None
    ceiling: float = math.inf
    beta: float = 0.05
    passes: int = 1
    minibatch: int = 64
    learning_rate: float = 3e-4
    max_new_tokens: int = 40
    temperature: float = 1.0

    def __post_init__(self):
        check_whole("size", self.size, least=2)
        for name in ("passes", "minibatch", "max_new_tokens"):
            check_whole(name, getattr(self, name))
        check_positive("temperature", self.temperature)
        for name in ("clip", "beta", "learning_rate"):
            check_from_0(name, getattr(self, name))
        if self.clip_high is not None:
            check_from_0("clip_high", self.clip_high)
        if not self.ceiling > 1:
            raise ValueError(f"ceiling is {self.ceiling}: it must be above 1, where a ratio starts")


RECIPES = {
    "GRPO": GRPOConfig(),
    "DAPO": GRPOConfig(aggregate=token_mean, clip_high=0.28, beta=0.0),
    "Dr. GRPO": GRPOConfig(advantages=centred, aggregate=constant_mean, beta=0.0),
    "RLOO": GRPOConfig(advantages=leave_one_out, whole_response=True),
}


@dataclass
class GRPORollout(Rollout):
    """A rollout with the advantage of each response, float (batch,)."""

    advantages: Tensor


def roll_out(
    policy: nn.Module,
    reference: nn.Module,
    score: Score,
    prompts: Sequence[list[int]],
    config: GRPOConfig,
    *,
    stop_id: int,
    pad_id: int,
) -> GRPORollout:
    """Sample config.size responses to each prompt, score them, and compare them in their group.

    Raises what `rollouts.roll_out` raises.
    """
    rollout = rollouts.roll_out(
        policy,
        reference,
        score,
        [prompt for prompt in prompts for _ in range(config.size)],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        stop_id=stop_id,
        pad_id=pad_id,
    )
    earned = rollout.scores
    if config.whole_response:
        earned = earned - config.beta * kl.k1(rollout.log_probs, rollout.ref_log_probs).sum(-1)
    return GRPORollout(**vars(rollout), advantages=config.advantages(earned, config.size))


def minibatch_loss(
    rollout: GRPORollout, rows: Tensor, policy: nn.Module, config: GRPOConfig
) -> tuple[Tensor, dict[str, float]]:
    """The loss of some rows of a rollout, to be minimised, and its metrics.

    rows: int (rows,), their numbers
    """
    part = rollout.select(rows)
    now = log_probs_by_length(policy, part.ids, part.real, part.labels, config.temperature)
    old, reference, counts = part.log_probs, part.ref_log_probs, part.counts
    if config.whole_response:  # a response is one action: a table with one column
        now, old = now.sum(-1, keepdim=True), old.sum(-1, keepdim=True)
        counts = counts.any(-1, keepdim=True)
    gain = clipped_gain(
        now,
        old,
        part.advantages.unsqueeze(-1).expand_as(now),
        clip=config.clip,
        clip_high=config.clip_high,
        ceiling=config.ceiling,
    )
    if config.beta and not config.whole_response:
        gain = gain - config.beta * kl.k3(now, reference)
    loss = -config.aggregate(gain, counts, config.max_new_tokens)
    ratio = (now - old).detach().exp()
    high = config.clip if config.clip_high is None else config.clip_high
    outside = (ratio < 1 - config.clip) | (ratio > 1 + high)
    return loss, {"loss": loss.item(), "clip_fraction": masked_mean(outside, counts).item()}


def update(
    rollout: GRPORollout, policy: nn.Module, optimizer: torch.optim.Optimizer, config: GRPOConfig
) -> dict[str, float]:
    """Passes over the rollout in random minibatches, in place; returns the mean metrics.

    Raises FloatingPointError if a loss or a gradient is not finite, before it reaches the
    parameters.
    """
    history = []

    def loss(rows: Tensor) -> Tensor:
        value, metrics = minibatch_loss(rollout, rows, policy, config)
        history.append(metrics)
        return value

    with evaluating(policy):
        minimize(
            loss,
            rollouts.minibatches(rollout, size=config.minibatch, passes=config.passes),
            optimizer,
            refusal="the {what} is {value}: lower the learning rate "
            f"({config.learning_rate}); the last update was not made",
        )
    return {name: sum(step[name] for step in history) / len(history) for name in history[0]}


def flat_groups(rollout: GRPORollout, size: int) -> float:
    """Share of groups in which all scores are the same: nothing is learned from those."""
    groups = in_groups(rollout.scores, size)
    return (groups == 0).all(-1).float().mean().item()


def train(
    policy: nn.Module,
    score: Score,
    prompts: Iterable[Sequence[list[int]]],
    config: GRPOConfig,
    *,
    stop_id: int,
    pad_id: int,
) -> Iterator[tuple[GRPORollout, dict[str, float]]]:
    """GRPO, one step for each batch of prompts; yields each step's rollout and metrics.

    policy: trained in place; as it stands at the first step, it is the reference · score: r(x, y)
    for prompts and responses in token ids · prompts: batches of prompts, in token ids, each prompt
    once

    A step is yielded after its update. Raises what roll_out and update raise, and ValueError if no
    parameter of the policy requires a gradient.
    """
    optimizer = adamw(policy.parameters(), config.learning_rate)
    reference = reference_of(policy)
    for batch in prompts:
        rollout = roll_out(policy, reference, score, batch, config, stop_id=stop_id, pad_id=pad_id)
        metrics = update(rollout, policy, optimizer, config) | rollouts.summary(rollout)
        yield rollout, metrics | {"flat_groups": flat_groups(rollout, config.size)}
