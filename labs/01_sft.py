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
# everything below still runs; as soon as you write a body, *your* function is used in the rest of
# the lab. The cell after it checks yours and names the mistake, if there is one. Hints and
# solutions stand folded below. The six exercises are worth 21 points. (`# NBVAL_CHECK_OUTPUT` marks
# the cells whose output the book's tests compare with the stored one; it is of no concern to you.)
# You need Python and a little PyTorch; the whole lab runs in a few minutes on two CPU cores.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "a lab runs in the folder labs/: open it there (make lab), then restart its kernel"
)

import random

import matplotlib.pyplot as plt
import torch
from course import (
    check,
    evidence,
    exercise,
    finish,
    mean_interval,
    measure,
    on_trial,
    progress,
    show,
    start,
)
from helpdesk import base, evaluate, language, replies, tasks, tickets
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
# A ticket tells five facts. *Triage* files them, always in the same order. That is a task with one
# clear response, so it can be marked by exact match: every word right, and the response ended by
# the stop token `<eos>`.

# %%
model, tokenizer = base.load_base(lab.device)
train = [tasks.triage(t) for t in tickets.sample_tickets("train", 1024, seed=0)]
test = [tasks.triage(t) for t in tickets.sample_tickets("test", 500, seed=0)]
print(train[0].prompt)
print(train[0].response)
print(
    f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens in the "
    "vocabulary"
)

# %% [markdown]
# The training tickets and the test tickets share no ticket, and the base model has seen none of the
# test tickets either. What does the base model do with the prompt, before any tuning?

# %%
for response in evaluate.respond(model, tokenizer, [e.prompt for e in test[:3]], max_new_tokens=12):
    print(response)
measure("sft.triage_exact_match_before", evaluate.exact_match(model, tokenizer, test), "share")

# %% [markdown]
# *What to look at:* fluent words, no fields. Yet the base model *can* read a ticket, in the format
# it knows from its corpus:

# %%
ticket = tickets.sample_tickets("test", 1, seed=1)[0]
for fact in ("product", "city", "day"):
    question = tasks.reading(ticket, fact)
    print(
        question.prompt,
        "→",
        evaluate.respond(model, tokenizer, [question.prompt], max_new_tokens=1)[0],
    )


# %% [markdown]
# ## Which tokens count
#
# SFT shows the model the prompt $x$ and the response $y$ in a row, but only the response is to be
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
# The ids are simply the two lists in a row. The labels have the same length: which part of them is
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
# is not taught to stop, goes on.
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
batch = collate(
    [mask_prompt(*language.encode_example(tokenizer, e)) for e in train[:4]], tokenizer.pad_token_id
)
ids, labels = (part.to(lab.device) for part in batch)
with torch.no_grad():
    logits = model(input_ids=ids).logits
for label, value in zip(labels[0, 1:], token_log_probs(logits, labels)[0]):
    if label != -100:
        print(f"{tokenizer.decode(label):>10} {value.item():8.2f} nats")


# %% [markdown]
# *What to look at:* before tuning everything about the format is a surprise, the first `|` most of
# all. From separator to separator it becomes less of one: the model picks up the pattern while it
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
# NBVAL_CHECK_OUTPUT
labels = torch.full((2, 42), -100)
labels[0, 1:5], labels[1, 1:41] = 7, 7
for loss in (sft_loss, sequence_loss):
    logits = torch.zeros(2, 42, 50, requires_grad=True)
    loss(logits, labels).backward()
    short, long = logits.grad.abs().sum((1, 2))
    print(
        f"{loss.__name__:>14}: pull of the short response {short:.2f}, of the long one {long:.2f}"
    )


# %% [markdown]
# *What to look at:* in both conventions the long response pulls ten times as hard as the short one,
# as long as they share a batch. What differs is the size of a step: with the sum, a batch of long
# responses moves the model more than a batch of short ones; with the token mean, each batch moves
# it about equally. To weigh every *response* equally you would average within each response first.


# %%
def pull(loss, length):
    """Size of the gradient of a batch that holds one response of `length` tokens."""
    labels = torch.full((1, 42), -100)
    labels[0, 1 : length + 1] = 7
    logits = torch.zeros(1, 42, 50, requires_grad=True)
    loss(logits, labels).backward()
    return logits.grad.abs().sum().item()


measure("sft.pull_ratio_token_mean", pull(sft_loss, 40) / pull(sft_loss, 4), "times")
measure("sft.pull_ratio_sequence_sum", pull(sequence_loss, 40) / pull(sequence_loss, 4), "times")

# %% [markdown]
# ### Is the gradient right?
#
# Nudge all logits $z$ a little along a random direction $v$, and compare the change of the loss
# with what the gradient promises:
# $\big(\mathcal{L}(z + \epsilon v) - \mathcal{L}(z - \epsilon v)\big) / 2\epsilon$ against
# $\nabla_z \mathcal{L} \cdot v$. In double precision, because the difference is small.

# %%
ids, labels = batch
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
BATCH, RATE = 32, 2e-3


def token_batches(examples, steps, seed, size=BATCH):
    tokens = [mask_prompt(*language.encode_example(tokenizer, e)) for e in examples]
    return sft.batches(
        tokens, batch_size=size, steps=steps, pad_id=tokenizer.pad_token_id, seed=seed
    )


def plain_descent(learning_rate, steps=30):
    model, _ = base.load_base(lab.device)
    losses = []
    for ids, labels in progress(
        token_batches(train, steps, seed=0), f"plain descent, rate {learning_rate}", steps
    ):
        loss = sft_loss(model(input_ids=ids.to(lab.device)).logits, labels.to(lab.device))
        loss.backward()
        gradient_step(list(model.parameters()), learning_rate)
        losses.append(loss.item())
    return losses


# %% tags=["first-model"]
plain = {rate: plain_descent(rate) for rate in (0.03, 0.1, 0.3)}
best = min(plain, key=lambda rate: sum(plain[rate][-10:]))
adamw_model, _ = base.load_base(lab.device)
adamw = sft.fine_tune(
    adamw_model,
    progress(token_batches(train, 30, seed=0), "AdamW", 30),
    steps=30,
    learning_rate=RATE,
    loss=sft_loss,
)
measure("sft.plain_descent_loss", sum(plain[best][-10:]) / 10, "nats per token")
measure("sft.adamw_loss", sum(adamw[-10:]) / 10, "nats per token")

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
def bytes_kept(optimizer_class):
    """Bytes per parameter that an optimiser still holds after a step."""
    model, _ = base.load_base(lab.device)
    optimizer = optimizer_class(model.parameters(), lr=1e-4)
    sft_loss(model(input_ids=ids.to(lab.device)).logits, labels.to(lab.device)).backward()
    optimizer.step()
    moments = [
        t
        for state in optimizer.state.values()
        for t in state.values()
        if torch.is_tensor(t) and t.dim()
    ]
    return sum(t.nbytes for t in moments) / model.num_parameters()


evidence("C1.04", bytes_kept(torch.optim.AdamW) - bytes_kept(torch.optim.SGD))

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
theirs, _ = base.load_base("cpu")
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
trainer = SFTTrainer(
    theirs,
    config,
    processing_class=tokenizer,
    train_dataset=Dataset.from_list([{"prompt": e.prompt, "completion": e.response} for e in rows]),
)

# %%
ours, _ = base.load_base("cpu")
optimizer = torch.optim.AdamW(ours.parameters(), lr=RATE, weight_decay=0.0)
our_losses = []
for start_row in range(0, len(rows), BATCH):
    tokens = [
        mask_prompt(*language.encode_example(tokenizer, e))
        for e in rows[start_row : start_row + BATCH]
    ]
    ids, labels = collate(tokens, tokenizer.pad_token_id)
    loss = sft_loss(ours(input_ids=ids).logits, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    our_losses.append(loss.item())

# %%
trainer.remove_callback(PrinterCallback)
trainer.train()
their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
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
# Full tuning on 1,024 tickets, once per seed. A seed draws the order of the tickets.

# %%
import time

STEPS = 220


def tune(examples, steps, seed, label, size=BATCH):
    """A base model after full tuning on the examples, `size` of them in a batch, and its losses."""
    model, _ = base.load_base(lab.device)
    batches = progress(token_batches(examples, steps, seed, size), label, steps)
    return model, sft.fine_tune(model, batches, steps=steps, learning_rate=RATE, loss=sft_loss)


# %%
curves, scores, seconds = {}, [], []
for seed in lab.seeds:
    began = time.perf_counter()
    model, curves[seed] = tune(train, STEPS, seed, f"full tuning, seed {seed}")
    seconds.append(time.perf_counter() - began)
    scores.append(evaluate.exact_match(model, tokenizer, test))
measure("sft.train_seconds", *mean_interval(seconds)[:1], unit="s")
mean, interval = mean_interval(scores)
measure("sft.triage_exact_match", mean, "share", interval, lab.seeds)
evidence("C1.05", min(scores), seeds=lab.seeds)

# %%
fig, ax = plt.subplots()
for seed, losses in curves.items():
    ax.plot(losses, label=f"seed {seed}")
ax.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
ax.legend()
show(fig, "Training loss of full tuning against steps, one line per seed, on a logarithmic axis.")

# %%
for example, response in zip(
    test[:3], evaluate.respond(model, tokenizer, [e.prompt for e in test[:3]], max_new_tokens=12)
):
    print(example.prompt)
    print("  ", response)

# %% [markdown]
# And without any pretraining? The control: a model of the same shape with random weights, the same
# tickets and steps.

# %%
from transformers import AutoModelForCausalLM

torch.manual_seed(0)
scratch = AutoModelForCausalLM.from_config(model.config).to(lab.device)
scratch_losses = sft.fine_tune(
    scratch,
    progress(token_batches(train, STEPS, 0), "from random weights", STEPS),
    steps=STEPS,
    learning_rate=RATE,
    loss=sft_loss,
)
measure("sft.triage_exact_match_scratch", evaluate.exact_match(scratch, tokenizer, test), "share")

# %% [markdown]
# *What to look at:* the loss falls in stages, with plateaus in between: the words of the format
# come first, then one field after another finds its place. A plateau is not the end; stop at the
# first one and no ticket is right. And the control comes close: with a thousand tickets, this task
# needs the base less than you might think. It shows what SFT *can* reach, more than what
# pretraining is worth.
#
# ## SFT imitates the mixture it is shown
#
# "Learn the mapping from input to output", says the document: as if there were one output. Here are
# prompts with **two** acceptable responses; 70 % of the demonstrations show the first one, 30 % the
# second. If SFT learned a mapping, the model would always give one of them. If it learns a
# distribution, its samples show 70 and 30.

# %%
FIRST, SECOND = replies.FIX[0], replies.FIX[2]
print(FIRST, "|", SECOND)


def fix(ticket, sentence):
    said = sentence.format(product=ticket.product, fix=replies.FIXES[ticket.problem])
    return tasks.Example(tasks.reply_prompt(ticket), " " + said)


def mixture(share, seed, count=1024):
    """Demonstrations of which `share` give the first response."""
    rng = random.Random(seed)
    return [
        fix(t, FIRST if rng.random() < share else SECOND)
        for t in tickets.sample_tickets("train", count, seed)
    ]


# %%
held_out = tickets.sample_tickets("test", 1000 if lab.full else 300, seed=2)


def sampled(model, seed):
    """One sampled reply to each held-out customer."""
    torch.manual_seed(seed)
    prompts = [tasks.reply_prompt(ticket) for ticket in held_out]
    return [
        r.removesuffix(tokenizer.eos_token).strip()
        for r in evaluate.respond(model, tokenizer, prompts, sample=True)
    ]


def share_of(sentence, model, seed):
    texts = [fix(ticket, sentence).response.strip() for ticket in held_out]
    return sum(reply == text for reply, text in zip(sampled(model, seed), texts)) / len(texts)


# %%
first, second = [], []
for seed in lab.seeds:
    model, _ = tune(mixture(0.7, seed), 60, seed, f"70/30 mixture, seed {seed}", size=16)
    first.append(share_of(FIRST, model, seed))
    second.append(share_of(SECOND, model, seed))
for name, shares in (("sft.mixture_first", first), ("sft.mixture_second", second)):
    mean, interval = mean_interval(shares)
    measure(name, mean, "share of samples", interval, lab.seeds)
evidence("C1.01", max(abs(share - 0.7) for share in first), seeds=lab.seeds)


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
@torch.no_grad()
def mean_log_prob(model, sentence, count=200):
    """Mean log-probability of a response's tokens after held-out customers, in nats."""
    tokens = [
        mask_prompt(*language.encode_example(tokenizer, fix(t, sentence))) for t in held_out[:count]
    ]
    ids, labels = (part.to(lab.device) for part in collate(tokens, tokenizer.pad_token_id))
    return -sft.sft_loss(model(input_ids=ids).logits, labels).item()


before, _ = base.load_base(lab.device)
changes = []
for seed in lab.seeds:
    model, _ = tune(mixture(1.0, seed), 20, seed, f"only the first response, seed {seed}", size=16)
    changes.append(mean_log_prob(model, SECOND) - mean_log_prob(before, SECOND))
mean, interval = mean_interval(changes)
measure("sft.undemonstrated_change", mean, "nats per token", interval, lab.seeds)
evidence("C1.02", max(changes), seeds=lab.seeds)

# %% [markdown]
# *What to look at:* SFT makes *demonstrated* tokens probable, and this correct response pays for
# it.
#
# ### Biases come along
#
# The clerks in the old transcripts are sometimes rude. How rude is a model that was tuned on their
# replies, as the share of rude replies among the demonstrations changes?

# %%
from dataclasses import replace


def transcripts(rude, seed, count=1024):
    rng = random.Random(seed)
    habits = replace(replies.TRANSCRIPTS, rude=rude)
    return [tasks.reply(t, habits, rng) for t in tickets.sample_tickets("train", count, seed)]


def rude_share(rude, seed):
    """Demonstrated and sampled share of rude replies."""
    shown = transcripts(rude, seed)
    model, _ = tune(shown, 40, seed, f"{rude:.0%} rude, seed {seed}", size=16)
    return (
        sum(replies.is_rude(e.response) for e in shown) / len(shown),
        sum(map(replies.is_rude, sampled(model, seed))) / len(held_out),
    )


# %%
doses = (0.0, 0.3, 0.6) if lab.full else (0.0, 0.6)
rude = {dose: [rude_share(dose, seed) for seed in lab.seeds] for dose in doses}
for dose in doses:
    mean, interval = mean_interval([out for _, out in rude[dose]])
    measure(f"sft.rude_at_{dose * 100:.0f}", mean, "share of samples", interval, lab.seeds)
evidence(
    "C1.07",
    max(abs(out - shown) for pairs in rude.values() for shown, out in pairs),
    seeds=lab.seeds,
)

# %%
fig, ax = plt.subplots(figsize=(4.4, 3.6))
ax.plot([0, 0.7], [0, 0.7], linestyle="--", color="#7c8794", label="copied one to one")
for pairs in rude.values():
    ax.plot(*zip(*pairs), "o", color="#2f80d0", alpha=0.7)
ax.set(xlabel="share of rude replies demonstrated", ylabel="share of rude replies sampled")
ax.legend()
show(
    fig,
    "Share of rude replies in samples against the share in the demonstrations; the points lie "
    "close to the diagonal.",
)


# %% [markdown]
# *What to look at:* the loss has no opinion. The base's clerks were rude in 30 % of their replies;
# the tuned model follows its new demonstrations instead, up or down, if not to the point.
#
# ## A style, from few demonstrations
#
# "Not suitable for subjective preference tasks", says the document. *Polite* is a style: a
# greeting, empathy, the right fix, thanks, in this order and nothing else. The base model writes
# such a reply only now and then. How many demonstrations does it take?


# %%
def style_share(count, seed):
    """Share of sampled replies in the polite style after tuning on `count` demonstrations."""
    rng = random.Random(seed)
    shown = [
        tasks.reply(t, replies.POLITE, rng) for t in tickets.sample_tickets("train", count, seed)
    ]
    if count:
        model, _ = tune(shown, 80, seed, f"{count} polite replies, seed {seed}", size=16)
    else:
        model, _ = base.load_base(lab.device)
    return sum(replies.is_polite(r, t) for r, t in zip(sampled(model, seed), held_out)) / len(
        held_out
    )


# %%
counts = (0, 16, 32, 64, 128, 256, 1024) if lab.full else (0, 16, 256)
polite = {count: [style_share(count, seed) for seed in lab.seeds] for count in counts}
for count in counts:
    mean, interval = mean_interval(polite[count])
    measure(f"sft.polite_at_{count}", mean, "share of samples", interval, lab.seeds)
evidence("C1.06", min(polite[256]), seeds=lab.seeds)

# %%
fig, ax = plt.subplots()
means, ends = zip(*(mean_interval(polite[count]) for count in counts))
errors = [[m - e[0] for m, e in zip(means, ends)], [e[1] - m for m, e in zip(means, ends)]]
ax.errorbar(range(len(counts)), means, yerr=errors, fmt="o-", capsize=3)
ax.axhline(0.95, linestyle="--", color="#7c8794")
ax.set(
    xlabel="demonstrations",
    ylabel="share of polite samples",
    xticks=range(len(counts)),
    xticklabels=counts,
    ylim=(-0.03, 1.08),
)
show(
    fig,
    "Share of sampled replies in the polite style against the number of demonstrations, with 95 % "
    "intervals over seeds; the dashed line marks 0.95.",
)


# %% [markdown]
# *What to look at:* a few hundred demonstrations carry a style that the base was already able to
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


def batches_with(collate, steps, seed=0):
    tokens = [mask_prompt(*language.encode_example(tokenizer, e)) for e in train]
    return sft.batches(
        tokens,
        batch_size=BATCH,
        steps=steps,
        pad_id=tokenizer.eos_token_id,
        seed=seed,
        collate=collate,
    )


# %%
buggy_model, _ = base.load_base(lab.device)
buggy = sft.fine_tune(
    buggy_model,
    progress(batches_with(buggy_collate, STEPS), "with the bug", STEPS),
    steps=STEPS,
    learning_rate=RATE,
    loss=sft_loss,
)
measure("sft.silent_bug_exact_match", evaluate.exact_match(buggy_model, tokenizer, test), "share")
print(evaluate.respond(buggy_model, tokenizer, [test[0].prompt], max_new_tokens=25)[0])

# %%
fig, ax = plt.subplots()
ax.plot(buggy, label="with the bug")
ax.plot(curves[0], label="without (seed 0 from above)")
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
for collate in (buggy_collate, fixed_collate):
    ids, labels = next(batches_with(collate, steps=1))
    print(
        f"{collate.__name__}: {(labels == tokenizer.eos_token_id).sum()} stop tokens count in a "
        f"batch of {len(ids)} responses"
    )

# %% [markdown]
# *What to look at:* one stop token per response, or none. A loss only speaks of the tokens that
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
