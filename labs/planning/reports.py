"""Cases for both sets of rules: public reports, and the document's own examples.

A report says what a team had and what it did, each from a work that the book cites.

The table of planning.decide was written by people who knew them. So that it agrees with them is no
evidence for it; a disagreement would be evidence against it. Memory is left at its default, since
most reports do not give it.
"""

from typing import NamedTuple

from planning import rules
from planning.decide import (
    CHANGE,
    COMPARISONS,
    DEMONSTRATIONS,
    RL,
    SFT,
    SFT_DPO_RL,
    SUCCEEDS,
    VERIFIER,
    Situation,
)

PPO = "SFT, then PPO on a reward model"


class Report(NamedTuple):
    """did: the method, in the words of planning.decide. clear: whether the document would say that
    there are clear answers."""

    name: str
    source: str
    situation: Situation
    clear: bool
    did: str


def had(*signals: str, **known) -> Situation:
    return Situation(frozenset((*signals, SUCCEEDS)), **known)


REPORTS = (
    Report("Alpaca", "ALP23", had(DEMONSTRATIONS, examples=52_000), True, SFT),
    Report("LIMA", "ZHO23", had(DEMONSTRATIONS, examples=1_000, parameters=65), False, SFT),
    Report(
        "summaries from feedback",
        "STI20",
        had(DEMONSTRATIONS, COMPARISONS, examples=64_832, parameters=6.7),
        False,
        PPO,
    ),
    Report(
        "InstructGPT",
        "OUY22",
        had(DEMONSTRATIONS, COMPARISONS, examples=33_207, parameters=175),
        False,
        PPO,
    ),
    Report(
        "Llama 2 Chat",
        "TOU23",
        had(DEMONSTRATIONS, COMPARISONS, examples=1_418_091, parameters=70),
        False,
        PPO,
    ),
    Report(
        "Tülu 3",
        "LAM24",
        had(DEMONSTRATIONS, COMPARISONS, VERIFIER, examples=939_344, parameters=8),
        False,
        SFT_DPO_RL,
    ),
    Report("DeepSeek-R1-Zero", "R1", had(VERIFIER, parameters=671), True, RL),
    Report(
        "DeepSeek-R1, distilled",
        "R1",
        had(DEMONSTRATIONS, examples=800_000, parameters=32),
        True,
        SFT,
    ),
    Report("s1", "MUE25", had(DEMONSTRATIONS, examples=1_000, parameters=32), True, SFT),
    Report("Tina", "WAN25", had(VERIFIER, parameters=1.5), True, RL),
)


class Example(NamedTuple):
    """One of the ten examples of section 3.

    listed: the method under which the document names it · clear: whether its answers are, as far as
    a reader can tell · situation: the signals that such a task usually has, which the document does
    not say and this book assumes
    """

    name: str
    listed: str
    clear: bool
    situation: Situation


EXAMPLES = (
    Example("code generation", rules.SFT, True, had(DEMONSTRATIONS, VERIFIER)),
    Example("machine translation", rules.SFT, True, had(DEMONSTRATIONS)),
    Example("text summarization", rules.SFT, True, had(DEMONSTRATIONS, COMPARISONS)),
    Example("mathematical reasoning", rules.SFT, True, had(DEMONSTRATIONS, VERIFIER)),
    Example("customer service robots", rules.PEFT, True, had(DEMONSTRATIONS, CHANGE)),
    Example("medical assistants", rules.PEFT, True, had(DEMONSTRATIONS, CHANGE)),
    Example("education assistants", rules.PEFT, True, had(DEMONSTRATIONS)),
    Example("ChatGPT", rules.RLHF, False, had(DEMONSTRATIONS, COMPARISONS, VERIFIER)),
    Example("content creation assistants", rules.RLHF, False, had(DEMONSTRATIONS, COMPARISONS)),
    Example("customer service", rules.RLHF, False, had(DEMONSTRATIONS, COMPARISONS)),
)
MEANS = {  # of a team, for the tree
    "plenty": {"memory": 100, "budget": 100_000},
    "little": {"memory": 8, "budget": 1_000},
}


def by_the_tree(example: Example, means: str) -> str:
    """Where the document's tree sends a team with such an example. means: a key of MEANS"""
    return rules.tree({"answers": "clear" if example.clear else "subjective"} | MEANS[means])
