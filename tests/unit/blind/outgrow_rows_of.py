import itertools
import math
import random

import numpy as np
import torch


# right: slices each whole batch and takes every size-th row of it
def right_1(order, batch, size, rank):
    whole = len(order) // batch * batch
    return [order[i : i + batch][rank::size] for i in range(0, whole, batch)]


# right: deals the rows out one by one in a plain loop
def right_2(order, batch, size, rank):
    steps = []
    for step in range(len(order) // batch):
        mine = []
        for place in range(batch):
            if place % size == rank:
                mine.append(order[step * batch + place])
        steps.append(mine)
    return steps


# right: numpy, with an axis each for the steps, the rounds and the processes
def right_3(order, batch, size, rank):
    steps = len(order) // batch
    table = np.array(order[: steps * batch], dtype=np.int64)
    return table.reshape(steps, batch // size, size)[:, :, rank].tolist()


# right: recursion, half of the batches and the other half
def right_4(order, batch, size, rank):
    steps = len(order) // batch
    if steps == 0:
        return []
    if steps == 1:
        return [[order[i] for i in range(rank, batch, size)]]
    middle = steps // 2 * batch
    first = right_4(order[:middle], batch, size, rank)
    return first + right_4(order[middle:], batch, size, rank)


# right: itertools, one iterator that hands out whole batches
def right_5(order, batch, size, rank):
    rows = iter(order)
    steps = []
    while True:
        hand = list(itertools.islice(rows, batch))
        if len(hand) < batch:
            return steps
        steps.append(list(itertools.islice(hand, rank, None, size)))


# right: torch, unfolds the order and takes the columns of the process
def right_6(order, batch, size, rank):
    if len(order) < batch:
        return []
    return torch.tensor(order).unfold(0, batch, batch)[:, rank::size].tolist()


# wrong: a block of neighbours for each process in place of dealing out
def wrong_1(order, batch, size, rank):
    share = batch // size
    steps = len(order) // batch
    starts = [step * batch + rank * share for step in range(steps)]
    return [order[start : start + share] for start in starts]


# wrong: reads the leftover as a last short step
def wrong_2(order, batch, size, rank):
    return [order[i : i + batch][rank::size] for i in range(0, len(order), batch)]


# wrong: drops the leftover of its own rows only, so a low rank may get one step more
def wrong_3(order, batch, size, rank):
    mine = order[rank::size]
    share = batch // size
    return [mine[i * share : (i + 1) * share] for i in range(len(mine) // share)]


# wrong: cuts the whole order into one piece for each process, and then into steps
def wrong_4(order, batch, size, rank):
    piece = len(order) // size
    mine = order[rank * piece : (rank + 1) * piece]
    share = batch // size
    return [mine[i : i + share] for i in range(0, piece - share + 1, share)]


# wrong: takes batch for the rows of one process
def wrong_5(order, batch, size, rank):
    together = batch * size
    steps = len(order) // together
    return [order[i * together : (i + 1) * together][rank::size] for i in range(steps)]


# wrong: one flat list for all steps
def wrong_6(order, batch, size, rank):
    whole = len(order) - len(order) % batch
    return order[:whole][rank::size]


# wrong: the end of the range is one short, so a last batch that fits exactly is lost
def wrong_7(order, batch, size, rank):
    steps = []
    for start in range(0, len(order) - batch, batch):
        steps.append(order[start + rank : start + batch : size])
    return steps


# wrong: sorts the rows, and the shuffling is undone
def wrong_8(order, batch, size, rank):
    rows = sorted(order)
    return [rows[i * batch : (i + 1) * batch][rank::size] for i in range(len(rows) // batch)]


# wrong: gives the places in the order and not the row numbers
def wrong_9(order, batch, size, rank):
    steps = len(order) // batch
    return [list(range(i * batch + rank, (i + 1) * batch, size)) for i in range(steps)]


# wrong: a generator, which has no length and no index
def wrong_10(order, batch, size, rank):
    for i in range(len(order) // batch):
        yield order[i * batch : (i + 1) * batch][rank::size]


# wrong: counts the ranks from 1
def wrong_11(order, batch, size, rank):
    steps = len(order) // batch
    return [order[i * batch : (i + 1) * batch][rank - 1 :: size] for i in range(steps)]


# wrong: uses the order up, and the next process that has the same list finds too little in it
def wrong_12(order, batch, size, rank):
    steps = []
    while len(order) >= batch:
        steps.append(order[:batch][rank::size])
        del order[:batch]
    return steps


# wrong: deals forth and back, so that every second round goes the other way
def wrong_13(order, batch, size, rank):
    steps = []
    for i in range(len(order) // batch):
        mine = []
        for turn in range(batch // size):
            at = rank if turn % 2 == 0 else size - 1 - rank
            mine.append(order[i * batch + turn * size + at])
        steps.append(mine)
    return steps


# wrong: every process shuffles once more, with its own seed
def wrong_14(order, batch, size, rank):
    rows = list(order)
    random.Random(rank).shuffle(rows)
    return [rows[i * batch : (i + 1) * batch][rank::size] for i in range(len(rows) // batch)]


# wrong: the process that gets the first row moves on by one with every step
def wrong_15(order, batch, size, rank):
    steps = len(order) // batch
    return [order[i * batch : (i + 1) * batch][(rank + i) % size :: size] for i in range(steps)]


# wrong: fills the last batch up from the beginning, as a sampler that pads does
def wrong_16(order, batch, size, rank):
    steps = math.ceil(len(order) / batch)
    padded = list(itertools.islice(itertools.cycle(order), steps * batch))
    return [padded[i * batch : (i + 1) * batch][rank::size] for i in range(steps)]


# wrong: leaves out at the beginning what does not fill a batch
def wrong_17(order, batch, size, rank):
    rows = order[len(order) % batch :]
    return [rows[i : i + batch][rank::size] for i in range(0, len(rows), batch)]


# wrong: the table on its side, a list for each round and not for each step
def wrong_18(order, batch, size, rank):
    steps = len(order) // batch
    table = np.array(order[: steps * batch]).reshape(steps, batch // size, size)
    return table[:, :, rank].T.tolist()


# wrong: with one process all rows are one step
def wrong_19(order, batch, size, rank):
    if size == 1:
        return [list(order)]
    steps = len(order) // batch
    return [order[i * batch : (i + 1) * batch][rank::size] for i in range(steps)]


# wrong: goes round only once, so each process has one row in a step
def wrong_20(order, batch, size, rank):
    return [[order[i * batch + rank]] for i in range(len(order) // batch)]


# wrong: deals the rows out to the steps too, so a batch is not consecutive
def wrong_21(order, batch, size, rank):
    steps = len(order) // batch
    return [order[: steps * batch][i::steps][rank::size] for i in range(steps)]


# wrong: rounds the number of steps, so a leftover of more than half a batch is read
def wrong_22(order, batch, size, rank):
    steps = round(len(order) / batch)
    return [order[i * batch : (i + 1) * batch][rank::size] for i in range(steps)]


# wrong: leaves out only what does not go round the processes, not what fills no batch
def wrong_23(order, batch, size, rank):
    usable = len(order) // size * size
    share = batch // size
    mine = order[:usable][rank::size]
    return [mine[i : i + share] for i in range(0, len(mine), share)]


# wrong: at least one step, although the rows may not fill a batch
def wrong_24(order, batch, size, rank):
    steps = max(1, len(order) // batch)
    return [order[i * batch : (i + 1) * batch][rank::size] for i in range(steps)]


# wrong: with no whole batch there is still one step, an empty one
def wrong_25(order, batch, size, rank):
    whole = len(order) // batch * batch
    pieces = np.split(np.array(order[:whole]), range(batch, whole, batch))
    return [piece[rank::size].tolist() for piece in pieces]


# wrong: every step reads the first batch
def wrong_26(order, batch, size, rank):
    return [order[:batch][rank::size] for _ in range(len(order) // batch)]


# wrong: deals out by the row number and not by the place
def wrong_27(order, batch, size, rank):
    steps = []
    for i in range(len(order) // batch):
        rows = order[i * batch : (i + 1) * batch]
        steps.append([row for row in rows if row % size == rank])
    return steps


# wrong: all steps are the same list, which gets the rows of all of them
def wrong_28(order, batch, size, rank):
    steps = [[]] * (len(order) // batch)
    for place, row in enumerate(order[: len(steps) * batch]):
        if place % size == rank:
            steps[place // batch].append(row)
    return steps


# wrong: a step has as many rows as there are processes
def wrong_29(order, batch, size, rank):
    return [[order[i + rank]] for i in range(0, len(order) - size + 1, size)]


# wrong: swaps size and share, so it takes rows at the distance of its share
def wrong_30(order, batch, size, rank):
    share = batch // size
    steps = len(order) // batch
    return [order[i * batch : (i + 1) * batch][rank::share] for i in range(steps)]


# wrong: torch's view with the processes before the rounds, which makes blocks
def wrong_31(order, batch, size, rank):
    steps = len(order) // batch
    rows = torch.tensor(order[: steps * batch], dtype=torch.long)
    return rows.view(steps, size, batch // size)[:, rank].tolist()


# wrong: the last step is thrown away always, as if it were never full
def wrong_32(order, batch, size, rank):
    steps = [order[i : i + batch][rank::size] for i in range(0, len(order), batch)]
    return steps[:-1]
