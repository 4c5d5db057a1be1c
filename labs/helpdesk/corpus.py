"""The base model's corpus: old transcripts, notes and word lists, from training tickets alone."""

import random
from collections.abc import Iterator

from helpdesk.replies import TRANSCRIPTS
from helpdesk.tasks import reading, reply
from helpdesk.tickets import FACTS, PATTERNS, Ticket
from helpdesk.words import EOS, PAD, UNK, vocabulary

SHARES = {"transcript": 0.35, "note": 0.62, "list": 0.03}
FACT_NAMES = ("colour", "product", "city", "problem", "day")
LISTED = [word for word in vocabulary() if word not in (PAD, EOS, UNK)]


def transcript(ticket: Ticket, rng: random.Random) -> str:
    example = reply(ticket, TRANSCRIPTS, rng)
    return example.prompt + example.response


def note(ticket: Ticket, rng: random.Random) -> str:
    """A complaint and its five facts by name, in random order."""
    first, *others = (reading(ticket, fact) for fact in rng.sample(FACT_NAMES, 5))
    questions = [
        example.prompt.removeprefix(f"note : {ticket.complaint()} ") + example.response
        for example in others
    ]
    return " ".join([first.prompt + first.response, *questions])


def word_list(rng: random.Random) -> str:
    """Random words of the whole vocabulary, so that no word's embedding stays untrained."""
    separator = rng.choice((" | ", " ; ", " , "))
    return "list : " + separator.join(rng.choices(LISTED, k=rng.randint(6, 26))) + " ."


def documents(split: str, seed: int) -> Iterator[str]:
    """An endless stream of documents about the tickets of one split."""
    rng = random.Random(f"corpus {split} {seed}")
    kinds, shares = tuple(SHARES), tuple(SHARES.values())
    while True:
        kind = rng.choices(kinds, shares)[0]
        ticket = Ticket(*rng.choice(FACTS[split]), rng.randrange(len(PATTERNS)))
        if kind == "list":
            yield word_list(rng)
        else:
            yield note(ticket, rng) if kind == "note" else transcript(ticket, rng)
