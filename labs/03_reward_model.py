# %% [markdown]
# # Lab 03 · The reward model
#
# Reinforcement learning from human feedback (RLHF) begins with a model of what people prefer. You
# write its loss, train it on choices between two replies, and find out how many choices it needs,
# what noise in them costs, which of the raters' habits it takes over, and what it cannot learn at
# all. Five statements of the [document on trial](../chapters/document.md) are put to the test.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the mistake.
# The five exercises are worth 20 points; plan 55 minutes for them. The wide runs were made once, with
# `make sweeps`; the lab draws their stored rows and repeats one.
#
# **The world.** A customer writes a ticket, the base model draws two replies, a rater says which is
# better. Raters choose by the *gold score* of `helpdesk/judge.py`, a program that no model ever
# sees, and they err: the default rater prefers the better of two replies that lie one gold point
# apart in 88 % of the cases, $\sigma(2)$.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import math
import statistics

import matplotlib.pyplot as plt
import torch
from course import (
    BLUE,
    GREY,
    ORANGE,
    CourseError,
    band,
    check,
    evidence,
    exercise,
    finish,
    grouped,
    measure,
    on_trial,
    select,
    show,
    start,
    sweep,
)
from experiments import reward_model as experiment
from experiments.shared import fresh, tokenizer
from helpdesk import raters, tickets
from methods import reward
from methods.best_of_n import expected_value
from methods.tokens import pad

lab = start("03_reward_model")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet. The [ledger](../chapters/ledger.md) says how the outcome
# relates to the expectation.

# %%
on_trial()


# %% [markdown]
# ## From choices to a number
#
# $$\mathcal{L}_\text{RM} = -\mathbb{E}\left[\log
# \sigma\left(r_\phi(x, y_w) - r_\phi(x, y_l)\right)\right]$$
#
# $y_w$ is the chosen and $y_l$ the rejected response to the prompt $x$. The reward model is the
# base's body with one output, $r_\phi$, in place of the vocabulary.

# %% [markdown]
# ### Exercise · the loss of a choice


# %%
@exercise("reward.bradley_terry_loss", points=4, minutes=10, difficulty=2)
def bradley_terry_loss(chosen, rejected):
    """Mean negative log-probability of the raters' choices.

    chosen, rejected: float (pairs,), the rewards of both responses of each pair
    returns a scalar, in nats per choice
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(bradley_terry_loss)


# %% [markdown]
# <details><summary>Hint</summary>
#
# The logarithm of a sigmoid breaks down for large margins if you take it in two steps. Is there a
# function that does both?
#
# </details>

# %% [markdown] solution="reward.bradley_terry_loss"

# %% [markdown]
# ### Exercise · where the reward is read
#
# The model gives one number for every prefix. The reward of a response is the number at its last
# real token; padding may stand on either side.


# %%
@exercise("reward.at_end", points=4, minutes=10, difficulty=2)
def reward_at_end(scores, real):
    """The reward of each row: the number at its last real token.

    scores: float (batch, time) · real: bool (batch, time), False on padding
    returns float (batch,)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(reward_at_end)


# %% [markdown]
# <details><summary>Hint</summary>
#
# The number of real tokens gives the column only if padding stands on the right. Number the columns
# instead, and look for the highest number among the real ones.
#
# </details>

# %% [markdown] solution="reward.at_end"

# %% [markdown]
# Both at work: the loss of one choice at every margin, and two rows of numbers, one padded on the
# right and one on the left, with what your function reads.

# %%
margins = torch.linspace(-6, 6, 61)
losses = [bradley_terry_loss(margin.reshape(1), torch.zeros(1)).item() for margin in margins]
real = torch.tensor([[True] * 6 + [False] * 3, [False] * 2 + [True] * 7])
numbers = torch.tensor(
    [[0.1, 0.5, -0.2, 0.4, 0.9, 1.2, 3, 3, 3], [3, 3, -0.4, 0, -0.9, -0.3, -1, -0.6, -1.4]]
)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2))
left.plot(margins, losses, color=BLUE)
left.set(xlabel="margin: chosen − rejected", ylabel="loss of the choice, nats")
for row, color in ((0, BLUE), (1, ORANGE)):
    places = torch.arange(9)
    right.plot(places[real[row]], numbers[row][real[row]], "o-", color=color)
    right.plot(places[~real[row]], numbers[row][~real[row]], "x", color=GREY)
    right.axhline(reward_at_end(numbers, real)[row].item(), color=color, linestyle=":")
right.set(xlabel="column", ylabel="number for the prefix")
show(
    fig,
    "Left, the loss falls from 6 at a margin of −6 through log 2 at 0 towards 0. Right, two rows; a "
    "dotted line at the height of each row's last real number; crosses for padding.",
)

# %% [markdown]
# *What to look at:* on the left, a wrong choice costs about its margin and a right one next to
# nothing. On the right, each dotted line is what your function read: it must meet the last dot of
# its colour, and never a cross.

# %% [markdown]
# ### Exercise · more than two
#
# Raters may put $K$ responses in order. That holds $K(K-1)/2$ choices.


# %%
@exercise("reward.ranking_loss", points=4, minutes=15, difficulty=2)
def ranking_loss(rewards):
    """The mean of the choices' losses over all pairs of each ranking.

    rewards: float (rankings, K), the preferred response first
    returns a scalar, in nats per choice
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(ranking_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Which columns form a pair? `itertools.combinations` lists them, the better one first. Then it is
# the loss of the first exercise.
#
# </details>

# %% [markdown] solution="reward.ranking_loss"

# %% [markdown]
# ## What a rater is shown
#
# The recipe of every reward model below stands in `experiments/reward_model.py`: `base_replies`
# draws the replies, `compare` asks a rater, `fit` trains from the base in two passes. Here are
# three tickets, and what the gold judge, who is never asked by any model, thinks of the replies.

# %%
STOP, PAD = tokenizer().eos_token_id, tokenizer().pad_token_id
asked = tickets.sample_tickets("train", 3, 5)
for ticket, pair in zip(asked, experiment.base_replies(asked, 2, seed=5)):
    print(ticket.complaint())
    for reply, gold in zip(map(tokenizer().decode, pair), experiment.gold_of(ticket, pair)):
        print(f"  gold {gold:5.2f} |{reply}")

# %% [markdown]
# *What to look at:* which of the two would you choose? The judge wants the right product and the
# right fix, empathy and thanks; it takes points for rude sentences.

# %% [markdown]
# ## Only differences count
#
# Add any number $f(x)$ to the rewards of a prompt: no choice changes, so the loss cannot see it.
# Rewards of different prompts are therefore not comparable.

# %%
torch.manual_seed(0)
scores, shift = torch.randn(64, 4, dtype=torch.double), torch.randn(64, 1, dtype=torch.double)
evidence("C1.20", abs(ranking_loss(scores + shift) - ranking_loss(scores)))

# %% [markdown]
# ## The same by the library
#
# TRL's `RewardTrainer` is given the same start, the same pairs as text in the same order, and the
# same optimiser.

# %%
import tempfile

from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

few = experiment.compare("train", 36, raters.Rater(), seed=3)[:32]
ours, bare = reward.ScalarModel(fresh()), fresh()
torch.nn.init.normal_(ours.head.weight, std=0.05)
with tempfile.TemporaryDirectory() as folder:
    bare.save_pretrained(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).to(lab.device)
theirs.score.weight.data.copy_(ours.head.weight.data)

# %% [markdown]
# The library wants text without the stop token, which it adds itself. All that it would do beyond
# the loss is turned off: clipping of gradients, weight decay, a schedule, a new order of the pairs.

# %%
table = Dataset.from_list(
    [
        {
            "chosen": tokenizer().decode(prompt + chosen[:-1]),
            "rejected": tokenizer().decode(prompt + rejected[:-1]),
        }
        for prompt, (chosen, rejected) in few
    ]
)
scratch = tempfile.TemporaryDirectory()
config = RewardConfig(
    output_dir=scratch.name,
    max_steps=4,
    per_device_train_batch_size=8,
    learning_rate=1e-3,
    logging_steps=1,
    train_sampling_strategy="sequential",
    max_grad_norm=0.0,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    activation_checkpointing=False,
    bf16=False,
    dataloader_pin_memory=False,
)

# %%
optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.0)
flat = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
trainer = RewardTrainer(
    theirs, config, train_dataset=table, processing_class=tokenizer(), optimizers=(optimizer, flat)
)
trainer.callback_handler.callbacks = [
    each for each in trainer.callback_handler.callbacks if "Printer" not in type(each).__name__
]
trainer.train()
scratch.cleanup()
their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

# %% [markdown]
# Our own four steps, with your `ranking_loss`:

# %%
optimizer, our_losses = torch.optim.AdamW(ours.parameters(), lr=1e-3, weight_decay=0.0), []
for first in range(0, 32, 8):
    loss = ranking_loss(reward.batch_rewards(ours, few[first : first + 8], PAD))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    our_losses.append(loss.item())
for mine, their in zip(our_losses, their_losses):
    print(f"ours {mine:.5f}   TRL {their:.5f}")
gap = max(abs(mine - their) for mine, their in zip(our_losses, their_losses))
measure("reward.gap_to_trl", gap, "largest difference of four losses, nats per choice")
if gap > 1e-4:
    raise CourseError(
        "this training and TRL's have parted ways: run check(ranking_loss), or put the ... back"
    )

# %% [markdown]
# ## Train it
#
# 1,000 pairs, two passes. Held out are replies to 600 tickets that nothing trains on, judged by the
# same kind of rater, who errs as well.

# %%
model = experiment.fit(experiment.choices(raters.Rater(), 1000, seed=10))
accuracy = experiment.accuracy(model, experiment.held_out(raters.Rater()))
print(f"the reward model agrees with {accuracy:.1%} of the held-out choices")
if accuracy < 0.66:
    raise CourseError(
        "the reward model does not learn: run the checks of your functions, or put the ... back"
    )

# %% [markdown]
# Four times as many pairs, three seeds, and the choices of all test tickets: these rows were made
# by `make sweeps`. A second rater, who hardly ever errs, shows how well the models know the gold
# order.

# %%
larger_rows, _ = sweep(experiment.LARGER)
measure(
    "reward.heldout_accuracy",
    select(larger_rows, "accuracy"),
    "share of 2,600 held-out choices",
    seeds=experiment.SEEDS,
)
measure(
    "reward.gold_accuracy",
    select(larger_rows, "gold_accuracy"),
    "share of the pairs whose gold scores differ",
    seeds=experiment.SEEDS,
)

# %% [markdown]
# How many of the default rater's choices could anybody predict? Where the gold scores lie $m$
# points apart, the better reply is chosen with probability $\sigma(2m)$.

# %%
margins = experiment.held_out_margins()
ceiling = statistics.fmean(1 / (1 + math.exp(-2 * margin)) for margin in margins)
measure("reward.ceiling", ceiling, "share of the choices that knowing the gold score would predict")

# %% [markdown]
# *What to look at:* the ceiling. Nobody predicts a noisy rater perfectly, not even somebody who knows
# the gold score. What is missing between the reward model and its ceiling is what it has not learned.

# %% [markdown]
# ### Does it read the ticket?
#
# Take two tickets about different products, and swap their replies. The judge takes points for the
# wrong product. Does the reward model prefer a ticket's own reply?


# %%
measure(
    "reward.own_reply_preferred",
    experiment.accuracy(model, experiment.exchanged()),
    "share of tickets whose own reply gets the higher reward",
)
measure(
    "reward.base_names_product",
    experiment.names_product(),
    "share of the base's replies that name the ticket's product",
)

# %% [markdown]
# *What to look at:* it does not. The loss compares replies to the *same* ticket, and there it was
# nearly enough to look at the replies: most of them name the right product.

# %% [markdown]
# ## What noise does, and how many pairs it takes
#
# Two kinds of rater: the default one, and one who knows exactly what is better but errs in 16 % of
# all choices. Two such raters agree when both are right or both err,
# $1 - 2 \cdot 0.16 \cdot 0.84 = 0.731$.

# %%
flipping = experiment.RATERS["16 % flips"]
first, second = (experiment.held_out(flipping, decided=True, seed=seed) for seed in (1, 2))
agreement = sum(a == b for a, b in zip(first, second)) / len(first)
evidence("C2.12", abs(agreement - 0.731))
measure("reward.agreement", agreement, "share of choices on which two raters agree")

# %% [markdown]
# Each kind of rater judges 100 to 3,000 pairs. One of these runs is repeated now.

# %%
once = {"rater": "16 % flips", "pairs": 300, "seed": 0}
pairs_rows, _ = sweep(experiment.PAIRS, live=[once])

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
for ax, rater in zip(axes, experiment.RATERS):
    for what, label, color in (
        ("accuracy", "against their own choices", BLUE),
        ("gold_accuracy", "against gold", ORANGE),
    ):
        curves = grouped(pairs_rows, "pairs", what, rater=rater)
        band(ax, list(curves), list(curves.values()), color, label)
    ax.set(xscale="log", xlabel="pairs", title=f"rater: {rater}")
axes[0].set_ylabel("held-out accuracy")
axes[1].axhline(0.84, linestyle="--", color=GREY, label="ceiling of their choices")
axes[1].legend()
show(
    fig,
    "Held-out accuracy against the number of pairs, for two kinds of rater: against the raters' "
    "own choices and against the gold score. Bands from the lowest to the highest of three seeds.",
)

# %%
for name, (what, settings) in experiment.PAIRS_MEASURES.items():
    accuracies = select(pairs_rows, what, **settings)
    measure(name, accuracies, "share of held-out pairs", seeds=experiment.SEEDS)

# %% [markdown]
# How many pairs are enough? The fewest that come within two points of 3,000.

# %%
curves = grouped(pairs_rows, "pairs", "accuracy", rater="default")
final = statistics.fmean(curves[3000])
enough = min(count for count in curves if statistics.fmean(curves[count]) > final - 0.02)
evidence("C2.13", enough, seeds=experiment.SEEDS)

# %% [markdown]
# *What to look at:* on the right the lower curve cannot pass its ceiling, however much data comes.
# The upper one does: errors that cancel are averaged out, and the model ends up better than the
# raters who taught it. "10K pairs → basic results" names no task: here a tenth of that is enough
# by the raters' choices. Against gold two points are still missing: noisy choices hide what is being
# learned.

# %% [markdown]
# ## What raters like, the model likes
#
# The same 1,000 pairs of replies, judged by three raters: one without a bias, one who adds a gold
# point for thanks, and one who adds a tenth of a point for every word. What do the three reward
# models pay for one more sentence: for thanks, and for a question that is worth nothing to the
# judge?

# %%
bias_rows, _ = sweep(experiment.BIAS)
print(f"{'bias of the rater':>18}{'thanks':>10}{'question':>10}")
for bias in experiment.BIASED:
    thanks, question = (
        statistics.fmean(select(bias_rows, sentence, bias=bias))
        for sentence in ("thanks", "question")
    )
    print(f"{bias:>18}{thanks:10.2f}{question:10.2f}   gold points for one more sentence")

# %%
for name, (sentence, bias) in experiment.BIAS_MEASURES.items():
    gains = select(bias_rows, sentence, bias=bias)
    measure(name, gains, "gold points", seeds=experiment.SEEDS)

# %% [markdown]
# And seed by seed, how much does the habit add?

# %%
for name, sentence, bias in experiment.ADDED_BY_A_BIAS:
    added = experiment.added_by_a_bias(bias_rows, sentence, bias)
    measure(name, added, "gold points that the habit adds", seeds=experiment.SEEDS)
evidence("C1.30", min(experiment.added_by_a_bias(bias_rows, "question", "length")))

# %% [markdown]
# *What to look at:* nobody told the model that length is good. It was in the choices, and the model
# cannot know which of the raters' habits you meant.

# %% [markdown]
# ## Rankings: together or shuffled?
#
# 200 tickets with four replies each, put in order by the default rater. *Grouped*: the four replies
# of a ticket go through the model once, their six pairs share them. *Shuffled*: the six pairs are
# training examples of their own, so that each reply is seen three times in a pass. InstructGPT's
# authors saw the second overfit within one pass.


# %%
rank_rows, _ = sweep(experiment.RANKINGS)
for name, (what, settings) in experiment.RANKINGS_MEASURES.items():
    values = select(rank_rows, what, **settings)
    measure(name, values, experiment.RANKINGS_UNITS[what], seeds=experiment.SEEDS)

# %%
fig, ax = plt.subplots(figsize=(6.4, 3))
labels = []
for epochs, passes in ((1, "1 pass"), (3, "3 passes")):
    for kind, color in (("grouped", BLUE), ("shuffled", ORANGE)):
        losses = select(rank_rows, "loss", batches=kind, epochs=epochs)
        ax.plot([len(labels)] * 3, losses, "o", color=color)
        labels.append(f"{kind}\n{passes}")
ax.axhline(math.log(2), linestyle="--", color=GREY)
ax.set(ylabel="held-out loss, nats per choice", xticks=range(4), xticklabels=labels)
show(
    fig,
    "Held-out loss for rankings kept together and for shuffled pairs, after one and three passes, "
    "three seeds each; a dashed line marks no opinion, log 2.",
)

# %% [markdown]
# *What to look at:* nothing overfits here, and after one pass the shuffled pairs are ahead. One
# pass is not the same for both: cut into pairs, the data make six times as many examples and three
# times as many steps. After three passes the two are level in loss. InstructGPT's observation was
# about a far larger model and up to 36 pairs from one ranking; at this size it does not show.
# Grouping still saves time: four replies are read once, not three times.

# %% [markdown]
# ## What no reward can say
#
# A customer base may be split: $A$ is preferred to $B$, $B$ to $C$ and $C$ to $A$. A single number
# per reply cannot follow such a cycle. It gets at most two of the three right.


# %%
learned, unseen = experiment.cycle("train", 200, 0), experiment.cycle("test", 100, 0)
evidence("C1.21", experiment.accuracy(experiment.fit(learned), unseen))

# %% [markdown]
# Without the third preference of each circle, $A$ before $B$ before $C$ remains.

# %%
straight, straight_unseen = (
    [pair for number, pair in enumerate(pairs) if number % 3 < 2] for pairs in (learned, unseen)
)
measure(
    "reward.without_cycle",
    experiment.accuracy(experiment.fit(straight), straight_unseen),
    "share of the choices, the third pair of each cycle left out",
)

# %% [markdown]
# *What to look at:* take away the third preference, and the same model on the same replies satisfies
# all that are left. More data of the full cycle would not help.

# %% [markdown]
# ## Best-of-n
#
# The simplest use of a reward model: draw $n$ replies, send the best. Nothing is trained.

# %% [markdown]
# ### Exercise · keep the best


# %%
@exercise("reward.best_of_n", points=4, minutes=5, difficulty=1)
def best_of_n(rewards):
    """The index of the response to keep, the first of equals.

    rewards: float (prompts, n) · returns int (prompts,)
    Raises FloatingPointError if a reward is not finite.
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(best_of_n)

# %% [markdown]
# <details><summary>Hint</summary>
#
# To `argmax`, NaN is larger than every number. Look for such values first.
#
# </details>

# %% [markdown] solution="reward.best_of_n"

# %% [markdown]
# 64 replies to each of 32 test tickets, scored by the reward model and, afterwards, by the judge.

# %%
asked = tickets.sample_tickets("test", 32, 2)
proxies, golds = experiment.scored_draws(model, asked, 64, seed=4)
chosen = golds.gather(1, best_of_n(proxies).unsqueeze(1))
print(
    f"gold: a single reply {golds.mean():.2f}, best of 64 by the reward model {chosen.mean():.2f}, "
    f"by gold {golds.max(1).values.mean():.2f}"
)
for name, n in experiment.BEST_OF.items():
    measure(name, expected_value(proxies, golds, n).mean(), "gold points")

# %% [markdown]
# *What to look at:* first, what the judge could get out of the 64 replies and the reward model
# cannot: it does not see the difference. Then the curve from 16 to 64. With this reward model more
# replies bring nothing more: what it scores highest need not be best. The [next lab](04_ppo.ipynb)
# trains the policy instead, and finds more such replies.
#
# ## Find the silent bug

# %% [markdown]
# A colleague's version of `batch_rewards` trains, its loss falls, no error is raised, and on a
# held-out batch its accuracy is well above chance. Yet the order of the same two replies can change
# when they are scored in a batch with others.


# %%
def buggy_batch_rewards(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return model(ids, real)[:, -1].view(len(rankings), -1)


# %% [markdown]
# `train_with` fits a reward model to 600 pairs with it. `in_company` then scores 300 held-out pairs
# in one batch, and each pair alone.

# %%
some_pairs = experiment.compare("train", 620, raters.Rater(), 7)[:600]
buggy_model, buggy_losses = experiment.train_with(
    buggy_batch_rewards, some_pairs, ranking_loss=ranking_loss
)
buggy_right, buggy_changed = experiment.in_company(buggy_batch_rewards, buggy_model)
print(
    f"loss, first and last ten steps: {statistics.fmean(buggy_losses[:10]):.3f}, "
    f"{statistics.fmean(buggy_losses[-10:]):.3f}"
)
measure(
    "reward.silent_bug_accuracy",
    buggy_right,
    "share of the held-out pairs in the gold score's order",
)
measure(
    "reward.silent_bug_changed",
    buggy_changed,
    "share of the pairs whose order depends on the rest of the batch",
)

# %% [markdown]
# ### Exercise · write it without the bug


# %%
@exercise("reward.silent_bug", points=4, minutes=15, difficulty=3)
def fixed_batch_rewards(model, rankings, pad_id):
    """The rewards of a batch of rankings, with their gradients.

    model(ids, real): float (batch, time)
    rankings: [(prompt, [response, ...]), ...] in token ids, all with K
      responses
    pad_id: the id of padding, which may be that of the stop token
    returns float (rankings, K)
    Use pad(rows, pad_id), which gives ids and real, and your
      reward_at_end.
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(fixed_batch_rewards)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Score a ranking by itself, then in one batch with a much longer one. Which number of a row may the
# reward be read from?
#
# </details>

# %% [markdown] solution="reward.silent_bug"

# %%
fixed_model, fixed_losses = experiment.train_with(
    fixed_batch_rewards, some_pairs, ranking_loss=ranking_loss
)
fixed_right, fixed_changed = experiment.in_company(fixed_batch_rewards, fixed_model)
print(
    f"loss, first and last ten steps: {statistics.fmean(fixed_losses[:10]):.3f}, "
    f"{statistics.fmean(fixed_losses[-10:]):.3f}"
)

# %%
measure(
    "reward.fixed_bug_accuracy",
    fixed_right,
    "share of the held-out pairs in the gold score's order",
)
measure(
    "reward.fixed_bug_changed",
    fixed_changed,
    "share of the pairs whose order depends on the rest of the batch",
)
if fixed_changed > 0.01:
    raise CourseError(
        "rewards still depend on the batch: run check(fixed_batch_rewards), or put the ... back"
    )

# %% [markdown]
# *What to look at:* the loss says nothing about it. A property does: what is scored must not depend
# on what it is scored with.

# %% [markdown]
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** Raters here are a formula: their errors are independent, and they agree
# on what is good. People's errors are not independent, so more pairs mend less. The sentences come
# from a small stock; a reward model of real text meets far more ways to be fooled. What is
# said of the ticket, of cycles and of best-of-n rests on one seed's model, of 1,000 pairs or fewer.
#
# Back to the [chapter](../chapters/rlhf.md); on to [lab 04](04_ppo.ipynb).
