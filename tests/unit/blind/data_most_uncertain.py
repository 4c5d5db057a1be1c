"""Answers to data.most_uncertain, written from the exercise's text alone."""

import bisect
import heapq
import math

import numpy as np


# right: Python's stable sort of the places by distance
def right_1(margins, count):
    return sorted(range(len(margins)), key=lambda i: abs(margins[i]))[:count]


# right: numpy's lexsort, distance first and place second
def right_2(margins, count):
    distances = np.abs(np.array(margins, dtype=float))
    order = np.lexsort((np.arange(len(distances)), distances))
    return [int(i) for i in order[:count]]


# right: a heap of (distance, place), popped count times
def right_3(margins, count):
    heap = [(abs(m), i) for i, m in enumerate(margins)]
    heapq.heapify(heap)
    return [heapq.heappop(heap)[1] for _ in range(count)]


# right: keeps a sorted shortlist of at most count, equal distances inserted behind
def right_4(margins, count):
    distances, places = [], []
    for place, margin in enumerate(margins):
        at = bisect.bisect_right(distances, abs(margin))
        distances.insert(at, abs(margin))
        places.insert(at, place)
        del distances[count:], places[count:]
    return places


# wrong: sorts by the signed margin, so large negative margins come first
def wrong_1(margins, count):
    return sorted(range(len(margins)), key=lambda i: margins[i])[:count]


# wrong: np.argsort without kind="stable", so equal distances in a long list may come out of order
def wrong_2(margins, count):
    return np.argsort(np.abs(np.array(margins)))[:count].tolist()


# wrong: of equal distances the negative margin comes first, not the earlier place
def wrong_3(margins, count):
    triples = sorted((abs(m), m, i) for i, m in enumerate(margins))
    return [i for _, _, i in triples[:count]]


# wrong: takes the last count of a list sorted downwards, which is everything when count is 0
def wrong_4(margins, count):
    order = sorted(range(len(margins)), key=lambda i: (-abs(margins[i]), -i))
    return order[-count:][::-1]


# wrong: looks each distance up again with index, so equal distances give the same place twice
def wrong_5(margins, count):
    distances = [abs(m) for m in margins]
    return [distances.index(d) for d in sorted(distances)[:count]]


# wrong: right places, but it overwrites the caller's margins with infinity
def wrong_6(margins, count):
    places = []
    for _ in range(count):
        best = min(range(len(margins)), key=lambda i: abs(margins[i]))
        places.append(best)
        margins[best] = math.inf
    return places


# wrong: keeps all within the count-th distance, so a tie at the edge returns more than count
def wrong_7(margins, count):
    if count == 0:
        return []
    limit = sorted(abs(m) for m in margins)[count - 1]
    places = [i for i, m in enumerate(margins) if abs(m) <= limit]
    return sorted(places, key=lambda i: abs(margins[i]))


# wrong: sorts by how far the sigmoid is from a half, where large margins become equal and m, -m may not
def wrong_8(margins, count):
    def unsure(i):
        return abs(1 / (1 + math.exp(-margins[i])) - 0.5)

    return sorted(range(len(margins)), key=unsure)[:count]
