"""Records as JSON: what a model is asked for, how it is read, and how it is marked.

    {"product": "kettle", "issue": "damaged", "order": "KD-4821", "name": null, "urgent": true}

A response counts as a record only if it is JSON and nothing else, with these five keys and no
others. Marks are per field, so that a wrong order number is not the same as no answer.
"""

import json
from dataclasses import asdict, fields

from inbox.messages import Message, Record
from inbox.phrasings import ISSUES

KEYS = tuple(field.name for field in fields(Record))

# What a tuned model is told; the demonstrations say the rest.
SHORT = "Turn the message into JSON."
# What a model is told that has only this to go by.
LONG = (
    "You read messages to a shop and answer with one line of JSON and nothing else. Its keys are "
    '"product" (what the message is about, in small letters), '
    f'"issue" (one of {", ".join(json.dumps(issue) for issue in ISSUES)}), '
    '"order" (the order number as two capital letters, a hyphen and four digits, or null), '
    '"name" (of the sender, or null) and "urgent" (true or false).'
)

Turn = dict[str, str]  # role and content, as chat templates take them


def as_json(record: Record) -> str:
    """The record as a right response writes it, in one line."""
    return json.dumps(asdict(record))


def turns(message: Message, system: str = SHORT, shots: tuple[Message, ...] = ()) -> list[Turn]:
    """The conversation up to where the answer has to begin; `shots` are solved before it."""
    said = [{"role": "system", "content": system}]
    for shot in shots:
        said += [
            {"role": "user", "content": shot.text},
            {"role": "assistant", "content": as_json(shot.record)},
        ]
    return [*said, {"role": "user", "content": message.text}]


# Reading and marking ------------------------------------------------------------------------------


def read(text: str) -> dict[str, object] | None:
    """The JSON object that a response is, or None: text around it does not count as JSON, nor does
    a key that comes twice."""
    try:
        found = json.loads(text, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def mark(text: str, record: Record) -> dict[str, float]:
    """How good a response is.

    returns valid, whether it is a JSON object · keys, whether it has the five keys alone · fields,
    the share of right fields, 0 without the right keys · exact, whether all are right · and each
    field by its name
    """
    found, wanted = read(text), asdict(record)
    keys = found is not None and found.keys() == wanted.keys()
    right = {key: float(keys and same(found[key], wanted[key])) for key in KEYS}
    share = sum(right.values()) / len(right)
    return {
        "valid": float(found is not None),
        "keys": float(keys),
        "fields": share,
        "exact": float(share == 1),
    } | right


def same(found: object, wanted: object) -> bool:
    """Equality in value and in type: 1 is not true, though Python says so."""
    return type(found) is type(wanted) and found == wanted
