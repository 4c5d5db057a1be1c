"""Proximal policy optimisation (PPO) against a reward, held close to a reference.

    max_π E_{x~D, y~π} [ r(x, y) − β D_KL(π ‖ π_ref) ]            Ouyang et al. 2022, equation 2

One step has five phases, in this order below: rollout, rewards, advantages, losses, update.

    reward      R_t = −β (log π_old − log π_ref)_t, at the last token + r(x, y)
                                                                  Stiennon et al. 2020, 3.4
    advantage   Â_t = Σ_l (γλ)^l δ_{t+l},  δ_t = R_t + γ V(s_{t+1}) − V(s_t)
                                                                  Schulman et al. 2016, equation 16
    policy      L^CLIP = E_t [ min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t) ],  ρ_t = π_θ / π_old
                                                                  Schulman et al. 2017, equation 7

Every tensor (batch, time) holds at t what belongs to the choice of token t + 1: its
log-probability, and the value of the prefix before it. `counts` is true where that token is one of
the response, the stop token included; all else is 0.

Left out on purpose: gradient clipping, an entropy bonus, a learning-rate schedule, an adaptive β,
several devices.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from methods import kl, rollouts
from methods.arguments import (
    check_from_0,
    check_positive,
    check_rows,
    check_shape,
    check_tables,
    check_whole,
)
from methods.models import evaluating, inputs
from methods.optimize import adamw, minimize
from methods.reference import reference_of
from methods.reward import ScalarModel
from methods.rollouts import Rollout, Score
from methods.tokens import entropy, last_token, masked_mean, token_log_probs, whiten
from torch import Tensor, nn


@dataclass(frozen=True)
class PPOConfig:
    """What PPO may be set to; the defaults suit the help desk's base model.

    beta: weight of the KL penalty · gamma, lam: discount and decay of the advantages · clip: ε for
    the ratio, None for no clipping · value_clip: how far a value may move, in reward units ·
    passes: how often a rollout is used · minibatch: responses per update · learning_rate: AdamW's,
    for policy and critic · max_new_tokens: where a response is cut · temperature: of the sampling,
    and of every probability that is compared with it

    Raises ValueError for what none of them can be.
    """

    beta: float = 0.05
    gamma: float = 1.0
    lam: float = 0.95
    clip: float | None = 0.2
    value_clip: float = 0.2
    passes: int = 2
    minibatch: int = 64
    learning_rate: float = 3e-4
    max_new_tokens: int = 40
    temperature: float = 1.0

    def __post_init__(self):
        for name in ("passes", "minibatch", "max_new_tokens"):
            check_whole(name, getattr(self, name))
        for name in ("value_clip", "temperature"):
            check_positive(name, getattr(self, name))
        for name in ("beta", "learning_rate"):
            check_from_0(name, getattr(self, name))
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be from 0 to 1")
        if self.clip is not None:
            check_positive("clip", self.clip)


# Rollout ------------------------------------------------------------------------------------------


@dataclass
class PPORollout(Rollout):
    """A rollout, and what the critic makes of it.

    values: V of the prefix before each token · rewards: R_t · advantages: Â_t, whitened · returns:
    what the critic is trained towards; all float (batch, time - 1), 0 where counts is false
    """

    values: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor


@torch.no_grad()
def roll_out(
    policy: nn.Module,
    reference: nn.Module,
    critic: ScalarModel,
    score: Score,
    prompts: Sequence[list[int]],
    config: PPOConfig,
    *,
    stop_id: int,
    pad_id: int,
    estimator: "Estimator | None" = None,
) -> PPORollout:
    """Sample one response to each prompt, score it, and estimate each token's advantage.

    estimator: None for GAE with the config's γ and λ. Raises what `rollouts.roll_out` raises, and
    FloatingPointError for a value or an advantage that is not finite.
    """
    rollout = rollouts.roll_out(
        policy,
        reference,
        score,
        prompts,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        stop_id=stop_id,
        pad_id=pad_id,
    )
    counts = rollout.counts
    with evaluating(critic):
        values = critic(rollout.ids, rollout.real)[:, :-1].where(counts, 0)
    rewards = token_rewards(
        rollout.scores, rollout.log_probs, rollout.ref_log_probs, counts, config.beta
    )
    estimator = estimator or generalised(config.gamma, config.lam)
    advantages, returns = estimator(rewards, values, counts)
    check_tables(counts, advantages=advantages, returns=returns)
    if not (advantages + returns)[counts].isfinite().all():
        raise FloatingPointError(
            "an advantage or a return is not finite: check the critic and the estimator; nothing "
            "was updated"
        )
    return PPORollout(
        **vars(rollout),
        values=values,
        rewards=rewards,
        advantages=whiten(advantages, counts),
        returns=returns,
    )


# Rewards ------------------------------------------------------------------------------------------


def token_rewards(
    scores: Tensor, log_probs: Tensor, ref_log_probs: Tensor, counts: Tensor, beta: float
) -> Tensor:
    """R_t: every token pays for leaving the reference, the last one earns the score.

    scores: float (batch,) · the others (batch, time) · returns float (batch, time), 0 where counts
    is false

    Raises ValueError for a row in which no token counts: its score would be lost.
    """
    check_tables(counts, log_probs=log_probs, ref_log_probs=ref_log_probs)
    check_shape("scores", scores, len(counts))
    check_rows(counts)
    penalty = beta * (log_probs - ref_log_probs)
    return (last_token(counts) * scores.unsqueeze(-1) - penalty).where(counts, 0)


# Advantages ---------------------------------------------------------------------------------------

# rewards, values, counts → advantages, returns; all (batch, time)
Estimator = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def gae(rewards: Tensor, values: Tensor, counts: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation: Â_t = δ_t + γλ Â_{t+1}.

    All (batch, time); the result has the type of values, and is 0 where counts is false. Nothing
    follows the last token: its next value and its next advantage are 0.
    """
    check_tables(counts, rewards=rewards, values=values)
    advantages, following, next_value = torch.zeros_like(values), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = (delta + gamma * lam * following).where(counts[:, t], 0)
        next_value = values[:, t].where(counts[:, t], 0)
        advantages[:, t] = following
    return advantages


def generalised(gamma: float, lam: float) -> Estimator:
    """GAE as an estimator; a return is the advantage plus the value that it was taken from."""

    def estimate(rewards, values, counts):
        advantages = gae(rewards, values, counts, gamma, lam)
        return advantages, (advantages + values).where(counts, 0)

    return estimate


def sequence_level(rewards: Tensor, values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Â = R(y) − V(x), the same for every token of a response; V(x) is the prompt's value."""
    check_tables(counts, rewards=rewards, values=values)
    total = rewards.sum(-1, keepdim=True)
    first = counts & (counts.cumsum(-1) == 1)
    return (total - (values * first).sum(-1, keepdim=True)).where(counts, 0), total.where(counts, 0)


def group_mean(size: int) -> Estimator:
    """Â = R(y) − the mean of R over the responses to the same prompt; no critic is asked.

    size: responses to a prompt, which follow each other in the batch; the estimator raises
    ValueError for a number of rows that is no multiple of it
    """
    check_whole("size", size)

    def estimate(rewards, values, counts):
        check_tables(counts, rewards=rewards)
        if len(rewards) % size:
            raise ValueError(
                f"{len(rewards)} responses are no groups of {size}: repeat each prompt {size} times"
            )
        total = rewards.sum(-1, keepdim=True)
        baseline = total.view(-1, size).mean(-1).repeat_interleave(size).unsqueeze(-1)
        return (total - baseline).where(counts, 0), total.where(counts, 0)

    return estimate


# Losses -------------------------------------------------------------------------------------------


def clipped_surrogate(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, counts: Tensor, clip: float | None
) -> Tensor:
    """−L^CLIP, to be minimised: a mean over the tokens that count. Scalar.

    The tensors are (batch, time). Where the ratio has left [1 − ε, 1 + ε] in the direction that the
    advantage asks for, the gradient is zero. With clip None the ratio is not clipped. Raises
    ValueError for a clip below 0, as do value_loss and clip_fraction.
    """
    check_tables(counts, log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages)
    ratio = (log_probs - old_log_probs).exp()
    gain = ratio * advantages
    if clip is not None:
        check_from_0("clip", clip)
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -masked_mean(gain, counts)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, counts: Tensor, clip: float
) -> Tensor:
    """Half the critic's squared error, a mean over the tokens that count. Scalar.

    The tensors are (batch, time). Of the value and the value held within ±clip of the old one, the
    larger error counts. Not in the PPO paper; Stiennon et al. 2020 and later code have it.
    """
    check_tables(counts, values=values, old_values=old_values, returns=returns)
    check_from_0("clip", clip)
    held = old_values + (values - old_values).clamp(-clip, clip)
    error = torch.maximum((values - returns).square(), (held - returns).square())
    return masked_mean(error, counts) / 2


# Update -------------------------------------------------------------------------------------------


def update(
    rollout: PPORollout,
    policy: nn.Module,
    critic: ScalarModel,
    optimizer: torch.optim.Optimizer,
    config: PPOConfig,
) -> dict[str, float]:
    """Several passes over the rollout in random minibatches, in place; returns the mean metrics.

    Raises FloatingPointError if a loss or a gradient is not finite, before it reaches the
    parameters.
    """
    history = []

    def loss(rows: Tensor) -> Tensor:
        value, metrics = minibatch_loss(rollout, rows, policy, critic, config)
        history.append(metrics)
        return value

    with evaluating(policy, critic):
        minimize(
            loss,
            rollouts.minibatches(rollout, size=config.minibatch, passes=config.passes),
            optimizer,
            refusal="the {what} is {value}: lower the learning rate "
            f"({config.learning_rate}); the last update was not made",
        )
    return {name: sum(step[name] for step in history) / len(history) for name in history[0]}


def minibatch_loss(
    rollout: PPORollout, rows: Tensor, policy: nn.Module, critic: ScalarModel, config: PPOConfig
) -> tuple[Tensor, dict[str, float]]:
    """The loss of some rows of a rollout, the policy's plus the critic's, and its metrics.

    rows: int (rows,), their numbers
    """
    part = rollout.select(rows)
    counts, old = part.counts, part.log_probs
    logits = policy(**inputs(policy, part.ids, part.real), use_cache=False).logits
    logits = logits / config.temperature
    log_probs = token_log_probs(logits, part.labels)
    values = critic(part.ids, part.real)[:, :-1].where(counts, 0)
    policy_loss = clipped_surrogate(log_probs, old, part.advantages, counts, config.clip)
    critic_loss = value_loss(values, part.values, part.returns, counts, config.value_clip)
    with torch.no_grad():
        metrics = {
            "policy_loss": policy_loss.item(),
            "value_loss": critic_loss.item(),
            "approximate_kl": masked_mean(kl.k3(old, log_probs), counts).item(),
            "clip_fraction": clip_fraction(log_probs, old, counts, config.clip),
            "entropy": masked_mean(entropy(logits[:, :-1]), counts).item(),
        }
    return policy_loss + critic_loss, metrics


def clip_fraction(
    log_probs: Tensor, old_log_probs: Tensor, counts: Tensor, clip: float | None
) -> float:
    """Share of the tokens whose ratio is outside the clip's interval; 0 without clipping."""
    check_tables(counts, log_probs=log_probs, old_log_probs=old_log_probs)
    if clip is None:
        return 0.0
    check_from_0("clip", clip)
    return masked_mean(((log_probs - old_log_probs).exp() - 1).abs() > clip, counts).item()


def explained_variance(values: Tensor, returns: Tensor, counts: Tensor) -> float:
    """1 − Var(returns − values) / Var(returns) over the tokens that count.

    1 for a critic that knows the returns, 0 for one that always says the same; NaN where the
    returns do not vary, for then there is nothing to explain.
    """
    check_tables(counts, values=values, returns=returns)
    error, spread = (returns - values)[counts], returns[counts]
    if spread.numel() < 2 or spread.std() <= 1e-6 * spread.abs().max():
        return float("nan")
    return (1 - error.var() / spread.var()).item()


# The loop -----------------------------------------------------------------------------------------


def train(
    policy: nn.Module,
    critic: ScalarModel,
    score: Score,
    prompts: Iterable[Sequence[list[int]]],
    config: PPOConfig,
    *,
    stop_id: int,
    pad_id: int,
    estimator: Estimator | None = None,
) -> Iterator[tuple[PPORollout, dict[str, float]]]:
    """PPO, one step for each batch of prompts; yields each step's rollout and metrics.

    policy: trained in place; as it stands at the first step, it is the reference · critic: trained
    in place · score: r(x, y) for prompts and responses in token ids · prompts: batches of prompts,
    in token ids · estimator: as for roll_out

    A step is yielded after its update. Raises what roll_out and update raise, and ValueError if
    neither policy nor critic has a parameter that requires a gradient.
    """
    reference = reference_of(policy)
    parameters = itertools.chain(policy.parameters(), critic.parameters())
    optimizer = adamw(parameters, config.learning_rate)
    for batch in prompts:
        rollout = roll_out(
            policy,
            reference,
            critic,
            score,
            batch,
            config,
            stop_id=stop_id,
            pad_id=pad_id,
            estimator=estimator,
        )
        metrics = update(rollout, policy, critic, optimizer, config) | rollouts.summary(rollout)
        explained = explained_variance(rollout.values, rollout.returns, rollout.counts)
        yield rollout, metrics | {"explained_variance": explained}
