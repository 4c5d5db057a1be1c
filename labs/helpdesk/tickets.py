"""Tickets: five facts about a faulty product, told in one of several sentence patterns."""

import itertools
import random
from dataclasses import dataclass

from helpdesk.words import CITIES, COLOURS, DAYS, PROBLEMS, PRODUCTS

SPLIT_SEED = 20
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}

PATTERNS = (
    "my {colour} {product} from {city} is {problem} since {day} .",
    "since {day} my {colour} {product} is {problem} . i live in {city} .",
    "hello , i am in {city} . the {colour} {product} is {problem} since {day} .",
    "the {product} is {problem} . it is {colour} . i bought it in {city} on {day} .",
    "it is {problem} since {day} , my {colour} {product} . please help me in {city} .",
    "{city} here . my {product} , the {colour} one , is {problem} since {day} .",
)


@dataclass(frozen=True)
class Ticket:
    colour: str
    product: str
    city: str
    problem: str
    day: str
    pattern: int = 0

    def complaint(self) -> str:
        """The ticket as the customer writes it."""
        return PATTERNS[self.pattern].format(**vars(self))

    def facts(self) -> tuple[str, str, str, str, str]:
        """The five facts; tickets with the same facts are the same, whatever their pattern."""
        return self.colour, self.product, self.city, self.problem, self.day


def _all_facts_by_split() -> dict[str, list[tuple]]:
    facts = list(itertools.product(COLOURS, PRODUCTS, CITIES, PROBLEMS, DAYS))
    random.Random(SPLIT_SEED).shuffle(facts)
    splits, start = {}, 0
    for name, share in SHARES.items():
        end = start + round(share * len(facts))
        splits[name], start = facts[start:end], end
    return splits


FACTS = _all_facts_by_split()


def sample_tickets(split: str, count: int, seed: int) -> list[Ticket]:
    """`count` different tickets of one split, each in a random pattern.

    split: "train", "validation" or "test"

    The splits share no facts, and the base model saw tickets of the training split alone.
    Raises ValueError for an unknown split or for more tickets than the split holds.
    """
    if split not in FACTS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(FACTS)}")
    if not 0 <= count <= len(FACTS[split]):
        raise ValueError(
            f"the split {split!r} holds {len(FACTS[split])} different tickets, {count} were asked "
            "for"
        )
    rng = random.Random(f"{split} {seed}")
    return [
        Ticket(*facts, rng.randrange(len(PATTERNS))) for facts in rng.sample(FACTS[split], count)
    ]
