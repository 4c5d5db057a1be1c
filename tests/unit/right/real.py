"""Right solutions of lab 11's exercises."""

import contextlib
import itertools
import json
import math
import re
import statistics
from collections import deque
from fractions import Fraction

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence


def conversation_by_loops(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in turns:
        ids.append(start)
        ids.extend(role)
        ids.append(line)
        ids.extend(content)
        ids.extend((end, line))
    ids = ids + [start] + assistant + [line]
    labels = [-100 for _ in ids]
    for token in answer + [end]:
        ids.append(token)
        labels.append(token)
    return ids, labels


def conversation_by_chaining(turns, answer, assistant, start, line, end):
    written = ([start, *role, line, *content, end, line] for role, content in turns)
    prompt = [*itertools.chain.from_iterable(written), start, *assistant, line]
    response = [*answer, end]
    return [*prompt, *response], [*itertools.repeat(-100, len(prompt)), *response]


def conversation_by_recursion(turns, answer, assistant, start, line, end):
    if not turns:
        header = [start] + assistant + [line]
        return header + answer + [end], [-100] * len(header) + answer + [end]
    (role, content), *others = turns
    turn = [start] + role + [line] + content + [end, line]
    ids, labels = conversation_by_recursion(others, answer, assistant, start, line, end)
    return turn + ids, [-100] * len(turn) + labels


def conversation_by_numpy(turns, answer, assistant, start, line, end):
    parts = [part for turn in turns for part in ([start], turn[0], [line], turn[1], [end, line])]
    ids = np.concatenate([*parts, [start], assistant, [line], answer, [end]]).astype(int)
    labels = np.where(np.arange(len(ids)) < len(ids) - len(answer) - 1, -100, ids)
    return ids.tolist(), labels.tolist()


def conversation_as_one_more_turn(turns, answer, assistant, start, line, end):
    ids = sum(
        ([start, *role, line, *said, end, line] for role, said in turns + [(assistant, answer)]), []
    )[:-1]
    labels = ids.copy()
    labels[: -len(answer) - 1] = [-100] * (len(ids) - len(answer) - 1)
    return ids, labels


def conversation_from_the_end(turns, answer, assistant, start, line, end):
    pairs = deque((token, token) for token in (*answer, end))
    before = [start, *assistant, line]
    for role, content in reversed(turns):
        before = [start, *role, line, *content, end, line, *before]
    pairs.extendleft((token, -100) for token in reversed(before))
    return [list(part) for part in zip(*pairs)]


def conversation_by_a_mask(turns, answer, assistant, start, line, end):
    ids = []
    for role, content in [*turns, (assistant, [])]:
        ids += [start, *role, line, *content, end, line]
    ids = torch.tensor(ids[:-2] + answer + [end])  # the last turn is open
    counts = torch.zeros(len(ids), dtype=torch.bool)
    counts[len(ids) - len(answer) - 1 :] = True
    return ids.tolist(), ids.masked_fill(~counts, -100).tolist()


def endless_from_the_right(rows, end):
    words = []
    for ids, labels in rows:
        place = len(labels) - 1
        while place >= 0 and labels[place] == -100:
            place -= 1
        if place < 0:
            words.append("missing")
        elif labels[place] == end:
            words.append("learned")
        elif place + 1 < len(ids) and ids[place + 1] == end:
            words.append("masked")
        else:
            words.append("missing")
    return words


def endless_by_numpy(rows, end):
    def word(ids, labels):
        counted = np.flatnonzero(np.array(labels) != -100)
        if not len(counted):
            return "missing"
        here, behind = [*ids, None][counted[-1] :][:2]
        return "learned" if here == end else "masked" if behind == end else "missing"

    return [word(*row) for row in rows]


def endless_by_a_pattern(rows, end):
    """Each token as a letter: E an end that counts, e one that does not, c and - all others."""
    words = {"E": "learned", "ce": "masked"}
    told = []
    for ids, labels in rows:
        letters = "".join(
            ("Ee" if token == end else "c-")[label == -100] for token, label in zip(ids, labels)
        )
        found = re.search(r"(E|ce?)[e-]*$", letters)
        told.append(words.get(found[1], "missing") if found else "missing")
    return told


def endless_by_recursion(rows, end, behind=None):
    def word(ids, labels, behind=None):
        if not labels:
            return "missing"
        if labels[-1] == -100:
            return word(ids[:-1], labels[:-1], ids[-1])
        return "learned" if ids[-1] == end else "masked" if behind == end else "missing"

    return [word(*row) for row in rows]


def endless_by_pairs_of_neighbours(rows, end):
    told = []
    for ids, labels in rows:
        word = "missing"
        for label, behind in zip(labels, [*ids[1:], None]):
            if label != -100:
                word = "learned" if label == end else "masked" if behind == end else "missing"
        told.append(word)
    return told


def endless_by_torch(rows, end):
    told = []
    for ids, labels in rows:
        counted = (torch.tensor(labels) != -100).nonzero()
        if not len(counted):
            told.append("missing")
        elif ids[last := int(counted[-1])] == end:
            told.append("learned")
        else:
            told.append("masked" if ids[last + 1 :][:1] == [end] else "missing")
    return tuple(told)


def counted_by_a_table(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    queries, keys = heads * head, kv_heads * head
    table = [(queries, width), (keys, width), (keys, width), (width, queries)]
    table += [(inner, width), (inner, width), (width, inner)]
    trained = sum(rank * (rows + columns) for rows, columns in table)
    held = sum(rows * columns for rows, columns in table) + 2 * width
    outside = vocabulary * width * (1 if tied else 2) + width
    return layers * trained, layers * held + outside


def counted_by_a_formula(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    attention = 2 * head * (heads + kv_heads)
    trained = rank * layers * (7 * width + attention + 3 * inner)
    held = width * (layers * (attention + 3 * inner + 2) + 1 + vocabulary * (2 - tied))
    return trained, held


def counted_by_numpy(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = np.array([heads, heads, kv_heads, kv_heads]) * head
    sides = np.array([[width, other] for other in [*others, inner, inner, inner]], dtype=np.int64)
    matrices = layers * sides.prod(1).sum()
    ends = np.int64(vocabulary) * width * [2, 1][tied]
    return layers * rank * sides.sum(), matrices + ends + (2 * layers + 1) * width


def counted_by_layers(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    trained, held = 0, width + vocabulary * width
    for _ in range(layers):
        for other, copies in ((heads * head, 2), (kv_heads * head, 2), (inner, 3)):
            trained += copies * (rank * width + other * rank)
            held += copies * width * other
        held += width + width
    if not tied:
        held += vocabulary * width
    return [trained, held]


def counted_by_tensors(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    """A layer and what stands outside of the layers, in tensors that take no memory."""

    def numbers(*sides):
        return torch.empty(sides, device="meta")

    layer = [numbers(copies, width, head) for copies in (heads, kv_heads, kv_heads, heads)]
    layer = [matrix.movedim(1, 0).flatten(1) for matrix in layer]
    layer += [numbers(width, inner) for _ in range(3)]
    trained = [numbers(side, rank) for matrix in layer for side in matrix.shape]
    norm, embedding = numbers(width), numbers(vocabulary, width)
    held = layers * [*layer, norm, norm] + [norm, embedding] + [embedding] * (not tied)
    return layers * sum(map(torch.numel, trained)), sum(map(torch.numel, held))


def values_by_raw_decode(text, keys):
    def once(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError
        return dict(pairs)

    def refuse(word):
        raise ValueError

    decoder = json.JSONDecoder(object_pairs_hook=once, parse_constant=refuse)
    objects, end = [], 0
    for opening in re.finditer("{", text):
        with contextlib.suppress(ValueError, RecursionError):
            if opening.start() >= end:
                one, end = decoder.raw_decode(text, opening.start())
                objects.append(one)
    if len(objects) != 1 or sorted(objects[0]) != sorted(keys):
        return None
    return [objects[0][key] for key in keys]


def values_by_every_pair_of_braces(text, keys):
    def once(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    found, place = [], 0
    closing = [match.end() for match in re.finditer("}", text)]
    for opening in re.finditer("{", text):
        for end in closing if opening.start() >= place else []:
            try:
                one = json.loads(text[opening.start() : end], object_pairs_hook=once)
                json.dumps(one, allow_nan=False)
            except (ValueError, AssertionError):
                continue
            found.append(one)
            place = end
            break
    if len(found) == 1 and set(found[0]) == set(keys):
        return [found[0][key] for key in keys]


def values_by_counting_braces(text, keys):
    pieces, begin = [], text.find("{")
    while begin != -1 and "}" in text[begin:]:
        depth, end = 0, None
        for match in re.compile(r'"(?:\\.|[^"\\])*"|[{}]').finditer(text, begin):
            depth += {"{": 1, "}": -1}.get(match[0], 0)
            if depth == 0:
                end = match.end()
                break
        pairs = pairs_in(text[begin:end])
        if pairs is not None:
            pieces.append(pairs)
        begin = text.find("{", begin + 1 if pairs is None else end)
    if len(pieces) != 1 or sorted(name for name, _ in pieces[0]) != sorted(keys):
        return None
    return [value for key in keys for name, value in pieces[0] if name == key]


def pairs_in(piece):
    """The names and values of an object, or None."""
    seen = []

    def hook(pairs):
        seen.append(pairs)
        return dict(pairs)

    try:
        json.loads(piece, object_pairs_hook=hook, parse_constant=lambda word: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None
    repeated = any(len(dict(pairs)) < len(pairs) for pairs in seen)
    return None if repeated else seen[-1]  # the outermost comes last


def values_by_recursion(text, keys):
    """What stands before the first brace is dropped, then an object or the brace itself."""

    def once(pairs):
        return dict(pairs) if len(dict(pairs)) == len(pairs) else {}[len(pairs)]

    decoder = json.JSONDecoder(object_pairs_hook=once, parse_constant={}.__getitem__)

    def objects(text):
        rest = text.partition("{")[2]
        if len(rest) == 0:
            return []
        try:
            value, end = decoder.raw_decode("{" + rest)
        except (ValueError, KeyError):
            return objects(rest)
        return [value, *objects(rest[end - 1 :])]

    try:
        (one,) = objects(text)
        return [one.pop(key) for key in keys] if one.keys() == set(keys) else None
    except (ValueError, RecursionError):
        return None


TOKEN = re.compile(r'[ \t\n\r]*("(?:[^"\\]|\\.)*"|[-+.\w]+|[][{}:,])')


def values_by_a_parser(text, keys):
    found, end = [], 0
    for place in (place for place, letter in enumerate(text) if letter == "{"):
        try:
            if place >= end:
                one, end = parsed(text, place)
                found.append(one)
        except ValueError:
            pass
    if len(found) != 1 or found[0].keys() ^ set(keys):
        return None
    return list(map(found[0].get, keys))


def parsed(text, place):
    """The value at a place, and where it ends."""
    opening, place = token_at(text, place)
    if opening not in ("{", "["):
        return json.loads(opening, parse_constant=int), place
    closing, found = {"{": "}", "[": "]"}[opening], {}
    token, behind = token_at(text, place)
    while token != closing:
        name = len(found)
        if opening == "{":
            name, place = token_at(text, place)
            colon, place = token_at(text, place)
            if name[0] != '"' or colon != ":" or (name := json.loads(name)) in found:
                raise ValueError
        found[name], place = parsed(text, place)
        token, behind = token_at(text, place)
        if token not in (",", closing):
            raise ValueError
        place = behind
    return (found if opening == "{" else [*found.values()]), behind


def token_at(text, place):
    if not (match := TOKEN.match(text, place)):
        raise ValueError
    return match[1], match.end()


def rate_by_numpy(rates, losses):
    rates, losses = np.array(rates, dtype=float), np.array(losses, dtype=float)
    means = np.where(np.isfinite(losses).all(1), losses.mean(1), np.inf)
    if np.isinf(means).all():
        return None
    best, seeds = means.argmin(), losses.shape[1]
    error = losses[best].std(ddof=1) / seeds**0.5 if seeds > 1 else 0
    return rates[means <= means[best] + error].min(), rates[best] in (rates.min(), rates.max())


def rate_by_sorting(rates, losses):
    rows = sorted(zip(rates, losses))
    kept = [(statistics.mean(some), rate, some) for rate, some in rows if np.isfinite(some).all()]
    if not kept:
        return None
    lowest, best, some = min(kept)
    error = statistics.stdev(some) / math.sqrt(len(some)) if len(some) > 1 else 0
    first = next(rate for mean, rate, _ in kept if mean <= lowest + error)
    return first, best in (rows[0][0], rows[-1][0])


def rate_by_torch(rates, losses):
    order = torch.tensor(rates).argsort().tolist()
    table = torch.tensor(losses, dtype=torch.double)[order]
    finite = table.isfinite().all(-1)
    if not finite.any():
        return None
    means = table.mean(-1).masked_fill(~finite, math.inf)
    best, seeds = int(means.argmin()), table.shape[-1]
    error = table[best].std(correction=min(1, seeds - 1)) / math.sqrt(seeds)
    first = int((means <= means[best] + error).int().argmax())
    return rates[order[first]], best in (0, len(rates) - 1)


def rate_by_loops(rates, losses):
    best = lowest = None
    for rate, some in zip(rates, losses):
        if any(x != x or x in (math.inf, -math.inf) for x in some):
            continue
        mean = sum(some) / len(some)
        if lowest is None or mean < lowest:
            best, lowest, runs = rate, mean, some
    if best is None:
        return None
    n, error = len(runs), 0.0
    if n > 1:
        error = math.sqrt(sum((x - lowest) ** 2 for x in runs) / (n - 1) / n)
    chosen = best
    for rate, some in zip(rates, losses):
        if all(map(math.isfinite, some)) and rate < chosen and sum(some) / n <= lowest + error:
            chosen = rate
    return chosen, best == min(rates) or best == max(rates)


def rate_by_fractions(rates, losses):
    """Squares are compared, so that nothing is rounded."""
    kept = {
        rate: [Fraction(loss) for loss in some]
        for rate, some in zip(rates, losses)
        if math.isfinite(sum(some))
    }
    if not kept:
        return None
    means = {rate: sum(some) / len(some) for rate, some in kept.items()}
    best = min(kept, key=means.__getitem__)
    n = len(kept[best])
    error = sum((loss - means[best]) ** 2 for loss in kept[best]) / max(n * (n - 1), 1)
    within = filter(lambda rate: (means[rate] - means[best]) ** 2 <= error, kept)
    return min(within), sorted(rates).index(best) in (0, len(rates) - 1)


def labels_by_loops(ids, prompts, lengths):
    rows = [
        [token if start <= place < stop else -100 for place, token in enumerate(row)]
        for row, start, stop in zip(ids.tolist(), prompts.tolist(), lengths.tolist())
    ]
    return torch.tensor(rows)


def labels_by_slices(ids, prompts, lengths):
    labels = torch.full_like(ids, -100)
    for row in range(len(ids)):
        answer = slice(prompts[row], lengths[row])
        labels[row, answer] = ids[row, answer]
    return labels


def labels_by_numpy(ids, prompts, lengths):
    place = np.indices(ids.shape)[1]
    outside = (place < prompts.numpy()[:, None]) | (place >= lengths.numpy()[:, None])
    return torch.from_numpy(np.where(outside, -100, ids.numpy()))


def labels_by_sums(ids, prompts, lengths):
    """1 where an answer begins and −1 behind its end, added up."""
    steps = torch.zeros(len(ids), ids.shape[1] + 1, dtype=torch.long)
    ones = torch.ones_like(prompts)[:, None]
    steps = steps.scatter_add(1, prompts[:, None], ones).scatter_add(1, lengths[:, None], -ones)
    return torch.where(steps.cumsum(1)[:, :-1] == 1, ids, -100)


def labels_by_rows_put_together(ids, prompts, lengths):
    rows = [
        torch.cat([row.new_full((int(start),), -100), row[start:stop]])
        for row, start, stop in zip(ids, prompts, lengths)
    ]
    width = ids.new_zeros(ids.shape[1])  # no row may be the longest
    return pad_sequence([*rows, width], batch_first=True, padding_value=-100)[:-1]


def labels_by_triangles(ids, prompts, lengths):
    before = torch.ones(ids.shape[1] + 1, ids.shape[1], dtype=torch.long).tril(-1)
    counts = before[lengths] - before[prompts]
    return ids * counts - 100 * (1 - counts)


def labels_by_filling_twice(ids, prompts, lengths):
    place = torch.arange(ids.size(1)).expand_as(ids)
    labels = ids.masked_fill(place.lt(prompts.unsqueeze(1)), -100)
    return labels.masked_fill(place.ge(lengths.unsqueeze(1)), -100)


RIGHT = {
    "real.conversation": [
        conversation_by_loops,
        conversation_by_chaining,
        conversation_by_recursion,
        conversation_by_numpy,
        conversation_as_one_more_turn,
        conversation_from_the_end,
        conversation_by_a_mask,
    ],
    "real.why_endless": [
        endless_from_the_right,
        endless_by_numpy,
        endless_by_a_pattern,
        endless_by_recursion,
        endless_by_pairs_of_neighbours,
        endless_by_torch,
    ],
    "real.counted": [
        counted_by_a_table,
        counted_by_a_formula,
        counted_by_numpy,
        counted_by_layers,
        counted_by_tensors,
    ],
    "real.read_values": [
        values_by_raw_decode,
        values_by_every_pair_of_braces,
        values_by_counting_braces,
        values_by_recursion,
        values_by_a_parser,
    ],
    "real.rate": [rate_by_numpy, rate_by_sorting, rate_by_torch, rate_by_loops, rate_by_fractions],
    "real.silent_bug": [
        labels_by_loops,
        labels_by_slices,
        labels_by_numpy,
        labels_by_sums,
        labels_by_rows_put_together,
        labels_by_triangles,
        labels_by_filling_twice,
    ],
}
