"""Tasks: what a model is tuned to do, as pairs of prompt and response.

A response starts with a space, so that prompt + response is the whole text for any tokenizer.
"""
import random
from dataclasses import dataclass

from helpdesk.replies import Habits, sample_reply
from helpdesk.tickets import Ticket
from helpdesk.words import CITIES, CLERKS, CODES, COLOURS, DAYS, JARGON, PROBLEMS, PRODUCTS, SHADES


@dataclass(frozen=True)
class Example:
    prompt: str
    response: str


# Triage: one clear response -------------------------------------------------------------------------------------

def triage(ticket: Ticket) -> Example:
    """Turn a complaint into the five fields of the ticket system, always in the same order."""
    fields = (ticket.product, ticket.problem, ticket.city, ticket.day, ticket.colour)
    return Example(f"ticket : {ticket.complaint()} fields :", " " + " | ".join(fields))


# Reading: what the base can already do --------------------------------------------------------------------------

def reading(ticket: Ticket, fact: str) -> Example:
    """One fact of a ticket ("colour", "product", "city", "problem" or "day"), asked for as in the notes."""
    return Example(f"note : {ticket.complaint()} {fact}", f" {getattr(ticket, fact)} .")


# Replies: many acceptable responses -----------------------------------------------------------------------------

def reply_prompt(ticket: Ticket) -> str:
    return f"customer : {ticket.complaint()} agent :"


def reply(ticket: Ticket, habits: Habits, rng: random.Random) -> Example:
    """A clerk's reply to the customer, drawn by the clerk's habits."""
    return Example(reply_prompt(ticket), " " + sample_reply(ticket, habits, rng))


# Departments: the same tickets, other schemas, codes and jargon ---------------------------------------------------

@dataclass(frozen=True)
class Department:
    """A schema: which facts stand in which order, and the words the department uses for them."""
    order: tuple[str, ...]
    words: dict[str, str]

    def example(self, ticket: Ticket) -> Example:
        """The ticket in the department's schema, separated by semicolons."""
        facts = (getattr(ticket, fact) for fact in self.order)
        return Example(f"ticket : {ticket.complaint()} desk :",
                       " " + " ; ".join(self.words.get(fact, fact) for fact in facts))


def department(number: int) -> Department:
    """Department `number` (0, 1, 2, …): its order of four facts, its product codes, jargon and shades are its own."""
    rng = random.Random(f"department {number}")
    order = tuple(rng.sample(("product", "problem", "city", "day", "colour"), 4))
    words = dict(zip(PRODUCTS, rng.sample(CODES, len(PRODUCTS))))
    if rng.random() < 0.5:
        words |= dict(zip(PROBLEMS, rng.sample(tuple(JARGON.values()), len(PROBLEMS))))
    if rng.random() < 0.5:
        words |= dict(zip(COLOURS, rng.sample(tuple(SHADES.values()), len(COLOURS))))
    return Department(order, words)


# Facts: can only be memorised -----------------------------------------------------------------------------------

def clerk_facts(count: int, seed: int) -> list[Example]:
    """Which clerk is responsible for a product in a city on a day: `count` random facts, log2(12) bits each.

    Raises ValueError for more facts than there are combinations.
    """
    combinations = [(p, c, d) for p in PRODUCTS for c in CITIES for d in DAYS]
    if not 0 <= count <= len(combinations):
        raise ValueError(f"there are {len(combinations)} combinations of product, city and day, {count} were asked for")
    rng = random.Random(f"clerks {seed}")
    return [Example(f"clerk : {p} {c} {d} ?", f" {rng.choice(CLERKS)}") for p, c, d in rng.sample(combinations, count)]


# Sums: a response that a program can verify ------------------------------------------------------------------------

def total(left: int, right: int) -> Example:
    """The total of two prices, digit by digit: "total : 4 7 + 1 9 =" and " 6 6"."""
    def digits(n):
        return " ".join(str(n))
    return Example(f"total : {digits(left)} + {digits(right)} =", " " + digits(left + right))
