import itertools
import math
import statistics

import numpy as np
import torch


# right: means by rate, then the lowest rate within the bound
def right_1(rates, losses):
    means, errors = {}, {}
    for rate, runs in zip(rates, losses):
        if not all(math.isfinite(x) for x in runs):
            continue
        n = len(runs)
        mean = sum(runs) / n
        means[rate] = mean
        errors[rate] = 0.0
        if n > 1:
            errors[rate] = math.sqrt(sum((x - mean) ** 2 for x in runs) / (n - 1)) / math.sqrt(n)
    if not means:
        return None
    best = min(means, key=means.get)
    bound = means[best] + errors[best]
    rate = min(r for r, mean in means.items() if mean <= bound)
    return rate, best in (min(rates), max(rates))


# right: sorts the sweep by rate and takes the first that is good enough
def right_2(rates, losses):
    sweep = sorted(zip(rates, losses), key=lambda pair: pair[0])
    lowest, highest = sweep[0][0], sweep[-1][0]
    sweep = [(r, x) for r, x in sweep if np.isfinite(x).all()]
    if not sweep:
        return None
    means = [statistics.mean(x) for _, x in sweep]
    best, runs = sweep[means.index(min(means))]
    error = statistics.stdev(runs) / len(runs) ** 0.5 if len(runs) > 1 else 0
    bound = min(means) + error
    at_edge = best == lowest or best == highest
    return next((r, at_edge) for (r, _), mean in zip(sweep, means) if mean <= bound)


# right: numpy, where a mean that is not finite turns into inf, which is never within the bound
def right_3(rates, losses):
    means = np.array([np.mean(x) if np.all(np.isfinite(x)) else np.inf for x in losses])
    if np.isinf(means).all():
        return None
    best = int(np.argmin(means))
    runs = np.asarray(losses[best], dtype=float)
    error = runs.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else 0.0
    good = np.flatnonzero(means <= means[best] + error)
    chosen = min(good, key=lambda i: rates[i])
    rank = sorted(rates).index(rates[best])
    return rates[int(chosen)], rank in (0, len(rates) - 1)


# right: the error from the differences of all pairs of runs, no mean in it
def right_4(rates, losses):
    alive = [i for i, x in enumerate(losses) if all(abs(v) < math.inf for v in x)]
    if len(alive) == 0:
        return None
    mean = {i: math.fsum(losses[i]) / len(losses[i]) for i in alive}
    best = alive[0]
    for i in alive[1:]:
        if mean[i] < mean[best]:
            best = i
    runs = losses[best]
    n = len(runs)
    pairs = sum((a - b) ** 2 for a, b in itertools.combinations(runs, 2))
    error = math.sqrt(pairs / (n * n * max(n - 1, 1)))
    rate = rates[best]
    for i in alive:
        if mean[i] <= mean[best] + error and rates[i] < rate:
            rate = rates[i]
    inner = any(r < rates[best] for r in rates) and any(r > rates[best] for r in rates)
    return rate, not inner


# right: torch with doubles, one row at a time
def right_5(rates, losses):
    rows = [torch.tensor(x, dtype=torch.float64) for x in losses]
    order = sorted(range(len(rates)), key=rates.__getitem__)
    alive = [i for i in order if bool(torch.isfinite(rows[i]).all())]
    if not alive:
        return None
    best = min(alive, key=lambda i: rows[i].mean().item())
    n = rows[best].numel()
    error = (rows[best].var(correction=1) / n).sqrt().item() if n > 1 else 0.0
    bound = rows[best].mean().item() + error
    while_over = itertools.dropwhile(lambda i: rows[i].mean().item() > bound, alive)
    return rates[next(while_over)], best in (order[0], order[-1])


# wrong: takes the best rate itself
def wrong_1(rates, losses):
    means = {r: sum(x) / len(x) for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not means:
        return None
    best = min(means, key=means.get)
    return best, best in (min(rates), max(rates))


# wrong: the standard deviation with n and not n − 1
def wrong_2(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    error = float(np.std(runs[best])) / math.sqrt(len(runs[best]))
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: the standard deviation of the runs and not the standard error
def wrong_3(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    error = statistics.stdev(runs[best]) if len(runs[best]) > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: a mean that reaches the bound exactly is out
def wrong_4(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if r == best or means[r] < means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: each rate is judged by its own standard error
def wrong_5(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    errors = {r: statistics.stdev(x) / len(x) ** 0.5 if len(x) > 1 else 0 for r, x in runs.items()}
    best = min(means, key=means.get)
    rate = min(r for r in means if means[r] <= means[best] + errors[r])
    return rate, best in (min(rates), max(rates))


# wrong: drops the runs that diverged and keeps the rate with the others
def wrong_6(rates, losses):
    runs = {r: [v for v in x if math.isfinite(v)] for r, x in zip(rates, losses)}
    runs = {r: x for r, x in runs.items() if x}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: looks for the edge at the rate that it takes and not at the best one
def wrong_7(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, rate in (min(rates), max(rates))


# wrong: the edge of the rates that did not diverge and not of all
def wrong_8(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(runs), max(runs))


# wrong: takes the list for sorted, so the edge is its first or last place
def wrong_9(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (rates[0], rates[-1])


# wrong: takes the first rate of the list that is good enough, though the order may be any
def wrong_10(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = next(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: only the highest rate is an edge
def wrong_11(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best == max(rates)


# wrong: only NaN is taken for diverged, so with inf at every rate there is still an answer
def wrong_12(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if not any(math.isnan(v) for v in x)}
    if not runs:
        return None
    means = {r: sum(x) / len(x) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    if n == 1 or math.isinf(means[best]):
        error = 0
    else:
        error = statistics.stdev(runs[best]) / math.sqrt(n)
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: only inf is taken for diverged, and a NaN gets into the comparisons
def wrong_13(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if not any(math.isinf(v) for v in x)}
    if not runs:
        return None
    means = {r: sum(x) / len(x) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = float(np.std(runs[best], ddof=1)) / math.sqrt(n) if n > 1 else 0
    rate = min((r for r in means if means[r] <= means[best] + error), default=best)
    return rate, best in (min(rates), max(rates))


# wrong: the standard deviation of a single run, which is an error
def wrong_14(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    error = statistics.stdev(runs[best]) / math.sqrt(len(runs[best]))
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: a pair with None in it where runs diverged at every rate
def wrong_15(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None, True
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: goes down from the best rate and stops at the first that is not good enough
def wrong_16(rates, losses):
    sweep = sorted((r, x) for r, x in zip(rates, losses) if np.isfinite(x).all())
    if not sweep:
        return None
    means = [float(np.mean(x)) for _, x in sweep]
    best = means.index(min(means))
    runs = sweep[best][1]
    error = statistics.stdev(runs) / math.sqrt(len(runs)) if len(runs) > 1 else 0
    at = best
    while at > 0 and means[at - 1] <= means[best] + error:
        at -= 1
    return sweep[at][0], sweep[best][0] in (min(rates), max(rates))


# wrong: the highest rate that is good enough
def wrong_17(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = max(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: the best rate is the one with the best single run
def wrong_18(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(runs, key=lambda r: min(runs[r]))
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: medians in place of means
def wrong_19(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    middle = {r: statistics.median(x) for r, x in runs.items()}
    best = min(middle, key=middle.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in middle if middle[r] <= middle[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: the largest of all standard errors stands for the best rate's own
def wrong_20(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    errors = [statistics.stdev(x) / len(x) ** 0.5 if len(x) > 1 else 0 for x in runs.values()]
    rate = min(r for r in means if means[r] <= means[best] + max(errors))
    return rate, best in (min(rates), max(rates))


# wrong: with a single run no other rate is looked at, not even one that is just as good
def wrong_21(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=lambda r: (means[r], -r))
    at_edge = best in (min(rates), max(rates))
    n = len(runs[best])
    if n == 1:
        return best, at_edge
    error = statistics.stdev(runs[best]) / math.sqrt(n)
    return min(r for r in means if means[r] <= means[best] + error), at_edge


# wrong: divides by the root of how many rates there are and not of how many runs
def wrong_22(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    error = statistics.stdev(runs[best]) if len(runs[best]) > 1 else 0
    error /= math.sqrt(len(rates))
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (min(rates), max(rates))


# wrong: sorts the caller's rates in place, and the losses stay where they were
def wrong_23(rates, losses):
    rates.sort()
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if means[r] <= means[best] + error)
    return rate, best in (rates[0], rates[-1])


# wrong: one standard error is taken as a share of the lowest mean
def wrong_24(rates, losses):
    runs = {r: x for r, x in zip(rates, losses) if np.isfinite(x).all()}
    if not runs:
        return None
    means = {r: float(np.mean(x)) for r, x in runs.items()}
    best = min(means, key=means.get)
    n = len(runs[best])
    error = statistics.stdev(runs[best]) / math.sqrt(n) if n > 1 else 0
    rate = min(r for r in means if r == best or means[r] <= means[best] * (1 + error))
    return rate, best in (min(rates), max(rates))
