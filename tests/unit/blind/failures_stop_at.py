import bisect
import itertools
import math

import numpy as np


# right: a loop that counts until a step is not within the budget
def right_1(kl, budget):
    steps = 0
    for value in kl:
        if not value <= budget:
            break
        steps += 1
    return steps


# right: the length of what takewhile takes
def right_2(kl, budget):
    return len(list(itertools.takewhile(lambda value: value <= budget, kl)))


# right: the index of the first step that is not within the budget, or else the number of steps
def right_3(kl, budget):
    return next((i for i, value in enumerate(kl) if not value <= budget), len(kl))


# right: a running product of zeros and ones stays 0 after the first step outside
def right_4(kl, budget):
    within = np.asarray(kl, dtype=float) <= budget
    return int(np.cumprod(within.astype(int)).sum())


# wrong: a step that reaches the budget exactly is taken to be outside
def wrong_1(kl, budget):
    return len(list(itertools.takewhile(lambda value: value < budget, kl)))


# wrong: the last step within the budget, although an earlier one was outside
def wrong_2(kl, budget):
    steps = 0
    for i, value in enumerate(kl):
        if value <= budget:
            steps = i + 1
    return steps


# wrong: counts all the steps within the budget, those after the first outside among them
def wrong_3(kl, budget):
    return sum(value <= budget for value in kl)


# wrong: adds the divergences up, as if each were that of its step alone
def wrong_4(kl, budget):
    spent = 0.0
    for i, value in enumerate(kl):
        spent += value
        if spent > budget:
            return i
    return len(kl)


# wrong: counts the step that breaks the budget as well
def wrong_5(kl, budget):
    for i, value in enumerate(kl):
        if value > budget:
            return i + 1
    return len(kl)


# wrong: the index of the last step within the budget and not the number of steps
def wrong_6(kl, budget):
    last = 0
    for i, value in enumerate(kl):
        if value > budget:
            break
        last = i
    return last


# wrong: argmax finds no step outside and returns 0 where all of them are within
def wrong_7(kl, budget):
    if len(kl) == 0:
        return 0
    return int(np.argmax(np.array(kl) > budget))


# wrong: a search by halves takes the list to be sorted
def wrong_8(kl, budget):
    return bisect.bisect_right(kl, budget)


# wrong: an index of 0 counts as false, so all steps are made where the first is outside already
def wrong_9(kl, budget):
    first = next((i for i, value in enumerate(kl) if value > budget), None)
    return first or len(kl)


# wrong: an estimate below 0 is taken for its size, which may be outside
def wrong_10(kl, budget):
    for i, value in enumerate(kl):
        if abs(value) > budget:
            return i
    return len(kl)


# wrong: an estimate below 0 is taken for an error and ends the run
def wrong_11(kl, budget):
    return len(list(itertools.takewhile(lambda value: 0 <= value <= budget, kl)))


# wrong: turns the divergences into bits before it compares them
def wrong_12(kl, budget):
    return next((i for i, value in enumerate(kl) if value / math.log(2) > budget), len(kl))


# wrong: looks at the last step of an empty list, which is an error
def wrong_13(kl, budget):
    if kl[-1] <= budget and max(kl) <= budget:
        return len(kl)
    return next(i for i, value in enumerate(kl) if value > budget)


# wrong: compares the mean of the steps so far and not the step itself
def wrong_14(kl, budget):
    for i in range(len(kl)):
        if sum(kl[: i + 1]) / (i + 1) > budget:
            return i
    return len(kl)
