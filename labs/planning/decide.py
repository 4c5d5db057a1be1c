"""A repaired decision table: from what a team knows to a method, the parameters, and the reasons.

The document asks for clear answers, memory, examples and money, one gate each. Three questions take
their place. Is fine-tuning needed at all? Which signal can you get? And, on its own, which
parameters can train in the memory that you have? Every situation has an answer.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planning.memory import ADAPTER, ALL, GIB, QUANTISED, Training, to_plan
from planning.shapes import known, total

# What can be true of a situation, as rows of the table name it.
DEMONSTRATIONS, COMPARISONS, VERIFIER = SIGNALS = ("demonstrations", "comparisons", "verifier")
SUCCEEDS, PROMPT, CHANGE = "the base succeeds", "a prompt suffices", "facts change"
FACTS = (*SIGNALS, SUCCEEDS, PROMPT, CHANGE)
# A rule of thumb: it chooses between sizes that lie far apart.
FOR_ALL_PARAMETERS = 1_000_000  # examples; below, an adapter of high rank keeps up


@dataclass(frozen=True)
class Situation:
    """What a team knows before it chooses.

    facts: those of FACTS that are true: which signals it can get; whether the base gives a good
    response at least now and then; whether a good prompt does it; whether responses hang on facts
    that change or must be cited
    examples: demonstrations, comparisons or prompts
    parameters: of the base, in billions
    memory: of all GPUs together, in GiB, by their names

    Raises ValueError for a fact that is not known and for sizes that are not positive and finite.
    """

    facts: frozenset[str]
    examples: int = 1_000
    parameters: float = 7.0
    memory: float = 24.0

    def __post_init__(self):
        if unknown := sorted(set(self.facts) - set(FACTS)):
            raise ValueError(
                f"{unknown[0]!r} is no fact of the table: choose from {', '.join(FACTS)}"
            )
        for name in ("examples", "parameters", "memory"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}")


class Row(NamedTuple):
    """One line of the table: it holds if all of `present` are facts and none of `absent` is.

    claim: the ledger's entry with the evidence, "" if there is none
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    method: str
    reason: str
    claim: str = ""


class Decision(NamedTuple):
    method: str
    parameters: str  # "" where nothing trains
    row: Row


NOTHING, RETRIEVAL, COLLECT = "no fine-tuning", "retrieval", "collect demonstrations first"
SFT, DPO, RL = "SFT", "DPO", "RL with a verifier"
SFT_RL, SFT_DPO = f"SFT, then {RL}", f"SFT, then {DPO}"
SFT_DPO_RL = f"{SFT_DPO}, then {RL}"
UNTRAINED = {NOTHING, RETRIEVAL, COLLECT}

# The first row that holds decides.
TABLE = (
    Row((PROMPT,), (), NOTHING, "nothing is cheaper, and nothing is easier to change"),
    Row(
        (CHANGE,),
        (),
        RETRIEVAL,
        "facts that are new to the base are learned slowly and raise hallucination",
        "C1.07",
    ),
    Row((), SIGNALS, COLLECT, "a few hundred demonstrations teach a style", "C1.06"),
    Row(
        SIGNALS,
        (),
        SFT_DPO_RL,
        "strong recipes use every signal that they have, in this order",
        "C5.02",
    ),
    Row(
        (DEMONSTRATIONS, VERIFIER),
        (),
        SFT_RL,
        "SFT gives reinforcement learning a start from which some responses succeed",
        "C5.04",
    ),
    Row(
        (VERIFIER, SUCCEEDS),
        (),
        RL,
        "what can be checked can be practised, without a demonstration",
        "C8.03",
    ),
    Row(
        (VERIFIER,),
        (),
        COLLECT,
        "where all responses earn the same, the gradient vanishes",
        "C5.04",
    ),
    Row(
        (DEMONSTRATIONS, COMPARISONS),
        (),
        SFT_DPO,
        "SFT first, and preferences bring most of what comes after",
        "C5.02",
    ),
    Row(
        (COMPARISONS, SUCCEEDS),
        (),
        DPO,
        "it needs no sampling; for a first trial, keep the best of several responses",
        "C5.11",
    ),
    Row((COMPARISONS,), (), COLLECT, "the better of two bad responses teaches little", "C5.11"),
    Row((), (), SFT, "it imitates what you can show", "C1.01"),
)


def first_row(rows: Iterable[Sequence], facts: Iterable[str]) -> str | None:
    """The answer of the first row that holds, or None.

    rows: (present, absent, answer), more may follow; a row holds if all names in `present` are
    facts and none in `absent` is
    facts: the names that are true
    """
    true = set(facts)
    for present, absent, answer, *_ in rows:
        if true.issuperset(present) and true.isdisjoint(absent):
            return answer
    return None


def holes(rows: Sequence[Sequence], names: Sequence[str]) -> list[list[str]]:
    """The sets of facts for which no row holds: a table without any is total.

    rows: as in first_row
    names: all that can be true
    returns each set as a list in the order of `names`, shorter ones first
    """
    sets = itertools.chain.from_iterable(
        itertools.combinations(names, count) for count in range(len(names) + 1)
    )
    return [[*facts] for facts in sets if first_row(rows, facts) is None]


def decide(situation: Situation) -> Decision:
    """The first row of TABLE that holds, and the parameters that fit."""
    true = situation.facts
    row = next(row for row in TABLE if true.issuperset(row.present) and true.isdisjoint(row.absent))
    parameters = "" if row.method in UNTRAINED else trainable(situation)
    return Decision(row.method, parameters, row)


def trainable(situation: Situation) -> str:
    """Which parameters to train in the memory that there is, whatever the method: SFT is taken for
    all, and several devices for one of their memory together.

    An adapter comes first: at high rank it keeps up with full tuning unless the data are of
    pretraining size.
    """
    wanted = [ADAPTER, QUANTISED]
    if situation.examples >= FOR_ALL_PARAMETERS:
        wanted.insert(0, ALL)
    fitting = (name for name in wanted if needed(name, situation.parameters) <= situation.memory)
    return next(fitting, "a smaller base")


def needed(name: str, parameters: float) -> float:
    """GiB to plan for, for training so on one device, with `parameters` in billions: SFT on one row
    of 2,048 tokens, with checkpointing, as for the known model of the nearest size."""
    count = parameters * 1e9
    usual = [shape for shape in known().values() if not (shape.positions or shape.experts)]
    shape = min(usual, key=lambda one: abs(math.log(total(one) / count)))
    return to_plan(Training(shape, trains=name)) / GIB * count / total(shape)
