# %% [markdown]
# # Lab 06 · How much data, and which
#
# How does performance grow with the number of examples? Does LoRA need fewer? What is a repeated
# example worth, what one that a model wrote? And if the budget buys a fixed number of labels,
# how are they best spent? You write the three small functions that answer such questions, a fitted
# line among them. Five statements of the [document on trial](../chapters/document.md) are put to the
# test.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the
# mistake. The three exercises are worth 8 points; plan 30 minutes for them.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import math
import statistics

import matplotlib.pyplot as plt
from course import (
    check,
    evidence,
    exercise,
    finish,
    grouped,
    measure,
    on_trial,
    rows_of,
    select,
    show,
    start,
    sweep,
)
from experiments import data as experiment

lab = start("06_data")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet. The [ledger](../chapters/ledger.md) says how the outcome
# relates to the expectation.

# %%
on_trial()


# %% [markdown]
# ## Performance against the number of examples
#
# Two tasks. *Triage* is a skill that the base lacks: file a ticket in five fields. *Polite* is a
# style whose sentences it knows: reply in four parts and in their order. Full tuning and LoRA of rank
# 8 each learn from 32 to 4,096 examples, at learning rates that were chosen for few and for many on
# the validation split. However few the examples, a run on triage takes 480 steps (LoRA, which learns
# it more slowly, 960) and one on politeness 240: compute is equal, and only the data differ.

# %%
stored, live = sweep(
    experiment.SIZE, live=[{"task": "triage", "arm": "full", "count": 256, "seed": 0}]
)
for row in live:
    print(f"just now: {row['count']} tickets, {row['performance']:.0%} filed right")
curves = {
    (task, arm): grouped(stored, "count", "performance", task=task, arm=arm)
    for task in experiment.TASKS
    for arm in experiment.ARMS
}
print(f"{'examples':>8}" + "".join(f"{f'{task}, {arm}':>15}" for task, arm in curves))
for count in experiment.COUNTS:
    means = [statistics.fmean(curve[count]) for curve in curves.values()]
    print(f"{count:8,}" + "".join(f"{mean:15.0%}" for mean in means))

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), sharey=True)
experiment.draw_curves(axes, curves)
show(
    fig,
    "Share of right responses against the number of examples on a logarithmic axis, for a skill and a "
    "style, with full tuning and with LoRA. On the skill both rise between 32 and 256 examples from a "
    "tenth to one; on the style both are flat, full tuning near one and LoRA near 0.85.",
)
for name, (task, arm, count) in experiment.SHARES.items():
    measure(name, curves[task, arm][count], "share of right responses", seeds=experiment.SEEDS)

# %% [markdown]
# *What to look at:* the style is there after a few dozen examples, and the skill after a few hundred;
# neither waits for a thousand. The document says that LoRA needs less data. Compare the curves at the
# same height: who needs fewer? LoRA gets twice the steps on triage, so full tuning is also given as
# many, at two sizes.

# %%
longer = grouped(rows_of(experiment.LONGER), "count", "performance")
for name, count in experiment.LONGER_AT.items():
    print(
        f"full tuning with LoRA's 960 steps, {count} examples: {statistics.fmean(longer[count]):.0%}"
    )
    measure(name, longer[count], "share of right responses", seeds=experiment.SEEDS)

# %%
needed = {(task, arm): experiment.needed_for(0.8, curve) for (task, arm), curve in curves.items()}
for (task, arm), counts in needed.items():
    print(f"{task:7} {arm:5} 80 % with {', '.join(f'{count:,.0f}' for count in counts)} examples")
ratios = [lora / full for lora, full in zip(needed["triage", "LoRA"], needed["triage", "full"])]
measure(
    "data.needed_ratio",
    ratios,
    "LoRA's examples for 80 % on triage, as a multiple of full tuning's",
)
evidence("C2.05", statistics.fmean(ratios), seeds=experiment.SEEDS)

# %% [markdown]
# ## Which law?
#
# The document says performance ∝ log(data size). On a logarithmic axis that is a straight line. Fit
# one.
#
# ### Exercise · a straight line


# %%
@exercise("data.line", points=3, minutes=12, difficulty=2)
def line(x, y):
    """Intercept a and slope b of the line a + b x with the least squared error.

    With means x̄ and ȳ: b = Σ(x − x̄)(y − ȳ) / Σ(x − x̄)², a = ȳ − b x̄
    x, y: lists of numbers, as many of one as of the other; not all x are equal
    returns (a, b)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(line)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `sum(... for one, other in zip(x, y))` goes through both lists at once.
#
# </details>

# %% [markdown] solution="data.line"

# %% [markdown]
# Your line on triage with full tuning, fitted to all but the two largest sizes, and what it promises
# for those. It knows no ceiling.

# %%
curve = {count: statistics.fmean(values) for count, values in curves["triage", "full"].items()}
sizes = sorted(curve)
a, b = line([math.log(size) for size in sizes[:-2]], [curve[size] for size in sizes[:-2]])
for size in sizes[-2:]:
    print(f"{size:,} examples: {a + b * math.log(size):.0%} promised, {curve[size]:.0%} measured")
measure("data.promised", a + b * math.log(sizes[-1]), "of all responses right, as a line promises")

# %% [markdown]
# Two other laws bend: a power law with a floor, which published fits of the *loss* follow, and a
# saturation. All three are fitted to all but the two largest sizes of each curve and judged on those.
# The last curve is the accuracy of reward models, trained as in lab 03 on 50 to 3,000 pairs.

# %%
everything = {f"{task}, {arm}": curve for (task, arm), curve in curves.items()}
losses = {
    f"{task}, {arm}, −loss": {
        count: [-loss for loss in values]
        for count, values in grouped(stored, "count", "loss", task=task, arm=arm).items()
    }
    for task, arm in curves
}
everything |= losses
pairs = grouped(rows_of(experiment.REWARD), "pairs", "accuracy")
everything["reward model"] = pairs
judged = experiment.judge_laws(everything)
print(f"{'misfit at the two largest sizes':34}" + "".join(f"{law:>12}" for law in experiment.LAWS))
for name, misfits in judged.items():
    print(f"{name:34}" + "".join(f"{misfits[law]:12.3f}" for law in experiment.LAWS))
# %% [markdown]
# How often does each law win? And how often does some law beat the logarithm, on the curves of
# performance?

# %%
won = {
    law: sum(min(misfits, key=misfits.get) == law for misfits in judged.values())
    for law in experiment.LAWS
}
print({law: count for law, count in won.items()})
for name, law in experiment.BEST_LAW.items():
    measure(name, won[law], "curves that the law extrapolates best")
measure("data.curves", len(judged), "curves")
performances = [misfits for name, misfits in judged.items() if "loss" not in name]
evidence(
    "C2.02",
    sum(misfits["logarithm"] > min(misfits.values()) for misfits in performances)
    / len(performances),
)

# %%
fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.8))
experiment.draw_laws(axes, {name: everything[name] for name in experiment.DRAWN})
show(
    fig,
    "Three curves with the three laws, fitted to the filled points and extrapolated to the two open "
    "ones. On triage the logarithm runs past one.",
)

# %% [markdown]
# ## Repeated examples, and when to stop
#
# With 128 examples, 480 steps are 60 epochs. What happens to the loss on the test split, and what to
# the share of right responses?

# %%
epochs = rows_of(experiment.EPOCHS)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.8))
experiment.draw_epochs(axes, epochs)
show(
    fig,
    "Test loss and share of right responses against epochs, for both tasks and three seeds, with the "
    "lowest loss and the best share marked.",
)
for task, (of_loss, of_share) in experiment.BEST_EPOCHS.items():
    best = [experiment.best_epochs(row) for row in epochs if row["task"] == task]
    print(
        f"{task}: loss lowest after {[one for one, _ in best]} epochs, best share after {[two for _, two in best]}"
    )
    measure(of_loss, [one for one, _ in best], "epochs", seeds=experiment.SEEDS)
    measure(of_share, [two for _, two in best], "epochs", seeds=experiment.SEEDS)
for name, task in experiment.LOSS_RISE.items():
    rises = [row["loss"][-1] - min(row["loss"]) for row in epochs if row["task"] == task]
    measure(name, rises, "nats per token from the lowest loss to the last", seeds=experiment.SEEDS)

# %% [markdown]
# ## Must a prompt have one standard answer?
#
# The document wants pairs with standard answers. Here 256 demonstrations of politeness come in three
# ways: always in the same words, in any of 24 acceptable wordings, or with four wordings for each of
# 64 tickets.

# %%
shown = rows_of(experiment.DEMONSTRATIONS)
for way in experiment.WAYS:
    polite, wordings = select(shown, "polite", way=way), select(shown, "wordings", way=way)
    print(
        f"{way:20} polite {statistics.fmean(polite):5.0%}   wordings {statistics.fmean(wordings):4.1f}"
    )
for name, (what, way) in experiment.SHOWN.items():
    of = "share of polite replies" if what == "polite" else "wordings among 300 samples"
    measure(name, select(shown, what, way=way), of, seeds=experiment.SEEDS)
one, many = (select(shown, "polite", way=way) for way in experiment.WAYS[:2])
changes = [b - a for a, b in zip(one, many)]
measure("data.wording_change", changes, "change of the share from one wording to any")
evidence("C2.01", statistics.fmean(changes), seeds=experiment.SEEDS)

# %% [markdown]
# ## Demonstrations that a model wrote
#
# A teacher learns from 96 tickets filed by hand and files 1,024 others. A student learns from those.
# The check knows no answers: it asks whether there are five fields and whether each stands in the
# complaint.

# %%
written = rows_of(experiment.WRITTEN)
for source in experiment.SOURCES:
    exact = select(written, "exact", source=source)
    right, number = (
        statistics.fmean(select(written, what, source=source))
        for what in ("right", "demonstrations")
    )
    print(
        f"{source:24} {number:6,.0f} demonstrations, {right:4.0%} right → {statistics.fmean(exact):4.0%}"
    )
for name, (what, source) in experiment.TAUGHT.items():
    of = "share of right responses" if what == "exact" else "share of right demonstrations"
    measure(name, select(written, what, source=source), of, seeds=experiment.SEEDS)

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.6))
experiment.draw_ways(axes[0], shown, "way", "polite", experiment.WAYS)
experiment.draw_ways(axes[1], written, "source", "exact", experiment.SOURCES)
show(
    fig,
    "Left: share of polite replies for one wording, any wording and four wordings each. Right: exact "
    "match of a student that learned from tickets filed by hand, by a model, by a model and checked, "
    "and all by hand.",
)

# %% [markdown]
# ## What labels cost
#
# ### Exercise · hours


# %%
@exercise("data.label_hours", points=2, minutes=6, difficulty=1)
def label_hours(items, minutes, judgements):
    """Hours of work on labels, as a number that may be a fraction.

    items: how many are to be labelled
    minutes: of one judgement of one item
    judgements: how many people judge each item
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(label_hours)

# %% [markdown]
# <details><summary>Hint</summary>
#
# How many minutes are there in all?
#
# </details>

# %% [markdown] solution="data.label_hours"

# %% [markdown]
# The document's own sum, and what becomes of it with another look at each pair. The wage is an
# assumption; put in yours.

# %%
WAGE = 20  # dollars an hour
for items, minutes, judgements in ((50_000, 2, 1), (50_000, 2, 2), (10_000, 2, 1), (1_000, 5, 3)):
    hours = label_hours(items, minutes, judgements)
    print(
        f"{items:7,} items × {minutes} minutes × {judgements} = {hours:7,.0f} hours, {hours * WAGE:9,.0f} dollars"
    )

# %% [markdown]
# ### Exercise · what to ask next
#
# Choices between replies that the reward model already tells apart may teach it little. *Active
# learning* asks about those it is unsure of.


# %%
@exercise("data.most_uncertain", points=3, minutes=12, difficulty=2)
def most_uncertain(margins, count):
    """The places of the pairs whose rewards lie closest together.

    margins: list of numbers; how much more reward the first reply of each pair
      gets than the second
    count: how many places, from 0 to all of them
    returns a list of places, counted from 0, the closest first; of equal
      distances the earlier place comes first
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(most_uncertain)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `sorted` takes a `key`, and it keeps the order of what is equal.
#
# </details>

# %% [markdown] solution="data.most_uncertain"

# %% [markdown]
# Three ways to spend 300 choices: on random pairs; 100 on random pairs and 200 on those of 1,100
# others that the first reward model is least sure of; or on 150 pairs, each judged twice, of which
# those count on which both judgements agree. One run is repeated with your function.

# %%
spent, live = sweep(
    experiment.BUDGETS,
    live=[{"spending": "uncertain pairs", "seed": 0}],
    most_uncertain=most_uncertain,
)
for spending in experiment.SPENDINGS:
    accuracy = select(spent, "gold_accuracy", spending=spending)
    number = statistics.fmean(select(spent, "pairs", spending=spending))
    print(
        f"{spending:16} {number:5.0f} pairs in training, accuracy {statistics.fmean(accuracy):.1%}"
    )
for name, spending in experiment.SPENT.items():
    accuracy = select(spent, "gold_accuracy", spending=spending)
    measure(name, accuracy, "accuracy against the gold score", seeds=range(5))
for name, spending in experiment.APART.items():
    apart = select(spent, "apart", spending=spending)
    print(f"{spending}: gold scores {statistics.fmean(apart):.2f} points apart on average")
    measure(name, apart, "gold points between the replies of a pair", seeds=range(5))
chance, unsure = (
    select(spent, "gold_accuracy", spending=spending) for spending in experiment.SPENDINGS[:2]
)
gains = [b - a for a, b in zip(chance, unsure)]
measure("data.uncertain_gain", gains, "accuracy that asking about uncertain pairs adds")
evidence("C2.17", statistics.fmean(gains), seeds=range(5))

# %% [markdown]
# *What to look at:* asking about uncertain pairs brought no gain. The mean is lower, and the seeds
# spread. Where the reward model is unsure, the replies are a little closer together than usual, so
# that the rater's choice is closer to chance; and 200 pairs of one kind are less varied than random
# ones.
#
# ## Compare, or rate?
#
# The document says that comparisons are easier than ratings. Here is one reason why they may be
# better: a rater who is strict, or who uses the ends of the scale, spoils ratings and no comparison.
# Ten raters judge forty items of known worth. The spread says how much the raters' offsets and scales
# differ, in units of the items' worth. A fair user of ratings takes each rater's own mean and spread
# out first. And a fair count of comparisons remembers that each reads two items.

# %%
spreads = (0.0, 0.25, 0.5, 1.0, 2.0)
ordered = {
    spread: [experiment.rated_and_compared(spread, seed) for seed in range(10)]
    for spread in spreads
}
fig, ax = plt.subplots(figsize=(6.4, 2.8))
experiment.draw_ordered(ax, ordered)
show(
    fig,
    "Share of pairs of items in the right order against the spread between raters. Plain ratings fall "
    "with the spread; standardised ratings and comparisons stay where they are, and standardised "
    "ratings are best throughout.",
)
for spread, runs in ordered.items():
    print(
        f"spread {spread:4}: "
        + ", ".join(f"{way} {statistics.fmean(run[way] for run in runs):.1%}" for way in runs[0])
    )
for name, (spread, way) in experiment.ORDERED.items():
    measure(name, [run[way] for run in ordered[spread]], "pairs of items in order", seeds=range(10))
gaps = [run["half as many comparisons"] - run["ratings"] for run in ordered[1.0]]
measure(
    "data.comparing_gain", gaps, "pairs of items in order that comparing adds, at equal reading"
)
evidence("C2.11", statistics.fmean(gaps), seeds=range(10))

# %% [markdown]
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** That the numbers carry over: a skill of another kind, another base or
# raters who err more or less have other curves. The simulated raters find nothing easy or hard;
# whether comparing is *easier* for people, no simulation can tell. And the tasks here are learned
# completely, which leaves no room for the slow growth that large tasks show.
#
# Back to the [chapter](../chapters/data.md).
