"""What lab 04 runs: PPO on the help desk's base, watched by a judge that it never sees.

The recipe is one for all: a reward model is trained on 2,000 pairs of the base's replies, the
policy starts as the base and the critic as a copy of the reward model, and each step draws 128
responses. The proxy is what the reward model says of them, gold is the judge's score.
"""

import copy
import functools
import math
import random
import statistics
from collections.abc import Callable, Sequence

import torch
from course import Sweep
from course.rows import Row
from experiments.reward_model import base_replies, fit
from experiments.shared import MAX_NEW_TOKENS, batch_of, fresh, tokenizer, tune
from helpdesk import preferences, raters, replies, tasks, tickets
from helpdesk.tickets import Ticket
from methods import kl, ppo, reward, rollouts, sft
from methods.reward import ScalarModel
from methods.tokens import IGNORE, Batch, join, place
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

BATCH = 128  # responses in a step of PPO
REWARD_TICKETS = 2000  # on which a reward model is trained
CLERKS_TICKETS = 128  # on whose replies fluency is measured
SEEDS = (0, 1, 2)  # of every sweep

History = dict[str, list[float]]  # one number for each step, by what it tells


# The recipe ---------------------------------------------------------------------------------------


@functools.cache
def reward_model(seed: int) -> ScalarModel:
    """A reward model as in lab 03, from pairs of the base's own replies that the default rater
    judged; its parameters require no gradient."""
    asked = tickets.sample_tickets("train", REWARD_TICKETS, 100 + seed)
    drawn = base_replies(asked, 2, seed)
    pairs = preferences.rankings(tokenizer(), asked, drawn, raters.Rater(), seed)
    return fit(pairs, seed=seed).requires_grad_(False)


def proxy(model: ScalarModel) -> rollouts.Score:
    """The reward model as PPO sees it: prompts and responses in, one number each out."""
    return lambda prompts, responses: reward.rewards(
        model, prompts, responses, pad_id=tokenizer().pad_token_id
    )


SFT_STEPS = {"a little SFT": 10, "full SFT": 150}


def tuned_start(start_from: str, seed: int) -> PreTrainedModel:
    """A policy for PPO to start from.

    start_from: "random weights", "base", or the base after "a little SFT" or "full SFT" on polite
    replies, 32 at a step
    """
    torch.manual_seed(seed)
    model = fresh()
    if start_from == "random weights":
        return AutoModelForCausalLM.from_config(model.config).to(model.device)
    if steps := SFT_STEPS.get(start_from):
        rng = random.Random(seed)
        asked = tickets.sample_tickets("train", 32 * steps, 300 + seed)
        examples = [tasks.reply(ticket, replies.POLITE, rng) for ticket in asked]
        tune(model, examples, steps=steps, rate=1e-3, seed=seed, size=32)
    return model


@functools.cache
def clerks_batch() -> Batch:
    """The clerks' own replies to tickets that nothing trains on."""
    asked = tickets.sample_tickets("validation", CLERKS_TICKETS, 7)
    return batch_of(
        tasks.reply(ticket, replies.TRANSCRIPTS, random.Random(number))
        for number, ticket in enumerate(asked)
    )


@torch.no_grad()
def loss_on_clerks(model: nn.Module) -> float:
    """How badly a model predicts the clerks' replies, which the base was trained to write, in nats
    per token."""
    ids, labels = clerks_batch()
    return sft.sft_loss(model(input_ids=ids).logits, labels).item()


def ticket_groups(steps: int, copies: int, seed: int) -> list[list[Ticket]]:
    """The tickets of each step, BATCH of them: each stands there `copies` times in a row."""
    asked = tickets.sample_tickets("train", steps * BATCH // copies, 200 + seed)
    repeated = [ticket for ticket in asked for _ in range(copies)]
    return [repeated[start : start + BATCH] for start in range(0, steps * BATCH, BATCH)]


def follow(
    policy: nn.Module,
    seed: int,
    steps: int,
    config: ppo.PPOConfig,
    estimator: ppo.Estimator | None = None,
    copies: int = 1,
) -> tuple[History, list[str]]:
    """Train a policy by PPO, in place, and watch it.

    estimator: of the advantages, None for GAE · copies: responses to each prompt
    returns the history of gold, of the loss on the clerks' replies and of all metrics of
    methods/ppo.py · the first three replies of each step, one a line
    """
    # Drawn first: a reward model that is trained here draws random numbers, a kept one does not.
    rewarder = reward_model(seed)
    torch.manual_seed(seed)
    groups = ticket_groups(steps, copies, seed)
    training = ppo.train(
        policy,
        copy.deepcopy(rewarder).requires_grad_(True),
        proxy(rewarder),
        (preferences.prompts(tokenizer(), group) for group in groups),
        config,
        stop_id=tokenizer().eos_token_id,
        pad_id=tokenizer().pad_token_id,
        estimator=estimator,
    )
    history, said = {}, []
    for group, (rollout, metrics) in zip(groups, training):
        gold = preferences.gold_scores(tokenizer(), group, rollout.responses)
        seen = {"gold": statistics.fmean(gold), "loss_on_clerks": loss_on_clerks(policy)}
        for name, value in (seen | metrics).items():
            history.setdefault(name, []).append(value)
        said.append("\n".join(map(tokenizer().decode, rollout.responses[:3])))
    return history, said


# What a row tells ---------------------------------------------------------------------------------


def gold_at_end(row: Row) -> float:
    """Gold over the last three steps, their mean."""
    return statistics.fmean(row["gold"][-3:])


def peak(row: Row) -> int:
    """The step with the highest gold, the first of equals."""
    return max(range(len(row["gold"])), key=row["gold"].__getitem__)


def gold_at_peak(row: Row) -> float:
    """The highest gold of all steps."""
    return max(row["gold"])


def gold_fall(row: Row) -> float:
    """By how much gold ends below its peak, in gold points."""
    return gold_at_peak(row) - row["gold"][-1]


def proxy_rise_after_peak(row: Row) -> float:
    """By how much the proxy rises from gold's peak to the last step; below 0 where it falls."""
    return row["score"][-1] - row["score"][peak(row)]


def proxy_rise(row: Row) -> float:
    """By how much the proxy ever rises above its first step."""
    return max(row["score"]) - row["score"][0]


def kl_at_end(row: Row) -> float:
    """The divergence from the reference at the last step, in nats per response."""
    return row["kl"][-1]


def entropy_at_end(row: Row) -> float:
    """The policy's entropy at the last step, in nats per token."""
    return row["entropy"][-1]


def fluency_lost(row: Row) -> float:
    """By how much the loss on the clerks' replies grows, in nats per token."""
    return row["loss_on_clerks"][-1] - row["loss_on_clerks"][0]


def road(row: Row) -> list[float]:
    """√KL from the reference at each step, in √nats; an estimate below 0 counts as 0."""
    return [math.sqrt(max(nats, 0)) for nats in row["kl"]]


def gold_between(rows: Sequence[Row], low: float = 2.0, high: float = 4.0) -> list[float]:
    """For each run, mean gold of the steps whose divergence lies between two values, in nats; runs
    without such a step are left out."""
    found = [
        [gold for gold, nats in zip(row["gold"], row["kl"]) if low < nats < high] for row in rows
    ]
    return [statistics.fmean(golds) for golds in found if golds]


def collapsed(row: Row) -> bool:
    """Whether training broke off, fewer than half of a step's responses ended by themselves, or the
    proxy ended by more than 1 below its best."""
    return row["raised"] or min(row["stopped"]) < 0.5 or max(row["score"]) - row["score"][-1] > 1


def stalled(row: Row) -> bool:
    """Whether the proxy never rose by 0.3, in a run that did not break off."""
    return not row["raised"] and proxy_rise(row) < 0.3


# What β does --------------------------------------------------------------------------------------

BETAS = (0.0, 0.05, 0.2, 5.0)


def run_beta(beta: float, seed: int, steps: int) -> dict[str, object]:
    """PPO from the base at one β.

    returns the whole history, and three replies of the first step, of gold's peak and of the last
    step, one a line
    """
    history, said = follow(fresh(), seed, steps, ppo.PPOConfig(beta=beta))
    return history | {
        "replies_start": said[0],
        "replies_peak": said[peak(history)],
        "replies_end": said[-1],
    }


AGAIN = {"beta": 0.05, "seed": 0, "steps": 12}  # short enough for a lab to repeat
LONGER = {"beta": 0.05, "seed": 0, "steps": 24}
BETA = Sweep(
    "ppo.beta",
    run=run_beta,
    grid=[{"beta": beta, "seed": seed, "steps": 50} for seed in SEEDS for beta in BETAS]
    + [AGAIN, LONGER],
    agree={gold_at_end: 0.5},
)

GOLD_ENDS = {
    "ppo.beta0_gold_last3": 0.0,
    "ppo.beta005_gold_end": 0.05,
    "ppo.beta02_gold_end": 0.2,
    "ppo.beta5_gold_end": 5.0,
}
KL_ENDS = {
    "ppo.kl_end_beta0": 0.0,
    "ppo.kl_end_beta005": 0.05,
    "ppo.kl_end_beta02": 0.2,
    "ppo.kl_end_beta5": 5.0,
}
FLUENCY_LOST = {
    "ppo.fluency_lost_beta0": 0.0,
    "ppo.fluency_lost_beta005": 0.05,
    "ppo.fluency_lost_beta02": 0.2,
    "ppo.fluency_lost_beta5": 5.0,
}
ENTROPY_ENDS = {
    "ppo.entropy_end_beta0": 0.0,
    "ppo.entropy_end_beta005": 0.05,
    "ppo.entropy_end_beta02": 0.2,
    "ppo.entropy_end_beta5": 5.0,
}
BEST_OF = {
    "ppo.best_of_1": 1,
    "ppo.best_of_2": 2,
    "ppo.best_of_4": 4,
    "ppo.best_of_8": 8,
    "ppo.best_of_16": 16,
    "ppo.best_of_32": 32,
    "ppo.best_of_64": 64,
}


# Brakes -------------------------------------------------------------------------------------------


def run_stability(
    beta: float, clip: float | None, learning_rate: float, seed: int
) -> dict[str, object]:
    """Ten steps with some of three brakes on or off: the KL penalty, the clip, a small learning
    rate.

    returns raised, whether training broke off, and if it did not, some of the history and three
    replies of the last step
    """
    config = ppo.PPOConfig(beta=beta, clip=clip, learning_rate=learning_rate)
    try:
        history, said = follow(fresh(), seed, 10, config)
    except FloatingPointError:
        return {"raised": True}
    names = ("gold", "score", "kl", "stopped", "entropy", "clip_fraction")
    return {name: history[name] for name in names} | {"raised": False, "replies_end": said[-1]}


BRAKES = {  # as the names of the measures spell them: settings
    "beta005_clip_3e4": {"beta": 0.05, "clip": 0.2, "learning_rate": 3e-4},
    "beta005_no_clip_3e4": {"beta": 0.05, "clip": None, "learning_rate": 3e-4},
    "beta0_clip_3e4": {"beta": 0.0, "clip": 0.2, "learning_rate": 3e-4},
    "beta0_no_clip_3e4": {"beta": 0.0, "clip": None, "learning_rate": 3e-4},
    "beta005_clip_2e3": {"beta": 0.05, "clip": 0.2, "learning_rate": 2e-3},
    "beta005_no_clip_2e3": {"beta": 0.05, "clip": None, "learning_rate": 2e-3},
    "beta0_clip_2e3": {"beta": 0.0, "clip": 0.2, "learning_rate": 2e-3},
    "beta0_no_clip_2e3": {"beta": 0.0, "clip": None, "learning_rate": 2e-3},
}


def gold_while_it_lasts(row: Row) -> float:
    """The mean gold reward of a run that did not collapse: how far down a collapse goes, nobody can
    repeat."""
    return 0.0 if collapsed(row) else statistics.fmean(row["gold"])


STABILITY = Sweep(
    "ppo.stability",
    run=run_stability,
    grid=[settings | {"seed": seed} for seed in SEEDS for settings in BRAKES.values()],
    agree={gold_while_it_lasts: 1.0, collapsed: 0, stalled: 0},
)

COLLAPSED = {
    "ppo.collapsed_beta005_clip_3e4": BRAKES["beta005_clip_3e4"],
    "ppo.collapsed_beta005_no_clip_3e4": BRAKES["beta005_no_clip_3e4"],
    "ppo.collapsed_beta0_clip_3e4": BRAKES["beta0_clip_3e4"],
    "ppo.collapsed_beta0_no_clip_3e4": BRAKES["beta0_no_clip_3e4"],
    "ppo.collapsed_beta005_clip_2e3": BRAKES["beta005_clip_2e3"],
    "ppo.collapsed_beta005_no_clip_2e3": BRAKES["beta005_no_clip_2e3"],
    "ppo.collapsed_beta0_clip_2e3": BRAKES["beta0_clip_2e3"],
    "ppo.collapsed_beta0_no_clip_2e3": BRAKES["beta0_no_clip_2e3"],
}
GOLD_AFTER_10 = {
    "ppo.gold_after_10_beta005_clip_3e4": BRAKES["beta005_clip_3e4"],
    "ppo.gold_after_10_beta005_no_clip_3e4": BRAKES["beta005_no_clip_3e4"],
    "ppo.gold_after_10_beta0_clip_3e4": BRAKES["beta0_clip_3e4"],
    "ppo.gold_after_10_beta0_no_clip_3e4": BRAKES["beta0_no_clip_3e4"],
    "ppo.gold_after_10_beta005_clip_2e3": BRAKES["beta005_clip_2e3"],
    "ppo.gold_after_10_beta005_no_clip_2e3": BRAKES["beta005_no_clip_2e3"],
    "ppo.gold_after_10_beta0_clip_2e3": BRAKES["beta0_clip_2e3"],
    "ppo.gold_after_10_beta0_no_clip_2e3": BRAKES["beta0_no_clip_2e3"],
}


# Advantages and starts ----------------------------------------------------------------------------

ESTIMATORS = {  # name: the estimator, and how many responses to a prompt it needs
    "GAE, λ = 0.95": (ppo.generalised(1.0, 0.95), 1),
    "GAE, λ = 1": (ppo.generalised(1.0, 1.0), 1),
    "sequence level": (ppo.sequence_level, 1),
    "group mean": (ppo.group_mean(4), 4),
}


def run_advantage(estimator: str, seed: int) -> History:
    """Fifteen steps at the default β with one estimate of the advantage; the number of responses is
    the same for each.

    returns some of the history
    """
    function, copies = ESTIMATORS[estimator]
    history, _ = follow(fresh(), seed, 15, ppo.PPOConfig(), function, copies)
    names = ("gold", "score", "kl", "entropy", "explained_variance")
    return {name: history[name] for name in names}


ADVANTAGES = Sweep(
    "ppo.advantages",
    run=run_advantage,
    grid=[{"estimator": name, "seed": seed} for seed in SEEDS for name in ESTIMATORS],
    agree={gold_at_end: 0.5},
)

ADVANTAGE_MEASURES = {
    "ppo.advantage_gae": "GAE, λ = 0.95",
    "ppo.advantage_lambda_1": "GAE, λ = 1",
    "ppo.advantage_sequence": "sequence level",
    "ppo.advantage_group": "group mean",
}


def run_start(start_from: str, seed: int) -> dict[str, object]:
    """Fifteen steps at the default settings from one start.

    returns some of the history, and three replies of the first step and of the last, one a line
    """
    history, said = follow(tuned_start(start_from, seed), seed, 15, ppo.PPOConfig())
    names = ("gold", "score", "kl", "entropy", "stopped")
    return {name: history[name] for name in names} | {
        "replies_start": said[0],
        "replies_end": said[-1],
    }


STARTS = Sweep(
    "ppo.starts",
    run=run_start,
    grid=[
        {"start_from": name, "seed": seed}
        for seed in SEEDS
        for name in ("base", "a little SFT", "full SFT", "random weights")
    ],
    agree={gold_at_end: 0.5},
)

GOLD_BEFORE = {
    "ppo.start_random_before": "random weights",
    "ppo.start_base_before": "base",
    "ppo.start_little_before": "a little SFT",
    "ppo.start_full_before": "full SFT",
}
GOLD_AFTER = {
    "ppo.start_random_after": "random weights",
    "ppo.start_base_after": "base",
    "ppo.start_little_after": "a little SFT",
    "ppo.start_full_after": "full SFT",
}
PROXY_RISES = {
    "ppo.start_random_proxy_rise": "random weights",
    "ppo.start_base_proxy_rise": "base",
    "ppo.start_little_proxy_rise": "a little SFT",
    "ppo.start_full_proxy_rise": "full SFT",
}


# Divergence and ratio -----------------------------------------------------------------------------

SPREADS = {  # name: where the policy stands, and the estimate
    "ppo.k1_spread_near": ("near", "k1"),
    "ppo.k2_spread_near": ("near", "k2"),
    "ppo.k3_spread_near": ("near", "k3"),
    "ppo.k1_spread_far": ("far", "k1"),
    "ppo.k2_spread_far": ("far", "k2"),
    "ppo.k3_spread_far": ("far", "k3"),
}


@torch.no_grad()
def exact_kl(policy: nn.Module, reference: nn.Module, rollout: rollouts.Rollout) -> Tensor:
    """The divergence of the next-token distribution at each response token of a rollout, by the sum
    over the vocabulary: float (tokens,), in nats."""
    logits, reference_logits = (model(rollout.ids).logits[:, :-1] for model in (policy, reference))
    return kl.full(logits, reference_logits)[rollout.counts]


@torch.no_grad()
def ratio_gap(policy: nn.Module, sampler: nn.Module, prompts: Sequence[list[int]]) -> float:
    """The largest |ρ − 1| of all tokens that `sampler` draws, with `policy` as π_θ."""
    torch.manual_seed(1)
    stop_id, pad_id = tokenizer().eos_token_id, tokenizer().pad_token_id
    drawn = rollouts.sample(
        sampler, prompts, max_new_tokens=MAX_NEW_TOKENS, stop_id=stop_id, pad_id=pad_id
    )
    rows = join(prompts, drawn.responses, pad_id)
    ids, real, labels = (tensor.to(policy.device) for tensor in rows)
    log_probs = rollouts.response_log_probs(policy, ids, real, labels, temperature=1.0)
    counts = labels[:, 1:] != IGNORE
    ratios = (log_probs - place(drawn.log_probs, counts)).exp()
    return (ratios - 1)[counts].abs().max().item()


# A toy --------------------------------------------------------------------------------------------


def toy_policy() -> LlamaForCausalLM:
    """A policy over five tokens, small enough to list all that it may say; drawn at random."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=5,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=8,
            initializer_range=0.2,
        )
    )


def distance(log_probs: Tensor, aim: Tensor) -> float:
    """KL(π ‖ π*) in nats, the sum over all responses that there are: log π and log π* of each, both
    float (responses,)."""
    return (log_probs.exp() * (log_probs - aim)).sum().item()


# The silent bug -----------------------------------------------------------------------------------


def train_with(response_log_probs: Callable[..., Tensor], steps: int = 6) -> History:
    """PPO from the base with this function in the place of rollouts.response_log_probs.

    returns the history of loss, the policy's at the last update of each step, score and gold
    """
    rewarder, history = reward_model(0), {"loss": [], "score": [], "gold": []}
    torch.manual_seed(0)
    policy, critic = fresh(), copy.deepcopy(rewarder).requires_grad_(True)
    reference = fresh()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-4, weight_decay=0.0)
    for step in range(steps):
        asked = tickets.sample_tickets("train", BATCH, 500 + step)
        rollout = ppo.roll_out(
            policy,
            reference,
            critic,
            proxy(rewarder),
            preferences.prompts(tokenizer(), asked),
            ppo.PPOConfig(),
            stop_id=tokenizer().eos_token_id,
            pad_id=tokenizer().pad_token_id,
        )
        loss = two_updates(policy, rollout, optimizer, response_log_probs)
        gold = preferences.gold_scores(tokenizer(), asked, rollout.responses)
        history["loss"].append(loss)
        history["score"].append(rollout.scores.mean().item())
        history["gold"].append(statistics.fmean(gold))
    return history


def two_updates(
    policy: nn.Module,
    rollout: ppo.PPORollout,
    optimizer: torch.optim.Optimizer,
    response_log_probs: Callable[..., Tensor],
) -> float:
    """Two updates of the policy on a whole rollout; returns the loss of the second one."""
    row = (rollout.ids, rollout.real, rollout.labels, 1.0)
    with torch.no_grad():
        old = response_log_probs(policy, *row)
    for _ in range(2):
        now = response_log_probs(policy, *row)
        loss = ppo.clipped_surrogate(now, old, rollout.advantages, rollout.counts, 0.2)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()
