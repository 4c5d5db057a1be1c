# %% [markdown]
# # Lab 05 · After PPO
#
# Preferences without a reward model (DPO), rewards without a critic (GRPO, RLOO), rewards without
# preferences (a verifier), and a teacher that comments on every token (on-policy distillation). You
# write the core of each in a few lines, hold it against `methods/`, and train the help desk's base
# with it. Then every signal meets every choice of parameters: what does rank cost, under SFT, DPO,
# PPO and GRPO?
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the
# mistake. The nine exercises are worth 31 points; plan 110 minutes for them. The wide runs were made
# once, with `make sweeps`; the lab draws their stored rows and repeats a few.

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
from experiments import after_ppo as experiment
from experiments import after_ppo_verified as verified
from experiments.shared import fresh
from methods import dpo, enumeration, grpo, lora

lab = start("05_after_ppo")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet. Where an expectation failed, the entry says so, and its
# bound now asks for what the verdict needs.

# %%
on_trial()

# %% [markdown]
# ## A policy is a reward model
#
# PPO's objective has one optimum, $\pi^* = \pi_\text{ref}\, e^{r/\beta} / Z(x)$
# ([lab 04](04_ppo.ipynb)). Solve it for $r$:
#
# $$r(x, y) = \beta \log \frac{\pi^*(y \mid x)}{\pi_\text{ref}(y \mid x)} + \beta \log Z(x)$$
#
# Every policy is the optimum of *some* reward. Up to a number that depends on the prompt alone, its
# *implicit reward* is the log-ratio, times β (Rafailov et al. 2023).

# %% [markdown]
# ### Exercise · the implicit reward


# %%
@exercise("after.implicit_reward", points=2, minutes=5, difficulty=1)
def implicit_reward(log_probs, ref_log_probs, beta):
    """The reward that a policy implies, up to a number of the prompt alone.

    log_probs, ref_log_probs: float, one shape, any: log π and log π_ref of whole responses
    beta: weight of the KL penalty
    returns float, same shape
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(implicit_reward)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The term with $Z$ is the one that is left out.
#
# </details>

# %% [markdown] solution="after.implicit_reward"

# %% [markdown]
# The toy of lab 04 has 21 responses. Take a random reward, compute the optimum exactly, and read the
# reward off it again: what is left is one number, the same for all responses.

# %%
every_response = enumeration.responses(vocab=5, stop_id=1, longest=2)
toy, beta = experiment.lab_04.toy_policy(), 0.7
worth = torch.randn(len(every_response), generator=torch.Generator().manual_seed(1))
reference_of_toy = enumeration.log_probs(toy, [2, 3], every_response, pad_id=0)
best = enumeration.optimum(reference_of_toy, worth, beta)
left = worth - implicit_reward(best, reference_of_toy, beta)
print(f"reward minus implicit reward: from {left.min():.6f} to {left.max():.6f}")
measure("after.reward_left", left.max() - left.min(), "largest difference of what is left")

# %% [markdown]
# ## DPO: the reward model's loss, without the reward model
#
# A pair needs only the difference of two rewards of one prompt, and in a difference $Z$ cancels. Put
# the implicit reward into the loss of Bradley and Terry:
#
# $$\mathcal{L}_\text{DPO} = -\mathbb{E}\left[\log \sigma\left(\hat r(x, y_w) - \hat r(x, y_l)\right)\right]$$

# %% [markdown]
# ### Exercise · the loss of DPO


# %%
@exercise("after.dpo_loss", points=4, minutes=10, difficulty=2)
def dpo_loss(log_probs, ref_log_probs, beta):
    """Mean negative log-probability of the choices, to be minimised.

    log_probs, ref_log_probs: float (pairs, 2): log π and log π_ref of whole responses; the chosen
      one stands in column 0, the rejected one in column 1. They may lie hundreds of nats apart.
    returns a scalar
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(dpo_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.nn.functional.logsigmoid` stays finite where `log(sigmoid(…))` does not.
#
# </details>

# %% [markdown] solution="after.dpo_loss"

# %% [markdown]
# Before the first step the policy is its own reference, so every implicit reward is 0 and the loss is
# log 2. What does the loss ask of a pair once the policy has moved?

# %%
start_loss = dpo_loss(torch.full((3, 2), -20.0), torch.full((3, 2), -20.0), 0.1)
print(f"at the start {start_loss:.4f}, log 2 is {torch.tensor(2.0).log():.4f}")
margins = torch.linspace(-60, 60, 121)
zero = torch.zeros(1, 2)
curves = {
    "DPO": lambda logs: dpo_loss(logs.policy, logs.reference, 0.1),
    "IPO": lambda logs: dpo.ipo_loss(logs, 0.1),
    "KTO": lambda logs: dpo.kto_loss(logs, 0.1),
}
fig, ax = plt.subplots(figsize=(6.4, 3.4))
for (name, loss), color in zip(curves.items(), (BLUE, ORANGE, GREEN)):
    told = [
        loss(
            dpo.PairLogProbs(torch.tensor([[m / 2, -m / 2]]), zero, torch.full((1, 2), 8), zero[0])
        )
        for m in margins
    ]
    ax.plot(margins, [value / max(told) for value in told], color=color, label=name)
ax.set(xlabel="margin of the log-ratios, in nats", ylabel="loss, its largest value = 1")
ax.legend()
show(
    fig,
    "Three losses against the margin between the chosen and the rejected response. DPO falls all the "
    "way, IPO has a minimum at a margin that it aims for, KTO levels off on both sides.",
)

# %% [markdown]
# *What to look at:* DPO is never content: a margin that is large already still pulls a little. IPO
# aims at one margin and pulls back beyond it. KTO hardly pulls on pairs that are far from won, nor on
# those that are safely won. All three see the difference from the reference alone, never a
# probability by itself; keep that in mind for the surprise below.

# %% [markdown]
# ## Train it
#
# DPO on the 2,000 pairs of lab 03, with an adapter of rank 8, while you wait: one pass. Your
# `dpo_loss` is the loss of this run. It is compared with the stored row of the same settings.

# %%
cells, again = sweep(experiment.CELLS, live=[experiment.live_cell()], dpo_loss=dpo_loss)
now = again[0]
print(f"gold at first {now['gold'][0]:.2f}, after one pass {now['gold'][-1]:.2f}")
measure("after.live_gold_start", now["gold"][0], "gold points")
measure("after.live_gold_end", now["gold"][-1], "gold points")

# %% [markdown]
# *What to look at:* no reward model was trained and nothing was sampled while training, and gold
# rises all the same.
#
# ### What becomes of the chosen replies
#
# Three passes at three values of β. On the left, what the log-probability of the chosen and of the
# rejected replies has gained since the reference; on the right, gold.

# %%
long_rows, _ = sweep(experiment.LONG)
fig, (left_ax, right_ax) = plt.subplots(1, 2, figsize=(8, 3.6))
for beta, color in zip(experiment.DPO_BETAS, (BLUE, ORANGE, GREEN)):
    for what, style in (("chosen", "-"), ("rejected", ":")):
        steps = experiment.smoothed(select(long_rows, what, beta=beta))
        left_ax.plot(steps, style, color=color, label=f"{what}, β = {beta:g}")
    golds = list(zip(*select(long_rows, "gold", beta=beta)))
    looked = select(long_rows, "step", beta=beta)[0]
    right_ax.plot(looked, golds, color=color, alpha=0.35, linewidth=0.8)
    right_ax.plot(looked, list(map(statistics.fmean, golds)), color=color, label=f"β = {beta:g}")
left_ax.set(xlabel="step", ylabel="gain of log-probability, nats")
right_ax.set(xlabel="step", ylabel="gold")
left_ax.legend(fontsize="x-small")
right_ax.legend()
show(
    fig,
    "Left, the gain in log-probability of chosen and rejected replies against steps of DPO: both fall, "
    "the rejected ones further. Right, gold against steps for three values of beta.",
)

# %%
for name, beta in experiment.CHOSEN_LOSSES.items():
    losses = [-statistics.fmean(row[-31:]) for row in select(long_rows, "chosen", beta=beta)]
    measure(name, losses, "nats lost, mean of the last 31 steps", seeds=experiment.SEEDS)
for name, beta in experiment.LONG_GOLD.items():
    ends = select(long_rows, experiment.gold_at_end, beta=beta)
    measure(name, ends, "gold points", seeds=experiment.SEEDS)
for name, beta in experiment.LONG_FALL.items():
    falls = select(long_rows, experiment.gold_fall, beta=beta)
    measure(name, falls, "gold points below the best look", seeds=experiment.SEEDS)

# %% [markdown]
# ### Whose replies were compared?
#
# The pairs may be old: drawn from a model that the policy has left behind. Here ten steps of SFT
# take the policy away from the base first.

# %%
source_rows, _ = sweep(experiment.SOURCE)
fig, ax = plt.subplots(figsize=(6.4, 2.6))
for place, source in enumerate(experiment.SOURCES):
    gains = select(source_rows, experiment.gold_gain, source=source)
    ax.plot(gains, [place] * len(gains), "o", color=BLUE, alpha=0.6)
    ax.plot(statistics.fmean(gains), place, "|", color=BLUE, markersize=18, markeredgewidth=2)
ax.axvline(0, color=GREY, linewidth=0.8)
ax.set_yticks(
    range(3), [f"{source} replies" for source in ("the base's", "its own", "its own, refreshed")]
)
ax.set(xlabel="gold points gained by DPO", ylim=(2.5, -0.5))
show(
    fig,
    "Gold gained by DPO on pairs of the base's replies, of the policy's own, and of its own refreshed "
    "half-way; dots are seeds, bars are means.",
)

# %%
for name, source in experiment.SOURCE_MEASURES.items():
    gains = select(source_rows, experiment.gold_gain, source=source)
    print(f"{source:<20} {statistics.fmean(gains):5.2f} gold points gained")
    measure(name, gains, "gold points gained", seeds=experiment.SEEDS)
starts = select(source_rows, "gold_start", source="its own")
measure("after.source_start", starts, "gold points after ten steps of SFT", seeds=experiment.SEEDS)

# %% [markdown]
# ## A group in place of a critic
#
# PPO needs a critic to say what was to be expected. GRPO takes it from the group: several responses
# to the same prompt, each compared with their mean.
#
# $$\hat A_i = \frac{r_i - \text{mean}(r_1, \dots, r_G)}{\text{std}(r_1, \dots, r_G)}$$

# %% [markdown]
# ### Exercise · advantages in a group


# %%
@exercise("after.group_advantages", points=4, minutes=10, difficulty=2)
def group_advantages(scores, size):
    """How much better each response did than its group, in standard deviations of the group.

    scores: float (responses,); the `size` responses to one prompt stand next to each other
    The deviation is that of a sample (divided by size - 1), and 1e-4 is added to it, so that a
    group of equal scores gets 0.
    returns float (responses,)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(group_advantages)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `scores.view(-1, size)` has one group in each row.
#
# </details>

# %% [markdown] solution="after.group_advantages"

# %% [markdown]
# The mean of a group contains the response itself, which pulls the gradient towards 0 a little.
# REINFORCE leave-one-out (RLOO) compares with the others only, and divides by nothing.

# %% [markdown]
# ### Exercise · leave one out


# %%
@exercise("after.leave_one_out", points=3, minutes=10, difficulty=2)
def leave_one_out(scores, size):
    """The score of each response minus the mean of the others in its group.

    scores: float (responses,); the `size` responses to one prompt stand next to each other
    returns float (responses,)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(leave_one_out)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The others' sum is the group's sum minus the response's own score.
#
# </details>

# %% [markdown] solution="after.leave_one_out"

# %% [markdown]
# Two groups of four. In the first one response succeeds, in the second all of them do.

# %%
scores = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 1])
for name, advantages in (
    ("GRPO", group_advantages(scores, 4)),
    ("Dr. GRPO", grpo.centred(scores, 4)),
    ("RLOO", leave_one_out(scores, 4)),
):
    print(f"{name:<9}", "  ".join(f"{value:6.2f}" for value in advantages))
gap = (grpo.centred(scores, 4) * 4 / 3 - leave_one_out(scores, 4)).abs().max()
measure("after.rloo_is_scaled", gap, "largest difference")

# %% [markdown]
# *What to look at:* where all responses score alike, nothing is learned, whether they are right or
# wrong. And Dr. GRPO and RLOO are the same up to a factor of $G/(G-1)$, which a learning rate
# absorbs.
#
# ### From tokens to one number
#
# Every token of a response gets its response's advantage. How do the tokens become one loss? GRPO
# takes a mean over each response first, so a token of a long response counts for less. Dr. GRPO
# divides the sum by a constant.

# %% [markdown]
# ### Exercise · divide by a constant


# %%
@exercise("after.constant_mean", points=3, minutes=5, difficulty=1)
def constant_mean(values, counts, longest):
    """The sum over the tokens that count, divided by responses × longest.

    values: float (batch, time); what stands where counts is False may be anything, even NaN
    counts: bool (batch, time) · longest: where a response is cut, in tokens
    returns a scalar
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(constant_mean)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `0 * nan` is `nan`: use `where`, or an index, not a product.
#
# </details>

# %% [markdown] solution="after.constant_mean"

# %%
lengths = torch.arange(1, 41)
weights = {"GRPO": [], "DAPO": [], "Dr. GRPO": []}
for length in lengths:
    counts = torch.arange(40) < torch.tensor([[length], [10]])
    values = torch.zeros(2, 40).requires_grad_()
    for name, aggregate in zip(weights, (grpo.response_mean, grpo.token_mean, constant_mean)):
        (gradient,) = torch.autograd.grad(aggregate(values, counts, 40), values)
        weights[name].append(gradient[0, 0].item())
fig, ax = plt.subplots(figsize=(6.4, 3.2))
for (name, told), color in zip(weights.items(), (BLUE, ORANGE, GREEN)):
    ax.plot(lengths, told, color=color, label=name)
ax.set(
    xlabel="tokens of the response; the other one has 10",
    ylabel="weight of one token",
    yscale="log",
)
ax.legend()
show(
    fig,
    "The weight of one token against the length of its response: falling steeply for GRPO, gently for "
    "DAPO's mean over all tokens, and flat for Dr. GRPO.",
)

# %% [markdown]
# ## The same pairs, six ways
#
# SFT and DPO read the pairs. PPO, GRPO and RLOO ask the reward model that was trained on them, and so
# does best-of-n, which trains nothing. Three seeds, rates tuned with equal effort.

# %%
full = [row for row in cells if row["parameters"] == "full"]
best_rows, _ = sweep(experiment.BEST)
COLORS = dict(zip(("SFT", "DPO", "PPO", "GRPO", "RLOO"), (GREY, BLUE, ORANGE, GREEN, PURPLE)))
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
for signal, color in COLORS.items():
    for number, row in enumerate(select(full, dict, signal=signal)):
        label = signal if number == 0 else None
        cost = [operations / 1e12 for operations in row["operations"]]
        axes[0].plot(cost, row["gold"], "o-", color=color, alpha=0.6, markersize=3, label=label)
        axes[1].plot(experiment.road(row), row["gold"], "o-", color=color, alpha=0.6, markersize=3)
axes[0].set(xlabel="work, 10¹² operations", ylabel="gold")
axes[1].set(xlabel="√KL from the reference (√nats)")
axes[0].legend(fontsize="small")
show(
    fig,
    "Gold against the work of training, left, and against the square root of the KL divergence, right, "
    "for SFT on the chosen replies, DPO, PPO, GRPO and RLOO, three seeds each.",
)

# %%
for name, signal in experiment.GOLD_FULL.items():
    ends = select(full, experiment.gold_at_end, signal=signal)
    measure(name, ends, "gold points", seeds=experiment.SEEDS)
for name, n in experiment.BEST_MEASURES.items():
    place = experiment.BEST_OF.index(n)
    measure(name, [row["gold"][place] for row in best_rows], "gold points", seeds=experiment.SEEDS)
leads = experiment.lead(cells, ("RLOO", "full"), ("PPO", "full"))
measure(
    "after.lead_rloo_ppo",
    leads,
    "gold points, RLOO minus PPO, seed by seed",
    seeds=experiment.SEEDS,
)
evidence("C1.22", statistics.fmean(leads), seeds=experiment.SEEDS)
gains = [golds[-1] - golds[0] for golds in select(full, "gold", signal="DPO")]
evidence("C2.10", statistics.fmean(gains), seeds=experiment.SEEDS)

# %% [markdown]
# And at equal work? The runs of one pass or twelve steps differ in it: PPO and RLOO sample, score and
# learn; DPO only learns.

# %%
for name, signal in experiment.WORK.items():
    spent = [work / 1e12 for work in select(full, experiment.work, signal=signal)]
    measure(name, spent, "10¹² operations", seeds=experiment.SEEDS)
for name, signal in experiment.EQUAL_WORK.items():
    rows = select(full, dict, signal=signal)
    golds = [experiment.gold_within(row, experiment.lightest(full)) for row in rows]
    print(f"{signal:<5} {statistics.fmean(golds):.2f} gold points for the work of the lightest run")
    measure(name, golds, "gold points", seeds=experiment.SEEDS)

# %% [markdown]
# ### One after another
#
# The document's strongest combination is SFT and then RLHF. Here are four orders, each stage on the
# same 2,000 pairs, with the policy that the stage before left as its reference.

# %%
stack_rows, _ = sweep(experiment.STACK)
fig, ax = plt.subplots(figsize=(6.8, 3.4))
for stack, color in zip(experiment.STACKS, (ORANGE, BLUE, GREEN, PURPLE)):
    golds = list(zip(*select(stack_rows, "gold", stack=stack)))
    ax.plot(range(len(golds)), golds, "o", color=color, alpha=0.4, markersize=4)
    ax.plot(range(len(golds)), list(map(statistics.fmean, golds)), color=color, label=stack)
ax.set_xticks(range(4), ["base", "first stage", "second", "third"])
ax.set_ylabel("gold")
ax.legend()
show(
    fig,
    "Gold after each stage of four stacks: SFT then PPO, SFT then DPO, DPO then PPO, and all three; "
    "dots are seeds, lines are means.",
)

# %%
for name, stack in experiment.STACK_MEASURES.items():
    ends = select(stack_rows, experiment.gold_at_end, stack=stack)
    print(f"{stack:<17} {statistics.fmean(ends):.2f}")
    measure(name, ends, "gold points", seeds=experiment.SEEDS)
for name, stack in experiment.STACK_LEADS.items():
    leads = experiment.over_alone(stack_rows, cells, stack)
    measure(name, leads, "gold points above PPO alone, seed by seed", seeds=experiment.SEEDS)
evidence("C5.02", statistics.fmean(leads), seeds=experiment.SEEDS)

# %% [markdown]
# ## Every signal, every choice of parameters
#
# A signal says what is learned; a choice of parameters says where. So there is a grid, and the
# document's three methods are three of its cells.
#
# With an adapter the reference costs nothing: it is the base, with the adapter switched off for a
# moment.

# %% [markdown]
# ### Exercise · the reference inside the policy


# %%
@exercise("after.reference_logits", points=3, minutes=15, difficulty=2)
def reference_logits(policy, ids):
    """What the base says, asked through a policy that carries an adapter.

    policy: a model with LoRA layers, `lora.layers(policy)` gives them by name; `layer.active` is the
      name of the adapter that a layer uses, None for none
    ids: int (batch, time)
    returns float (batch, time, vocab), without gradient; use policy(input_ids=ids).logits
    Afterwards the policy is as it was: the same adapter active, the same parameters trainable.
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(reference_logits)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Remember what was active, switch off, ask under `torch.no_grad()`, switch on again.
#
# </details>

# %% [markdown] solution="after.reference_logits"

# %%
adapted, some_ids = experiment.policy_of("r = 8", 0), torch.randint(3, 100, (4, 12))
with torch.no_grad():
    for layer in lora.layers(adapted).values():
        layer.B["default"].normal_(std=0.1)
    gap = (reference_logits(adapted, some_ids) - fresh()(input_ids=some_ids).logits).abs().max()
measure("after.reference_gap", gap, "largest difference from the base's logits")
measure("after.copied_full", select(cells, "copied", signal="PPO", parameters="full")[0], "bytes")
measure("after.copied_r8", select(cells, "copied", signal="PPO", parameters="r = 8")[0], "bytes")

# %% [markdown]
# The whole grid: three seeds, one pass over the pairs or twelve steps, each cell at the best of three
# rates.

# %%
fig, ax = plt.subplots(figsize=(7.2, 3.6))
for place, signal in enumerate(experiment.SIGNALS):
    for shift, parameters in enumerate(experiment.RANKS):
        ends = select(cells, experiment.gold_at_end, signal=signal, parameters=parameters)
        at, color = place + 0.18 * (shift - 1.5), (GREY, BLUE, GREEN, ORANGE)[shift]
        ax.plot([at] * len(ends), ends, "o", color=color, alpha=0.5, markersize=4)
        ax.plot(at, statistics.fmean(ends), "_", color=color, markersize=16, markeredgewidth=3)
        if place == 0:
            ax.plot([], [], "o", color=color, label=parameters)
ax.set_xticks(range(len(experiment.SIGNALS)), experiment.SIGNALS)
ax.set_ylabel("gold at the end")
ax.legend(ncols=4, fontsize="small", loc="lower right")
show(
    fig,
    "Gold at the end for SFT, DPO, PPO and GRPO, each with all parameters and with adapters of rank 64, "
    "8 and 1; dots are seeds, bars are means.",
)

# %%
print("signal   " + "".join(f"{name:>16}" for name in experiment.RANKS))
for signal in experiment.SIGNALS:
    ends = [
        select(cells, experiment.gold_at_end, signal=signal, parameters=parameters)
        for parameters in experiment.RANKS
    ]
    print(f"{signal:<9}" + "".join(f"{statistics.fmean(each):16.2f}" for each in ends))
for name, (signal, parameters) in experiment.GRID.items():
    ends = select(cells, experiment.gold_at_end, signal=signal, parameters=parameters)
    measure(name, ends, "gold points", seeds=experiment.SEEDS)

# %% [markdown]
# What does rank 1 cost under each signal? The difference from full tuning is taken seed by seed.

# %%
for name, signal in experiment.RANK_1_GAPS.items():
    gaps = experiment.lead(cells, (signal, "r = 1"), (signal, "full"))
    measure(name, gaps, "gold points, rank 1 minus full, seed by seed", seeds=experiment.SEEDS)
for claim, parameters in (("C5.05", "r = 8"), ("C5.06", "r = 1")):
    gaps = experiment.lead(cells, ("PPO", parameters), ("PPO", "full"))
    evidence(claim, statistics.fmean(gaps), seeds=experiment.SEEDS)
small = [row for row in cells if row["parameters"] == "r = 8"]
leads = experiment.lead(cells, ("DPO", "r = 8"), ("SFT", "r = 8"))
measure(
    "after.lead_dpo_sft_r8",
    leads,
    "gold points, DPO minus SFT, seed by seed",
    seeds=experiment.SEEDS,
)
evidence("C8.02", statistics.fmean(leads), seeds=experiment.SEEDS)
spent = {signal: select(small, experiment.work, signal=signal) for signal in ("SFT", "DPO")}
ratios = [dpo_work / sft_work for sft_work, dpo_work in zip(*spent.values())]
measure("after.work_ratio_r8", ratios, "times SFT's work, DPO, both rank 8", seeds=experiment.SEEDS)

# %% [markdown]
# How many of the weights did training change at all? In float32 every weight that gets a gradient
# moves. Rounded to bfloat16, as most models are trained and stored, small moves vanish.

# %%
for name, (signal, what) in experiment.CHANGED.items():
    shares = select(cells, what, signal=signal, parameters="full")
    print(f"{signal:<5} {what:<13} {statistics.fmean(shares):.1%}")
    measure(name, shares, "share of the weights", seeds=experiment.SEEDS)
shares = select(cells, "changed_bf16", signal="GRPO", parameters="full")
evidence("C6.03", statistics.fmean(shares), seeds=experiment.SEEDS)

# %% [markdown]
# ## A program that knows
#
# Where an answer can be checked, a program can give the reward. It has to be written with care: the
# policy will find whatever it lets through.

# %% [markdown]
# ### Exercise · a verifier that cannot be cheated


# %%
@exercise("after.verifier", points=4, minutes=15, difficulty=2)
def right_total(prompt, response):
    """1.0 if the response is the right total, digit by digit, and nothing else; otherwise 0.0.

    prompt: such as "total : 4 7 + 1 9 =", two numbers of any length
    response: such as " 6 6 <eos>", whatever a model may say, be it empty or nonsense
    The stop token <eos> belongs to a right response.
    returns a number; never raises
    """
    ...


# %%
print(
    right_total("total : 4 7 + 1 9 =", " 6 6 <eos>"),
    right_total("total : 4 7 + 1 9 =", " 6 5 <eos>"),
)

# %%
# NBVAL_CHECK_OUTPUT
check(right_total)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Compute the total from the prompt, write down the one right response, and compare word by word.
#
# </details>

# %% [markdown] solution="after.verifier"

# %% [markdown]
# ### Too little SFT, then a verifier
#
# Triage: 64 tickets with their fields, too few steps of SFT on them, and then 40 steps of GRPO with a
# verifier that accepts a response if all five fields are right. $p_0$ is the share of right responses
# in the first step. Two others get as much work: further SFT on the same 64 tickets, and SFT with the
# right fields of *all* the tickets that the verifier marked, since whoever can check an answer may
# also have it.

# %%
cold, _ = sweep(verified.COLD_START)
groups = [row for row in cold if row["recipe"] == "GRPO"]
answered, _ = sweep(verified.ANSWERS)
gains = {"40 steps of GRPO": [], "further SFT, same tickets": [], "SFT, all answers": []}
for row in groups:
    for name, what in zip(gains, ("exact_end", "exact_more_sft")):
        gains[name].append((max(row["p0"], 1e-3), row[what] - row["exact_start"]))
starts = {(row["sft_steps"], row["seed"]): row for row in groups}
for row in answered:
    begun = starts[row["sft_steps"], row["seed"]]
    gain = row["exact_end"] - begun["exact_start"]
    gains["SFT, all answers"].append((max(begun["p0"], 1e-3), gain))

# %%
fig, (left_ax, right_ax) = plt.subplots(1, 2, figsize=(8, 3.6))
for row in groups:
    left_ax.plot(experiment.running(row["score"]), color=BLUE, alpha=0.5, linewidth=1)
for (name, points), color in zip(gains.items(), (BLUE, GREY, GREEN)):
    right_ax.plot(*zip(*points), "o", color=color, alpha=0.6, label=name)
left_ax.set(xlabel="step", ylabel="share of right responses")
right_ax.set(xscale="log", xlabel="$p_0$ (0 is drawn at 0.001)", ylabel="gain in exact match")
right_ax.legend()
show(
    fig,
    "Left, the share of right responses against steps of GRPO, one line for each start. Right, the gain "
    "in exact match against the share of right responses at the start, for GRPO, for further SFT on the "
    "same tickets, and for SFT on all answers.",
)

# %%
now = verified.first_steps(10, group_advantages)
before = select(groups, "score", sft_steps=100, seed=0)[0][:10]
for label, scores in (("now", now), ("stored", before)):
    print(f"the first ten steps, {label:<7}", "  ".join(f"{share:.0%}" for share in scores))
measure("after.live_score_end", statistics.fmean(now[-3:]), "share of right responses, steps 8–10")
for name, (what, steps) in verified.COLD_MEASURES.items():
    values = select(groups, what, sft_steps=steps)
    measure(name, values, verified.COLD_UNITS[what], seeds=experiment.SEEDS)
for name, (what, steps) in verified.ANSWER_MEASURES.items():
    values = select(answered, what, sft_steps=steps)
    measure(name, values, verified.COLD_UNITS[what], seeds=experiment.SEEDS)
stalls = [row["flat_groups"][0] for row in groups if row["p0"] == 0]
measure("after.flat_at_p0_0", stalls, "share of groups in the first step in which nobody succeeds")
for name, recipe in verified.RECIPE_MEASURES.items():
    ends = select(cold, "exact_end", recipe=recipe, sft_steps=100)
    print(f"{recipe:<9} {statistics.fmean(ends):.0%} right after 40 steps, from 100 steps of SFT")
    measure(name, ends, "share of test tickets", seeds=experiment.SEEDS)
evidence("C8.03", verified.over_more_sft(groups, 100), seeds=experiment.SEEDS)

# %% [markdown]
# ### What a verifier lets through
#
# The same from 100 steps of SFT, with a verifier that looks at the form only: five words and four
# bars. And as a control, one that tosses a coin.

# %%
cheat_rows, _ = sweep(verified.CHEAT)
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
for ax, what, label in zip(axes, ("look", "right"), ("have the form", "have the right fields")):
    for place, verifier in enumerate(verified.VERIFIERS):
        for begun, ended in select(cheat_rows, what, verifier=verifier):
            ax.annotate("", (ended, place), (begun, place), arrowprops={"arrowstyle": "->"})
            ax.plot(begun, place, "o", color=GREY)
            ax.plot(ended, place, "o", color=ORANGE)
    ax.set(xlabel=f"share of responses that {label}", xlim=(-0.03, 1.03), ylim=(2.5, -0.5))
axes[0].set_yticks(range(3), verified.VERIFIERS)
axes[0].set_ylabel("the verifier asks for")
show(
    fig,
    "Before and after training with three verifiers: the share of responses with the form of "
    "an answer, left, and with the right fields, right. Grey dots are starts, orange dots are ends.",
)

# %%
print(select(cheat_rows, "said", verifier="the look of fields", seed=0)[0])
for name, (what, verifier) in verified.CHEAT_MEASURES.items():
    ends = [pair[1] for pair in select(cheat_rows, what, verifier=verifier)]
    measure(name, ends, "share of 300 responses", seeds=experiment.SEEDS)

# %% [markdown]
# ## A teacher on every token
#
# A verifier gives one number for a whole response. A teacher can say for every token which ones it
# would have preferred. On-policy distillation lets the student write, and pulls each of its
# next-token distributions towards the teacher's:
#
# $$\mathcal{L} = \mathbb{E}_{y \sim \pi_S}\left[\frac{1}{|y|} \sum_t D_\text{KL}\left(\pi_S(\cdot \mid x, y_{<t})
# \,\Vert\, \pi_T(\cdot \mid x, y_{<t})\right)\right]$$

# %% [markdown]
# ### Exercise · the reverse divergence, token by token


# %%
@exercise("after.reverse_kl", points=4, minutes=20, difficulty=3)
def reverse_kl(student_logits, teacher_logits, labels):
    """D_KL(student || teacher) of the next token, the mean over the tokens that count, in nats.

    student_logits, teacher_logits: float (batch, time, vocab)
    labels: int (batch, time), -100 where the token does not count; the logits at time t belong to
      the token at t + 1
    returns a scalar; its gradient reaches the student's logits
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(reverse_kl)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\sum_v p_v (\log p_v - \log q_v)$ with $p$ the student. Which position's logits belong to a token?
#
# </details>

# %% [markdown] solution="after.reverse_kl"

# %% [markdown]
# ### Four ways on
#
# Totals of two numbers, after SFT on 1,000 sums. Then 60 steps of 256 responses: more SFT on the same
# sums; a verifier; a larger model's answers to new sums, imitated; and the larger model's judgement
# of the student's own answers, token by token.

# %%
total_rows, _ = sweep(verified.TOTALS)
fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.8), sharey=True)
labels = "right totals, greedy", "right totals, sampled", "nats lost on the clerks' replies"
for ax, what, label in zip(axes, ("exact_end", "sampled", "forgotten"), labels):
    for place, way in enumerate(verified.WAYS):
        values = select(total_rows, what, way=way)
        ax.plot(values, [place] * len(values), "o", color=BLUE, alpha=0.6)
        ax.plot(statistics.fmean(values), place, "|", color=BLUE, markersize=16, markeredgewidth=2)
    ax.set(xlabel=label, ylim=(3.5, -0.5))
for row in total_rows:
    axes[0].axvline(row["exact_start"], color=GREY, linewidth=0.6)
axes[0].set_yticks(range(4), verified.WAYS)
show(
    fig,
    "Four ways on from a thousand sums: right totals when decoding greedily and when sampling, and what was "
    "forgotten; dots are seeds, bars are means, grey lines the starts.",
)

# %%
print("way                   before   after   sampled   other lengths   forgotten")
for way in verified.WAYS:
    told = [
        statistics.fmean(select(total_rows, what, way=way))
        for what in ("exact_start", "exact_end", "sampled", "held_out", "forgotten")
    ]
    print(f"{way:<20}" + "".join(f"{value:10.2f}" for value in told))

# %%
for name, (what, way) in verified.TOTAL_MEASURES.items():
    values = select(total_rows, what, way=way)
    measure(name, values, verified.TOTAL_UNITS[what], seeds=experiment.SEEDS)
evidence("C1.31", verified.gained(total_rows, "verifier"), seeds=experiment.SEEDS)

# %% [markdown]
# ## Find the silent bug

# %% [markdown]
# A colleague saves padding: rows of one length side by side. This version of `pair_log_probs` sorts
# the rows, scores them, and puts them back. Its numbers are right numbers, the loss begins at
# log 2, and it falls.


# %%
def buggy_pair_log_probs(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    some = [rows[row] for row in order]
    halves = some[: len(some) // 2], some[len(some) // 2 :]  # the long ones, and the short ones
    scored = torch.cat([experiment.row_log_probs(model, half, pad_id) for half in halves])
    return scored[torch.tensor(order)].view(-1, 2)


# %% [markdown]
# `train_with` makes one pass of DPO over 500 pairs with it.

# %%
buggy = experiment.train_with(buggy_pair_log_probs)
print(f"loss {buggy['loss'][0]:.3f} → {buggy['loss'][-1]:.3f}, gold {buggy['gold']:.2f}")
measure("after.silent_bug_gold_end", buggy["gold"], "gold points")

# %% [markdown]
# ### Exercise · write it without the bug


# %%
@exercise("after.silent_bug", points=4, minutes=20, difficulty=3)
def fixed_pair_log_probs(model, pairs, pad_id):
    """log π(y | x) of both responses of each pair, with its gradient.

    pairs: a list of (prompt, [chosen, rejected]), all token ids
    returns float (pairs, 2), the chosen response in column 0
    `join` from methods.tokens makes the rows; response_log_probs from methods.rollouts scores them.
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(fixed_pair_log_probs)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `order[i]` says which row stands at place `i`. Where, then, does row `r` stand?
#
# </details>

# %% [markdown] solution="after.silent_bug"

# %%
fixed = experiment.train_with(fixed_pair_log_probs)
print(f"loss {fixed['loss'][0]:.3f} → {fixed['loss'][-1]:.3f}, gold {fixed['gold']:.2f}")
measure("after.fixed_bug_gold_end", fixed["gold"], "gold points")
if fixed["gold"] < buggy["gold"]:
    raise CourseError(
        "this is no better than with the bug: run check(fixed_pair_log_probs), or put the ... back"
    )

# %% [markdown]
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** One small model, one judge, replies of at most forty tokens and answers
# of a dozen. Rates were tuned with three or four values each, on one seed; β was not tuned at all.
#
# Back to the [chapter](../chapters/after-ppo.md).
