"""The memory that training takes: which part takes how many bytes, at which moment.

    states       weights, frozen weights, optimiser states: there all the time
    gradients    from the backward pass to the end of the step
    activations  what the forward pass saves for the backward pass, a little less with each layer
    logits       their log-softmax and its gradients, at the loss

Not all of it is there at once, so the parts are summed for each moment of a step, and the largest
sum is the peak:

    sampling           the responses' key–value cache            PPO and GRPO alone
    loss               activations, logits; the same at the gradient of the loss, with other tables
    first layer of     activations, the logits' gradient, the first gradient
    the backward pass
    end of the         gradients, and for a tied embedding its parts
    backward pass
    optimiser step     gradients, the optimiser's working space

In mixed precision AdamW keeps 16 bytes for each parameter (Rajbhandari et al. 2020, section 3).
The activations follow the same accounting as Korthikanti et al. 2023, section 4.1, for the layers
that transformers runs today: for each operation, the tensors that PyTorch keeps for its gradient.
Rows have no padding. Lab 08 checks all of it against the allocator.

Left out on purpose: what the allocator reserves beyond what is asked for and a process's own context
on a GPU (MARGIN stands for both), what kernels need for their own work, dropout, copies that a
library makes (PEFT prepares a 4-bit base by turning what is not quantised into float32, and gives
its adapters inputs in their own precision), communication buffers, offloading, tensor and pipeline
parallelism, an engine for sampling with weights of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from planning import shapes
from planning.shapes import ALL_LINEAR, FAMILIES, Shape

GB, GIB = 1e9, 2**30  # a card of "80 GB" has about 80 GiB
# What to plan for, as a multiple of the peak: published processes held 10 to 40 percent more.
MARGIN = 1.25

ALL, ADAPTER, QUANTISED = "all parameters", "an adapter", "an adapter on a 4-bit base"
TRAINS = (ALL, ADAPTER, QUANTISED)
# PyTorch's AdamW updates all tensors at once on a GPU and keeps a square root for every parameter
# meanwhile; the fused one, which transformers' Trainer takes, keeps nothing.
ADAMW, FUSED, ADAMW8, SGD = "AdamW", "fused AdamW", "8-bit AdamW", "SGD"
OPTIMIZERS = (ADAMW, FUSED, ADAMW8, SGD)


class Precision(NamedTuple):
    """Bytes of a number that trains, and of what is computed with it.

    weight, gradient: of a parameter · master: of its copy in float32, if there is one · moment: of
    each of AdamW's two · frozen: of a weight that does not train · compute: of activations · copies:
    whether autocast keeps a bfloat16 copy of every matrix, and the residual stream in float32
    """

    weight: int
    gradient: int
    master: int
    moment: int
    frozen: int
    compute: int
    copies: bool = False


PRECISIONS = {
    "float32": Precision(4, 4, 0, 4, 4, 4),
    # torch.autocast over float32 weights: what most training scripts call bf16. A frozen base is
    # loaded in bfloat16 and needs no copies.
    "mixed": Precision(4, 4, 0, 4, 2, 2, copies=True),
    "bfloat16 with a float32 copy": Precision(2, 2, 4, 4, 2, 2),  # as DeepSpeed keeps it
    "bfloat16": Precision(2, 2, 0, 2, 2, 2),
}
# Bytes of both moments in 8 bits, with a scale in float32 for each 256 (Dettmers et al. 2022).
MOMENTS8 = 2 * (1 + 4 / 256)
# Bytes of a weight in NF4 with double quantisation: 4 bits, a scale in 8 bits for each 64 weights,
# and one in float32 for each 256 of those (Dettmers et al. 2023, section 3).
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8


class Models(NamedTuple):
    """How many models a method keeps: those that train, and those that never do.

    bodies: how many of the trained have no output layer (a critic) · frozen_bodies: the same of the
    frozen (a reward model) · references: how many of the frozen are the base itself, which an
    adapter makes superfluous · sequences: for each row of a batch · samples: whether it generates
    """

    trained: int = 1
    bodies: int = 0
    frozen: int = 0
    frozen_bodies: int = 0
    references: int = 0
    sequences: int = 1
    samples: bool = False


METHODS = {
    "SFT": Models(),
    "DPO": Models(frozen=1, references=1, sequences=2),
    "GRPO": Models(frozen=1, references=1, samples=True),
    "PPO": Models(trained=2, bodies=1, frozen=2, frozen_bodies=1, references=1, samples=True),
}


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    method: a key of METHODS; GRPO with a verifier and a reference, PPO with a critic and a reward
    model of the policy's size, each with a base of its own · trains: one of TRAINS · precision: a
    key of PRECISIONS · optimizer: one of OPTIMIZERS; SGD is without momentum
    rows: what each device reads at once; for DPO pairs · length: of a row, in tokens, prompt and
    response together
    rank, targets: of the adapter, as in shapes.adapter
    checkpointing: keep only each layer's input, and compute the rest again
    fused: attention that never holds the attention matrix
    chunked: the loss is computed for a few tokens at a time, so that the table of logits never
    exists, as in Liger's and TRL's losses
    accumulation: gradients of earlier rows stay while the next ones are read
    devices, stage: how many, and what each keeps a part of: 0 nothing, 1 optimiser states, 2 also
    gradients, 3 also weights (ZeRO's stages; FSDP is the third)
    sampled: responses that each device samples at once, for PPO and GRPO

    Raises ValueError for what none of them can be.
    """

    shape: Shape
    method: str = "SFT"
    trains: str = ALL
    precision: str = "mixed"
    optimizer: str = FUSED
    rows: int = 1
    length: int = 2048
    rank: int = 16
    targets: str | tuple[str, ...] = ALL_LINEAR
    checkpointing: bool = True
    fused: bool = True
    chunked: bool = False
    accumulation: bool = False
    devices: int = 1
    stage: int = 0
    sampled: int = 16

    def __post_init__(self):
        choices = {
            "method": METHODS,
            "trains": TRAINS,
            "precision": PRECISIONS,
            "optimizer": OPTIMIZERS,
            "stage": (0, 1, 2, 3),
        }
        for name, values in choices.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: choose from {', '.join(map(str, values))}"
                )
        for name in ("rows", "length", "rank", "devices", "sampled"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**7:
                raise ValueError(
                    f"{name} is {value!r}: it must be a whole number from 1 to 10 million"
                )
        if self.shape.positions and self.length > self.shape.positions:
            raise ValueError(
                f"{self.shape.name} has {self.shape.positions} positions: a row of {self.length} "
                "tokens does not fit"
            )
        shapes.adapted(self.shape, self.targets)

    @property
    def tokens(self) -> int:
        """Tokens that a device reads at once."""
        return METHODS[self.method].sequences * self.rows * self.length

    @property
    def adapter(self) -> bool:
        return self.trains != ALL


# States -------------------------------------------------------------------------------------------


def trainable(training: Training) -> int:
    """Parameters that train, of all models together."""
    models, shape = METHODS[training.method], training.shape
    if training.adapter:
        return models.trained * shapes.adapter(shape, training.rank, training.targets)
    whole = models.trained - models.bodies
    return whole * shapes.total(shape) + models.bodies * shapes.body(shape)


def frozen_weights(training: Training) -> float:
    """Bytes of all weights that never change: bases under adapters, reference and reward model."""
    models, shape = METHODS[training.method], training.shape
    bodies = models.frozen_bodies
    whole = models.frozen - bodies
    if training.adapter:  # a base under each adapter, and no reference: that is the base
        bodies += models.bodies
        whole += models.trained - models.bodies - models.references
    size = PRECISIONS[training.precision].frozen
    saved = 0.0
    if training.trains == QUANTISED:  # the linear layers alone; the rest stays as it is
        saved = shapes.linear_parameters(shape) * (size - NF4)
    return whole * (size * shapes.total(shape) - saved) + bodies * (
        size * shapes.body(shape) - saved
    )


def optimizer_bytes(training: Training) -> float:
    """Bytes that the optimiser keeps for each parameter that trains."""
    precision = PRECISIONS[training.precision]
    full = 2 * precision.moment
    moments = {ADAMW: full, FUSED: full, ADAMW8: MOMENTS8, SGD: 0}[training.optimizer]
    return precision.master + moments


def states(training: Training) -> dict[str, float]:
    """Bytes on one device of what is there all the time: weights, frozen weights, optimiser."""
    count = trainable(training)
    whole = {
        "weights": float(PRECISIONS[training.precision].weight * count),
        "frozen weights": frozen_weights(training),
        "optimiser states": optimizer_bytes(training) * count,
    }
    return sharded(whole, training.devices, training.stage)


def gradients(training: Training) -> float:
    """Bytes of the gradients on one device."""
    whole = float(PRECISIONS[training.precision].gradient * trainable(training))
    return sharded({"gradients": whole}, training.devices, training.stage)["gradients"]


# The stage from which a part is divided among the devices (Rajbhandari et al. 2020, section 5).
DIVIDED_FROM = {"optimiser states": 1, "gradients": 2, "weights": 3, "frozen weights": 3}


def sharded(parts: dict[str, float], devices: int, stage: int) -> dict[str, float]:
    """Bytes of each part on one device; a part that no stage divides is whole on each."""
    return {
        part: bytes / devices if stage >= DIVIDED_FROM.get(part, 4) else bytes
        for part, bytes in parts.items()
    }


# Activations --------------------------------------------------------------------------------------


def saved_by_layer(training: Training) -> dict[str, float]:
    """Bytes that one layer saves for its backward pass, for each token, by what saves them."""
    shape, family = training.shape, FAMILIES[training.shape.family]
    precision = PRECISIONS[training.precision]
    size = precision.compute
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    return {
        "norms": family.norms * _saved_by_norm(training, shape.width, _residual(training), 1)
        + _saved_by_query_key_norm(training, queries, keys),
        "attention": _saved_by_attention(training, queries, keys),
        "feed-forward": size * _inner(shape) * (3 if family.gated else 4),
        "inputs of linear layers": _saved_inputs(training),
        "adapters": size * _adapter_width(training),
    }


def _saved_by_norm(training: Training, width: int, input_size: int, sizes: int) -> float:
    """A norm keeps its input, and what it was divided by; with a gain that trains, also the
    quotient.

    RMSNorm works in float32, and the quotient is rounded to the input's precision before the gain,
    unless the family's gain is wide. input_size: bytes of a number of the input · sizes: how many
    numbers it is divided by
    """
    if FAMILIES[training.shape.family].layer_norm:
        return input_size * width + 2 * input_size
    quotient = 4 if FAMILIES[training.shape.family].wide_norm else input_size
    return width * (4 + (0 if training.adapter else quotient)) + 4 * sizes


def _saved_by_query_key_norm(training: Training, queries: int, keys: int) -> float:
    shape, size = training.shape, PRECISIONS[training.precision].compute
    kind = FAMILIES[shape.family].query_key_norm
    if not kind:
        return 0.0
    sizes = shape.heads + shape.kv_heads if kind == "head" else 2
    return _saved_by_norm(training, queries + keys, size, sizes)


def _residual(training: Training) -> int:
    """Bytes of a number of the residual stream."""
    precision = PRECISIONS[training.precision]
    return 4 if precision.copies and not training.adapter else precision.compute


def _saved_by_attention(training: Training, queries: int, keys: int) -> float:
    """Fused attention keeps queries, keys, values, the result and a number for each head; where the
    values are a slice of one matrix's output, that output stays whole, and the result is copied.

    Else keys and values are repeated for each head of the queries, and the table of probabilities
    stays, in float32 and rounded.
    """
    shape, size = training.shape, PRECISIONS[training.precision].compute
    family, heads = FAMILIES[shape.family], training.shape.heads
    if training.fused:
        whole = 2 * queries + keys if family.fused and not shape.positions else 0
        return size * (2 * queries + 2 * keys + whole) + 4 * heads
    copies = PRECISIONS[training.precision].copies
    rounded = size if size == 2 and (copies or not family.layer_norm) else 0
    table = size if family.layer_norm and not copies else 4
    return size * 4 * queries + heads * training.length * (table + rounded)


def _inner(shape: Shape) -> int:
    """Width of the feed-forward part for one token: of all experts that it meets."""
    return shape.inner * (shape.active_experts or 1)


def _saved_inputs(training: Training) -> float:
    """A linear layer keeps its input if it learns. Layers with one input share it, but autocast
    rounds a float32 input for each of them."""
    shape, precision = training.shape, PRECISIONS[training.precision]
    learning = {
        each.name
        for each in (
            shapes.adapted(shape, training.targets) if training.adapter else shapes.matrices(shape)
        )
    }
    readers = [
        (("q", "k", "v", "qkv"), shape.width),
        (("gate", "up", "gate_up"), shape.width * (shape.active_experts or 1)),
        (("down",), _inner(shape)),
    ]
    copies = _residual(training) == 4 and precision.compute == 2
    saved = 0.0
    for names, width in readers:
        count = len(learning.intersection(names))
        from_residual = names != ("down",)
        saved += precision.compute * width * (count if copies and from_residual else min(count, 1))
    return saved


def _adapter_width(training: Training) -> int:
    """Numbers A x of one layer, for each token."""
    if not training.adapter:
        return 0
    return training.rank * len(shapes.adapted(training.shape, training.targets))


def activations(training: Training) -> dict[str, float]:
    """Bytes that are saved when the forward pass of one model is through, by part.

    With checkpointing each layer keeps its input alone; what `saved_by_layer` counts is then there
    for one layer at a time, in the backward pass.
    """
    shape, tokens = training.shape, training.tokens
    last_norm = _saved_by_norm(training, shape.width, _residual(training), 1) + (
        0 if training.adapter else PRECISIONS[training.precision].compute * shape.width
    )
    if training.checkpointing:
        inputs = _residual(training) * shape.width
        return {"layers' inputs": tokens * shape.layers * inputs, "last norm": tokens * last_norm}
    parts = {
        name: tokens * shape.layers * bytes for name, bytes in saved_by_layer(training).items()
    }
    return parts | {"last norm": tokens * last_norm}


def cache(training: Training) -> float:
    """Bytes of the key–value cache while responses are sampled."""
    shape, size = training.shape, PRECISIONS[training.precision].compute
    if not METHODS[training.method].samples:
        return 0.0
    sizes = (shape.layers, shape.kv_heads, shape.head, training.sampled, training.length)
    return float(cache_bytes(*sizes, size))


def cache_bytes(layers: int, kv_heads: int, head: int, rows: int, length: int, size: int) -> int:
    """Bytes of a key–value cache: a key and a value of each head of theirs, in each layer, for each
    token of each row. size: bytes of a number"""
    return 2 * layers * kv_heads * head * rows * length * size


# Moments ------------------------------------------------------------------------------------------


class Moment(NamedTuple):
    """A moment of a training step. parts: bytes on one device, by part."""

    name: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def moments(training: Training) -> list[Moment]:
    """The moments of a step in order, each with all that is there then."""
    always = states(training)
    return [
        Moment(name, {part: bytes for part, bytes in (always | more).items() if bytes})
        for name, more in _passing(training)
    ]


def peak(training: Training) -> Moment:
    """The moment that takes most."""
    return max(moments(training), key=lambda moment: moment.total)


def to_plan(training: Training) -> float:
    """Bytes of a card to plan for: the peak, and a margin for what is left out above."""
    return MARGIN * peak(training).total


def _passing(training: Training) -> Iterator[tuple[str, dict[str, float]]]:
    models, shape = METHODS[training.method], training.shape
    precision = PRECISIONS[training.precision]
    table = 0 if training.chunked else training.tokens * shape.vocabulary
    saved = models.trained * sum(activations(training).values())
    kept = gradients(training) if training.accumulation else 0.0
    copies = _copies(training)
    gathered = _gathered(training)
    if models.samples:
        yield "sampling", {"key–value cache": cache(training), "gathered layers": gathered}
    # Logits, their copy in float32 if they are not, and their log-softmax.
    logits = table * (8 if precision.compute == 4 else precision.compute + 8)
    yield (
        "loss",
        {
            "gradients": kept,
            "activations": saved,
            "logits": float(logits),
            "bfloat16 copies": copies,
            "gathered layers": gathered,
        },
    )
    # The log-softmax, the gradient of the loss by it, and the one by the logits.
    yield (
        "gradient of the loss",
        {
            "gradients": kept,
            "activations": saved,
            "logits": 12.0 * table,
            "bfloat16 copies": 0.0 if training.checkpointing else copies,
            "gathered layers": gathered,
        },
    )
    head = 0.0 if training.adapter else precision.gradient * float(shapes.embedding(shape))
    again = training.tokens * sum(saved_by_layer(training).values())
    yield (
        "first layer of the backward pass",
        {
            "gradients": kept + head,
            "activations": saved + (again if training.checkpointing else 0.0),
            "logits": float(precision.compute * table),
            "bfloat16 copies": 0.0 if training.checkpointing else copies,
            "gathered layers": gathered,
        },
    )
    yield (
        "end of the backward pass",
        {
            "gradients": gradients(training),
            # A tied embedding gets a gradient from each of its two uses, and then their sum, which takes
            # the place of one of them if that was rounded on its way.
            "working space": (1 if copies else 2) * head if shape.tied else 0.0,
            "gathered layers": gathered,
        },
    )
    yield (
        "optimiser step",
        {"gradients": gradients(training), "working space": _working_space(training)},
    )


def _copies(training: Training) -> float:
    """Bytes of autocast's bfloat16 copies of the matrices that train; sharded weights are gathered
    in bfloat16 and need none."""
    models, shape = METHODS[training.method], training.shape
    if not PRECISIONS[training.precision].copies or training.adapter or training.stage == 3:
        return 0.0
    heads = (models.trained - models.bodies) * shapes.embedding(shape)
    return 2.0 * (models.trained * shapes.linear_parameters(shape) + heads)


def _gathered(training: Training) -> float:
    """Bytes of what is whole on a device where the weights are divided: this layer and the next, and
    what lies outside the layers, which FSDP keeps gathered through the step."""
    if training.stage < 3 or training.devices == 1:
        return 0.0
    shape, size = training.shape, PRECISIONS[training.precision].compute
    linear = shapes.linear_parameters(shape) / shape.layers
    layer = linear * (NF4 if training.trains == QUANTISED else size)
    outside = shapes.embedding(shape) * (1 if shape.tied else 2)
    return 2 * (layer + size * shapes.layer_vectors(shape)) + size * outside


def _working_space(training: Training) -> float:
    """Bytes of the square roots that AdamW divides by, unless it is fused."""
    if training.optimizer != ADAMW:
        return 0.0
    precision = PRECISIONS[training.precision]
    size = 4 if precision.master else precision.moment
    whole = {"optimiser states": float(size * trainable(training))}
    return sharded(whole, training.devices, training.stage)["optimiser states"]
