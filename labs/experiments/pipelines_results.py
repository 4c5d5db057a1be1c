"""What lab 09 makes of its stored rows: prices, pictures, and the names of its measures."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from course import BLUE, GREEN, GREY, ORANGE, PINK, PURPLE, mean_interval, select
from course.rows import Row, What, matching, value_of
from experiments import after_ppo
from experiments import pipelines as experiment
from experiments import pipelines_compared as compared
from experiments.after_ppo import SEEDS
from experiments.pipelines_compared import CURVES, LABELS, METHODS, MOST, rates
from experiments.shared import MAX_NEW_TOKENS, fresh, tune
from matplotlib.axes import Axes
from methods import grpo, lora, rollouts
from methods.reference import AdapterOff
from planning.cost import label_hours
from torch import nn

# Prices -------------------------------------------------------------------------------------------

# Assumptions, to be replaced by your own: what one label takes, what an hour of a person costs, and
# what an hour of two CPU cores costs.
MINUTES = {"demonstrations": 5.0, "choices": 2.0}
PROGRAM_HOURS = 8.0  # to write and test a verifier
WAGE, MACHINE = 20.0, 0.10  # dollars an hour


def labels_read(row: Row) -> int:
    """How many labels stand behind a row: the teacher has read its own demonstrations."""
    return 0 if METHODS[row["method"]].reads in ("program", "nothing") else row["labels"]


def dollars(row: Row) -> float:
    """What a run costs: the people who label, or write the program, and the machine."""
    reads = METHODS[row["method"]].reads
    kind = "demonstrations" if reads == "teacher" else reads
    people = label_hours(labels_read(row), MINUTES.get(kind, 0.0))
    people += PROGRAM_HOURS if reads == "program" else 0.0
    return WAGE * people + MACHINE * row["train_seconds"] / 3600


# The picture of the comparison --------------------------------------------------------------------

COLORS = {"SFT": BLUE, "DPO": ORANGE, "PPO": GREEN, "RLOO": PURPLE}
MARKS = {  # of what has one point only
    "best of 16": (GREEN, "*"),
    "program": (PINK, "D"),
    "teacher": (PINK, "s"),
    "SFT, others' replies": (BLUE, "x"),
    "DPO, a coin's choices": (ORANGE, "x"),
    "PPO, a coin's choices": (GREEN, "x"),
}
QUALITIES = {"gold": "gold, in points", "exact": "share of polite replies"}
SHOWN = {"gold": (-0.5, 3.0), "exact": (-0.03, 1.03)}  # intervals may go on beyond


def draw_method(
    ax: Axes, rows: Sequence[Row], method: str, budget: What, quality: str, name: bool
) -> None:
    """A curve over the numbers of labels, or one point: means over seeds with their intervals, at
    the median of what they spent, since a busy machine delays single runs."""
    curve = method in CURVES
    counts = LABELS if curve else (MOST,)
    color, mark = (COLORS[METHODS[method].signal], "o") if curve else MARKS[method]
    adapter = METHODS[method].parameters != "full"
    x, y, ends = [], [], []
    for labels in counts:
        same = [row for row in rows if row["method"] == method and row["labels"] == labels]
        x.append(statistics.median(value_of(row, budget) for row in same))
        mean, interval = mean_interval(select(same, quality))
        y.append(mean)
        ends.append(interval)
    for at, (low, high) in zip(x, ends):
        ax.plot([at, at], [low, high], color=color, alpha=0.3, linewidth=1.2)
    style = {"linestyle": ":" if adapter else "-"} if curve else {"linestyle": "none"}
    ax.plot(x, y, marker=mark, color=color, markersize=4, label=method if name else None, **style)


def draw_comparison(axes: Sequence[Axes], rows: Sequence[Row], budget: str) -> None:
    """Both qualities against one of BUDGETS, on two axes; the base is a grey line."""
    spent, label = BUDGETS[budget]
    for ax, (quality, what) in zip(axes, QUALITIES.items()):
        base = statistics.fmean(select(rows, quality, method="the base"))
        ax.axhline(base, color=GREY, linewidth=0.8)
        for method, setting in METHODS.items():
            if setting.reads != "nothing":
                draw_method(ax, rows, method, spent, quality, name=quality == "gold")
        ax.set(xlabel=label, ylabel=what, ylim=SHOWN[quality])
        if budget == "bytes":
            ax.set_xlim(left=0)
        else:
            ax.set_xscale("log")
        if budget == "labels":
            ax.set_xticks([NO_LABELS, *LABELS], ["none", *LABELS])
            ax.minorticks_off()


NO_LABELS = 8


def labels_to_draw(row: Row) -> float:
    """Labels on a logarithmic axis, where none need a place too."""
    return max(labels_read(row), NO_LABELS)


BUDGETS: dict[str, tuple[What, str]] = {
    "labels": (labels_to_draw, "labels"),
    "seconds": ("train_seconds", "seconds of training on two cores"),
    "bytes": (lambda row: row["state_bytes"] / 1e6, "MB held while training"),
    "money": (dollars, "dollars, at assumed prices"),
}


# Other pictures -----------------------------------------------------------------------------------


def draw_dots(ax: Axes, values: Mapping[str, Sequence[float]], color: str) -> None:
    """One row for each name: a dot for each seed and a bar at the mean."""
    for at, some in enumerate(values.values()):
        ax.plot(some, [at] * len(some), "o", color=color, alpha=0.6, markersize=4)
        ax.plot(statistics.fmean(some), at, "|", color=color, markersize=16, markeredgewidth=2)
    ax.set_yticks(range(len(values)), values)
    ax.set_ylim(len(values) - 0.5, -0.5)


def draw_stages(ax: Axes, rows: Sequence[Row], pipeline: str, what: str, color: str) -> None:
    """One result after each stage of a pipeline: a thin line for each seed, a thick one for the
    mean."""
    curves = select(rows, what, pipeline=pipeline, parameters="full")
    for curve in curves:
        ax.plot(curve, color=color, alpha=0.4, linewidth=0.8)
    ax.plot([statistics.fmean(each) for each in zip(*curves)], "o-", color=color)
    ax.set_xticks(range(len(curves[0])), ["base", *pipeline.split(" → ")])


# Names of measures --------------------------------------------------------------------------------

UNITS = {
    "gold": "gold points",
    "exact": "share of polite replies",
    "kl": "nats per reply from the base",
    "reading": "share of questions about facts",
    "forgotten": "nats per token lost on the old transcripts",
}
COMPARED = {  # result, method and number of labels
    "compared.base_gold": ("gold", "the base", MOST),
    "compared.base_exact": ("exact", "the base", MOST),
    "compared.sft_32_gold": ("gold", "SFT", 32),
    "compared.sft_32_exact": ("exact", "SFT", 32),
    "compared.sft_gold": ("gold", "SFT", MOST),
    "compared.sft_exact": ("exact", "SFT", MOST),
    "compared.sft_forgotten": ("forgotten", "SFT", MOST),
    "compared.lora_32_gold": ("gold", "SFT, LoRA", 32),
    "compared.lora_500_gold": ("gold", "SFT, LoRA", 500),
    "compared.lora_gold": ("gold", "SFT, LoRA", MOST),
    "compared.lora_exact": ("exact", "SFT, LoRA", MOST),
    "compared.lora_forgotten": ("forgotten", "SFT, LoRA", MOST),
    "compared.others_gold": ("gold", "SFT, others' replies", MOST),
    "compared.dpo_32_gold": ("gold", "DPO", 32),
    "compared.dpo_gold": ("gold", "DPO", MOST),
    "compared.dpo_kl": ("kl", "DPO", MOST),
    "compared.dpo_coin_gold": ("gold", "DPO, a coin's choices", MOST),
    "compared.dpo_lora_gold": ("gold", "DPO, LoRA", MOST),
    "compared.ppo_32_gold": ("gold", "PPO", 32),
    "compared.ppo_gold": ("gold", "PPO", MOST),
    "compared.ppo_exact": ("exact", "PPO", MOST),
    "compared.ppo_kl": ("kl", "PPO", MOST),
    "compared.ppo_forgotten": ("forgotten", "PPO", MOST),
    "compared.ppo_lora_gold": ("gold", "PPO, LoRA", MOST),
    "compared.ppo_coin_gold": ("gold", "PPO, a coin's choices", MOST),
    "compared.rloo_gold": ("gold", "RLOO", MOST),
    "compared.best_of_gold": ("gold", "best of 16", MOST),
    "compared.program_gold": ("gold", "program", MOST),
    "compared.program_exact": ("exact", "program", MOST),
    "compared.program_reading": ("reading", "program", MOST),
    "compared.teacher_gold": ("gold", "teacher", MOST),
    "compared.teacher_exact": ("exact", "teacher", MOST),
    "compared.teacher_reading": ("reading", "teacher", MOST),
}
SECONDS = {  # of training, reward model included
    "compared.sft_seconds": "SFT",
    "compared.dpo_seconds": "DPO",
    "compared.ppo_seconds": "PPO",
    "compared.rloo_seconds": "RLOO",
}
LEADS = {  # gold of the first minus gold of the second, each with its number of labels
    "compared.lead_sft_32_ppo": (("SFT", 32), ("PPO", MOST)),
    "compared.lead_sft_lora": (("SFT", MOST), ("SFT, LoRA", MOST)),
    "compared.lead_ppo_dpo": (("PPO", MOST), ("DPO", MOST)),
    "compared.lead_rloo_ppo": (("RLOO", MOST), ("PPO", MOST)),
    "compared.lead_ppo_lora": (("PPO", MOST), ("PPO, LoRA", MOST)),
    "compared.lead_program_sft": (("program", MOST), ("SFT", MOST)),
}


HIGH_RATE = {  # of SFT, at its own rate and at three times as much
    "compared.sft_rate_gold": ("gold", 1e-3),
    "compared.sft_rate_reading": ("reading", 1e-3),
    "compared.sft_high_rate_gold": ("gold", 3e-3),
    "compared.sft_high_rate_reading": ("reading", 3e-3),
}


def curve(rows: Sequence[Row], method: str, what: What) -> tuple[list[float], list[float]]:
    """The rates that a method tried, and one result at each."""
    some = sorted(matching(rows, method=method), key=lambda row: row["rate"])
    return [row["rate"] for row in some], [value_of(row, what) for row in some]


def of(rows: Sequence[Row], method: str, labels: int, what: What = "gold") -> list[float]:
    """One result of one method, a number for each seed in the order of SEEDS."""
    return [select(rows, what, method=method, labels=labels, seed=seed)[0] for seed in SEEDS]


def live_row() -> Row:
    """The run that the lab repeats: SFT on the fewest demonstrations."""
    return {"method": "SFT", "labels": LABELS[0], "rate": rates()["SFT"], "seed": 0}


PRICES = {  # of a method with so many labels
    "compared.dollars_sft_32": ("SFT", 32),
    "compared.dollars_sft": ("SFT", MOST),
    "compared.dollars_ppo": ("PPO", MOST),
    "compared.dollars_program": ("program", MOST),
}
METHOD_LINE = (
    "{gold:6.2f}{exact:7.0%}{kl:6.1f}{reading:7.0%}{forgotten:6.2f}{train_seconds:6.0f}"
    "{megabytes:6.0f}{dollars:7.0f}"
)


def means(rows: Sequence[Row], method: str) -> dict[str, float]:
    """The means over the seeds of what a method reached and cost, with all labels."""
    named = {"megabytes": lambda row: row["state_bytes"] / 1e6, "dollars": dollars}
    named |= {name: name for name in ("gold", "exact", "reading", "forgotten", "train_seconds")}
    named["kl"] = lambda row: abs(row["kl"])  # 0 up to rounding, where nothing was trained
    return {name: statistics.fmean(of(rows, method, MOST, what)) for name, what in named.items()}


def draw_side_effects(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Gold, what was forgotten, and reading, against the divergence from the base."""
    labels = {
        "gold": "gold, in points",
        "forgotten": "nats lost on transcripts",
        "reading": "share of facts answered",
    }
    for ax, (what, label) in zip(axes, labels.items()):
        for method, setting in METHODS.items():
            if setting.reads == "nothing":
                continue
            color, mark = MARKS.get(method) or (COLORS[setting.signal], "o")
            hollow = {"markerfacecolor": "none"} if setting.parameters != "full" else {}
            kl, values = of(rows, method, MOST, "kl"), of(rows, method, MOST, what)
            at = statistics.fmean(kl)
            mean, interval = mean_interval(values)
            ax.plot([at, at], interval, color=color, alpha=0.3, linewidth=1.2)
            ax.plot(at, mean, mark, color=color, markersize=5, label=method, **hollow)
        ax.set(xscale="log", xlabel="nats per reply from the base", ylabel=label)
    axes[0].set_ylim(SHOWN["gold"])
    axes[2].set_ylim(-0.03, 1.03)


# Teams --------------------------------------------------------------------------------------------


def stored_mb(row: Row) -> float:
    """Megabytes of everything that has to be stored beside the general model."""
    return row["artefact_bytes"] / 1e6


TEAM_RESULTS: dict[str, What] = {
    "right": lambda row: 1 - experiment.wrong(row),
    "triage": "triage",
    "triage_off": "triage_off",
    "MB": stored_mb,
    "seconds": "train_seconds",
}
TEAM_UNITS = {
    "right": "share of right replies, mean over the teams",
    "triage": "share of test tickets with all fields right",
    "triage_off": "share of test tickets with all fields right, adapters off",
    "MB": "MB to store beside the general model",
    "seconds": "seconds of training, all teams",
}
TEAM_MEASURES = {
    "pipelines.right_adapters": ("right", "an adapter each"),
    "pipelines.right_full_models": ("right", "a full model each"),
    "pipelines.right_one_full": ("right", "one full model"),
    "pipelines.right_one_adapter": ("right", "one adapter"),
    "pipelines.triage_adapters": ("triage", "an adapter each"),
    "pipelines.triage_full_models": ("triage", "a full model each"),
    "pipelines.triage_one_full": ("triage", "one full model"),
    "pipelines.triage_one_adapter": ("triage", "one adapter"),
    "pipelines.triage_off": ("triage_off", "an adapter each"),
    "pipelines.mb_adapters": ("MB", "an adapter each"),
    "pipelines.mb_full_models": ("MB", "a full model each"),
    "pipelines.mb_one_full": ("MB", "one full model"),
    "pipelines.mb_one_adapter": ("MB", "one adapter"),
    "pipelines.seconds_adapters": ("seconds", "an adapter each"),
    "pipelines.seconds_full_models": ("seconds", "a full model each"),
}


@torch.no_grad()
def mixed_difference(mixed_batch: Callable, count: int) -> float:
    """Many adapters in one call, held against one call for each of them, on a layer of the base: the
    largest difference of the outputs."""
    generator = torch.Generator().manual_seed(0)
    weight = fresh().get_submodule("model.layers.0.mlp.up_proj").weight.cpu()
    A = torch.randn(count, 8, weight.shape[1], generator=generator)
    B = torch.randn(count, weight.shape[0], 8, generator=generator)
    x = torch.randn(8 * count, 30, weight.shape[1], generator=generator)
    adapter = torch.randperm(8 * count, generator=generator) % count
    together, largest = mixed_batch(x, weight, A, B, 32, adapter), 0.0
    for number in range(count):
        rows = adapter == number
        alone = x[rows] @ weight.T + lora.lora_update(x[rows], A[number], B[number], 32)
        largest = max(largest, (together[rows] - alone).abs().max().item())
    return largest


# Stages -------------------------------------------------------------------------------------------

LINE = "{gold:8.2f}{exact:7.0%}{kl:6.1f}{reading:7.0%}{labels:8.0f}{teraflops:7.2f}{stage_seconds:5.0f}"
GAP_UNITS = {
    "gold": "gold points, seed by seed",
    "exact": "percentage points of polite replies, seed by seed",
    "forgotten": "nats per token lost on the old transcripts, seed by seed",
}
STAGE_MEASURES = {  # after a stage of a pipeline: 1 is the first, -1 the last
    "pipelines.sft_gold": ("SFT → PPO", "gold", 1),
    "pipelines.sft_exact": ("SFT → PPO", "exact", 1),
    "pipelines.sft_forgotten": ("SFT → PPO", "forgotten", 1),
    "pipelines.after_dpo_exact": ("SFT → DPO → program", "exact", 2),
    "pipelines.sft_ppo_gold": ("SFT → PPO", "gold", -1),
    "pipelines.sft_ppo_exact": ("SFT → PPO", "exact", -1),
    "pipelines.sft_ppo_forgotten": ("SFT → PPO", "forgotten", -1),
    "pipelines.sft_dpo_program_gold": ("SFT → DPO → program", "gold", -1),
    "pipelines.sft_dpo_program_exact": ("SFT → DPO → program", "exact", -1),
    "pipelines.sft_dpo_program_forgotten": ("SFT → DPO → program", "forgotten", -1),
    "pipelines.ppo_gold": ("PPO", "gold", -1),
    "pipelines.ppo_exact": ("PPO", "exact", -1),
    "pipelines.ppo_forgotten": ("PPO", "forgotten", -1),
    "pipelines.ppo_sft_gold": ("PPO → SFT", "gold", -1),
    "pipelines.ppo_sft_exact": ("PPO → SFT", "exact", -1),
    "pipelines.ppo_sft_forgotten": ("PPO → SFT", "forgotten", -1),
    "pipelines.sft_ppo_sft_gold": ("SFT → PPO → SFT", "gold", -1),
    "pipelines.sft_ppo_sft_exact": ("SFT → PPO → SFT", "exact", -1),
    "pipelines.sft_ppo_sft_forgotten": ("SFT → PPO → SFT", "forgotten", -1),
}
STAGE_GAPS = {  # the end of the first pipeline minus the end of the second
    "pipelines.gap_sft_first": (("SFT → PPO", "PPO"), "gold"),
    "pipelines.gap_order": (("SFT → PPO", "PPO → SFT"), "gold"),
    "pipelines.gap_order_forgotten": (("SFT → PPO", "PPO → SFT"), "forgotten"),
}
PPO_AFTER_SFT = {  # what the stage of PPO adds to the policy after SFT
    "pipelines.ppo_after_sft": "full",
    "pipelines.ppo_after_sft_r8": "r = 8",
}
RANK_GAPS = {  # minus full tuning, both SFT → PPO
    "pipelines.gap_r8": ("r = 8", "gold"),
    "pipelines.gap_r1": ("r = 1", "gold"),
    "pipelines.gap_r8_exact": ("r = 8", "exact"),
    "pipelines.gap_r1_exact": ("r = 1", "exact"),
    "pipelines.gap_r1_forgotten": ("r = 1", "forgotten"),
}


def stage_means(rows: Sequence[Row], pipeline: str, place: int) -> dict[str, float]:
    """The means over the seeds after a stage of a pipeline with all parameters; place 0: the base."""
    names = ("gold", "exact", "kl", "reading", "labels", "operations", "stage_seconds")
    told = {
        name: statistics.fmean(
            values[place] for values in select(rows, name, pipeline=pipeline, parameters="full")
        )
        for name in names
    }
    return told | {"teraflops": told.pop("operations") / 1e12}


def in_gap_units(value: float, what: str) -> float:
    """A difference of shares is told in percentage points."""
    return 100 * value if what == "exact" else value


def stage_gaps(rows: Sequence[Row], first: str, second: str, what: str) -> list[float]:
    """The end of the first pipeline minus the end of the second, seed by seed."""
    ended = [
        [values[-1] for values in select(rows, what, pipeline=each, parameters="full")]
        for each in (first, second)
    ]
    return [in_gap_units(a - b, what) for a, b in zip(*ended)]


def added_by_ppo(rows: Sequence[Row], parameters: str) -> list[float]:
    """Gold after SFT → PPO minus gold after its SFT, a number for each seed."""
    some = select(rows, "gold", pipeline=experiment.WITH_ADAPTERS, parameters=parameters)
    return [ended - sft for _, sft, ended in some]


def ends(rows: Sequence[Row], parameters: str, what: str) -> list[float]:
    """The ends of SFT → PPO with these parameters, a number for each seed."""
    some = select(rows, what, pipeline=experiment.WITH_ADAPTERS, parameters=parameters)
    return [values[-1] for values in some]


def rank_gaps(rows: Sequence[Row], parameters: str, what: str) -> list[float]:
    """With these parameters minus full tuning, seed by seed."""
    pairs = zip(ends(rows, parameters, what), ends(rows, "full", what))
    return [in_gap_units(a - b, what) for a, b in pairs]


def first_divergence(begin_stage: Callable) -> dict[str, float]:
    """How far a policy after SFT with an adapter is from the reference of the next stage, before its
    first step, in nats per reply: with the adapter simply switched off, and after `begin_stage`."""
    policy = after_ppo.policy_of("r = 8", 0)
    shown = compared.demonstrations(125, 0)
    tune(policy, shown, steps=60, rate=rates()["SFT, LoRA"], seed=0, size=8)
    told = {"switched off": divergence(policy)}
    for layer in lora.layers(policy).values():
        A, B, alpha = layer.matrices(layer.active)
        began = begin_stage(layer.base.weight.detach(), A.detach(), B.detach(), alpha)
        with torch.no_grad():
            for old, new in zip((layer.base.weight, A, B), began):
                old.copy_(new)
    return told | {"renewed": divergence(policy)}


def divergence(policy: nn.Module) -> float:
    """Of 64 sampled replies from the policy with its adapter off, in nats per reply."""
    prompts = after_ppo.test_tickets()[1][:64]
    torch.manual_seed(9)
    rollout = rollouts.roll_out(
        policy,
        AdapterOff(policy),
        lambda _, responses: torch.zeros(len(responses)),
        prompts,
        max_new_tokens=MAX_NEW_TOKENS,
        temperature=1.0,
        **after_ppo.special(),
    )
    return rollouts.summary(rollout)["kl"]


# Without SFT --------------------------------------------------------------------------------------

GROUP = grpo.RECIPES["RLOO"].size
FALLEN, RISEN = 0.3, 0.05  # gold points, and a share of exact replies
FATES = {
    "pipelines.unchanged_random": ("random weights", "unchanged"),
    "pipelines.diverged_random": ("random weights", "diverged"),
    "pipelines.unchanged_base": ("base", "unchanged"),
    "pipelines.diverged_base": ("base", "diverged"),
    "pipelines.learned_base": ("base", "learned"),
    "pipelines.diverged_30_steps": ("30 steps of SFT", "diverged"),
}
COLD_ENDS = {
    "pipelines.cold_base": ("base", 3e-4),
    "pipelines.cold_30_steps": ("30 steps of SFT", 3e-4),
}


def first_step(rows: Sequence[Row], start: str) -> dict[str, float]:
    """The first step from a start, before anything is learned, the mean over the seeds.

    returns p0, the share of accepted replies · signal, the share of groups in which some are accepted
    and some are not
    """
    some = matching(rows, start=start, rate=experiment.COLD_RATES[0])
    return {
        "p0": statistics.fmean(row["score"][0] for row in some),
        "signal": 1 - statistics.fmean(row["flat_groups"][0] for row in some),
    }


def fate(row: Row) -> str:
    """What became of a run: "diverged", if gold fell or a loss was not finite; "learned", if more
    replies are accepted than before; otherwise "unchanged"."""
    if row["broke"] or row["gold"][1] < row["gold"][0] - FALLEN:
        return "diverged"
    return "learned" if row["exact"][1] > row["exact"][0] + RISEN else "unchanged"


def fates(rows: Sequence[Row], start: str) -> dict[str, int]:
    """How many runs from a start ended in which way, over all rates and seeds."""
    told = select(rows, fate, start=start)
    return {name: told.count(name) for name in ("unchanged", "diverged", "learned")}
