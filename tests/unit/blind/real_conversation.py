import itertools

import numpy as np
import torch


# right: builds both lists side by side, turn by turn
def right_1(turns, answer, assistant, start, line, end):
    ids, labels = [], []
    for role, content in turns:
        turn = [start, *role, line, *content, end, line]
        ids += turn
        labels += [-100] * len(turn)
    head = [start, *assistant, line]
    ids += head + list(answer) + [end]
    labels += [-100] * len(head) + list(answer) + [end]
    return ids, labels


# right: writes all ids first, and then masks all but the last len(answer) + 1 of them
def right_2(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in list(turns) + [(assistant, answer)]:
        ids.extend([start] + list(role) + [line] + list(content) + [end, line])
    ids.pop()
    first = len(ids) - len(answer) - 1
    return ids, [-100 if i < first else token for i, token in enumerate(ids)]


# right: pieces with a flag that says whether they count, flattened at the end
def right_3(turns, answer, assistant, start, line, end):
    pieces = []
    for role, content in turns:
        pieces += [([start], 0), (role, 0), ([line], 0), (content, 0), ([end, line], 0)]
    pieces += [([start], 0), (assistant, 0), ([line], 0), (answer, 1), ([end], 1)]
    pairs = [(token, token if counts else -100) for part, counts in pieces for token in part]
    return [token for token, _ in pairs], [label for _, label in pairs]


# right: a tensor full of -100 whose tail is overwritten by position
def right_4(turns, answer, assistant, start, line, end):
    flat = [
        token
        for role, content in turns
        for token in itertools.chain([start], role, [line], content, [end, line])
    ]
    flat += [start, *assistant, line]
    tail = torch.tensor([*answer, end], dtype=torch.long)
    ids = torch.cat([torch.tensor(flat, dtype=torch.long), tail])
    labels = torch.full_like(ids, -100)
    labels[len(flat) :] = tail
    return ids.tolist(), labels.tolist()


# right: from the last turn to the first, each put in front; a boolean mask picks the labels
def right_5(turns, answer, assistant, start, line, end):
    ids = [start, *assistant, line, *answer, end]
    for role, content in reversed(turns):
        ids = [start, *role, line, *content, end, line] + ids
    counts = np.zeros(len(ids), dtype=bool)
    counts[::-1][: len(answer) + 1] = True
    return ids, np.where(counts, np.array(ids), -100).tolist()


# right: gives the two lists in a list and not in a tuple
def right_6(turns, answer, assistant, start, line, end):
    def prompt():
        for role, content in turns:
            yield start
            yield from role
            yield line
            yield from content
            yield end
            yield line
        yield start
        yield from assistant
        yield line

    before = list(prompt())
    after = list(answer) + [end]
    return [before + after, [-100 for _ in before] + after]


# wrong: the end of the answer's turn does not count
def wrong_1(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    labels = [-100] * len(ids) + list(answer) + [-100]
    return ids + list(answer) + [end], labels


# wrong: no line break behind the end of a turn
def wrong_2(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end]
    ids += [start, *assistant, line]
    tail = list(answer) + [end]
    return ids + tail, [-100] * len(ids) + tail


# wrong: a line break stands behind the last end too, though it does not count
def wrong_3(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    labels = [-100] * len(ids) + list(answer) + [end, -100]
    return ids + list(answer) + [end, line], labels


# wrong: a line break stands behind the last end, and it counts
def wrong_4(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    tail = list(answer) + [end, line]
    return ids + tail, [-100] * len(ids) + tail


# wrong: the head of the answer's turn counts as well
def wrong_5(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    tail = [start, *assistant, line, *answer, end]
    return ids + tail, [-100] * len(ids) + tail


# wrong: the line break in front of the answer counts, one position too early
def wrong_6(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer, end]
    first = len(ids) - len(answer) - 2
    return ids, [-100] * first + ids[first:]


# wrong: the first token of the answer does not count, one position too late
def wrong_7(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer, end]
    first = len(ids) - len(answer)
    return ids, [-100] * first + ids[first:]


# wrong: moves the labels to the left by one, which the model's loss does already
def wrong_8(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    labels = [-100] * len(ids) + list(answer) + [end]
    return ids + list(answer) + [end], labels[1:] + [-100]


# wrong: labels for the answer alone, so the two lists differ in length
def wrong_9(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    tail = list(answer) + [end]
    return ids + [start, *assistant, line] + tail, tail


# wrong: earlier turns of the assistant count too
def wrong_10(turns, answer, assistant, start, line, end):
    ids, labels = [], []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
        labels += [-100] * (len(role) + 2)
        if role == assistant:
            labels += [*content, end, -100]
        else:
            labels += [-100] * (len(content) + 2)
    ids += [start, *assistant, line, *answer, end]
    labels += [-100] * (len(assistant) + 2) + [*answer, end]
    return ids, labels


# wrong: the end of each turn counts, also of those that are given
def wrong_11(turns, answer, assistant, start, line, end):
    ids, labels = [], []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
        labels += [-100] * (len(role) + 2 + len(content)) + [end, -100]
    ids += [start, *assistant, line, *answer, end]
    labels += [-100] * (len(assistant) + 2) + [*answer, end]
    return ids, labels


# wrong: everything counts
def wrong_12(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer, end]
    return ids, list(ids)


# wrong: masks by value, so a line break within the answer does not count
def wrong_13(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    labels = [-100] * len(ids)
    labels += [-100 if token in (start, line) else token for token in answer] + [end]
    return ids + list(answer) + [end], labels


# wrong: finds the answer by value, at the first place where its tokens stand
def wrong_14(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer, end]
    tail = list(answer) + [end]
    first = next(i for i in range(len(ids)) if ids[i : i + len(tail)] == tail)
    labels = [-100] * len(ids)
    labels[first : first + len(tail)] = tail
    return ids, labels


# wrong: counts from the first head of the assistant on, which may be that of an earlier turn
def wrong_15(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer, end]
    head = [start, *assistant, line]
    first = next(i for i in range(len(ids)) if ids[i : i + len(head)] == head) + len(head)
    return ids, [-100] * first + ids[first:]


# wrong: counts from behind the last line break on, which may stand within the answer
def wrong_16(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer, end]
    first = len(ids) - ids[::-1].index(line)
    return ids, [-100] * first + ids[first:]


# wrong: takes a role to be a single token
def wrong_17(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, role[0], line, *content, end, line]
    ids += [start, assistant[0], line]
    tail = list(answer) + [end]
    return ids + tail, [-100] * len(ids) + tail


# wrong: no line break between the assistant's role and the answer
def wrong_18(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant]
    tail = list(answer) + [end]
    return ids + tail, [-100] * len(ids) + tail


# wrong: puts the end into the caller's own answer
def wrong_19(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    answer.append(end)
    return ids + answer, [-100] * len(ids) + answer


# wrong: the labels of what does not count are 0
def wrong_20(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line]
    tail = list(answer) + [end]
    return ids + tail, [0] * len(ids) + tail


# wrong: a slice from -0 takes the whole list where the answer is empty
def wrong_21(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    ids += [start, *assistant, line, *answer]
    labels = [-100] * len(ids)
    labels[-len(answer) :] = answer
    return ids + [end], labels + [end]


# wrong: masks the end by its value within the answer and sets only the last one again
def wrong_22(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids += [start, *role, line, *content, end, line]
    first = len(ids) + len(assistant) + 2
    ids += [start, *assistant, line, *answer, end]
    labels = [t if i >= first and t != end else -100 for i, t in enumerate(ids)]
    labels[-1] = end
    return ids, labels
