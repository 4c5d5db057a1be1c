# %% [markdown]
# # Lab 12 · Beyond one process
#
# A model that is too large or too slow for one device is trained by several processes, each with a
# device of its own. The libraries for that are good, and the training code hardly changes. What changes
# is who reads which rows, whose mean a loss is, and where the numbers lie; and a mistake in these is
# silent. Here two processes on the CPU follow the same rules as a cluster. You write those rules, and
# see whether two processes compute what one does.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the mistake.
# The five exercises are worth 20 points; plan 74 minutes for them.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import tempfile

import matplotlib.pyplot as plt
import torch
from course import check, exercise, finish, measure, show, start
from experiments import outgrow as experiment
from experiments import outgrow_results as results
from experiments import outgrow_sampler as engines
from methods import samplers
from methods.processes import ALONE, TeamError

lab = start("12_outgrow")

# %% [markdown]
# ## Who reads what
#
# Every process has the whole list of rows, in the same order, because all of them shuffle with the
# same seed. In each step a process reads its part of the batch. Together they have to read every row
# once: a row that is read twice counts twice, and one that nobody reads is lost.
#
# ### Exercise · dealing out rows


# %%
@exercise("outgrow.rows_of", points=3, minutes=12, difficulty=2)
def rows_of(order, batch, size, rank):
    """The rows that one process reads, a list for each step.

    The batch of step s, from 0 on, is order[s * batch : (s + 1) * batch]. It is dealt out like cards:
    of its rows process 0 reads the first, process 1 the second, and so on, and then process 0 again.
    What is left over at the end, and fills no whole batch, is not read.
    order: list of the numbers of all rows, as every process has shuffled them
    batch: rows in a step, of all processes together; a multiple of size
    size: how many processes there are
    rank: which of them this is, from 0 on
    returns a list of lists of row numbers
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(rows_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A slice has a step: of a list `rows`, `rows[::3]` is every third.
#
# </details>

# %% [markdown] solution="outgrow.rows_of"

# %% [markdown]
# ## Whose mean
#
# A loss is a mean over tokens, and DDP *averages* the gradients of the processes. If each of
# them minimises the mean of its own tokens, the outcome is the mean of means. A process with few
# tokens then gives each of them more weight. What has to be minimised instead follows from
#
# $$ \nabla \frac{\sum_k S_k}{\sum_k N_k} = \frac{1}{K} \sum_k \nabla (\;?\;) $$
#
# where $S_k$ is the sum of process $k$'s losses, $N_k$ the number of its tokens, and $K$ the number
# of processes.
#
# ### Exercise · what a process minimises


# %%
@exercise("outgrow.to_minimise", points=4, minutes=12, difficulty=2)
def to_minimise(losses, counts):
    """What one process has to minimise, so that the team minimises the mean over all of its tokens.

    DDP averages the gradients of the processes, and every process takes the same step.
    losses: float tensor (tokens,), with a gradient: the losses of the tokens that count in this
      process; there may be none, and the result has to come from losses then, too
    counts: list of whole numbers: how many tokens count in each process, this one among them; not
      all are 0
    returns a scalar tensor, with a gradient that leads to losses
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(to_minimise)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Put $S_k$ times some factor in place of the question mark. Which factor makes both sides equal?
#
# </details>

# %% [markdown] solution="outgrow.to_minimise"

# %% [markdown]
# Does it matter? One process can play several: it deals out sixteen replies, and averages the
# gradients of what each process would minimise.

# %%
model = experiment.base_for(ALONE)
losses = results.token_losses(model, 16, seed=0)
print("tokens of a reply:", sorted(len(each) for each in losses))
whole = results.averaged_gradient(model, losses, 1, lambda own, counts: own.mean())
for size, name in results.MEANS_ANGLES.items():
    ours = results.averaged_gradient(model, losses, size, to_minimise)
    means = results.averaged_gradient(model, losses, size, lambda own, counts: own.mean())
    print(
        f"{size} processes: with yours {results.angle(whole, ours):.4f} degrees from the whole batch's "
        f"gradient, with the mean of means {results.angle(whole, means):.1f}"
    )
    measure(name, results.angle(whole, means), "degrees")

# %% [markdown]
# The more processes, the fewer replies each of them has, and the more their means differ.
#
# ### Exercise · gradients that add up
#
# The same question comes up inside a process. A batch that does not fit into memory is read in parts,
# also called micro-batches, and the gradients of the parts add up: gradient accumulation. A part's loss
# is usually a mean over its own tokens.


# %%
@exercise("outgrow.part_weights", points=4, minutes=15, difficulty=2)
def part_weights(counts):
    """The factor for the mean loss of each part.

    Each process reads its rows in parts. For every part it computes the mean loss over the part's own
    tokens, multiplies it, and goes backward; the gradients of its parts add up. Then DDP averages
    over the processes. The outcome has to be the gradient of the mean over all tokens.
    counts: for each process a list: how many tokens count in each of its parts, of which it has at
      least one; processes may have different numbers of parts, a part may have no token, and not
      all are 0
    returns a list of lists of numbers, in the same order; 0 for a part without a token
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(part_weights)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A part's mean times its number of tokens is its sum. The last exercise gave the factor for a sum.
#
# </details>

# %% [markdown] solution="outgrow.part_weights"

# %% [markdown]
# ## Where the numbers lie
#
# With `DistributedDataParallel` every process holds the whole model. ZeRO (Rajbhandari et al. 2020)
# removes those copies: stage 1 divides the optimiser's states, stage 2 also the gradients, stage 3 also
# the weights. A layer's weights are gathered while it computes. PyTorch's FSDP,
# `fully_shard`, is stage 3, and stage 2 if it keeps what it has gathered until the backward pass. Then
# no process sees the whole gradient, and whatever asks for its length has to ask all of them.
#
# ### Exercise · the silent bug
#
# A colleague limits the length of the gradient, as many recipes do, and every process shortens its own
# part of it:
#
# ```python
# return [shard * min(1, limit / shard.norm()) for shard in shards]
# ```
#
# Nothing fails. But the result no longer has the gradient's direction. Mend it.


# %%
@exercise("outgrow.silent_bug", points=4, minutes=15, difficulty=2)
def clipped(shards, limit):
    """The gradient, shortened to the length `limit` if it is longer.

    Here one function plays all processes. The gradient's length is √Σ g², over all numbers of all
    shards. Its direction stays the same, and a gradient that is not too long keeps its numbers; zeros
    stay zeros.
    shards: list of float tensors of any shapes, what each process holds of the gradient; a shard may
      have no dimension, no number, or be transposed
    limit: a number above 0
    returns a list of new tensors, one for each shard, of its shape; the shards stay as they are
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(clipped)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The squares of the parts' lengths add up to the square of the whole length.
#
# </details>

# %% [markdown] solution="outgrow.silent_bug"

# %%
limit = 0.1
for size in results.BUG_ANGLES:
    shards = list(whole.tensor_split(size))
    bug = torch.cat([shard * min(1, limit / shard.norm()) for shard in shards])
    ours = torch.cat(clipped(shards, limit))
    print(
        f"{size:2} shards: {results.angle(whole, ours):.3f} degrees and length {ours.norm():.3f} with "
        f"yours; {results.angle(whole, bug):.0f} degrees and length {bug.norm():.2f} with the bug"
    )
    measure(results.BUG_ANGLES[size], results.angle(whole, bug), "degrees")
    measure(results.BUG_LENGTHS[size], bug.norm().item() / limit, "times the limit")

# %% [markdown]
# With many shards, fewer of them are too long by themselves. The direction is then less wrong, and the
# length more.
#
# ## Two processes and one
#
# Now with real processes. `accelerate launch` starts two, and each works through the same list of
# jobs: SFT, LoRA, DPO and GRPO, with whole models and with sharded ones, ten steps of sixteen examples.
# One process does the same here, in this notebook, with one thread, as each of the two has. Expected:
# losses and parameters agree to 1e-5, which is about what the order of float32's sums leaves open.
# After these jobs somebody makes a mistake on purpose; we expect the parameters to end at least a
# hundred times as far off. The job *other seeds* is no mistake, but shows what other random numbers do.
# In the last job, as when a machine goes down, process 1 is killed before its third step.

# %%
place = tempfile.TemporaryDirectory()
folder = Path(place.name)
methods = [experiment.Job(method, method) for method in experiment.METHODS]
alone = experiment.alone(methods, folder / "alone")
jobs, half = experiment.jobs_shown(), experiment.named("SFT", 3, "half")
dying = experiment.Job("dying", stage=3, start=half, mistake=experiment.DIES)
try:
    experiment.launch([*jobs, dying], folder / "two")
except TeamError as error:
    print(error)

# %%
team = experiment.found(jobs, folder / "two")
right = results.gaps(alone, team, results.gap)
wrong = results.wrong_gaps(alone, team)
loss_gaps = results.gaps(alone, team, results.loss_gap)
for name in right:
    print(f"{name:14} losses {loss_gaps[name]:.0e}   parameters {right[name]:.0e}")
for name in wrong:
    print(f"{name:14} {'':13}   parameters {wrong[name]:.0e}")
threads = experiment.alone(methods, folder / "alone", threads=2)
threads = max(results.gap(alone[name], threads[name]) for name in threads)
print(f"one process with two threads, against itself with one: {threads:.0e}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6))
results.draw_losses(axes[0], alone, team)
results.draw_gaps(axes[1], right, wrong)
show(
    fig,
    "Left: losses of four methods, a line for one process and dots for two; every dot lies on its line. "
    "Right: the largest difference of a parameter after ten steps, on a logarithmic axis, with rings for "
    "0. All that was done rightly lies to the left of the bound, and all mistakes lie far to the right. "
    "So does, in grey, a right run with other seeds.",
)
measure("outgrow.loss_gap", max(loss_gaps.values()), "largest difference of a loss")
measure("outgrow.parameter_gap", max(right.values()), "largest difference of a parameter")
measure("outgrow.threads_gap", threads, "largest difference of a parameter")
for name, value in wrong.items():
    measure(results.WRONG_GAPS[name], value, "largest difference of a parameter")

# %% [markdown]
# GRPO agrees to the last digit, since the one process plays both samplers, one after the other. And a
# right run with other seeds ends about as far away as the one in which both processes have one seed. So
# that mistake cannot be read from the parameters: look at the seeds.
#
# ### What each process holds
#
# [Lab 08](08_cost.ipynb) computes what a stage leaves on each device. Here it is counted: weights when
# the loss is known, gradients before the step, states after it.

# %%
held = results.held(alone, team)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2))
results.draw_held(axes[0], held)
results.draw_planned(axes[1])
show(
    fig,
    "Left: the share of weights, gradients and optimiser states that process 0 of two holds at each "
    "stage of ZeRO, measured (bars) and planned (strokes). Right: planned memory of each device for an 8B "
    "model against the number of devices, a line for each stage.",
)
off = max(abs(share - results.planned(*key)) for key, share in held.items())
print(f"largest difference between measured and planned share: {off:.3f}")
measure("outgrow.held_error", off, "largest difference from the planned share")
for (devices, stage), name in results.PLANNED.items():
    measure(name, results.planned_gb(devices, stage), "GB on each device")

# %% [markdown]
# ## A separate sampler
#
# Drawing responses takes much of a step of GRPO, so at scale a separate engine does it, such as vLLM.
# It computes in another order, and often in lower precision. So the responses come from another policy
# than the one that is trained. Here copies of the model play the engine: in bfloat16, with weights of 4 bits, and with
# weights of 2 bits, a mismatch that cannot be overlooked. The model computes the probability of every
# token that they drew; a token's ratio is π of the model over π of the sampler. The cure is to weigh
# each token by its ratio, but at most 2, or each response by the product of its tokens' ratios.
#
# Expected: in bfloat16 a token's log-probability is off by less than 0.01 on average, with 4 bits by
# about 0.1, and then the gradient tilts by 20 to 40 degrees. The sampler of 2 bits was added after
# that of 4 bits had been seen.

# %%
drawn = engines.drawn(engines.sampler_of(engines.COARSE, model), model, seed=0)
both = drawn.sampler_log_probs, drawn.trainer_log_probs, drawn.counts
ratios = (drawn.trainer_log_probs - drawn.sampler_log_probs)[drawn.counts].exp()
print(f"2 bits: ratios of {len(ratios)} tokens from {ratios.min():.0e} to {ratios.max():.2f}")
for by_response, unit in ((False, "tokens"), (True, "responses")):
    weights = samplers.importance(*both, ceiling=2.0, whole=by_response)[drawn.counts]
    cut = (weights == 2).float().mean()
    print(f"weights of {unit}: mean {weights.mean():.2f}, {cut:.0%} of the tokens at the ceiling")

# %%
found = engines.compare(experiment.base_for(ALONE))
for name, (value, unit) in engines.numbers(found).items():
    measure(name, value, unit, seeds=engines.SEEDS if isinstance(value, list) else None)

# %%
fig, ax = plt.subplots(figsize=(6.4, 3))
engines.draw_angles(ax, found)
show(
    fig,
    "How many degrees the gradient of forty responses is from the mean gradient of the model's own "
    "other responses, a dot for each of five seeds. With 4 bits it is as far off as with the model "
    "itself, with 2 bits farther, and with weighted tokens or responses as far as with the model itself.",
)

# %% [markdown]
# The blue dots are what chance alone does to a step. Only the sampler of 2 bits that is not weighted
# stands out. On average, weights bring its gradient back to where chance leaves it; with five seeds,
# which way of weighting is better cannot be told.
#
# ## A checkpoint outlives its team
#
# Each process writes what it holds, and the file that makes the checkpoint whole comes last. Any number
# of processes can go on from it. The job in which process 1 was killed had begun at such a checkpoint,
# which two processes wrote after five steps. One process now goes on from the same checkpoint.

# %%
job = experiment.Job("on", start=half)
gone_on = experiment.alone([job], folder / "two")["on"]
print(f"gone on by one process: {results.gap(gone_on, alone['SFT']):.0e} from never having stopped")
measure("outgrow.checkpoint_gap", results.gap(gone_on, alone["SFT"]), "largest difference")
place.cleanup()

# %% [markdown]
# ## Reading the signs
#
# ### Exercise · what went wrong
#
# None of these mistakes raises an error. What gives them away is what each process can say of itself.


# %%
@exercise("outgrow.diagnosed", points=5, minutes=20, difficulty=3)
def diagnosed(rows, seeds, parameters, loss_sums, counts, loss):
    """What a team does wrong in a step: one of these five strings, the first that applies.

    "same rows"       two processes read a row in common; a row that one process lists twice is none
    "one seed"        two processes sample with the same seed
    "apart"           after the step the sums of two processes' parameters are not the same
    "mean of means"   the loss is the mean of the processes' own mean losses, and not the mean over
                      all tokens
    "right"           none of these, as where the loss is neither of both means

    Two sums, or two losses, are the same here if they differ by no more than a millionth of the one
    whose absolute value is larger, as in math.isclose(one, other, rel_tol=1e-6).
    rows: for each process the list of the row numbers that it read
    seeds: for each process the seed with which it samples, a whole number
    parameters: for each process the sum of its parameters after the step
    loss_sums, counts: for each process the losses of its own tokens, added up, and how many tokens
      that are, at least 1
    loss: the loss of the step, which all processes report alike
    returns one of the five strings
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(diagnosed)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write a small function for each sign first. Take care with the last one: with equal counts both means
# are the same number.
#
# </details>

# %% [markdown] solution="outgrow.diagnosed"

# %% [markdown]
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** Two processes on one machine, on the CPU, with a small model: nothing about
# speed, since two processes share two cores here; nothing about networks. Mixed precision rounds
# otherwise with every number of processes, so there the agreement is looser. The larger teams are
# planned, not run.
#
# Back to the [chapter](../chapters/outgrow.md).
