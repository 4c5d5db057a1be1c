# %% [markdown]
# # Lab 09 · Pipelines, and the comparison
#
# In practice methods come in combinations: one base and an adapter for each team, SFT and then
# reinforcement learning, adapters all the way. The first half of this lab runs the document's three
# combinations stage by stage. The second half is the comparison that the book's title promises: every
# method of the course on one task, from one base, with its price in labels, seconds, bytes and
# dollars.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the mistake.
# The four exercises are worth 12 points; plan 36 minutes for them. The wide runs were made once, with
# `make sweeps`; the lab draws their stored rows and repeats a few.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import statistics

import matplotlib.pyplot as plt
import torch
from course import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    CourseError,
    check,
    evidence,
    exercise,
    finish,
    measure,
    on_trial,
    select,
    show,
    start,
    sweep,
)
from experiments import pipelines as experiment
from experiments import pipelines_compared as compared
from experiments import pipelines_results as results
from experiments.after_ppo import SEEDS

lab = start("09_pipelines")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet. Where an expectation failed, the entry says so.

# %%
on_trial()

# %% [markdown]
# ## One base, an adapter for each team
#
# > **Combination 1: SFT → PEFT**
#
# The base learns the house's common task, triage, by SFT. Then six teams want replies in a style of
# their own, and each has 32 examples. They can get an adapter each, a full model each, or share one
# model whose prompt names the team.
#
# Six adapters on one base need not be served one after another. A linear layer can give every row of
# a batch the adapter of its own team.

# %% [markdown]
# ### Exercise · one batch, many adapters


# %%
@exercise("pipelines.mixed_batch", points=4, minutes=12, difficulty=2)
def mixed_batch(x, weight, A, B, alpha, adapter):
    """A linear layer on a batch in which each row has an adapter of its own.

    x: float (batch, time, d_in)
    weight: (d_out, d_in), the base's
    A, B: (adapters, rank, d_in) and (adapters, d_out, rank); α/r is alpha over rank
    adapter: int (batch,), the adapter of each row; -1 stands for the base alone
    returns float (batch, time, d_out); gradients reach x, A and B
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(mixed_batch)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `A[adapter]` has one matrix for each row. What does Python make of `A[-1]`?
#
# </details>

# %% [markdown] solution="pipelines.mixed_batch"

# %% [markdown]
# On one layer of the base, with six adapters and 48 rows in any order: the same numbers as one
# adapter at a time, in one call. Servers have kernels of their own for it, which do not copy the
# matrices for each row.

# %%
difference = results.mixed_difference(mixed_batch, experiment.TEAMS)
print(f"largest difference of the outputs: {difference:.1e}")
measure("pipelines.mixed_difference", difference, "largest difference of the outputs")

# %% [markdown]
# Now the teams. Each way has the best of three rates, found on a seed of its own, and as many
# examples and steps as the others.

# %%
teams, _ = sweep(experiment.TEAM)
fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.6), sharey=True)
labels = "right replies of the teams", "right triage, adapters on", "MB to store for the teams"
for ax, what, label in zip(
    axes, (results.TEAM_RESULTS["right"], "triage", results.stored_mb), labels
):
    results.draw_dots(ax, {arm: select(teams, what, arm=arm) for arm in experiment.ARMS}, BLUE)
    ax.set_xlabel(label)
for ax in axes[:2]:
    ax.set_xlim(-0.03, 1.03)
axes[2].set_xscale("log")
show(
    fig,
    "Six teams served in four ways: the share of right replies, what is left of triage, the common "
    "task, and the megabytes to store beside the general model; dots are seeds, bars are means.",
)

# %%
for name, (what, arm) in results.TEAM_MEASURES.items():
    values = select(teams, results.TEAM_RESULTS[what], arm=arm)
    print(f"{arm:<20} {what:<11} {statistics.fmean(values):8.2f}")
    measure(name, values, results.TEAM_UNITS[what], seeds=SEEDS)

# %% [markdown]
# *What to look at:* whether the adapters keep up with full models, what each way does to the common
# task, and what switching the adapter off gives back.

# %% [markdown]
# ## Stage by stage
#
# > **Combination 2: SFT → RLHF (Strongest Effect)**
#
# Every stage reads labels, changes the policy, and leaves it to the next one. The next stage's KL
# penalty, or DPO's loss, compares with a reference: the policy that the stage before has left. With
# full tuning that is a copy. With adapters there is a trap. The usual reference is "the model with
# its adapter off", and that is the base, not what SFT made of it.

# %% [markdown]
# ### Exercise · begin the next stage
#
# A colleague goes on from SFT with an adapter to PPO with the same adapter, and takes the model with
# its adapter off as the reference. Nothing fails; the KL penalty pulls the policy back to the base.
# Write what has to happen to each adapted layer between the stages.


# %%
@exercise("pipelines.begin_stage", points=3, minutes=10, difficulty=2)
def begin_stage(weight, A, B, alpha):
    """The weight and the adapter with which the next stage begins.

    weight: float (d_out, d_in), frozen
    A, B: (rank, d_in) and (d_out, rank), what the last stage learned; α/r is alpha over rank
    returns weight, A, B, new tensors of the same shapes: with the adapter on, the policy is what it
    was; with the adapter off, it is too, so that this is the reference; and the adapter can learn
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(begin_stage)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Merge what was learned. An adapter learns as long as `A` and `B` are not both zero.
#
# </details>

# %% [markdown] solution="pipelines.begin_stage"

# %% [markdown]
# The trap in numbers. An adapter learns from 125 demonstrations; then the first rollout of the next
# stage is compared with its reference, before any step. Against the right reference the divergence is
# zero.

# %%
trap = results.first_divergence(begin_stage)
print(f"adapter simply switched off: {trap['switched off']:.2f} nats per reply")
print(f"after begin_stage:           {trap['renewed']:.2f} nats per reply")
measure(
    "pipelines.trap_switched_off", trap["switched off"], "nats per reply, before the first step"
)
measure("pipelines.trap_renewed", trap["renewed"], "nats per reply, before the first step")
if trap["renewed"] > 0.01:
    raise CourseError("the reference is not the policy: run check(begin_stage), or put ... back")

# %% [markdown]
# ### What each stage does
#
# Each stage has labels of its own: 500 demonstrations, choices between two replies of the policy as
# it stands for 1,000 tickets, or a program that accepts polite replies. Its rate is the one that was
# best for the stage by itself.

# %%
stages, _ = sweep(experiment.PIPELINE)
fig, axes = plt.subplots(2, 5, figsize=(10, 4.6), sharey="row")
colors = BLUE, GREEN, ORANGE, PURPLE, GREY
for column, pipeline, color in zip(axes.T, experiment.PIPELINES, colors):
    for ax, what in zip(column, ("gold", "exact")):
        results.draw_stages(ax, stages, pipeline, what, color)
        ax.tick_params("x", labelsize=7)
for ax, label in zip(axes[:, 0], ("gold", "share of polite replies")):
    ax.set_ylabel(label)
show(
    fig,
    "Gold, above, and the share of polite replies, below, after each stage of five "
    "pipelines; thin lines are seeds, thick ones means.",
)

# %%
print(f"{'':24}{'gold':>6}{'exact':>7}{'KL':>6}{'facts':>7}{'labels':>8}{'Tflop':>7}{'s':>5}")
for pipeline in experiment.PIPELINES:
    for place, stage in enumerate(["base", *pipeline.split(" → ")]):
        told = results.stage_means(stages, pipeline, place)
        print(f"{stage:<22}" + results.LINE.format(**told))
    print()

# %% [markdown]
# *What to look at:* which of the two qualities each stage moves, whether the last stage keeps what
# the one before had reached, and the order: reinforcement learning and then SFT, or the other way
# round. And follow the lines that fall.

# %%
for name, (pipeline, what, place) in results.STAGE_MEASURES.items():
    told = [row[place] for row in select(stages, what, pipeline=pipeline, parameters="full")]
    measure(name, told, results.UNITS[what], seeds=SEEDS)
after_dpo = select(stages, "gold", pipeline="SFT → DPO → program")
worst = min(after_dpo, key=lambda row: row[2])
ruined = sum(row[2] < row[0] for row in after_dpo)
measure("pipelines.ruined_by_dpo", ruined, "of three seeds, gold below the base's after DPO")
measure("pipelines.worst_after_dpo", worst[2], "gold points after DPO, the worst of three seeds")
measure("pipelines.worst_after_program", worst[3], "gold points after the program, the same seed")
best = max(row[3] for row in after_dpo)
measure("pipelines.best_after_program", best, "gold points after the program, the best seed")
for name, parameters in results.PPO_AFTER_SFT.items():
    added = results.added_by_ppo(stages, parameters)
    measure(name, added, "gold points that PPO adds after SFT, seed by seed", seeds=SEEDS)
for name, ((first, second), what) in results.STAGE_GAPS.items():
    gaps = results.stage_gaps(stages, first, second, what)
    measure(name, gaps, results.GAP_UNITS[what], seeds=SEEDS)

# %% [markdown]
# ### Adapters all the way
#
# > **Combination 3: PEFT → RLHF**
#
# SFT and then PPO, both with adapters: the adapter of SFT is merged, and PPO gets a fresh one.

# %%
fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.4), sharey=True)
labels = "gold", "share of polite replies", "nats per token lost on transcripts"
for ax, what, label in zip(axes, ("gold", "exact", "forgotten"), labels):
    results.draw_dots(
        ax, {name: results.ends(stages, name, what) for name in experiment.PARAMETERS}, BLUE
    )
    ax.set_xlabel(label)
show(
    fig,
    "SFT and then PPO with all parameters and with adapters of rank 8 and 1: gold, the share of "
    "polite replies, and what was forgotten, at the end; dots are seeds, bars are means.",
)
for name, (parameters, what) in results.RANK_GAPS.items():
    gaps = results.rank_gaps(stages, parameters, what)
    measure(name, gaps, results.GAP_UNITS[what], seeds=SEEDS)

# %% [markdown]
# ## Without SFT
#
# > **Why SFT first?** Direct RLHF training is unstable; SFT needed to establish basic capability.
#
# Two things can go wrong, and they are not the same. In a *stall* nothing moves, because no response
# in a group is better than another. In a *divergence* everything moves, and quality falls. Which of
# them is it? A program accepts polite replies: a greeting, empathy, the right fix and thanks. RLOO
# learns from it, from random weights, from the base, and after thirty steps of SFT.

# %% [markdown]
# ### Exercise · how many groups say anything?


# %%
@exercise("pipelines.with_signal", points=2, minutes=6, difficulty=1)
def groups_with_signal(success, size):
    """The expected share of groups in which some responses succeed and some fail.

    success: float (prompts,), for each prompt the probability that a response to it succeeds
    size: how many responses stand in a group, all to one prompt and drawn independently
    returns a scalar, the mean over the prompts
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(groups_with_signal)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Begin with the groups that say nothing: all succeed, or all fail.
#
# </details>

# %% [markdown] solution="pipelines.with_signal"

# %%
cold, _ = sweep(experiment.WITHOUT_SFT)
print(f"{'start':<18}{'p0':>7}{'with a signal':>15}{'expected, were all prompts alike':>34}")
for begin in experiment.STARTS:
    told = results.first_step(cold, begin)
    alike = groups_with_signal(torch.tensor([told["p0"]]), results.GROUP).item()
    print(f"{begin:<18}{told['p0']:7.1%}{told['signal']:15.1%}{alike:34.1%}")
    if begin == "base":
        measure("pipelines.base_p0", told["p0"], "share of accepted replies in the first step")
        measure("pipelines.base_signal", told["signal"], "share of groups with a signal")
        measure("pipelines.base_alike", alike, "share of groups, were all prompts alike")

# %% [markdown]
# *What to look at:* from the base, nineteen of twenty groups teach nothing in the first step. Your
# formula says about as many, but these are two groups of 48: too few to test it. From random weights
# none teaches anything, in no step.

# %%
fig, axes = plt.subplots(1, 3, figsize=(8.4, 3.0), sharey=True)
for ax, rate in zip(axes, experiment.COLD_RATES):
    for begin, color in zip(experiment.STARTS, (GREY, BLUE, ORANGE)):
        for number, scores in enumerate(select(cold, "score", start=begin, rate=rate)):
            label = begin if number == 0 and ax is axes[0] else None
            ax.plot(scores, color=color, alpha=0.7, linewidth=1, label=label)
    ax.set(title=f"rate {rate:g}", xlabel="step")
axes[0].set_ylabel("share of accepted replies")
axes[0].legend(fontsize="x-small")
show(
    fig,
    "The share of accepted replies against steps of RLOO at three rates, from random weights, from the "
    "base, and after thirty steps of SFT; one line for each seed.",
)

# %%
fates = {begin: results.fates(cold, begin) for begin in experiment.STARTS}
print(
    f"{'start':<18}{'unchanged':>11}{'diverged':>10}{'learned':>9}   of {len(SEEDS)} seeds at 3 rates"
)
for begin, told in fates.items():
    print(f"{begin:<18}{told['unchanged']:11}{told['diverged']:10}{told['learned']:9}")
for name, (begin, fate) in results.FATES.items():
    measure(name, fates[begin][fate], "runs of 9, three rates and three seeds")
for name, (begin, rate) in results.COLD_ENDS.items():
    ends = select(cold, experiment.exact_at_end, start=begin, rate=rate)
    measure(name, ends, results.UNITS["exact"], seeds=SEEDS)

# %% [markdown]
# ## The comparison
#
# One task: the reply to a customer. One base. Every method gets what it reads, up to 2,000 labels: a
# demonstration of a polite reply, or a choice between two replies of the base. A program needs no
# labels, and a teacher has read the demonstrations itself. Every policy is judged by the same 256
# sampled replies: by *gold*, what an independent judge gives, and by the share that a program accepts
# as *polite*: a greeting, empathy, the right fix and thanks. And everything has a control: an adapter
# that was not trained, demonstrations that belong to other tickets, choices that a coin made.
#
# Three seeds of two methods have to be compared in pairs, since both begin with the same tickets, the
# same labels and the same random numbers.

# %% [markdown]
# ### Exercise · seed by seed


# %%
@exercise("pipelines.paired_interval", points=3, minutes=8, difficulty=1)
def paired_interval(first, second, quantile):
    """The mean of first - second, taken seed by seed, and half the width of its interval.

    first, second: lists of numbers, one for each seed (two seeds or more), in the same order
    quantile: of Student's t with n - 1 degrees of freedom; 4.303 for three seeds and 95 %
    The deviation is that of a sample, divided by n - 1. Returns two numbers, the mean first. Raises
    an error if one list is longer than the other.
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(paired_interval)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Subtract first. Then it is the interval of a mean: t times s over the root of n.
#
# </details>

# %% [markdown] solution="pipelines.paired_interval"

# %% [markdown]
# Before the comparison, the rates. Each method tries three, on a seed of its own. Gold alone would
# choose the highest for SFT.

# %%
tried, _ = sweep(compared.RATES)
fig, (left_ax, right_ax) = plt.subplots(1, 2, figsize=(8, 2.8))
for method, color in zip(compared.TUNED, (BLUE, GREEN, ORANGE, PURPLE)):
    for ax, what in ((left_ax, "gold"), (right_ax, "reading")):
        ax.plot(*results.curve(tried, method, what), "o-", color=color, label=method)
left_ax.set(xscale="log", xlabel="learning rate", ylabel="gold", ylim=(-0.5, 3))
right_ax.set(xscale="log", xlabel="learning rate", ylabel="share of facts answered")
left_ax.legend(fontsize="x-small")
show(
    fig,
    "Gold, left, and the share of questions about facts that are still answered, right, against the "
    "learning rate, one seed for each method. SFT's best rate for gold loses most of the facts.",
)
for name, (what, rate) in results.HIGH_RATE.items():
    value = select(tried, what, method="SFT", rate=rate)[0]
    measure(name, value, f"{results.UNITS[what]}, seed 9")

# %% [markdown]
# *What to look at:* the right picture, where nobody looks who tunes on gold. The comparison takes the
# lowest rate within 0.1 points of the best.

# %%
rows, again = sweep(compared.COMPARED, live=[results.live_row()])
now = again[0]
print(f"SFT on 32 demonstrations, now: gold {now['gold']:.2f}, polite {now['exact']:.0%}")
measure("compared.live_gold", now["gold"], "gold points, SFT on 32 demonstrations")

# %%
fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.4))
results.draw_comparison(axes, rows, "labels")
fig.legend(loc="outside lower center", ncols=4, fontsize="small")
show(
    fig,
    "The comparison. Gold, left, and the share of polite replies, right, against the "
    "number of labels, for every method of the course; bars are 95 % intervals over three seeds, the "
    "grey line is the base. SFT with 32 demonstrations is above all that learn from 2,000 choices.",
)

# %% [markdown]
# *What to look at:* how many choices it takes to be worth one demonstration; which methods move the
# right picture at all; where the controls are.

# %%
fig, axes = plt.subplots(2, 3, figsize=(9, 5.6), sharey="row")
for column, name in zip(axes.T, ("seconds", "bytes", "money")):
    results.draw_comparison(column, rows, name)
for ax in axes[:, 1:].flat:
    ax.set_ylabel("")
fig.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small"
)
show(
    fig,
    "The same two qualities against seconds of training, bytes held while training, and dollars at "
    "assumed prices; points are numbers of labels, bars are 95 % intervals over three seeds.",
)

# %%
fig, axes = plt.subplots(1, 3, figsize=(8.4, 3.4))
results.draw_side_effects(axes, rows)
fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small"
)
show(
    fig,
    "What each method moved, with all labels: gold, the loss on the old transcripts, and the share of "
    "questions about facts that it still answers, against the divergence from the base; bars "
    "are 95 % intervals over three seeds.",
)

# %%
print(f"{'':24}{'gold':>6}{'exact':>7}{'KL':>6}{'facts':>7}{'lost':>6}{'s':>6}{'MB':>6}{'$':>7}")
for method in compared.METHODS:
    told = results.means(rows, method)
    print(f"{method:<24}" + results.METHOD_LINE.format(**told))
for name, (what, method, labels) in results.COMPARED.items():
    values = results.of(rows, method, labels, what)
    measure(name, values, results.UNITS[what], seeds=SEEDS)
for name, method in results.SECONDS.items():
    seconds = statistics.median(results.of(rows, method, 2000, "train_seconds"))
    measure(name, seconds, "seconds of training on two cores, the median of three seeds")

# %% [markdown]
# Differences seed by seed, with your `paired_interval`:

# %%
for name, (first, second) in results.LEADS.items():
    pairs = [results.of(rows, *each) for each in (first, second)]
    mean, half = paired_interval(*pairs, 4.303)
    print(f"{first[0]} ({first[1]}) − {second[0]} ({second[1]}): {mean:+.2f} ± {half:.2f}")
    measure(name, [a - b for a, b in zip(*pairs)], "gold points, seed by seed", seeds=SEEDS)

# %% [markdown]
# And dollars. The prices are assumptions: 5 minutes for a demonstration, 2 for a choice, 8 hours for
# the program, 20 dollars an hour for a person and 10 cents for the machine. Change them in
# `experiments/pipelines_results.py` and run the lab again.

# %%
for name, (method, labels) in results.PRICES.items():
    cost = statistics.fmean(results.of(rows, method, labels, results.dollars))
    read = results.labels_read({"method": method, "labels": labels})
    print(f"{method:<12}{read:>6} labels {cost:9,.2f} dollars")
    measure(name, cost, "dollars, at the lab's prices")

# %% [markdown]
# ## Verdict

# %%
gains = [
    b - a for a, b in zip(*(results.of(rows, m, 2000, "exact") for m in ("the base", "program")))
]
evidence("C5.10", statistics.fmean(gains), seeds=SEEDS)
visible = [
    a - b for a, b in zip(results.of(rows, "SFT, LoRA", 500), results.of(rows, "the base", 2000))
]
evidence("C2.08", min(visible), seeds=SEEDS)
more = [a - b for a, b in zip(*(results.of(rows, "SFT, LoRA", n) for n in (2000, 500)))]
evidence("C2.09", statistics.fmean(more), seeds=SEEDS)

# %%
finish()

# %% [markdown]
# **What it does not show.** One small model and one task, whose demonstrations are perfect: they show
# what the judge likes best, and more than the rater was asked for. Where demonstrations are no better than what the model
# says already, choices have more to teach ([lab 05](05_after_ppo.ipynb)). Rates were found with all
# labels and used with fewer. Prices are assumptions, and no price is put on what was forgotten.
#
# Back to the [chapter](../chapters/combinations.md), or on to [the
# comparison](../chapters/comparison.md).
