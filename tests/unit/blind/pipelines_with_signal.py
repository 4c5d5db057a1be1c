import math

import numpy as np
import torch


# right: the formula on the whole tensor
def right_1(success, size):
    return (1 - success**size - (1 - success) ** size).mean()


# right: a Python loop over floats, returns a Python number
def right_2(success, size):
    total = 0.0
    values = success.tolist()
    for p in values:
        all_good = all_bad = 1.0
        for _ in range(size):
            all_good *= p
            all_bad *= 1 - p
        total += 1 - all_good - all_bad
    return total / len(values)


# right: sums over the place at which the first response unlike the others comes
def right_3(success, size):
    p = success.double()
    q = 1 - p
    share = torch.zeros_like(p)
    for t in range(1, size):
        share = share + p**t * q + q**t * p
    return share.mean().to(success.dtype)


# right: a chain of states (only successes, only failures, both) stepped response by response
def right_4(success, size):
    good, bad, both = success, 1 - success, torch.zeros_like(success)
    for _ in range(size - 1):
        both = both + good * (1 - success) + bad * success
        good = good * success
        bad = bad * (1 - success)
    return both.mean()


# right: expm1 and log1p in float64, exact for small probabilities too
def right_5(success, size):
    p = success.double()
    some = -torch.expm1(size * torch.log1p(-p))
    return (some - p.pow(size)).mean().float()


# right: numpy; the share of useless groups first, then its complement
def right_6(success, size):
    p = success.detach().numpy().astype(np.float64)
    useless = np.power(p, size) + np.power(1 - p, size)
    return torch.tensor(1 - useless.mean())


# right: the binomial probabilities of 1 .. size - 1 successes, by logarithms
def right_7(success, size):
    total = 0.0
    for p in success.tolist():
        if p <= 0 or p >= 1:
            continue
        for k in range(1, size):
            ways = math.lgamma(size + 1) - math.lgamma(k + 1) - math.lgamma(size - k + 1)
            total += math.exp(ways + k * math.log(p) + (size - k) * math.log1p(-p))
    return torch.tensor(total / len(success))


# wrong: forgets the groups in which all succeed
def wrong_1(success, size):
    return (1 - (1 - success) ** size).mean()


# wrong: forgets the groups in which all fail
def wrong_2(success, size):
    return (1 - success**size).mean()


# wrong: multiplies the two as though they were independent
def wrong_3(success, size):
    return ((1 - success**size) * (1 - (1 - success) ** size)).mean()


# wrong: takes the mean of the probabilities first
def wrong_4(success, size):
    p = success.mean()
    return 1 - p**size - (1 - p) ** size


# wrong: exactly one success
def wrong_5(success, size):
    return (size * success * (1 - success) ** (size - 1)).mean()


# wrong: returns the share of groups that say nothing
def wrong_6(success, size):
    return (success**size + (1 - success) ** size).mean()


# wrong: sums over the prompts
def wrong_7(success, size):
    return (1 - success**size - (1 - success) ** size).sum()


# wrong: size - 1 as the exponent
def wrong_8(success, size):
    n = size - 1
    return (1 - success**n - (1 - success) ** n).mean()


# wrong: size times the variance, right for groups of two and of three
def wrong_9(success, size):
    return (size * success * (1 - success)).mean()


# wrong: twice the variance, right for groups of two
def wrong_10(success, size):
    return 2 * (success * (1 - success)).mean()


# wrong: counts the prompts that are neither hopeless nor certain
def wrong_11(success, size):
    return ((success > 0) & (success < 1)).float().mean()


# wrong: changes the caller's success in place (the value returned is right)
def wrong_12(success, size):
    fail = (1 - success).pow_(size)
    return (1 - success.pow_(size) - fail).mean()


# wrong: leaves hopeless and certain prompts out of the mean
def wrong_13(success, size):
    p = success[(success > 0) & (success < 1)]
    return (1 - p**size - (1 - p) ** size).mean()


# wrong: one value for each prompt, no mean
def wrong_14(success, size):
    return 1 - success**size - (1 - success) ** size


# wrong: clamps the probabilities away from 0 and 1
def wrong_15(success, size):
    p = success.clamp(0.01, 0.99)
    return (1 - p**size - (1 - p) ** size).mean()


# wrong: sums the geometric series by a division that is 0/0 at 0 and at 1
def wrong_16(success, size):
    p, q = success, 1 - success
    a = q * p * (1 - p ** (size - 1)) / (1 - p)
    b = p * q * (1 - q ** (size - 1)) / (1 - q)
    return (a + b).mean()


# wrong: takes away only the likelier of the two
def wrong_17(success, size):
    return (1 - torch.maximum(success**size, (1 - success) ** size)).mean()


# wrong: treats a group of one as one of two
def wrong_18(success, size):
    n = max(size, 2)
    return (1 - success**n - (1 - success) ** n).mean()


# wrong: the median over the prompts
def wrong_19(success, size):
    return (1 - success**size - (1 - success) ** size).median()


# wrong: as though the successes in a group were the expected number, rounded
def wrong_20(success, size):
    k = torch.round(success * size)
    return ((k > 0) & (k < size)).float().mean()


# wrong: a parenthesis in the wrong place, always 0
def wrong_21(success, size):
    return (1 - success**size - (1 - success**size)).mean()


# wrong: a simulation, right only up to noise
def wrong_22(success, size):
    draws = torch.rand(200, len(success), size) < success[:, None]
    hits = draws.sum(-1)
    return ((hits > 0) & (hits < size)).float().mean()


# wrong: leaves off the first prompt
def wrong_23(success, size):
    total = 0.0
    for i in range(1, len(success)):
        p = float(success[i])
        total += 1 - p**size - (1 - p) ** size
    return total / len(success)


# wrong: divides by size in place of raising to it, so the same for all prompts: 1 - 1 / size
def wrong_24(success, size):
    return (1 - (success / size) - (1 - success) / size).mean()


# wrong: divides by size in place of the number of prompts
def wrong_25(success, size):
    return sum(1 - p**size - (1 - p) ** size for p in success) / size


# wrong: weights each prompt by its successes, so the share of successful responses that stand in such groups
def wrong_26(success, size):
    return (success * (1 - success**size - (1 - success) ** size)).mean() / success.mean()


# wrong: looks at three responses at most, right up to groups of three
def wrong_27(success, size):
    n = min(size, 3)
    return (1 - success**n - (1 - success) ** n).mean()


# wrong: rounds the probabilities to one decimal, right for numbers such as an example has
def wrong_28(success, size):
    p = torch.round(success * 10) / 10
    return (1 - p**size - (1 - p) ** size).mean()
