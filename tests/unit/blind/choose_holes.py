"""Answers to choose.holes, written from the exercise's text alone."""

from itertools import chain, combinations, compress, product


# right: Bit masks: each number below 2 ** len(names) is a set of facts
def right_1(rows, names):
    n = len(names)
    place = {name: 1 << i for i, name in enumerate(names)}
    masks = []
    for present, absent, _ in rows:
        if all(p in place for p in present):
            need = 0
            for p in present:
                need |= place[p]
            ban = 0
            for a in absent:
                ban |= place.get(a, 0)
            masks.append((need, ban))
    return [
        [names[i] for i in range(n) if m >> i & 1]
        for m in range(1 << n)
        if not any(m & need == need and m & ban == 0 for need, ban in masks)
    ]


# right: Recursion: decide one name at a time and carry only the rows that can still hold
def right_2(rows, names):
    def walk(i, chosen, alive):
        if i == len(names):
            return [] if alive else [list(chosen)]
        name = names[i]
        without = [r for r in alive if name not in r[0]]
        with_it = [r for r in alive if name not in r[1]]
        return walk(i + 1, chosen, without) + walk(i + 1, chosen + (name,), with_it)

    possible = [r for r in rows if all(p in names for p in r[0])]
    return walk(0, (), possible)


# right: All rows of a truth table by product, names picked with compress
def right_3(rows, names):
    table = (set(compress(names, line)) for line in product((True, False), repeat=len(names)))
    return [
        sorted(facts, key=names.index)
        for facts in table
        if all(set(present) - facts or facts & set(absent) for present, absent, _ in rows)
    ]


# right: Doubling list of frozensets, less what each row covers
def right_4(rows, names):
    every = [frozenset()]
    for name in names:
        every += [s | {name} for s in every]
    left = set(every)
    for present, absent, _ in rows:
        left -= {s for s in left if s.issuperset(present) and s.isdisjoint(absent)}
    return [list(s) for s in left]


# wrong: Fault: sizes run to len(names) - 1, so the set of all names is never looked at
def wrong_1(rows, names):
    result = []
    for size in range(len(names)):
        for facts in combinations(names, size):
            covered = False
            for present, absent, _ in rows:
                if all(p in facts for p in present) and not any(a in facts for a in absent):
                    covered = True
            if not covered:
                result.append(list(facts))
    return result


# wrong: Fault: asks whether the first row's answer is None, so a row that holds with the answer None counts as a hole
def wrong_2(rows, names):
    def first(facts):
        for present, absent, answer in rows:
            if all(p in facts for p in present) and not any(a in facts for a in absent):
                return answer
        return None

    subsets = chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))
    return [list(s) for s in subsets if first(s) is None]


# wrong: Fault: a row is turned down only if all its absent names are facts, not already by one
def wrong_3(rows, names):
    result = []
    for bits in product([0, 1], repeat=len(names)):
        facts = {n for n, b in zip(names, bits) if b}
        for present, absent, _ in rows:
            if facts >= set(present) and (not absent or not facts >= set(absent)):
                break
        else:
            result.append(sorted(facts))
    return result


# wrong: Fault: builds the sets only from names that some row mentions, other names are forgotten
def wrong_4(rows, names):
    used = [n for n in names if any(n in present or n in absent for present, absent, _ in rows)]
    result = []
    for m in range(2 ** len(used)):
        facts = [n for i, n in enumerate(used) if m & (1 << i)]
        if not any(
            set(present) <= set(facts) and not set(absent) & set(facts)
            for present, absent, _ in rows
        ):
            result.append(facts)
    return result


# wrong: Fault: removes covered sets from the list while going through it, so the next one is skipped
def wrong_5(rows, names):
    result = [[]]
    for name in names:
        result = result + [s + [name] for s in result]
    for facts in result:
        for present, absent, _ in rows:
            if all(p in facts for p in present) and all(a not in facts for a in absent):
                result.remove(facts)
                break
    return result


# wrong: Fault: returns no holes for an empty table, where in truth every set is one
def wrong_6(rows, names):
    if not rows:
        return []
    result = []
    for size in range(len(names) + 1):
        for facts in combinations(names, size):
            if not any(
                all(p in facts for p in present) and not any(a in facts for a in absent)
                for present, absent, _ in rows
            ):
                result.append(list(facts))
    return result


# wrong: Fault: looks for each name as a piece of one joined text, so "rain" is found in "train"
def wrong_7(rows, names):
    result = []
    for m in range(2 ** len(names)):
        facts = [names[i] for i in range(len(names)) if (m >> i) % 2 == 1]
        text = " ".join(facts)
        holds = [
            all(p in text for p in present) and all(a not in text for a in absent)
            for present, absent, _ in rows
        ]
        if True not in holds:
            result.append(facts)
    return result


# wrong: Fault: one wanted value for each name, so a row with a name both present and absent (never holds) counts as absent only
def wrong_8(rows, names):
    patterns = []
    for present, absent, _ in rows:
        wanted = {}
        for p in present:
            wanted[p] = True
        for a in absent:
            wanted[a] = False
        patterns.append(wanted)
    result = []
    for values in product([False, True], repeat=len(names)):
        state = dict(zip(names, values))
        if not any(all(state.get(n, False) == v for n, v in wanted.items()) for wanted in patterns):
            result.append([n for n in names if state[n]])
    return result
