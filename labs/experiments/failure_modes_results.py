"""What lab 10 makes of its stored rows: names of measures, what the pictures draw, two short runs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from course import select
from course.rows import Row, What
from experiments import failure_modes as experiment
from experiments import lora as lab_02
from experiments.shared import score, tune
from helpdesk import tasks
from helpdesk.tasks import Example
from matplotlib.axes import Axes
from methods.targets import linear_targets, named
from torch import Tensor, nn

# Errors in the data -------------------------------------------------------------------------------

NOISE_UNITS = {
    "greedy": "share of wrong cities, decoded greedily",
    "sampled": "probability of a wrong city",
    "among_hit": "share of wrong cities for the products that were hit, decoded greedily",
    "shown": "share of wrong examples",
}
NOISE = {
    "failures.any_greedy_20": ("any wrong city", 0.2, "greedy"),
    "failures.any_sampled_20": ("any wrong city", 0.2, "sampled"),
    "failures.any_greedy_30": ("any wrong city", 0.3, "greedy"),
    "failures.any_sampled_30": ("any wrong city", 0.3, "sampled"),
    "failures.any_greedy_40": ("any wrong city", 0.4, "greedy"),
    "failures.any_sampled_40": ("any wrong city", 0.4, "sampled"),
    "failures.one_greedy_30": ("one wrong city", 0.3, "greedy"),
    "failures.one_sampled_30": ("one wrong city", 0.3, "sampled"),
    "failures.one_greedy_40": ("one wrong city", 0.4, "greedy"),
    "failures.one_sampled_40": ("one wrong city", 0.4, "sampled"),
    "failures.products_shown": ("whole products", 0.2, "shown"),
    "failures.products_greedy": ("whole products", 0.2, "greedy"),
    "failures.products_hit": ("whole products", 0.2, "among_hit"),
    "failures.products_sampled": ("whole products", 0.2, "sampled"),
}
CORRECTED = {
    "failures.corrected_any_greedy_20": ("any wrong city", 0.2, "greedy"),
    "failures.corrected_any_sampled_20": ("any wrong city", 0.2, "sampled"),
    "failures.corrected_any_greedy": ("any wrong city", 0.4, "greedy"),
    "failures.corrected_any_sampled": ("any wrong city", 0.4, "sampled"),
    "failures.corrected_one_greedy": ("one wrong city", 0.4, "greedy"),
    "failures.corrected_one_sampled": ("one wrong city", 0.4, "sampled"),
}
LONGER = {
    "failures.longer_usual_greedy": ("usual", "greedy"),
    "failures.longer_usual_sampled": ("usual", "sampled"),
    "failures.longer_corrected_greedy": ("corrected", "greedy"),
    "failures.longer_corrected_sampled": ("corrected", "sampled"),
}

# A low rank ---------------------------------------------------------------------------------------

RANK_UNIT = "share of facts known"
RATES_SEED = 9
AT_500, AT_1000, AT_THE_END = 2, 3, 4  # of LOOKS
RANKED = {
    "failures.few_full_500": ("few", {"parameters": "full", "rate": 1e-3}, AT_500),
    "failures.few_r1_500": ("few", {"parameters": "r = 1", "rate": 1e-3}, AT_500),
    "failures.few_r1_1000": ("few", {"parameters": "r = 1", "rate": 1e-3}, AT_1000),
    "failures.few_r1": ("few", {"parameters": "r = 1", "rate": 1e-3}, AT_THE_END),
    "failures.few_r1_high": ("few", {"parameters": "r = 1", "rate": 2e-3}, AT_THE_END),
    "failures.few_r4_500": ("few", {"parameters": "r = 4", "rate": 1e-3}, AT_500),
    "failures.few_r4_1000": ("few", {"parameters": "r = 4", "rate": 1e-3}, AT_1000),
    "failures.few_r16_1000": ("few", {"parameters": "r = 16", "rate": 1e-3}, AT_1000),
    "failures.many_full_500": ("many", {"parameters": "full"}, AT_500),
    "failures.many_full_1000": ("many", {"parameters": "full"}, AT_1000),
    "failures.many_full": ("many", {"parameters": "full"}, AT_THE_END),
    "failures.many_r4_500": ("many", {"parameters": "r = 4"}, AT_500),
    "failures.many_r4_1000": ("many", {"parameters": "r = 4"}, AT_1000),
    "failures.many_r4": ("many", {"parameters": "r = 4"}, AT_THE_END),
    "failures.many_r1_1000": ("many", {"parameters": "r = 1"}, AT_1000),
    "failures.many_r1": ("many", {"parameters": "r = 1"}, AT_THE_END),
}


def known_by_adapters(rows: Sequence[Row]) -> dict[int, float]:
    """By rank, the largest share of facts that an adapter knows at the end, over the rates."""
    return {
        rank: max(curve[AT_THE_END] for curve in select(rows, "known", parameters=parameters))
        for parameters, rank in experiment.RANKS.items()
        if rank
    }


# What full tuning adds, and what is left of it at a rank ------------------------------------------

TUNED_STEPS = 1000
CUT = (  # rank, and the names of what it misses and of what is still known
    (1, "failures.missed_r1", "failures.cut_r1"),
    (4, "failures.missed_r4", "failures.cut_r4"),
    (16, "failures.missed_r16", "failures.cut_r16"),
)


@dataclass
class Tuned:
    """A base with all its parameters tuned on facts, and what that added to its matrices.

    before, changes: float (rows, columns) for each linear layer on which an adapter would sit
    """

    model: nn.Module
    facts: list[Example]
    before: dict[nn.Linear, Tensor]
    changes: dict[nn.Linear, Tensor]

    @torch.no_grad()
    def known_at(self, rank: int) -> float:
        """The share of the facts that are known with every change cut to its best of this rank.

        Embeddings, norms and the output layer stay as tuned. The model is left as it was asked.
        """
        for layer, change in self.changes.items():
            layer.weight.copy_(self.before[layer] + of_rank(change, rank))
        return score(self.model, self.facts)["exact"]


def of_rank(change: Tensor, rank: int) -> Tensor:
    """The best approximation of a matrix by one of this rank (Eckart and Young 1936)."""
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


def tuned_on_facts(rate: float, seed: int) -> Tuned:
    """Full tuning for TUNED_STEPS steps on the 256 facts that the sweep has for this seed."""
    facts = tasks.depot_facts(experiment.FEW, 40 + seed)
    model = lab_02.fresh(0, seed=seed)
    names = [path for target in linear_targets(model) for path in named(model, target)]
    layers = [model.get_submodule(name) for name in names]
    before = {layer: layer.weight.detach().clone() for layer in layers}
    tune(model, facts, steps=TUNED_STEPS, rate=rate, seed=seed, size=32)
    changes = {layer: layer.weight.detach() - before[layer] for layer in layers}
    return Tuned(model, facts, before, changes)


# A reward model exploited -------------------------------------------------------------------------

BUDGET = 10.0  # nats per reply, where early stopping stops
LINE = "{gold:6.2f}{lost:6.2f}{score:7.2f}{kl:7.1f}{length:8.1f}{labels:8.0f}"
HACK_RESULTS: dict[str, What] = {
    "gold": experiment.gold_at_end,
    "lost": experiment.gold_lost,
    "kl": lambda row: statistics.fmean(row["kl"][-3:]),
    "length": lambda row: statistics.fmean(row["length"][-3:]),
    "score": lambda row: statistics.fmean(row["score"][-3:]),
    "labels": "labels",
}
HACK_UNITS = {
    "gold": "gold points, the mean of the last three steps",
    "lost": "gold points below the best step",
    "kl": "nats per reply, the mean of the last three steps",
    "length": "tokens per reply, the mean of the last three steps",
}
HACKED = {
    "failures.fair_none": ("fair", "none", "gold"),
    "failures.fair_none_lost": ("fair", "none", "lost"),
    "failures.fair_penalty": ("fair", "KL penalty", "gold"),
    "failures.fair_more": ("fair", "more pairs", "gold"),
    "failures.fair_ensemble": ("fair", "ensemble", "gold"),
    "failures.fair_fresh": ("fair", "fresh labels", "gold"),
    "failures.long_none": ("fond of length", "none", "gold"),
    "failures.long_none_length": ("fond of length", "none", "length"),
    "failures.long_penalty": ("fond of length", "KL penalty", "gold"),
    "failures.long_fresh": ("fond of length", "fresh labels", "gold"),
}
FRESH_OVER = {"failures.fresh_over_none": "none", "failures.fresh_over_more": "more pairs"}
JUDGED = (
    ("first", "failures.spread_first", "failures.judged_first"),
    ("last", "failures.spread_last", "failures.judged_last"),
)
STOPPED = {"failures.fair_stopped": "fair", "failures.long_stopped": "fond of length"}


def ends(rows: Sequence[Row], rater: str, remedy: str) -> dict[str, float]:
    """The means over the seeds of HACK_RESULTS, for one rater and one remedy."""
    return {
        name: statistics.fmean(select(rows, what, rater=rater, remedy=remedy))
        for name, what in HACK_RESULTS.items()
    }


def curves(rows: Sequence[Row], what: What, rater: str, remedy: str) -> list[list[float]]:
    """One result of every run with this rater and this remedy; none if they were not run together."""
    return (
        select(rows, what, rater=rater, remedy=remedy) if remedy in experiment.TRIED[rater] else []
    )


def running(values: Sequence[float], width: int = 3) -> list[float]:
    """The mean of each value and up to width - 1 before it."""
    return [statistics.fmean(values[max(0, at - width + 1) : at + 1]) for at in range(len(values))]


def kl_after_each_step(row: Row) -> list[float]:
    """A row has the divergence of the batch that each step begins with: 0 at first."""
    return row["kl"][1:]


def gold_after(row: Row, steps: int) -> float:
    """Gold of the batch that the policy writes after so many steps."""
    return row["gold"][steps]


def first_of_each(ax: Axes) -> tuple[list, list]:
    """Handles and labels of a legend with each label once."""
    found = dict(zip(*reversed(ax.get_legend_handles_labels())))
    return list(found.values()), list(found)


def fresh_over(rows: Sequence[Row], other: str) -> list[float]:
    """Seed by seed, the gold that fresh labels gain over another remedy, for the fair rater."""
    fresh_ones, others = (
        select(rows, experiment.gold_at_end, rater="fair", remedy=remedy)
        for remedy in ("fresh labels", other)
    )
    return [one - other for one, other in zip(fresh_ones, others, strict=True)]


def scores_of_judges(rows: Sequence[Row], name: str) -> Tensor:
    """What each judge says of the first or the last replies, above its mean of the first ones.

    name: "first" or "last" · returns float (judges, replies)
    """
    told = torch.tensor([row[name] for row in rows])
    return told - torch.tensor([row["first"] for row in rows]).mean(1, keepdim=True)
