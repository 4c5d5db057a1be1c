"""Proximal policy optimisation (PPO) of a language model against a reward, held close to a
reference.

    max_π E_{x~D, y~π} [ r(x, y) − β D_KL(π ‖ π_ref) ]                       Ouyang et al. 2022, equation 2

One step has five phases, in this order below: rollout, rewards, advantages, losses, update.

    reward      R_t = −β (log π_old − log π_ref)_t, and r(x, y) on top at the last token      Stiennon et al. 2020, 3.4
    advantage   Â_t = Σ_l (γλ)^l δ_{t+l},  δ_t = R_t + γ V(s_{t+1}) − V(s_t)                  Schulman et al. 2016, eq. 16
    policy      L^CLIP = E_t [ min(ρ_t Â_t, clip(ρ_t, 1 − ε, 1 + ε) Â_t) ],  ρ_t = π_θ / π_old    Schulman et al. 2017, eq. 7

Every tensor (batch, time) holds at t what belongs to the choice of token t + 1: its
log-probability, and the value of the prefix before it. `counts` is true where that token is one of
the response, the stop token included; all else is 0.

Left out on purpose: gradient clipping, an entropy bonus, a learning-rate schedule, an adaptive β,
several devices.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from methods import kl, sampling
from methods.reward import ScalarModel
from methods.sft import IGNORE, mask_prompt, token_log_probs
from torch import Tensor, nn

Score = Callable[
    [Sequence[list[int]], Sequence[list[int]]], Tensor
]  # prompts, responses → float (batch,)


@dataclass(frozen=True)
class Settings:
    """beta: weight of the KL penalty · gamma, lam: discount and decay of the advantages · clip: ε
    for the ratio, None for no clipping · value_clip: how far a value may move, in reward units ·
    passes: how often a rollout is used · minibatch: responses per update · learning_rate: AdamW's,
    for policy and critic · temperature: of the sampling, and of every probability that is compared
    with it
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


@dataclass
class Rollout:
    """Responses of the current policy and all that the update needs to know about them.

    prompts, responses: token ids · ids, real: (batch, time) as for a model · labels: (batch, time),
    IGNORE on prompt and padding · counts: bool (batch, time - 1) · scores: r(x, y), (batch,) · the
    others float (batch, time - 1)
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
    values: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor


# Rollout ------------------------------------------------------------------------------------------


def response_log_probs(
    model: nn.Module, ids: Tensor, real: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """log π(y_t | x, y_<t) of every response token, with its gradient; float (batch, time - 1), 0
    elsewhere."""
    logits = model(**sampling.inputs(ids, real), use_cache=False).logits
    return token_log_probs(logits / temperature, labels)


def place(values: Sequence[Sequence[float]], counts: Tensor) -> Tensor:
    """One float per response token, put where `counts` is true, row by row; 0 elsewhere."""
    flat = torch.tensor([value for row in values for value in row], device=counts.device)
    return torch.zeros(counts.shape, device=counts.device).masked_scatter(counts, flat)


@torch.no_grad()
def roll_out(
    policy: nn.Module,
    reference: nn.Module,
    critic: ScalarModel,
    score: Score,
    prompts: Sequence[list[int]],
    settings: Settings,
    *,
    stop_id: int,
    pad_id: int,
    estimator: "Estimator | None" = None,
) -> Rollout:
    """Sample one response to each prompt, score it, and estimate the advantage of each of its
    tokens.

    A response that was cut at max_new_tokens is scored as it stands, and the cut counts as its end:
    what would have followed is worth nothing. Raises FloatingPointError for a score that is not
    finite.
    """
    samples = sampling.sample(
        policy,
        prompts,
        max_new_tokens=settings.max_new_tokens,
        stop_id=stop_id,
        pad_id=pad_id,
        temperature=settings.temperature,
    )
    examples = [
        mask_prompt(prompt, response) for prompt, response in zip(prompts, samples.responses)
    ]
    ids, real = (t.to(policy.device) for t in sampling.pad([ids for ids, _ in examples], pad_id))
    labels = sampling.pad([labels for _, labels in examples], IGNORE)[0].to(policy.device)
    counts = labels[:, 1:] != IGNORE
    scores = score(prompts, samples.responses).to(policy.device).float()
    if not torch.isfinite(scores).all():
        raise FloatingPointError(
            "a response got a score that is not finite: check the reward; nothing was updated"
        )
    log_probs = place(samples.log_probs, counts)
    ref_log_probs = response_log_probs(reference, ids, real, labels, settings.temperature)
    values = critic(ids, real)[:, :-1].where(counts, 0)
    rewards = token_rewards(scores, log_probs, ref_log_probs, counts, settings.beta)
    estimator = estimator or generalised(settings.gamma, settings.lam)
    advantages, returns = estimator(rewards, values, counts)
    return Rollout(
        prompts=list(prompts),
        responses=samples.responses,
        stopped=samples.stopped,
        ids=ids,
        real=real,
        labels=labels,
        counts=counts,
        scores=scores,
        log_probs=log_probs,
        ref_log_probs=ref_log_probs,
        values=values,
        rewards=rewards,
        advantages=whiten(advantages, counts),
        returns=returns,
    )


# Rewards ------------------------------------------------------------------------------------------


def last_token(counts: Tensor) -> Tensor:
    """True at the last response token of each row: bool (batch, time) → bool (batch, time)."""
    return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)


def token_rewards(
    scores: Tensor, log_probs: Tensor, ref_log_probs: Tensor, counts: Tensor, beta: float
) -> Tensor:
    """R_t: every token pays for leaving the reference, the last one earns the score.

    scores: float (batch,) · the others (batch, time) · returns float (batch, time), 0 where counts
    is false
    """
    penalty = beta * (log_probs - ref_log_probs)
    return (last_token(counts) * scores.unsqueeze(-1) - penalty).where(counts, 0)


# Advantages ---------------------------------------------------------------------------------------

Estimator = Callable[
    [Tensor, Tensor, Tensor], tuple[Tensor, Tensor]
]  # rewards, values, counts → advantages, returns


def gae(rewards: Tensor, values: Tensor, counts: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation: Â_t = δ_t + γλ Â_{t+1}. All (batch, time); 0 where counts
    is false.

    Nothing follows the last token: its next value and its next advantage are 0.
    """
    advantages, following, next_value = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = (delta + gamma * lam * following).where(counts[:, t], 0)
        next_value = values[:, t].where(counts[:, t], 0)
        advantages[:, t] = following
    return advantages


def generalised(gamma: float, lam: float) -> Estimator:
    """GAE as an estimator; the critic's target is the advantage plus the value that it was taken
    from."""

    def estimate(rewards, values, counts):
        advantages = gae(rewards, values, counts, gamma, lam)
        return advantages, (advantages + values).where(counts, 0)

    return estimate


def sequence_level(rewards: Tensor, values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Â = R(y) − V(x): every token of a response gets the same, with V the value of the prompt."""
    total = rewards.sum(-1, keepdim=True)
    first = counts & (counts.cumsum(-1) == 1)
    return (total - (values * first).sum(-1, keepdim=True)).where(counts, 0), total.where(counts, 0)


def group_mean(size: int) -> Estimator:
    """Â = R(y) − mean R of the `size` responses to the same prompt, which stand in a row; no critic
    is asked."""

    def estimate(rewards, values, counts):
        total = rewards.sum(-1, keepdim=True)
        baseline = total.view(-1, size).mean(-1).repeat_interleave(size).unsqueeze(-1)
        return (total - baseline).where(counts, 0), total.where(counts, 0)

    return estimate


def masked_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over the places that count; a scalar."""
    return (values * counts).sum() / counts.sum()


def whiten(values: Tensor, counts: Tensor) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the places that count; 0 elsewhere. (batch,
    time)"""
    mean = masked_mean(values, counts)
    variance = masked_mean((values - mean).square(), counts)
    return ((values - mean) / (variance + 1e-8).sqrt()).where(counts, 0)


# Losses -------------------------------------------------------------------------------------------


def clipped_surrogate(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, counts: Tensor, clip: float | None
) -> Tensor:
    """−L^CLIP, to be minimised: mean over the tokens that count. All (batch, time); returns a
    scalar.

    Where the ratio has left [1 − ε, 1 + ε] in the direction that the advantage asks for, the
    gradient is zero. With clip None the ratio is not clipped.
    """
    ratio = (log_probs - old_log_probs).exp()
    gain = ratio * advantages
    if clip is not None:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -masked_mean(gain, counts)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, counts: Tensor, clip: float
) -> Tensor:
    """Half the squared error of the critic, the larger one of the value and of the value held
    within ±clip of the old.

    All (batch, time); returns a scalar. Not in the PPO paper; Stiennon et al. 2020 and later code
    have it.
    """
    held = old_values + (values - old_values).clamp(-clip, clip)
    return (
        masked_mean(torch.maximum((values - returns).square(), (held - returns).square()), counts)
        / 2
    )


# Update -------------------------------------------------------------------------------------------


def update(
    rollout: Rollout,
    policy: nn.Module,
    critic: ScalarModel,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
) -> dict[str, float]:
    """Several passes over the rollout in random minibatches, in place; the mean over all
    minibatches of what happened.

    Raises FloatingPointError if a loss is not finite, before it reaches the parameters.
    """
    history = []
    for _ in range(settings.passes):
        order = torch.randperm(len(rollout.ids), device=rollout.ids.device)
        for rows in order.split(settings.minibatch):
            loss, told = minibatch_loss(rollout, rows, policy, critic, settings)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss.item()}: lower the learning rate "
                    f"({settings.learning_rate}); the last update was not made"
                )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            history.append(told)
    return {name: sum(told[name] for told in history) / len(history) for name in history[0]}


def minibatch_loss(
    rollout: Rollout, rows: Tensor, policy: nn.Module, critic: ScalarModel, settings: Settings
) -> tuple[Tensor, dict[str, float]]:
    """The loss of some rows of a rollout, policy's plus critic's, and what to look at while it
    falls."""
    longest = int(
        rollout.real[rows].sum(-1).max()
    )  # padding that no row needs costs time and nothing else
    ids, real, labels = (t[rows, :longest] for t in (rollout.ids, rollout.real, rollout.labels))
    counts, old, advantages, returns, old_values = (
        t[rows, : longest - 1]
        for t in (
            rollout.counts,
            rollout.log_probs,
            rollout.advantages,
            rollout.returns,
            rollout.values,
        )
    )
    logits = policy(**sampling.inputs(ids, real), use_cache=False).logits / settings.temperature
    log_probs = token_log_probs(logits, labels)
    values = critic(ids, real)[:, :-1].where(counts, 0)
    policy_loss = clipped_surrogate(log_probs, old, advantages, counts, settings.clip)
    critic_loss = value_loss(values, old_values, returns, counts, settings.value_clip)
    with torch.no_grad():
        told = {
            "policy_loss": policy_loss.item(),
            "value_loss": critic_loss.item(),
            "approximate_kl": masked_mean(kl.k3(old, log_probs), counts).item(),
            "clip_fraction": clip_fraction(log_probs, old, counts, settings.clip),
            "entropy": masked_mean(entropy(logits[:, :-1]), counts).item(),
        }
    return policy_loss + critic_loss, told


def clip_fraction(
    log_probs: Tensor, old_log_probs: Tensor, counts: Tensor, clip: float | None
) -> float:
    """Share of the tokens whose ratio lies outside of the clip interval, in [0, 1]; 0 without
    clipping."""
    if clip is None:
        return 0.0
    return masked_mean(((log_probs - old_log_probs).exp() - 1).abs() > clip, counts).item()


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the next-token distribution, in nats: (..., vocab) → (...)"""
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def explained_variance(values: Tensor, returns: Tensor, counts: Tensor) -> float:
    """1 − Var(returns − values) / Var(returns) over the tokens that count: 1 for a critic that
    knows, 0 for a constant."""
    error, spread = (returns - values)[counts], returns[counts]
    return (1 - error.var() / (spread.var() + 1e-8)).item()


# The loop -----------------------------------------------------------------------------------------


def train(
    policy: nn.Module,
    critic: ScalarModel,
    score: Score,
    prompts: Iterable[Sequence[list[int]]],
    settings: Settings,
    *,
    stop_id: int,
    pad_id: int,
    estimator: Estimator | None = None,
) -> Iterator[tuple[Rollout, dict[str, float]]]:
    """PPO, one step for each batch of prompts; yields each step's rollout and what happened, after
    its update.

    policy: trained in place; as it stands at the first step, it is the reference · critic: trained
    in place · score: r(x, y) for prompts and responses in token ids · prompts: batches of prompts,
    in token ids
    """
    reference = copy.deepcopy(policy).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        itertools.chain(policy.parameters(), critic.parameters()),
        lr=settings.learning_rate,
        weight_decay=0.0,
        fused=True,
    )
    for batch in prompts:
        rollout = roll_out(
            policy,
            reference,
            critic,
            score,
            batch,
            settings,
            stop_id=stop_id,
            pad_id=pad_id,
            estimator=estimator,
        )
        told = update(rollout, policy, critic, optimizer, settings)
        log_ratio = kl.k1(rollout.log_probs, rollout.ref_log_probs)
        yield (
            rollout,
            told
            | {
                "score": rollout.scores.mean().item(),
                "kl": log_ratio.sum(-1).mean().item(),
                "length": rollout.counts.sum(-1).float().mean().item(),
                "stopped": sum(rollout.stopped) / len(rollout.stopped),
                "explained_variance": explained_variance(
                    rollout.values, rollout.returns, rollout.counts
                ),
            },
        )
