# %% [markdown]
# # Lab 11 · A real model
#
# Everything so far was measured on a help desk of 219 words and a model of a million parameters. Does
# it hold for a language model that has read the web? SmolLM2-135M-Instruct is one, small enough to
# be tuned on two CPU cores in minutes. You write a conversation as its chat template does, count what
# an adapter trains in it, read JSON out of its answers, choose a learning rate, and look for the
# reason why tuned models never stop.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the mistake.
# The six exercises are worth 21 points; plan 78 minutes for them. A run takes minutes here, so
# most rows are stored; two are repeated. The weights came with the set-up; where they are missing,
# the first cell that needs them says how to get them.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import statistics

import matplotlib.pyplot as plt
from course import check, exercise, finish, measure, select, show, start, sweep
from experiments import real_model as experiment
from experiments import real_model_costs as costs
from experiments import real_model_ends as ends
from experiments import real_model_results as results
from experiments import real_model_rewards as rewards
from experiments import real_model_rewards_results as gains
from inbox import records, replies
from inbox.messages import sample
from methods import chat

lab = start("11_real_model")

# %% [markdown]
# ## The model and its language
#
# What it is, where its weights come from and what it has been tuned on already is said in its
# [card](../chapters/real-model.md). A chat model knows conversations in one form only, the form in
# which it was tuned, and its tokenizer brings a program that writes it: the *chat template*.

# %%
tokenizer = experiment.tokenizer()
message = sample("train", 1, 0)[0]
conversation = [*records.turns(message), {"role": "assistant", "content": "{…}"}]
print(chat.rendered(tokenizer, conversation))
print("ends a turn:", tokenizer.convert_ids_to_tokens(chat.end_of_turn(tokenizer)))
print("pads a row:", tokenizer.pad_token)

# %% [markdown]
# Each turn begins with a token of its own, the role and a line break, and ends with another token of
# its own and a line break. This form is called ChatML. Look at the last two lines as well: the token
# that ends a turn is the one that pads rows. It will matter.
#
# ### Exercise · a conversation in tokens
#
# What should count in the loss is the answer and the end of its turn, and nothing else.


# %%
@exercise("real.conversation", points=4, minutes=12, difficulty=2)
def conversation(turns, answer, assistant, start, line, end):
    """Ids and labels of a conversation and its answer:

        start role line content end line        for each turn, and then
        start assistant line answer end

    turns: list of (role, content), both lists of token ids
    answer, assistant: lists of token ids: the answer, which may be empty, and the role that
      gives it
    start, line, end: single tokens: they open a turn, break a line and end a turn
    returns two lists of equal length; a label stands where its token stands, and what does
      not count has the label -100
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(conversation)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Build the prompt as one list, up to and including the line break behind the assistant's role. Its
# labels are −100, one for each token.
#
# </details>

# %% [markdown] solution="real.conversation"

# %% [markdown]
# Does it write what the model's own template writes? On a hundred messages:

# %%
several = sample("train", 100, 1)
own = [ends.in_tokens(each, conversation) for each in several]
theirs = [
    chat.tokens_of(tokenizer, records.turns(each), records.as_json(each.record)) for each in several
]
alike = statistics.fmean(one == other for one, other in zip(own, theirs))
lengths = [len(ids) for ids, _ in own]
print(f"alike: {alike:.0%}; from {min(lengths)} to {max(lengths)} tokens")
measure("real.template_alike", alike, "share of conversations in the same tokens")

# %% [markdown]
# ## The task
#
# Customers write to a shop. The answer is a record in JSON, with five keys.

# %%
for group in ("train", "far"):
    for message in sample(group, 2, 3):
        print(f"{group:6}{message.text}\n{'':6}{records.as_json(message.record)}\n")

# %% [markdown]
# A message may hold typos, capitals, an order number in six ways, a name, or none of it; what it does
# not say is `null`. There are three groups: training messages, test messages of the *usual kind*, with other
# sentences about the same products, and messages of *another kind*, with other products, names and
# greetings. No sentence occurs in two groups. A program marks each answer: is it JSON, has it the
# right keys, which fields are right, are all of them?
#
# ## Prompting alone
#
# Before anything is tuned, ask. Expected: without a solved message nothing is valid JSON, however long
# the instruction; with four nearly all of it is, and hardly any record is right in every field.
# A first look at 32 messages, by which the task was made as hard as it is, said so.
#
# A strict reader takes an answer that is JSON and nothing else. A lenient one finds the object among
# other words.
#
# ### Exercise · read JSON out of an answer


# %%
@exercise("real.read_values", points=4, minutes=15, difficulty=2)
def read_values(text, keys):
    """The values of the one JSON object in a text, in the order of keys.

    text: what a model answered; there may be words, code fences and single braces around
      the object
    keys: list of strings: the object has exactly these, in any order and each once; a
      value may be an object itself, and is no second one
    returns a list, or None where the text holds no object, more than one, one with other
      keys, or what is not JSON, such as NaN
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(read_values)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `json.JSONDecoder().raw_decode(text, place)` reads a value that begins at a place, and says where it
# ends. Its arguments `object_pairs_hook` and `parse_constant` see keys that come twice, and NaN.
#
# </details>

# %% [markdown] solution="real.read_values"

# %%
prompted, _ = sweep(experiment.PROMPTED)
print(f"{'instruction, solved messages':30}{'valid':>7}{'found':>7}{'fields':>8}{'exact':>7}")
for system, shots in results.ASKED:
    told = [
        statistics.fmean(select(prompted, what, system=system, shots=shots))
        for what in ("valid", "found", "fields", "exact")
    ]
    print(f"{system + ', ' + str(shots):30}" + "{:7.0%}{:7.0%}{:8.0%}{:7.0%}".format(*told))
for name, (what, system, shots) in results.PROMPTED.items():
    values = select(prompted, what, system=system, shots=shots)
    measure(name, values, results.unit_of(what), seeds=experiment.SEEDS)

# %% [markdown]
# *What to look at:* the step is the one from no solved message to four. An instruction alone, however
# exact, gives no JSON. With eight nearly every answer is JSON, and hardly any record is right in every
# field. Reading leniently finds no more.
#
# ## What an adapter trains
#
# In SmolLM2 the output layer *is* the embedding: the same 49,152 × 576 numbers read words and write
# them. And it has nine heads of queries, but three of keys and values.
#
# ### Exercise · count it


# %%
@exercise("real.counted", points=3, minutes=15, difficulty=2)
def trained_and_held(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    """What LoRA trains in a model of Llama's kind, and what the base holds.

    Each layer has seven matrices: queries and output, width × (heads · head); keys and
    values, width × (kv_heads · head); and three of the feed-forward part, width × inner.
    It has two norms of width numbers; one more stands behind the last layer.
    tied: whether the output layer is the embedding
    rank: of the adapter, which sits on all seven matrices and on nothing else
    returns two whole numbers
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(trained_and_held)

# %% [markdown]
# <details><summary>Hint</summary>
#
# An adapter of rank $r$ on a matrix with $m$ inputs and $n$ outputs has $r(m+n)$ numbers.
#
# </details>

# %% [markdown] solution="real.counted"

# %%
shape = costs.shape_of(experiment.fresh())
numbers = shape.layers, shape.width, shape.inner, shape.heads, shape.kv_heads, shape.head
for name, rank in results.TRAINED.items():
    trained, held = trained_and_held(*numbers, shape.vocabulary, shape.tied, rank)
    print(f"rank {rank:>2}: {trained:>10,} of {held:,} numbers train: {trained / held:.2%}")
    measure(name, trained / held, "share of the base's numbers")
in_embedding = shape.vocabulary * shape.width / held
print(f"in the embedding: {in_embedding:.1%}")
measure("real.parameters", held, "parameters")
measure("real.in_embedding", in_embedding, "share of the parameters")

# %% [markdown]
# ## What a step takes
#
# `planning/memory.py` predicts the bytes of a training step, from the shape alone. Lab 08 checked it
# on models with random weights. Here it meets a real one and the course's own loop, in float32, with two
# rows of 128 tokens.

# %%
steps = {rank: costs.measure_step(rank) for rank in (0, costs.RANK)}
print(f"{'':12}{'states':>16}{'predicted':>10}{'peak':>10}{'predicted':>10}{'few logits':>12}")
for rank, told in steps.items():
    names = ("states", "predicted_states", "peak_everywhere", "predicted_peak", "peak")
    megabytes = [told[name] / 1e6 for name in names]
    print(
        f"{'LoRA' if rank else 'full tuning':12}{megabytes[0]:13,.0f} MB{megabytes[1]:10,.0f}"
        f"{megabytes[2]:10,.0f}{megabytes[3]:10,.0f}{megabytes[4]:12,.0f}"
    )
full, adapter = steps.values()
for name, (rank, what) in results.STEPS.items():
    measure(name, steps[rank][what] / 1e6, results.STEP_UNITS[what])
errors = [told["predicted_peak"] / told["peak_everywhere"] - 1 for told in steps.values()]
measure("real.peak_error", max(map(abs, errors)), "largest error of the predicted peak")
measure("real.step_ratio", adapter["seconds"] / full["seconds"], "LoRA's seconds / full tuning's")

# %% [markdown]
# *What to look at:* the formula knew neither the model nor its weights, and is right to within a percent.
# "Few logits" is the peak with logits only where labels count. LoRA's peak falls, since it lies at the
# loss. Full tuning's stays where it is: it comes later, when all gradients are there.
#
# An adapter is a file, and it can be merged. Here is one whose $B$ is drawn at random, as if it had
# learned something.

# %%
told = costs.measure_adapter()
print(f"on disk {told['adapter'] / 1e6:.1f} MB, beside {told['base'] / 1e6:.0f} MB of the base")
print(f"it changes a log-probability by up to {told['changed']:.2f}")
print(f"merged, the model differs from that by {told['merged']:.0e}; in PEFT by {told['peft']:.0e}")
print(f"reading takes {told['beside_seconds'] / told['merged_seconds']:.2f} times as long unmerged")
measure("real.adapter_mb", told["adapter"] / 1e6, "MB")
measure("real.base_mb", told["base"] / 1e6, "MB, in float32")
measure("real.merged_gap", told["merged"], "largest difference of a log-probability")
measure("real.peft_gap", told["peft"], "largest difference of a log-probability")

# %% [markdown]
# ## Learning rates
#
# Each way of tuning gets its own rate, chosen on messages of their own with one seed: 256 examples, 32
# steps of 8. Expected: LoRA's best rate is about ten times full tuning's, as practice has it, not twice, as
# in [lab 02](02_lora.ipynb). Rank 1 wants the higher rate, rank 64 the lower one. Random weights of
# the same shape learn the frame of the JSON at best.
#
# ### Exercise · choose a rate
#
# With several seeds, a rule of Breiman et al. (1984): the gentlest rate that is about as good as the
# best one.


# %%
@exercise("real.rate", points=3, minutes=14, difficulty=2)
def gentlest_rate(rates, losses):
    """The rate to take from a sweep, and whether the sweep should go on.

    It is the lowest rate whose mean loss is at most one standard error above the lowest
    mean; the standard error is the best rate's own: the standard deviation of its runs, with
    n − 1, over √n, and 0 for a single run. A rate at which any run diverged is out.
    rates: list of numbers, each another one, in any order
    losses: for each rate a list, one for each seed; NaN or inf where the run diverged
    returns the rate, and True if the rate with the lowest mean is the lowest or the highest
      of all rates; None if runs diverged at every rate
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(gentlest_rate)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Sort out first what diverged. `math.isfinite` knows NaN and inf.
#
# </details>

# %% [markdown] solution="real.rate"

# %%
rates, _ = sweep(experiment.RATES)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4))
results.draw_rates(axes, rates)
axes[0].legend(fontsize="small")
show(
    fig,
    "Right fields against the learning rate, and old questions that are still answered, for full tuning, "
    "three ranks and random weights; 256 examples, one seed.",
)
best = {}
for name, (start_, rank) in results.BEST_RATES.items():
    some = [row for row in rates if row["start"] == start_ and row["rank"] == rank]
    losses = [[experiment.missed(row)] for row in some]
    best[name], at_edge = gentlest_rate([row["rate"] for row in some], losses)
    way, edge = results.WAYS[start_, rank][0], "at the edge of the grid" if at_edge else ""
    print(f"{way:16} {best[name]:.0e} {edge}")
    measure(name, best[name], "learning rate that was best")
ratio = best["real.rate_r8"] / best["real.rate_full"]
measure("real.rate_ratio", ratio, "times full tuning's best rate")
for name, (what, rate) in results.ON_THE_WAY.items():
    value = select(rates, what, start="SmolLM2", rank=0, rate=rate)[0]
    measure(name, value, results.unit_of(what), seeds=[experiment.TUNING_SEED])

# %% [markdown]
# Expected was a factor of ten between LoRA and full tuning. It is three, on a grid of half steps of ten.
# The right-hand picture was no part of the expectation, and matters as much: the rate that is best for
# the task leaves full tuning none of its old answers.
#
# ## Tuning
#
# Each at its best rate, with three seeds and messages that no rate was chosen on. Expected: full
# tuning and rank 8 are within 5 points of each other in right fields, rank 1 a little behind;
# random weights get nothing right but by chance. Messages of another kind cost every way 15 points or
# more. Full tuning forgets more of the old instructions than LoRA.

# %%
tuned, _ = sweep(experiment.TUNED)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
results.draw_steps_up(axes, prompted, tuned)
show(
    fig,
    "From prompting to tuning: the share of right fields with no, four and eight solved messages in the "
    "prompt, and after tuning random weights, ranks 1, 8 and 64 and all parameters; lines are intervals, "
    "short strokes the records that are right in every field, one for each seed.",
)
for name, (what, start_, rank) in results.TUNED.items():
    values = select(tuned, what, start=start_, rank=rank)
    measure(name, values, results.unit_of(what), seeds=experiment.SEEDS)
for name, rank in results.LEADS.items():
    measure(
        name,
        results.leads(tuned, rank),
        "difference of the shares of right fields",
        seeds=experiment.SEEDS,
    )

# %% [markdown]
# *What to look at:* the ranks do not differ, random weights learn nothing in these steps, and on
# products that training never named every way reads badly; read `far_product`. And look at what is left
# of the old questions, all of which the untuned model answers, and at the loss on English prose:

# %%
before = costs.before_tuning()
print(f"answered before tuning: {before['answered']:.0%}")
measure("real.english_before", before["english"], results.UNITS["english"])
print(f"{'':16}{'fields':>8}{'answered':>10}{'English, nats':>15}")
for (start_, rank), (name, _) in results.WAYS.items():
    told = [
        statistics.fmean(select(tuned, what, start=start_, rank=rank))
        for what in ("fields", "answered", "english")
    ]
    print(f"{name:16}{told[0]:8.0%}{told[1]:10.0%}{told[2]:15.2f}")

# %% [markdown]
# Expected was that full tuning forgets more than LoRA. It does, of the questions; of English prose both
# lose about as much.
#
# ## How many examples
#
# Until here 256 examples were read once, in 32 steps. In as many steps 16 can be read sixteen times, or
# 64 four times; 1,024 are read once, in four times the steps. Expected: sixteen examples teach the
# frame, and each fourfold number adds 5 to 10 points of fields.

# %%
more, _ = sweep(experiment.EXAMPLES)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
results.draw_examples(axes, [*tuned, *more])
axes[0].set_ylabel("share of right fields")
axes[0].legend(fontsize="small")
show(
    fig,
    "Right fields against the number of examples, for full tuning and LoRA at rank 8, on messages of the "
    "usual kind and of another kind; one dot for each seed.",
)
for name, (what, rank, count) in results.EXAMPLES.items():
    values = select(more, what, rank=rank, examples=count)
    measure(name, values, results.unit_of(what), seeds=experiment.SEEDS)
for name, comparison in results.MORE_EXAMPLES.items():
    values = results.gained_by_more([*tuned, *more], *comparison)
    measure(name, values, "difference of the shares of right fields", seeds=experiment.SEEDS)

# %% [markdown]
# **Sixty-four examples, read four times, teach as much as 256 that are read once**, to an adapter and
# to full tuning. Sixteen teach far more than the frame, but with them full tuning falls behind. The last
# step to the right adds something; there the steps are four times as many, too, and which of the two
# helps is not known.
#
# ## Why it never stops
#
# A frequent complaint about models that were tuned at home: they answer, and go on answering until
# they are cut. Before you look at the loss, look at the labels.
#
# ### Exercise · what each row teaches


# %%
@exercise("real.why_endless", points=3, minutes=10, difficulty=2)
def why_endless(rows, end):
    """What each row teaches about the end of the answer's turn, one word for each row:

    "learned"   the last token that counts is the end
    "masked"    the last token that counts is another one, and the end stands right behind
                it, where it does not count
    "missing"   neither; also where nothing counts
    rows: list of (ids, labels), lists of equal length; a label of -100 does not count.
      The end may also stand in the prompt, and be the padding on the right: then an answer
      that was cut looks masked, too
    end: the token that ends a turn
    returns a list of words
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(why_endless)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Find the place of the last label that counts. Look at the label there, and at the id behind it.
#
# </details>

# %% [markdown] solution="real.why_endless"

# %% [markdown]
# ### Exercise · the silent bug
#
# Here are the labels as many scripts make them. They find padding by its id:
#
# ```python
# labels = ids.masked_fill(ids == pad_id, -100)
# ```
#
# In a model whose end of turn is its padding, that drops every end, and no loss looks wrong. Write the
# labels by position.


# %%
@exercise("real.silent_bug", points=4, minutes=12, difficulty=2)
def labels_by_position(ids, prompts, lengths):
    """Labels of rows that are padded on the right: the ids of the response, -100 elsewhere.

    ids: int tensor (batch, time)
    prompts: int tensor (batch,): tokens of each row's prompt
    lengths: int tensor (batch,): tokens of each row's prompt and response together, without
      padding; a response may be empty
    returns an int tensor (batch, time): a label stands where its token stands
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(labels_by_position)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.arange(ids.shape[1])` numbers the places. Compare it with `prompts[:, None]` and
# `lengths[:, None]`.
#
# </details>

# %% [markdown] solution="real.silent_bug"

# %% [markdown]
# What does it do to the real model? An adapter is tuned on sixteen demonstrations, for 8 steps and for
# 32, with labels by position and by id. Expected: by position nearly every answer ends by itself. By id
# the model still ends after 8 steps, since it could before; after 32 fewer than half of the answers end.
# The two runs of 8 steps with the first seed are made again here, with your `conversation` and
# your labels.

# %%
costs.give_back()
again = [{"counted": counted, "steps": 8, "seed": 0} for counted in (ends.BY_POSITION, ends.BY_ID)]
own = {"conversation": conversation, "labels_by_position": labels_by_position}
ended, _ = sweep(ends.ENDS, live=again, **own)
rows = [ends.in_tokens(message, conversation) for message in sample("train", 4, 0)]
end = chat.end_of_turn(tokenizer)
for counted in (ends.BY_POSITION, ends.BY_ID):
    ids, labels = ends.labelled(rows, counted, labels_by_position)
    print(f"{counted:12} {why_endless(list(zip(ids.tolist(), labels.tolist())), end)}")
for name, (counted, steps) in results.ENDS.items():
    values = select(ended, "stopped", counted=counted, steps=steps)
    measure(name, values, results.UNITS["stopped"], seeds=experiment.SEEDS)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
results.draw_ends(axes, ended)
show(
    fig,
    "The share of answers that end by themselves, and the share that are JSON, after 8 and 32 steps with "
    "labels by position and by id; a dot for each seed, a bar at the mean.",
)
print(select(ended, "said", counted=ends.BY_ID, steps=32, seed=0)[0])

# %% [markdown]
# *What to look at:* we were wrong. By id nothing teaches this model to end its turn, and nearly always it
# ends it all the same, after 32 steps as after 8. It has learned that before, in its own tuning on instructions, and a
# few hundred examples do not undo it. In [lab 01](01_sft.ipynb) the same line of code made a model
# useless, because that base had no such habit. So the bug is silent twice over: the loss does not show
# it, and a model that knows how to end does not either. Whoever tunes a raw base finds out.
#
# ## Learning from choices
#
# Now to something that no program can write down as a right answer: a reply to the customer. The shop
# wants replies that say sorry, name the product, are brief, come to an end and promise nothing. A
# program that no model sees gives each reply from −2 to 4 points, its *gold*.
#
# DPO needs pairs. The model itself writes two replies to each of 96 messages, and the program says which is
# better. An adapter at rank 8 is trained on the pairs, twice through. Two rates were tried on a seed of their
# own. Expected: gold rises by half a point or more, mostly by apologies and by replies that end;
# the log-probability of the chosen replies falls all the same, as in [lab 05](05_after_ppo.ipynb).

# %%
message = sample("test", 1, 4)[0]
for reply in ("So sorry about your {}. We look at it.", "Your {}? We send you a new one today."):
    reply = reply.format(message.record.product)
    print(f"{replies.gold(reply, message, True):+.0f}  {reply}")
chosen, _ = sweep(rewards.DPO)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
gains.draw_dpo(axes, chosen)
show(
    fig,
    "Left, what DPO changes in the log-probability of chosen and rejected replies, "
    "step by step. Right, gold and its parts before and after; three seeds.",
)
for name, (what, place) in gains.DPO.items():
    measure(name, select(chosen, gains.at(what, place)), gains.UNITS[what], seeds=rewards.SEEDS)
for name, (what, unit) in gains.DPO_CHANGES.items():
    measure(name, select(chosen, what), unit, seeds=rewards.SEEDS)

# %% [markdown]
# *What to look at:* gold rises with every seed, by a little less than expected, and not for the reason
# that we gave. Replies end by themselves, are half as long, and promise less; apologies hardly change.
# The log-probability of the chosen replies falls as expected, as long as the pairs are new. In the second
# pass, over pairs that the model has seen, it rises again: that is memory, and no news about other
# replies.
#
# ## Learning from a program
#
# GRPO samples eight answers to each message and reinforces those that are better than the others. The
# reward is the share of right fields, 0 for what is no record. It starts from two models: the untuned one
# with one solved message in its prompt, and one that had six steps of SFT on sixteen demonstrations. There are twelve
# steps, 32 answers in each. Expected: from the prompted model most groups earn nothing, all
# alike, and right fields hardly move; after some SFT they rise by a tenth or more. As in [lab 09](09_pipelines.ipynb):
# what is never drawn cannot be rewarded.

# %%
verified, _ = sweep(rewards.VERIFIED)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
gains.draw_verified(axes, verified)
axes[0].legend(fontsize="small")
show(
    fig,
    "GRPO with the program that checks records, from a prompted model and after some SFT: right fields "
    "among the sampled answers, and the share of groups whose answers all earn the same; three seeds and "
    "their mean.",
)
for name, (what, start_, place) in gains.VERIFIED.items():
    values = select(verified, gains.at(what, place), start=start_)
    measure(name, values, gains.UNITS[what], seeds=rewards.SEEDS)
for name, (what, start_, unit) in gains.VERIFIED_CHANGES.items():
    measure(name, select(verified, what, start=start_), unit, seeds=rewards.SEEDS)

# %%
tried, _ = sweep(rewards.VERIFIED_RATES)
for name, (what, rate) in gains.VERIFIED_RATES.items():
    value = select(tried, gains.at(what, gains.AFTER), rate=rate)[0]
    measure(name, value, gains.UNITS[what], seeds=[experiment.TUNING_SEED])

# %% [markdown]
# *What to look at:* after some SFT right fields rise with every seed, by more than expected. The prompted
# model was no hopeless case, and we were wrong about the reason: with one solved message nearly all of its
# answers are JSON, hardly a group is without a signal, and two seeds of three learn. And the rate
# that was best for SFT leaves no JSON at all.
#
# ## A rater with a weakness
#
# Replies again, and GRPO with two raters. One is the program. The other knows all that the
# program knows, and likes length: 0.1 points more for every word. Expected: both raters' scores
# rise. With the program gold rises by a point; with the one who is fond of length replies grow to the
# limit of 64 tokens, gold falls below where it began, and fewer replies end.

# %%
rated, _ = sweep(rewards.RATED)
fig, axes = plt.subplots(1, 3, figsize=(9, 3))
gains.draw_raters(axes, rated)
show(
    fig,
    "GRPO with two raters: what the rater pays against steps, and gold, some of its parts and the words "
    "of a reply before and after; three seeds each.",
)
for name, (what, rater, place) in gains.RATED.items():
    values = select(rated, gains.at(what, place), rater=rater)
    measure(name, values, gains.UNITS[what], seeds=rewards.SEEDS)
for name, (what, rater, unit) in gains.RATED_CHANGES.items():
    measure(name, select(rated, what, rater=rater), unit, seeds=rewards.SEEDS)

# %% [markdown]
# **The weakness is found within twelve steps.** Both raters pay more in the end. With the rater who is
# fond of length, replies become twice as long, few of them come to an end, and gold falls with every
# seed, although the penalty on leaving the base was in force. Longer replies apologise more often: what
# is paid for brings some good with it, and that hides the loss. With the program gold rises with every
# seed, for two of them mostly by apologies; for the third replies name the product more often.
#
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** One model, which has been tuned on instructions before; one task; three
# seeds, and one where rates were chosen. Its weights went through four bits. 135 million parameters are
# few.
#
# Back to the [chapter](../chapters/real-model.md).
