"""Answers to choose.first_row, written from the exercise's text alone."""

from functools import reduce


# right: Generator with set comparisons, and next with a default
def right_1(rows, facts):
    true = frozenset(facts)
    return next(
        (
            answer
            for present, absent, answer in rows
            if true.issuperset(present) and true.isdisjoint(absent)
        ),
        None,
    )


# right: Bit masks: one bit for each name met
def right_2(rows, facts):
    bit = {}

    def mask(names):
        m = 0
        for n in names:
            m |= bit.setdefault(n, 1 << len(bit))
        return m

    true = mask(facts)
    for present, absent, answer in rows:
        need, ban = mask(present), mask(absent)
        if need & ~true == 0 and ban & true == 0:
            return answer


# right: Recursion by halves; what is found comes back in a tuple, () for nothing
def right_3(rows, facts):
    def search(a, b):
        if a == b:
            return ()
        if b - a == 1:
            present, absent, answer = rows[a]
            fits = not [n for n in present if n not in facts] and not [
                n for n in absent if n in facts
            ]
            return (answer,) if fits else ()
        middle = (a + b) // 2
        return search(a, middle) or search(middle, b)

    found = search(0, len(rows))
    return found[0] if found else None


# right: Fold from the last row to the first: an earlier row that holds replaces what was there
def right_4(rows, facts):
    has = facts.__contains__
    return reduce(
        lambda later, row: row[2] if all(map(has, row[0])) and not any(map(has, row[1])) else later,
        reversed(rows),
        None,
    )


# wrong: Fault: looks for each name as a piece of one joined text, so "rain" is found in "train"
def wrong_1(rows, facts):
    text = ",".join(facts)
    for present, absent, answer in rows:
        if all(name in text for name in present) and not any(name in text for name in absent):
            return answer
    return None


# wrong: Fault: a row is turned down only if all its absent names are facts, not already by one
def wrong_2(rows, facts):
    for present, absent, answer in rows:
        if not all(name in facts for name in present):
            continue
        if absent and all(name in facts for name in absent):
            continue
        return answer
    return None


# wrong: Fault: < on sets is the proper subset, so a row that asks for exactly the facts does not hold
def wrong_3(rows, facts):
    true = set(facts)
    for present, absent, answer in rows:
        if set(present) < true and not set(absent) & true:
            return answer
    return None


# wrong: Fault: an answer that counts as false (0, "", False, None) is passed over for that of a later row
def wrong_4(rows, facts):
    result = None
    for present, absent, answer in rows:
        holds = all(p in facts for p in present) and all(a not in facts for a in absent)
        if holds and not result:
            result = answer
    return result


# wrong: Fault: gives up with None at a row that an absent name rules out, in place of going on
def wrong_5(rows, facts):
    for present, absent, answer in rows:
        missing = [name for name in present if name not in facts]
        if missing:
            continue
        for name in absent:
            if name in facts:
                return None
        return answer
    return None


# wrong: Fault: a row whose present list is empty is taken never to hold
def wrong_6(rows, facts):
    for present, absent, answer in rows:
        ok = False
        for name in present:
            if name in facts:
                ok = True
            else:
                ok = False
                break
        for name in absent:
            if name in facts:
                ok = False
        if ok:
            return answer
    return None


# wrong: Fault: facts matched by an earlier row that did not hold are ticked off and missing for later rows
def wrong_7(rows, facts):
    left = list(facts)
    for present, absent, answer in rows:
        holds = True
        for name in present:
            if name in left:
                left.remove(name)
            else:
                holds = False
        for name in absent:
            if name in facts:
                holds = False
        if holds:
            return answer
    return None


# wrong: Fault: where no row holds, the last row's answer is returned in place of None
def wrong_8(rows, facts):
    answer = None
    for present, absent, answer in rows:  # noqa: B007 (as it was written)
        if set(present) <= set(facts) and not set(absent) & set(facts):
            break
    return answer
