import itertools
import json
import math
import re


# right: decodes at each brace, goes on behind what was decoded, and keeps pairs to see doubles
def right_1(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    values = dict(found[0])
    return [values[key] for key in keys]


# right: matches braces by hand, with an eye on strings, and loads each span that is closed
def right_2(text, keys):
    class Strange(Exception):
        pass

    def refuse(name):
        raise Strange

    def close(at):
        depth, quoted, escaped = 0, False, False
        for i in range(at, len(text)):
            c = text[i]
            if escaped:
                escaped = False
            elif quoted:
                escaped = c == "\\"
                quoted = c != '"'
            elif c == '"':
                quoted = True
            elif c in "{}":
                depth += 1 if c == "{" else -1
                if depth == 0:
                    return i + 1
        return at

    found, at = [], 0
    while at < len(text):
        stop = close(at) if text[at] == "{" else at
        names = []

        def hook(pairs, names=names):
            names[:] = [k for k, _ in pairs]
            return dict(pairs)

        try:
            found.append(
                (json.loads(text[at:stop], parse_constant=refuse, object_pairs_hook=hook), names)
            )
            at = stop
        except Strange:
            return None
        except ValueError:
            at += 1
    if len(found) != 1:
        return None
    values, names = found[0]
    if len(names) != len(keys) or set(names) != set(keys):
        return None
    return [values[key] for key in keys]


# right: tries each opening brace with each closing one and keeps what lies in nothing else
def right_3(text, keys):
    strange = []
    opens = [m.start() for m in re.finditer(r"\{", text)]
    closes = [m.end() for m in re.finditer(r"\}", text)]
    spans = []
    for a, b in itertools.product(opens, closes):
        try:
            if a < b:
                json.loads(text[a:b], parse_constant=lambda c: strange.append(c) or c)
                spans.append((a, b))
        except ValueError:
            pass
    outer = []
    for a, b in spans:
        if not any(c <= a and b <= d and (a, b) != (c, d) for c, d in spans):
            outer.append((a, b))
    if strange or len(outer) != 1:
        return None
    stack = []
    json.loads(text[slice(*outer[0])], object_pairs_hook=lambda p: stack.append(p) or dict(p))
    top = stack.pop()
    places = [[v for k, v in top if k == key] for key in keys]
    if len(top) != len(keys) or any(len(place) != 1 for place in places):
        return None
    return [place[0] for place in places]


# right: a small parser of its own, by recursion; only single strings and numbers go to json
def right_4(text, keys):
    leaf = re.compile(
        r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
        r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
        r"|true|false|null|NaN|Infinity|-Infinity"
    )
    space = re.compile(r"[ \t\n\r]*")
    strange = []

    def skip(at):
        return space.match(text, at).end()

    def scalar(at):
        match = leaf.match(text, at)
        if match is None:
            raise SyntaxError
        if match.group().endswith(("NaN", "Infinity")):
            strange.append(match.group())
            return None, match.end()
        return json.loads(match.group()), match.end()

    def member(at):
        if text[at : at + 1] != '"':
            raise SyntaxError
        name, at = scalar(at)
        at = skip(at)
        if text[at : at + 1] != ":":
            raise SyntaxError
        item, at = value(skip(at + 1))
        return (name, item), at

    def several(at, close, one):
        items = []
        at = skip(at + 1)
        if text[at : at + 1] == close:
            return items, at + 1
        while True:
            item, at = one(at)
            items.append(item)
            at = skip(at)
            if text[at : at + 1] == close:
                return items, at + 1
            if text[at : at + 1] != ",":
                raise SyntaxError
            at = skip(at + 1)

    def value(at):
        if text[at : at + 1] == "{":
            items, at = several(at, "}", member)
            return dict(items), at
        if text[at : at + 1] == "[":
            return several(at, "]", value)
        return scalar(at)

    found, at = [], 0
    while "{" in text[at:]:
        at = text.index("{", at)
        try:
            items, at = several(at, "}", member)
            found.append(items)
        except SyntaxError:
            at += 1
    if strange or len(found) != 1:
        return None
    names = [name for name, _ in found[0]]
    if sorted(names) != sorted(keys):
        return None
    return [found[0][names.index(key)][1] for key in keys]


# right: the same from the right, where an object that a later find contains is dropped again
def right_5(text, keys):
    class Pairs(dict):
        def __init__(self, pairs):
            super().__init__(pairs)
            self.twice = len(pairs) != len(self)

    bad = set()
    decoder = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=bad.add)
    found = []
    for at in reversed(range(len(text))):
        if text[at] != "{":
            continue
        try:
            value, stop = decoder.raw_decode(text, at)
        except ValueError:
            continue
        found = [(a, v) for a, v in found if a >= stop] + [(at, value)]
    if bad or len(found) != 1:
        return None
    value = found[0][1]
    if value.twice or value.keys() != set(keys):
        return None
    return [value[key] for key in keys]


# wrong: loads the whole text, so no word and no fence may stand around the object
def wrong_1(text, keys):
    try:
        pairs = []
        value = json.loads(
            text, parse_constant=int, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
        )
    except ValueError:
        return None
    if not isinstance(value, dict) or sorted(k for k, _ in pairs[-1]) != sorted(keys):
        return None
    return [value[key] for key in keys]


# wrong: from the first brace to the last one, which a single brace in the words breaks
def wrong_2(text, keys):
    pairs = []
    try:
        value = json.loads(
            text[text.index("{") : text.rindex("}") + 1],
            parse_constant=int,
            object_pairs_hook=lambda p: pairs.append(p) or dict(p),
        )
    except ValueError:
        return None
    if sorted(k for k, _ in pairs[-1]) != sorted(keys):
        return None
    return [value[key] for key in keys]


# wrong: a pattern up to the next closing brace, which objects and braces within a value break
def wrong_3(text, keys):
    found = []
    for span in re.findall(r"\{[^{}]*\}", text):
        try:
            pairs = json.loads(span, parse_constant=int, object_pairs_hook=list)
            found.append(pairs)
        except ValueError:
            if re.search(r"NaN|Infinity", span):
                return None
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: takes NaN and Infinity as Python's json does
def wrong_4(text, keys):
    pairs, found = [], []
    decoder = json.JSONDecoder(object_pairs_hook=lambda p: pairs.append(p) or dict(p))
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: of a key that stands twice the last value is taken
def wrong_5(text, keys):
    strange, found = [], []
    decoder = json.JSONDecoder(parse_constant=strange.append)
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append(value)
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or set(found[0]) != set(keys):
        return None
    return [found[0][key] for key in keys]


# wrong: takes the first object and does not look for a second one
def wrong_6(text, keys):
    pairs, strange = [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    for match in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except ValueError:
            continue
        if strange or sorted(k for k, _ in pairs[-1]) != sorted(keys):
            return None
        return [value[key] for key in keys]
    return None


# wrong: only objects with the right keys are counted, so another object may stand beside it
def wrong_7(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            if sorted(k for k, _ in pairs[-1]) == sorted(keys):
                found.append(value)
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1:
        return None
    return [found[0][key] for key in keys]


# wrong: more keys than those asked for are let through
def wrong_8(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append((value, len(pairs[-1])))
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1:
        return None
    value, size = found[0]
    if size != len(value) or not all(key in value for key in keys):
        return None
    return [value[key] for key in keys]


# wrong: a key that is missing gives None in the list
def wrong_9(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append((value, len(pairs[-1])))
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1:
        return None
    value, size = found[0]
    if size != len(value) or set(value) - set(keys):
        return None
    return [value.get(key) for key in keys]


# wrong: the values in the order of the object and not of the keys
def wrong_10(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [value for _, value in found[0]]


# wrong: a value of null is taken for a key that is missing
def wrong_11(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or len(found[0]) != len(keys):
        return None
    values = [dict(found[0]).get(key) for key in keys]
    return None if any(value is None for value in values) else values


# wrong: goes on within an object that it has read, so an object in a value counts as a second
def wrong_12(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    for match in re.finditer(r"\{", text):
        try:
            decoder.raw_decode(text, match.start())
            found.append(pairs[-1])
        except ValueError:
            pass
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: finds NaN as a word anywhere in the text, also in a string or in the words around
def wrong_13(text, keys):
    if re.search(r"\b(NaN|Infinity)\b", text):
        return None
    pairs, found = [], []
    decoder = json.JSONDecoder(object_pairs_hook=lambda p: pairs.append(p) or dict(p))
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: looks for NaN and inf among the values only, not within a list or an object
def wrong_14(text, keys):
    pairs, found = [], []
    decoder = json.JSONDecoder(object_pairs_hook=lambda p: pairs.append(p) or dict(p))
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    values = [dict(found[0])[key] for key in keys]
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        return None
    return values


# wrong: refuses NaN but not Infinity, which is no JSON either
def wrong_15(text, keys):
    pairs, strange, found = [], [], []

    def constant(name):
        if name == "NaN":
            strange.append(name)
        return float(name)

    decoder = json.JSONDecoder(
        parse_constant=constant, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: reads NaN as None and goes on
def wrong_16(text, keys):
    pairs, found = [], []
    decoder = json.JSONDecoder(
        parse_constant=lambda name: None, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: mends what is not JSON, single quotes and a comma in front of the closing brace
def wrong_17(text, keys):
    text = re.sub(r",\s*\}", "}", text)
    if '"' not in text:
        text = text.replace("'", '"')
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: not strict, so a bare line break within a string is let through
def wrong_18(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append,
        object_pairs_hook=lambda p: pairs.append(p) or dict(p),
        strict=False,
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: refuses a key that stands twice and then reads an object within that object
def wrong_19(text, keys):
    strange, found = [], []

    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    decoder = json.JSONDecoder(parse_constant=strange.append, object_pairs_hook=once)
    at = text.find("{")
    while at >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
            found.append(value)
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or set(found[0]) != set(keys):
        return None
    return [found[0][key] for key in keys]


# wrong: refuses an object with NaN in it and then reads an object within that object
def wrong_20(text, keys):
    pairs, found = [], []
    decoder = json.JSONDecoder(
        parse_constant=int, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: gives up at the first brace that opens no object
def wrong_21(text, keys):
    pairs, strange = [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    try:
        value, stop = decoder.raw_decode(text, text.index("{"))
    except ValueError:
        return None
    names = sorted(k for k, _ in pairs[-1])
    for match in re.finditer(r"\{", text[stop:]):
        try:
            decoder.raw_decode(text, stop + match.start())
            return None
        except ValueError:
            pass
    if strange or names != sorted(keys):
        return None
    return [value[key] for key in keys]


# wrong: takes the object with the right keys out of another object that wraps it
def wrong_22(text, keys):
    pairs, strange, tops = [], [], 0
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            tops += 1
        except ValueError:
            at += 1
        at = text.find("{", at)
    good = [p for p in pairs if sorted(k for k, _ in p) == sorted(keys)]
    if strange or tops != 1 or len(good) != 1:
        return None
    return [dict(good[0])[key] for key in keys]


# wrong: takes the fences out of the whole text, so also out of a string in the object
def wrong_23(text, keys):
    text = re.sub(r"```(json)?", "", text)
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: counts braces without an eye on strings, so a brace within a string moves the end
def wrong_24(text, keys):
    found, at = [], 0
    while at < len(text):
        depth, stop = 0, at
        for i in range(at, len(text) if text[at] == "{" else at):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                stop = i + 1
                break
        pairs, strange = [], []
        try:
            json.loads(
                text[at:stop],
                parse_constant=strange.append,
                object_pairs_hook=lambda p, pairs=pairs: pairs.append(p) or dict(p),
            )
        except ValueError:
            at += 1
            continue
        if strange:
            return None
        found.append(pairs[-1])
        at = stop
    if len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]


# wrong: an empty list comes out as None, where no key is asked for and the object is empty
def wrong_25(text, keys):
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys] or None


# wrong: reads only what stands in a code fence, where the text need not have one
def wrong_26(text, keys):
    blocks = re.findall(r"```(?:json)?\s*(\{.*?\})\s*```", text, re.DOTALL)
    if len(blocks) != 1:
        return None
    pairs = []
    try:
        json.loads(
            blocks[0], parse_constant=int, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
        )
    except ValueError:
        return None
    if sorted(k for k, _ in pairs[-1]) != sorted(keys):
        return None
    return [dict(pairs[-1])[key] for key in keys]


# wrong: joins all white space first, also within a string
def wrong_27(text, keys):
    text = " ".join(text.split())
    pairs, strange, found = [], [], []
    decoder = json.JSONDecoder(
        parse_constant=strange.append, object_pairs_hook=lambda p: pairs.append(p) or dict(p)
    )
    at = text.find("{")
    while at >= 0:
        try:
            _, at = decoder.raw_decode(text, at)
            found.append(pairs[-1])
        except ValueError:
            at += 1
        at = text.find("{", at)
    if strange or len(found) != 1 or sorted(k for k, _ in found[0]) != sorted(keys):
        return None
    return [dict(found[0])[key] for key in keys]
