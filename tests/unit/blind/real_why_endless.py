import itertools
import re

import numpy as np


# right: goes back from the right to the last token that counts
def right_1(rows, end):
    words = []
    for ids, labels in rows:
        last = len(ids) - 1
        while last >= 0 and labels[last] == -100:
            last -= 1
        if last < 0:
            words.append("missing")
        elif ids[last] == end:
            words.append("learned")
        elif last + 1 < len(ids) and ids[last + 1] == end:
            words.append("masked")
        else:
            words.append("missing")
    return words


# right: a machine with one state that reads each row from left to right
def right_2(rows, end):
    words = []
    for ids, labels in rows:
        word, fresh = "missing", False
        for token, label in zip(ids, labels):
            if label != -100:
                word = "learned" if token == end else "missing"
                fresh = token != end
            else:
                if fresh and token == end:
                    word = "masked"
                fresh = False
        words.append(word)
    return words


# right: writes each row as a string of four letters and matches its tail
def right_3(rows, end):
    words = []
    for ids, labels in rows:
        pairs = zip(ids, labels)
        row = "".join(("e." if b == -100 else "EC")[a != end] for a, b in pairs)
        if re.search(r"E[e.]*$", row):
            words.append("learned")
        elif re.search(r"Ce[e.]*$", row):
            words.append("masked")
        else:
            words.append("missing")
    return words


# right: positions by numpy, with one more token behind the row that is no end
def right_4(rows, end):
    words = []
    for ids, labels in rows:
        where = np.flatnonzero(np.array(labels, dtype=np.int64) != -100)
        padded = list(ids) + [None]
        after = padded[where[-1] : where[-1] + 2] if where.size else [None, None]
        hits = [token is not None and token == end for token in after]
        words.append("learned" if hits[0] else "masked" if hits[1] else "missing")
    return words


# right: drops what does not count from the right and compares what is left and what was dropped
def right_5(rows, end):
    def word(ids, labels):
        dropped = len(list(itertools.takewhile(lambda b: b == -100, reversed(labels))))
        kept, tail = ids[: len(ids) - dropped], ids[len(ids) - dropped :]
        if not kept:
            return "missing"
        if kept[-1] == end:
            return "learned"
        return "masked" if tail[:1] == [end] else "missing"

    return [word(list(ids), list(labels)) for ids, labels in rows]


# wrong: any end that counts will do, also one of an earlier turn
def wrong_1(rows, end):
    words = []
    for ids, labels in rows:
        last = max((i for i, b in enumerate(labels) if b != -100), default=None)
        if any(a == end and b != -100 for a, b in zip(ids, labels)):
            words.append("learned")
        elif last is not None and ids[last + 1 : last + 2] == [end]:
            words.append("masked")
        else:
            words.append("missing")
    return words


# wrong: an end anywhere behind the last token that counts is taken for the answer's end
def wrong_2(rows, end):
    words = []
    for ids, labels in rows:
        last = max((i for i, b in enumerate(labels) if b != -100), default=None)
        if last is not None and ids[last] == end:
            words.append("learned")
        elif last is not None and end in ids[last + 1 :]:
            words.append("masked")
        else:
            words.append("missing")
    return words


# wrong: an end anywhere in the row, the prompt included, makes it masked
def wrong_3(rows, end):
    words = []
    for ids, labels in rows:
        counts = [a for a, b in zip(ids, labels) if b != -100]
        if counts and counts[-1] == end:
            words.append("learned")
        elif end in ids:
            words.append("masked")
        else:
            words.append("missing")
    return words


# wrong: where nothing counts the last position is −1, so it looks at the first token of the row
def wrong_4(rows, end):
    words = []
    for ids, labels in rows:
        last = -1
        for i, label in enumerate(labels):
            if label != -100:
                last = i
        if last >= 0 and ids[last] == end:
            words.append("learned")
        elif ids[last + 1 : last + 2] == [end]:
            words.append("masked")
        else:
            words.append("missing")
    return words


# wrong: reads one token past the row where the last token of the row counts
def wrong_5(rows, end):
    words = []
    for ids, labels in rows:
        where = [i for i, label in enumerate(labels) if label != -100]
        if not where:
            words.append("missing")
        elif ids[where[-1]] == end:
            words.append("learned")
        else:
            words.append("masked" if ids[where[-1] + 1] == end else "missing")
    return words


# wrong: the token behind the last one of the row is the first one, by a roll
def wrong_6(rows, end):
    words = []
    for ids, labels in rows:
        where = np.flatnonzero(np.array(labels) != -100)
        after = np.roll(ids, -1)
        if not len(where):
            words.append("missing")
        elif ids[where[-1]] == end:
            words.append("learned")
        else:
            words.append("masked" if after[where[-1]] == end else "missing")
    return words


# wrong: position 0 counts as false, so a row in which only the first token counts is missing
def wrong_7(rows, end):
    words = []
    for ids, labels in rows:
        last = max((i for i, label in enumerate(labels) if label != -100), default=None)
        if not last:
            words.append("missing")
        elif ids[last] == end:
            words.append("learned")
        else:
            words.append("masked" if ids[last + 1 : last + 2] == [end] else "missing")
    return words


# wrong: a label of 0 is taken for one that does not count
def wrong_8(rows, end):
    words = []
    for ids, labels in rows:
        last = max((i for i, label in enumerate(labels) if label > 0), default=None)
        if last is None:
            words.append("missing")
        elif ids[last] == end:
            words.append("learned")
        else:
            words.append("masked" if ids[last + 1 : last + 2] == [end] else "missing")
    return words


# wrong: looks at the last token of the row, which may be padding
def wrong_9(rows, end):
    words = []
    for ids, labels in rows:
        if ids and ids[-1] == end:
            words.append("masked" if labels[-1] == -100 else "learned")
        else:
            words.append("missing")
    return words


# wrong: takes the end for padding and strips it from the right first, so it is always missing
def wrong_10(rows, end):
    words = []
    for ids, labels in rows:
        n = len(ids)
        while n and ids[n - 1] == end and labels[n - 1] == -100:
            n -= 1
        counts = [i for i in range(n) if labels[i] != -100]
        if counts and ids[counts[-1]] == end:
            words.append("learned")
        elif counts and ids[counts[-1] + 1 : n][:1] == [end]:
            words.append("masked")
        else:
            words.append("missing")
    return words


# wrong: looks at the first end of the row only, which may stand in the prompt
def wrong_11(rows, end):
    words = []
    for ids, labels in rows:
        if end not in ids or all(label == -100 for label in labels):
            words.append("missing")
        else:
            words.append("masked" if labels[ids.index(end)] == -100 else "learned")
    return words


# wrong: looks at the last end of the row only, which may be padding
def wrong_12(rows, end):
    words = []
    for ids, labels in rows:
        if end not in ids or all(label == -100 for label in labels):
            words.append("missing")
        else:
            at = len(ids) - 1 - ids[::-1].index(end)
            words.append("masked" if labels[at] == -100 else "learned")
    return words


# wrong: stops at the end of the first run of tokens that count, though a later one may follow
def wrong_13(rows, end):
    words = []
    for ids, labels in rows:
        first = next((i for i, label in enumerate(labels) if label != -100), None)
        if first is None:
            words.append("missing")
            continue
        last = first
        while last + 1 < len(ids) and labels[last + 1] != -100:
            last += 1
        if ids[last] == end:
            words.append("learned")
        else:
            words.append("masked" if ids[last + 1 : last + 2] == [end] else "missing")
    return words


# wrong: looks for the last token that counts by its value, and so finds an earlier one
def wrong_14(rows, end):
    words = []
    for ids, labels in rows:
        counts = [label for label in labels if label != -100]
        if not counts:
            words.append("missing")
        elif counts[-1] == end:
            words.append("learned")
        else:
            at = labels.index(counts[-1])
            words.append("masked" if ids[at + 1 : at + 2] == [end] else "missing")
    return words


# wrong: a label is taken to belong to the next token, as in the shifted loss
def wrong_15(rows, end):
    words = []
    for ids, labels in rows:
        last = max((i for i, label in enumerate(labels) if label != -100), default=None)
        if last is None:
            words.append("missing")
        elif ids[last + 1 : last + 2] == [end]:
            words.append("learned")
        else:
            words.append("masked" if ids[last + 2 : last + 3] == [end] else "missing")
    return words


# wrong: a row in which nothing counts gets no word
def wrong_16(rows, end):
    words = []
    for ids, labels in rows:
        where = [i for i, label in enumerate(labels) if label != -100]
        if where:
            pair = ids[where[-1] : where[-1] + 2] + [None]
            words.append("learned" if pair[0] == end else "masked" if pair[1] == end else "missing")
    return words


# wrong: where nothing counts but an end is there, says that it is masked
def wrong_17(rows, end):
    words = []
    for ids, labels in rows:
        where = [i for i, label in enumerate(labels) if label != -100]
        if not where:
            words.append("masked" if end in ids else "missing")
        elif ids[where[-1]] == end:
            words.append("learned")
        else:
            after = ids[where[-1] + 1 : where[-1] + 2]
            words.append("masked" if after == [end] else "missing")
    return words


# wrong: an end that is followed by more ends is taken for padding, so it is not learned
def wrong_18(rows, end):
    words = []
    for ids, labels in rows:
        last = max((i for i, label in enumerate(labels) if label != -100), default=None)
        after = [] if last is None else ids[last + 1 : last + 2]
        if last is None:
            words.append("missing")
        elif after == [end]:
            words.append("masked")
        else:
            words.append("learned" if ids[last] == end else "missing")
    return words


# wrong: an end of 0 counts as false and is never found
def wrong_19(rows, end):
    words = []
    for ids, labels in rows:
        where = [i for i, label in enumerate(labels) if label != -100]
        pair = ids[where[-1] : where[-1] + 2] if where else []
        hit = next((i for i, token in enumerate(pair) if token and token == end), None)
        words.append({None: "missing", 0: "learned", 1: "masked"}[hit])
    return words


# wrong: one word for all rows, the worst of them
def wrong_20(rows, end):
    words = set()
    for ids, labels in rows:
        where = [i for i, label in enumerate(labels) if label != -100]
        pair = (ids[where[-1] : where[-1] + 2] if where else []) + [None, None]
        words.add("learned" if pair[0] == end else "masked" if pair[1] == end else "missing")
    return next((w for w in ("missing", "masked", "learned") if w in words), [])
