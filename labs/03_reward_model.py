# %% [markdown]
# # Lab 03 · The reward model
#
# Reinforcement learning from human feedback (RLHF) begins with a model of what people prefer. You
# write its loss, train it on choices between two replies, and find out how many choices it needs,
# what noise in them costs, which of the raters' habits it takes over, and what it cannot learn at
# all. Five statements of the [document on trial](../chapters/document.md) are put to the test.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the
# mistake. The five exercises are worth 20 points. The wide runs were made once, with `make sweeps`;
# the lab draws their stored rows and repeats one.
#
# **The world.** A customer writes a ticket, the base model draws two replies, a rater says which is
# better. Raters choose by the *gold score* of `helpdesk/judge.py`, a program that no model ever
# sees, and they err: the default rater prefers the better of two replies that lie one gold point
# apart in 88 % of the cases, $\sigma(2)$.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "a lab runs in the folder labs/: open it there (make lab), then restart its kernel"
)

import math
import random
import statistics

import matplotlib.pyplot as plt
import torch
from course import (
    PALETTE,
    CourseError,
    check,
    evidence,
    exercise,
    finish,
    mean_interval,
    measure,
    on_trial,
    show,
    start,
    sweep,
)
from helpdesk import base, judge, language, preferences, raters, replies, tickets
from methods import reward, rollouts
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

# %%
tokenizer = base.load_base()[1]
STOP, PAD = tokenizer.eos_token_id, tokenizer.pad_token_id


def fresh():
    return base.load_base(lab.device)[0]


def draw(asked, count, seed):
    """`count` replies of the base to each ticket, in token ids: a list of lists."""
    torch.manual_seed(seed)
    wanted = [prompt for prompt in preferences.prompts(tokenizer, asked) for _ in range(count)]
    model, drawn = fresh(), []
    for row in range(0, len(wanted), 256):
        drawn += rollouts.sample(
            model, wanted[row : row + 256], max_new_tokens=40, stop_id=STOP, pad_id=PAD
        ).responses
    return [drawn[row : row + count] for row in range(0, len(drawn), count)]


def compare(split, count, rater, seed, size=2):
    """Rankings by one rater of `size` replies to each of `count` tickets."""
    asked = tickets.sample_tickets(split, count, seed)
    return preferences.rankings(tokenizer, asked, draw(asked, size, seed), rater, seed)


def fit(rankings, epochs=2, batch_size=16, seed=0):
    torch.manual_seed(seed)
    model = reward.ScalarModel(fresh())
    reward.train(
        model,
        rankings,
        pad_id=PAD,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        seed=seed,
    )
    return model


# %% [markdown]
# Here is what a rater is shown, and what the gold judge, who is never asked by any model, thinks of
# it.

# %%
asked = tickets.sample_tickets("train", 3, 5)
for ticket, pair in zip(asked, draw(asked, 2, seed=5)):
    print(ticket.complaint())
    for reply, gold in zip(
        map(tokenizer.decode, pair), preferences.gold_scores(tokenizer, [ticket] * 2, pair)
    ):
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

few = compare("train", 36, raters.Rater(), seed=3)[:32]
ours, bare = reward.ScalarModel(fresh()), fresh()
torch.nn.init.normal_(ours.head.weight, std=0.05)
with tempfile.TemporaryDirectory() as folder:
    bare.save_pretrained(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).to(lab.device)
theirs.score.weight.data.copy_(ours.head.weight.data)

# %%
table = Dataset.from_list(
    [
        {
            name: tokenizer.decode(prompt + response[:-1])
            for name, response in zip(("chosen", "rejected"), pair)
        }
        for prompt, pair in few
    ]
)
with tempfile.TemporaryDirectory() as folder:
    config = RewardConfig(
        output_dir=folder,
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
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.0)
    flat = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = RewardTrainer(
        theirs,
        config,
        train_dataset=table,
        processing_class=tokenizer,
        optimizers=(optimizer, flat),
    )
    trainer.callback_handler.callbacks = [
        c for c in trainer.callback_handler.callbacks if "Printer" not in type(c).__name__
    ]
    trainer.train()
their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

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
# 4,000 pairs, two passes. Held out are replies to tickets that nothing trains on, judged by the
# same kind of rater, who errs as well: all test tickets here, 600 of them in the sweeps below.

# %%
HELD_OUT = tickets.sample_tickets("test", 600, 0)
HELD_OUT_REPLIES = draw(HELD_OUT, 2, 900)
JUDGE = raters.Rater(sharpness=50.0)  # decides by the gold score, and so nearly always alike


def held_out(rater, decided=False):
    """The held-out pairs as a rater judges them; with `decided`, only those whose gold scores
    differ."""
    kept = [
        (ticket, pair)
        for ticket, pair in zip(HELD_OUT, HELD_OUT_REPLIES)
        if not decided or len(set(preferences.gold_scores(tokenizer, [ticket] * 2, pair))) == 2
    ]
    return preferences.rankings(tokenizer, *zip(*kept), rater, seed=900)


# %%
model = fit(compare("train", 4080, raters.Rater(), 100)[:4000])
accuracy = reward.accuracy(model, compare("test", 2600, raters.Rater(), 900), PAD)
measure("reward.heldout_accuracy", accuracy, "share of 2,600 held-out choices", seeds=(0,))
measure(
    "reward.gold_accuracy",
    reward.accuracy(model, held_out(JUDGE, decided=True), PAD),
    "share of the pairs whose gold scores differ",
    seeds=(0,),
)
if accuracy < 0.72:
    raise CourseError(
        "the reward model does not learn: run the checks of your functions, or put the ... back"
    )

# %%
margins = [
    2 * abs(a - b)
    for ticket, pair in zip(HELD_OUT, HELD_OUT_REPLIES)
    if pair[0] != pair[1]
    for a, b in [preferences.gold_scores(tokenizer, [ticket] * 2, pair)]
]
ceiling = statistics.fmean(1 / (1 + math.exp(-margin)) for margin in margins)
measure("reward.ceiling", ceiling, "share of the choices that knowing the gold score would predict")


# %% [markdown]
# *What to look at:* the ceiling. Nobody predicts a noisy rater perfectly, not even who knows the
# gold score. What is missing between the reward model and its ceiling is what it has not learned.

# %% [markdown]
# ### Does it read the ticket?
#
# Take two tickets about different products, and swap their replies. The judge takes points for the
# wrong product. Does the reward model prefer a ticket's own reply?


# %%
def crossed():
    """Held-out tickets in twos, about different products: each with its own reply and the
    other's."""
    prompts, swapped = preferences.prompts(tokenizer, HELD_OUT), []
    for one, two in zip(range(0, 600, 2), range(1, 600, 2)):
        own, other = HELD_OUT_REPLIES[one][0], HELD_OUT_REPLIES[two][0]
        if HELD_OUT[one].product != HELD_OUT[two].product and own != other:
            swapped += [(prompts[one], [own, other]), (prompts[two], [other, own])]
    return swapped


measure(
    "reward.own_reply_preferred",
    reward.accuracy(model, crossed(), PAD),
    "share of tickets whose own reply gets the higher reward",
)
named = statistics.fmean(
    ticket.product in tokenizer.decode(reply)
    for ticket, pair in zip(HELD_OUT, HELD_OUT_REPLIES)
    for reply in pair
)
measure(
    "reward.base_names_product", named, "share of the base's replies that name the ticket's product"
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
RATERS = {"default": raters.Rater(), "16 % flips": raters.Rater(sharpness=50.0, flips=0.16)}


def run_pairs(rater, pairs, seed):
    """Train on so many pairs of one rater; accuracy against that rater's held-out choices and
    against gold."""
    model = fit(compare("train", 3200, RATERS[rater], 10 + seed)[:pairs], seed=seed)
    return {
        "accuracy": reward.accuracy(model, held_out(RATERS[rater]), PAD),
        "gold_accuracy": reward.accuracy(model, held_out(JUDGE, decided=True), PAD),
    }


pairs_grid = [
    {"rater": rater, "pairs": pairs, "seed": seed}
    for seed in (0, 1, 2)
    for rater in RATERS
    for pairs in (100, 300, 1000, 3000)
]

# %%
first, second = (
    preferences.rankings(
        tokenizer,
        *zip(
            *[
                (t, p)
                for t, p in zip(HELD_OUT, HELD_OUT_REPLIES)
                if len(set(preferences.gold_scores(tokenizer, [t] * 2, p))) == 2
            ]
        ),
        RATERS["16 % flips"],
        seed,
    )
    for seed in (1, 2)
)
agreement = sum(a == b for a, b in zip(first, second)) / len(first)
evidence("C2.12", abs(agreement - 0.731))
measure("reward.agreement", agreement, "share of choices on which two raters agree")


# %%
def repeated(stored, live, what, within):
    """Compare what was run now with the stored rows of the same settings; they may differ by
    rounding, no more."""
    for row in live:
        settings = {
            name: row[name]
            for name in ("rater", "pairs", "bias", "batches", "epochs", "seed")
            if name in row
        }
        book = next(
            old for old in stored if all(old[name] == value for name, value in settings.items())
        )
        print(f"{what} now {row[what]:.3f}, stored {book[what]:.3f}")
        if abs(row[what] - book[what]) > within:
            raise CourseError(
                "a repeated run is far from its stored row: "
                "run the checks of your functions, or put the ... back"
            )


pairs_rows, pairs_live = sweep(
    "reward.pairs", run_pairs, pairs_grid, live=[{"rater": "16 % flips", "pairs": 300, "seed": 0}]
)
repeated(pairs_rows, pairs_live, "gold_accuracy", within=0.05)


def results(rows, what, **wanted):
    return [row[what] for row in rows if all(row[name] == value for name, value in wanted.items())]


COUNTS = (100, 300, 1000, 3000)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
for ax, rater in zip(axes, RATERS):
    for what, label in (("accuracy", "their own choices"), ("gold_accuracy", "gold")):
        curves = [results(pairs_rows, what, rater=rater, pairs=count) for count in COUNTS]
        (line,) = ax.plot(
            COUNTS, [statistics.fmean(curve) for curve in curves], "o-", label=f"against {label}"
        )
        ax.fill_between(
            COUNTS,
            *zip(*((min(c), max(c)) for c in curves)),
            color=line.get_color(),
            alpha=0.2,
            linewidth=0,
        )
    ax.set(xscale="log", xlabel="pairs", title=f"rater: {rater}")
axes[0].set_ylabel("held-out accuracy")
axes[1].axhline(0.84, linestyle="--", color="#7c8794", label="ceiling of their choices")
axes[1].legend()
show(
    fig,
    "Held-out accuracy against the number of pairs, for two kinds of rater: against the raters' "
    "own "
    "choices and against the gold score. Bands from the lowest to the highest of three seeds.",
)

# %%
for rater, name in (("default", "default"), ("16 % flips", "flips")):
    for what in ("accuracy", "gold_accuracy"):
        for count in COUNTS:
            mean, interval = mean_interval(results(pairs_rows, what, rater=rater, pairs=count))
            measure(
                f"reward.{name}_{what}_{count}",
                mean,
                "share of held-out pairs",
                interval,
                (0, 1, 2),
            )
final = statistics.fmean(results(pairs_rows, "accuracy", rater="default", pairs=3000))
enough = min(
    count
    for count in COUNTS
    if statistics.fmean(results(pairs_rows, "accuracy", rater="default", pairs=count))
    > final - 0.02
)
evidence("C2.13", enough, seeds=(0, 1, 2))

# %% [markdown]
# *What to look at:* on the right the lower curve cannot pass its ceiling, however much data comes.
# The upper one does: errors that cancel are averaged out, and the model ends up better than the
# raters who taught it. "10K pairs → basic results" names no task: here a tenth of that is enough
# for most of what there is to get.

# %% [markdown]
# ## What raters like, the model likes
#
# The same 1,000 pairs of replies, judged by three raters: one without a bias, one who adds a gold
# point for thanks, and one who adds a tenth of a point for every word. What do the three reward
# models pay for one more sentence: for thanks, and for a question that is worth nothing to the
# judge?

# %%
BIASED = {
    "none": raters.Rater(),
    "thanks": raters.Rater(thanks_bias=1.0),
    "length": raters.Rater(length_bias=0.1),
}
THANKS, QUESTION = " thank you for your patience .", " how old is your {product} ?"


def gain_of(model, sentence):
    """Mean change of the reward when one sentence is added to replies without it, in gold
    points."""
    asked = tickets.sample_tickets("test", 300, 1)
    rng, plain, longer = random.Random(1), [], []
    for ticket in asked:
        text = " " + replies.sample_reply(
            ticket, replies.Habits(greeting=0, closing=0, question=0), rng
        )
        for rows, response in (
            (plain, text),
            (longer, text + sentence.format(product=ticket.product)),
        ):
            rows.append(language.encode(tokenizer, response) + [STOP])
    prompts = preferences.prompts(tokenizer, asked)
    before, after = (reward.rewards(model, prompts, rows, pad_id=PAD) for rows in (plain, longer))
    return (
        after - before
    ).mean().item() / raters.Rater().sharpness  # a reward is a log-odds of the rater's choice


def run_bias(bias, seed):
    """Train on 1,000 pairs of a rater with one bias; what one more sentence is then worth."""
    model = fit(compare("train", 1100, BIASED[bias], 20 + seed)[:1000], seed=seed)
    return {"thanks": gain_of(model, THANKS), "question": gain_of(model, QUESTION)}


bias_grid = [{"bias": bias, "seed": seed} for seed in (0, 1, 2) for bias in BIASED]

# %%
bias_rows, _ = sweep("reward.bias", run_bias, bias_grid)
print(
    f"{'bias of the rater':>18}{'thanks':>10}{'question':>10}   gold points for one more sentence"
)
for bias in BIASED:
    told = [
        mean_interval(results(bias_rows, sentence, bias=bias))
        for sentence in ("thanks", "question")
    ]
    print(f"{bias:>18}{told[0][0]:10.2f}{told[1][0]:10.2f}")
    for sentence, (mean, interval) in zip(("thanks", "question"), told):
        measure(f"reward.{sentence}_bias_{bias}", mean, "gold points", interval, (0, 1, 2))
evidence("C1.30", statistics.fmean(results(bias_rows, "question", bias="length")), seeds=(0, 1, 2))


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
def run_rankings(batches, epochs, seed):
    """Rankings of four replies, kept together or cut into their six pairs and shuffled; the same
    replies and labels."""
    ranked = [
        (p, r) for p, r in compare("train", 260, raters.Rater(), 30 + seed, size=4) if len(r) == 4
    ][:200]
    pairs = [
        (prompt, [r[i], r[j]]) for prompt, r in ranked for i in range(4) for j in range(i + 1, 4)
    ]
    model = fit(
        ranked if batches == "grouped" else pairs, epochs, 8 if batches == "grouped" else 16, seed
    )
    told = {
        "accuracy": reward.accuracy(model, held_out(raters.Rater()), PAD),
        "train_accuracy": reward.accuracy(model, pairs, PAD),
    }
    with torch.no_grad():
        losses = [
            reward.ranking_loss(
                reward.batch_rewards(model, held_out(raters.Rater())[start : start + 100], PAD)
            )
            for start in range(0, 500, 100)
        ]
    return told | {"loss": torch.stack(losses).mean().item()}


rankings_grid = [
    {"batches": batches, "epochs": epochs, "seed": seed}
    for seed in (0, 1, 2)
    for epochs in (1, 3)
    for batches in ("grouped", "shuffled")
]

# %%
rank_rows, _ = sweep("reward.rankings", run_rankings, rankings_grid)
for epochs in (1, 3):
    for kind in ("grouped", "shuffled"):
        told = {}
        for what, unit in (
            ("accuracy", "share of held-out choices"),
            ("train_accuracy", "share of training choices"),
            ("loss", "nats per held-out choice"),
        ):
            told[what], interval = mean_interval(
                results(rank_rows, what, batches=kind, epochs=epochs)
            )
            measure(f"reward.{kind}_{what}_{epochs}", told[what], unit, interval, (0, 1, 2))

# %%
fig, ax = plt.subplots(figsize=(6.4, 3))
for x, (epochs, kind) in enumerate(
    (epochs, kind) for epochs in (1, 3) for kind in ("grouped", "shuffled")
):
    color = PALETTE[kind == "shuffled"]
    ax.plot([x] * 3, results(rank_rows, "loss", batches=kind, epochs=epochs), "o", color=color)
ax.axhline(math.log(2), linestyle="--", color="#7c8794")
ax.set(
    ylabel="held-out loss, nats per choice",
    xticks=range(4),
    xticklabels=["grouped\n1 pass", "shuffled\n1 pass", "grouped\n3 passes", "shuffled\n3 passes"],
)
show(
    fig,
    "Held-out loss for rankings kept together and for shuffled pairs, after one and three passes, "
    "three "
    "seeds each; a dashed line marks no opinion, log 2.",
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
def cycle(split, count, seed):
    """A reply with a greeting beats one with empathy, that one beats one with thanks, and that one
    the first."""
    pairs = []
    for ticket, prompt in zip(
        asked := tickets.sample_tickets(split, count, seed), preferences.prompts(tokenizer, asked)
    ):
        fix = replies.FIX[0].format(product=ticket.product, fix=judge.FIXES[ticket.problem])
        three = [
            language.encode(tokenizer, f" {text}") + [STOP]
            for text in (
                f"hello . {fix}",
                f"i am so sorry to hear that . {fix}",
                f"{fix} thank you for your patience .",
            )
        ]
        pairs += [(prompt, [three[i], three[(i + 1) % 3]]) for i in range(3)]
    return pairs


circular = fit(cycle("train", 200, 0))
straight = [pair for i, pair in enumerate(cycle("train", 200, 0)) if i % 3 < 2]
evidence("C1.21", reward.accuracy(circular, cycle("test", 100, 0), PAD))
unseen = [pair for i, pair in enumerate(cycle("test", 100, 0)) if i % 3 < 2]
measure(
    "reward.without_cycle",
    reward.accuracy(fit(straight), unseen, PAD),
    "share of the choices, the third pair of each cycle left out",
)


# %% [markdown]
# *What to look at:* take away the third preference, and the same model on the same replies has
# nothing left to fail at. More data of the full cycle would not help.

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

# %%
asked = tickets.sample_tickets("test", 32, 2)
drawn = draw(asked, 64, seed=4)
flat = [response for row in drawn for response in row]
prompts = [prompt for prompt in preferences.prompts(tokenizer, asked) for _ in range(64)]
proxies = reward.rewards(model, prompts, flat, pad_id=PAD).cpu().view(32, 64)
golds = torch.tensor(
    preferences.gold_scores(tokenizer, [t for t in asked for _ in range(64)], flat)
).view(32, 64)
chosen = golds.gather(1, best_of_n(proxies).unsqueeze(1))
print(
    f"gold: a single reply {golds.mean():.2f}, best of 64 by the reward model {chosen.mean():.2f}, "
    f"by gold {golds.max(1).values.mean():.2f}"
)
for n in (1, 4, 16, 64):
    measure(f"reward.best_of_{n}", expected_value(proxies, golds, n).mean().item(), "gold points")


# %% [markdown]
# *What to look at:* the last two numbers. Between them lies what the reward model does not see. The
# [next lab](04_ppo.ipynb) trains the policy instead, and finds more of it.
#
# ## Find the silent bug

# %% [markdown]
# A colleague's version of `batch_rewards` trains, its loss falls, no error is raised, and on a
# held-out batch its accuracy is well above chance. Yet the same two replies change places when they
# are scored in other company.


# %%
def buggy_batch_rewards(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return model(ids, real)[:, -1].view(len(rankings), -1)


# %%
def train_with(batch_rewards, pairs):
    """A reward model trained on these pairs with this function, and its losses."""
    torch.manual_seed(0)
    pupil, losses = reward.ScalarModel(fresh()), []
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=1e-3, weight_decay=0.0)
    for batch in reward.batches(pairs, batch_size=16, epochs=2, seed=0):
        loss = ranking_loss(batch_rewards(pupil, batch, PAD))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return pupil, losses


@torch.no_grad()
def in_company(batch_rewards, pupil):
    """Score held-out pairs in one batch, and each alone: the share in gold's order, and the share
    that changes its order."""
    pairs = held_out(JUDGE, decided=True)[:300]
    together = batch_rewards(pupil, pairs, PAD)
    alone = torch.cat([batch_rewards(pupil, [pair], PAD) for pair in pairs])
    order = [rewards[:, 0] > rewards[:, 1] for rewards in (together, alone)]
    return order[0].float().mean().item(), (order[0] != order[1]).float().mean().item()


some_pairs = compare("train", 620, raters.Rater(), 7)[:600]

# %%
buggy_model, buggy_losses = train_with(buggy_batch_rewards, some_pairs)
buggy_right, buggy_changed = in_company(buggy_batch_rewards, buggy_model)
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
    pad_id: the id of padding · returns float (rankings, K)
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
fixed_model, fixed_losses = train_with(fixed_batch_rewards, some_pairs)
fixed_right, fixed_changed = in_company(fixed_batch_rewards, fixed_model)
print(
    f"loss, first and last ten steps: {statistics.fmean(fixed_losses[:10]):.3f}, "
    f"{statistics.fmean(fixed_losses[-10:]):.3f}"
)
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
# from a small stock; a reward model of real text meets far more ways to be fooled. The accuracy
# with 4,000 pairs is one seed's; the sweeps have three, on fewer held-out pairs.
#
# Back to the [chapter](../chapters/rlhf.md); on to [lab 04](04_ppo.ipynb).
