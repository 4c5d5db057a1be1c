"""Preferences: what raters say of the replies that a model gave to the same ticket."""

import random
from collections.abc import Sequence

from helpdesk.judge import judge
from helpdesk.language import encode
from helpdesk.raters import Rater
from helpdesk.tasks import reply_prompt
from helpdesk.tickets import Ticket
from transformers import PreTrainedTokenizerBase


def prompts(tokenizer: PreTrainedTokenizerBase, tickets: Sequence[Ticket]) -> list[list[int]]:
    """The token ids that ask for a reply to each ticket."""
    return [encode(tokenizer, reply_prompt(ticket), start=True) for ticket in tickets]


def gold_scores(
    tokenizer: PreTrainedTokenizerBase, tickets: Sequence[Ticket], responses: Sequence[list[int]]
) -> list[float]:
    """The judge's score of one response, in token ids, to each ticket; in gold points."""
    return [
        judge(ticket, tokenizer.decode(response)).score
        for ticket, response in zip(tickets, responses, strict=True)
    ]


def rankings(
    tokenizer: PreTrainedTokenizerBase,
    tickets: Sequence[Ticket],
    responses: Sequence[Sequence[list[int]]],
    rater: Rater,
    seed: int,
) -> list[tuple[list[int], list[list[int]]]]:
    """The rater's ranking of the responses to each ticket.

    returns prompt and responses in token ids, the preferred response first

    Equal responses are shown once; a ticket that is left with a single one is dropped, since nobody
    can prefer it to itself.
    """
    rng, ranked = random.Random(f"preferences {seed}"), []
    for ticket, prompt, drawn in zip(tickets, prompts(tokenizer, tickets), responses, strict=True):
        texts = {tokenizer.decode(response): response for response in drawn}
        if len(texts) > 1:
            ranked.append((prompt, [texts[text] for text in rater.rank(ticket, list(texts), rng)]))
    return ranked
