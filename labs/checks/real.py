"""The checks of lab 11's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import json
import math
import random
from collections.abc import Callable
from copy import deepcopy

import torch
from checks.shared import (
    Words,
    expect,
    expect_on_all,
    in_place,
    kind_of,
    needs_something,
    needs_untouched,
    result,
    twice,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake
from methods import chat, verifiers
from methods.tokens import IGNORE
from planning import rates as planning_rates
from planning import shapes
from torch import Tensor

# A conversation in tokens -------------------------------------------------------------------------

conversation = Exercise("real.conversation", reference=chat.chatml, minutes=12, difficulty=2)
NOT_THE_TEMPLATE = (
    "these are not the ids of the conversation",
    "write each turn as the docstring does, and print yours beside it",
)
NOT_THE_LABELS = (
    "the ids are right, and the labels are not",
    "the answer and the end of its turn count; everything before them is IGNORE",
)

BY_VALUE = (
    "something is looked for by its value, or an empty answer is not expected",
    "go by position: the answer begins where the prompt ends, whatever is in it",
)


def two_lists(value, *given) -> tuple[list[int], list[int]]:
    """Ids and labels as lists of numbers; or a Mistake."""
    needs_something(value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise Mistake(f"ids and labels are expected, yours is {kind_of(value)}", next="return both")
    try:
        ids, labels = ([int(each) for each in part] for part in value)
    except (TypeError, ValueError):
        raise Mistake("ids and labels must be lists of whole numbers", next="return both") from None
    if len(ids) != len(labels):
        raise Mistake(
            f"there are {len(ids)} ids and {len(labels)} labels", next="give each token a label"
        )
    return ids, labels


def some_conversation(seed: int, turns: int = 3) -> tuple:
    """Turns of different length, in tokens that stand nowhere else; none is the assistant's."""
    rng = random.Random(seed)
    tokens = rng.sample(range(3, 200), 60)
    start, line, end, *rest = tokens
    roles = [[rest.pop()] for _ in range(2)] + [[rest.pop(), rest.pop()]]
    said = [
        (list(rng.choice(roles[:2])), [rest.pop() for _ in range(rng.randint(1, 4))])
        for _ in range(turns)
    ]
    answer = [rest.pop() for _ in range(rng.randint(2, 5))]
    return said, answer, roles[2], start, line, end


def expect_conversation(student, given, labels_differ: Words = NOT_THE_LABELS) -> None:
    """As expect; a mistake without a name is one of the ids, or else one of the labels."""
    mine, right = (two_lists(function(*deepcopy(given))) for function in (student, chat.chatml))
    otherwise = labels_differ if mine[0] == right[0] else NOT_THE_TEMPLATE
    expect(conversation, student, given, otherwise=otherwise, read=two_lists)


@wrong_part(conversation)
def wrong_labels(change):
    """The right ids with other labels: a function of the right ids and labels, of the length of the
    answer, and of the tokens that end a turn and break a line."""

    def wrong(turns, answer, assistant, start, line, end):
        ids, labels = chat.chatml(turns, answer, assistant, start, line, end)
        return change(ids, labels, len(answer), end, line)

    return wrong


@wrong_labels(
    "the end of the turn does not count, so nothing teaches the model to stop",
    next="keep its label",
)
def end_masked(ids, labels, length, end, line):
    return ids, labels[:-1] + [IGNORE]


@wrong_labels("the end of the turn is missing", next="the answer's turn ends like every other")
def end_missing(ids, labels, length, end, line):
    return ids[:-1], labels[:-1]


@wrong_labels(
    "everything counts, the customer's words as well", next="mask all that stands before the answer"
)
def all_counts(ids, labels, length, end, line):
    return ids, list(ids)


@wrong_labels("the header of the assistant's turn counts", next="it is given to the model: mask it")
def header_counts(ids, labels, length, end, line):
    place = len(ids) - length - 1
    return ids, labels[: place - 1] + ids[place - 1 :]


@wrong_labels(
    "a line break behind the end of the turn is asked for too", next="stop behind the end"
)
def break_counts(ids, labels, length, end, line):
    return [*ids, line], [*labels, line]


@wrong_labels(
    "the line break behind the end of the turn belongs to the next turn",
    next="end with the end of the turn",
)
def break_follows(ids, labels, length, end, line):
    return [*ids, line], [*labels, IGNORE]


@wrong_labels(
    "the labels are shifted: a label stands where its token stands", next="the model shifts them"
)
def shifted(ids, labels, length, end, line):
    return ids, [*labels[1:], IGNORE]


@wrong_labels(
    "the first token of the answer does not count", next="count from the answer's first token on"
)
def first_masked(ids, labels, length, end, line):
    place = len(ids) - length - 1
    return ids, [IGNORE] * (place + 1) + ids[place + 1 :]


@wrong_labels("the prompt's labels are 0, which is a token", next="IGNORE is −100")
def zeros(ids, labels, length, end, line):
    return ids, [0 if label == IGNORE else label for label in labels]


@wrong_labels(
    "the labels of the answer are masked, and those of the prompt count", next="the other way round"
)
def turned(ids, labels, length, end, line):
    return ids, [i if label == IGNORE else IGNORE for i, label in zip(ids, labels)]


@conversation.wrong(
    "the template is applied twice: the conversation is the content of one more turn",
    next="apply it once",
)
def applied_twice(turns, answer, assistant, start, line, end):
    inner = chat.chatml(turns, [], assistant, start, line, end)[0][:-1]
    return chat.chatml([(turns[-1][0], inner)], answer, assistant, start, line, end)


@conversation.wrong(
    "the assistant's turn is not opened", next="start, the assistant, a line break, then the answer"
)
def not_opened(turns, answer, assistant, start, line, end):
    prompt = chat.chatml(turns, [], assistant, start, line, end)[0][: -len(assistant) - 3]
    return prompt + answer + [end], [IGNORE] * len(prompt) + answer + [end]


@conversation.wrong(
    "all of the assistant's turns count, not only the last",
    next="earlier ones are part of the prompt",
)
def earlier_answers_count(turns, answer, assistant, start, line, end):
    ids, labels = chat.chatml(turns, answer, assistant, start, line, end)
    place = 0
    for role, content in turns:
        first = place + len(role) + 2
        if role == assistant:
            labels[first : first + len(content) + 1] = [*content, end]
        place = first + len(content) + 2
    return ids, labels


@conversation.wrong("only the last turn is written", next="the model reads the whole conversation")
def last_turn_alone(turns, answer, assistant, start, line, end):
    return chat.chatml(turns[-1:], answer, assistant, start, line, end)


@conversation.wrong(
    "the roles are left out", next="every turn begins with start, its role and a line break"
)
def without_roles(turns, answer, assistant, start, line, end):
    return chat.chatml([([], content) for _, content in turns], answer, [], start, line, end)


@conversation.wrong(
    "the turns of the conversation run together",
    next="each ends with the end of a turn and a line break",
)
def without_ends(turns, answer, assistant, start, line, end):
    prompt = [token for role, content in turns for token in (start, *role, line, *content)]
    prompt += [start, *assistant, line]
    return prompt + answer + [end], [IGNORE] * len(prompt) + answer + [end]


@conversation.wrong("no line break stands behind the end of a turn", next="end, then line")
def without_breaks(turns, answer, assistant, start, line, end):
    prompt = [token for role, content in turns for token in (start, *role, line, *content, end)]
    prompt += [start, *assistant, line]
    return prompt + answer + [end], [IGNORE] * len(prompt) + answer + [end]


@conversation.wrong("a line break is missing behind the role", next="start, role, line")
def role_runs_on(turns, answer, assistant, start, line, end):
    prompt = [token for role, content in turns for token in (start, *role, *content, end, line)]
    prompt += [start, *assistant]
    return prompt + answer + [end], [IGNORE] * len(prompt) + answer + [end]


@conversation.wrong(
    "the conversation begins with the end of a turn too many",
    next="begin with the first turn's start",
)
def begins_with_end(turns, answer, assistant, start, line, end):
    ids, labels = chat.chatml(turns, answer, assistant, start, line, end)
    return [end, *ids], [IGNORE, *labels]


@conversation.wrong(
    "who answers is taken to be the last speaker", next="the assistant is an argument"
)
def last_speaker_answers(turns, answer, assistant, start, line, end):
    return chat.chatml(turns, answer, turns[-1][0], start, line, end)


for _name in ("start", "line", "end", "assistant"):
    conversation.wrong(f"{_name} is taken to be the notebook's", next=f"use the argument {_name}")(
        with_the_notebooks(conversation, _name)
    )


@conversation.wrong(*in_place("answer"))
def answer_extended(turns, answer, assistant, start, line, end):
    ids, labels = chat.chatml(turns, answer, assistant, start, line, end)
    answer.append(end)
    return ids, labels


@conversation.check(points=2)
def writes_the_template(student, seed):
    """The ids, for conversations of one to four turns."""
    for turns in (1, 2, 4):
        expect_conversation(student, some_conversation(100 * seed + turns, turns))


@conversation.check(points=1)
def counts_the_answer_alone(student, seed):
    """The labels, also where earlier turns are the assistant's, and nothing changed in place."""
    turns, answer, assistant, *marks = some_conversation(100 * seed + 7, 3)
    turns[1] = (list(assistant), turns[1][1])
    given = (turns, answer, assistant, *marks)
    expect_conversation(student, given)
    needs_untouched(conversation, student, given)


@conversation.check(points=1)
def goes_by_position(student, seed):
    """An answer that an earlier turn says too, one with a line break and an end in it, none at all."""
    turns, answer, assistant, start, line, end = some_conversation(100 * seed + 11, 2)
    said = [(turns[0][0], answer), *turns[1:]]
    for turns_, answer_ in ((said, answer), (turns, [*answer, line, end, *answer]), (turns, [])):
        expect_conversation(student, (turns_, answer_, assistant, start, line, end), BY_VALUE)


# Why a model never stops --------------------------------------------------------------------------

why_endless = Exercise("real.why_endless", reference=chat.ends, minutes=10, difficulty=2)
NOT_THE_ENDS = (
    "a row gets another word than it should",
    "find the last label that counts, then look at the token in that place and the next one",
)
WORDS = ("learned", "masked", "missing")


def as_words(value, *given) -> list[str]:
    needs_something(value)
    if not isinstance(value, (list, tuple)):
        raise Mistake(
            f"a list of words is expected, yours is {kind_of(value)}", next="one word for each row"
        )
    if unknown := [word for word in value if word not in WORDS]:
        raise Mistake(
            f"{str(unknown[0])[:40]!r} is none of the words", next="learned, masked or missing"
        )
    return list(value)


def some_rows(seed: int) -> tuple[list, int]:
    """Rows of every kind: learned, masked, cut, with padding or without; the end of a turn stands in
    every prompt, and is the padding too."""
    rng = random.Random(seed)
    end, rows = rng.randrange(2, 40), []
    words = [token for token in range(2, 60) if token != end]
    for kind in rng.sample(range(9), 9):
        prompt = rng.choices(words, k=3) + [end] * (kind < 8) + rng.choices(words, k=2)
        answer = rng.choices(words, k=rng.randint(2, 4))
        masked, counted = [IGNORE] * len(prompt), list(answer)
        padding = [end] * rng.randint(1, 3) if kind % 2 else []
        if kind < 2:
            ids, labels = [*answer, end], [*counted, end]
        elif kind < 4:
            ids, labels = [*answer, end], [*counted, IGNORE]
        elif kind < 6:
            ids, labels, padding = answer, counted, []
        elif kind == 6:
            ids, labels = [*answer, end, words[0]], [*counted, end, IGNORE]
        elif kind == 8:  # no end anywhere
            ids, labels = answer, counted
        else:
            ids, labels = [*answer, words[1]], [*counted, words[1]]
            padding = [words[2], end]  # what stands behind is no end
        rows.append((prompt + ids + padding, masked + labels + [IGNORE] * len(padding)))
    return rows, end


@wrong_part(why_endless)
def wrong_word(word):
    """A function of ids, labels and the end, for each row."""
    return lambda rows, end: [word(ids, labels, end) for ids, labels in rows]


@wrong_word(
    "an end in the prompt is taken for the answer's", next="begin at the last label that counts"
)
def any_end(ids, labels, end):
    if end in labels:
        return "learned"
    return "masked" if end in ids else "missing"


@wrong_word("it is not asked whether the end counts", next="look at the labels")
def ids_alone(ids, labels, end):
    return "learned" if end in ids else "missing"


@wrong_word(
    "the last column is taken for the end of the answer; there may be padding",
    next="find the last label that counts",
)
def last_column(ids, labels, end):
    return "learned" if labels[-1] == end else "masked" if ids[-1] == end else "missing"


@wrong_word(
    "masked and missing are not told apart",
    next="look at the token behind the last label that counts",
)
def never_masked(ids, labels, end):
    return "learned" if end in labels else "missing"


@wrong_word(
    "masked and missing are not told apart",
    next="look at the token behind the last label that counts",
)
def never_missing(ids, labels, end):
    return "learned" if end in labels else "masked"


@wrong_word(
    "an end anywhere behind the answer is taken for its end", next="look at the next token alone"
)
def anywhere_behind(ids, labels, end):
    last = max((place for place, label in enumerate(labels) if label != IGNORE), default=None)
    if last is None:
        return "missing"
    return "learned" if labels[last] == end else "masked" if end in ids[last:] else "missing"


@wrong_word("learned and masked are exchanged", next="learned: the end has a label that counts")
def exchanged(ids, labels, end):
    word = chat.ends([(ids, labels)], end)[0]
    return {"learned": "masked", "masked": "learned"}.get(word, word)


@wrong_word("the first label that counts is taken for the last", next="max, not min")
def first_label(ids, labels, end):
    first = next((place for place, label in enumerate(labels) if label != IGNORE), 0)
    return "learned" if labels[first] == end else "masked" if ids[first + 1] == end else "missing"


why_endless.wrong("the end of a turn is taken to be the notebook's", next="use the argument end")(
    with_the_notebooks(why_endless, "end")
)


@why_endless.check(points=2)
def tells_rows_apart(student, seed):
    """Rows of every kind, in several orders."""
    inputs = [some_rows(100 * seed + number) for number in range(3)]
    expect_on_all(why_endless, student, inputs, NOT_THE_ENDS, as_words)


@why_endless.check(points=1)
def knows_the_edges(student, seed):
    """Rows in which nothing counts, or the first token alone, or two turns; answers that end at the
    edge of the row; and 0 as a token and as the end."""
    rng = random.Random(seed)
    end, one, two = rng.sample(range(2, 40), 3)
    rows = [
        ([3, end, 4], [IGNORE] * 3),
        ([end, one], [IGNORE] * 2),
        ([one, two, end], [IGNORE, two, end]),
        ([one, two], [IGNORE, two]),
        ([end, one, two], [IGNORE, one, two]),
        ([one, end, two], [one, IGNORE, IGNORE]),
        ([one, 0, end], [one, 0, IGNORE]),
        # Two turns count: the end of the first does, that of the second does not, or is not there.
        ([one, end, two, one, end], [one, end, IGNORE, one, IGNORE]),
        ([one, end, two, one, two], [one, end, IGNORE, one, IGNORE]),
        ([one, end, two, one], [one, IGNORE, IGNORE, one]),
    ]
    zero = [([one, two, 0], [IGNORE, two, 0]), ([one, two, 0], [IGNORE, two, IGNORE])]
    inputs = [(rows, end), (zero, 0), ([], end)]
    expect_on_all(why_endless, student, inputs, NOT_THE_ENDS, as_words)


# What LoRA trains ---------------------------------------------------------------------------------

counted = Exercise("real.counted", reference=shapes.trained_and_held, minutes=15, difficulty=2)
NOT_TRAINED = (
    "the number that LoRA trains is another one",
    "rank · (inputs + outputs) for each of the seven matrices of a layer",
)
NOT_HELD = (
    "the number that the base holds is another one",
    "seven matrices and two norms in each layer, a last norm, the embedding, the output layer",
)


def two_numbers(value, *given) -> tuple[int, int]:
    needs_something(value)
    try:
        trained, held = value
        if int(trained) != trained or int(held) != held:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise Mistake(
            f"two whole numbers are expected, yours is {kind_of(value)}", next="return both"
        ) from None
    return int(trained), int(held)


def some_dimensions(seed: int, tied: bool) -> tuple:
    """A shape whose widths differ, with fewer heads of keys than of queries, and heads that do not
    add up to the width."""
    rng = random.Random(seed)
    kv_heads = rng.randint(2, 4)
    heads = kv_heads * rng.randint(2, 4)
    width, inner, head = rng.sample(range(30, 200), 3)
    return (
        rng.randint(2, 9),
        width,
        inner,
        heads,
        kv_heads,
        head,
        rng.randint(300, 900),
        tied,
        rng.randint(2, 9),
    )


def _otherwise(**changed: Callable) -> Callable:
    """The solution with some of the arguments changed, each by a function of all of them."""

    def wrong(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
        given = dict(
            layers=layers,
            width=width,
            inner=inner,
            heads=heads,
            kv_heads=kv_heads,
            head=head,
            vocabulary=vocabulary,
            tied=tied,
            rank=rank,
        )
        return shapes.trained_and_held(
            **given | {name: change(given) for name, change in changed.items()}
        )

    return wrong


EVERY_HEAD = "keys and values have kv_heads heads, fewer than the queries"
for _name, _message, _next, _changed in (
    (
        "all_heads",
        "keys and values are counted as wide as queries",
        EVERY_HEAD,
        {"kv_heads": lambda given: given["heads"]},
    ),
    (
        "always_tied",
        "the output layer is left out where it is not tied",
        "without tying it has a matrix of its own",
        {"tied": lambda given: True},
    ),
    (
        "never_tied",
        "a tied output layer is counted a second time",
        "tied: the embedding's numbers are used twice and stored once",
        {"tied": lambda given: False},
    ),
    (
        "rank_1",
        "the rank is not used",
        "A has rank rows, B rank columns",
        {"rank": lambda given: 1},
    ),
    ("one_layer", "this is one layer", "multiply by layers", {"layers": lambda given: 1}),
    (
        "rank_doubled",
        "A and B are counted twice",
        "rank · (inputs + outputs) counts both",
        {"rank": lambda given: 2 * given["rank"]},
    ),
    (
        "head_from_the_width",
        "a head is taken to be width / heads wide",
        "head is an argument, and need not be that",
        {"head": lambda given: given["width"] // given["heads"]},
    ),
):
    _wrong = _otherwise(**_changed)
    _wrong.__name__ = _name
    counted.wrong(_message, next=_next)(_wrong)


@wrong_part(counted)
def wrong_counts(change):
    """Other numbers: a function of the right ones and of all arguments by name."""

    def wrong(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
        given = dict(
            layers=layers,
            width=width,
            inner=inner,
            heads=heads,
            kv_heads=kv_heads,
            head=head,
            vocabulary=vocabulary,
            tied=tied,
            rank=rank,
        )
        return change(*shapes.trained_and_held(**given), given)

    return wrong


@wrong_counts(
    "the output layer is adapted too", next="all-linear leaves it out; tied, it is the embedding"
)
def output_layer_adapted(trained, held, given):
    return trained + given["rank"] * (given["width"] + given["vocabulary"]), held


@wrong_counts("queries are taken to be as wide as the model", next="they are heads · head wide")
def queries_as_wide_as_the_model(trained, held, given):
    more = 2 * given["layers"] * (given["width"] - given["heads"] * given["head"])
    return trained + given["rank"] * more // 2, held + more * given["width"]


@wrong_counts(
    "the embedding is adapted too", next="LoRA on all linear layers leaves the embedding alone"
)
def embedding_adapted(trained, held, given):
    return trained + given["rank"] * given["vocabulary"], held


@wrong_counts(
    "the norms are left out of what the base holds", next="two in each layer, and a last one"
)
def without_norms(trained, held, given):
    return trained, held - (2 * given["layers"] + 1) * given["width"]


@wrong_counts("the last norm is left out", next="one norm stands behind the last layer")
def without_last_norm(trained, held, given):
    return trained, held - given["width"]


@wrong_counts("the embedding is left out of what the base holds", next="vocabulary · width")
def without_embedding(trained, held, given):
    return trained, held - given["vocabulary"] * given["width"]


@wrong_counts("the adapter is counted with the base", next="what the base holds does not grow")
def adapter_is_held(trained, held, given):
    return trained, held + trained


@wrong_counts("the two numbers stand in the other order", next="first what is trained")
def turned_round(trained, held, given):
    return held, trained


@wrong_counts("only A is counted", next="B has as many columns as A has rows")
def a_alone(trained, held, given):
    layers, width, inner, rank = (given[name] for name in ("layers", "width", "inner", "rank"))
    queries = given["heads"] * given["head"]
    return layers * rank * (5 * width + queries + inner), held


@wrong_counts("only attention is adapted", next="the three matrices of the feed-forward part too")
def attention_alone(trained, held, given):
    layers, width, inner, rank = (given[name] for name in ("layers", "width", "inner", "rank"))
    return trained - layers * rank * 3 * (width + inner), held


@wrong_counts(
    "the feed-forward part has three matrices, and this counts two", next="gate, up and down"
)
def two_matrices(trained, held, given):
    layers, width, inner, rank = (given[name] for name in ("layers", "width", "inner", "rank"))
    return trained - layers * rank * (width + inner), held - layers * width * inner


def expect_counts(student, inputs: list[tuple]) -> None:
    """As expect_on_all; a mistake without a name is one of what trains, or else of what is held."""
    mine = [two_numbers(student(*given))[0] for given in inputs]
    right = [counted.reference(*given)[0] for given in inputs]
    expect_on_all(counted, student, inputs, NOT_HELD if mine == right else NOT_TRAINED, two_numbers)


@counted.check(points=2)
def counts_what_lora_trains(student, seed):
    """The first number, and then the second, for shapes of unequal sizes."""
    inputs = [some_dimensions(100 * seed + number, tied=number % 2 == 0) for number in range(4)]
    expect_counts(student, inputs)


@counted.check(points=1)
def holds_for_real_models(student, seed):
    """SmolLM2-135M, an untied model of its family, and one whose numbers no 32-bit float can hold."""
    inputs = [
        (30, 576, 1536, 9, 3, 64, 49152, True, 1 + seed % 9),
        (32, 4096, 14336, 32, 8, 128, 128256, False, 1 + seed % 7),
        (31, 2053, 7001, 21, 7, 101, 100003, False, 1 + seed % 5),
    ]
    expect_counts(student, inputs)


# Reading JSON -------------------------------------------------------------------------------------

values = Exercise("real.read_values", reference=verifiers.read_values, minutes=15, difficulty=2)
NOT_READ = (
    "a text is read as something else than it says",
    "print what json gives for it; exactly one object counts, with exactly these keys",
)
AROUND = (
    "the object is not found when there are words around it",
    "look for the first {, and read from there",
)
REPEATED = (
    "a key that comes twice is accepted, and one of its values lost",
    "object_pairs_hook sees both",
)
OTHER_KEYS = "an object with other keys is accepted", "compare the set of its keys with `keys`"
SEVERAL = "one of several objects is taken", "two answers are none: return None"
NOT_JSON = "NaN is accepted, which is no JSON", "parse_constant is called for it"
TOO_KIND = (
    "NaN and keys that come twice are accepted",
    "parse_constant and object_pairs_hook of the decoder see them",
)
ONE_BRACE = (
    "the first { is taken for the beginning of the object",
    "a text may hold single braces: try the next one",
)
CRASHES = "your function raised", "a model may say anything: return None for what you cannot read"


def as_values(value, *given):
    if value is None or isinstance(value, list):
        return json.dumps(plain(value))
    raise Mistake(
        f"a list or None is expected, yours is {kind_of(value)}",
        next="the values in the order of keys",
    )


def plain(value):
    """The value; an object in it is told by that alone, since a grader's worker sends no more."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, (str, int, float)) else "an object"


def some_object(seed: int, word: str = "") -> tuple[str, list[str]]:
    """An object as JSON, and its keys in another order. word: one of its values begins with it"""
    rng = random.Random(seed)
    names = rng.sample("product issue order name urgent city day colour".split(), 4)
    word += "".join(rng.choices("abcdef", k=5))
    found = [word, None, rng.random() < 0.5, rng.randint(1, 99)]
    rng.shuffle(found)
    keys = names
    while keys == names:
        keys = rng.sample(names, 4)
    return json.dumps(dict(zip(names, found))), keys


@wrong_part(values)
def wrong_reading(read):
    """Another way to the object, a function of the text that may raise; its values are taken as they
    should be."""

    def wrong(text, keys):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, IndexError, AttributeError, TypeError):
            return None
        if not isinstance(found, dict) or found.keys() != set(keys):
            return None
        return [found[key] for key in keys]

    return wrong


@values.wrong("nothing is ever read", next="json.JSONDecoder().raw_decode(text, place)")
def never(text, keys):
    return None


def all_objects(text: str, **hooks: Callable) -> dict:
    """The only object of the text, as a decoder with some of the hooks finds it."""
    decoder, found, place = json.JSONDecoder(**hooks), [], text.find("{")
    while place >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
            found.append(value)
        except ValueError:
            place += 1
        place = text.find("{", place)
    return found[0] if len(found) == 1 else {}


@wrong_reading(*TOO_KIND)
def without_hooks(text):
    return all_objects(text)


@wrong_reading(*REPEATED)
def repeated_keys(text):
    return all_objects(text, parse_constant=verifiers._refuse)


@wrong_reading(*NOT_JSON)
def not_a_number(text):
    return all_objects(text, object_pairs_hook=verifiers._once_each)


@wrong_reading(*AROUND)
def whole_text(text):
    return json.loads(text)


@wrong_reading(*ONE_BRACE)
def first_to_last_brace(text):
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


@wrong_reading(
    "the first } is taken for the end of the object, also inside a string",
    next="let json find the end: raw_decode",
)
def first_closing_brace(text):
    return json.loads(text[text.index("{") : text.index("}") + 1])


@wrong_reading(
    "only an object in a code fence is found",
    next="the fence is one of the things that may stand around it",
)
def fence_alone(text):
    return json.loads(text.split("```")[1].removeprefix("json"))


@wrong_reading(*SEVERAL)
def first_of_several(text):
    return json.JSONDecoder(
        object_pairs_hook=verifiers._once_each, parse_constant=verifiers._refuse
    ).raw_decode(text, text.index("{"))[0]


@values.wrong(*OTHER_KEYS)
def more_keys(text, keys):
    found = verifiers._objects(text)
    if len(found) != 1 or not set(keys) <= found[0].keys():
        return None
    return [found[0][key] for key in keys]


@values.wrong(
    "a key that is missing is taken for null", next="an object with other keys is no answer"
)
def missing_is_null(text, keys):
    found = verifiers._objects(text)
    if len(found) != 1 or not found[0].keys() <= set(keys):
        return None
    return [found[0].get(key) for key in keys]


@values.wrong("the values stand in the order of the text", next="in the order of `keys`")
def order_of_the_text(text, keys):
    read = verifiers.read_values(text, keys)
    return read if read is None else list(verifiers._objects(text)[0].values())


@values.wrong("the keys must stand in the order of `keys`", next="JSON's objects have no order")
def order_matters(text, keys):
    read = verifiers.read_values(text, keys)
    return None if read is None or list(verifiers._objects(text)[0]) != list(keys) else read


@values.wrong(
    "the values become text", next="keep true, false, null and numbers as json gives them"
)
def values_as_text(text, keys):
    read = verifiers.read_values(text, keys)
    return read if read is None else list(map(str, read))


@values.wrong(
    "keys that differ in capitals are taken for the same", next="compare them as they are"
)
def capitals(text, keys):
    found = verifiers._objects(text)
    lower = [{key.lower(): value for key, value in one.items()} for one in found]
    if len(lower) != 1 or lower[0].keys() != {key.lower() for key in keys}:
        return None
    return [lower[0][key.lower()] for key in keys]


# What may stand around an object, and how one of its values may begin: nothing of it ends an object.
AROUND_IT = (
    ("{}", ""),
    ("Here you are: {} Is there anything else?", 'a { "x" }'),
    ("```json\n{}\n```", "a } "),
    ("A {{ is a brace. {} And so is }}.", "{ a"),
    ("  \n{}\n", "```a"),
    ("Not NaN: {}", "NaN"),
    ("{}", "two  spaces, a\ttab and a\nline "),
)


def texts(seed: int) -> list[tuple]:
    """The object alone, and with words, code fences and broken beginnings around it; some with braces,
    fences, NaN or white space in a value, some with the keys in the order that is asked for, one with
    an object as a value, and one without keys."""
    found = []
    for number, (around, word) in enumerate(AROUND_IT):
        text, keys = some_object(100 * seed + number, word)
        text = json.dumps(json.loads(text), indent=2) if number % 2 == 0 else text
        found.append((around.format(text), list(json.loads(text)) if number == 5 else keys))
    text, keys = some_object(100 * seed + len(found))
    inside = json.loads(text) | {keys[0]: {"a": 1}, keys[1]: [1, {}]}
    return [*found, (json.dumps(inside), keys), ("Nothing: {}", [])]


def no_answers(seed: int) -> list[tuple]:
    """Texts that hold no object with these keys, or more than one."""
    text, keys = some_object(seed)
    first, *rest = json.loads(text).items()
    twice_first = text[:-1] + f", {json.dumps(first[0])}: 1}}"
    broken = some_object(seed, "tab ")[0]
    capital = json.dumps({first[0].capitalize(): first[1]} | dict(rest))
    texts = (
        "",
        "{",
        "I do not know.",
        "null",
        "[]",
        "{}",
        text[:-1],
        text[1:],
        f"{text} {text}",
        text[:-1] + ', "more": 1}',
        json.dumps(dict(rest)),
        twice_first,
        capital,
        text.replace('"', "'"),
        text.replace(": ", " = "),
        text[:-1] + ",}",
        '{"a": ' * 100,
        json.dumps({name: math.nan for name in keys}),
        json.dumps({name: [1, {"a": math.inf}] for name in keys}),
        json.dumps(list(keys)),
        f"{text} and {{}}",
        f'{{"other": 1}}, {text}',
        f'{{"answer": {text}}}',
        broken.replace("tab ", "tab\n"),  # JSON writes a line break within a string as two signs
    )
    return [(each, keys) for each in texts]


@values.check(points=2)
@twice
def finds_the_object(student, seed):
    """One object, whatever stands around it; its values in the order that was asked for."""
    expect_on_all(values, student, texts(seed), NOT_READ, as_values)


@values.check(points=2)
@twice
def refuses_everything_else(student, seed):
    """No object, several, other keys, keys that come twice, and what is nearly JSON."""
    for given in no_answers(seed):
        try:
            student(*given)
        except Exception as error:
            raise Mistake(f"{CRASHES[0]} {type(error).__name__}", next=CRASHES[1]) from None
    expect_on_all(values, student, texts(seed)[:1] + no_answers(seed), NOT_READ, as_values)


# A rate from a sweep ------------------------------------------------------------------------------

rate_of = Exercise("real.rate", reference=planning_rates.gentlest_rate, minutes=14, difficulty=2)
NOT_THE_RATE = (
    "another rate than the one that the rule gives",
    "means over seeds, the best of them, its standard error, the lowest rate within",
)


def as_choice(value, rates, losses):
    """The rate, as it was given, and the edge; a rate may have gone through 32 bits."""
    if value is None:
        return None
    try:
        rate, edge = value
        near = min(rates, key=lambda each: abs(each - rate))
        return near if math.isclose(near, rate, rel_tol=1e-6) else float(rate), bool(edge)
    except (TypeError, ValueError):
        raise Mistake(
            f"a rate and True or False are expected, yours is {kind_of(value)}",
            next="return both, or None",
        ) from None


@wrong_part(rate_of)
def wrong_choice(choose):
    """A function of the finite losses by rate, lowest rate first, and of all rates."""

    def wrong(rates, losses):
        kept = {r: some for r, some in sorted(zip(rates, losses)) if all(map(math.isfinite, some))}
        return choose(kept, sorted(rates)) if kept else None

    return wrong


def mean(some) -> float:
    return sum(some) / len(some)


def best_of(kept: dict, worth: Callable = mean) -> float:
    return min(kept, key=lambda rate: worth(kept[rate]))


def deviation(some, correction: int = 1) -> float:
    if len(some) <= correction:
        return 0.0
    return math.sqrt(sum((each - mean(some)) ** 2 for each in some) / (len(some) - correction))


def lowest_within(kept: dict, best: float, margin: float) -> float:
    return min(rate for rate, some in kept.items() if mean(some) <= mean(kept[best]) + margin)


def choice(kept, rates, best, margin):
    return lowest_within(kept, best, margin), best in (rates[0], rates[-1])


@wrong_choice(
    "this is the best rate; a gentler one may be as good",
    next="the lowest within one standard error",
)
def the_best(kept, rates):
    return best_of(kept), best_of(kept) in (rates[0], rates[-1])


@wrong_choice("the lucky seed decides", next="take the mean over the seeds")
def best_single(kept, rates):
    return choice(kept, rates, best_of(kept, min), 0.0)


@wrong_choice("the highest rate within the margin is taken", next="the lowest one is the gentlest")
def harshest(kept, rates):
    best = best_of(kept)
    margin = deviation(kept[best]) / math.sqrt(len(kept[best]))
    rate = max(r for r, some in kept.items() if mean(some) <= mean(kept[best]) + margin)
    return rate, best in (rates[0], rates[-1])


@wrong_choice("the margin is a standard deviation, not a standard error", next="divide by √n")
def one_deviation(kept, rates):
    best = best_of(kept)
    return choice(kept, rates, best, deviation(kept[best]))


@wrong_choice(
    "the deviation is divided by n − 0, and the runs are a sample", next="divide by n − 1"
)
def population(kept, rates):
    best = best_of(kept)
    return choice(kept, rates, best, deviation(kept[best], 0) / math.sqrt(len(kept[best])))


@wrong_choice("the standard error is divided by n, not √n", next="standard deviation / √n")
def over_n(kept, rates):
    best = best_of(kept)
    return choice(kept, rates, best, deviation(kept[best]) / len(kept[best]))


@wrong_choice("the worst rate is taken for the best", next="a loss should be low")
def worst(kept, rates):
    worst = max(kept, key=lambda rate: mean(kept[rate]))
    return worst, worst in (rates[0], rates[-1])


@wrong_choice(
    "it is asked whether the chosen rate is at the edge, not the best one",
    next="the best rate says whether the sweep ended too early",
)
def edge_of_the_choice(kept, rates):
    best = best_of(kept)
    rate = choice(kept, rates, best, deviation(kept[best]) / math.sqrt(len(kept[best])))[0]
    return rate, rate in (rates[0], rates[-1])


@wrong_choice(
    "the edges are those of the rates that did not diverge",
    next="compare with the lowest and highest rate tried",
)
def edges_of_the_kept(kept, rates):
    best = best_of(kept)
    rate = choice(kept, rates, best, deviation(kept[best]) / math.sqrt(len(kept[best])))[0]
    return rate, best in (min(kept), max(kept))


@rate_of.wrong("the rates are taken to be in order", next="use min and max")
def as_they_stand(rates, losses):
    found = planning_rates.gentlest_rate(rates, losses)
    if found is None:
        return None
    kept = {r: some for r, some in zip(rates, losses) if all(map(math.isfinite, some))}
    return found[0], best_of(kept) in (rates[0], rates[-1])


@wrong_choice(
    "only the upper edge is looked at", next="a better rate may lie below the lowest, too"
)
def upper_edge(kept, rates):
    best = best_of(kept)
    rate = choice(kept, rates, best, deviation(kept[best]) / math.sqrt(len(kept[best])))[0]
    return rate, best == rates[-1]


@wrong_choice(
    "only the lower edge is looked at", next="a better rate may lie above the highest, too"
)
def lower_edge(kept, rates):
    best = best_of(kept)
    rate = choice(kept, rates, best, deviation(kept[best]) / math.sqrt(len(kept[best])))[0]
    return rate, best == rates[0]


@wrong_choice(
    "the sweep is never at an edge", next="compare the best rate with the lowest and the highest"
)
def never_at_the_edge(kept, rates):
    best = best_of(kept)
    return choice(kept, rates, best, deviation(kept[best]) / math.sqrt(len(kept[best])))[0], False


@rate_of.wrong(
    "a run that diverged is left out, and the others of its rate count",
    next="a rate at which any run diverged is out",
)
def diverged_runs_left_out(rates, losses):
    kept = [[each for each in some if math.isfinite(each)] for some in losses]
    return planning_rates.gentlest_rate(*zip(*[pair for pair in zip(rates, kept) if pair[1]]))


def sweeps(seed: int) -> list[tuple]:
    """Sweeps out of order, with a gentle rate inside and outside the margin, at an edge, diverged."""
    rng, inputs = random.Random(seed), []
    bests = rng.sample((0, 2, 3, 5), 4)
    for number in range(12):
        rates = sorted(rng.uniform(1e-5, 1e-2) for _ in range(6))
        best, count = bests[number // 3] if number % 3 == 0 else 4, rng.randint(3, 5)
        # In standard errors of the best: below 1 a gentler rate is within the margin, above it is not.
        levels = [3.0] * 6
        for higher in range(best + 1, 6):
            levels[higher] = rng.choice((0.2, 0.8, 1.3))
        if best:
            levels[rng.randrange(best)] = (0.95, 1.3, 0.7, 0.3)[number % 4]
        if number == 1:  # the gentlest rate is at the edge, and the best one is not
            levels[0] = 0.4
        levels[best], spread, lowest = 0.0, rng.uniform(0.05, 0.2), rng.choice((0.1, 0.5, 4.0))
        losses = [
            [lowest + spread * (level / math.sqrt(count) + each) for each in noise(rng, count)]
            for level in levels
        ]
        if unlucky := [place for place in range(6) if levels[place] == 3]:
            # One good run does not make a good rate.
            losses[unlucky[0]][:2] = [lowest - 0.9, lowest + 3]
        if number % 2:
            spoilt = 5 if best != 5 else 0
            if number == 3:  # what did not diverge would be the best
                losses[spoilt] = [each - 3 * spread for each in losses[best]]
            losses[spoilt][rng.randrange(count)] = math.nan if number % 4 == 1 else math.inf
        pairs = rng.sample(list(zip(rates, losses)), 6)
        # The best rate stands first and is not at an edge; or the one with NaN stands first.
        if number in (2, 5):
            pairs.sort(key=lambda pair: pair[0] != rates[best if number == 2 else spoilt])
        inputs.append(tuple(map(list, zip(*pairs))))
    return inputs


def noise(rng: random.Random, count: int) -> list[float]:
    """Numbers with mean 0 and a sample deviation of 1."""
    some = [rng.gauss(0, 1) for _ in range(count)]
    return [(each - mean(some)) / deviation(some) for each in some]


@rate_of.check(points=2)
def follows_the_rule(student, seed):
    """Sweeps of three to five seeds, in any order, some with runs that diverged."""
    expect_on_all(rate_of, student, sweeps(seed), NOT_THE_RATE, as_choice)


@rate_of.check(points=1)
def copes_with_one_seed_and_with_none_that_survived(student, seed):
    rng = random.Random(seed)
    rates = [rng.uniform(1e-4, 1e-3), rng.uniform(1e-3, 1e-2), rng.uniform(1e-2, 1e-1)]
    inputs = [
        (rates, [[2.0], [1.0], [3.0]]),
        (rates, [[1.0], [1.0 + 1e-6], [math.nan]]),
        (rates, [[math.nan, 1.0], [math.inf, 2.0], [1.0, math.nan]]),
        (rates[:1], [[0.5, 0.7]]),
        # As good as the best is within, whichever of the two comes first.
        ([2 * rates[2], *rates[::-1]], [[3.0], [1.0], [1.0], [2.0]]),
    ]
    expect_on_all(rate_of, student, inputs, NOT_THE_RATE, as_choice)


# The silent bug: labels by position ---------------------------------------------------------------

labels = Exercise("real.silent_bug", reference=chat.labels_by_position, minutes=12, difficulty=2)
NOT_BY_POSITION = (
    "a label counts that should not, or the other way round",
    "from the prompt's length on, up to the row's length",
)


@wrong_part(labels)
def wrong_mask(counts):
    """Labels that count where another table says: a function of ids, prompts, lengths."""

    def wrong(ids, prompts, lengths):
        return ids.where(counts(ids, prompts, lengths), IGNORE)

    return wrong


def place(ids: Tensor) -> Tensor:
    return torch.arange(ids.shape[1])


@wrong_mask(
    "the bug is still there: what has the padding's id does not count, wherever it stands",
    next="go by position",
)
def by_id(ids, prompts, lengths):
    return (place(ids) >= prompts[:, None]) & (ids != ids[0, -1])


@wrong_mask("padding counts", next="stop at the row's length")
def padding_counts(ids, prompts, lengths):
    return place(ids) >= prompts[:, None]


@wrong_mask("the prompt counts", next="begin at the prompt's length")
def prompt_counts(ids, prompts, lengths):
    return place(ids) < lengths[:, None]


@wrong_mask(
    "the end of the turn does not count", next="the last token of a row is at its length − 1"
)
def end_left_out(ids, prompts, lengths):
    return (place(ids) >= prompts[:, None]) & (place(ids) < lengths[:, None] - 1)


@wrong_mask("one token too many counts at the end", next="< lengths, not <=")
def one_more(ids, prompts, lengths):
    return (place(ids) >= prompts[:, None]) & (place(ids) <= lengths[:, None])


@wrong_mask("the last token of the prompt counts", next=">= prompts")
def one_earlier(ids, prompts, lengths):
    return (place(ids) >= prompts[:, None] - 1) & (place(ids) < lengths[:, None])


@wrong_mask("the first token of the answer does not count", next=">= prompts, not >")
def one_later(ids, prompts, lengths):
    return (place(ids) > prompts[:, None]) & (place(ids) < lengths[:, None])


@wrong_mask(
    "lengths is taken for the length of the answer",
    next="it is that of prompt and response together",
)
def lengths_of_answers(ids, prompts, lengths):
    return (place(ids) >= prompts[:, None]) & (place(ids) < (prompts + lengths)[:, None])


@wrong_mask("all rows get the first row's positions", next="each row has its own")
def first_row(ids, prompts, lengths):
    return ((place(ids) >= prompts[0]) & (place(ids) < lengths[0])).expand_as(ids)


@wrong_mask("nothing counts", next="the answer's ids are its labels")
def nothing(ids, prompts, lengths):
    return torch.zeros_like(ids, dtype=torch.bool)


@labels.wrong("the mask is returned, not the labels", next="ids where it is true, IGNORE elsewhere")
def the_mask(ids, prompts, lengths):
    return chat.labels_by_position(ids, prompts, lengths) != IGNORE


@labels.wrong("what does not count gets 0, which is a token", next="IGNORE is −100")
def zeros_elsewhere(ids, prompts, lengths):
    found = chat.labels_by_position(ids, prompts, lengths)
    return found.where(found != IGNORE, 0)


@labels.wrong(
    "the labels are shifted by one",
    next="the model shifts them; a label stands where its token stands",
)
def labels_shifted(ids, prompts, lengths):
    return chat.labels_by_position(ids, prompts, lengths).roll(-1, 1)


@labels.wrong(*in_place("ids"))
def ids_changed(ids, prompts, lengths):
    ids.copy_(chat.labels_by_position(ids, prompts, lengths))
    return ids


def as_labels(value, *given) -> Tensor:
    """A tensor that does not hold floats; or a Mistake."""
    if isinstance(value, Tensor) and value.is_floating_point():
        raise Mistake(
            "labels are whole numbers, and yours are floats, which the loss does not take",
            next="keep the type of the ids",
        )
    return result(value, *given)


def some_padded(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows whose padding has the id that ends a turn; it also stands inside prompts and answers, and
    the longest row has no padding."""
    rng = random.Random(seed)
    end, rows, time = rng.randrange(2, 40), 4, rng.randint(15, 18)
    ids = torch.full((rows, time), end)
    prompts = torch.tensor([rng.randint(2, 5) for _ in range(rows)])
    lengths = torch.tensor([rng.randint(8, 10) for _ in range(rows)])
    lengths[rng.randrange(1, rows)] = time
    for row in range(rows):
        ids[row, : lengths[row] - 1] = torch.tensor(
            [rng.randrange(40, 90) for _ in range(lengths[row] - 1)]
        )
        ids[row, prompts[row] - 1] = end
        ids[row, prompts[row]] = 0  # a token like any other
    ids[2, lengths[2] - 1] = end + 1  # an answer that was cut
    return ids, prompts, lengths


@labels.check(points=2)
@twice
def counts_by_position(student, seed):
    """Rows of different length, padded with the token that ends a turn."""
    given = some_padded(seed)
    expect(labels, student, given, otherwise=NOT_BY_POSITION, read=as_labels)
    needs_untouched(labels, student, given)


@labels.check(points=2)
@twice
def counts_an_end_inside_the_answer(student, seed):
    """An answer of two turns' ends, an empty answer, and other numbers of rows and columns."""
    ids, prompts, lengths = some_padded(seed)
    ids[1, prompts[1] + 1] = ids[0, -1]
    lengths[2] = prompts[2]
    for rows in (4, 2):
        given = ids[:rows, :], prompts[:rows], lengths[:rows]
        expect(labels, student, given, otherwise=NOT_BY_POSITION, read=as_labels)
