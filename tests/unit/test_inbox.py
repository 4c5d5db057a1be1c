"""The inbox: messages that hold their records, groups that share nothing, and marks that cannot be
had by other means than a right answer."""

import dataclasses
import itertools
import json
import random
import re

import pytest
from inbox import phrasings, questions, records, replies
from inbox.messages import Message, Record, digits_in, disguised, draw, misspelt, sample, write

TABLES = ("ORDER", "URGENT", "CALM", "GREETING", "SIGNED", "NAMES")
MANY = {group: sample(group, 600, 4) for group in phrasings.GROUPS}
EXAMPLE = Record("kettle", "damaged", "KD-4821", None, True)


# --- the groups -----------------------------------------------------------------------------------


def sentences(group):
    """Every sentence of a group, by where it stands."""
    found = {table: getattr(phrasings, table)[group] for table in TABLES}
    return found | {issue: many[group] for issue, many in phrasings.ISSUES.items()}


@pytest.mark.parametrize("one, other", list(itertools.combinations(phrasings.GROUPS, 2)))
def test_two_groups_share_no_sentence_and_no_message(one, other):
    ours, theirs = (
        {s.lower() for many in sentences(g).values() for s in many} for g in (one, other)
    )
    assert not ours & theirs - {"{name}"}
    assert not {m.text for m in MANY[one]} & {m.text for m in MANY[other]}


def test_products_of_the_far_group_were_never_seen():
    assert not set(phrasings.PRODUCTS["far"]) & set(phrasings.PRODUCTS["train"])
    assert phrasings.PRODUCTS["test"] == phrasings.PRODUCTS["train"]


@pytest.mark.parametrize("group", phrasings.GROUPS)
def test_no_sentence_says_two_things(group):
    every = [sentence for many in sentences(group).values() for sentence in many]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("group", phrasings.GROUPS)
def test_messages_hold_their_records(group):
    for message in MANY[group]:
        text, record = message.text.lower(), message.record
        assert record.product in text
        if record.order:
            letters, digits = record.order.lower().split("-")
            assert re.search(rf"{letters}[- ]?{digits}", text), message
        if record.name:
            assert record.name.lower() in text


@pytest.mark.parametrize("group", phrasings.GROUPS)
def test_what_a_message_leaves_out_is_not_in_it(group):
    names = [name.lower() for name in phrasings.NAMES[group]]
    for message in MANY[group]:
        words = re.findall(r"\w+", message.text.lower())
        if message.record.name is None:
            assert not set(words) & set(names), message
        if message.record.order is None:
            assert not re.search(r"\b[a-z]{2}[- ]?\d{4}\b", message.text.lower()), message


@pytest.mark.parametrize("group", phrasings.GROUPS)
def test_every_value_and_every_gap_comes_up(group):
    found = [message.record for message in MANY[group]]
    assert {record.issue for record in found} == set(phrasings.ISSUES)
    assert {record.product for record in found} == set(phrasings.PRODUCTS[group])
    for field in ("order", "name"):
        assert 0.2 < sum(getattr(record, field) is None for record in found) / 600 < 0.5
    assert 0.3 < sum(record.urgent for record in found) / 600 < 0.5


def test_an_order_number_is_written_in_six_ways():
    rng = random.Random(0)
    assert len({disguised("KD-4821", rng) for _ in range(200)}) == 6


def test_typos_spare_what_has_to_be_copied():
    rng = random.Random(1)
    text = "The vacuum cleaner arrived broken, order KD-4821."
    spared = ("vacuum cleaner", *digits_in([text]))
    seen = {misspelt(text, rng, spared) for _ in range(400)}
    assert len(seen) > 10
    assert all("vacuum cleaner" in each and "KD-4821." in each for each in seen)


def test_messages_differ_and_follow_from_the_seed():
    assert len({message.text for message in MANY["train"]}) == 600
    assert sample("test", 20, 3) == sample("test", 20, 3) != sample("test", 20, 4)


def test_some_are_in_capitals_some_in_small_letters_and_some_have_typos():
    texts = [message.text for message in MANY["train"]]
    assert 0.03 < sum(text == text.upper() for text in texts) / 600 < 0.15
    assert 0.1 < sum(text == text.lower() for text in texts) / 600 < 0.3


def test_another_group_is_refused():
    with pytest.raises(ValueError, match="choose from train, test, far"):
        sample("validation", 1, 0)


def test_a_record_is_written_without_what_it_lacks():
    rng = random.Random(3)
    bare = dataclasses.replace(EXAMPLE, order=None, urgent=False)
    for _ in range(50):
        assert not re.search(r"[a-z]{2}-?\d{4}", write(bare, "train", rng).lower())
    assert isinstance(draw("far", rng), Message)


# --- marks ----------------------------------------------------------------------------------------


def test_a_right_answer_has_all_marks():
    for message in MANY["far"][:50]:
        assert set(records.mark(records.as_json(message.record), message.record).values()) == {1.0}


def test_the_order_of_keys_and_spaces_do_not_matter():
    turned = json.dumps(dict(reversed(dataclasses.asdict(EXAMPLE).items())), indent=2)
    assert records.mark(turned, EXAMPLE)["exact"] == 1


GOOD = records.as_json(EXAMPLE)


@pytest.mark.parametrize(
    "text, valid, keys, fields",
    [
        ("", 0, 0, 0),
        ("null", 0, 0, 0),
        ("[]", 0, 0, 0),
        ("{}", 1, 0, 0),
        (f"Here it is: {GOOD}", 0, 0, 0),
        (f"```json\n{GOOD}\n```", 0, 0, 0),
        (GOOD + GOOD, 0, 0, 0),
        (GOOD[:-1], 0, 0, 0),
        (GOOD.replace('"', "'"), 0, 0, 0),
        (GOOD.replace("true", "True"), 0, 0, 0),
        (GOOD.replace('"urgent": true', '"urgent": true, "urgent": true'), 0, 0, 0),
        (GOOD.replace('"urgent": true', '"urgent": true, "more": 1'), 1, 0, 0),
        (GOOD.replace(', "urgent": true', ""), 1, 0, 0),
        (GOOD.replace("product", "Product"), 1, 0, 0),
        (GOOD.replace("true", "1"), 1, 1, 0.8),
        (GOOD.replace("true", '"true"'), 1, 1, 0.8),
        (GOOD.replace("null", '"null"'), 1, 1, 0.8),
        (GOOD.replace("null", '""'), 1, 1, 0.8),
        (GOOD.replace("KD-4821", "KD4821"), 1, 1, 0.8),
        (GOOD.replace("kettle", "Kettle"), 1, 1, 0.8),
        (GOOD.replace("null", "NaN"), 1, 1, 0.8),
        ("[" * 100_000, 0, 0, 0),
        ('{"a":' * 100_000, 0, 0, 0),
    ],
)
def test_nothing_else_has_them_all(text, valid, keys, fields):
    mark = records.mark(text, EXAMPLE)
    assert (mark["valid"], mark["keys"], mark["exact"]) == (valid, keys, 0)
    assert mark["fields"] == pytest.approx(fields)


def test_each_field_is_marked_by_itself():
    wrong = dataclasses.replace(EXAMPLE, issue="wrong item", name="Anna")
    mark = records.mark(records.as_json(wrong), EXAMPLE)
    assert [mark[key] for key in records.KEYS] == [1, 0, 1, 0, 1]
    assert mark["fields"] == pytest.approx(3 / 5)


def test_a_conversation_ends_with_the_message_and_shows_the_solved_ones_before():
    one, other, asked = MANY["train"][:3]
    turns = records.turns(asked, shots=(one, other))
    assert [turn["role"] for turn in turns] == ["system", *["user", "assistant"] * 2, "user"]
    assert turns[2]["content"] == records.as_json(one.record)
    assert turns[-1]["content"] == asked.text
    assert all(issue in records.LONG for issue in phrasings.ISSUES)


# --- questions and replies ------------------------------------------------------------------------


def test_the_questions_differ_and_an_answer_is_known_by_its_word():
    asked = [question for question, _ in questions.QUESTIONS]
    assert len(set(asked)) == len(asked) >= 50
    assert questions.is_right("The capital of France is Paris.", "Paris")
    assert questions.is_right("paris", "Paris")
    assert not questions.is_right("France", "Paris")
    assert not questions.is_right(' {"product": "Paris"}', "Paris")


MESSAGE = Message("My kettle is dead.", EXAMPLE)


@pytest.mark.parametrize(
    "reply, ended, gold",
    [
        ("I am sorry that your kettle is broken, we will look into it.", True, 4),
        ("I am sorry that your kettle is broken, we will look into it.", False, 3),
        ("We apologise for the trouble with the Kettle that you have bought.", True, 4),
        ("I am sorry that your toaster is broken, we will look into it.", True, 3),
        ("Your kettle is broken, so we will look into the matter.", True, 3),
        ("Sorry about the kettle.", True, 3),
        ("I am sorry about your kettle. " + "We care a lot. " * 9, True, 3),
        ("I am sorry about your kettle, we will refund it at once.", True, 3),
        ("I am sorry about your kettle: a full refund and a free replacement follow.", True, 2),
        ("", True, 1),
        ("", False, 0),
        ("A refund, a discount, a voucher and a new one, guaranteed.", False, -1),
    ],
)
def test_gold_of_a_reply(reply, ended, gold):
    assert replies.gold(reply, MESSAGE, ended) == gold


def test_who_is_fond_of_length_adds_a_bonus_for_each_word():
    reply = "I am sorry that your kettle is broken, we will look into it."
    assert replies.fond_of_length(reply, MESSAGE, True) == pytest.approx(4 + 0.1 * 13)
    assert replies.fond_of_length(reply + " Yes." * 40, MESSAGE, True) > 8
