"""Verifiers: what they return becomes a score, and what is no number is refused by name."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
import torch
from methods import verifiers
from methods.verifiers import read_values


def decode(ids):
    return " ".join(map(str, ids))


def score_of(verify):
    return verifiers.as_score(verify, decode)


def test_a_verifier_reads_prompt_and_response_as_texts():
    seen = []

    def verify(prompt, response):
        seen.append((prompt, response))
        return len(response) - len(prompt) / 2

    scores = score_of(verify)([[3, 4], [5]], [[6], [7, 8, 9]])
    assert seen == [("3 4", "6"), ("5", "7 8 9")]
    assert scores.tolist() == [-0.5, 4.5] and scores.dtype == torch.float32


def test_no_responses_have_no_scores():
    assert score_of(lambda *_: 1.0)([], []).shape == (0,)


def test_one_response_belongs_to_each_prompt():
    with pytest.raises(ValueError, match="argument"):
        score_of(lambda *_: 1.0)([[3], [4]], [[5]])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, 2.0),
        (0, 0.0),
        (-0.5, -0.5),
        (True, 1.0),
        (False, 0.0),
        (torch.tensor(1.5), 1.5),
        (torch.tensor([1.5]), 1.5),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
    ],
)
def test_any_number_will_do(value, expected):
    assert score_of(lambda *_: value)([[3]] * 2, [[4]] * 2).tolist() == [expected] * 2


@pytest.mark.parametrize(
    "value", ["good", "", None, [1.0], (1.0, 2.0), {}, 1j, torch.ones(2), torch.ones(0), object()]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="returned .* for the response '7 8': return a number"):
        score_of(lambda *_: value)([[3]], [[7, 8]])


@pytest.mark.parametrize("value", ["1", "1.5", "nan"])
def test_a_text_is_no_number_whatever_it_spells(value):
    with pytest.raises(TypeError, match="return a number"):
        score_of(lambda *_: value)([[3]], [[7, 8]])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, torch.tensor(math.nan)])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(FloatingPointError, match="for the response '7 8': return a finite number"):
        score_of(lambda *_: value)([[3]], [[7, 8]])


@pytest.mark.parametrize(
    "error", [KeyError("x"), ZeroDivisionError(), TypeError("no"), IndexError()]
)
def test_a_verifier_that_raises_is_named_with_the_response(error):
    def verify(prompt, response):
        raise error

    with pytest.raises(ValueError, match=f"{type(error).__name__}.*'7 8'.*nothing was upd") as told:
        score_of(verify)([[3]], [[7, 8]])
    assert told.value.__cause__ is error


def test_the_response_that_spoils_the_batch_is_the_one_named():
    with pytest.raises(TypeError, match="'9'"):
        score_of(lambda _, response: None if response == "9" else 1.0)([[3]] * 3, [[8], [9], [7]])


def test_an_interruption_is_not_taken_for_an_error():
    def verify(prompt, response):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_of(verify)([[3]], [[4]])


@pytest.mark.parametrize(
    ("prompt", "response", "worth"),
    [
        ("total : 4 7 + 1 9 =", " 6 6 <eos>", 1.0),
        ("total : 4 7 + 1 9 =", "6 6 <eos>", 1.0),
        ("total : 9 9 + 1 =", " 1 0 0 <eos>", 1.0),
        ("total : 0 + 0 =", " 0 <eos>", 1.0),
        ("total : 4 7 + 1 9 =", " 6 6", 0.0),  # it has to stop
        ("total : 4 7 + 1 9 =", " 6 5 <eos>", 0.0),
        ("total : 4 7 + 1 9 =", " 66 <eos>", 0.0),
        ("total : 4 7 + 1 9 =", " 0 6 6 <eos>", 0.0),
        ("total : 4 7 + 1 9 =", " 6 6 <eos> 6", 0.0),
        ("total : 4 7 + 1 9 =", " <eos> 6 6 <eos>", 0.0),
        ("total : 4 7 + 1 9 =", " <eos>", 0.0),
        ("total : 4 7 + 1 9 =", "", 0.0),
        ("total : 4 7 =", " 4 7 <eos>", 0.0),
        ("total : 1 + 2 + 3 =", " 6 <eos>", 0.0),
        ("total : + 3 =", " 3 <eos>", 0.0),
        ("total : 1 x + 3 =", " 1 3 <eos>", 0.0),
        ("", "", 0.0),
    ],
)
def test_the_right_total_is_worth_1_and_anything_else_nothing(prompt, response, worth):
    told = verifiers.checked(verifiers.right_total, prompt, response)
    assert told == worth and isinstance(verifiers.right_total(prompt, response), float)


# --- reading records ------------------------------------------------------------------------------

KEYS = ["product", "urgent"]


@pytest.mark.parametrize(
    "text",
    [
        '{"product": "kettle", "urgent": true}',
        '{"urgent": true, "product": "kettle"}',
        'Here it is: {"product": "kettle", "urgent": true} Anything else?',
        '```json\n{\n "product": "kettle",\n "urgent": true\n}\n```',
        'A { alone, {"product": "kettle", "urgent": true} and } too.',
        '{broken {"product": "kettle", "urgent": true}',
    ],
)
def test_one_object_is_read_whatever_stands_around_it(text):
    assert read_values(text, KEYS) == ["kettle", True]
    assert read_values(text, KEYS[::-1]) == [True, "kettle"]


@pytest.mark.parametrize(
    "value", ["a } b", "{", 'say "hi" {}', None, False, 0, 1.5, ["x"], {"product": 1}]
)
def test_values_are_as_json_gives_them(value):
    assert read_values(json.dumps({"product": value, "urgent": True}), KEYS) == [value, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "}{",
        "no",
        "null",
        "[]",
        "{}",
        '["product", "urgent"]',
        '{"product": "kettle"}',
        '{"product": "kettle", "urgent": true, "name": null}',
        '{"product": "kettle", "urgent": true, "urgent": true}',
        '{"Product": "kettle", "urgent": true}',
        '{"product": "kettle", "urgent": NaN}',
        '{"product": "kettle", "urgent": true',
        '{"product": "kettle", "urgent": true,}',
        "{'product': 'kettle', 'urgent': true}",
        '{"product": "kettle", "urgent": true} {"product": "lamp", "urgent": true}',
        "{" * 20_000,
        '{"product":' * 20_000,
    ],
)
def test_anything_else_is_none(text):
    assert read_values(text, KEYS) is None
