import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import torch


# right: tokens of the part times the processes over all tokens
def right_1(counts):
    total = sum(sum(parts) for parts in counts)
    return [[n * len(counts) / total for n in parts] for parts in counts]


# right: fractions in plain loops, turned into floats at the end
def right_2(counts):
    total = Fraction(0)
    for parts in counts:
        for n in parts:
            total += n
    result = []
    for parts in counts:
        weights = []
        for n in parts:
            weights.append(float(Fraction(n) / total * len(counts)))
        result.append(weights)
    return result


# right: numpy on one flat array, cut into the processes again
def right_3(counts):
    flat = np.array(list(itertools.chain.from_iterable(counts)), dtype=np.float64)
    flat *= len(counts) / flat.sum()
    ends = np.cumsum([len(parts) for parts in counts])
    return [piece.tolist() for piece in np.split(flat, ends[:-1])]


# right: share of the part in its process times the share of the process, guarded
def right_4(counts):
    own = [sum(parts) for parts in counts]
    mean = sum(own) / len(own)
    result = []
    for parts, tokens in zip(counts, own):
        if tokens == 0:
            result.append([0] * len(parts))
        else:
            result.append([n / tokens * (tokens / mean) for n in parts])
    return result


# right: torch, one process at a time, in doubles
def right_5(counts):
    rows = [torch.tensor(parts, dtype=torch.float64) for parts in counts]
    per_process = torch.stack([row.sum() for row in rows]).mean()
    return [(row / per_process).tolist() for row in rows]


# right: recursion through the nested lists
def right_6(counts):
    size = len(counts)
    total = functools.reduce(lambda so_far, parts: so_far + sum(parts), counts, 0)

    def weigh(item):
        if isinstance(item, list):
            return [weigh(inner) for inner in item]
        return size * item / total

    return weigh(counts)


# wrong: one over the parts, as where all parts are equal
def wrong_1(counts):
    return [[1 / len(parts) if n else 0 for n in parts] for parts in counts]


# wrong: the share in the own process, so every process weighs the same
def wrong_2(counts):
    return [[n / max(sum(parts), 1) for n in parts] for parts in counts]


# wrong: forgets that the engine divides by the processes
def wrong_3(counts):
    total = sum(map(sum, counts))
    return [[n / total for n in parts] for parts in counts]


# wrong: leaves the parts without a token out
def wrong_4(counts):
    total = sum(map(sum, counts))
    return [[n * len(counts) / total for n in parts if n > 0] for parts in counts]


# wrong: multiplies by the number of all parts and not of the processes
def wrong_5(counts):
    total = sum(map(sum, counts))
    pieces = sum(len(parts) for parts in counts)
    return [[n * pieces / total for n in parts] for parts in counts]


# wrong: counts only the processes that have tokens, though the engine averages over all
def wrong_6(counts):
    total = sum(map(sum, counts))
    working = sum(1 for parts in counts if any(parts))
    return [[n * working / total for n in parts] for parts in counts]


# wrong: whole-number division
def wrong_7(counts):
    total = sum(map(sum, counts))
    return [[n * len(counts) // total for n in parts] for parts in counts]


# wrong: the tokens of a process on average, cut off to a whole number
def wrong_8(counts):
    per_process = max(1, sum(map(sum, counts)) // len(counts))
    return [[n / per_process for n in parts] for parts in counts]


# wrong: takes the parts of the first process for the number of processes
def wrong_9(counts):
    total = sum(map(sum, counts))
    return [[n * len(counts[0]) / total for n in parts] for parts in counts]


# wrong: takes the tokens of the first process for those of every process
def wrong_10(counts):
    tokens = max(sum(counts[0]), 1)
    return [[n / tokens for n in parts] for parts in counts]


# wrong: one flat list
def wrong_11(counts):
    total = sum(map(sum, counts))
    return [n * len(counts) / total for parts in counts for n in parts]


# wrong: the same weight for every part, as if sums and not means were multiplied
def wrong_12(counts):
    total = sum(map(sum, counts))
    return [[len(counts) / total if n else 0 for n in parts] for parts in counts]


# wrong: multiplies by the parts of the own process too
def wrong_13(counts):
    total = sum(map(sum, counts))
    return [[n * len(parts) * len(counts) / total for n in parts] for parts in counts]


# wrong: the tokens over the mean tokens of a part
def wrong_14(counts):
    flat = list(itertools.chain(*counts))
    mean = sum(flat) / len(flat)
    return [[n / mean for n in parts] for parts in counts]


# wrong: one over the parts that have tokens
def wrong_15(counts):
    result = []
    for parts in counts:
        filled = sum(n > 0 for n in parts)
        result.append([1 / filled if n > 0 else 0 for n in parts])
    return result


# wrong: a numpy table, which there is not with different numbers of parts
def wrong_16(counts):
    table = np.array(counts, dtype=np.float64)
    return (table * len(table) / table.sum()).tolist()


# wrong: goes through the parts side by side with zip, which stops at the shortest process
def wrong_17(counts):
    total = sum(map(sum, counts))
    columns = [[n * len(counts) / total for n in column] for column in zip(*counts)]
    return [[column[i] for column in columns] for i in range(len(counts))]


# wrong: sorts the parts of a process, so the order is another
def wrong_18(counts):
    total = sum(map(sum, counts))
    return [[n * len(counts) / total for n in sorted(parts)] for parts in counts]


# wrong: writes the weights over the caller's counts
def wrong_19(counts):
    total = sum(map(sum, counts))
    for parts in counts:
        for i in range(len(parts)):
            parts[i] = parts[i] * len(counts) / total
    return counts


# wrong: divides by the tokens of the own process, which may be 0
def wrong_20(counts):
    total = sum(map(sum, counts))
    result = []
    for parts in counts:
        own = sum(parts)
        result.append([(n / own) * (own * len(counts) / total) for n in parts])
    return result


# wrong: rounds to two places
def wrong_21(counts):
    total = sum(map(sum, counts))
    return [[round(n * len(counts) / total, 2) for n in parts] for parts in counts]


# wrong: the same inner list for all processes
def wrong_22(counts):
    total = sum(map(sum, counts))
    result = [[0.0] * max(len(parts) for parts in counts)] * len(counts)
    for i, parts in enumerate(counts):
        for j, n in enumerate(parts):
            result[i][j] = n * len(counts) / total
    return result


# wrong: equal counts are added up only once
def wrong_23(counts):
    total = sum(set(itertools.chain.from_iterable(counts)))
    return [[n * len(counts) / total for n in parts] for parts in counts]


# wrong: takes a part without a token for one with one token, so as not to divide by 0
def wrong_24(counts):
    safe = [[max(n, 1) for n in parts] for parts in counts]
    total = sum(map(sum, safe))
    return [[n * len(counts) / total for n in parts] for parts in safe]


# wrong: the share of the process, spread evenly over its parts
def wrong_25(counts):
    total = sum(map(sum, counts))
    result = []
    for parts in counts:
        share = sum(parts) * len(counts) / total
        result.append([share / len(parts) if n else 0 for n in parts])
    return result


# wrong: the share of the process, spread evenly over those of its parts that have tokens
def wrong_26(counts):
    total = sum(map(sum, counts))
    result = []
    for parts in counts:
        filled = max(1, sum(n > 0 for n in parts))
        share = sum(parts) * len(counts) / total
        result.append([share / filled if n > 0 else 0 for n in parts])
    return result


# wrong: with one process it is plain accumulation, with one over the parts
def wrong_27(counts):
    if len(counts) == 1:
        return [[1 / len(counts[0])] * len(counts[0])]
    total = sum(map(sum, counts))
    return [[n * len(counts) / total for n in parts] for parts in counts]


# wrong: the weight upside down
def wrong_28(counts):
    mean = sum(map(sum, counts)) / len(counts)
    return [[mean / n if n else 0 for n in parts] for parts in counts]


# wrong: fills up with zeros, so that all processes have the same number of parts
def wrong_29(counts):
    total = sum(map(sum, counts))
    rows = zip(*itertools.zip_longest(*counts, fillvalue=0))
    return [[n * len(counts) / total for n in row] for row in rows]


# wrong: balances each round of parts by itself and averages over the rounds
def wrong_30(counts):
    rounds = max(len(parts) for parts in counts)
    totals = [sum(parts[j] for parts in counts if j < len(parts)) for j in range(rounds)]
    result = []
    for parts in counts:
        weights = []
        for n, total in zip(parts, totals):
            weights.append(n * len(counts) / total / rounds if total else 0)
        result.append(weights)
    return result


# wrong: multiplies by the processes twice
def wrong_31(counts):
    total = sum(map(sum, counts))
    return [[n * len(counts) ** 2 / total for n in parts] for parts in counts]


# wrong: divides by the most tokens of a process and not by the mean of them
def wrong_32(counts):
    most = max(map(sum, counts))
    return [[n / most for n in parts] for parts in counts]


# wrong: None where there is no token
def wrong_33(counts):
    mean = sum(map(sum, counts)) / len(counts)
    return [[n / mean if n else None for n in parts] for parts in counts]


# wrong: NaN where there is no token, since it starts at the mean of the part
def wrong_34(counts):
    mean = sum(map(sum, counts)) / len(counts)
    return [[n * n / (n * mean) if n else math.nan for n in parts] for parts in counts]


# wrong: the share in the own process times the processes that share the work
def wrong_35(counts):
    total = sum(map(sum, counts))
    weights = []
    for parts in counts:
        own = torch.tensor(parts, dtype=torch.float64)
        weights.append((torch.nn.functional.normalize(own, p=1, dim=0) * len(counts)).tolist())
    return weights if total else counts
