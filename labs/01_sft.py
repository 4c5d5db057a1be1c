# %% [markdown]
# # Lab 01 · Supervised fine-tuning
#
# You take a small language model that can *read* a customer's complaint and teach it to *file* it,
# by showing it examples. On the way you write the functions that supervised fine-tuning (SFT)
# consists of, see that they do what a library does, and put eight statements of the [document on
# trial](../chapters/document.md) to the test.
#
# **How to work through it.** Run the cells from top to bottom with Shift+Enter. Each exercise is a
# short function whose body is `...`: as long as you leave it, the solution stands in for it and
# everything below still runs; as soon as you write a body, *your* function is used in the rest of the
# lab. The cell after it checks yours and names the mistake, if there is one. Hints and solutions
# stand folded below. The six exercises are worth 21 points; plan 65 minutes for them. (`#
# NBVAL_CHECK_OUTPUT` marks the cells whose output the book's tests compare with the stored one; it is
# of no concern to you.) You need Python and a little PyTorch; by itself the whole lab runs in about a
# minute on two CPU cores.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import matplotlib.pyplot as plt
import torch
from course import (
    BLUE,
    GREY,
    band,
    check,
    evidence,
    exercise,
    finish,
    grouped,
    measure,
    on_trial,
    progress,
    select,
    show,
    start,
    sweep,
)
from experiments import sft as experiment
from experiments import shared
from experiments.shared import batches, fresh, last
from helpdesk import base, evaluate, language, tasks, tickets
from methods import sft
from methods.tokens import collate

lab = start("01_sft")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet. Where a bound was changed after a run, the entry says so.
# A bound that fails stops the lab.

# %%
on_trial()

# %% [markdown]
# ## The task: one clear response
#
# A ticket states five facts. *Triage* files them, always in the same order. That is a task with one
# clear response, so it can be marked by exact match: every word right, and the response ended by
# the stop token `<eos>`.

# %%
model, tokenizer = fresh(), shared.tokenizer()
train, test = experiment.training_set(), experiment.test_set()
print(train[0].prompt)
print(train[0].response)
print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens in the vocabulary")

# %% [markdown]
# The training tickets and the test tickets share no ticket, and the base model has seen none of the
# test tickets either. What does the base model do with the prompt, before any tuning?

# %%
asked = [example.prompt for example in test[:3]]
for response in evaluate.respond(model, tokenizer, asked, max_new_tokens=12):
    print(response)
measure("sft.triage_exact_match_before", evaluate.exact_match(model, tokenizer, test), "share")

# %% [markdown]
# *What to look at:* fluent words, no fields. Yet the base *can* read a ticket, in the format
# that it knows from its training text:

# %%
ticket = tickets.sample_tickets("test", 1, seed=1)[0]
for fact in ("product", "city", "day"):
    question = tasks.reading(ticket, fact).prompt
    print(question, "→", evaluate.respond(model, tokenizer, [question], max_new_tokens=1)[0])


# %% [markdown]
# ## Which tokens count
#
# SFT shows the model the prompt $x$ followed by the response $y$, but only the response is to be
# learned. The labels say which tokens count: a token's label is its own id, or −100 for "does not
# count".
#
# ### Exercise · prompt masking


# %%
@exercise("sft.mask_prompt", points=3, minutes=5, difficulty=1)
def mask_prompt(prompt, response):
    """One example as ids and labels: prompt and response in a row, the prompt's
    labels -100.

    prompt, response: lists of token ids · returns two lists of equal length
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(mask_prompt)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The ids are simply the two lists, one after the other. The labels have the same length: which part
# of them is
# −100, and what is the rest?
#
# </details>

# %% [markdown] solution="sft.mask_prompt"

# %%
# NBVAL_CHECK_OUTPUT
ids, labels = mask_prompt(*language.encode_example(tokenizer, train[0]))
for token, label in list(zip(tokenizer.convert_ids_to_tokens(ids), labels))[-13:]:
    print(f"{token:>12}  {'counts' if label != -100 else '·'}")


# %% [markdown]
# *What to look at:* the last token of the prompt does not count, the stop token does. A model that
# is not taught to stop never does.
#
# ## The formula
#
# $$\mathcal{L}_{\text{SFT}} = -\sum_{t=1}^{T} \log \pi_{\theta}(y_t \mid x, y_{<t})$$
#
# The model gives logits at every position; those at position $t$ predict the token at $t+1$. So
# logits and labels are shifted against each other by one, and a log-softmax turns a row of logits
# $z$ into log-probabilities.
#
# ### Exercise · log-probabilities of the response


# %%
@exercise("sft.token_log_probs", points=4, minutes=15, difficulty=2)
def token_log_probs(logits, labels):
    """log π(y_t | x, y_<t) of every token that counts, 0 elsewhere.

    logits: float (batch, time, vocab)
    labels: int (batch, time), -100 where the token does not count
    returns float (batch, time - 1)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(token_log_probs)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Drop the last logits and the first label. `log_softmax(-1)` normalises over the vocabulary;
# `gather(-1, index)` picks one entry per position, but an index of −100 is not allowed: put a 0
# there first and erase the value afterwards.
#
# </details>

# %% [markdown] solution="sft.token_log_probs"

# %%
tokens = [mask_prompt(*language.encode_example(tokenizer, example)) for example in train[:4]]
ids, labels = (part.to(lab.device) for part in collate(tokens, tokenizer.pad_token_id))
with torch.no_grad():
    logits = model(input_ids=ids).logits
for label, value in zip(labels[0, 1:], token_log_probs(logits, labels)[0]):
    if label != -100:
        print(f"{tokenizer.decode(label):>10} {value.item():8.2f} nats")


# %% [markdown]
# *What to look at:* before tuning everything about the format is improbable, the first `|` most of
# all. From separator to separator it becomes less so: the model picks up the pattern while it
# reads.
#
# ### Exercise · the loss
#
# A batch has many responses. `sft_loss` takes the mean over all response *tokens* of the batch, as
# TRL does by default.


# %%
@exercise("sft.loss", points=4, minutes=10, difficulty=2)
def sft_loss(logits, labels):
    """Mean negative log-likelihood of the response tokens.

    logits: float (batch, time, vocab)
    labels: int (batch, time), -100 where the token does not count
    returns a scalar tensor, in nats per token
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(sft_loss)


# %% [markdown]
# <details><summary>Hint</summary>
#
# Use `token_log_probs`. Summing is easy, since what does not count is 0; but what do you divide by?
#
# </details>

# %% [markdown] solution="sft.loss"

# %% [markdown]
# ### Exercise · the other convention
#
# The formula as the document writes it is a *sum* over a response. `sequence_loss` takes it
# literally for each response and averages over the batch.


# %%
@exercise("sft.sequence_loss", points=3, minutes=5, difficulty=1)
def sequence_loss(logits, labels):
    """The sum over each response's tokens, averaged over the batch.

    Shapes as in sft_loss · returns a scalar tensor, in nats per response
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(sequence_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Sum over time first, then take the mean over what is left.
#
# </details>

# %% [markdown] solution="sft.sequence_loss"

# %% [markdown]
# Does the choice matter? Take a response of 4 tokens and one of 40 in one batch. How hard does each
# pull on the model?


# %%
def pulls(loss, *lengths):
    """How hard each response of a batch pulls on the model: the size of its gradient."""
    labels = torch.full((len(lengths), 42), -100)
    for row, length in enumerate(lengths):
        labels[row, 1 : length + 1] = 7
    logits = torch.zeros(len(lengths), 42, 50, requires_grad=True)
    loss(logits, labels).backward()
    return logits.grad.abs().sum((1, 2)).tolist()


# %%
# NBVAL_CHECK_OUTPUT
for loss in (sft_loss, sequence_loss):
    short, long = pulls(loss, 4, 40)
    print(
        f"{loss.__name__:>14}: pull of the short response {short:.2f}, of the long one {long:.2f}"
    )

# %% [markdown]
# *What to look at:* in both conventions the long response pulls ten times as hard as the short one,
# as long as they share a batch. What differs is the size of a step: with the sum, a batch of long
# responses moves the model more than a batch of short ones; with the token mean, each batch moves
# it about equally. To weigh every *response* equally you would average within each response first.

# %%
alone = {loss: [pulls(loss, length)[0] for length in (4, 40)] for loss in (sft_loss, sequence_loss)}
measure("sft.pull_ratio_token_mean", alone[sft_loss][1] / alone[sft_loss][0], "times")
measure("sft.pull_ratio_sequence_sum", alone[sequence_loss][1] / alone[sequence_loss][0], "times")

# %% [markdown]
# ### Is the gradient right?
#
# Nudge all logits $z$ a little along a random direction $v$, and compare the change of the loss
# with what the gradient promises:
# $\big(\mathcal{L}(z + \epsilon v) - \mathcal{L}(z - \epsilon v)\big) / 2\epsilon$ against
# $\nabla_z \mathcal{L} \cdot v$. In double precision, because the difference is small.

# %%
ids, labels = collate(tokens, tokenizer.pad_token_id)
with torch.no_grad():
    logits = model(input_ids=ids.to(lab.device)).logits.cpu().double()

epsilon, direction = 1e-4, torch.randn_like(logits)
up, down = (sft_loss(logits + step * direction, labels).item() for step in (epsilon, -epsilon))
slope = torch.autograd.functional.jvp(lambda z: sft_loss(z, labels), logits, direction)[1].item()
print(f"finite difference {(up - down) / (2 * epsilon):.8f}, gradient {slope:.8f}")
evidence("C1.03", abs((up - down) / (2 * epsilon) - slope) / abs(slope))

# %% [markdown]
# ### "Maximize correct token logit"?
#
# The document says so in its summary. If it were so, adding 100 to every logit would lower the
# loss.

# %%
loss, raised = (sft_loss(z, labels).item() for z in (logits, logits + 100))
print(f"loss {loss:.6f}, with 100 added to every logit {raised:.6f}")
evidence("C7.02", abs(raised - loss))


# %% [markdown]
# *What to look at:* nothing changes. The loss sees only differences between logits; its gradient is
# $p - \text{onehot}(y)$, so a step on the logits that raises one token lowers the others.
#
# ## The update
#
# $$\theta \leftarrow \theta - \eta\, \nabla_{\theta} \mathcal{L}_{\text{SFT}}$$
#
# ### Exercise · one step down the gradient


# %%
@exercise("sft.gradient_step", points=3, minutes=10, difficulty=2)
def gradient_step(parameters, learning_rate):
    """θ ← θ − η ∇L for every parameter that has a gradient, in place; the
    gradients are cleared.

    parameters: a list of tensors, p.grad holds the gradient or is None
    learning_rate: η
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(gradient_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Autograd forbids changing a parameter in place unless it is told to look away:
# `with torch.no_grad():` around the loop, or as a decorator. Not every parameter has a gradient.
# Old gradients add up unless you clear them.
#
# </details>

# %% [markdown] solution="sft.gradient_step"

# %% [markdown]
# This is gradient descent as the document writes it. In practice SFT uses AdamW, which keeps two
# more numbers for every parameter. What do they buy, and what do they cost? Thirty steps of each,
# on the same batches; plain descent gets the best of three learning rates, AdamW the one rate that
# the rest of this lab uses.

# %%
BATCH, RATE = experiment.BATCH, experiment.RATE


def plain_descent(learning_rate, steps=30):
    model = fresh()
    losses = []
    some = batches(train, steps=steps, seed=0, size=BATCH, mask_prompt=mask_prompt)
    for ids, labels in progress(some, f"plain descent, rate {learning_rate}", steps):
        loss = sft_loss(model(input_ids=ids.to(lab.device)).logits, labels.to(lab.device))
        loss.backward()
        gradient_step(list(model.parameters()), learning_rate)
        losses.append(loss.item())
    return losses


# %% tags=["first-model"]
plain = {rate: plain_descent(rate) for rate in (0.03, 0.1, 0.3)}
some = batches(train, steps=30, seed=0, size=BATCH, mask_prompt=mask_prompt)
adamw = sft.fine_tune(
    fresh(), progress(some, "AdamW", 30), steps=30, learning_rate=RATE, loss=sft_loss
)
measure("sft.plain_descent_loss", min(map(last, plain.values())), "nats per token")
measure("sft.adamw_loss", last(adamw), "nats per token")

# %%
fig, ax = plt.subplots()
for rate, losses in plain.items():
    ax.plot(losses, label=f"plain descent, η = {rate}")
ax.plot(adamw, label=f"AdamW, η = {RATE}", linewidth=2)
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend()
show(
    fig,
    "Training loss against steps on a logarithmic axis for plain gradient descent at three "
    "learning rates and for AdamW.",
)


# %%
batch = ids.to(lab.device), labels.to(lab.device)
adamw_bytes, sgd_bytes = (
    experiment.bytes_kept(each, batch) for each in (torch.optim.AdamW, torch.optim.SGD)
)
evidence("C1.04", adamw_bytes - sgd_bytes)

# %% [markdown]
# *What to look at:* eight bytes per parameter, two float32 numbers. For a model of 7 billion
# parameters that is 56 GB, half of the 16 bytes per parameter that full tuning keeps in mixed
# precision.
#
# ## The same by the library
#
# At work you would call TRL's `SFTTrainer`. Give both the same model, texts, order and schedule.
# TRL does its own tokenising, masking and padding.

# %%
import tempfile

from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

rows = train[: 6 * BATCH]
theirs = base.load_base("cpu")[0]
config = SFTConfig(
    output_dir=tempfile.mkdtemp(),
    max_steps=6,
    per_device_train_batch_size=BATCH,
    learning_rate=RATE,
    use_cpu=True,
    lr_scheduler_type="constant",
    max_grad_norm=0.0,
    completion_only_loss=True,
    bf16=False,
    train_sampling_strategy="sequential",
    activation_checkpointing=False,
    weight_decay=0.0,
    report_to=[],
    save_strategy="no",
    logging_steps=1,
    disable_tqdm=True,
)

# %%
table = [{"prompt": example.prompt, "completion": example.response} for example in rows]
trainer = SFTTrainer(
    theirs, config, processing_class=tokenizer, train_dataset=Dataset.from_list(table)
)
trainer.remove_callback(PrinterCallback)
trainer.train()
their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

# %% [markdown]
# And the same with what you wrote.

# %%
ours = base.load_base("cpu")[0]
optimizer = torch.optim.AdamW(ours.parameters(), lr=RATE, weight_decay=0.0)
tokens = [mask_prompt(*language.encode_example(tokenizer, example)) for example in rows]
our_losses = []
for first in range(0, len(tokens), BATCH):
    ids, labels = collate(tokens[first : first + BATCH], tokenizer.pad_token_id)
    loss = sft_loss(ours(input_ids=ids).logits, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    our_losses.append(loss.item())

# %%
for mine, their in zip(our_losses, their_losses):
    print(f"ours {mine:.5f}   TRL {their:.5f}")
gap = max((a - b).abs().max().item() for a, b in zip(ours.parameters(), theirs.parameters()))
measure("sft.gap_to_trl", gap, "largest difference of any parameter after 6 steps")
assert gap < 1e-4, (
    "this training and TRL's have parted ways: check your own mask_prompt, token_log_probs and "
    "sft_loss"
)

# %% [markdown]
# *What to look at:* the losses agree to the printed digits, and after six steps no parameter
# differs by more than rounding. The labels and the loss that you wrote are what the library
# computes.
#
# ## Does it reach the clear response?
#
# Full tuning on 1,024 tickets, for three seeds. A seed draws the order of the tickets. And the
# control: a model of the same shape with random weights, the same tickets and steps. These runs are
# a *stored sweep*: they were made once, with `make sweeps`, and their rows are stored with the
# book. The lab draws the stored rows, runs one of them again with your functions, and compares.

# %%
own = {"mask_prompt": mask_prompt, "sft_loss": sft_loss}
triage, live = sweep(experiment.TRIAGE, live=[{"start": "the base", "seed": 0}], **own)

# %% [markdown]
# What `measure` prints goes to the book: the mean over the seeds, and in brackets its 95 % confidence
# interval. With three seeds it is wide; where it would pass the end of the scale it is cut there.

# %%
scores = select(triage, "exact_match", start="the base")
measure("sft.triage_exact_match", scores, "share", seeds=experiment.SEEDS)
evidence("C1.05", min(scores), seeds=experiment.SEEDS)
scratch = select(triage, "exact_match", start="random weights")
measure("sft.triage_exact_match_scratch", scratch, "share", seeds=experiment.SEEDS)
measure("sft.triage_scratch_best", max(scratch), "share, the best of three seeds")
measure("sft.triage_scratch_worst", min(scratch), "share, the worst of three seeds")
measure("sft.train_seconds", live[0]["train_seconds"], "s")

# %%
fig, ax = plt.subplots()
for start_from, color in (("the base", BLUE), ("random weights", GREY)):
    for number, losses in enumerate(select(triage, "curve", start=start_from)):
        ax.plot(losses, color=color, alpha=0.7, label=None if number else f"from {start_from}")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend()
show(
    fig,
    "Training loss of full tuning against steps on a logarithmic axis, one line per seed, from the "
    "base and from random weights.",
)

# %%
for example, response in zip(test, live[0]["responses"].splitlines()):
    print(example.prompt)
    print("  ", response)

# %% [markdown]
# *What to look at:* the loss falls in stages, with plateaus in between: the words of the format
# come first, then one field after another finds its place. A plateau is not the end; stop at the
# first one and no ticket is right. The control is a surprise: from random weights two runs of three
# come close in the same steps, and the third never leaves the first plateau. So with a thousand
# tickets this task *can* be learned without the base. What the base brings is that every run gets
# there.
#
# ## SFT imitates the mixture it is shown
#
# "Learn the mapping from input to output", says the document: as if there were one output. Here are
# prompts with **two** acceptable responses; 70 % of the demonstrations show the first one, 30 % the
# second. If SFT learned a mapping, the model would always give one of them. If it learns a
# distribution, its samples show 70 and 30.

# %%
print(experiment.FIRST, "|", experiment.SECOND)
mixture, _ = sweep(experiment.MIXTURE, live=[{"seed": 0}], **own)
first, second = select(mixture, "first"), select(mixture, "second")
measure("sft.mixture_first", first, "share of samples", seeds=experiment.SEEDS)
measure("sft.mixture_second", second, "share of samples", seeds=experiment.SEEDS)
evidence("C1.01", max(abs(share - 0.7) for share in first), seeds=experiment.SEEDS)

# %%
fig, ax = plt.subplots(figsize=(4.4, 3))
for x, shares in enumerate((first, second)):
    ax.plot([x] * len(shares), shares, "o", color=BLUE, alpha=0.7)
ax.plot([0, 1], [0.7, 0.3], "_", markersize=40, color=GREY, label="demonstrated")
ax.set(
    ylabel="share of samples",
    xticks=(0, 1),
    xticklabels=("first response", "second response"),
    xlim=(-0.5, 1.5),
    ylim=(0, 1),
)
ax.legend()
show(
    fig,
    "Shares of the two demonstrated responses in samples, a dot for each seed: close to the 70 and "
    "30 percent that were demonstrated.",
)

# %% [markdown]
# *What to look at:* both responses are sampled, the first more often; so it is no mapping. The
# share is not exact: it wanders by a few points from seed to seed, about as much as chance in so
# few samples allows. (The bound written down first was a distance of 0.06. The first run, with a
# learning rate that fell from the start, missed it at 0.068. The bound now asks for what the claim
# needs.)
#
# ### The response that nobody demonstrated
#
# Now every demonstration shows the first response. The second is just as correct, and the base's
# transcripts use it as often. What happens to its probability?

# %%
undemonstrated, _ = sweep(experiment.UNDEMONSTRATED, live=[{"seed": 0}], **own)
changes = select(undemonstrated, "change")
measure("sft.undemonstrated_change", changes, "nats per token", seeds=experiment.SEEDS)
evidence("C1.02", max(changes), seeds=experiment.SEEDS)

# %% [markdown]
# *What to look at:* SFT makes *demonstrated* tokens more probable, and this correct response becomes
# less so.
#
# ### Biases come along
#
# The clerks in the old transcripts are sometimes rude. How rude is a model that was tuned on their
# replies, as the share of rude replies among the demonstrations changes?

# %%
rude, _ = sweep(experiment.RUDE, live=[{"dose": 0.6, "seed": 0}], **own)
for name, dose in experiment.RUDE_AT.items():
    drawn = select(rude, "sampled", dose=dose)
    measure(name, drawn, "share of samples", seeds=experiment.SEEDS)
evidence("C1.07", max(abs(row["sampled"] - row["shown"]) for row in rude), seeds=experiment.SEEDS)

# %%
fig, ax = plt.subplots(figsize=(4.4, 3.6))
ax.plot([0, 0.7], [0, 0.7], linestyle="--", color=GREY, label="copied one to one")
ax.plot(select(rude, "shown"), select(rude, "sampled"), "o", color=BLUE, alpha=0.7)
ax.set(xlabel="share of rude replies demonstrated", ylabel="share of rude replies sampled")
ax.legend()
show(
    fig,
    "Share of rude replies in samples against the share in the demonstrations; the points lie "
    "close to the diagonal.",
)


# %% [markdown]
# *What to look at:* the loss has no opinion. The base's clerks were rude in 30 % of their replies;
# the tuned model follows its new demonstrations instead, up or down, though not exactly.
#
# ## A style, from few demonstrations
#
# "Not suitable for subjective preference tasks", says the document. *Polite* is a style: a
# greeting, empathy, the right fix, thanks, in this order and nothing else. The base model writes
# such a reply only now and then. How many demonstrations does it take?

# %%
polite, _ = sweep(experiment.POLITE, live=[{"count": 256, "seed": 0}], **own)
for name, count in experiment.POLITE_AT.items():
    shares = select(polite, "polite", count=count)
    measure(name, shares, "share of samples", seeds=experiment.SEEDS)
evidence("C1.06", min(select(polite, "polite", count=256)), seeds=experiment.SEEDS)

# %%
curves = grouped(polite, "count", "polite")
fig, ax = plt.subplots()
band(ax, range(len(curves)), list(curves.values()), BLUE)
ax.axhline(0.95, linestyle="--", color=GREY)
ax.set(
    xlabel="demonstrations",
    ylabel="share of polite samples",
    xticks=range(len(curves)),
    xticklabels=curves,
    ylim=(-0.03, 1.08),
)
show(
    fig,
    "Share of sampled replies in the polite style against the number of demonstrations, mean and "
    "range of three seeds; the dashed line marks 0.95.",
)


# %% [markdown]
# *What to look at:* few demonstrations carry a style that the base was already able to
# write. What such a style needs beyond imitation is another question.
#
# ## Find the silent bug
#
# A colleague's model has a perfect loss curve and never gets a single ticket right. The training
# loop is the one above; this is the only function that differs. The colleague's tokenizer has no
# padding token, so the stop token does its work, as is common.


# %%
def buggy_collate(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    ids = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in examples])
    labels = torch.tensor([labels + [pad_id] * (longest - len(labels)) for _, labels in examples])
    labels[labels == pad_id] = -100
    return ids, labels


# %%
STEPS = experiment.STEPS
buggy_model = fresh()
some = experiment.batches_with(buggy_collate, STEPS, mask_prompt)
buggy = sft.fine_tune(
    buggy_model,
    progress(some, "with the bug", STEPS),
    steps=STEPS,
    learning_rate=RATE,
    loss=sft_loss,
)
measure("sft.silent_bug_exact_match", evaluate.exact_match(buggy_model, tokenizer, test), "share")
print(evaluate.respond(buggy_model, tokenizer, asked[:1], max_new_tokens=25)[0])

# %%
fig, ax = plt.subplots()
ax.plot(buggy, label="with the bug")
ax.plot(live[0]["curve"], label="without (seed 0 from above)")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend()
show(
    fig,
    "Two training curves on the same batches, with and without the silent bug: both fall to the "
    "same depth.",
)


# %% [markdown]
# *What to look at:* the curve of the useless model is as good as the other. Its response begins
# with the right five fields and then goes on and on. Where in `buggy_collate` does that come from?
#
# ### Exercise · write it without the bug


# %%
@exercise("sft.silent_bug", points=4, minutes=20, difficulty=3)
def fixed_collate(examples, pad_id):
    """Pad (ids, labels) pairs on the right to one length; padding does not
    count, the stop token does.

    examples: list of (ids, labels), lists of ints
    pad_id: the padding token, here the stop token as well
    returns two int tensors (batch, time)
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(fixed_collate)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Print the labels of one batch and look at the *end* of a response. Which token would you expect to
# see there?
#
# </details>

# %% [markdown] solution="sft.silent_bug"

# %%
# NBVAL_CHECK_OUTPUT
for function in (buggy_collate, fixed_collate):
    ids, labels = next(experiment.batches_with(function, 1, mask_prompt))
    print(
        f"{function.__name__}: {(labels == tokenizer.eos_token_id).sum()} stop tokens count in a "
        f"batch of {len(ids)} responses"
    )

# %% [markdown]
# *What to look at:* one stop token per response, or none. A loss tells you only about the tokens that
# count. Look at samples, and at one batch's labels, before you believe a curve.
#
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** One small model, one language of a few hundred words, tasks made by a
# program. That SFT reaches a clear response here says nothing about how far reinforcement learning
# would go beyond it on translation, summaries or code (C1.05 is only partly shown), and the rude
# replies are a *systematic* habit: random errors in the labels are another question. *Polite* is a
# style that a program can recognise and that the base could write; tastes that are harder to pin
# down may need more than imitation.
#
# Back to the [chapter](../chapters/sft.md).
