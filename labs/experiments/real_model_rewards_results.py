"""What lab 11 makes of its rows of DPO and GRPO: names of measures and pictures."""

import statistics
from collections.abc import Callable, Sequence

from course import BLUE, GREEN, ORANGE, select
from course.rows import Row
from experiments.real_model_rewards import EPOCHS
from matplotlib.axes import Axes

UNITS = {
    "gold": "gold points, from −2 to 4",
    "apology": "share of replies with an apology",
    "product": "share of replies that name the product",
    "end": "share of replies that end by themselves",
    "promises": "promises in a reply, at most 2",
    "words": "words in a reply",
    "fields": "share of right fields",
    "valid": "share of answers that are JSON",
    "answered": "share of old questions still answered",
}
BEFORE, AFTER = 0, -1  # places in a list of before and after
DPO = {
    "real.dpo_gold_before": ("gold", BEFORE),
    "real.dpo_gold_after": ("gold", AFTER),
    "real.dpo_apology_before": ("apology", BEFORE),
    "real.dpo_apology_after": ("apology", AFTER),
    "real.dpo_end_before": ("end", BEFORE),
    "real.dpo_end_after": ("end", AFTER),
    "real.dpo_promises_before": ("promises", BEFORE),
    "real.dpo_promises_after": ("promises", AFTER),
    "real.dpo_words_before": ("words", BEFORE),
    "real.dpo_words_after": ("words", AFTER),
}
VERIFIED = {
    "real.verified_prompted_fields_before": ("fields", "prompted", BEFORE),
    "real.verified_prompted_fields_after": ("fields", "prompted", AFTER),
    "real.verified_prompted_valid_before": ("valid", "prompted", BEFORE),
    "real.verified_prompted_valid_after": ("valid", "prompted", AFTER),
    "real.verified_sft_fields_before": ("fields", "some SFT", BEFORE),
    "real.verified_sft_fields_after": ("fields", "some SFT", AFTER),
    "real.verified_sft_valid_before": ("valid", "some SFT", BEFORE),
    "real.verified_sft_valid_after": ("valid", "some SFT", AFTER),
}
RATED = {
    "real.rated_program_gold_before": ("gold", "the program", BEFORE),
    "real.rated_program_gold_after": ("gold", "the program", AFTER),
    "real.rated_program_apology_before": ("apology", "the program", BEFORE),
    "real.rated_program_apology_after": ("apology", "the program", AFTER),
    "real.rated_program_words_before": ("words", "the program", BEFORE),
    "real.rated_program_words_after": ("words", "the program", AFTER),
    "real.rated_program_end_before": ("end", "the program", BEFORE),
    "real.rated_program_end_after": ("end", "the program", AFTER),
    "real.rated_program_promises_before": ("promises", "the program", BEFORE),
    "real.rated_program_promises_after": ("promises", "the program", AFTER),
    "real.rated_fond_gold_before": ("gold", "fond of length", BEFORE),
    "real.rated_fond_gold_after": ("gold", "fond of length", AFTER),
    "real.rated_fond_apology_before": ("apology", "fond of length", BEFORE),
    "real.rated_fond_apology_after": ("apology", "fond of length", AFTER),
    "real.rated_fond_words_before": ("words", "fond of length", BEFORE),
    "real.rated_fond_words_after": ("words", "fond of length", AFTER),
    "real.rated_fond_end_before": ("end", "fond of length", BEFORE),
    "real.rated_fond_end_after": ("end", "fond of length", AFTER),
    "real.rated_fond_promises_before": ("promises", "fond of length", BEFORE),
    "real.rated_fond_promises_after": ("promises", "fond of length", AFTER),
}


def at(what: str, place: int) -> Callable[[Row], float]:
    """A result of a row, before or after the training."""
    return lambda row: row[what][place]


NEW, SEEN = 0, 1  # passes over the pairs: the first one meets each of them for the first time


def chosen_loss(which: int) -> Callable[[Row], float]:
    """How much log-probability the chosen replies have lost, in nats per reply, over the second half
    of a pass."""

    def of_row(row: Row) -> float:
        length = len(row["chosen"]) // EPOCHS
        steps = row["chosen"][which * length : (which + 1) * length]
        return -statistics.fmean(steps[length // 2 :])

    return of_row


def still_flat(row: Row) -> float:
    """The share of groups whose responses all earned the same, over all steps."""
    return statistics.fmean(row["flat_groups"])


def gained(what: str) -> Callable[[Row], float]:
    """How much a result of a row rose from before to after."""
    return lambda row: row[what][AFTER] - row[what][BEFORE]


DPO_CHANGES = {
    "real.dpo_chosen_loss": (chosen_loss(NEW), "nats lost per chosen reply, pairs not seen before"),
    "real.dpo_chosen_loss_seen": (chosen_loss(SEEN), "nats lost per chosen reply, second pass"),
    "real.dpo_gold_gained": (gained("gold"), "gold points gained, seed by seed"),
    "real.dpo_answered": ("answered", UNITS["answered"]),
    "real.dpo_pairs": ("pairs", "pairs whose replies differ in gold"),
}
FLAT, GAINED = "share of groups without a signal", "difference of the shares of right fields"
VERIFIED_CHANGES = {
    "real.verified_prompted_flat": (still_flat, "prompted", FLAT),
    "real.verified_sft_flat": (still_flat, "some SFT", FLAT),
    "real.verified_prompted_gained": (gained("fields"), "prompted", GAINED),
    "real.verified_sft_gained": (gained("fields"), "some SFT", GAINED),
}
VERIFIED_RATES = {  # on the seed where the rate was chosen
    "real.verified_low_rate_fields": ("fields", 3e-4),
    "real.verified_low_rate_valid": ("valid", 3e-4),
    "real.verified_high_rate_valid": ("valid", 1e-3),
}
POINTS_GAINED = "gold points gained, seed by seed"
PAID_MORE = "points that the rater pays more for a reply, last three steps against the first"


def paid_more(row: Row) -> float:
    """How much more the rater pays for a reply in the last three steps than in the first one."""
    return statistics.fmean(row["score"][-3:]) - row["score"][0]


RATED_CHANGES = {
    "real.rated_program_gained": (gained("gold"), "the program", POINTS_GAINED),
    "real.rated_fond_gained": (gained("gold"), "fond of length", POINTS_GAINED),
    "real.rated_program_paid_more": (paid_more, "the program", PAID_MORE),
    "real.rated_fond_paid_more": (paid_more, "fond of length", PAID_MORE),
    "real.rated_fond_answered": ("answered", "fond of length", UNITS["answered"]),
}


BETA = 0.1  # of dpo.train, by which a step's margin is the lead of the chosen replies


def rejected(row: Row) -> list[float]:
    """What the log-probability of the rejected replies has gained at every step, in nats."""
    return [chosen - margin / BETA for chosen, margin in zip(row["chosen"], row["margin"])]


def draw_dpo(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """What chosen and rejected replies gain, against steps; gold and its parts before and after."""
    for row in rows:
        axes[0].plot(row["chosen"], color=BLUE, alpha=0.6, linewidth=1)
        axes[0].plot(rejected(row), color=ORANGE, alpha=0.6, linewidth=1)
    axes[0].plot([], color=BLUE, label="chosen")
    axes[0].plot([], color=ORANGE, label="rejected")
    axes[0].set(xlabel="step", ylabel="gain in log-probability, nats")
    axes[0].legend(fontsize="small")
    draw_before_and_after(axes[1], rows, ("gold", "apology", "product", "end", "promises"), BLUE)


def draw_before_and_after(
    ax: Axes, rows: Sequence[Row], names: Sequence[str], color: str, shift: float = 0.0
) -> None:
    """An arrow for each name and seed, from before to after."""
    for place, name in enumerate(names):
        for row in rows:
            before, after = row[name][BEFORE], row[name][AFTER]
            ax.plot([before, after], [place + shift] * 2, color=color, alpha=0.4, linewidth=1)
            ax.plot(after, place + shift, "o", color=color, alpha=0.7, markersize=5)
            ax.plot(before, place + shift, "|", color=color, markersize=10)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def draw_verified(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """The share of right fields that was drawn in each step, and of flat groups, from both starts."""
    for ax, (what, name) in zip(
        axes, {"score": "right fields, sampled", "flat_groups": "groups without a signal"}.items()
    ):
        for start, color in (("prompted", ORANGE), ("some SFT", BLUE)):
            curves = select(rows, what, start=start)
            for curve in curves:
                ax.plot(curve, color=color, alpha=0.35, linewidth=1)
            ax.plot([statistics.fmean(values) for values in zip(*curves)], color=color, label=start)
        ax.set(xlabel="step", ylabel=name, ylim=(-0.03, 1.03))


def draw_raters(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """What the rater pays, against steps; gold, its parts and words before and after."""
    parts = ("gold", "apology", "end", "promises")
    for rater, color, shift in (("the program", GREEN, -0.12), ("fond of length", ORANGE, 0.12)):
        same = [row for row in rows if row["rater"] == rater]
        for row in same:
            axes[0].plot(row["score"], color=color, alpha=0.6, linewidth=1)
        axes[0].plot([], color=color, label=rater)
        draw_before_and_after(axes[1], same, parts, color, shift)
        draw_before_and_after(axes[2], same, ("words",), color, shift)
    axes[0].set(xlabel="step", ylabel="what the rater pays")
    axes[0].legend(fontsize="small")
    axes[2].set_xlabel("words in a reply")
