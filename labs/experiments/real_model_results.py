"""What lab 11 makes of its stored rows: names of measures, what the tables and pictures show."""

import statistics
from collections.abc import Sequence

from course import BLUE, GREEN, GREY, ORANGE, PURPLE, mean_interval, select
from course.rows import Row, lowest
from experiments import real_model as experiment
from experiments import real_model_ends as ends
from matplotlib.axes import Axes

UNITS = {
    "valid": "share of answers that are JSON",
    "found": "share of answers in which a record is found",
    "fields": "share of right fields",
    "exact": "share of records right in every field",
    "product": "share of right products",
    "answered": "share of old questions still answered",
    "english": "nats per token of English prose",
    "stopped": "share of answers that end by themselves",
}
TESTS = {"": "messages of the usual kind", "far_": "messages of another kind"}


def unit_of(what: str) -> str:
    if what.startswith("far_"):
        return f"{UNITS[what.removeprefix('far_')]}, messages of another kind"
    return UNITS[what]


# Prompting ----------------------------------------------------------------------------------------

ASKED = (("short", 0), ("long", 0), ("short", 4), ("short", 8))  # instruction, solved messages
PROMPTED = {
    f"real.prompted_{'long_' if system == 'long' else ''}{what}_{shots}": (what, system, shots)
    for system, shots in ASKED
    for what in ("valid", "found", "fields", "exact", "far_fields", "far_product")
}

# Tuning -------------------------------------------------------------------------------------------

WAYS = {  # start and rank, with a name for people, one for measures, and a colour
    ("SmolLM2", 0): ("full tuning", "full", ORANGE),
    ("SmolLM2", 64): ("LoRA, rank 64", "r64", GREEN),
    ("SmolLM2", 8): ("LoRA, rank 8", "r8", BLUE),
    ("SmolLM2", 1): ("LoRA, rank 1", "r1", PURPLE),
    ("random weights", 0): ("random weights", "random", GREY),
}
TUNED = {
    f"real.{short}_{what}": (what, start, rank)
    for (start, rank), (_, short, _) in WAYS.items()
    for what in ("valid", "fields", "exact", "far_fields", "far_product", "answered", "english")
}
LEADS = {f"real.lead_full_{WAYS['SmolLM2', rank][1]}": rank for rank in (64, 8, 1)}
ON_THE_WAY = {  # of full tuning, on the seed where rates were chosen
    f"real.{what}_{short}": (what, rate)
    for what in ("fields", "far_product", "answered")
    for short, rate in (("3e5", 3e-5), ("1e4", 1e-4), ("3e4", 3e-4), ("1e3", 1e-3))
}


def seed_by_seed(more: Sequence[float], less: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(more, less, strict=True)]


def leads(rows: Sequence[Row], rank: int) -> list[float]:
    """Right fields of full tuning minus those of an adapter of this rank."""
    full, adapter = (select(rows, "fields", start="SmolLM2", rank=r) for r in (0, rank))
    return seed_by_seed(full, adapter)


def best_rates(rows: Sequence[Row]) -> dict[tuple[str, int], float]:
    best = lowest(rows, experiment.missed, "start", "rank")
    return {way: best[way]["rate"] for way in WAYS}


def draw_rates(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Right fields, and old questions still answered, against the learning rate of each way."""
    for ax, what in zip(axes, ("fields", "answered"), strict=True):
        for (start, rank), (name, _, color) in WAYS.items():
            some = sorted(
                (row["rate"], row[what])
                for row in rows
                if row["start"] == start and row["rank"] == rank
            )
            ax.plot(*zip(*some), "o-", color=color, label=name, markersize=4)
        ax.set(xscale="log", xlabel="learning rate", ylabel=UNITS[what], ylim=(-0.03, 1.03))


def draw_steps_up(axes: Sequence[Axes], prompted: Sequence[Row], tuned: Sequence[Row]) -> None:
    """Right fields and right records on both tests: prompting and tuning, means with intervals."""
    arms = [
        (f"{count} solved", GREY, select(prompted, lambda row: row, system="short", shots=count))
        for count in (0, 4, 8)
    ]
    arms += [
        (name, color, select(tuned, lambda row: row, start=start, rank=rank))
        for (start, rank), (name, _, color) in reversed(WAYS.items())
    ]
    for ax, (before, title) in zip(axes, TESTS.items(), strict=True):
        for at, (_, color, rows) in enumerate(arms):
            draw_bar(ax, at, [row[before + "fields"] for row in rows], color)
            ax.plot([row[before + "exact"] for row in rows], [at] * len(rows), "|", color=color)
        ax.set(
            xlabel="share of right fields", title=title, xlim=(0, 1), ylim=(len(arms) - 0.4, -0.6)
        )
        ax.set_yticks(range(len(arms)), [name for name, *_ in arms])


def draw_bar(ax: Axes, at: float, values: Sequence[float], color: str) -> None:
    """A bar at the mean over seeds, with its interval."""
    mean, (low, high) = mean_interval(values)
    ax.barh(at, mean, color=color, alpha=0.45, height=0.7)
    ax.plot([max(0, low), min(1, high)], [at, at], color=color, linewidth=1.5)


# The end of the turn ------------------------------------------------------------------------------

ENDS = {
    f"real.stopped_{short}_{steps}": (counted, steps)
    for counted, short in ((ends.BY_POSITION, "position"), (ends.BY_ID, "id"))
    for steps in (8, 32)
}


def draw_ends(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Answers that end by themselves, and answers that are JSON: a dot for each seed, a bar at the
    mean."""
    arms = [(counted, steps) for steps in (8, 32) for counted in (ends.BY_POSITION, ends.BY_ID)]
    for ax, what in zip(axes, ("stopped", "valid"), strict=True):
        for at, (counted, steps) in enumerate(arms):
            color = BLUE if counted == ends.BY_POSITION else ORANGE
            some = select(rows, what, counted=counted, steps=steps)
            ax.plot(some, [at] * len(some), "o", color=color, alpha=0.6, markersize=5)
            ax.plot(statistics.fmean(some), at, "|", color=color, markersize=16, markeredgewidth=2)
        ax.set(xlabel=UNITS[what], xlim=(-0.05, 1.05), ylim=(len(arms) - 0.5, -0.5))
        ax.set_yticks(range(len(arms)), [f"{steps} steps, {counted}" for counted, steps in arms])
