"""The experiments of lab 02: what LoRA can follow, and where it cannot.

Every run takes the learner's `initialise` and `lora_update`; their defaults are the references of
methods.lora. Rank 0 stands for full tuning.
"""

import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from course import Sweep, grouped, lowest, rows_of, select
from experiments import shared
from experiments.shared import last, score, tokenizer, tune
from helpdesk import language, tasks, tickets, words
from helpdesk.tasks import Example
from helpdesk.tickets import Ticket
from matplotlib.axes import Axes
from methods import adapter_files, lora, sft, subspace
from methods.tokens import Batch
from torch import Tensor, nn

ALPHA = 32
RANKS = (0, 1, 8, 64)

Row = dict[str, object]
Initialise = Callable[[int, int, int], tuple[Tensor, Tensor]]
Update = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def fresh(
    rank: int,
    seed: int = 0,
    *,
    alpha: float = ALPHA,
    targets: str | Sequence[str] = lora.ALL_LINEAR,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> nn.Module:
    """The base: untouched for rank 0, else with a new adapter, the base frozen."""
    torch.manual_seed(seed)
    model = shared.fresh()
    if rank:
        own = {"initialise": initialise, "update": lora_update}
        lora.inject(model, rank=rank, alpha=alpha, targets=targets, **own)
    return model


# Three tasks, at a growing distance from the base -------------------------------------------------


def near(ticket: Ticket) -> Example:
    """A house style, in sentences that the base has read."""
    return tasks.house_style(0).example(ticket)


def far(ticket: Ticket) -> Example:
    """Triage in a language in which every known word has another word's meaning."""
    return tasks.swap_words(tasks.triage(ticket))


SHIFTS = {"near": near, "middle": tasks.triage, "far": far}
STEPS = {"near": 80, "middle": 500, "far": 500}
FACTS = ("colour", "product", "city", "problem", "day")


def training_set(shift: str, count: int) -> list[Example]:
    """`count` examples of a task, on training tickets."""
    return [SHIFTS[shift](ticket) for ticket in tickets.sample_tickets("train", count, 0)]


def held_out(shift: str, count: int = 200) -> list[Example]:
    """Examples of a task on test tickets."""
    return [SHIFTS[shift](ticket) for ticket in tickets.sample_tickets("test", 200, 0)][:count]


def old_skill(model: nn.Module) -> dict[str, float]:
    """The score of what the base can do already: read a fact from a ticket.

    The base's notes go on behind a fact, so no stop token is asked for.
    """
    asked = zip(tickets.sample_tickets("test", 100, 1), 20 * FACTS)
    return score(model, [tasks.reading(*question) for question in asked], stop=False)


def ratio(rows: Sequence[Row], what: str, shift: str, count: int, rank: int) -> float:
    """LoRA's mean over the seeds, divided by full tuning's."""
    wanted = {"shift": shift, "count": count}
    ours, full = (statistics.fmean(select(rows, what, rank=r, **wanted)) for r in (rank, 0))
    return ours / full


def mean_tokens(rows: Sequence[Row], shift: str, count: int, rank: int) -> float:
    """The share of right tokens, mean over the seeds."""
    return statistics.fmean(select(rows, "tokens", shift=shift, count=count, rank=rank))


def draw_heat_map(ax: Axes, rows: Sequence[Row], what: str) -> None:
    """LoRA divided by full tuning, by task and number of examples, and by rank."""
    grid = [[ratio(rows, what, *cell, rank) for rank in RANKS[1:]] for cell in CELLS]
    ax.imshow(grid, cmap="RdYlBu", vmin=0, vmax=1.1, aspect="auto")
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            ink = "#101418" if 0.2 < value < 0.95 else "white"
            ax.text(x, y, f"{value:.2f}", ha="center", va="center", color=ink)
    ax.set(xlabel="rank", xticks=range(3), xticklabels=RANKS[1:])
    ax.set(yticks=range(len(CELLS)), yticklabels=[f"{shift}, {count}" for shift, count in CELLS])
    ax.grid(False)


# The learning rate and the scaling ----------------------------------------------------------------

FINE = tuple(2.5e-4 * 2**k for k in range(8))
SCALINGS = ("α/r", "α/√r", "none")


def run_rate(
    rank: int,
    scaling: str,
    rate: float,
    seed: int,
    *,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> Row:
    """Thirty steps on the near task; with scaling "none" the prefactor is 1, as in W' = W₀ + BA."""
    alpha = {"none": rank, "α/r": ALPHA, "α/√r": ALPHA * math.sqrt(rank)}[scaling]
    model = fresh(rank, seed, alpha=alpha, initialise=initialise, lora_update=lora_update)
    losses = tune(model, training_set("near", 512), steps=30, rate=rate, seed=seed)
    return {
        "loss": score(model, held_out("near"))["loss"],
        "loss_at_5": losses[5],
        "loss_at_0": losses[0],
    }


def rates_grid() -> list[Row]:
    """Eight rates for full tuning and rank 8; every second one for all ranks and prefactors."""
    runs = [(0, "none", FINE), (8, "α/r", FINE)]
    runs += [
        (rank, scaling, FINE[::2])
        for rank in RANKS[1:]
        for scaling in SCALINGS
        if (rank, scaling) != (8, "α/r")
    ]
    return [
        {"rank": rank, "scaling": scaling, "rate": rate, "seed": seed}
        for rank, scaling, rates in runs
        for rate in rates
        for seed in (0, 1, 2)
    ]


RATES = Sweep("lora.rates", run_rate, rates_grid(), agree={"loss": 0.01, "loss_at_0": 1e-4})


def best_rate(rows: Sequence[Row], rank: int, scaling: str) -> tuple[float, dict[float, float]]:
    """The rate with the lowest held-out loss, and the mean loss over seeds by rate."""
    found = grouped(rows, "rate", "loss", rank=rank, scaling=scaling)
    means = {rate: statistics.fmean(losses) for rate, losses in found.items()}
    return min(means, key=means.get), means


def spread_over_ranks(rows: Sequence[Row], scaling: str, rate: float = 1e-3) -> float:
    """How far apart the losses of ranks 1, 8 and 64 are after five steps, in nats per token."""
    found = [
        statistics.fmean(select(rows, "loss_at_5", rank=rank, scaling=scaling, rate=rate))
        for rank in RANKS[1:]
    ]
    return max(found) - min(found)


def train_team(number: int, seed: int, **own: Callable) -> nn.Module:
    """The base with an adapter of rank 8 for one team's house style."""
    model, style = fresh(8, seed, **own), tasks.house_style(number)
    examples = [style.example(ticket) for ticket in tickets.sample_tickets("train", 512, seed)]
    tune(model, examples, steps=40, rate=2e-3, seed=seed)
    return model


# Where LoRA follows full tuning -------------------------------------------------------------------

TRIED_RATES = {0: (5e-4, 1e-3, 2e-3)} | dict.fromkeys(RANKS[1:], (1e-3, 2e-3, 4e-3))
CELLS = tuple((shift, count) for shift in SHIFTS for count in (64, 1024))
RATIOS = {
    "lora.ratio_near_64_r1": ("near", 64, 1),
    "lora.ratio_near_64_r8": ("near", 64, 8),
    "lora.ratio_near_64_r64": ("near", 64, 64),
    "lora.ratio_near_1024_r1": ("near", 1024, 1),
    "lora.ratio_near_1024_r8": ("near", 1024, 8),
    "lora.ratio_near_1024_r64": ("near", 1024, 64),
    "lora.ratio_middle_64_r1": ("middle", 64, 1),
    "lora.ratio_middle_64_r8": ("middle", 64, 8),
    "lora.ratio_middle_64_r64": ("middle", 64, 64),
    "lora.ratio_middle_1024_r1": ("middle", 1024, 1),
    "lora.ratio_middle_1024_r8": ("middle", 1024, 8),
    "lora.ratio_middle_1024_r64": ("middle", 1024, 64),
    "lora.ratio_far_64_r1": ("far", 64, 1),
    "lora.ratio_far_64_r8": ("far", 64, 8),
    "lora.ratio_far_64_r64": ("far", 64, 64),
    "lora.ratio_far_1024_r1": ("far", 1024, 1),
    "lora.ratio_far_1024_r8": ("far", 1024, 8),
    "lora.ratio_far_1024_r64": ("far", 1024, 64),
}


def run_shift_rate(
    shift: str,
    count: int,
    rank: int,
    rate: float,
    seed: int,
    *,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> Row:
    """Tune at one rate, to choose the rate by."""
    model = fresh(rank, seed, initialise=initialise, lora_update=lora_update)
    tune(model, training_set(shift, count), steps=STEPS[shift], rate=rate, seed=seed)
    return score(model, held_out(shift))


SHIFT_RATES = Sweep(
    "lora.shift_rates",
    run_shift_rate,
    [
        {"shift": shift, "count": 1024, "rank": rank, "rate": rate, "seed": 0}
        for shift in SHIFTS
        for rank in RANKS
        for rate in TRIED_RATES[rank]
    ],
    agree={"tokens": 0.1},
)


def run_shift(
    shift: str,
    count: int,
    rank: int,
    rate: float,
    seed: int,
    *,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> Row:
    """Tune on one task; score it and, all along, what the base could do before.

    Results: loss, tokens and exact on the task · train_loss · rank90 of the update · old_exact ·
    the course of both losses: trace_step, trace_target, trace_old
    """
    model = fresh(rank, seed, initialise=initialise, lora_update=lora_update)
    before, steps, trace = linear_weights(model), STEPS[shift], []

    def look(step: int) -> None:
        if step % (steps // 10) == 0:
            target = score(model, held_out(shift, 50))["loss"]
            trace.append((step, target, old_skill(model)["loss"]))

    losses = tune(model, training_set(shift, count), steps=steps, rate=rate, seed=seed, look=look)
    look(steps)
    step, target, old = zip(*trace)
    return score(model, held_out(shift)) | {
        "train_loss": last(losses),
        "rank90": mean_rank90(model, before),
        "old_exact": old_skill(model)["exact"],
        "trace_step": step,
        "trace_target": target,
        "trace_old": old,
    }


def chosen_rates() -> dict[tuple[str, int], float]:
    """For every task and rank, the rate with the lowest held-out loss on a seed of its own."""
    best = lowest(rows_of(SHIFT_RATES), "loss", "shift", "rank")
    return {key: row["rate"] for key, row in best.items()}


def shift_grid() -> list[Row]:
    best = chosen_rates()
    return [
        {"shift": shift, "count": count, "rank": rank, "rate": best[shift, rank], "seed": seed}
        for shift, count in CELLS
        for rank in RANKS
        for seed in (1, 2, 3)
    ]


SHIFT = Sweep("lora.shift", run_shift, shift_grid, agree={"tokens": 0.15, "train_loss": 0.3})


# How much of the old skill is lost ----------------------------------------------------------------

EQUAL = {"middle": 0.5, "far": 0.9}  # nats per token on the new task; losses that most runs reach
OLD_LOSSES = {
    "lora.old_loss_middle_r0": ("middle", 0),
    "lora.old_loss_middle_r1": ("middle", 1),
    "lora.old_loss_middle_r8": ("middle", 8),
    "lora.old_loss_middle_r64": ("middle", 64),
    "lora.old_loss_far_r0": ("far", 0),
    "lora.old_loss_far_r1": ("far", 1),
    "lora.old_loss_far_r8": ("far", 8),
    "lora.old_loss_far_r64": ("far", 64),
}
OVERFITS = {
    "lora.overfit_middle_r0": ("middle", 0),
    "lora.overfit_far_r0": ("far", 0),
    "lora.overfit_middle_r1": ("middle", 1),
    "lora.overfit_far_r1": ("far", 1),
    "lora.overfit_middle_r8": ("middle", 8),
    "lora.overfit_far_r8": ("far", 8),
    "lora.overfit_middle_r64": ("middle", 64),
    "lora.overfit_far_r64": ("far", 64),
}


def roads(rows: Sequence[Row], shift: str, rank: int) -> Iterator[tuple[list, list]]:
    """For each seed, the losses on the new task and those on the old skill, along training."""
    wanted = {"shift": shift, "count": 1024, "rank": rank}
    return zip(*(select(rows, what, **wanted) for what in ("trace_target", "trace_old")))


def forgotten(rows: Sequence[Row], shift: str, rank: int) -> list[float]:
    """The loss on the old skill where the loss on the new task first falls below EQUAL, in nats per
    token; one value for each seed that gets there."""
    found = []
    for new, old in roads(rows, shift, rank):
        found += [o for n, o in zip(new, old) if n <= EQUAL[shift]][:1]
    return found


def overfit(row: Row) -> float:
    """Held-out minus training loss, in nats per token."""
    return row["loss"] - row["train_loss"]


# The rank of an update ----------------------------------------------------------------------------

RANKS90 = {
    "lora.rank90_near_64": ("near", 64),
    "lora.rank90_near_1024": ("near", 1024),
    "lora.rank90_middle_64": ("middle", 64),
    "lora.rank90_middle_1024": ("middle", 1024),
    "lora.rank90_far_64": ("far", 64),
    "lora.rank90_far_1024": ("far", 1024),
}


def linear_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every adapted matrix as it acts, W₀ + (α/r) B A where there is an adapter, by name."""
    adapted = {
        path: lora.merged_weight(layer.base.weight, *layer.matrices(layer.active)).detach()
        for path, layer in lora.layers(model).items()
    }
    return adapted or {
        path: linear.weight.detach().clone()
        for path, linear in model.model.named_modules()
        if isinstance(linear, nn.Linear)
    }


def updates(model: nn.Module, before: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """How far each matrix has moved from the weights before, on the CPU."""
    for after, start in zip(linear_weights(model).values(), before.values()):
        yield (after - start).cpu()


def energy(update: Tensor) -> Tensor:
    """The share of an update's energy, the sum of its squared singular values, that the first k of
    them hold; float (singular values,)."""
    squares = torch.linalg.svdvals(update) ** 2
    return squares.cumsum(0) / squares.sum()


def rank90(update: Tensor) -> int:
    """The smallest rank that holds 90 % of an update's energy."""
    squares = torch.linalg.svdvals(update) ** 2
    return int((squares.cumsum(0) < 0.9 * squares.sum()).sum()) + 1


def mean_rank90(model: nn.Module, before: Mapping[str, Tensor]) -> float:
    """rank90 of the updates, the mean over matrices."""
    return statistics.fmean(map(rank90, updates(model, before)))


# Random subspaces ---------------------------------------------------------------------------------

DIMENSIONS = (100, 1_000, 10_000, 100_000)
SUBSPACES = {
    "lora.subspace_near_100": ("near", 100),
    "lora.subspace_near_1000": ("near", 1_000),
    "lora.subspace_near_10000": ("near", 10_000),
    "lora.subspace_near_100000": ("near", 100_000),
    "lora.subspace_middle_100": ("middle", 100),
    "lora.subspace_middle_1000": ("middle", 1_000),
    "lora.subspace_middle_10000": ("middle", 10_000),
    "lora.subspace_middle_100000": ("middle", 100_000),
}


def run_subspace(shift: str, dimension: int, rate: float, seed: int) -> Row:
    """Tune in a random subspace of all the base's parameters."""
    model = subspace.RandomSubspace(fresh(0, seed), dimension, seed)
    losses = tune(model, training_set(shift, 1024), steps=STEPS[shift], rate=rate, seed=seed)
    return score(model, held_out(shift)) | {"train_loss": last(losses)}


SUBSPACE_RATES = Sweep(
    "lora.subspace_rates",
    run_subspace,
    [
        {"shift": "near", "dimension": dimension, "rate": rate, "seed": 0}
        for dimension in DIMENSIONS
        for rate in (1e-2, 4e-2, 1.6e-1, 6.4e-1)
    ],
    agree={"loss": 0.05},
)


def subspace_grid() -> list[Row]:
    """Each dimension at the rate that was best for it on the near task."""
    best = lowest(rows_of(SUBSPACE_RATES), "loss", "dimension")
    return [
        {"shift": shift, "dimension": d, "rate": best[d]["rate"], "seed": seed}
        for shift in ("near", "middle")
        for d in DIMENSIONS
        for seed in (1, 2, 3)
    ]


def at_best_rate(settings: Row) -> Row:
    """Settings of a subspace, or of facts, with the rate that was chosen for them."""
    found = [*subspace_grid(), *facts_grid()]
    return next(row for row in found if settings.items() <= row.items())


SUBSPACE = Sweep("lora.subspace", run_subspace, subspace_grid, agree={"tokens": 0.05})


def inside(rows: Sequence[Row], full: Sequence[Row], shift: str, dimension: int) -> float:
    """Right tokens in a random subspace, divided by full tuning's.

    rows: of SUBSPACE · full: of SHIFT
    """
    found = select(rows, "tokens", shift=shift, dimension=dimension)
    return statistics.fmean(found) / mean_tokens(full, shift, 1024, rank=0)


def dimension_needed(rows: Sequence[Row], full: Sequence[Row], shift: str) -> int:
    """The smallest dimension tried that reaches 90 % of full tuning's right tokens; the number of
    all parameters if none does."""
    reached = (d for d in DIMENSIONS if inside(rows, full, shift, d) >= 0.9)
    return next(reached, lora.count(fresh(0))[1])


# Facts, which can only be memorised ---------------------------------------------------------------

ADAPTERS = {
    "full": {"rank": 0},
    "r = 64": {"rank": 64},
    "r = 8": {"rank": 8},
    "r = 1": {"rank": 1},
    "r = 1, one matrix": {"rank": 1, "targets": ["layers.2.mlp.down_proj"]},
}
FACT_RATES = dict.fromkeys(ADAPTERS, (1e-3, 2e-3)) | {"r = 1, one matrix": (2e-3, 8e-3)}
AMOUNTS = ((64, 400), (256, 1200))  # facts, and steps to learn them in
LONGER = ((64, "r = 1", 1600), (256, "r = 1, one matrix", 4800))  # the same in four times the steps
KNOWN = {
    "lora.known_64_full": {"count": 64, "adapter": "full", "steps": 400},
    "lora.known_256_full": {"count": 256, "adapter": "full", "steps": 1200},
    "lora.known_64_r64": {"count": 64, "adapter": "r = 64", "steps": 400},
    "lora.known_256_r64": {"count": 256, "adapter": "r = 64", "steps": 1200},
    "lora.known_64_r8": {"count": 64, "adapter": "r = 8", "steps": 400},
    "lora.known_256_r8": {"count": 256, "adapter": "r = 8", "steps": 1200},
    "lora.known_64_r1": {"count": 64, "adapter": "r = 1", "steps": 400},
    "lora.known_256_r1": {"count": 256, "adapter": "r = 1", "steps": 1200},
    "lora.known_64_tiny": {"count": 64, "adapter": "r = 1, one matrix", "steps": 400},
    "lora.known_256_tiny": {"count": 256, "adapter": "r = 1, one matrix", "steps": 1200},
}
KNOWN_LONGER = {
    "lora.known_64_r1_longer": {"count": 64, "adapter": "r = 1", "steps": 1600},
    "lora.known_256_tiny_longer": {"count": 256, "adapter": "r = 1, one matrix", "steps": 4800},
}
POINTS = 20  # how often the share of known facts is taken on the way


def run_facts(
    count: int,
    adapter: str,
    rate: float,
    steps: int,
    seed: int,
    *,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> Row:
    """Memorise random facts.

    Results: known, the share of them at the end · curve: the share at twenty points on the way and
    at the end · train_loss · trained: how many numbers trained
    """
    facts, curve = tasks.depot_facts(count, seed), []
    own = {"initialise": initialise, "lora_update": lora_update}
    model = fresh(**ADAPTERS[adapter], seed=seed, **own)

    def look(step: int) -> None:
        if step % (steps // POINTS) == 0:
            curve.append(score(model, facts[:256])["exact"])

    losses = tune(model, facts, steps=steps, rate=rate, seed=seed, size=32, look=look)
    curve.append(score(model, facts)["exact"])
    return {
        "known": curve[-1],
        "curve": curve,
        "train_loss": last(losses),
        "trained": lora.count(model)[0],
    }


FACT_RATES_TRIED = Sweep(
    "lora.facts_rates",
    run_facts,
    [
        {"count": 256, "adapter": adapter, "rate": rate, "steps": 1200, "seed": 0}
        for adapter in ADAPTERS
        for rate in FACT_RATES[adapter]
    ],
    agree={"known": 0.3},  # hundreds of steps let rounding grow
)


def facts_grid() -> list[Row]:
    """Each adapter at the rate that left it the lowest training loss."""
    best = lowest(rows_of(FACT_RATES_TRIED), "train_loss", "adapter")
    runs = [(count, adapter, steps) for count, steps in AMOUNTS for adapter in ADAPTERS]
    return [
        {
            "count": count,
            "adapter": adapter,
            "rate": best[adapter]["rate"],
            "steps": steps,
            "seed": seed,
        }
        for count, adapter, steps in (*runs, *LONGER)
        for seed in (1, 2, 3)
    ]


FACTS_KNOWN = Sweep("lora.facts", run_facts, facts_grid, agree={"known": 0.3})


def rank_needed(shares: Mapping[int, float]) -> int:
    """The smallest rank whose share is within 0.05 of full tuning's; shares by rank, full tuning's
    under 0."""
    return min(rank for rank, share in shares.items() if rank and share >= shares[0] - 0.05)


def rank_needed_for_task(rows: Sequence[Row], shift: str) -> int:
    """The same of the right tokens on a task with 1,024 examples."""
    found = grouped(rows, "rank", "tokens", shift=shift, count=1024)
    return rank_needed({rank: statistics.fmean(values) for rank, values in found.items()})


def rank_needed_for_facts(rows: Sequence[Row], count: int, steps: int) -> int:
    """The same of the facts known; the adapter of one matrix does not take part."""
    shares = {}
    for adapter in list(ADAPTERS)[:4]:
        known = select(rows, "known", adapter=adapter, count=count, steps=steps)
        shares[ADAPTERS[adapter]["rank"]] = statistics.fmean(known)
    return rank_needed(shares)


# The trap of untrained words ----------------------------------------------------------------------


def clerk_ids() -> list[int]:
    """The ids of the clerks' names, which the base has met in word lists and nowhere else."""
    names = (tasks.Example(name, "") for name in words.CLERKS)
    return [language.encode_example(tokenizer(), name)[0][0] for name in names]


def in_peft() -> dict[str, dict[str, object]]:
    """Three ways in which PEFT trains embeddings beside an adapter: options of its LoraConfig."""
    return {
        "embeddings trained": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        "embeddings trained, not tied": {"modules_to_save": ["embed_tokens"]},
        "twelve rows trained": {"trainable_token_indices": {"embed_tokens": clerk_ids()}},
    }


VARIANTS = {
    "lora.trap_full": "full tuning",
    "lora.trap_plain": "plain LoRA",
    "lora.trap_embeddings": "embeddings trained",
    "lora.trap_untied": "embeddings trained, not tied",
    "lora.trap_rows": "twelve rows trained",
    "lora.trap_known_words": "known words",
}


def wrapped(model: nn.Module, options: Mapping[str, object]) -> nn.Module:
    """The model with an adapter of PEFT's, and what `options` add to its LoraConfig."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, lora_alpha=ALPHA, target_modules="all-linear", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of the very trap that is to be shown
        return get_peft_model(model, config)


def run_trap(
    variant: str,
    seed: int,
    *,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> Row:
    """Memorise 32 facts whose responses are clerks, words that the base has hardly seen."""
    facts = (tasks.depot_facts if variant == "known words" else tasks.clerk_facts)(32, seed)
    if variant in in_peft():
        model = wrapped(fresh(0, seed), in_peft()[variant])
    else:
        rank = 0 if variant == "full tuning" else 8
        model = fresh(rank, seed, initialise=initialise, lora_update=lora_update)
    losses = tune(model, facts, steps=200, rate=2e-3, seed=seed)
    return {
        "known": score(model, facts)["exact"],
        "train_loss": last(losses),
        "curve": losses[::10],
        "trained": lora.count(model)[0],
    }


TRAP = Sweep(
    "lora.trap",
    run_trap,
    [{"variant": variant, "seed": seed} for variant in VARIANTS.values() for seed in (0, 1, 2)],
    agree={"train_loss": 0.5},
)


# Twenty teams -------------------------------------------------------------------------------------


def run_team(
    number: int,
    seed: int,
    *,
    initialise: Initialise = lora.initialise,
    lora_update: Update = lora.lora_update,
) -> Row:
    """One adapter for one team's house style, scored on 200 test tickets."""
    model = train_team(number, seed, initialise=initialise, lora_update=lora_update)
    return score(model, team_test(number, 200))


TEAMS = Sweep(
    "lora.teams",
    run_team,
    [{"number": number, "seed": 0} for number in range(20)],
    agree={"exact": 0.05},
)


def team_test(number: int, count: int = 100) -> list[Example]:
    """What a team's model should reply to test tickets."""
    style = tasks.house_style(number)
    return [style.example(ticket) for ticket in tickets.sample_tickets("test", count, 0)]


def a_day(
    shelf: Path, unmerged_weight: Callable, merged_weight: Callable, turns: int = 6
) -> list[float]:
    """One model serves teams 0, 1, 2, 0, 1, 2: merge an adapter, answer, take it out again.

    shelf: the folder with the adapters team0, team1, team2 · returns the share of right replies at
    each turn
    """
    model = shared.fresh()
    for number in range(3):
        adapter_files.load(model, shelf / f"team{number}", f"team{number}")
    shares = []
    for turn in range(turns):
        lora.activate(model, f"team{turn % 3}")
        lora.merge(model, merged_weight)
        shares.append(score(model, team_test(turn % 3))["exact"])
        lora.unmerge(model, unmerged_weight)
    return shares


# Parts of the notebook ----------------------------------------------------------------------------


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors, as a share of the largest entry of the second."""
    return ((one - other).abs().max() / other.abs().max()).item()


def gradient_gaps(model: nn.Module, batch: Batch, alpha: float = ALPHA) -> list[float]:
    """How far each adapter's gradients are from (α/r) G Aᵀ and (α/r) Bᵀ G, with G the gradient of
    the loss in the whole weight; two numbers for each layer, relative."""
    for layer in lora.layers(model).values():
        nn.init.normal_(layer.B["default"], std=0.02)  # at B = 0 the gradient of A would be 0
        layer.base.weight.requires_grad_(True)  # to see G as well
    ids, labels = batch
    sft.sft_loss(model(input_ids=ids).logits, labels).backward()
    gaps = []
    for layer in lora.layers(model).values():
        G, A, B = layer.base.weight.grad, layer.A["default"], layer.B["default"]
        factor = alpha / len(A)
        gaps += [apart(B.grad, factor * G @ A.T), apart(A.grad, factor * B.T @ G)]
    return gaps


def matrices(model: nn.Module) -> list[Tensor]:
    """A and B of every adapted layer."""
    found = lora.layers(model).values()
    return [matrix for layer in found for matrix in layer.matrices("default")[:2]]


def milliseconds(action: Callable[[], object], times: int = 15) -> float:
    """The median time of an action, in ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def step_times(rank: int, **own: Callable) -> float:
    """Seconds for ten steps on triage."""
    model, examples = fresh(rank, **own), training_set("middle", 256)
    began = time.perf_counter()
    tune(model, examples, steps=10, rate=1e-3, seed=0)
    return time.perf_counter() - began
