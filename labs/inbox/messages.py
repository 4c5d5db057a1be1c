"""Messages to a shop's inbox, and the record that each one holds.

A message says what product it is about and what went wrong. It may give an order number, written in
one of six ways, say that it is urgent, and be signed; or not. Then come the accidents of writing:
typos, all capitals, no capitals. What a message leaves out is null in its record.
"""

import random
from dataclasses import dataclass

from inbox.phrasings import CALM, GREETING, GROUPS, ISSUES, NAMES, ORDER, PRODUCTS, SIGNED, URGENT

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # of order numbers: without I and O, which look like digits


@dataclass(frozen=True)
class Record:
    """What a message says: the facts that an answer has to hold.

    order: two letters, a hyphen and four digits, or None · name: of the sender, or None
    """

    product: str
    issue: str
    order: str | None
    name: str | None
    urgent: bool


@dataclass(frozen=True)
class Message:
    text: str
    record: Record


def sample(group: str, count: int, seed: int) -> list[Message]:
    """`count` different messages of a group: "train", "test" or "far".

    Raises ValueError for another group.
    """
    if group not in GROUPS:
        raise ValueError(f"the group is {group!r}: choose from {', '.join(GROUPS)}")
    rng, found = random.Random(f"{group} {seed}"), {}
    while len(found) < count:
        message = draw(group, rng)
        found.setdefault(message.text, message)
    return list(found.values())


def draw(group: str, rng: random.Random) -> Message:
    record = Record(
        product=rng.choice(PRODUCTS[group]),
        issue=rng.choice(list(ISSUES)),
        order=number(rng) if rng.random() < 0.7 else None,
        name=rng.choice(NAMES[group]) if rng.random() < 0.6 else None,
        urgent=rng.random() < 0.4,
    )
    return Message(write(record, group, rng), record)


def number(rng: random.Random) -> str:
    return f"{''.join(rng.choices(LETTERS, k=2))}-{rng.randrange(10_000):04d}"


# Writing ------------------------------------------------------------------------------------------


def write(record: Record, group: str, rng: random.Random) -> str:
    """The record as a customer of the group would write it."""
    facts = [rng.choice(ISSUES[record.issue][group]).format(product=record.product)]
    if record.order:
        facts.append(rng.choice(ORDER[group]).format(order=disguised(record.order, rng)))
    if record.urgent:
        facts.append(rng.choice(URGENT[group]))
    elif rng.random() < 0.4:
        facts.append(rng.choice(CALM[group]))
    if group == "far" or rng.random() < 0.3:
        rng.shuffle(facts)
    if rng.random() < 0.5:
        facts.insert(0, rng.choice(GREETING[group]))
    # Typos spare what has to be copied: a misspelt name has no right answer.
    text = misspelt(" ".join(facts), rng, spared=(record.product, *digits_in(facts)))
    if record.name:
        text += " " + rng.choice(SIGNED[group]).format(name=record.name)
    return cased(text, rng)


def disguised(order: str, rng: random.Random) -> str:
    """An order number in one of the six ways in which people write it."""
    letters, digits = order.split("-")
    return rng.choice(
        (
            order,
            f"{letters}{digits}",
            f"{letters} {digits}",
            f"#{order}",
            f"{letters.lower()}-{digits}",
            f"{letters.lower()}{digits}",
        )
    )


def digits_in(facts: list[str]) -> list[str]:
    return [word for fact in facts for word in fact.split() if any(map(str.isdigit, word))]


def misspelt(text: str, rng: random.Random, spared: tuple[str, ...]) -> str:
    """The text with a slip in about one word of twelve: two letters swapped, one lost or doubled."""
    kept = {part for whole in spared for part in whole.split()}
    return " ".join(
        slipped(word, rng)
        if len(word) > 4
        and word.strip(".,?") not in kept
        and word not in kept
        and rng.random() < 1 / 12
        else word
        for word in text.split()
    )


def slipped(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 2)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    return rng.choice(slips)


def cased(text: str, rng: random.Random) -> str:
    """One message in five is all small letters, one in twelve all capitals."""
    throw = rng.random()
    if throw < 0.2:
        return text.lower()
    return text.upper() if throw > 11 / 12 else text
