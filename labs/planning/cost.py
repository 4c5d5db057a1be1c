"""The time and the money that training takes: operations, hours, dollars, labels.

    operations of a token    2 N forward, 2 N for the gradients of the inputs, 2 N for those of the
                             weights, 2 N for a second forward pass with checkpointing
    of attention             2 · layers · heads · head · length forward, since half of the pairs of
                             tokens are masked out; twice as much backward
    hours                    operations / (devices · a card's peak · the share of it that is reached)
    labels                   items · minutes · judgements of each / 60, times a wage

N counts the parameters that a token meets in matrix products: Kaplan et al. 2020, section 2.1, with
the output layer and without the experts that are passed over. The share of the peak that training
reaches is an input, not a result: 0.3 to 0.5 for full tuning on well-filled cards; sampling, which
waits for memory, reaches a few percent.

Left out on purpose: loading, evaluation, checkpoints, trials that failed. Real projects pay for
them too.
"""

from dataclasses import dataclass
from typing import NamedTuple

from planning import shapes
from planning.memory import GIB, Training, to_plan


class Card(NamedTuple):
    """A GPU. memory: GiB, by its name · flops: operations a second, dense, bfloat16 (T4: float16),
    added up in float32, from its data sheet"""

    memory: int
    flops: float


CARDS = {
    "T4": Card(16, 65e12),
    "L4": Card(24, 121e12),
    "A10G": Card(24, 70e12),
    "RTX 3090": Card(24, 71e12),
    "RTX 4090": Card(24, 165e12),
    "L40S": Card(48, 362e12),
    "A100 40 GB": Card(40, 312e12),
    "A100 80 GB": Card(80, 312e12),
    "H100": Card(80, 989e12),
    "H200": Card(141, 989e12),
}


class Passes(NamedTuple):
    """How often a method reads or writes each token.

    sampled: one after the other · forward: without a gradient, by any of its models · trained: with
    a gradient, by any of its models
    """

    sampled: int
    forward: int
    trained: int


PASSES = {
    "SFT": Passes(0, 0, 1),
    "DPO": Passes(0, 1, 1),  # the reference
    "GRPO": Passes(1, 2, 1),  # old log-probabilities and the reference
    "PPO": Passes(1, 4, 2),  # and the critic and the reward model
}


@dataclass(frozen=True)
class Job:
    """A training run from beginning to end.

    tokens: of all rows, prompt and response; for DPO of both responses · passes: how often training
    goes over them; for PPO and GRPO over each rollout · card: a key of CARDS · reached,
    reached_sampling: shares of the card's peak · price: dollars for an hour of one card

    Raises ValueError for what none of them can be.
    """

    training: Training
    tokens: float
    passes: int = 1
    card: str = "H100"
    reached: float = 0.4
    reached_sampling: float = 0.05
    price: float = 3.0

    def __post_init__(self):
        if self.card not in CARDS:
            raise ValueError(f"the card is {self.card!r}: choose one of {', '.join(CARDS)}")
        for name in ("reached", "reached_sampling"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: it must be a share above 0, up to 1"
                )
        for name in ("tokens", "passes"):
            if not 1 <= getattr(self, name) <= 1e15:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it must be from 1 to 1e15")
        if not 0 <= self.price <= 1e6:
            raise ValueError(f"price is {self.price!r}: it must be from 0 to a million dollars")


def token_flops(parameters: float, frozen: bool, checkpointing: bool) -> float:
    """Operations of training on one token, in matrix products with `parameters` weights.

    Forward; backward to the inputs; backward to the weights, unless they are frozen; forward once
    more with checkpointing: 2 for each weight and each of them.
    """
    return 2.0 * parameters * (2 + (not frozen) + checkpointing)


def attention_flops(training: Training) -> float:
    """Operations of attention in one forward pass, for each token."""
    shape = training.shape
    return 2.0 * shape.layers * shape.heads * shape.head * training.length


def forward_flops(training: Training) -> float:
    """Operations of one forward pass, for each token."""
    return 2.0 * shapes.active(training.shape) + attention_flops(training)


def trained_flops(training: Training) -> float:
    """Operations of a forward and a backward pass, for each token.

    An adapter's own products are left out: they are a percent or two.
    """
    products = token_flops(shapes.active(training.shape), training.adapter, training.checkpointing)
    return products + attention_flops(training) * (3 + training.checkpointing)


def flops(job: Job) -> dict[str, float]:
    """Operations of the whole run, by what they are for. Prompts are counted as sampled, too."""
    passes = PASSES[job.training.method]
    forward = forward_flops(job.training) * job.tokens
    return {
        "sampling": passes.sampled * forward,
        "scoring": passes.forward * forward,
        "training": passes.trained * job.passes * trained_flops(job.training) * job.tokens,
    }


def hours(job: Job) -> dict[str, float]:
    """Hours on all devices at once, by what they are for."""
    peak = job.training.devices * CARDS[job.card].flops
    reached = {"sampling": job.reached_sampling, "scoring": job.reached, "training": job.reached}
    return {name: count / (peak * reached[name]) / 3600 for name, count in flops(job).items()}


def dollars(job: Job) -> float:
    """What the devices cost."""
    return sum(hours(job).values()) * job.training.devices * job.price


def label_hours(items: float, minutes: float, judgements: float = 1) -> float:
    """Hours of work on labels. judgements: how many people look at each item.

    Raises ValueError for a negative number.
    """
    check_counts(items, minutes, judgements)
    return items * minutes * judgements / 60


def check_counts(*counts: float) -> None:
    """Raises ValueError for a negative number."""
    if min(counts) < 0:
        raise ValueError("items, minutes and judgements are counts: none can be negative")


def fits(training: Training, card: str) -> bool:
    """Whether the card's memory is enough to plan for."""
    return to_plan(training) <= CARDS[card].memory * GIB
