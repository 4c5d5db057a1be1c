"""Answers to data.line, written from the exercise's text alone."""

import statistics
from fractions import Fraction

import numpy as np


# right: the formula, word for word, in plain Python
def right_1(x, y):
    mx = sum(x) / len(x)
    my = sum(y) / len(y)
    top = sum((u - mx) * (v - my) for u, v in zip(x, y))
    bottom = sum((u - mx) ** 2 for u in x)
    b = top / bottom
    return my - b * mx, b


# right: exact fractions and the normal equations by Cramer's rule
def right_2(x, y):
    xs = [Fraction(u) for u in x]
    ys = [Fraction(v) for v in y]
    n, sx, sy = len(xs), sum(xs), sum(ys)
    sxx = sum(u * u for u in xs)
    sxy = sum(u * v for u, v in zip(xs, ys))
    det = n * sxx - sx * sx
    return float((sxx * sy - sx * sxy) / det), float((n * sxy - sx * sy) / det)


# right: numpy dot products; only x is centred, which is enough for the slope
def right_3(x, y):
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    d = x - x.mean()
    b = d @ y / (d @ d)
    return float(y.mean() - b * x.mean()), float(b)


# right: the slope from all pairs of points, each weighted by its squared distance in x
def right_4(x, y):
    top = bottom = 0
    for i in range(len(x)):
        for j in range(i):
            top += (x[i] - x[j]) * (y[i] - y[j])
            bottom += (x[i] - x[j]) ** 2
    b = top / bottom
    return (statistics.fmean(y) - b * statistics.fmean(x), b)


# wrong: sorts x without taking y along, so only right where x is sorted already
def wrong_1(x, y):
    x = sorted(x)
    mx, my = sum(x) / len(x), sum(y) / len(y)
    b = sum((u - mx) * (v - my) for u, v in zip(x, y)) / sum((u - mx) ** 2 for u in x)
    return my - b * mx, b


# wrong: averages y where x is repeated and counts each distinct x once
def wrong_2(x, y):
    groups = {}
    for u, v in zip(x, y):
        groups.setdefault(u, []).append(v)
    xs = list(groups)
    ys = [sum(g) / len(g) for g in groups.values()]
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    b = sum((u - mx) * (v - my) for u, v in zip(xs, ys)) / sum((u - mx) ** 2 for u in xs)
    return my - b * mx, b


# wrong: covariance over n - 1 (np.cov) divided by variance over n (np.var)
def wrong_3(x, y):
    b = np.cov(x, y)[0, 1] / np.var(x)
    a = np.mean(y) - b * np.mean(x)
    return float(a), float(b)


# wrong: goes by the correlation, which divides 0 by 0 where all y are equal
def wrong_4(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    sx = sum((u - mx) ** 2 for u in x) ** 0.5
    sy = sum((v - my) ** 2 for v in y) ** 0.5
    r = sum((u - mx) * (v - my) for u, v in zip(x, y)) / (sx * sy)
    b = r * sy / sx
    return my - b * mx, b


# wrong: the mean of the slopes between neighbouring points, right only on an exact line
def wrong_5(x, y):
    slopes = []
    for i in range(len(x) - 1):
        if x[i + 1] != x[i]:
            slopes.append((y[i + 1] - y[i]) / (x[i + 1] - x[i]))
    b = sum(slopes) / len(slopes)
    a = sum(y) / len(y) - b * sum(x) / len(x)
    return a, b


# wrong: right numbers, but it centres the caller's own lists in place
def wrong_6(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    for i in range(len(x)):
        x[i] -= mx
        y[i] -= my
    b = sum(u * v for u, v in zip(x, y)) / sum(u * u for u in x)
    return my - b * mx, b


# wrong: means by whole-number division, right only where both means are whole
def wrong_7(x, y):
    mx = sum(x) // len(x)
    my = sum(y) // len(y)
    b = sum((u - mx) * (v - my) for u, v in zip(x, y)) / sum((u - mx) ** 2 for u in x)
    return my - b * mx, b


# wrong: slope is right, but the intercept makes the line pass through the first point
def wrong_8(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    b = sum((u - mx) * (v - my) for u, v in zip(x, y)) / sum((u - mx) ** 2 for u in x)
    a = y[0] - b * x[0]
    return a, b
