"""What lab 05 runs: preferences with and without a reward model, and every signal with every choice of
parameters. What a program or a teacher rewards is in after_ppo_verified.py.

The recipe is that of lab 04 wherever it can be: the same base, the same 2,000 pairs, the same reward
model, gold from the same judge. Policies are judged on replies to 256 test tickets, drawn at
temperature 1.
"""

import copy
import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from course import Sweep, grouped, lowest, rows_of
from course.rows import Row
from experiments import ppo as lab_04
from experiments.reward_model import base_replies, scored_draws
from experiments.shared import MAX_NEW_TOKENS, draw, fresh, tokenizer
from helpdesk import preferences, raters, tickets
from helpdesk.tickets import Ticket
from methods import best_of_n, dpo, grpo, lora, ppo, reward, rollouts, sft
from methods.optimize import adamw, minimize, warm_up_and_decay
from methods.reference import reference_of
from methods.reward import Ranking, ScalarModel
from methods.tokens import Batch, join, mask_prompt
from torch import Tensor, nn

SEEDS = (0, 1, 2)  # of every sweep
PAIRS = 2000  # tickets on whose replies a rater chose; about as many pairs
TEST_TICKETS = 256
RESPONSES = 128  # in a step of PPO, GRPO and RLOO

History = dict[str, list[float]]  # one number for each look at the policy, by what it tells


def special() -> dict[str, int]:
    """The ids of the stop token and of padding, as the methods take them."""
    return {"stop_id": tokenizer().eos_token_id, "pad_id": tokenizer().pad_token_id}


# What training costs ------------------------------------------------------------------------------


class Compute:
    """Counts the work of models, in floating-point operations of their matrix products.

    For each token that a model reads, 2 operations a weight forward, and 4 more where it is trained:
    2 back to the inputs, and 2 to the weights unless they are frozen. Attention and an adapter's own
    products are left out: a few percent here. Padding counts, since it is computed.
    """

    def __init__(self, *models: nn.Module):
        self.operations, self.handles = 0.0, []
        self.count(*models)

    def count(self, *models: nn.Module) -> None:
        """Count these as well, and whatever is copied from them."""
        self.handles += [self._watch(model) for model in models]

    def _watch(self, model: nn.Module) -> torch.utils.hooks.RemovableHandle:
        weights = sum(parameter.numel() for parameter in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        backward = 2 * (weights + (trained if trained > weights / 2 else 0))

        def count(_, positional: tuple, named: dict) -> None:
            ids = named["input_ids"] if "input_ids" in named else positional[0]
            again = backward if torch.is_grad_enabled() and trained else 0
            self.operations += ids.numel() * (2 * weights + again)

        return model.register_forward_pre_hook(count, with_kwargs=True)

    def stop(self) -> None:
        """Take the counters off the models."""
        for handle in self.handles:
            handle.remove()


# Preferences: the pairs and the judge -------------------------------------------------------------


@functools.cache
def pairs(seed: int) -> list[Ranking]:
    """The pairs on which lab 04's reward model of this seed was trained."""
    asked = tickets.sample_tickets("train", PAIRS, 100 + seed)
    drawn = base_replies(asked, 2, seed)
    return preferences.rankings(tokenizer(), asked, drawn, raters.Rater(), seed)


@functools.cache
def test_tickets() -> tuple[list[Ticket], list[list[int]]]:
    """The tickets that policies are judged on, and their prompts in token ids."""
    asked = tickets.sample_tickets("test", TEST_TICKETS, 5)
    return asked, preferences.prompts(tokenizer(), asked)


def judged(policy: nn.Module, reference: nn.Module) -> dict[str, float]:
    """One reply to each test ticket, always with the same random numbers.

    returns gold, in points · kl, from the reference, in nats per reply · length, in tokens
    """
    asked, prompts = test_tickets()
    before = torch.get_rng_state()
    torch.manual_seed(9)
    rollout = rollouts.roll_out(
        policy,
        reference,
        lambda _, responses: torch.zeros(len(responses)),
        prompts,
        max_new_tokens=MAX_NEW_TOKENS,
        temperature=1.0,
        **special(),
    )
    torch.set_rng_state(before)  # so that looking changes nothing
    gold = preferences.gold_scores(tokenizer(), asked, rollout.responses)
    seen = rollouts.summary(rollout)
    return {"gold": statistics.fmean(gold), "kl": seen["kl"], "length": seen["length"]}


class Watch:
    """Looks at a policy in training: gold, KL and the operations spent so far.

    every: steps between two looks
    """

    def __init__(self, policy: nn.Module, every: int):
        self.policy, self.reference, self.every = policy, reference_of(policy), every
        self.compute = Compute(policy)
        self.history: History = {}

    def look(self, step: int) -> None:
        """Look, if it is time: what the look itself costs is not counted."""
        if step % self.every:
            return
        spent = self.compute.operations
        seen = judged(self.policy, self.reference) | {"operations": spent, "step": step}
        self.compute.operations = spent
        for name, value in seen.items():
            self.history.setdefault(name, []).append(value)

    def along(self, training: Iterable[dict[str, float]]) -> History:
        """Go through a training to its end; returns its metrics, step by step."""
        metrics: History = {}
        self.look(0)
        for step, told in enumerate(training, start=1):
            for name, value in told.items():
                metrics.setdefault(name, []).append(value)
            self.look(step)
        self.compute.stop()
        return metrics


# The signals --------------------------------------------------------------------------------------

Steps = Iterable[dict[str, float]]  # trains a policy in place; each step gives its metrics


def by_sft(policy: nn.Module, rate: float, seed: int, some: Sequence[Ranking]) -> Steps:
    """SFT on the chosen replies, 32 at a step, one pass."""
    chosen = [mask_prompt(prompt, responses[0]) for prompt, responses in some]
    steps = len(chosen) // 32
    optimizer = adamw(policy.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(steps))

    def loss(batch: Batch) -> Tensor:
        ids, labels = (part.to(policy.device) for part in batch)
        return sft.sft_loss(policy(input_ids=ids, use_cache=False).logits, labels)

    pad_id = special()["pad_id"]
    for batch in sft.batches(chosen, batch_size=32, steps=steps, pad_id=pad_id, seed=seed):
        losses = minimize(loss, [batch], optimizer)
        schedule.step()
        yield {"loss": losses[0]}


def by_dpo(
    policy: nn.Module,
    rate: float,
    seed: int,
    some: Sequence[Ranking],
    *,
    beta: float = 0.1,
    epochs: int = 1,
    reference: nn.Module | None = None,
    dpo_loss: Callable = dpo.dpo_loss,
) -> Steps:
    """DPO on the pairs, 32 at a step."""
    return dpo.train(
        policy,
        some,
        pad_id=special()["pad_id"],
        reference=reference,
        loss=lambda logs, beta: dpo_loss(logs.policy, logs.reference, beta),
        beta=beta,
        epochs=epochs,
        learning_rate=rate,
        seed=seed,
    )


def by_ppo(
    policy: nn.Module,
    critic: ScalarModel,
    rate: float,
    seed: int,
    score: rollouts.Score,
    steps: int,
) -> Steps:
    """PPO as in lab 04; the critic is tuned in full, whatever the policy."""
    training = ppo.train(
        policy,
        critic,
        score,
        (preferences.prompts(tokenizer(), group) for group in asked_in(steps, 1, seed)),
        ppo.PPOConfig(learning_rate=rate),
        **special(),
    )
    return (metrics for _, metrics in training)


def by_groups(
    recipe: str,
    policy: nn.Module,
    rate: float,
    seed: int,
    score: rollouts.Score,
    steps: int,
    *,
    advantages: grpo.Advantages | None = None,
) -> Steps:
    """GRPO or RLOO; β, the passes and the number of responses are PPO's.

    advantages: None for the recipe's own
    """
    config = replace(grpo.RECIPES[recipe], learning_rate=rate, passes=2)
    config = replace(config, advantages=advantages) if advantages else config
    groups = asked_in(steps, config.size, seed)
    training = grpo.train(
        policy,
        score,
        (preferences.prompts(tokenizer(), group) for group in groups),
        config,
        **special(),
    )
    return (metrics for _, metrics in training)


def asked_in(steps: int, size: int, seed: int) -> list[list[Ticket]]:
    """The tickets of each step, so many that RESPONSES replies come out at `size` for each."""
    count = RESPONSES // size
    asked = tickets.sample_tickets("train", steps * count, 200 + seed)
    return [asked[start : start + count] for start in range(0, len(asked), count)]


# One cell: a signal and a choice of parameters ----------------------------------------------------

RANKS = {"full": 0, "r = 64": 64, "r = 8": 8, "r = 1": 1}
BETA = ppo.PPOConfig().beta  # of DPO too: both then aim at the same policy
STEPS = 12  # of PPO, GRPO and RLOO
LOOKS = {"SFT": 20, "DPO": 20, "PPO": 4, "GRPO": 4, "RLOO": 4}  # steps between two of them


def policy_of(parameters: str, seed: int) -> nn.Module:
    """The base, all of it to be tuned, or with a fresh adapter on every linear layer."""
    torch.manual_seed(seed)
    model = fresh()
    if rank := RANKS[parameters]:
        lora.inject(model, rank=rank, alpha=32)
    return model


def run_cell(
    signal: str,
    parameters: str,
    rate: float,
    seed: int,
    *,
    dpo_loss: Callable = dpo.dpo_loss,
    standardised: grpo.Advantages = grpo.standardised,
    leave_one_out: grpo.Advantages = grpo.leave_one_out,
) -> dict[str, object]:
    """One signal on the help desk's replies, all from the same 2,000 pairs: SFT and DPO read them,
    PPO, GRPO and RLOO ask the reward model that was trained on them.

    returns step, gold, kl, length and operations at each look · changed and changed_bf16, the share
    of the weights that training moved, in float32 and once both are rounded to bfloat16 · trained,
    how many numbers trained · copied, the bytes of a second model that the reference took
    """
    some, policy = pairs(seed), policy_of(parameters, seed)
    rewarder = None if signal in ("SFT", "DPO") else lab_04.reward_model(seed)
    proxy = rewarder and lab_04.proxy(rewarder)
    watch, started = Watch(policy, LOOKS[signal]), weights_of(policy)
    torch.manual_seed(seed)
    if signal == "SFT":
        training = by_sft(policy, rate, seed, some)
    elif signal == "DPO":
        training = by_dpo(policy, rate, seed, some, beta=BETA, dpo_loss=dpo_loss)
    elif signal == "PPO":
        critic = copy.deepcopy(rewarder).requires_grad_(True)
        watch.compute.count(critic.body, rewarder.body)
        training = by_ppo(policy, critic, rate, seed, proxy, STEPS)
    else:
        watch.compute.count(rewarder.body)
        own = {"GRPO": standardised, "RLOO": leave_one_out}[signal]
        training = by_groups(signal, policy, rate, seed, proxy, STEPS, advantages=own)
    metrics = watch.along(training)
    kept = ("chosen", "rejected", "score", "flat_groups")
    return (
        watch.history
        | {name: metrics[name] for name in kept if name in metrics}
        | moved(started, weights_of(policy))
        | {"trained": lora.count(policy)[0]}
        | {"copied": 0 if rewarder is None else copied(policy, watch.reference)}
    )


@torch.no_grad()
def weights_of(model: nn.Module) -> list[Tensor]:
    """Every weight of the base as the model uses it, an adapter's part included; copies."""
    added = {
        layer.base.weight: lora.merged_weight(layer.base.weight, *layer.matrices(layer.active))
        for layer in lora.layers(model).values()
    }
    adapters = {id(each) for layer in lora.layers(model).values() for each in layer.A.values()}
    adapters |= {id(each) for layer in lora.layers(model).values() for each in layer.B.values()}
    return [
        added.get(parameter, parameter).clone()
        for parameter in model.parameters()
        if id(parameter) not in adapters
    ]


def moved(before: Sequence[Tensor], after: Sequence[Tensor]) -> dict[str, float]:
    """The share of weights that are no longer equal, bit for bit: as they are (changed), and once
    both are rounded to bfloat16 (changed_bf16)."""
    count = sum(weight.numel() for weight in before)
    return {
        name: sum((old.to(kind) != new.to(kind)).sum().item() for old, new in zip(before, after))
        / count
        for name, kind in (("changed", torch.float32), ("changed_bf16", torch.bfloat16))
    }


def copied(policy: nn.Module, reference: nn.Module) -> int:
    """The bytes of a reference that are not the policy's own."""
    own = {parameter.data_ptr() for parameter in policy.parameters()}
    return sum(p.nbytes for p in reference.parameters() if p.data_ptr() not in own)


def gold_at_end(row: Row) -> float:
    """Gold at the last look."""
    return row["gold"][-1]


def kl_at_end(row: Row) -> float:
    """The divergence from the reference at the last look, in nats per reply."""
    return row["kl"][-1]


# Expected before the first run: gold in the order SFT, DPO, PPO; GRPO and RLOO within 0.2 of PPO;
# under PPO and GRPO each rank within 0.2 of full tuning, under SFT rank 1 behind it; in bfloat16
# fewer than a third of the weights changed after PPO and GRPO, nearly all after SFT.
SIGNALS = ("SFT", "DPO", "PPO", "GRPO")
RATES = {"full": (1e-4, 3e-4, 1e-3)}
RATES |= dict.fromkeys(("r = 64", "r = 8", "r = 1"), (3e-4, 1e-3, 3e-3))
CELL_RATES = Sweep(
    "after.cell_rates",
    run_cell,
    [
        {"signal": signal, "parameters": parameters, "rate": rate, "seed": 9}
        for signal, parameters in (*itertools.product(SIGNALS, RANKS), ("RLOO", "full"))
        for rate in RATES[parameters]
    ],
    agree={gold_at_end: 0.6},
)


def gold_missing(row: Row) -> float:
    """Gold at the end with its sign turned: the lower, the better."""
    return -gold_at_end(row)


def cell_grid() -> list[Row]:
    """Every cell at the rate that brought it the most gold, on a seed of its own."""
    best = lowest(rows_of(CELL_RATES), gold_missing, "signal", "parameters")
    return [
        {"signal": signal, "parameters": parameters, "rate": row["rate"], "seed": seed}
        for (signal, parameters), row in best.items()
        for seed in SEEDS
    ]


CELLS = Sweep("after.cells", run_cell, cell_grid, agree={gold_at_end: 0.6})


def live_cell() -> Row:
    """The cell that the lab repeats: DPO with an adapter of rank 8."""
    wanted = {"signal": "DPO", "parameters": "r = 8", "seed": 0}
    return next(row for row in cell_grid() if wanted.items() <= row.items())


# What the pairs are made of -----------------------------------------------------------------------

EPOCHS = 3
DPO_BETAS = (0.01, 0.05, 0.3)


def run_long(beta: float, seed: int) -> dict[str, object]:
    """DPO at one β, in three passes over the pairs.

    returns step, gold, kl, length and operations at each look · chosen and rejected, what the
    log-probability of each response has gained since the reference, in nats, at every step
    """
    policy = policy_of("full", seed)
    watch = Watch(policy, 31)
    torch.manual_seed(seed)
    metrics = watch.along(by_dpo(policy, 3e-4, seed, pairs(seed), beta=beta, epochs=EPOCHS))
    return watch.history | {name: metrics[name] for name in ("chosen", "rejected", "accuracy")}


# Expected: the log-probability of the chosen replies falls at every β, the more the smaller β; at
# the smallest, gold peaks before the last pass ends.
LONG = Sweep(
    "after.dpo_beta",
    run_long,
    [{"beta": beta, "seed": seed} for seed in SEEDS for beta in DPO_BETAS],
    agree={gold_at_end: 0.6},
)

SOURCES = ("the base's", "its own", "its own, refreshed")
SOURCE_TICKETS = 1000


def compared(model: nn.Module, asked: Sequence[Ticket], seed: int) -> list[Ranking]:
    """The default rater's choices between two replies of a model to each ticket."""
    torch.manual_seed(seed)
    drawn = draw(model, preferences.prompts(tokenizer(), asked), 2)
    return preferences.rankings(tokenizer(), asked, drawn, raters.Rater(), seed)


def run_source(source: str, seed: int) -> dict[str, object]:
    """DPO from a policy that ten steps of SFT have taken away from the base, on the pairs of
    SOURCE_TICKETS tickets.

    source: whose replies were compared: "the base's", "its own", or "its own, refreshed", half of
    them, and the other half once the policy has learned from these · returns gold and kl, from where
    the policy started, at the end · pairs, how many held two different replies
    """
    policy = lab_04.tuned_start("a little SFT", seed)
    start, half = reference_of(policy), SOURCE_TICKETS // 2
    asked = tickets.sample_tickets("train", SOURCE_TICKETS, 400 + seed)
    author = fresh() if source == "the base's" else policy
    parts = [asked[:half], asked[half:]] if source == "its own, refreshed" else [asked]
    begun, found = judged(policy, start), []
    for number, part in enumerate(parts):
        some = compared(author, part, 10 * seed + number)
        for _ in by_dpo(policy, 3e-4, seed, some, beta=BETA, reference=start):
            pass
        found += some
    return {"gold_start": begun["gold"], "pairs": len(found)} | judged(policy, start)


# Expected: a policy gains most from choices between its own replies, refreshed best of all.
SOURCE = Sweep(
    "after.source",
    run_source,
    [{"source": source, "seed": seed} for seed in SEEDS for source in SOURCES],
    agree={"gold": 0.6},
)


# Best-of-n ----------------------------------------------------------------------------------------

BEST_OF = (1, 4, 16, 64)


def run_best_of(seed: int) -> dict[str, object]:
    """Best of n replies of the base, by the same reward model, on 64 test tickets.

    returns n and the mean gold of the best of so many, over all subsets of 64 replies
    """
    asked, _ = test_tickets()
    proxies, golds = scored_draws(lab_04.reward_model(seed), asked[:64], max(BEST_OF), seed)
    means = [best_of_n.expected_value(proxies, golds, n).mean().item() for n in BEST_OF]
    return {"n": list(BEST_OF), "gold": means}


BEST = Sweep("after.best_of", run_best_of, [{"seed": seed} for seed in SEEDS], agree={"gold": 0.3})


# Stacks -------------------------------------------------------------------------------------------

STACKS = ("SFT → PPO", "SFT → DPO", "DPO → PPO", "SFT → DPO → PPO")


def run_stack(stack: str, seed: int) -> dict[str, object]:
    """Several signals one after another, all from the same 2,000 pairs, each at the rate that was
    best for it alone; a stage's reference is the policy that the stage before left.

    returns gold, before the first stage and after each
    """
    rates = lowest(rows_of(CELL_RATES), gold_missing, "signal", "parameters")
    policy, some = policy_of("full", seed), pairs(seed)
    start = reference_of(policy)
    golds = [judged(policy, start)["gold"]]
    for signal in stack.split(" → "):
        rate = rates[signal, "full"]["rate"]
        torch.manual_seed(seed)
        if signal == "SFT":
            training = by_sft(policy, rate, seed, some)
        elif signal == "DPO":
            training = by_dpo(policy, rate, seed, some, beta=BETA)
        else:
            rewarder = lab_04.reward_model(seed)
            critic = copy.deepcopy(rewarder).requires_grad_(True)
            training = by_ppo(policy, critic, rate, seed, lab_04.proxy(rewarder), STEPS)
        for _ in training:
            pass
        golds.append(judged(policy, start)["gold"])
    return {"gold": golds}


# Expected: three stages end above SFT and PPO alone, and most of the gain comes with the preferences.
STACK = Sweep(
    "after.stacks",
    run_stack,
    [{"stack": stack, "seed": seed} for seed in SEEDS for stack in STACKS],
    agree={gold_at_end: 0.6},
)


# What a row tells, and the names of the measures --------------------------------------------------


def work(row: Row) -> float:
    """What training took, in operations."""
    return row["operations"][-1]


def gold_within(row: Row, operations: float) -> float:
    """Gold at the last look that had cost no more than so many operations."""
    looks = zip(row["gold"], row["operations"])
    return [gold for gold, spent in looks if spent <= operations][-1]


def lightest(rows: Sequence[Row]) -> float:
    """The work of the run that took the least, SFT aside, in operations."""
    return min(work(row) for row in rows if row["signal"] != "SFT")


def over_alone(stacks: Sequence[Row], alone: Sequence[Row], stack: str) -> list[float]:
    """By how much a stack ends above PPO alone, in gold points, for each seed."""
    stacked = grouped(stacks, "seed", gold_at_end, stack=stack)
    single = grouped(alone, "seed", gold_at_end, signal="PPO", parameters="full")
    return [stacked[seed][0] - single[seed][0] for seed in SEEDS]


def gold_fall(row: Row) -> float:
    """By how much gold ends below its best look."""
    return max(row["gold"]) - row["gold"][-1]


def gold_gain(row: Row) -> float:
    """By how much gold rose above the start."""
    return row["gold"] - row["gold_start"]


def road(row: Row) -> list[float]:
    """√KL from the reference at each look, in √nats; an estimate below 0 counts as 0."""
    return [max(nats, 0) ** 0.5 for nats in row["kl"]]


def running(values: Sequence[float], width: int = 5) -> list[float]:
    """The mean of each value and those around it, for a curve that can be read."""
    return [
        statistics.fmean(values[max(0, i - width // 2) : i + width // 2 + 1])
        for i in range(len(values))
    ]


def smoothed(many: Sequence[Sequence[float]]) -> list[float]:
    """One curve of several seeds' values: their mean, smoothed."""
    return running([statistics.fmean(values) for values in zip(*many)], 15)


def lead(rows: Sequence[Row], cell: tuple[str, str], over: tuple[str, str]) -> list[float]:
    """By how much one cell, (signal, parameters), ends above another, in gold points, for each
    seed."""
    mine, theirs = (
        grouped(rows, "seed", gold_at_end, signal=signal, parameters=parameters)
        for signal, parameters in (cell, over)
    )
    return [mine[seed][0] - theirs[seed][0] for seed in SEEDS]


CHOSEN_LOSSES = {
    "after.chosen_loss_001": 0.01,
    "after.chosen_loss_005": 0.05,
    "after.chosen_loss_03": 0.3,
}
LONG_GOLD = {"after.long_gold_001": 0.01, "after.long_gold_005": 0.05, "after.long_gold_03": 0.3}
LONG_FALL = {"after.long_fall_001": 0.01, "after.long_fall_005": 0.05, "after.long_fall_03": 0.3}
SOURCE_MEASURES = {
    "after.source_old": "the base's",
    "after.source_own": "its own",
    "after.source_refreshed": "its own, refreshed",
}
GOLD_FULL = {
    "after.gold_sft": "SFT",
    "after.gold_dpo": "DPO",
    "after.gold_ppo": "PPO",
    "after.gold_grpo": "GRPO",
    "after.gold_rloo": "RLOO",
}
WORK = {
    "after.work_sft": "SFT",
    "after.work_dpo": "DPO",
    "after.work_ppo": "PPO",
    "after.work_grpo": "GRPO",
    "after.work_rloo": "RLOO",
}
EQUAL_WORK = {
    "after.equal_dpo": "DPO",
    "after.equal_ppo": "PPO",
    "after.equal_grpo": "GRPO",
    "after.equal_rloo": "RLOO",
}
STACK_MEASURES = {
    "after.stack_sft_ppo": "SFT → PPO",
    "after.stack_sft_dpo": "SFT → DPO",
    "after.stack_dpo_ppo": "DPO → PPO",
    "after.stack_all": "SFT → DPO → PPO",
}
STACK_LEADS = {  # the last one is evidence
    "after.lead_sft_ppo": "SFT → PPO",
    "after.lead_dpo_ppo": "DPO → PPO",
    "after.lead_all": "SFT → DPO → PPO",
}
BEST_MEASURES = {
    "after.best_of_1": 1,
    "after.best_of_4": 4,
    "after.best_of_16": 16,
    "after.best_of_64": 64,
}
GRID = {  # signal and parameters
    "after.sft_r64": ("SFT", "r = 64"),
    "after.sft_r8": ("SFT", "r = 8"),
    "after.sft_r1": ("SFT", "r = 1"),
    "after.dpo_r64": ("DPO", "r = 64"),
    "after.dpo_r8": ("DPO", "r = 8"),
    "after.dpo_r1": ("DPO", "r = 1"),
    "after.ppo_r64": ("PPO", "r = 64"),
    "after.ppo_r8": ("PPO", "r = 8"),
    "after.ppo_r1": ("PPO", "r = 1"),
    "after.grpo_r64": ("GRPO", "r = 64"),
    "after.grpo_r8": ("GRPO", "r = 8"),
    "after.grpo_r1": ("GRPO", "r = 1"),
}
RANK_1_GAPS = {
    "after.gap_r1_sft": "SFT",
    "after.gap_r1_dpo": "DPO",
    "after.gap_r1_ppo": "PPO",
    "after.gap_r1_grpo": "GRPO",
}
CHANGED = {  # signal, and in which precision
    "after.changed_sft": ("SFT", "changed"),
    "after.changed_ppo": ("PPO", "changed"),
    "after.changed_bf16_sft": ("SFT", "changed_bf16"),
    "after.changed_bf16_dpo": ("DPO", "changed_bf16"),
    "after.changed_bf16_ppo": ("PPO", "changed_bf16"),
    "after.changed_bf16_grpo": ("GRPO", "changed_bf16"),
}


# The silent bug -----------------------------------------------------------------------------------


def row_log_probs(
    model: nn.Module, rows: Sequence[tuple[list[int], list[int]]], pad_id: int
) -> Tensor:
    """log π(y | x) of each (prompt, response), with its gradient: float (rows,)."""
    ids, real, labels = (part.to(model.device) for part in join(*zip(*rows), pad_id))
    return rollouts.response_log_probs(model, ids, real, labels, temperature=1.0).sum(-1)


def train_with(pair_log_probs: Callable[[nn.Module, Sequence[Ranking], int], Tensor]) -> dict:
    """One pass of DPO over 500 pairs with this function in the place of dpo.pair_log_probs.

    returns the loss of every step, and gold at the end
    """
    policy, some, pad_id = fresh(), pairs(0)[:500], special()["pad_id"]
    start, optimizer = reference_of(policy), adamw(policy.parameters(), 3e-4)

    def loss(part: list[Ranking]) -> Tensor:
        with torch.no_grad():
            before = pair_log_probs(start, part, pad_id)
        return dpo.dpo_loss(pair_log_probs(policy, part, pad_id), before, BETA)

    losses = minimize(loss, reward.batches(some, batch_size=32, epochs=1, seed=0), optimizer)
    return {"loss": losses, "gold": judged(policy, start)["gold"]}
