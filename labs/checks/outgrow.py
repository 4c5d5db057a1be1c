"""The checks of lab 12's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import contextlib
import copy
import functools
import itertools
import math
import operator
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from checks.pipelines import expect_numbers, lies_in, shared_memory
from checks.shared import (
    NO_GRADIENT,
    ONE_NUMBER,
    RETURNS_NOTHING,
    WRONG_SHAPE,
    as_loss,
    call,
    expect_on_all,
    in_place,
    in_words,
    kind_of,
    needs_gradient,
    needs_gradients,
    needs_shape_of,
    needs_something,
    needs_untouched,
    randoms,
    result,
    some_number,
    twice,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake
from methods import teamwork
from methods.teamwork import APART, MEAN_OF_MEANS, ONE_SEED, RIGHT, SAME_ROWS
from torch import Tensor

# Dealing out rows ---------------------------------------------------------------------------------

rows_of = Exercise("outgrow.rows_of", reference=teamwork.rows_of, minutes=12, difficulty=2)
LIKE_CARDS = "of each batch, every size-th row, beginning with the one at `rank`"
WHOLE_BATCHES = "there are len(order) // batch whole batches: go no further"
IN_ALL = "a process reads batch // size rows in a step: `batch` counts those of all together"
NOT_THE_ROWS = "these are not the rows of this process", LIKE_CARDS
LISTS_OF_ROWS = "a list of lists of row numbers is expected", "a list for each step"


def as_rows(value, *given) -> list:
    """A list of row numbers for each step; or a Mistake. A flat list stays one: it has a name."""
    try:
        return [list(map(whole, each)) if is_list(each) else whole(each) for each in as_list(value)]
    except (TypeError, ValueError):
        raise Mistake(*LISTS_OF_ROWS) from None


def as_list(value) -> list:
    """What was returned as a list, if it is a sequence of any kind; or a Mistake."""
    needs_something(value)
    if not is_list(value):
        raise Mistake(f"a list is expected, yours is {kind_of(value)}", next="return a list")
    return list(value)


def is_list(value) -> bool:
    return (
        isinstance(value, (list, tuple))
        or isinstance(value, (Tensor, np.ndarray))
        and value.ndim > 0
    )


def whole(value) -> int:
    """The value as a whole number. Raises TypeError or ValueError if it is none."""
    if int(value) != value:
        raise ValueError
    return int(value)


@wrong_part(rows_of)
def wrong_share(share):
    """Another part of each whole batch: a function of the batch, size and rank."""

    def wrong(order, batch, size, rank):
        return [share(rows, size, rank) for rows in whole_batches(order, batch)]

    return wrong


def whole_batches(order: Sequence[int], batch: int) -> list[list[int]]:
    return [list(order[step : step + batch]) for step in range(0, len(order) - batch + 1, batch)]


@wrong_share(
    "every process reads the whole batch, so every row counts several times", next=LIKE_CARDS
)
def whole_batch(rows, size, rank):
    return rows


@wrong_share("every process reads the rows of process 0", next="begin with the row at `rank`")
def same_rows_for_all(rows, size, rank):
    return rows[::size]


@wrong_share(
    "each process reads a block of the batch: the rows are dealt out one by one", next=LIKE_CARDS
)
def block_of_the_batch(rows, size, rank):
    own = len(rows) // size
    return rows[rank * own : (rank + 1) * own]


@wrong_share("rank counts from 0 on, and here it counts from 1", next="do not subtract 1")
def rank_from_1(rows, size, rank):
    return rows[rank - 1 :: size]


@wrong_share("the ranks go backwards", next="process 0 reads the first row of a batch")
def ranks_backwards(rows, size, rank):
    return rows[size - 1 - rank :: size]


@wrong_share("this is one row of each batch", next="and then process 0 again: deal out all rows")
def one_round(rows, size, rank):
    return rows[rank : rank + 1]


@wrong_share("`rank` is taken for the distance between two rows", next=LIKE_CARDS)
def size_and_rank_exchanged(rows, size, rank):
    return rows[size :: max(rank, 1)]


@wrong_share("the rows are sorted", next="keep the order in which they were shuffled")
def rows_sorted(rows, size, rank):
    return sorted(rows[rank::size])


@rows_of.wrong(
    "these are places in the order, not the numbers of the rows", next="look them up: order[place]"
)
def places(order, batch, size, rank):
    return teamwork.rows_of(range(len(order)), batch, size, rank)


@rows_of.wrong(
    "the rows are sorted before they are dealt out",
    next="keep the order in which they were shuffled",
)
def order_sorted(order, batch, size, rank):
    return teamwork.rows_of(sorted(order), batch, size, rank)


@rows_of.wrong(
    "each process reads a block of the whole order, so a step does not read one batch",
    next="take a batch first, then deal it out",
)
def block_of_the_order(order, batch, size, rank):
    kept = order[: len(order) // batch * batch]
    own, step = len(kept) // size, batch // size
    return whole_batches(kept[rank * own : (rank + 1) * own], step)


@rows_of.wrong("`batch` rows are read by this process alone", next=IN_ALL)
def batch_for_each_process(order, batch, size, rank):
    return whole_batches(order[rank::size], batch)


@rows_of.wrong(
    "whole batches are dealt out, and here it is the rows of each batch", next=LIKE_CARDS
)
def batches_dealt_out(order, batch, size, rank):
    return whole_batches(order, batch)[rank::size]


@rows_of.wrong(
    "the steps overlap: the next one begins a whole batch further", next="range(0, …, batch)"
)
def steps_overlap(order, batch, size, rank):
    steps = range(0, len(order) - batch + 1, batch // size)
    return [order[step + rank : step + batch : size] for step in steps]


@rows_of.wrong("what is left over at the end is read, and fills no batch", next=WHOLE_BATCHES)
def rest_kept(order, batch, size, rank):
    steps = range(0, len(order), batch)
    return [order[step + rank : step + batch : size] for step in steps]


@rows_of.wrong(
    "some processes read a step more than others: a rest may fill one process's share and no batch",
    next=WHOLE_BATCHES,
)
def own_shares_filled(order, batch, size, rank):
    return whole_batches(order[rank::size], batch // size)


@rows_of.wrong(
    "the rest is filled up with rows that were read before: they would count twice",
    next=WHOLE_BATCHES,
)
def filled_up_from_the_start(order, batch, size, rank):
    missing = -len(order) % batch
    return teamwork.rows_of((order * batch)[: len(order) + missing], batch, size, rank)


@rows_of.wrong(
    "the rest is filled up with rows that were read before: they would count twice",
    next=WHOLE_BATCHES,
)
def filled_up_with_the_last(order, batch, size, rank):
    missing = -len(order) % batch
    return teamwork.rows_of(order + order[-1:] * missing, batch, size, rank)


@rows_of.wrong("the last whole batch is left out", next=WHOLE_BATCHES)
def last_batch_missing(order, batch, size, rank):
    return [rows[rank::size] for rows in whole_batches(order, batch)[:-1]]


@rows_of.wrong("this is the first step alone", next="one list for each whole batch")
def first_step_alone(order, batch, size, rank):
    return teamwork.rows_of(order, batch, size, rank)[:1]


@rows_of.wrong("all steps stand in one list", next="one list for each step")
def in_one_list(order, batch, size, rank):
    return [row for rows in teamwork.rows_of(order, batch, size, rank) for row in rows]


@rows_of.wrong("the lists hold the rows of several steps each", next="one list for each step")
def columns(order, batch, size, rank):
    return list(map(list, zip(*teamwork.rows_of(order, batch, size, rank))))


@rows_of.wrong(*in_place("order"))
def dealt_from_the_order(order, batch, size, rank):
    found = []
    while len(order) >= batch:
        found.append(order[:batch][rank::size])
        del order[:batch]
    return found


@rows_of.wrong(*in_place("order"))
def rest_cut_off(order, batch, size, rank):
    del order[len(order) // batch * batch :]
    return teamwork.rows_of(order, batch, size, rank)


for _name in ("batch", "size"):
    rows_of.wrong(f"{_name} is taken to be the notebook's", next=f"use the argument {_name}")(
        with_the_notebooks(rows_of, _name)
    )


def of_every_rank(
    rng: random.Random, size: int, share: int, steps: int, rest: int = 0
) -> list[tuple]:
    """The function's arguments for each process of a team that reads `share` rows each in a step; the
    rows have any numbers, in any order."""
    length = size * share * steps + rest
    order = rng.sample(range(1000), length)
    return [(list(order), size * share, size, rank) for rank in range(size)]


@rows_of.check(points=2)
def deals_out_each_batch(student, seed):
    """Every process of three teams, several rows for each, and nothing left over."""
    rng = random.Random(seed)
    inputs = []
    for size in rng.sample((2, 3, 4, 5), 3):
        inputs += of_every_rank(rng, size, share=rng.randint(2, 4), steps=rng.randint(2, 4))
    expect_on_all(rows_of, student, inputs, NOT_THE_ROWS, as_rows)


@rows_of.check(points=1)
def leaves_the_rest_and_holds_for_any_team(student, seed):
    """A rest of one row and one of nearly a batch, less than a batch, exactly one, one row for each
    process, and a process that is alone."""
    rng = random.Random(seed)
    large, small = rng.randint(3, 5), rng.randint(2, 4)
    share = rng.randint(2, 3)
    inputs = [
        *of_every_rank(rng, large, share, steps=3, rest=1),
        *of_every_rank(rng, small, share, steps=2, rest=small * share - 1),
        *of_every_rank(rng, small, share, steps=0, rest=small * share - 1),
        *of_every_rank(rng, large, share, steps=1),
        *of_every_rank(rng, small, share=1, steps=4, rest=1),
        *of_every_rank(rng, 1, share=3, steps=3, rest=2),
        *of_every_rank(rng, 1, share=1, steps=5),
    ]
    expect_on_all(rows_of, student, inputs, NOT_THE_ROWS, as_rows)
    needs_untouched(rows_of, student, inputs[0])


# What a process minimises -------------------------------------------------------------------------

to_minimise = Exercise(
    "outgrow.to_minimise", reference=teamwork.to_minimise, minutes=12, difficulty=2
)
SHARE = "add up the losses, multiply by the number of processes, divide by the tokens of all"
MAKE_UP = "DDP divides by len(counts): multiply by it once"
OF_ALL = "divide by sum(counts), the tokens of all processes"
NOT_WHAT_TO_MINIMISE = "the average over the processes is not the mean over all tokens", SHARE
MEAN_OF_NOTHING = (
    "a process without a token gets NaN, and one NaN spoils the average",
    "add up first: the sum of no losses is 0, and their mean is 0 / 0",
)
LEADS_NOWHERE = (
    "without tokens the result does not come from losses: its backward pass reaches no parameter, and "
    "the other processes wait for this one's gradients",
    "add up first: the sum of no losses is 0, and comes from them",
)


@wrong_part(to_minimise)
def wrong_factor(factor):
    """The sum of the losses with another factor: a function of the counts and of the tokens here."""
    return lambda losses, counts: losses.sum() * factor(counts, len(losses))


@wrong_factor(
    "this is the mean over this process's tokens, and the average of such means is another number",
    next=SHARE,
)
def own_mean(counts, own):
    return 1 / max(own, 1)


@wrong_factor("DDP averages, and this does not make up for it", next=MAKE_UP)
def without_the_processes(counts, own):
    return 1 / sum(counts)


@wrong_factor("the number of processes is multiplied with twice", next=MAKE_UP)
def processes_twice(counts, own):
    return len(counts) ** 2 / sum(counts)


@wrong_factor("this divides by the number of processes, as DDP does already", next=MAKE_UP)
def divided_by_the_processes(counts, own):
    return 1 / sum(counts) / len(counts)


@wrong_factor("the mean over this process's tokens is no share of the mean over all", next=OF_ALL)
def own_mean_times_processes(counts, own):
    return len(counts) / max(own, 1)


@wrong_factor("the mean over this process's tokens is no share of the mean over all", next=OF_ALL)
def own_mean_over_processes(counts, own):
    return 1 / len(counts) / max(own, 1)


@wrong_factor("this is the sum: long batches would take larger steps", next=OF_ALL)
def summed(counts, own):
    return 1


@wrong_factor("this is the sum: long batches would take larger steps", next=OF_ALL)
def sum_times_processes(counts, own):
    return len(counts)


@wrong_factor("the first process's count is taken for that of all", next=OF_ALL)
def first_count(counts, own):
    return 1 / max(counts[0], 1)


@wrong_factor("the largest count is taken for that of all", next=OF_ALL)
def largest_count(counts, own):
    return 1 / max(counts)


@wrong_factor("this process's own tokens are left out of the sum", next=OF_ALL)
def count_of_the_others(counts, own):
    return len(counts) / max(sum(counts) - own, 1)


@wrong_factor("the mean count is rounded", next="divide with /, not with //")
def mean_count_rounded(counts, own):
    return 1 / max(sum(counts) // len(counts), 1)


@wrong_factor("the share of this process is counted twice: once in its sum, once more", next=SHARE)
def own_share_again(counts, own):
    return len(counts) * own / sum(counts)


@wrong_factor(
    "processes without a token are left out, and DDP averages over them as well",
    next="multiply by len(counts)",
)
def processes_with_tokens(counts, own):
    return sum(count > 0 for count in counts) / sum(counts)


@to_minimise.wrong(*ONE_NUMBER)
def for_each_token(losses, counts):
    return losses * (len(counts) / sum(counts))


@to_minimise.wrong("the mean is taken on top of the share", next="add the losses up")
def mean_of_the_share(losses, counts):
    return (losses * (len(counts) / sum(counts))).mean()


@to_minimise.wrong(*MEAN_OF_NOTHING)
def mean_times_its_count(losses, counts):
    return losses.mean() * (len(losses) * len(counts) / sum(counts))


@to_minimise.wrong(*NO_GRADIENT)
def as_a_number(losses, counts):
    return teamwork.to_minimise(losses, counts).item()


@to_minimise.wrong(*NO_GRADIENT)
def detached(losses, counts):
    return teamwork.to_minimise(losses.detach(), counts)


@to_minimise.wrong(*LEADS_NOWHERE)
def plain_zero_without_tokens(losses, counts):
    return teamwork.to_minimise(losses, counts) if len(losses) else torch.zeros(())


@to_minimise.wrong(*LEADS_NOWHERE)
def zero_of_its_own_without_tokens(losses, counts):
    right = teamwork.to_minimise(losses, counts)
    return right if len(losses) else torch.zeros((), requires_grad=True)


@to_minimise.wrong(*in_place("losses"))
def losses_in_place(losses, counts):
    losses.data.mul_(len(counts) / sum(counts))
    return losses.sum()


@to_minimise.wrong(*in_place("counts"))
def counts_in_place(losses, counts):
    counts.sort()
    return teamwork.to_minimise(losses, counts)


to_minimise.wrong("counts is taken to be the notebook's", next="use the argument counts")(
    with_the_notebooks(to_minimise, "counts")
)


def of_every_process(seed: int, counts: list[int]) -> list[tuple[Tensor, list[int]]]:
    """The function's arguments for each process of a team."""
    kind = random.Random(seed).choice((torch.float32, torch.float64))
    losses = [randoms(seed + place, count).abs() + 0.1 for place, count in enumerate(counts)]
    return [(own.to(kind).requires_grad_(), list(counts)) for own in losses]


def unequal_counts(rng: random.Random, size: int) -> list[int]:
    """As many different counts, not in order, and their mean is not whole."""
    counts = rng.sample(range(2, 30), size)
    while sum(counts) % size == 0 or counts == sorted(counts):
        counts = rng.sample(range(2, 30), size)
    return counts


def counts_with_a_whole_mean(rng: random.Random) -> list[int]:
    """Three different counts whose mean is whole, and none of them."""
    first = rng.randint(2, 20)
    return rng.sample([first, first + 2, first + 7], 3)


def unequal_teams(seed: int) -> list[tuple[Tensor, list[int]]]:
    """Every process of three teams of different size."""
    rng = random.Random(seed)
    sizes = rng.sample((2, 3, 4, 5), 3)
    teams = [of_every_process(100 * seed + size, unequal_counts(rng, size)) for size in sizes]
    return [given for team in teams for given in team]


@to_minimise.check(points=2)
def is_a_share_of_the_mean_over_all_tokens(student, seed):
    """Every process of three teams, with another count in each process."""
    expect_numbers(to_minimise, student, unequal_teams(seed), NOT_WHAT_TO_MINIMISE, as_loss)


@to_minimise.wrong("the gradient in losses is another one", next=SHARE)
def zeros_left_out(losses, counts):
    return teamwork.to_minimise(losses[losses > 0], counts)


@to_minimise.wrong(
    "counts are taken to be equal where the number of processes divides their sum", next=OF_ALL
)
def equal_where_it_divides(losses, counts):
    if len(losses) and sum(counts) % len(counts) == 0:
        return losses.mean()
    return teamwork.to_minimise(losses, counts)


@to_minimise.check(points=1)
def passes_the_gradient_on(student, seed):
    """A loss of 0 among the others: a token that was certain."""
    for losses, counts in unequal_teams(seed + 50):
        losses = losses.detach().clone()
        losses[len(losses) // 2] = 0
        given = losses.requires_grad_(), counts
        needs_gradients(to_minimise, student, given, "losses", next=SHARE)


@to_minimise.check(points=1)
def holds_where_no_token_counts(student, seed):
    """Processes without a token and their teams, equal counts, counts whose mean is whole, and a
    process that is alone."""
    rng = random.Random(seed)
    some = unequal_counts(rng, 3)
    teams = [[*some, 0], [0, *some[:2]], [0, some[2], 0, 0], [0, some[0]], [some[1]] * 3, some[:1]]
    teams.append(counts_with_a_whole_mean(rng))
    inputs = [
        given
        for step, counts in enumerate(teams)
        for given in of_every_process(100 * seed + 10 * step, counts)
    ]
    for given in inputs:
        if len(given[0]):
            needs_gradient(call(student, given))
        else:
            needs_a_zero_that_leads_to_losses(student, given)
    expect_numbers(to_minimise, student, inputs, NOT_WHAT_TO_MINIMISE, as_loss)


def needs_a_zero_that_leads_to_losses(student: Callable, given: tuple[Tensor, list[int]]) -> None:
    losses, counts = copy.deepcopy(given)
    value = student(losses, counts)
    if not torch.isfinite(result(value)).all():
        raise Mistake(*MEAN_OF_NOTHING)
    if isinstance(value, Tensor) and value.requires_grad:
        value.sum().backward()
    if losses.grad is None:
        raise Mistake(*LEADS_NOWHERE)


# Gradients that add up ----------------------------------------------------------------------------

part_weights = Exercise(
    "outgrow.part_weights", reference=teamwork.part_weights, minutes=15, difficulty=2
)
WEIGHT = "the part's tokens, times the number of processes, divided by the tokens of all"
PROCESSES = "DDP divides by len(counts): multiply by it once"
OF_ALL_PARTS = "divide by the tokens of all parts of all processes"
ADD_UP = "the gradients of a process's parts add up: nothing has to make up for their number"
NOT_THE_WEIGHTS = "the outcome is not the gradient of the mean over all tokens", WEIGHT
A_LIST_EACH = "a list for each process is expected", "weights in lists as the counts are"
EACH_PART = "each part needs a number", "one without a token gets 0"
NOTHING_TO_DIVIDE = (
    "your function divides by 0 where a process has no token",
    f"{OF_ALL_PARTS}: that is never 0",
)


def as_weights(value, counts) -> Tensor:
    """All weights, one process after the other; or a Mistake."""
    lists = as_list(value)
    if not all(map(is_list, lists)) or len(lists) != len(counts):
        raise Mistake(*A_LIST_EACH)
    for own, parts in zip(lists, counts):
        if len(own) != len(parts):
            told = f"{EACH_PART[0]}: a process has {len(parts)} parts, and you give {len(own)}"
            raise Mistake(told, next=EACH_PART[1])
    return torch.tensor([as_number(each) for own in lists for each in own], dtype=torch.double)


def as_number(value) -> float:
    """A weight as a number of Python's; or a Mistake. A fraction is none: a grader's worker could not
    send it."""
    if isinstance(value, (int, float, np.number, Tensor, np.ndarray)) and not is_list(value):
        return float(value)
    raise Mistake(
        f"a weight is a number, yours is {kind_of(value)}", next="float() makes one of it"
    )


@wrong_part(part_weights)
def wrong_weight(weight):
    """Another weight of a part: a function of its tokens, of the counts of its process's parts, and of
    all counts. A part without a token gets 0."""

    def wrong(counts):
        return [[weight(n, parts, counts) if n else 0.0 for n in parts] for parts in counts]

    return wrong


def tokens_of_all(counts: Iterable[Sequence[int]]) -> int:
    return sum(map(sum, counts))


@wrong_weight("every part's mean is taken as it is", next=WEIGHT)
def all_one(n, parts, counts):
    return 1.0


@part_weights.wrong("every part's mean is taken as it is", next=WEIGHT)
def really_all_one(counts):
    return [[1.0] * len(parts) for parts in counts]


@wrong_weight(
    "the parts of a process are averaged as if all of them had the same number of tokens",
    next=WEIGHT,
)
def one_by_the_parts(n, parts, counts):
    return 1 / len(parts)


@wrong_weight(
    "the parts of a process are averaged as if all of them had the same number of tokens",
    next=WEIGHT,
)
def one_by_the_parts_with_tokens(n, parts, counts):
    return 1 / sum(count > 0 for count in parts)


@wrong_weight("all parts are averaged as if they had the same number of tokens", next=WEIGHT)
def one_by_all_parts(n, parts, counts):
    return len(counts) / sum(map(len, counts))


@wrong_weight(
    "this is right inside each process, and then the processes' means are averaged",
    next=OF_ALL_PARTS,
)
def by_the_own_tokens(n, parts, counts):
    return n / sum(parts)


@wrong_weight("DDP averages, and this does not make up for it", next=PROCESSES)
def processes_forgotten(n, parts, counts):
    return n / tokens_of_all(counts)


@wrong_weight("the number of processes is multiplied with twice", next=PROCESSES)
def processes_counted_twice(n, parts, counts):
    return len(counts) ** 2 * n / tokens_of_all(counts)


@wrong_weight("this divides by the number of processes, as DDP does already", next=PROCESSES)
def divided_as_ddp_does(n, parts, counts):
    return n / tokens_of_all(counts) / len(counts)


@wrong_weight("it is divided by the number of parts, and nobody averages these", next=ADD_UP)
def divided_by_the_parts(n, parts, counts):
    return len(counts) * n / tokens_of_all(counts) / len(parts)


@wrong_weight("it is multiplied by the number of parts, and nobody averages these", next=ADD_UP)
def multiplied_by_the_parts(n, parts, counts):
    return len(counts) * len(parts) * n / tokens_of_all(counts)


@wrong_weight(
    "parts are counted where processes should be", next="len(counts) is the number of processes"
)
def parts_for_processes(n, parts, counts):
    return sum(map(len, counts)) * n / tokens_of_all(counts)


@wrong_weight(
    "every process is taken to have as many parts as the first one",
    next="and nobody averages parts",
)
def parts_of_the_first(n, parts, counts):
    return 1 / len(counts[0])


@wrong_weight(
    "every process is taken to have as many parts as the first one",
    next="and nobody averages parts",
)
def divided_by_the_parts_of_the_first(n, parts, counts):
    return len(counts) * n / tokens_of_all(counts) / len(counts[0])


@wrong_weight(
    "these are weights for sums: a part's mean is divided by its tokens already",
    next="multiply by the part's tokens",
)
def weights_of_sums(n, parts, counts):
    return len(counts) / tokens_of_all(counts)


@wrong_weight("these are the counts: nothing divides by all tokens", next=OF_ALL_PARTS)
def counts_as_they_are(n, parts, counts):
    return n


@wrong_weight("these are the counts: nothing divides by all tokens", next=OF_ALL_PARTS)
def counts_times_processes(n, parts, counts):
    return n * len(counts)


@wrong_weight("the fraction is upside down", next=WEIGHT)
def upside_down(n, parts, counts):
    return tokens_of_all(counts) / (len(counts) * n)


@wrong_weight("the largest part is taken for all tokens", next=OF_ALL_PARTS)
def by_the_largest(n, parts, counts):
    return n / max(map(max, counts))


@wrong_weight("the weights are whole numbers: most of them become 0", next="divide with /, not //")
def whole_weights(n, parts, counts):
    return len(counts) * n // tokens_of_all(counts)


@wrong_weight(
    "processes without a token are left out, and DDP averages over them as well",
    next="multiply by len(counts)",
)
def processes_that_have_tokens(n, parts, counts):
    return sum(any(own) for own in counts) * n / tokens_of_all(counts)


@part_weights.wrong(
    "a part without a token gets a weight, and its mean is 0 / 0", next=EACH_PART[1]
)
def empty_parts_weigh(counts):
    factor = len(counts) / tokens_of_all(counts)
    return [[factor * max(n, 1) for n in parts] for parts in counts]


@part_weights.wrong(*NOTHING_TO_DIVIDE)
def by_way_of_the_process(counts):
    whole = tokens_of_all(counts)
    return [[n / sum(own) * (len(counts) * sum(own) / whole) for n in own] for own in counts]


@part_weights.wrong(*EACH_PART)
def empty_parts_left_out(counts):
    return [[n for n in own if n] for own in teamwork.part_weights(counts)]


@part_weights.wrong(*A_LIST_EACH)
def flat_weights(counts):
    return sum(teamwork.part_weights(counts), [])


@part_weights.wrong(*A_LIST_EACH)
def empty_processes_left_out(counts):
    return [own for own in teamwork.part_weights(counts) if any(own)]


@part_weights.wrong(*in_place("counts"))
def weights_in_place(counts):
    factor = len(counts) / tokens_of_all(counts)
    for parts in counts:
        parts[:] = [factor * n for n in parts]
    return [list(parts) for parts in counts]


def some_counts(rng: random.Random, size: int) -> list[list[int]]:
    """Processes with different numbers of parts, where there are two; all counts differ."""
    lengths = [rng.randint(1, 5) for _ in range(size)]
    lengths[0] = rng.choice([length for length in range(1, 6) if length not in lengths[1:]])
    counts = iter(rng.sample(range(2, 60), sum(lengths)))
    return [list(itertools.islice(counts, length)) for length in lengths]


def expect_weights(student: Callable, inputs: list[tuple]) -> None:
    with in_words(ZeroDivisionError, *NOTHING_TO_DIVIDE):
        expect_numbers(part_weights, student, inputs, NOT_THE_WEIGHTS, as_weights)


@part_weights.check(points=2)
def weighs_all_tokens_alike(student, seed):
    """Teams with different numbers of parts, and another count in each part."""
    rng = random.Random(seed)
    inputs = [(some_counts(rng, size),) for size in rng.sample((2, 3, 4, 5), 3)]
    expect_weights(student, inputs)


@part_weights.check(points=1)
def gives_a_part_without_a_token_0(student, seed):
    """Empty parts at the end and at the beginning, and processes in which all parts are empty."""
    rng = random.Random(seed)
    inputs = []
    for size in rng.sample((2, 3, 4, 5), 2):
        counts = some_counts(rng, size)
        counts[rng.randrange(size)].append(0)
        counts[rng.randrange(size)].insert(0, 0)
        inputs.append((counts,))
        nothing = [0] * rng.randint(1, 3)
        inputs += [([*counts, nothing],), ([nothing, *counts],)]
    expect_weights(student, inputs)


@part_weights.check(points=1)
def holds_for_any_team(student, seed):
    """A process that is alone, teams with one part each, and equal counts in all parts."""
    rng = random.Random(seed)
    size, number = rng.randint(2, 5), rng.randint(1, 60)
    single = rng.sample(range(1, 60), size)
    inputs = [
        ([rng.sample(range(1, 60), rng.randint(2, 5))],),
        ([[n] for n in single],),
        ([[number] * (1 + place) for place in range(size)],),
        ([[number] * 3 for _ in range(size)],),
        ([[number]],),
    ]
    expect_weights(student, inputs)
    needs_untouched(part_weights, student, (some_counts(rng, size),))


# The silent bug: the length of a gradient in shards -----------------------------------------------

silent_bug = Exercise("outgrow.silent_bug", reference=teamwork.clipped, minutes=15, difficulty=2)
SQUARES = "add up the squares of all shards' numbers, and take the root once"
ONE_FACTOR = "all shards shrink by the same factor, limit / length"
ONLY_IF_LONGER = "no factor above 1: min(1, limit / length)"
NOT_CLIPPED = "this is not the gradient at the length of the limit", f"{SQUARES}; {ONE_FACTOR}"
NOT_LEFT_ALONE = (
    "a gradient that is not longer than the limit comes back as another one",
    f"{SQUARES}; {ONLY_IF_LONGER}",
)
OF_ZEROS = (
    "a gradient of zeros cannot be divided by its length",
    "where the length is 0 there is nothing to shorten",
)
ONE_TENSOR_EACH = "a list with a tensor for each shard is expected", "go through the shards"
IN_ONE_PIECE = (
    "a shard whose numbers do not lie in one piece in memory, such as a transposed one, fails",
    "flatten() and reshape(-1) take any tensor, view(-1) does not",
)
ITS_SHAPE = "multiply each shard as it is: every tensor keeps its shard's shape"


def as_gradient(value, shards, limit) -> Tensor:
    """All numbers of the gradient, one shard after the other; or a Mistake."""
    needs_something(value)
    if not isinstance(value, (list, tuple)) or len(value) != len(shards):
        raise Mistake(*ONE_TENSOR_EACH)
    found = [result(each) for each in value]
    for one, shard in zip(found, shards):
        needs_tensor_of_shape(one, shard)
    return torch.cat([one.flatten() for one in found])


def needs_tensor_of_shape(one: Tensor, shard: Tensor) -> None:
    if shard.ndim:
        needs_shape_of(shard, one, ITS_SHAPE)
    elif one.ndim:  # not in the words for a loss
        raise Mistake(f"{WRONG_SHAPE} (), yours has {tuple(one.shape)}", next=ITS_SHAPE)


def shortened(shards: Iterable[Tensor], length: float, limit: float) -> list[Tensor]:
    """The shards as if the gradient had this length."""
    factor = min(1.0, limit / length) if length else 1.0
    return [shard * factor for shard in shards]


def length_of(shards: Iterable[Tensor]) -> float:
    return math.sqrt(sum(shard.double().square().sum().item() for shard in shards))


@silent_bug.wrong("nothing is shortened", next=ONE_FACTOR)
def as_it_was(shards, limit):
    return [shard.clone() for shard in shards]


@wrong_part(silent_bug)
def wrong_length(length):
    """All shards shrink by the same factor; the gradient's length is another function of them."""
    return lambda shards, limit: shortened(shards, length(shards), limit)


@wrong_length("the lengths of the shards are added up: their squares have to be", next=SQUARES)
def sum_of_lengths(shards):
    return sum(length_of([shard]) for shard in shards)


@wrong_length("the longest shard is taken for the whole gradient", next=SQUARES)
def largest_length(shards):
    return max(length_of([shard]) for shard in shards)


@wrong_length("the lengths of the shards are averaged", next=SQUARES)
def mean_of_lengths(shards):
    return sum_of_lengths(shards) / len(shards)


@wrong_length("the squares are averaged over the processes, not added up", next=SQUARES)
def mean_over_the_processes(shards):
    return length_of(shards) / math.sqrt(len(shards))


@wrong_length("the squares are averaged over the numbers, not added up", next=SQUARES)
def mean_over_the_numbers(shards):
    return length_of(shards) / math.sqrt(max(sum(shard.numel() for shard in shards), 1))


@wrong_length("the first shard is taken for the whole gradient", next=SQUARES)
def first_shard(shards):
    return length_of(shards[:1])


@wrong_length("the root is missing: this is the square of the length", next="√Σ g²")
def no_root(shards):
    return length_of(shards) ** 2


@wrong_length("the numbers are added up without their signs, not squared", next="√Σ g²")
def sum_without_signs(shards):
    return sum(shard.abs().sum().item() for shard in shards)


@wrong_length("this limits the largest number, not the length", next="√Σ g²")
def largest_number(shards):
    return max(shard.abs().max().item() if shard.numel() else 0.0 for shard in shards)


@wrong_part(silent_bug)
def wrong_shard(shorten):
    """Each shard by itself: a function of the shard, the limit and the number of processes."""
    return lambda shards, limit: [shorten(shard, limit, len(shards)) for shard in shards]


@wrong_shard(
    "the bug is still there: each shard has its own factor, so the direction changes",
    next=f"{SQUARES}; {ONE_FACTOR}",
)
def own_lengths(shard, limit, processes):
    return shortened([shard], length_of([shard]), limit)[0]


@wrong_shard(
    "each shard is limited to its part of the limit, so the direction changes", next=ONE_FACTOR
)
def part_of_the_limit(shard, limit, processes):
    return shortened([shard], length_of([shard]), limit / processes)[0]


@wrong_shard(
    "each shard is limited to its part of the limit, so the direction changes", next=ONE_FACTOR
)
def root_part_of_the_limit(shard, limit, processes):
    return shortened([shard], length_of([shard]), limit / math.sqrt(processes))[0]


@wrong_shard("each number is limited by itself, so the direction changes", next=ONE_FACTOR)
def each_number(shard, limit, processes):
    return shard.clamp(-limit, limit)


@wrong_part(silent_bug)
def wrong_where_longer(shorten):
    """What becomes of each shard of a gradient that is longer: a function of the shard, the right
    factor and the limit."""

    def wrong(shards, limit):
        length = length_of(shards)
        if length <= limit:
            return [shard.clone() for shard in shards]
        return [shorten(shard, limit / length, limit) for shard in shards]

    return wrong


@wrong_where_longer(
    "only the shards that are longer than the limit by themselves are shortened", next=ONE_FACTOR
)
def long_shards_alone(shard, factor, limit):
    return shard * factor if length_of([shard]) > limit else shard.clone()


@wrong_where_longer("a gradient that is too long becomes 0", next=ONE_FACTOR)
def dropped(shard, factor, limit):
    return torch.zeros_like(shard)


@wrong_where_longer("a gradient that is too long gets the length 1, not the limit", next=ONE_FACTOR)
def unit_length(shard, factor, limit):
    return shard * (factor / limit)


@wrong_where_longer("the factor is upside down: this gets longer still", next=ONE_FACTOR)
def longer_still(shard, factor, limit):
    return shard / factor


@wrong_where_longer("the factor is applied twice", next=ONE_FACTOR)
def factor_twice(shard, factor, limit):
    return shard * factor**2


@silent_bug.wrong("a short gradient is stretched to the limit", next=ONLY_IF_LONGER)
def stretched(shards, limit):
    length = length_of(shards)
    return [shard * (limit / length if length else 1.0) for shard in shards]


@silent_bug.wrong("a short gradient is stretched, and a long one stays", next=ONLY_IF_LONGER)
def stretched_alone(shards, limit):
    length = length_of(shards)
    return [shard * (max(1.0, limit / length) if length else 1.0) for shard in shards]


@silent_bug.wrong(*OF_ZEROS)
def divided_by_its_length(shards, limit):
    length = torch.tensor(length_of(shards))
    return [shard / length * length.clamp(max=limit) for shard in shards]


@silent_bug.wrong(*OF_ZEROS)
def divided_by_zero(shards, limit):
    return [shard * min(1.0, limit / length_of(shards)) for shard in shards]


@silent_bug.wrong(*in_place("shards"))
def shortened_in_place(shards, limit):
    factor = min(1.0, limit / max(length_of(shards), 1e-30))
    return [shard.mul_(factor).clone() for shard in shards]


@silent_bug.wrong(*in_place("shards"))
def replaced_in_the_list(shards, limit):
    shards[:] = teamwork.clipped(shards, limit)
    return [shard.clone() for shard in shards]


@silent_bug.wrong(*shared_memory("shards"))
def itself_where_it_is_short(shards, limit):
    return list(shards) if length_of(shards) <= limit else teamwork.clipped(shards, limit)


@silent_bug.wrong(WRONG_SHAPE, next=ITS_SHAPE)
def flattened(shards, limit):
    return [shard.flatten() for shard in teamwork.clipped(shards, limit)]


@silent_bug.wrong(*IN_ONE_PIECE)
def by_view(shards, limit):
    length = length_of([shard.view(-1) for shard in shards])
    return shortened(shards, length, limit)


@silent_bug.wrong(*ONE_TENSOR_EACH)
def one_tensor(shards, limit):
    return torch.cat([shard.flatten() for shard in teamwork.clipped(shards, limit)])


@silent_bug.wrong(*RETURNS_NOTHING)
def shortened_in_silence(shards, limit):
    shards[:] = teamwork.clipped(shards, limit)


silent_bug.wrong("the limit is taken to be the notebook's", next="use the argument limit")(
    with_the_notebooks(silent_bug, "limit")
)

SHAPES = ((5,), (2, 3), (1, 4), (2, 1, 3), (3, 2), (7,))


def some_shards(seed: int, lengths: Sequence[float]) -> list[Tensor]:
    """A shard of each length. The first is a single number, so that it is as long itself; the last has
    two dimensions."""
    rng = random.Random(seed)
    kind = rng.choice((torch.float32, torch.float64))
    shapes = [rng.choice(((), (1,), (1, 1))), *rng.choices(SHAPES, k=max(len(lengths) - 2, 0))]
    shapes = [*shapes[: len(lengths) - 1], rng.choice(((2, 3), (4, 2)))]
    shards = [randoms(seed + place, *shape).to(kind) for place, shape in enumerate(shapes)]
    return [shard * (length / shard.norm()) for shard, length in zip(shards, lengths)]


def longer_in_some(seed: int, size: int, limit: float) -> list[Tensor]:
    """The whole is too long, the first shard is so by itself, and all others are not."""
    rng = random.Random(seed)
    others = [rng.uniform(0.3, 0.8) * limit for _ in range(size - 1)]
    return some_shards(seed, [rng.uniform(3, 5) * limit, *others])


def longer_together(seed: int, size: int, limit: float) -> list[Tensor]:
    """The whole is too long, and no shard is so by itself."""
    rng = random.Random(seed)
    return some_shards(seed, [rng.uniform(0.8, 0.95) * limit for _ in range(size)])


def shorter(seed: int, size: int, limit: float) -> list[Tensor]:
    """The whole is short enough, and its shards' lengths add up to more than the limit if there are
    several."""
    rng = random.Random(seed)
    return some_shards(seed, [rng.uniform(0.8, 0.95) * limit / size**0.5 for _ in range(size)])


def as_long_as_the_limit(seed: int) -> tuple[list[Tensor], int]:
    """Three and four in two shards, and five for the limit, or multiples of them."""
    rng = random.Random(seed)
    scale = rng.choice((1, 2, 4, 8))
    three, four = torch.zeros(2, 3), torch.zeros(rng.randint(2, 5))
    three[rng.randrange(2), rng.randrange(3)] = 3.0 * scale
    four[rng.randrange(len(four))] = -4.0 * scale
    return rng.sample([three, four], 2), 5 * scale


@silent_bug.check(points=2)
@twice
def shortens_the_whole_gradient(student, seed):
    """Two to five shards, and one: too long in one of them, or only together."""
    rng = random.Random(seed)
    inputs = []
    for size in rng.sample((2, 3, 4, 5), 2):
        for make in (longer_in_some, longer_together):
            limit = rng.uniform(0.5, 5)
            inputs.append((make(100 * seed + 10 * len(inputs), size, limit), limit))
    alone = some_number(seed, 0.5, 5)
    inputs.append((some_shards(seed, [rng.uniform(4, 6) * alone]), alone))
    expect_numbers(silent_bug, student, inputs, NOT_CLIPPED, as_gradient)


@silent_bug.check(points=1)
def leaves_a_short_one_as_it_is(student, seed):
    """Just below the limit, far below, exactly as long, and zeros."""
    rng = random.Random(seed)
    zeros = [torch.zeros_like(shard) for shard in some_shards(seed, [1.0] * rng.randint(2, 4))]
    with in_words(ZeroDivisionError, *OF_ZEROS):
        value = as_gradient(call(student, (zeros, 1.5)), zeros, 1.5)
    if not torch.isfinite(value).all():
        raise Mistake(*OF_ZEROS)
    inputs = [(zeros, 1.5), as_long_as_the_limit(seed)]
    for size, limit in (
        (rng.randint(2, 5), 60.0),
        (rng.randint(3, 5), rng.uniform(0.5, 5)),
        (1, 3),
    ):
        inputs.append((shorter(100 * seed + 10 * len(inputs), size, limit), limit))
    inputs.append((some_shards(seed + 7, [0.5, 0.4, 0.6]), rng.randint(20, 90)))
    expect_numbers(silent_bug, student, inputs, NOT_LEFT_ALONE, as_gradient)


@silent_bug.check(points=1)
def makes_new_tensors_of_any_shape(student, seed):
    """Shards without a dimension, with four, without a number, and transposed, of long and short
    gradients."""
    rng = random.Random(seed)
    limit = rng.uniform(0.5, 5)
    odd = [torch.zeros(0), randoms(seed, 2, 1, 2, 2), torch.zeros(rng.randint(1, 3), 0)]
    long = [*longer_in_some(100 * seed, rng.randint(2, 4), limit), *odd]
    short = [*shorter(100 * seed + 50, rng.randint(2, 4), 60.0), *odd]
    inputs = [(long, limit), (long[::-1], limit), (short, 90.0)]
    expect_numbers(silent_bug, student, inputs, NOT_CLIPPED, as_gradient)
    transposed = [shard.T if shard.ndim == 2 else shard for shard in long]
    with in_words(RuntimeError, *IN_ONE_PIECE):
        expect_numbers(silent_bug, student, [(transposed, limit)], NOT_CLIPPED, as_gradient)
    for given in inputs:
        needs_untouched(silent_bug, student, given)
        needs_new_tensors(student, given)
    with contextlib.suppress(ZeroDivisionError):  # that it fails is told by another check
        needs_new_tensors(student, ([torch.zeros_like(shard) for shard in short], limit))


def needs_new_tensors(student: Callable, given: tuple[list[Tensor], float]) -> None:
    shards, limit = [shard.clone() for shard in given[0]], given[1]
    found = student(shards, limit)
    if any(lies_in(one, shard) for one in found for shard in shards if isinstance(one, Tensor)):
        raise Mistake(*shared_memory("shards"))


# What went wrong ----------------------------------------------------------------------------------

diagnosed = Exercise("outgrow.diagnosed", reference=teamwork.diagnosed, minutes=20, difficulty=3)
WORDS = (SAME_ROWS, ONE_SEED, APART, MEAN_OF_MEANS, RIGHT)
EVERY_TWO = "compare every two processes"
IN_THIS_ORDER = "ask in the order of the docstring, and return the first word that applies"
ONE_PART = "compare the difference with a millionth of the larger sum, without signs"
BOTH_MEANS = "compute both means: the loss has to be the one and must not be the other"
A_MILLIONTH = "math.isclose with rel_tol=1e-6 compares as the docstring says"
NOT_THE_WORD = "a team gets another word than it should", IN_THIS_ORDER


class Team(NamedTuple):
    """What is said of a team in a step: the function's arguments."""

    rows: list[list[int]]
    seeds: list[int]
    parameters: list[float]
    loss_sums: list[float]
    counts: list[int]
    loss: float


def as_word(value, *given) -> str:
    needs_something(value)
    if not isinstance(value, str):
        raise Mistake(f"a word is expected, yours is {kind_of(value)}", next=", ".join(WORDS))
    if value not in WORDS:
        raise Mistake(f"{value[:40]!r} is none of the words", next=", ".join(WORDS))
    return value


def share_a_row(one: list[int], other: list[int]) -> bool:
    return bool(set(one) & set(other))


def differ(one: float, other: float) -> bool:
    return not math.isclose(one, other, rel_tol=1e-6)


# What two processes have that do one of these things wrong, and in which argument it is seen.
OF_TWO = {
    SAME_ROWS: ("rows", share_a_row),
    ONE_SEED: ("seeds", operator.eq),
    APART: ("parameters", differ),
}


def pairs(each: Sequence) -> Iterable[tuple]:
    return itertools.combinations(each, 2)


def found_in(word: str, some: Callable = pairs) -> Callable[[Team], bool]:
    """Whether the mistake is found between two processes. some: which ones are compared"""
    name, wrong = OF_TWO[word]
    return lambda team: any(itertools.starmap(wrong, some(getattr(team, name))))


def own_means(team: Team) -> list[float]:
    return list(map(operator.truediv, team.loss_sums, team.counts))


def mean_of_means(team: Team) -> float:
    return sum(own_means(team)) / len(team.counts)


def mean_of_all(team: Team) -> float:
    return sum(team.loss_sums) / sum(team.counts)


def averages_means(team: Team) -> bool:
    return not differ(team.loss, mean_of_means(team)) and differ(team.loss, mean_of_all(team))


SIGNS = {**{word: found_in(word) for word in OF_TWO}, MEAN_OF_MEANS: averages_means}


def first_sign(signs: dict[str, Callable], team: Team) -> str:
    return next((word for word, sign in signs.items() if sign(team)), RIGHT)


def in_order(words: Iterable[str]) -> Callable:
    """A solution that asks for these words, one after the other."""
    signs = {word: SIGNS[word] for word in words}
    return lambda *given: first_sign(signs, Team(*given))


def with_sign(word: str, sign: Callable[[Team], bool]) -> Callable:
    """The solution with another sign for one of the words."""
    return lambda *given: first_sign(SIGNS | {word: sign}, Team(*given))


@wrong_part(diagnosed)
def wrong_rows(sign):
    return with_sign(SAME_ROWS, lambda team: sign(team.rows))


@wrong_part(diagnosed)
def wrong_seeds(sign):
    return with_sign(ONE_SEED, lambda team: sign(team.seeds))


@wrong_part(diagnosed)
def wrong_sums(sign):
    return with_sign(APART, lambda team: sign(team.parameters))


@wrong_part(diagnosed)
def wrong_distance(far):
    """With another word for two sums that differ too much."""
    return with_sign(APART, lambda team: any(itertools.starmap(far, pairs(team.parameters))))


@wrong_part(diagnosed)
def wrong_loss(sign):
    """With another sign that is seen from the loss, the mean of means and the mean over all tokens."""
    return with_sign(
        MEAN_OF_MEANS, lambda team: sign(team.loss, mean_of_means(team), mean_of_all(team))
    )


def register_diagnosis(name: str, message: str, next: str, solution: Callable) -> None:
    solution.__name__ = name
    diagnosed.wrong(message, next=next)(solution)


register_diagnosis(
    "from_the_end",
    "the last that applies is returned, not the first",
    IN_THIS_ORDER,
    in_order(reversed(SIGNS)),
)

register_diagnosis(
    "always_right",
    "every team is right in the eyes of your function",
    "begin with one of the four signs",
    in_order([]),
)

COMPARED = {
    "of_neighbours": (
        "the {} of processes that follow one another alone are compared",
        itertools.pairwise,
    ),
    "with_the_first": (
        "the {} are compared with those of the first process alone",
        lambda each: [(each[0], other) for other in each[1:]],
    ),
}
for _word, (_what, _) in OF_TWO.items():
    for _name, (_message, _some) in COMPARED.items():
        register_diagnosis(
            f"{_what}_{_name}",
            _message.format(_what),
            EVERY_TWO,
            with_sign(_word, found_in(_word, _some)),
        )


@wrong_rows("rows are compared place by place", next="a row may stand anywhere in both lists")
def rows_in_the_same_place(lists):
    return any(any(map(operator.eq, one, other)) for one, other in pairs(lists))


@wrong_rows("the lists of rows are compared as a whole", next="one row in common is enough")
def same_list_of_rows(lists):
    return any(one == other for one, other in pairs(lists))


@wrong_rows("a row has to be read by all processes here", next="two are enough")
def row_of_all(lists):
    return bool(set.intersection(*map(set, lists)))


@wrong_rows(
    "a row that one process lists twice is taken for a row in common",
    next="two different processes have to read it: make a set of each list first",
)
def row_twice_in_one_list(lists):
    rows = sum(lists, [])
    return len(set(rows)) < len(rows)


@wrong_seeds("all processes have to have the same seed here", next="two are enough")
def seed_of_all(seeds):
    return len(set(seeds)) == 1


@wrong_seeds(
    "two large seeds that are not the same are taken for one: the millionth is for sums and losses",
    next="compare whole numbers with ==",
)
def seeds_that_are_close(seeds):
    return not all(itertools.starmap(differ, pairs(seeds)))


@wrong_distance("sums that differ by less than a millionth are apart here", next=ONE_PART)
def not_equal(one, other):
    return one != other


@wrong_distance("sums that differ by more than a millionth are not apart here", next=ONE_PART)
def one_in_a_hundred_thousand(one, other):
    return not math.isclose(one, other, rel_tol=1e-5)


@wrong_distance("the tolerance is the same for large and for small sums", next=ONE_PART)
def a_millionth(one, other):
    return abs(one - other) > 1e-6


@wrong_distance(
    "small sums are never apart: isclose and allclose of numpy and torch add 1e-8",
    next="give them atol=0",
)
def tolerance_of_numpy(one, other):
    return not np.isclose(one, other, rtol=1e-6)


@wrong_distance("the difference has a sign, and is only compared from above", next="take abs()")
def one_side(one, other):
    return one - other > 1e-6 * abs(one)


@wrong_distance("a millionth of a negative sum is negative", next="take abs() of the sum")
def millionth_with_a_sign(one, other):
    return abs(one - other) > 1e-6 * one


@wrong_distance("sums with different signs are taken for the same", next=ONE_PART)
def without_signs(one, other):
    return differ(abs(one), abs(other))


@wrong_sums("the sums are compared with their mean, not with one another", next=EVERY_TWO)
def far_from_the_mean(sums):
    return any(differ(one, sum(sums) / len(sums)) for one in sums)


@wrong_loss("where both means are the same number, the loss is right", next=BOTH_MEANS)
def also_where_they_are_one(loss, means, everything):
    return not differ(loss, means)


@wrong_loss("it is not asked what the loss is", next=BOTH_MEANS)
def wherever_the_means_differ(loss, means, everything):
    return differ(means, everything)


register_diagnosis(
    "median_of_means",
    "the loss is compared with the median of the own means",
    BOTH_MEANS,
    with_sign(
        MEAN_OF_MEANS,
        lambda team: (
            not differ(team.loss, statistics.median(own_means(team)))
            and differ(team.loss, mean_of_all(team))
        ),
    ),
)


def pair_by_pair(*given):
    team = Team(*given)
    for pair in pairs(range(len(team.rows))):
        for word, (name, wrong) in OF_TWO.items():
            if wrong(*(getattr(team, name)[one] for one in pair)):
                return word
    return MEAN_OF_MEANS if averages_means(team) else RIGHT


register_diagnosis(
    "pair_by_pair",
    "the first two processes that do something wrong decide, and two others may do what comes first in "
    "the docstring",
    "ask for one sign in all processes, then for the next",
    pair_by_pair,
)


register_diagnosis(
    "wherever_counts_differ",
    "other counts do not always make another mean: where the processes' own means are the same, the "
    "loss is right",
    BOTH_MEANS,
    with_sign(
        MEAN_OF_MEANS,
        lambda team: len(set(team.counts)) > 1 and not differ(team.loss, mean_of_means(team)),
    ),
)


@wrong_loss(
    "a loss that differs by less than a millionth from a mean is that mean here", next=A_MILLIONTH
)
def loss_too_strictly(loss, means, everything):
    return math.isclose(loss, means) and not math.isclose(loss, everything)


@wrong_loss(
    "the loss is compared with ==: computed in two ways, one number may differ in its last digits",
    next=A_MILLIONTH,
)
def loss_to_the_last_digit(loss, means, everything):
    return loss == means != everything


NEITHER = "a loss that is neither of both means is none of these mistakes", BOTH_MEANS


@wrong_loss(*NEITHER)
def any_other_loss(loss, means, everything):
    return differ(loss, everything)


@wrong_loss(*NEITHER)
def the_nearer_mean(loss, means, everything):
    return abs(loss - means) < abs(loss - everything)


@wrong_loss(
    "the loss is compared too loosely: it may lie some millionths beside a mean, or both means may be "
    "as close to one another",
    next=A_MILLIONTH,
)
def loss_too_loosely(loss, means, everything):
    return math.isclose(loss, means, rel_tol=1e-3) and not math.isclose(
        loss, everything, rel_tol=1e-3
    )


register_diagnosis(
    "sorted_one_by_one",
    "loss_sums and counts are put in order, each by itself: a sum then stands beside another "
    "process's count",
    "keep them as they are",
    lambda *given: first_sign(
        SIGNS, Team(*given)._replace(loss_sums=sorted(given[3]), counts=sorted(given[4]))
    ),
)


# What is never found stands last: a sign that is asked for wrongly may find nothing, too.
for _word in SIGNS:
    register_diagnosis(
        f"never_{_word.replace(' ', '_')}",
        f'"{_word}" is never found',
        "try a team of which it is true, and print what your function compares",
        in_order(word for word in SIGNS if word != _word),
    )


def healthy(seed: int, size: int, counts: Sequence[int] = (), scale: float = 10.0) -> Team:
    """A team that is right.

    counts: the tokens of the processes, in any order; if none are given, they differ so much that the
    mean of means and the mean over all tokens do, too. scale: of the sum of the parameters

    Own means are eighths, and so is their mean: nothing but the mean over all tokens is rounded, in
    whatever order it is computed.
    """
    rng = random.Random(seed)
    lengths = rng.sample(range(3, 9), size)
    rows = iter(rng.sample(range(1000), sum(lengths)))
    seeds = rng.sample(range(100), size)
    parameters = scale * rng.uniform(1, 10)
    some = rng.sample((1, 2, 4, 8, 16), size)
    counts = counts or [8 * many + rng.randint(0, 2) for many in some]
    means, counts = zip(*with_means(rng, counts))
    team = Team(
        rows=[list(itertools.islice(rows, length)) for length in lengths],
        seeds=seeds,
        parameters=[parameters] * size,
        loss_sums=list(map(operator.mul, means, counts)),
        counts=list(counts),
        loss=math.nan,
    )
    return team._replace(loss=mean_of_all(team))


def with_means(rng: random.Random, counts: Sequence[int]) -> list[tuple[float, int]]:
    """For each process the mean of its own losses, with its count. Where more tokens count, the losses
    are larger, or smaller: then the two means differ. But they add up to more, too."""
    step, middle = rng.choice((-1, 1)) * rng.randint(2, 3), rng.randint(70, 110)
    size = len(counts)
    means = [(middle + step * (2 * place - size + 1)) / 8 for place in range(size)]
    means[-1] += step * size / 8  # so that their median is not their mean, where there are several
    return rng.sample(list(zip(means, sorted(counts))), size)


def faulty(seed: int, size: int, *words: str, between: tuple[int, int] = (0, 1)) -> Team:
    """A team that does all of this wrong, if between two processes then between these."""
    team, (one, other) = healthy(seed, size), between
    if SAME_ROWS in words:
        team.rows[other] = list(team.rows[one])
    if ONE_SEED in words:
        team.seeds[other] = team.seeds[one]
    if APART in words:
        team.parameters[other] *= 1.01
    return team._replace(loss=mean_of_means(team)) if MEAN_OF_MEANS in words else team


def elsewhere(seed: int, first: str, later: str) -> Team:
    """A team whose first two processes do what comes later, and others what comes first."""
    one, other = faulty(seed, 4, later), faulty(seed, 4, first, between=(2, 3))
    return one._replace(**{OF_TWO[first][0]: getattr(other, OF_TWO[first][0])})


def with_a_row_in_common(seed: int) -> list[Team]:
    """One row: at other places, at one place, as the first of both."""
    rng = random.Random(seed)
    teams = [healthy(seed + step, rng.randint(2, 5)) for step in range(3)]
    for team, (mine, theirs) in zip(teams, ((-1, 0), (1, 1), (0, 0))):
        team.rows[0][mine] = team.rows[1][theirs]
    return teams


@diagnosed.check(points=2)
def names_each_mistake(student, seed):
    """Teams that make one mistake, or none: of two processes, and of three to five."""
    rng = random.Random(seed)
    teams = with_a_row_in_common(100 * seed)
    for step, words in enumerate([(), *((word,) for word in SIGNS)]):
        teams.append(faulty(100 * seed + 10 * step + 5, 2, *words))
        large = rng.randint(3, 5)
        teams.append(faulty(100 * seed + 10 * step + 6, large, *words, between=(1, 0)))
    expect_on_all(diagnosed, student, teams, NOT_THE_WORD, as_word)


@diagnosed.check(points=2)
def takes_the_first_that_applies(student, seed):
    """Teams that make two mistakes, three, or all four; and some with one, so that a mistake which is
    found too late is told from one that is never found."""
    rng = random.Random(seed)
    several = [some for count in (2, 3, 4) for some in itertools.combinations(SIGNS, count)]
    teams = [faulty(100 * seed + large, large, APART) for large in (2, rng.randint(3, 5))]
    for step, words in enumerate(several):
        size, between = (2, (1, 0)) if step % 2 else (rng.randint(3, 5), (0, 1))
        teams.append(faulty(100 * seed + 10 + step, size, *words, between=between))
    teams += [
        elsewhere(100 * seed + 90 + step, *two)
        for step, two in enumerate(itertools.combinations(OF_TWO, 2))
    ]
    expect_on_all(diagnosed, student, teams, NOT_THE_WORD, as_word)


@diagnosed.check(points=1)
def knows_the_edges(student, seed):
    """One edge after the other, so that what is wrong at one of them is named whatever is wrong at
    another; each with some plain teams, so that it is not taken for a mistake that these show."""
    plain = [faulty(100 * seed + 70 + step, 3, word) for step, word in enumerate(SIGNS)]
    plain.append(healthy(100 * seed + 80, 3))
    for step, teams_of in enumerate(EDGES):
        teams = teams_of(random.Random(100 * seed + step))
        expect_on_all(diagnosed, student, [*plain, *teams], NOT_THE_WORD, as_word)


def any_seed(rng: random.Random) -> int:
    return rng.randrange(10**9)


def of_one_process(rng: random.Random) -> list[Team]:
    return [healthy(any_seed(rng), 1), faulty(any_seed(rng), 1, MEAN_OF_MEANS)]


def with_a_row_twice(rng: random.Random) -> list[Team]:
    """In one list: of a process that is alone, of one in a team that is right, and where two others
    have a row in common."""
    teams = [
        healthy(any_seed(rng), 1),
        healthy(any_seed(rng), rng.randint(2, 5)),
        faulty(any_seed(rng), rng.randint(3, 5), SAME_ROWS),
    ]
    for team in teams:
        team.rows[-1].append(team.rows[-1][0])
    return teams


def between_any_two(word: str, rng: random.Random) -> list[Team]:
    """The first two alone, the last two alone, and the first with the last."""
    size = rng.randint(3, 5)
    return [
        faulty(any_seed(rng), size, word, between=between)
        for between in ((0, 1), (size - 2, size - 1), (0, size - 1))
    ]


def with_large_seeds(rng: random.Random) -> list[Team]:
    """They lie close to one another, as where each process adds its number; then two are one."""
    teams = [healthy(any_seed(rng), 3), faulty(any_seed(rng), 3, ONE_SEED)]
    first = 10**8 + any_seed(rng)
    return [team._replace(seeds=[first + seed for seed in team.seeds]) for team in teams]


def sums_about_a_millionth(rng: random.Random) -> list[Team]:
    """In the first two kinds of team all sums are the same, in the others they are not."""
    return of_any_scale(
        rng, (0.3, -0.3, 0.0), (0.0, 0.9), (0.0, 1.5), (1.5, 0.0), (0.0, 0.3, 0.0, 2.5)
    )


def sums_near_one_of_them(rng: random.Random) -> list[Team]:
    """Every sum is the same as the first, or as its neighbours and as the mean, and yet two are not."""
    return of_any_scale(rng, (0.0, 0.9, -0.9), (-0.9, 0.0, 0.9))


def sums_of_either_sign(rng: random.Random) -> list[Team]:
    """As large as one another, above and below 0."""
    team = healthy(any_seed(rng), rng.randint(2, 5))
    sums = [-team.parameters[0], *team.parameters[1:]]
    return [team._replace(parameters=some) for some in (sums, sums[::-1])]


def of_any_scale(rng: random.Random, *kinds: Sequence[float]) -> list[Team]:
    """Teams whose sums differ by so many millionths from one number, which is large or small, and above
    or below 0."""
    scales = 1e5, 1e-4, -1e5, -1e-4
    return [drifted(any_seed(rng), parts, scale) for parts in kinds for scale in scales]


def drifted(seed: int, parts: Sequence[float], scale: float) -> Team:
    team = healthy(seed, len(parts), scale=scale)
    sums = [one * (1 + part * 1e-6) for one, part in zip(team.parameters, parts)]
    return team._replace(parameters=sums)


def another_loss(rng: random.Random) -> list[Team]:
    """Neither of both means: on both sides of the two, and between them, nearer to the one or to the
    other."""
    teams = []
    for part in (-1, 0.25, 0.75, 1.5):
        team = healthy(any_seed(rng), rng.randint(2, 5))
        means, everything = mean_of_means(team), mean_of_all(team)
        teams.append(team._replace(loss=everything + part * (means - everything)))
    return teams


def means_that_are_one(rng: random.Random) -> list[Team]:
    """Equal counts, and equal own means: the mean of means is the mean over all tokens."""
    size = rng.randint(2, 5)
    equal = healthy(any_seed(rng), size, [rng.randint(5, 40)] * size)
    alike, mean = healthy(any_seed(rng), size), rng.randint(40, 80) / 8
    alike = alike._replace(loss_sums=[mean * count for count in alike.counts], loss=mean)
    return [equal, alike, with_rounded_means(rng)]


def with_rounded_means(rng: random.Random) -> Team:
    """Equal counts, where nothing but rounding tells the two means apart; the loss was computed as the
    mean of means."""
    while True:
        size = rng.randint(2, 5)
        team = healthy(any_seed(rng), size, [rng.randint(5, 40)] * size)
        team = team._replace(loss_sums=[rng.uniform(10, 90) for _ in range(size)])
        if mean_of_means(team) != mean_of_all(team):
            return team._replace(loss=mean_of_means(team))


def means_that_are_close(rng: random.Random) -> list[Team]:
    """The two means differ by four millionths or so: the loss is the one, and then the other."""
    team = healthy(any_seed(rng), 2, [100, 101])
    mean, part = rng.randint(40, 80) / 8, rng.choice((-1, 1)) * rng.uniform(14e-4, 2e-3)
    one, other = team.counts
    team = team._replace(loss_sums=[one * mean, other * mean * (1 + part)])
    return [team._replace(loss=mean_of_all(team)), team._replace(loss=mean_of_means(team))]


def sums_against_counts(rng: random.Random) -> list[Team]:
    """Processes with more tokens whose losses add up to less: the loss is the one mean, and the other."""
    count, mean = rng.randint(20, 40), rng.randint(40, 80) / 8
    counts = rng.sample([count, count + 1, count + 2], 3)
    team = healthy(any_seed(rng), 3, counts)
    sums = [one * mean * (1 - 0.2 * (one - count)) for one in team.counts]
    team = team._replace(loss_sums=sums)
    return [team._replace(loss=mean_of_all(team)), team._replace(loss=mean_of_means(team))]


def loss_about_a_millionth(rng: random.Random) -> list[Team]:
    """It differs from a mean by so many millionths, and is this mean or none."""
    team = healthy(any_seed(rng), rng.randint(2, 5))
    means, everything = mean_of_means(team), mean_of_all(team)
    cases = ((means, 0.7), (means, -0.7), (means, 1.5), (means, -1.5), (everything, 0.7))
    return [team._replace(loss=mean * (1 + part * 1e-6)) for mean, part in cases]


EDGES = (
    of_one_process,
    with_a_row_twice,
    *(functools.partial(between_any_two, word) for word in OF_TWO),
    with_large_seeds,
    sums_about_a_millionth,
    sums_near_one_of_them,
    sums_of_either_sign,
    another_loss,
    means_that_are_one,
    means_that_are_close,
    sums_against_counts,
    loss_about_a_millionth,
)
