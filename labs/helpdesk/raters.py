"""Raters: simulated people who say which of two replies they prefer."""

import math
import random
from dataclasses import dataclass

from helpdesk.judge import judge
from helpdesk.replies import CLOSINGS
from helpdesk.tickets import Ticket


@dataclass(frozen=True)
class Rater:
    """Chooses by Bradley and Terry on the gold score: P(first) = σ(sharpness · (score₁ − score₂)).

    sharpness: how decisive the rater is, per gold point · flips: share of choices that come out the
    wrong way round, whatever the scores · thanks_bias, length_bias: what the rater adds, in gold
    points, for a closing thanks and for each word
    """

    sharpness: float = 2.0
    flips: float = 0.0
    thanks_bias: float = 0.0
    length_bias: float = 0.0

    def impression(self, ticket: Ticket, reply: str) -> float:
        """The score as this rater perceives it, in gold points."""
        thanks = any(sentence in reply for sentence in CLOSINGS)
        return (
            judge(ticket, reply).score
            + self.thanks_bias * thanks
            + self.length_bias * len(reply.split())
        )

    def prefers_first(self, ticket: Ticket, first: str, second: str, rng: random.Random) -> bool:
        """One choice between two replies to the same ticket."""
        margin = self.sharpness * (self.impression(ticket, first) - self.impression(ticket, second))
        # Written with tanh, the sigmoid cannot overflow for a large margin.
        chosen = rng.random() < 0.5 * (1 + math.tanh(margin / 2))
        return chosen != (rng.random() < self.flips)

    def rank(self, ticket: Ticket, replies: list[str], rng: random.Random) -> list[str]:
        """The replies, the preferred one first.

        Two replies are a choice. More are ranked by Plackett and Luce, where every pair follows
        Bradley and Terry's probability. Raises ValueError for a rater who flips choices and is
        given more than two replies: a flip is defined for a choice.
        """
        if len(replies) == 2:
            return replies if self.prefers_first(ticket, *replies, rng) else replies[::-1]
        if self.flips:
            raise ValueError(
                "a rater with flips can compare two replies, not rank more: set flips to 0"
            )
        noisy = {
            reply: self.sharpness * self.impression(ticket, reply) - math.log(rng.expovariate(1))
            for reply in replies
        }
        return sorted(replies, key=noisy.__getitem__, reverse=True)
