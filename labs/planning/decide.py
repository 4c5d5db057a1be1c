"""A repaired decision table: from what a team knows to a method, the parameters, and the reasons.

The document asks for clear answers, memory, examples and money, one gate each. Three questions take
their place. Is fine-tuning needed at all? Which signal can you get? And, on its own, which
parameters can train in the memory that you have? Every situation has an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

DEMONSTRATIONS, COMPARISONS, VERIFIER = SIGNALS = ("demonstrations", "comparisons", "verifier")
# Bytes for each parameter of the base while it trains: weights, gradients and AdamW's states in
# mixed precision; frozen 16-bit weights with a small adapter; 4-bit weights with one.
BYTES = {"all parameters": 16.0, "an adapter": 2.2, "an adapter on a 4-bit base": 0.8}
ROOM = 1.25  # times the states, for activations
FOR_ALL_PARAMETERS = 1_000_000  # examples; below, an adapter of high rank keeps up


@dataclass(frozen=True)
class Situation:
    """What a team knows before it chooses.

    signals: some of SIGNALS
    base_succeeds: whether the base gives a good response at least now and then
    examples: demonstrations, comparisons or prompts
    parameters: of the base, in billions
    memory: of all GPUs together, in GB
    prompting_suffices: whether a good prompt does it
    facts_change: whether responses hang on facts that change or must be cited

    Raises ValueError for a signal that is not known and for sizes that are not positive.
    """

    signals: frozenset[str]
    base_succeeds: bool = True
    examples: int = 1_000
    parameters: float = 7.0
    memory: float = 24.0
    prompting_suffices: bool = False
    facts_change: bool = False

    def __post_init__(self):
        if unknown := sorted(set(self.signals) - set(SIGNALS)):
            raise ValueError(f"{unknown[0]!r} is no signal: choose from {', '.join(SIGNALS)}")
        for name in ("examples", "parameters", "memory"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


class Row(NamedTuple):
    """One line of the table. claim: the ledger's entry with the evidence, "" if there is none."""

    when: str
    holds: Callable[[Situation], bool]
    method: str
    reason: str
    claim: str


class Decision(NamedTuple):
    method: str
    parameters: str  # "" where nothing trains
    row: Row


def has(*signals: str) -> Callable[[Situation], bool]:
    return lambda situation: set(signals) <= situation.signals


NOTHING, RETRIEVAL, COLLECT = "no fine-tuning", "retrieval", "collect demonstrations first"
SFT, DPO, RL = "SFT", "DPO", "RL with a verifier"
SFT_RL, SFT_DPO, ALL = f"SFT, then {RL}", f"SFT, then {DPO}", f"SFT, then {DPO}, then {RL}"
UNTRAINED = {NOTHING, RETRIEVAL, COLLECT}

# The first row that holds decides.
TABLE = (
    Row(
        "a good prompt does it",
        lambda situation: situation.prompting_suffices,
        NOTHING,
        "nothing is cheaper, and nothing is easier to change",
        "",
    ),
    Row(
        "responses hang on facts that change",
        lambda situation: situation.facts_change,
        RETRIEVAL,
        "facts that are new to the base are learned slowly and raise hallucination",
        "C1.07",
    ),
    Row(
        "no signal at all",
        lambda situation: not situation.signals,
        COLLECT,
        "a few hundred demonstrations teach a style",
        "C1.06",
    ),
    Row(
        "all three signals",
        has(*SIGNALS),
        ALL,
        "strong recipes use every signal that they have, in this order",
        "C5.02",
    ),
    Row(
        "demonstrations and a verifier",
        has(DEMONSTRATIONS, VERIFIER),
        SFT_RL,
        "SFT gives reinforcement learning a start from which some responses succeed",
        "C5.04",
    ),
    Row(
        "a verifier, and the base succeeds now and then",
        lambda situation: VERIFIER in situation.signals and situation.base_succeeds,
        RL,
        "what can be checked can be practised, without a demonstration",
        "C8.03",
    ),
    Row(
        "a verifier, and the base never succeeds",
        has(VERIFIER),
        COLLECT,
        "where all responses earn the same, the gradient vanishes",
        "C5.04",
    ),
    Row(
        "demonstrations and comparisons",
        has(DEMONSTRATIONS, COMPARISONS),
        SFT_DPO,
        "SFT first, and preferences bring most of what comes after",
        "C5.02",
    ),
    Row(
        "comparisons, and the base succeeds now and then",
        lambda situation: COMPARISONS in situation.signals and situation.base_succeeds,
        DPO,
        "it needs no sampling; for a first trial, keep the best of several responses",
        "C5.11",
    ),
    Row(
        "comparisons, and the base never succeeds",
        has(COMPARISONS),
        COLLECT,
        "the better of two bad responses teaches little",
        "C5.11",
    ),
    Row("demonstrations", lambda situation: True, SFT, "it imitates what you can show", "C1.01"),
)


def decide(situation: Situation) -> Decision:
    """The first row of TABLE that holds, and the parameters that fit."""
    row = next(row for row in TABLE if row.holds(situation))
    parameters = "" if row.method in UNTRAINED else trainable(situation)
    return Decision(row.method, parameters, row)


def trainable(situation: Situation) -> str:
    """Which parameters to train in the memory that there is.

    An adapter comes first: at high rank it keeps up with full tuning unless the data are of
    pretraining size.
    """
    wanted = ["an adapter", "an adapter on a 4-bit base"]
    if situation.examples >= FOR_ALL_PARAMETERS:
        wanted.insert(0, "all parameters")
    fitting = (name for name in wanted if needed(name, situation.parameters) <= situation.memory)
    return next(fitting, "a smaller base")


def needed(name: str, parameters: float) -> float:
    """GB of memory for training so, with `parameters` in billions."""
    return BYTES[name] * parameters * ROOM
