# %% [markdown]
# # Lab 07 · Choosing a method
#
# How do you choose between full tuning, an adapter and preferences? The document answers with rules:
# gates for memory, data and money, tables of what each method needs, and a tree. Here they are data.
# You write the functions that look for gaps and holes in such rules, and run them on the document's
# rules, and then on a decision table that is meant to do better. Five statements of the [document on
# trial](../chapters/document.md) are put to the test.
#
# **How to work through it.** As in [lab 01](01_sft.ipynb): run the cells from top to bottom; an
# exercise whose body is `...` uses the solution until you write your own; `check` names the mistake.
# The three exercises are worth 12 points; plan 40 minutes for them. Nothing is trained here, so the
# lab takes seconds.

# %%
from pathlib import Path

assert Path("course").is_dir(), (
    "this runs in the folder labs/: run the cell above that goes there, or open the lab by make lab"
)

import textwrap
from collections import Counter

import matplotlib.pyplot as plt
from course import (
    BLUE,
    GREY,
    ORANGE,
    CourseError,
    check,
    evidence,
    exercise,
    finish,
    measure,
    on_trial,
    show,
    start,
)
from experiments import choose as experiment
from planning import decide, rules
from planning.reports import EXAMPLES, MEANS, REPORTS, by_the_tree
from planning.rules import RLHF, SFT

lab = start("07_choose")

# %% [markdown]
# ## What is on trial
#
# Each entry is one statement of the document, what was expected before the first run, and the bound
# that the measurement below has to meet. The [ledger](../chapters/ledger.md) says how the outcome
# relates to the expectation.

# %%
on_trial()


# %% [markdown]
# ## The rules as data
#
# A *gate* sends each value of a quantity to methods. "Storage: <24GB → PEFT; 24-80GB → SFT; >80GB →
# RLHF" is one; section 5 has five. A *need* says how much of a quantity a method takes, such as
# "50-80GB" for SFT. Both stand word for word in `planning/rules.py`.

# %%
for gate in rules.GATES:
    print(gate.quote)
print()
for need in rules.NEEDS:
    print(f"{need.method:5} {need.quantity:9} {need.quote:28} {need.where}")

# %% [markdown]
# The needs, drawn on a line for each quantity. Where is a method missing?

# %%
fig, axes = plt.subplots(3, 1, figsize=(6.4, 4.2))
experiment.draw_needs(axes)
show(
    fig,
    "What each method needs of memory, examples and dollars, as bars on logarithmic axes. Between 15 "
    "and 50 GB, 5,000 and 10,000 examples, and 6,000 and 20,000 dollars there is no bar.",
)

# %% [markdown]
# ### Exercise · what no rule speaks of


# %%
@exercise("choose.uncovered", points=4, minutes=15, difficulty=2)
def uncovered(ranges):
    """The gaps between ranges: what lies between their lowest and highest end
    and in none of them.

    ranges: list of (low, high), in any order; they may overlap, touch or lie
      inside one another
    returns a list of (low, high), one for each gap, from low to high; empty
      where there is none
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(uncovered)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Put the ranges in order. As you go through them, what must you remember to know whether the next
# one leaves a gap?
#
# </details>

# %% [markdown] solution="choose.uncovered"

# %% [markdown]
# Your function on the document's needs. Each line is a gap: with so much, the document has no
# method for you.

# %%
gaps = experiment.gaps_by_quantity(uncovered)
for quantity, found in gaps.items():
    for low, high in found:
        print(f"{quantity:9} {low:>7,} to {high:>7,} {rules.UNITS[quantity]}")
if not any(gaps.values()):
    raise CourseError("no gap is found: run check(uncovered), or put the ... back")
measure("choose.gaps", sum(map(len, gaps.values())), "gaps between the methods' needs")

# %% [markdown]
# ## What contradicts what
#
# The linter in `planning/rules.py` compares all rules with each other. It finds faults of seven
# kinds, and for each a case that shows it.

# %%
faults = rules.lint()
for kind, number in Counter(fault.kind for fault in faults).items():
    print(f"{kind}: {number}")
    example = next(fault for fault in faults if fault.kind == kind)
    print(textwrap.fill(example.shown_by, 84, initial_indent="   ", subsequent_indent="   "))
measure("choose.faults", len(faults), "faults that the linter finds")

# %% [markdown]
# Five of them are statements of the ledger. How far apart are the two halves of each?

# %%
gate_of = {gate.quantity: gate for gate in rules.GATES}
evidence("C4.02", sum(fault.kind == "no sum" for fault in faults))
for claim, quantity in (("C5.07", "memory"), ("C5.08", "examples"), ("C5.09", "budget")):
    allowed_from = experiment.lowest_allowed(gate_of[quantity], SFT)
    evidence(claim, abs(experiment.lowest_need(SFT, quantity) - allowed_from))
pairs = [need.range.low for need in rules.NEEDS if need[:2] == (RLHF, "examples")]
evidence("C6.04", max(pairs) - min(pairs))

# %% [markdown]
# *What to look at:* the gates for memory, data and money each choose a method by themselves, as if
# the others were not there. With 100 GB and clear answers, one gate says RLHF and another SFT or
# PEFT.
#
# ## How many cases get an answer?
#
# Take a value from every range that some rule tells apart: 1,344 cases. In how many of them do the
# five gates leave a method? A fair reader will object that more memory also allows what less memory
# allows. So count a second time, with the gates *read generously*: "24-80GB → SFT" then means that
# 24 GB are enough for SFT, and that PEFT stays possible.

# %%
shares = experiment.shares_without_a_method()
for reading, by_answers in shares.items():
    print(reading, {answers: f"{share:.0%}" for answers, share in by_answers.items()})
measure("choose.cases", len(list(rules.cases())), "cases")
measure("choose.without_method", shares["as written"]["all"], "share of the cases")
measure("choose.without_method_generous", shares["read generously"]["all"], "share of the cases")
measure(
    "choose.without_method_clear",
    shares["read generously"]["clear"],
    "share of the cases with clear answers",
)
measure(
    "choose.without_method_subjective",
    shares["read generously"]["subjective"],
    "share of the cases with subjective answers",
)

# %%
fig, ax = plt.subplots(figsize=(6.4, 2.6))
experiment.draw_shares(ax, shares, (BLUE, ORANGE))
show(
    fig,
    "Share of cases that the five gates leave without a method, as written and read generously, for "
    "clear and for subjective answers. Read generously, clear answers always have a method and "
    "subjective ones almost never.",
)

# %% [markdown]
# *What to look at:* read generously, every team with clear answers gets a method. A team that needs
# preferences gets one only if it is advanced and has more than 80 GB, 10,000 pairs and 20,000
# dollars, all at once. The document's gates and tree know one way to learn preferences, and it is the
# dearest.
#
# ## A table that answers
#
# A better table asks other questions, in another order. Is fine-tuning needed at all? Which signals
# can you get? Its rows are read from the top, and the first that holds decides.


# %%
for present, absent, method, reason, claim in decide.TABLE:
    holds = [*present, *(f"no {name}" for name in absent)]
    print(f"{', '.join(holds) or 'anything else'}\n   → {method}: {reason} {claim}".rstrip())

# %% [markdown]
# ### Exercise · the first row that holds


# %%
@exercise("choose.first_row", points=4, minutes=10, difficulty=1)
def first_row(rows, facts):
    """The answer of the first row that holds, or None where none does.

    rows: list of (present, absent, answer); a row holds if all names in the
      list present are facts and none in the list absent is
    facts: list of the names that are true
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(first_row)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What does a row with nothing in `present` and nothing in `absent` ask for?
#
# </details>

# %% [markdown] solution="choose.first_row"

# %% [markdown]
# Your function on the table: what should somebody do who can get these?

# %%
plain = [(list(row.present), list(row.absent), row.method) for row in decide.TABLE]
for facts in (
    [decide.DEMONSTRATIONS],
    [decide.COMPARISONS, decide.SUCCEEDS],
    [decide.VERIFIER],
    [decide.VERIFIER, decide.DEMONSTRATIONS],
    [decide.PROMPT, decide.DEMONSTRATIONS],
):
    print(f"{', '.join(facts)}: {first_row(plain, facts)}")

# %% [markdown]
# ### Exercise · what a table forgets
#
# A table is *total* if some row holds whatever is true. How would you know?


# %%
@exercise("choose.holes", points=4, minutes=15, difficulty=2)
def holes(rows, names):
    """The sets of facts for which no row holds.

    rows: as in first_row
    names: list of all names that can be true
    returns a list of these sets, each a list of names, in any order
    """
    ...


# %%
# NBVAL_CHECK_OUTPUT
check(holes)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `itertools.combinations(names, count)` gives all sets of `count` names. Which counts are there?
#
# </details>

# %% [markdown] solution="choose.holes"

# %% [markdown]
# The whole table, and what each row is needed for: take it out, and see how many of the 64 sets of
# facts are answered otherwise or not at all.

# %%
missing = holes(plain, list(decide.FACTS))
print(f"sets of facts without an answer: {len(missing)}")
measure("choose.holes", len(missing), "sets of facts without an answer")
changed = [experiment.changed_without(plain, row, holes) for row in range(len(plain))]
if missing or not all(changed):
    raise CourseError("the table should be total: run check(holes), or put the ... back")

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.8))
experiment.draw_rows(ax, decide.TABLE, changed, GREY)
show(
    fig,
    "For each row of the decision table, the number of the 64 sets of facts that are answered "
    "otherwise when the row is taken out. No row is without use.",
)

# %% [markdown]
# ## The document's own examples
#
# Section 3 names ten examples, under the method for which they stand. Where do the document's tree
# and the table send them? The tree is asked twice, for a team with plenty of memory and money and for
# one with little. Which signals a task has, the document does not say; the usual ones are assumed.

# %%
print(f"{'example':28} {'listed':7} {'tree, plenty':13} {'tree, little':13} table")
for example in EXAMPLES:
    leaves = [by_the_tree(example, means) for means in MEANS]
    advice = decide.decide(example.situation).method
    print(f"{example.name:28} {example.listed:7} {leaves[0]:13} {leaves[1]:13} {advice}")
kept = [
    sum(by_the_tree(example, means) == example.listed for example in EXAMPLES) for means in MEANS
]
measure("choose.examples", len(EXAMPLES), "examples of the document")
measure("choose.examples_plenty", kept[0], "examples that the tree sends where they are listed")
measure("choose.examples_little", kept[1], "the same, for a team with little")

# %% [markdown]
# *What to look at:* with plenty of means, the tree never says PEFT, and the three examples of PEFT
# land elsewhere; with little, it never says anything else. Customer service is listed twice, under
# PEFT and under RLHF. And where facts change, as those of products and of medicine do, the table
# advises to look them up before anything is trained.
#
# ## What teams did
#
# Ten public reports, from Alpaca to Tina. What do the document's tree and the table advise to a
# team that had what they had? The table was written by people who knew these reports, so that it
# agrees is no evidence for it. The tree was not, and is given the best case: resources and budget
# are always sufficient.

# %%
print(f"{'report':26} {'did':42} {'tree':10} table")
for report in REPORTS:
    advice = decide.decide(report.situation).method
    print(f"{report.name:26} {report.did:42} {experiment.by_the_tree(report):10} {advice}")
agree = experiment.agreement(REPORTS)
measure("choose.reports", len(REPORTS), "public reports")
measure("choose.tree_agrees", agree["tree"], "reports in which the team did what the tree says")
measure("choose.table_agrees", agree["table"], "reports in which the team did what the table says")

# %% [markdown]
# *What to look at:* the tree is wrong where a verifier takes the place of demonstrations
# (DeepSeek-R1-Zero, Tina), and where a style is learned from demonstrations alone (LIMA). It is
# right about the large recipes of 2020 to 2023, which it describes. Where the table says DPO and a
# team used PPO, both learn from the same comparisons; the reports are from before DPO.
#
# ## Verdict

# %%
finish()

# %% [markdown]
# **What it does not show.** That the table's advice is good: it is a summary of what the other labs
# and the cited works found, with their limits. Costs are left out; they get a lab of their own. And
# the ten reports are ones that were published, and so mostly ones that worked.
#
# Back to the [chapter](../chapters/choosing.md).
