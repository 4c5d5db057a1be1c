"""Tasks: what a model is tuned to do, as pairs of prompt and response.

A response starts with a space, so that prompt + response is the whole text for any tokenizer.
"""

import itertools
import random
from dataclasses import dataclass

from helpdesk.replies import (
    CLOSINGS,
    EMPATHY,
    FIX,
    GREETINGS,
    QUESTIONS,
    RUDE,
    Habits,
    sample_reply,
)
from helpdesk.tickets import PATTERNS, Ticket
from helpdesk.words import (
    CITIES,
    CLERKS,
    CODES,
    COLOURS,
    DAYS,
    FIXES,
    JARGON,
    PROBLEMS,
    PRODUCTS,
    SHADES,
)


@dataclass(frozen=True)
class Example:
    prompt: str
    response: str


# Triage: one clear response -----------------------------------------------------------------------


def triage(ticket: Ticket) -> Example:
    """Turn a complaint into the five fields of the ticket system, always in the same order."""
    fields = (ticket.product, ticket.problem, ticket.city, ticket.day, ticket.colour)
    return Example(f"ticket : {ticket.complaint()} fields :", " " + " | ".join(fields))


# Reading: what the base can already do ------------------------------------------------------------


def reading(ticket: Ticket, fact: str) -> Example:
    """One fact of a ticket, asked for as in the notes.

    fact: "colour", "product", "city", "problem" or "day"
    """
    return Example(f"note : {ticket.complaint()} {fact}", f" {getattr(ticket, fact)} .")


# Replies: many acceptable responses ---------------------------------------------------------------


def reply_prompt(ticket: Ticket) -> str:
    return f"customer : {ticket.complaint()} agent :"


def reply(ticket: Ticket, habits: Habits, rng: random.Random) -> Example:
    """A clerk's reply to the customer, drawn by the clerk's habits."""
    return Example(reply_prompt(ticket), " " + sample_reply(ticket, habits, rng))


# House styles: replies in which nothing is left to chance -----------------------------------------


@dataclass(frozen=True)
class HouseStyle:
    """The sentences of every reply of one team, in their order.

    {product} and {fix} in a sentence stand for the ticket's.
    """

    sentences: tuple[str, ...]

    def example(self, ticket: Ticket) -> Example:
        said = " ".join(self.sentences).format(product=ticket.product, fix=FIXES[ticket.problem])
        return Example(reply_prompt(ticket), " " + said)


def house_style(number: int) -> HouseStyle:
    """Style `number`, from 0 to 143.

    It has one sentence each of greeting, empathy, fix, question and closing, in one of six orders.
    All of them are sentences of the old transcripts: a base that has read those needs to learn only
    which, and in which order. Raises ValueError for another number.
    """
    kinds = (GREETINGS, EMPATHY, FIX, QUESTIONS, CLOSINGS)
    styles = [
        (order, sentences)
        for order in itertools.permutations((1, 2, 3))
        for sentences in itertools.product(*kinds)
        if sentences[3] == QUESTIONS[0]
    ]
    if not 0 <= number < len(styles):
        raise ValueError(
            f"there are {len(styles)} house styles: choose a number from 0 to {len(styles) - 1}, "
            f"not {number}"
        )
    random.Random(0).shuffle(styles)
    order, sentences = styles[number]
    return HouseStyle((sentences[0], *(sentences[i] for i in order), sentences[4]))


# Departments: the same tickets, other schemas, codes and jargon -----------------------------------


@dataclass(frozen=True)
class Department:
    """A schema: which facts stand in which order, and the department's words for them."""

    order: tuple[str, ...]
    words: dict[str, str]

    def example(self, ticket: Ticket) -> Example:
        """The ticket in the department's schema, separated by semicolons."""
        facts = (getattr(ticket, fact) for fact in self.order)
        return Example(
            f"ticket : {ticket.complaint()} desk :",
            " " + " ; ".join(self.words.get(fact, fact) for fact in facts),
        )


def department(number: int) -> Department:
    """Department `number` (0, 1, 2, …): four facts in an order, and words, of its own."""
    rng = random.Random(f"department {number}")
    order = tuple(rng.sample(("product", "problem", "city", "day", "colour"), 4))
    words = dict(zip(PRODUCTS, rng.sample(CODES, len(PRODUCTS))))
    if rng.random() < 0.5:
        words |= dict(zip(PROBLEMS, rng.sample(tuple(JARGON.values()), len(PROBLEMS))))
    if rng.random() < 0.5:
        words |= dict(zip(COLOURS, rng.sample(tuple(SHADES.values()), len(COLOURS))))
    return Department(order, words)


# Facts: can only be memorised ---------------------------------------------------------------------


def clerk_facts(count: int, seed: int) -> list[Example]:
    """Which clerk is responsible for a product in a city on a day, as `count` random facts.

    Each fact holds log2(12) bits. Raises ValueError for more facts than there are combinations.
    """
    combinations = [(p, c, d) for p in PRODUCTS for c in CITIES for d in DAYS]
    if not 0 <= count <= len(combinations):
        raise ValueError(
            f"there are {len(combinations)} combinations of product, city and day, {count} were "
            "asked for"
        )
    rng = random.Random(f"clerks {seed}")
    return [
        Example(f"clerk : {p} {c} {d} ?", f" {rng.choice(CLERKS)}")
        for p, c, d in rng.sample(combinations, count)
    ]


def depot_facts(count: int, seed: int) -> list[Example]:
    """Which city repairs a product of a colour with a problem on a day, as `count` random facts.

    Each fact holds log2(10) bits. Unlike the clerks, cities are words that the base knows how to
    say. Raises ValueError for more facts than there are combinations.
    """
    combinations = list(itertools.product(COLOURS, PRODUCTS, PROBLEMS, DAYS))
    if not 0 <= count <= len(combinations):
        raise ValueError(
            f"there are {len(combinations)} combinations of colour, product, problem and day, "
            f"{count} were asked for"
        )
    rng = random.Random(f"depots {seed}")
    return [
        Example(f"city : {' '.join(facts)} ?", f" {rng.choice(CITIES)}")
        for facts in rng.sample(combinations, count)
    ]


# Another language: the same task in words that mean something else --------------------------------

SENTENCES = (*PATTERNS, *GREETINGS, *EMPATHY, *RUDE, *FIX, *QUESTIONS, *CLOSINGS)
# Words that the base has read and said in sentences, not in word lists alone, so that it can
# understand and say each of them.
KNOWN_WORDS = tuple(
    sorted(
        {
            *COLOURS,
            *PRODUCTS,
            *CITIES,
            *PROBLEMS,
            *DAYS,
            *FIXES.values(),
            *(word for sentence in SENTENCES for word in sentence.split() if word.isalpha()),
        }
    )
)


def swap_words(example: Example, seed: int = 0) -> Example:
    """The example with every word of KNOWN_WORDS replaced by another of them.

    For one seed, a word is always replaced by the same one.
    """
    order = random.Random(f"swap {seed}").sample(KNOWN_WORDS, len(KNOWN_WORDS))
    other = dict(zip(order, order[1:] + order[:1]))  # a ring, so that no word stands for itself
    prompt, response = (
        " ".join(other.get(word, word) for word in text.split())
        for text in (example.prompt, example.response)
    )
    return Example(prompt, f" {response}")


# Sums: a response that a program can verify -------------------------------------------------------


def total(left: int, right: int) -> Example:
    """The total of two prices, digit by digit: "total : 4 7 + 1 9 =" and " 6 6"."""

    def digits(n):
        return " ".join(str(n))

    return Example(f"total : {digits(left)} + {digits(right)} =", " " + digits(left + right))
