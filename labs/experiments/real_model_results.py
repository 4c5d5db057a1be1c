"""What lab 11 makes of its stored rows: names of measures, what the tables and pictures show."""

import statistics
from collections.abc import Sequence

from course import BLUE, GREEN, GREY, ORANGE, PURPLE, mean_interval, select
from course.rows import Row
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
    "real.prompted_valid_0": ("valid", "short", 0),
    "real.prompted_fields_0": ("fields", "short", 0),
    "real.prompted_exact_0": ("exact", "short", 0),
    "real.prompted_far_fields_0": ("far_fields", "short", 0),
    "real.prompted_long_valid_0": ("valid", "long", 0),
    "real.prompted_long_fields_0": ("fields", "long", 0),
    "real.prompted_long_exact_0": ("exact", "long", 0),
    "real.prompted_long_far_fields_0": ("far_fields", "long", 0),
    "real.prompted_valid_4": ("valid", "short", 4),
    "real.prompted_found_4": ("found", "short", 4),
    "real.prompted_fields_4": ("fields", "short", 4),
    "real.prompted_exact_4": ("exact", "short", 4),
    "real.prompted_far_fields_4": ("far_fields", "short", 4),
    "real.prompted_valid_8": ("valid", "short", 8),
    "real.prompted_fields_8": ("fields", "short", 8),
    "real.prompted_exact_8": ("exact", "short", 8),
    "real.prompted_far_fields_8": ("far_fields", "short", 8),
    "real.prompted_far_product_8": ("far_product", "short", 8),
}

# Tuning -------------------------------------------------------------------------------------------

WAYS = {  # start and rank, with a name and a colour
    ("SmolLM2", 0): ("full tuning", ORANGE),
    ("SmolLM2", 64): ("LoRA, rank 64", GREEN),
    ("SmolLM2", 8): ("LoRA, rank 8", BLUE),
    ("SmolLM2", 1): ("LoRA, rank 1", PURPLE),
    ("random weights", 0): ("random weights", GREY),
}
TUNED = {
    "real.full_fields": ("fields", "SmolLM2", 0),
    "real.full_exact": ("exact", "SmolLM2", 0),
    "real.full_far_fields": ("far_fields", "SmolLM2", 0),
    "real.full_far_product": ("far_product", "SmolLM2", 0),
    "real.full_answered": ("answered", "SmolLM2", 0),
    "real.full_english": ("english", "SmolLM2", 0),
    "real.r64_fields": ("fields", "SmolLM2", 64),
    "real.r64_exact": ("exact", "SmolLM2", 64),
    "real.r64_far_fields": ("far_fields", "SmolLM2", 64),
    "real.r64_answered": ("answered", "SmolLM2", 64),
    "real.r8_fields": ("fields", "SmolLM2", 8),
    "real.r8_exact": ("exact", "SmolLM2", 8),
    "real.r8_far_fields": ("far_fields", "SmolLM2", 8),
    "real.r8_far_product": ("far_product", "SmolLM2", 8),
    "real.r8_answered": ("answered", "SmolLM2", 8),
    "real.r8_english": ("english", "SmolLM2", 8),
    "real.r1_fields": ("fields", "SmolLM2", 1),
    "real.r1_exact": ("exact", "SmolLM2", 1),
    "real.r1_far_fields": ("far_fields", "SmolLM2", 1),
    "real.r1_answered": ("answered", "SmolLM2", 1),
    "real.random_fields": ("fields", "random weights", 0),
    "real.random_exact": ("exact", "random weights", 0),
    "real.random_far_fields": ("far_fields", "random weights", 0),
    "real.random_answered": ("answered", "random weights", 0),
}
LEADS = {  # of full tuning over an adapter of this rank, in right fields
    "real.lead_full_r64": 64,
    "real.lead_full_r8": 8,
    "real.lead_full_r1": 1,
}
ON_THE_WAY = {  # of full tuning, on the seed where rates were chosen
    "real.fields_3e5": ("fields", 3e-5),
    "real.fields_3e4": ("fields", 3e-4),
    "real.fields_1e3": ("fields", 1e-3),
    "real.far_product_3e5": ("far_product", 3e-5),
    "real.far_product_1e4": ("far_product", 1e-4),
    "real.far_product_3e4": ("far_product", 3e-4),
    "real.answered_3e5": ("answered", 3e-5),
}


EXAMPLES = {  # mark, rank, examples
    "real.full_fields_16": ("fields", 0, 16),
    "real.full_fields_64": ("fields", 0, 64),
    "real.r8_fields_16": ("fields", 8, 16),
    "real.r8_fields_64": ("fields", 8, 64),
    "real.r8_fields_1024": ("fields", 8, 1024),
    "real.r8_valid_16": ("valid", 8, 16),
    "real.full_far_fields_16": ("far_fields", 0, 16),
    "real.r8_far_fields_16": ("far_fields", 8, 16),
    "real.r8_far_fields_1024": ("far_fields", 8, 1024),
    "real.r8_far_product_16": ("far_product", 8, 16),
    "real.r8_far_product_64": ("far_product", 8, 64),
    "real.r8_far_product_1024": ("far_product", 8, 1024),
    "real.r8_answered_16": ("answered", 8, 16),
    "real.full_answered_16": ("answered", 0, 16),
}
MORE_EXAMPLES = {  # mark, rank, fewer, more
    "real.r8_64_over_16": ("fields", 8, 16, 64),
    "real.r8_256_over_64": ("fields", 8, 64, 256),
    "real.r8_256_over_16": ("fields", 8, 16, 256),
    "real.r8_1024_over_256": ("fields", 8, 256, 1024),
    "real.full_256_over_16": ("fields", 0, 16, 256),
    "real.r8_far_256_over_64": ("far_fields", 8, 64, 256),
    "real.r8_far_1024_over_256": ("far_fields", 8, 256, 1024),
}


def seed_by_seed(more: Sequence[float], less: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(more, less, strict=True)]


def leads(rows: Sequence[Row], rank: int) -> list[float]:
    """Right fields of full tuning minus those of an adapter of this rank."""
    full, adapter = (select(rows, "fields", start="SmolLM2", rank=r) for r in (0, rank))
    return seed_by_seed(full, adapter)


def draw_rates(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Right fields, and old questions still answered, against the learning rate of each way."""
    for ax, what in zip(axes, ("fields", "answered"), strict=True):
        for (start, rank), (name, color) in WAYS.items():
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
        for (start, rank), (name, color) in reversed(WAYS.items())
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


def of_smollm2(rows: Sequence[Row]) -> list[Row]:
    """The rows of the pretrained model, all parameters or rank 8, with any number of examples."""
    return [row for row in rows if row["start"] == "SmolLM2" and row["rank"] in (0, 8)]


def gained_by_more(rows: Sequence[Row], mark: str, rank: int, fewer: int, more: int) -> list[float]:
    """How much a mark is higher with more examples, seed by seed."""
    rows = of_smollm2(rows)
    return seed_by_seed(*(select(rows, mark, rank=rank, examples=count) for count in (more, fewer)))


def draw_examples(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Right fields on both tests against the number of examples, one dot for each seed."""
    rows = of_smollm2(rows)
    counts = sorted({row["examples"] for row in rows})
    for ax, (before, title) in zip(axes, TESTS.items(), strict=True):
        for rank in (0, 8):
            name, color = WAYS["SmolLM2", rank]
            by_count = {
                count: select(rows, before + "fields", rank=rank, examples=count)
                for count in counts
                if any(row["rank"] == rank and row["examples"] == count for row in rows)
            }
            for count, some in by_count.items():
                ax.plot([count] * len(some), some, "o", color=color, alpha=0.5, markersize=4)
            means = map(statistics.fmean, by_count.values())
            ax.plot([*by_count], [*means], color=color, label=name)
        ax.set(xscale="log", xlabel="examples", title=title, ylim=(0, 1))
        ax.set_xticks(counts, [f"{count:,}" for count in counts])
        ax.minorticks_off()


# Counted and measured --------------------------------------------------------------------------

TRAINED = {"real.trained_r1": 1, "real.trained_r8": 8, "real.trained_r64": 64}  # by rank
BEST_RATES = {
    "real.rate_full": ("SmolLM2", 0),
    "real.rate_r64": ("SmolLM2", 64),
    "real.rate_r8": ("SmolLM2", 8),
    "real.rate_r1": ("SmolLM2", 1),
    "real.rate_random": ("random weights", 0),
}
STEPS = {  # rank, and what of measure_step, in bytes
    "real.states_full": (0, "states"),
    "real.peak_full": (0, "peak_everywhere"),
    "real.predicted_full": (0, "predicted_peak"),
    "real.peak_few_full": (0, "peak"),
    "real.states_r8": (8, "states"),
    "real.peak_r8": (8, "peak_everywhere"),
    "real.predicted_r8": (8, "predicted_peak"),
    "real.peak_few_r8": (8, "peak"),
}
STEP_UNITS = {
    "states": "MB",
    "peak": "MB, logits where labels count",
    "peak_everywhere": "MB",
    "predicted_peak": "MB, predicted",
}

# The end of the turn ------------------------------------------------------------------------------

ENDS = {
    "real.stopped_position_8": (ends.BY_POSITION, 8),
    "real.stopped_position_32": (ends.BY_POSITION, 32),
    "real.stopped_id_8": (ends.BY_ID, 8),
    "real.stopped_id_32": (ends.BY_ID, 32),
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
