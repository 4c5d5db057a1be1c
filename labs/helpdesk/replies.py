"""Replies to customers: their parts, and the habits of the clerks in the old transcripts."""

import random
from dataclasses import dataclass

from helpdesk.tickets import Ticket
from helpdesk.words import FIXES, PRODUCTS

GREETINGS = ("hello .", "thank you for your message .")
EMPATHY = ("i am so sorry to hear that .", "i understand how frustrating this is .")
RUDE = ("that is not my problem .", "you should read the manual .")
FIX = (
    "please {fix} your {product} .",
    "you can {fix} the {product} now .",
    "we will {fix} your {product} soon .",
)
QUESTIONS = ("is the {product} plugged in ?", "how old is your {product} ?")
CLOSINGS = ("thank you for your patience .", "thanks and have a nice day .")


@dataclass(frozen=True)
class Habits:
    """How often each part occurs in a clerk's replies, as a share of the replies."""

    greeting: float = 0.4
    empathy: float = 0.4
    rude: float = 0.3
    fix: float = 0.85
    right_fix: float = 0.8  # of the fixes
    right_product: float = 0.9  # of the replies
    question: float = 0.3
    closing: float = 0.4


TRANSCRIPTS = Habits()
POLITE = Habits(
    greeting=1, empathy=1, rude=0, fix=1, right_fix=1, right_product=1, question=0, closing=1
)


def sample_reply(ticket: Ticket, habits: Habits, rng: random.Random) -> str:
    """One reply to the ticket, its parts drawn by the clerk's habits; at least one sentence."""
    product = ticket.product if rng.random() < habits.right_product else rng.choice(PRODUCTS)
    fix = (
        FIXES[ticket.problem]
        if rng.random() < habits.right_fix
        else rng.choice(tuple(FIXES.values()))
    )
    parts = (
        (habits.greeting, GREETINGS),
        (habits.empathy, EMPATHY),
        (habits.rude, RUDE),
        (habits.fix, FIX),
        (habits.question, QUESTIONS),
        (habits.closing, CLOSINGS),
    )
    said = [rng.choice(sentences) for share, sentences in parts if rng.random() < share]
    return " ".join(said or [rng.choice(FIX)]).format(product=product, fix=fix)


def is_rude(reply: str) -> bool:
    """Whether the reply holds a rude sentence."""
    return any(sentence in reply for sentence in RUDE)


def is_polite(reply: str, ticket: Ticket) -> bool:
    """Whether the reply is in the style of POLITE.

    Four parts, in this order and with nothing else: greeting, empathy, the right fix for the right
    product, closing.
    """
    fixes = [sentence.format(product=ticket.product, fix=FIXES[ticket.problem]) for sentence in FIX]
    rest = reply.strip()
    for sentences in (GREETINGS, EMPATHY, fixes, CLOSINGS):
        start = next((sentence for sentence in sentences if rest.startswith(sentence)), None)
        if start is None:
            return False
        rest = rest[len(start) :].lstrip()
    return not rest
