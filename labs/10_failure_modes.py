# %% [markdown]
# # Lab 10 · How each method fails
#
# The document ends with one failure for each method: SFT learns the errors of its data, a low rank
# runs out, and a reward model is exploited. Here each failure gets a dose, a picture, and remedies
# with their price. You write the remedies.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the mistake.
# The four exercises are worth 9 points; plan 32 minutes for them. The wide runs were made once, with
# `make sweeps`; the lab draws their stored rows and repeats a few.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import statistics

import matplotlib.pyplot as plt
from course import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
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
from experiments import failure_modes as experiment
from experiments import failure_modes_results as results
from experiments.after_ppo import SEEDS

lab = start("10_failure_modes")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet.

# %%
on_trial()

# %% [markdown]
# ## SFT: the data have errors
#
# > Data has errors → Model learns errors
#
# Which errors, and how many? The task is triage again, on 1,000 tickets, and a share of the responses
# names a wrong city. There are three kinds of errors. *Any wrong city*: a different one, drawn at random.
# *One wrong city*: each city is always replaced by the same other one. *Whole products*: all tickets about
# certain products have the wrong city, and the others are right.
#
# Expected: of random errors the model makes nearly none when its likeliest words are taken, and as
# many as it was shown when it is sampled. Errors about whole products are learned in full.

# %%
noise, _ = sweep(experiment.NOISE)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
for ax, what in zip(axes, ("greedy", "sampled")):
    for kind, color in zip(experiment.KINDS, (BLUE, GREEN, ORANGE)):
        rows = [row for row in noise if row["kind"] == kind or row["dose"] == 0]
        points = [row["shown"] for row in rows], [row[what] for row in rows]
        ax.plot(*points, "o", color=color, alpha=0.6, label=kind)
    ax.plot([0, 0.45], [0, 0.45], color=GREY, linewidth=0.8)
    ax.set(xlabel="share of wrong examples", title=what)
axes[0].set_ylabel("share of wrong cities in the responses")
axes[0].legend()
show(
    fig,
    "The share of wrong cities in the responses against the share in the examples, for three kinds of "
    "errors, when decoding greedily and when sampling; the grey line is where they are equal.",
)

# %% [markdown]
# *What to look at:* the same model makes hardly any error, or more than it was shown, depending on how
# its words are chosen. At the highest dose greedy decoding fails as well. And errors that follow a
# rule need not be learned as a rule.

# %%
for name, (kind, dose, what) in results.NOISE.items():
    values = select(noise, what, kind=kind, dose=dose)
    print(f"{kind:<16} {dose:.0%} {what:<12} {statistics.fmean(values):.1%}")
    measure(name, values, results.NOISE_UNITS[what], seeds=SEEDS)

# %% [markdown]
# ### Exercise · a loss that knows of the errors
#
# If you know how often each class is labelled as each of the others, apply the errors to the model's
# prediction before you compare it with the label (Patrini et al. 2017). The model itself goes on
# predicting the right class. Here the classes are the tokens of the vocabulary, and the matrix is the
# identity but for the ten cities.


# %%
@exercise("failures.forward_loss", points=3, minutes=12, difficulty=2)
def forward_loss(logits, labels, noise):
    """Mean negative log-likelihood of labels that are wrong with known probabilities.

    logits: float (batch, classes)
    labels: int (batch,), as they were observed
    noise: float (classes, classes), noise[k, j] the probability that class k is labelled j; its
      rows add up to 1, and it may hold zeros
    A label that is very unlikely, but allowed by the noise, has a finite loss and gradient.
    returns a scalar
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(forward_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A label j is seen with probability $\sum_k p(k)\,C_{kj}$, where $C$ is the noise. Add logarithms and
# use `logsumexp`. A zero in the noise becomes −∞, which `logsumexp` takes as it should.
#
# </details>

# %% [markdown] solution="failures.forward_loss"

# %% [markdown]
# The same examples once more, with your loss and the true rates of errors.

# %%
live = [{"kind": "any wrong city", "dose": 0.4, "seed": 0}]
corrected, _ = sweep(experiment.CORRECTED, live=live, forward_loss=forward_loss)
print(f"{'':26}{'greedy':>9}{'sampled':>9}")
for kind in experiment.KINDS[:2]:
    for name, rows in (("usual loss", noise), ("corrected", corrected)):
        told = [
            statistics.fmean(select(rows, w, kind=kind, dose=0.4)) for w in ("greedy", "sampled")
        ]
        print(f"{kind:<15}{name:<11}{told[0]:9.1%}{told[1]:9.1%}")
for name, (kind, dose, what) in results.CORRECTED.items():
    values = select(corrected, what, kind=kind, dose=dose)
    measure(name, values, results.NOISE_UNITS[what], seeds=SEEDS)

# %% [markdown]
# Expected was that the corrected loss leaves fewer than one greedy error in twenty, and fewer than one
# sampled error in ten, for both kinds of errors at 40 %. For one of them it is still guessing. Is it
# wrong, or slow? Three times the steps were run to find out. Expected of them: it is slow. The dots at
# 150 and 300 steps are on the way, at the full learning rate, so they do not match the table.

# %%
longer, _ = sweep(experiment.LONGER_RUNS)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
for ax, what in zip(axes, ("greedy", "sampled")):
    for loss, color in zip(experiment.LOSSES, (GREY, BLUE)):
        for curve in select(longer, what, loss=loss):
            ax.plot(experiment.LONGER, curve, "o-", color=color, alpha=0.8, label=f"{loss} loss")
    ax.axhline(0.4, color=ORANGE, linewidth=1.2, linestyle="--")
    ax.set(xlabel="steps", title=what, ylim=(-0.03, 1.03), xticks=experiment.LONGER)
axes[0].set_ylabel("share of wrong cities")
axes[0].legend(*results.first_of_each(axes[0]))
show(
    fig,
    "Wrong cities after 150, 300 and 450 steps on examples of which 40 % name any wrong city, with the "
    "usual and with the corrected loss, decoded greedily and sampled; the dashed line is what was shown.",
)
for name, (loss, what) in results.LONGER.items():
    values = [curve[-1] for curve in select(longer, what, loss=loss)]
    print(
        f"{loss:<10} {what:<8} after {experiment.LONGER[-1]} steps {statistics.fmean(values):6.1%}"
    )
    measure(name, values, results.NOISE_UNITS[what], seeds=SEEDS)

# %% [markdown]
# The price: somebody has to know the rates. Have some examples checked by somebody who gets them
# right, and count.
#
# ## PEFT: the rank runs out
#
# > Large demand changes → Insufficient low-rank constraints
#
# Random facts make a demand that can grow without end ([lab 02](02_lora.ipynb) began with 64).
# What do rank and time buy? Expected: 256 facts fit into rank 4, given time. Of 1,024 rank 1 knows
# less than half when full tuning knows nearly all, and four times the steps buy as much as four times
# the rank.

# %%
few, _ = sweep(experiment.RANK_RATES)
many, _ = sweep(experiment.RANK)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
colors = dict(zip(experiment.RANKS, (GREY, ORANGE, GREEN, BLUE)))
for ax, rows, count in zip(axes, (few, many), (experiment.FEW, experiment.MANY)):
    for row in rows:
        dashed = ":" if rows is few and row["rate"] == 2e-3 else "-"
        name = row["parameters"] if dashed == "-" else None
        ax.plot(experiment.LOOKS, row["known"], dashed, color=colors[row["parameters"]], label=name)
    ax.set(xscale="log", xlabel="steps", title=f"{count:,} facts")
    ax.set_xticks(experiment.LOOKS, [f"{look:,}" for look in experiment.LOOKS])
    ax.minorticks_off()
axes[0].set_ylabel("share of facts known")
axes[0].legend(*results.first_of_each(axes[0]))
show(
    fig,
    "The share of random facts known against the number of steps, for full tuning and adapters. Left, "
    "256 facts at two rates, the higher one dotted; right, 1,024 facts and three seeds.",
)

# %%
for name, (rows, settings, look) in results.RANKED.items():
    curves = select({"few": few, "many": many}[rows], "known", **settings)
    known = [curve[look] for curve in curves]
    told = " ".join(map(str, settings.values()))
    print(
        f"{rows:<5}{told:<16} after {experiment.LOOKS[look]:>5,} steps {statistics.fmean(known):7.1%}"
    )
    measure(name, known, results.RANK_UNIT, seeds=SEEDS if rows == "many" else [results.RATES_SEED])

# %% [markdown]
# ### Exercise · what a rank leaves out
#
# How much of what full tuning adds to a matrix could a change of rank $r$ hold? The best one keeps
# the largest singular values (Eckart and Young 1936); the others are missed.


# %%
@exercise("failures.energy_left", points=2, minutes=8, difficulty=2)
def energy_left(change, rank):
    """The share of a matrix's squared entries that its best approximation of this rank misses.

    change: float (rows, columns), however many of each, such as what training added to a weight
    rank: from 0 upward; it may exceed the shorter side, and then nothing is left
    returns a number from 0 to 1; 0 for a matrix of zeros
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(energy_left)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.linalg.svdvals` has the singular values, the largest first. The squares of all of them add
# up to the squares of all entries.
#
# </details>

# %% [markdown] solution="failures.energy_left"

# %% [markdown]
# Now on what full tuning adds to the base's matrices while it learns 256 facts in 1,000 steps. The
# second curve cuts every change to its best of that rank, and asks for the facts again. Expected
# before the run: at rank 16 more than a third of the change is missed and more than half of the facts
# are lost, although an adapter trained at rank 16 learns them all. (The first run, with another seed,
# had 500 steps, and knew a fifth of the facts by then, cut or not.) Embeddings, norms and the output
# layer stay as full tuning left them.

# %%
tuned = results.tuned_on_facts(rate=1e-3, seed=results.RATES_SEED)
ranks = (1, 2, 4, 8, 16, 32, 64, 128)
missed = [statistics.fmean(energy_left(c, rank) for c in tuned.changes.values()) for rank in ranks]
known = [tuned.known_at(rank) for rank in ranks]
fig, ax = plt.subplots(figsize=(5.4, 3.4))
ax.plot(ranks, missed, "o-", color=ORANGE, label="share of the change that is missed")
ax.plot(ranks, known, "o-", color=BLUE, label="facts known after the cut")
adapters = results.known_by_adapters(few)
ax.plot(adapters.keys(), adapters.values(), "*", color=GREEN, ms=11, label="known by an adapter")
ax.set(xscale="log", xlabel="rank", ylim=(-0.03, 1.03))
ax.set_xticks(ranks, ranks)
ax.minorticks_off()
ax.legend(fontsize="small")
show(
    fig,
    "What full tuning adds, cut to a rank: the share of it that is missed falls slowly with the rank, "
    "the share of facts that is still known rises; stars are adapters trained at their rank on the "
    "same facts, in twice the steps and at the better of two learning rates.",
)

# %%
for rank, missed_name, known_name in results.CUT:
    at = ranks.index(rank)
    print(
        f"rank {rank:>3} misses {missed[at]:.0%} of the change; {known[at]:.0%} of the facts are left"
    )
    measure(missed_name, missed[at], "share of the squared entries of the change")
    measure(known_name, known[at], results.RANK_UNIT)
print(f"without a cut: {tuned.known_at(160):.0%} of the facts")

# %% [markdown]
# ## RLHF: the reward model is exploited
#
# > Reward model is exploited → reward hacking
#
# PPO for 30 steps of 128 replies, without a penalty and with four remedies, on 1,000 choices of two
# raters: one who is fair, and one who is fond of length. *KL penalty*: β = 0.1. *More pairs*: four
# times as many choices. *Ensemble*: three reward models of the same choices, and the reply gets the
# lowest of their scores. *Fresh labels*: half-way a new reward model, from the old choices and as many
# new ones between the policy's own replies; the policy goes on from where it is.
#
# Expected of the fair rater: without a remedy gold peaks and then falls by half a point or more, while
# the score rises; the penalty and fresh labels keep most of it, more pairs and an ensemble some. Of
# the other: gold falls further, and only the penalty helps.

# %%
hacked, _ = sweep(experiment.HACK)
fig, axes = plt.subplots(2, 5, figsize=(8, 4.4), sharey="row", sharex=True)
for column, remedy in zip(axes.T, experiment.REMEDIES):
    for rater, color in zip(experiment.RATERS, (BLUE, ORANGE)):
        for ax, what in zip(column, ("gold", "score")):
            for curve in results.curves(hacked, what, rater, remedy):
                ax.plot(results.running(curve), color=color, alpha=0.6, linewidth=1, label=rater)
    column[0].set_title(remedy)
    column[1].set_xlabel("step")
axes[0, 0].set_ylabel("gold")
axes[1, 0].set_ylabel("score that is paid")
fig.legend(*results.first_of_each(axes[0, 0]), loc="outside upper right", ncols=2)
show(
    fig,
    "Gold, above, and the score that is paid, below, against steps of PPO, without a remedy and with "
    "four, for a fair rater and for one who is fond of length; one line for each seed. More pairs and "
    "an ensemble were run with the fair rater alone.",
)

# %% [markdown]
# *What to look at:* where gold turns while the score that is paid stays high, and which remedies keep
# gold up. With fresh labels another reward model pays from half-way on, and the divergence is counted
# from there.

# %%
print(f"{'':32}{'gold':>6}{'lost':>6}{'score':>7}{'KL':>7}{'tokens':>8}{'labels':>8}")
for rater in experiment.RATERS:
    for remedy in experiment.TRIED[rater]:
        print(
            f"{rater:<16}{remedy:<16}" + results.LINE.format(**results.ends(hacked, rater, remedy))
        )
for name, (rater, remedy, what) in results.HACKED.items():
    values = select(hacked, results.HACK_RESULTS[what], rater=rater, remedy=remedy)
    measure(name, values, results.HACK_UNITS[what], seeds=SEEDS)
for name, other in results.FRESH_OVER.items():
    gains = results.fresh_over(hacked, other)
    print(f"fresh labels against {other}, seed by seed: {[round(gain, 2) for gain in gains]}")
    measure(name, gains, "gold points, seed by seed", seeds=SEEDS)
evidence("C2.18", statistics.fmean(results.fresh_over(hacked, "more pairs")), seeds=SEEDS)

# %% [markdown]
# Read what the reward model likes. One reply from the first step and one from the last, for each run
# without a remedy that was trained for the rater who is fond of length:

# %%
for seed in SEEDS:
    print(select(hacked, "said", rater="fond of length", remedy="none", seed=seed)[0], end="\n\n")

# %% [markdown]
# ### Exercise · when the judges disagree
#
# Several reward models of the same choices should agree where the data are, and differ where they are
# not. A cautious reward takes their mean, less where they disagree (Coste et al. 2024).


# %%
@exercise("failures.cautious", points=2, minutes=6, difficulty=1)
def cautious(scores, weight):
    """What several reward models say on average, less where they disagree.

    scores: float (models, batch)
    weight: of the variance between the models (divided by the number of models)
    returns float (batch,)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(cautious)

# %% [markdown]
# <details><summary>Hint</summary>
#
# By default `var` divides by one less than the number of models; `correction=0` makes it the number.
#
# </details>

# %% [markdown] solution="failures.cautious"

# %% [markdown]
# Three judges, trained on one seed's choices of the fair rater, read one reply from the first step and
# one from the last of every run with that rater. Each judge's zero is its mean of the first replies.
# Expected: they disagree more about the last.

# %%
judges, _ = sweep(experiment.JUDGES)
print(f"{'':15}{'mean':>7}{'spread':>8}{'cautious':>10}")
for name, spread_name, mean_name in results.JUDGED:
    scores = results.scores_of_judges(judges, name)
    spread, mean = scores.std(0, correction=0).mean().item(), scores.mean().item()
    paid = cautious(scores, 1.0).mean().item()
    print(f"{name + ' replies':<15}{mean:7.2f}{spread:8.2f}{paid:10.2f}")
    measure(spread_name, spread, "standard deviation between the judges")
    measure(mean_name, mean, "mean of the judges, above that of the first replies")

# %% [markdown]
# ### Exercise · stop in time
#
# Early stopping needs no new labels: stop before the policy leaves a budget of divergence (Gao,
# Schulman and Hilton 2023).


# %%
@exercise("failures.stop_at", points=2, minutes=6, difficulty=1)
def stop_at(kl, budget):
    """How many steps to make: as many as stay within a budget, before the first that does not.

    kl: list of numbers, the divergence from the reference after each step, in nats per response; it
      may be empty
    budget: a divergence equal to it is within it
    returns from 0 to len(kl), and len(kl) if the budget is never exceeded; steps after the first that
      exceeds it do not count, even if they fall below it again
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(stop_at)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Count until the first step that leaves the budget, and stop counting there.
#
# </details>

# %% [markdown] solution="failures.stop_at"

# %%
print(f"stopped at a budget of {results.BUDGET:.0f} nats, without any other remedy:")
for name, rater in results.STOPPED.items():
    rows = select(hacked, lambda row: row, rater=rater, remedy="none")
    steps = [stop_at(results.kl_after_each_step(row), results.BUDGET) for row in rows]
    golds = [results.gold_after(row, step) for row, step in zip(rows, steps)]
    print(f"{rater:<16} after {steps} steps, gold {statistics.fmean(golds):.2f}")
    measure(name, golds, "gold points of the last batch within the budget", seeds=SEEDS)

# %% [markdown]
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** One small model, three seeds, and one where only one run was made. The noise of the labels was known exactly.
# The fair rater errs at random, and the other has one bias besides; people have many. The scores of
# the ensemble's members were not brought to a common zero and scale before the lowest was taken.
#
# Back to the [chapter](../chapters/failure-modes.md).
