"""Public reports of what teams had and what they did, each from a work that the book cites.

The table of planning.decide was written by people who knew them. So that it agrees with them is no
evidence for it; a disagreement would be evidence against it. Memory is left at its default, since
most reports do not give it.
"""

from typing import NamedTuple

from planning.decide import (
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
