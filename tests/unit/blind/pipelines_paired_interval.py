import itertools
import math
import statistics

import numpy as np
import torch


# right: the statistics module
def right_1(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# right: numpy with ddof=1, returned as Python floats
def right_2(first, second, quantile):
    d = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return float(d.mean()), float(quantile * d.std(ddof=1) / np.sqrt(d.size))


# right: the deviation by n, divided by the root of n - 1, which comes to the same
def right_3(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.fmean(d), quantile * statistics.pstdev(d) / math.sqrt(len(d) - 1)


# right: from all pairs of differences, without the mean
def right_4(first, second, quantile):
    n = len(first)
    d = [first[i] - second[i] for i in range(n)]
    squares = sum((u - v) ** 2 for u, v in itertools.combinations(d, 2))
    return sum(d) / n, quantile * math.sqrt(squares / (n - 1)) / n


# right: torch in float64, whose std is a sample's
def right_5(first, second, quantile):
    d = torch.tensor(first, dtype=torch.float64) - torch.tensor(second, dtype=torch.float64)
    return d.mean().item(), (quantile * d.std() / len(d) ** 0.5).item()


# right: Welford's running mean and squares
def right_6(first, second, quantile):
    n, mean, squares = 0, 0.0, 0.0
    for a, b in zip(first, second):
        n += 1
        step = (a - b) - mean
        mean += step / n
        squares += step * ((a - b) - mean)
    return mean, quantile * math.sqrt(max(squares, 0.0) / (n - 1) / n)


# right: the variance of a difference from variances and covariance; the mean as a difference of means
def right_7(first, second, quantile):
    cov = np.cov(np.array([first, second], dtype=np.float64))
    var = max(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], 0.0)
    return float(np.mean(first) - np.mean(second)), float(quantile * math.sqrt(var / len(first)))


# wrong: the deviation of a population, divided by n
def wrong_1(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.pstdev(d) / math.sqrt(len(d))


# wrong: no root of n
def wrong_2(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d)


# wrong: divides by n, not by its root
def wrong_3(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / len(d)


# wrong: not paired, adds the variances of the two
def wrong_4(first, second, quantile):
    mean = statistics.mean(first) - statistics.mean(second)
    var = statistics.variance(first) + statistics.variance(second)
    return mean, quantile * math.sqrt(var / len(first))


# wrong: the whole width
def wrong_5(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), 2 * quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: the variance in place of the deviation
def wrong_6(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.variance(d) / math.sqrt(len(d))


# wrong: second - first
def wrong_7(first, second, quantile):
    d = [b - a for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: 4.303 whatever the quantile given
def wrong_8(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), 4.303 * statistics.stdev(d) / math.sqrt(len(d))


# wrong: the differences without their signs
def wrong_9(first, second, quantile):
    d = [abs(a - b) for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: sorts both, which breaks the pairs
def wrong_10(first, second, quantile):
    d = [a - b for a, b in zip(sorted(first), sorted(second))]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: n - 1 twice, in the deviation and under the root
def wrong_11(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d) - 1)


# wrong: returns the ends of the interval
def wrong_12(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    mean, half = statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d))
    return mean - half, mean + half


# wrong: the root of 3, right for three seeds
def wrong_13(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(3)


# wrong: a set of differences, equal ones count once
def wrong_14(first, second, quantile):
    d = {a - b for a, b in zip(first, second)}
    n = len(d)
    mean = sum(d) / n
    var = sum((x - mean) ** 2 for x in d) / max(n - 1, 1)
    return mean, quantile * math.sqrt(var / n)


# wrong: rounds to two decimals
def wrong_15(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    half = quantile * statistics.stdev(d) / math.sqrt(len(d))
    return round(statistics.mean(d), 2), round(half, 2)


# wrong: squares about zero, not about the mean
def wrong_16(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    n = len(d)
    return sum(d) / n, quantile * math.sqrt(sum(x * x for x in d) / (n - 1) / n)


# wrong: the median of the differences
def wrong_17(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return statistics.median(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: half the range
def wrong_18(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return sum(d) / len(d), (max(d) - min(d)) / 2


# wrong: writes the differences into the caller's first list (the values returned are right)
def wrong_19(first, second, quantile):
    for i in range(len(first)):
        first[i] -= second[i]
    return statistics.mean(first), quantile * statistics.stdev(first) / math.sqrt(len(first))


# wrong: mean of squares minus square of mean, which rounding makes negative for equal differences
def wrong_20(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    n = len(d)
    mean = sum(d) / n
    var = (sum(x * x for x in d) / n - mean**2) * n / (n - 1)
    return mean, quantile * math.sqrt(var / n)


# wrong: nothing is made of two seeds, half of the width is 0
def wrong_21(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    n = len(d)
    if n < 3:
        return sum(d) / n, 0.0
    return sum(d) / n, quantile * statistics.stdev(d) / math.sqrt(n)


# wrong: leaves the first seed out
def wrong_22(first, second, quantile):
    n = len(first)
    d = [first[i] - second[i] for i in range(1, n)]
    mean = sum(d) / len(d)
    var = sum((x - mean) ** 2 for x in d) / max(len(d) - 1, 1)
    return mean, quantile * math.sqrt(var / n)


# wrong: the deviation of first alone
def wrong_23(first, second, quantile):
    n = len(first)
    mean = sum(a - b for a, b in zip(first, second)) / n
    return mean, quantile * statistics.stdev(first) / math.sqrt(n)


# wrong: the difference of the two deviations
def wrong_24(first, second, quantile):
    n = len(first)
    mean = statistics.mean(first) - statistics.mean(second)
    return mean, quantile * abs(statistics.stdev(first) - statistics.stdev(second)) / math.sqrt(n)


# wrong: float32 before the subtraction, large numbers with small differences are lost
def wrong_25(first, second, quantile):
    d = torch.tensor(first, dtype=torch.float32) - torch.tensor(second, dtype=torch.float32)
    return d.mean().item(), (quantile * d.std() / len(d) ** 0.5).item()


# wrong: floor division for the mean
def wrong_26(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return sum(d) // len(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: the mean absolute deviation in place of the deviation
def wrong_27(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    n = len(d)
    mean = sum(d) / n
    return mean, quantile * sum(abs(x - mean) for x in d) / (n - 1) / math.sqrt(n)


# wrong: the root of 2 in place of n, right for two seeds
def wrong_28(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    return sum(d) / len(d), quantile * statistics.stdev(d) / math.sqrt(2)


# wrong: all pairs of seeds, each first with each second (n * n differences)
def wrong_29(first, second, quantile):
    d = [a - b for a, b in itertools.product(first, second)]
    return statistics.mean(d), quantile * statistics.stdev(d) / math.sqrt(len(d))


# wrong: the mean relative to second
def wrong_30(first, second, quantile):
    d = [a - b for a, b in zip(first, second)]
    half = quantile * statistics.stdev(d) / math.sqrt(len(d))
    return statistics.mean(d) / abs(statistics.mean(second)), half
