"""Answers to data.label_hours, written from the exercise's text alone."""

import math
from datetime import timedelta
from fractions import Fraction

import numpy as np


# right: the product over 60
def right_1(items, minutes, judgements):
    return items * minutes * judgements / 60


# right: hours of one judgement as an exact fraction, made a float at the end
def right_2(items, minutes, judgements):
    one = Fraction(minutes) / 60
    return float(one * Fraction(items) * Fraction(judgements))


# right: whole hours and the minutes left over, put together again
def right_3(items, minutes, judgements):
    hours, rest = divmod(math.prod([items, judgements, minutes]), 60)
    return hours + rest / 60


# right: numpy floats, through seconds
def right_4(items, minutes, judgements):
    seconds = np.prod(np.array([items, minutes, judgements, 60], dtype=float))
    return float(seconds / 3600)


# wrong: whole-number division, the fraction of an hour is lost
def wrong_1(items, minutes, judgements):
    return items * minutes * judgements // 60


# wrong: rounds to one decimal place
def wrong_2(items, minutes, judgements):
    return round(items * minutes * judgements / 60, 1)


# wrong: the judges work side by side, so their number is left out
def wrong_3(items, minutes, judgements):
    return items * minutes / 60


# wrong: shares the work out among the judges rather than adding theirs up
def wrong_4(items, minutes, judgements):
    return items * minutes / judgements / 60


# wrong: cuts minutes to a whole number first
def wrong_5(items, minutes, judgements):
    return int(items) * int(minutes) * int(judgements) / 60


# wrong: .seconds of a timedelta leaves out whole days, right only below 24 hours
def wrong_6(items, minutes, judgements):
    work = timedelta(minutes=minutes) * items * judgements
    return work.seconds / 3600


# wrong: minutes left over are written behind the point (1.30 for an hour and a half)
def wrong_7(items, minutes, judgements):
    hours, rest = divmod(items * minutes * judgements, 60)
    return hours + rest / 100


# wrong: rounds up to whole minutes for each item, right where an item's judgements take whole minutes
def wrong_8(items, minutes, judgements):
    per_item = math.ceil(minutes * judgements)
    return items * per_item / 60
