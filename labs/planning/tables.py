"""The document's four tables, recomputed line by line for a stated case.

The case is Llama 2 7B with checkpointing, on H100s at 40 percent of their peak, with sampling at 5, at
3 dollars an hour. Memory: one row of 2,048 tokens on one device. Time: rows of 500 tokens as in the
ledger, three passes of SFT, one of PPO; without the stages that come before PPO, and with a prompt for
each pair. Full tuning and PPO need more than one card, so time is in card-hours. Where a line cannot
be computed from a case, it is compared with the document's own other lines.
"""

from typing import NamedTuple

from planning import cost, memory, shapes
from planning.memory import ADAPTER, ALL, GB, Training
from planning.rules import PEFT, RLHF, SFT

LLAMA = shapes.named("Llama 2 7B")
RANK = 8
LENGTH, SFT_PASSES = 500, 3
MEMORY, TIME, MONEY, SUM, UNIT_PRICE, SHARE = (
    "peak memory, GB",
    "H100-hours",
    "dollars for that time",
    "dollars, the sum of the parts",
    "dollars for each label",
    "percent of the base's parameters",
)
COMPARISON, BREAKDOWN = "section 4, comparison", "section 4, breakdown"
CORE, SUMMARY = "section 5, core comparison", "Summary, core comparison"


class Line(NamedTuple):
    """A figure of a table and what it comes to. low, high: for the ends of the document's own range
    of data or dollars, where it gives one"""

    table: str
    method: str
    said: str
    what: str
    low: float
    high: float


# Samples of the document for each method: its lowest and its highest number.
AMOUNTS = {SFT: (10_000, 100_000), PEFT: (500, 5_000), RLHF: (10_000, 100_000)}
# Dollars of section 4's breakdown, computing and labels, lowest and highest; and its totals.
COMPUTING = {SFT: (50, 100), PEFT: (10, 30), RLHF: (500, 1_500)}
LABELS = {SFT: (2_000, 5_000), PEFT: (200, 2_500), RLHF: (20_000, 50_000)}


def training(method: str, **more) -> Training:
    """What the document's method is, as a training of the case."""
    algorithm, trains = "PPO" if method == RLHF else "SFT", ADAPTER if method == PEFT else ALL
    return Training(LLAMA, algorithm, trains, rank=RANK, **more)


def job(method: str, samples: int) -> cost.Job:
    """Training on so many samples of the document's method."""
    passes = 1 if method == RLHF else SFT_PASSES
    return cost.Job(training(method, length=LENGTH), tokens=samples * LENGTH, passes=passes)


def lines() -> list[Line]:
    """All lines of the four tables that hold a figure."""
    found = []
    storage = {SFT: "50-80GB", PEFT: "10-15GB", RLHF: "80GB+"}
    for table in (COMPARISON, CORE, SUMMARY):
        for method, said in storage.items():
            peak = memory.peak(training(method, length=2048)).total / GB
            found.append(Line(table, method, said, MEMORY, peak, peak))
    for method, said in {SFT: "2-4h", PEFT: "1-2h", RLHF: "8-16h"}.items():
        ends = [sum(cost.hours(job(method, samples)).values()) for samples in AMOUNTS[method]]
        found.append(Line(COMPARISON, method, said, TIME, *ends))
    for method, said in {SFT: "50-100", PEFT: "10-30", RLHF: "500-1.5K"}.items():
        ends = [cost.dollars(job(method, samples)) for samples in AMOUNTS[method]]
        found.append(Line(BREAKDOWN, method, f"Compute {said}", MONEY, *ends))
    for method, said in {SFT: "2K-5K", PEFT: "200-2.5K", RLHF: "20K-50K"}.items():
        ends = [dollars / samples for dollars, samples in zip(LABELS[method], AMOUNTS[method])]
        found.append(Line(BREAKDOWN, method, f"data annotation {said}", UNIT_PRICE, *sorted(ends)))
    for method, said in {SFT: "$2K-6K", PEFT: "$200-3K", RLHF: "$20K-60K"}.items():
        ends = [sum(parts) for parts in zip(COMPUTING[method], LABELS[method])]
        for table in (COMPARISON, CORE, SUMMARY):
            found.append(Line(table, method, said, SUM, *ends))
    small, large = (100 * shapes.adapter(LLAMA, rank) / shapes.total(LLAMA) for rank in (RANK, 64))
    found.append(Line(SUMMARY, PEFT, "<1% parameters", SHARE, small, large))
    return found
