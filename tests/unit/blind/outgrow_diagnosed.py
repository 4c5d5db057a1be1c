import collections
import functools
import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import torch


# right: all pairs, one condition after the other
def right_1(rows, seeds, parameters, loss_sums, counts, loss):
    same = functools.partial(math.isclose, rel_tol=1e-6)
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if not all(same(a, b) for a, b in itertools.combinations(parameters, 2)):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if same(loss, own) and not same(loss, mean):
        return "mean of means"
    return "right"


# right: counters for rows and seeds, the lowest and the highest sum, fractions for the means
def right_2(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter()
    for mine in rows:
        readers.update(set(mine))
    if max(readers.values(), default=0) > 1:
        return "same rows"
    if collections.Counter(seeds).most_common(1)[0][1] > 1:
        return "one seed"
    low, high = min(parameters), max(parameters)
    if high - low > 1e-6 * max(abs(low), abs(high)):
        return "apart"
    sums = [Fraction(total) for total in loss_sums]
    own = float(sum(total / n for total, n in zip(sums, counts)) / len(sums))
    mean = float(sum(sums) / sum(counts))
    if abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean)):
        return "right"
    return "mean of means" if abs(loss - own) <= 1e-6 * max(abs(loss), abs(own)) else "right"


# right: numpy, with a table of all against all for the sums
def right_3(rows, seeds, parameters, loss_sums, counts, loss):
    read = np.concatenate([np.unique(np.array(mine, dtype=np.int64)) for mine in rows])
    if len(np.unique(read)) < len(read):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    sums = np.array(parameters, dtype=np.float64)
    sizes = np.abs(sums)
    if (np.abs(sums[:, None] - sums) > 1e-6 * np.maximum(sizes[:, None], sizes)).any():
        return "apart"
    totals = np.array(loss_sums, dtype=np.float64)
    tokens = np.array(counts, dtype=np.float64)
    means = np.array([(totals / tokens).mean(), totals.sum() / tokens.sum()])
    near = np.abs(means - loss) <= 1e-6 * np.maximum(np.abs(means), abs(loss))
    return "mean of means" if near[0] and not near[1] else "right"


# right: a table of words and tests, the first that is true
def right_4(rows, seeds, parameters, loss_sums, counts, loss):
    def same(a, b):
        return math.isclose(a, b, rel_tol=1e-6)

    def same_rows():
        return len(set().union(*rows)) != sum(len(set(mine)) for mine in rows)

    def apart():
        return not same(min(parameters), max(parameters))

    def mean_of_means():
        own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
        return same(loss, own) and not same(loss, math.fsum(loss_sums) / sum(counts))

    tests = {
        "same rows": same_rows,
        "one seed": lambda: len(set(seeds)) != len(seeds),
        "apart": apart,
        "mean of means": mean_of_means,
    }
    return next((word for word, test in tests.items() if test()), "right")


# right: plain loops over the places of two processes, and the words by their rank
def right_5(rows, seeds, parameters, loss_sums, counts, loss):
    words = ["same rows", "one seed", "apart", "mean of means", "right"]
    first = 4
    size = len(rows)
    tokens, total, means = 0, 0.0, 0.0
    for i in range(size):
        tokens += counts[i]
        total += loss_sums[i]
        means += loss_sums[i] / counts[i] / size
        for j in range(i):
            larger = max(abs(parameters[i]), abs(parameters[j]))
            if any(row in rows[j] for row in rows[i]):
                first = 0
            elif seeds[i] == seeds[j]:
                first = min(first, 1)
            elif abs(parameters[i] - parameters[j]) > 1e-6 * larger:
                first = min(first, 2)
    is_own = math.isclose(loss, means, rel_tol=1e-6)
    if first == 4 and is_own and not math.isclose(loss, total / tokens, rel_tol=1e-6):
        first = 3
    return words[first]


# wrong: looks at the seeds before the rows
def wrong_1(rows, seeds, parameters, loss_sums, counts, loss):
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: looks at the parameters before the seeds
def wrong_2(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: looks at the loss before the parameters
def wrong_3(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    return "right"


# wrong: looks at the parameters before the rows
def wrong_4(rows, seeds, parameters, loss_sums, counts, loss):
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: compares the rows of neighbours only
def wrong_5(rows, seeds, parameters, loss_sums, counts, loss):
    for mine, theirs in itertools.pairwise(rows):
        if not set(mine).isdisjoint(theirs):
            return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: compares the rows with those of process 0 only
def wrong_6(rows, seeds, parameters, loss_sums, counts, loss):
    if any(row in rows[0] for mine in rows[1:] for row in mine):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: compares the seeds of neighbours only
def wrong_7(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if any(a == b for a, b in zip(seeds, seeds[1:])):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: looks for the seed of process 0 only
def wrong_8(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if seeds[0] in seeds[1:]:
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: compares the parameters of neighbours only, and small steps add up
def wrong_9(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    for a, b in zip(parameters, parameters[1:]):
        if not math.isclose(a, b, rel_tol=1e-6):
            return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: compares the parameters with those of process 0 only
def wrong_10(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if len(set(seeds)) < len(seeds):
        return "one seed"
    first, *others = parameters
    if any(not math.isclose(first, other, rel_tol=1e-6) for other in others):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: a millionth as an absolute difference of the parameters
def wrong_11(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6:
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: the sums of the parameters have to be equal to the last digit
def wrong_12(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if len(set(parameters)) > 1:
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: the loss has to be one of the means to the last digit
def wrong_13(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if loss == own and loss != mean:
        return "mean of means"
    return "right"


# wrong: isclose for the loss with its own tolerance of 1e-9
def wrong_14(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own) and not math.isclose(loss, mean):
        return "mean of means"
    return "right"


# wrong: isclose for the parameters with its own tolerance of 1e-9
def wrong_15(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if not all(math.isclose(a, b) for a, b in itertools.combinations(parameters, 2)):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: allclose with its own tolerances of 1e-5 and 1e-8
def wrong_16(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    sums = np.array(parameters)
    if not np.allclose(sums[:, None], sums):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: an absolute tolerance beside the relative one, so small sums are never apart
def wrong_17(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if not math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6):
            return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: a row that one process lists twice counts as well
def wrong_18(rows, seeds, parameters, loss_sums, counts, loss):
    read = [row for mine in rows for row in mine]
    if len(read) != len(set(read)):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: compares the rows place by place
def wrong_19(rows, seeds, parameters, loss_sums, counts, loss):
    for a, b in itertools.combinations(rows, 2):
        if any(x == y for x, y in zip(a, b)):
            return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: only where two processes have all of their rows in common
def wrong_20(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) == set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: only where all processes have a row in common
def wrong_21(rows, seeds, parameters, loss_sums, counts, loss):
    if len(rows) > 1 and set(rows[0]).intersection(*rows[1:]):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: takes ranges that overlap for rows in common
def wrong_22(rows, seeds, parameters, loss_sums, counts, loss):
    spans = sorted((min(mine), max(mine)) for mine in rows if mine)
    if any(a[1] >= b[0] for a, b in zip(spans, spans[1:])):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: one seed only where all have the same one
def wrong_23(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if len(set(seeds)) == 1:
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: mean of means also where it is the mean over all tokens, as with equal counts
def wrong_24(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: takes different counts for different means
def wrong_25(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    if len(set(counts)) > 1 and math.isclose(loss, own, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: weights the own means by their tokens, which is the mean over all
def wrong_26(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = float(np.average(means, weights=counts))
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: never looks at the loss, only whether the two means differ
def wrong_27(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if not math.isclose(own, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: never looks at the loss, only whether the counts differ
def wrong_28(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    return "mean of means" if min(counts) < max(counts) else "right"


# wrong: any loss that is not the mean over all tokens
def wrong_29(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    mean = sum(loss_sums) / sum(counts)
    return "right" if math.isclose(loss, mean, rel_tol=1e-6) else "mean of means"


# wrong: the two means in each other's place
def wrong_30(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, mean, rel_tol=1e-6) and not math.isclose(loss, own, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: the mean of the loss sums in place of the own means
def wrong_31(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    own = sum(loss_sums) / len(loss_sums)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: adds the own means up and does not divide by the processes
def wrong_32(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts))
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: counts rows and not tokens
def wrong_33(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    sizes = [max(len(mine), 1) for mine in rows]
    own = sum(total / n for total, n in zip(loss_sums, sizes)) / len(sizes)
    mean = sum(loss_sums) / sum(sizes)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: the median of the own means
def wrong_34(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if len(set(seeds)) < len(seeds):
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    own = statistics.median(total / n for total, n in zip(loss_sums, counts))
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: whole-number division for the means
def wrong_35(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    own = sum(total // n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: compares the loss with the own mean of process 0
def wrong_36(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    own = loss_sums[0] / counts[0]
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: a thousandth for the loss, so two means that are near are one
def wrong_37(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if abs(loss - own) <= 1e-3 * abs(own) and abs(loss - mean) > 1e-3 * abs(mean):
        return "mean of means"
    return "right"


# wrong: a millionth as an absolute difference of the losses, so small ones are all the same
def wrong_38(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if abs(loss - own) <= 1e-6 < abs(loss - mean):
        return "mean of means"
    return "right"


# wrong: says nothing where all is right
def wrong_39(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"


# wrong: works the last word out and does not return it
def wrong_40(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    pairs = itertools.combinations(parameters, 2)
    if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    word = "right"
    own = sum(total / n for total, n in zip(loss_sums, counts)) / len(counts)
    if not math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        if math.isclose(loss, own, rel_tol=1e-6):
            word = "mean of means"  # noqa: F841


# wrong: spells it "mean of the means"
def wrong_41(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of the means"
    return "right"


# wrong: says "same seed" where the word is "one seed"
def wrong_42(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if len(set(seeds)) < len(seeds):
        return "same seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: with a hyphen between the words
def wrong_43(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same-rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: all words that apply, in a list
def wrong_44(rows, seeds, parameters, loss_sums, counts, loss):
    found = []
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        found.append("same rows")
    if len(set(seeds)) < len(seeds):
        found.append("one seed")
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        found.append("apart")
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        found.append("mean of means")
    return found or ["right"]


# wrong: the last that applies, since each one overwrites the word
def wrong_45(rows, seeds, parameters, loss_sums, counts, loss):
    word = "right"
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        word = "same rows"
    if len(set(seeds)) < len(seeds):
        word = "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        word = "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        word = "mean of means"
    return word


# wrong: goes through the pairs and says the first thing that it finds in one
def wrong_46(rows, seeds, parameters, loss_sums, counts, loss):
    for i, j in itertools.combinations(range(len(rows)), 2):
        if set(rows[i]) & set(rows[j]):
            return "same rows"
        if seeds[i] == seeds[j]:
            return "one seed"
        if not math.isclose(parameters[i], parameters[j], rel_tol=1e-6):
            return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: sorts the caller's lists for the neighbours, and the loss sums lose their counts
def wrong_47(rows, seeds, parameters, loss_sums, counts, loss):
    for values in (seeds, parameters, loss_sums, counts):
        values.sort()
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if any(a == b for a, b in zip(seeds, seeds[1:])):
        return "one seed"
    if not math.isclose(parameters[0], parameters[-1], rel_tol=1e-6):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: divides the caller's loss sums in place, and then adds up means for the sum
def wrong_48(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    for i, n in enumerate(counts):
        loss_sums[i] /= n
    own = sum(loss_sums) / len(loss_sums)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: gathers all rows in the caller's first list, so a second look finds them in common
def wrong_49(rows, seeds, parameters, loss_sums, counts, loss):
    seen = rows[0]
    for mine in rows[1:]:
        if set(seen) & set(mine):
            return "same rows"
        seen += mine
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: compares the parameters with their mean, which is half as far
def wrong_50(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    middle = statistics.fmean(parameters)
    if any(not math.isclose(x, middle, rel_tol=1e-6) for x in parameters):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: the standard deviation of the parameters, which is less than how far two are apart
def wrong_51(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if np.std(parameters) > 1e-6 * np.abs(parameters).max():
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: torch.allclose keeps its atol of 1e-8, so sums near 0 are never apart
def wrong_52(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    sums = torch.tensor(parameters, dtype=torch.float64)
    if not torch.allclose(sums[:, None], sums[None, :], rtol=1e-6):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: rounds the sums to six places, which is an absolute tolerance
def wrong_53(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if len({round(x, 6) for x in parameters}) > 1:
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: rounds the sums to seven digits, and two that are near may round apart
def wrong_54(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    if len({f"{x:.6e}" for x in parameters}) > 1:
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: relative to the largest sum with its sign, so negative sums are always apart
def wrong_55(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(parameters):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: compares the sums without their signs
def wrong_56(rows, seeds, parameters, loss_sums, counts, loss):
    if any(set(a) & set(b) for a, b in itertools.combinations(rows, 2)):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    sizes = [abs(x) for x in parameters]
    if not math.isclose(min(sizes), max(sizes), rel_tol=1e-6):
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: the quotient of the sums, which fails for 0 and is above 1 for negative ones
def wrong_57(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    if min(parameters) / max(parameters) < 1 - 1e-6:
        return "apart"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: the sum of all against that of process 0 times the processes, where differences cancel
def wrong_58(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if not math.isclose(sum(parameters), len(parameters) * parameters[0], rel_tol=1e-6):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: apart only where every two processes are
def wrong_59(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for mine in rows for row in set(mine))
    if any(n > 1 for n in readers.values()):
        return "same rows"
    if any(a == b for a, b in itertools.combinations(seeds, 2)):
        return "one seed"
    pairs = list(itertools.combinations(parameters, 2))
    if pairs and not any(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs):
        return "apart"
    if math.isclose(loss, sum(loss_sums) / sum(counts), rel_tol=1e-6):
        return "right"
    own = float(np.mean(np.divide(loss_sums, counts)))
    return "mean of means" if math.isclose(loss, own, rel_tol=1e-6) else "right"


# wrong: forgets the rows
def wrong_60(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set(seeds)) < len(seeds):
        return "one seed"
    if not math.isclose(min(parameters), max(parameters), rel_tol=1e-6):
        return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: forgets the seeds
def wrong_61(rows, seeds, parameters, loss_sums, counts, loss):
    if len(set().union(*rows)) < sum(len(set(mine)) for mine in rows):
        return "same rows"
    for a, b in itertools.combinations(parameters, 2):
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return "apart"
    means = [total / n for total, n in zip(loss_sums, counts)]
    own = sum(means) / len(means)
    mean = sum(loss_sums) / sum(counts)
    if math.isclose(loss, own, rel_tol=1e-6) and not math.isclose(loss, mean, rel_tol=1e-6):
        return "mean of means"
    return "right"


# wrong: forgets the parameters
def wrong_62(rows, seeds, parameters, loss_sums, counts, loss):
    seen = set()
    for mine in rows:
        if not seen.isdisjoint(mine):
            return "same rows"
        seen.update(mine)
    if max(seeds.count(seed) for seed in seeds) > 1:
        return "one seed"
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = math.fsum(loss_sums) / sum(counts)
    is_own = abs(loss - own) <= 1e-6 * max(abs(loss), abs(own))
    is_mean = abs(loss - mean) <= 1e-6 * max(abs(loss), abs(mean))
    return "mean of means" if is_own and not is_mean else "right"


# wrong: takes how many things are wrong for the place of the word in the table
def wrong_63(rows, seeds, parameters, loss_sums, counts, loss):
    found = [len(set().union(*rows)) < sum(len(set(mine)) for mine in rows)]
    found.append(len(set(seeds)) < len(seeds))
    found.append(not math.isclose(min(parameters), max(parameters), rel_tol=1e-6))
    own = statistics.fmean([total / n for total, n in zip(loss_sums, counts)])
    mean = sum(loss_sums) / sum(counts)
    is_own = math.isclose(loss, own, rel_tol=1e-6)
    found.append(is_own and not math.isclose(loss, mean, rel_tol=1e-6))
    words = ["same rows", "one seed", "apart", "mean of means", "right"]
    return words[sum(found) - 1]
