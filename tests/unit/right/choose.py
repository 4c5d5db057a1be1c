"""Right solutions of lab 07's exercises."""

import bisect
import itertools


def with_events(ranges):
    events = sorted([(low, 0) for low, _ in ranges] + [(high, 1) for _, high in ranges])
    depth, gaps, left = 0, [], None
    for place, ends in events:
        if not ends:
            if depth == 0 and left is not None and place > left:
                gaps.append((left, place))
            depth += 1
        else:
            depth -= 1
            left = place
    return gaps


def with_joined_ranges(ranges):
    joined = []
    for low, high in sorted(list(pair) for pair in ranges):
        if joined and low <= joined[-1][1]:
            joined[-1][1] = max(high, joined[-1][1])
        else:
            joined.append([low, high])
    return [[one[1], other[0]] for one, other in zip(joined, joined[1:])]


def with_bisection(ranges):
    joined = []
    for pair in ranges:
        bisect.insort(joined, tuple(pair))
    gaps, reached = (), float("-inf")
    for low, high in joined:
        if low > reached > float("-inf"):
            gaps += ((reached, low),)
        reached = max(reached, high)
    return gaps


def with_a_loop(rows, facts):
    for present, absent, answer in rows:
        if all(name in facts for name in present) and not any(name in facts for name in absent):
            return answer


def with_next(rows, facts):
    true = frozenset(facts)
    return next((row[2] for row in rows if {*row[0]} <= true and not true & {*row[1]}), None)


def from_the_end(rows, facts):
    found = None
    for present, absent, answer in reversed(rows):
        if not set(present) - set(facts) and len(set(absent) - set(facts)) == len(set(absent)):
            found = answer
    return found


def with_bits(rows, names):
    found = []
    for bits in range(2 ** len(names)):
        facts = [name for place, name in enumerate(names) if bits >> place & 1]
        if with_a_loop(rows, facts) is None:
            found.append(facts)
    return found


def with_product(rows, names):
    picks = itertools.product([True, False], repeat=len(names))
    sets = [tuple(itertools.compress(names, pick)) for pick in picks]
    return [facts for facts in sets if with_next(rows, facts) is None]


def by_recursion(rows, names):
    if not names:
        return [] if with_next(rows, []) is not None else [set()]
    sets = [set()]
    for name in names:
        sets += [one | {name} for one in sets]
    return [one for one in sets if with_next(rows, sorted(one)) is None]


RIGHT = {
    "choose.uncovered": [with_events, with_joined_ranges, with_bisection],
    "choose.first_row": [with_a_loop, with_next, from_the_end],
    "choose.holes": [with_bits, with_product, by_recursion],
}
