"""The shapes of language models that people fine-tune: how many numbers sit where.

shapes.json holds the published dimensions, each with the config that it was read from and the
number of parameters that its publisher states. Everything else follows from the family:

    family      matrices of a layer      biases      norms of a layer      q and k normed

A count here agrees with the published number to the last parameter, and with the model that
transformers builds from the same dimensions; tests hold both.

Left out on purpose: encoders, models that see images, attention with a compressed cache
(DeepSeek-V3).
"""

import difflib
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ALL_LINEAR = "all-linear"


class Family(NamedTuple):
    """What all models of one architecture share.

    fused: q, k and v are one matrix, and gate and up are one, so that an adapter adapts them as one
    gated: the feed-forward part multiplies two of its matrices' outputs
    biases: "" for none, "qkv" or "all"
    norms: of a layer · layer_norm: LayerNorm with a bias instead of RMSNorm
    query_key_norm: "" for none, "head" for one over each head, "whole" for one over all heads
    wide_norm: the norm's gain is multiplied in float32, before the result is rounded
    """

    fused: bool = False
    gated: bool = True
    biases: str = ""
    norms: int = 2
    layer_norm: bool = False
    query_key_norm: str = ""
    wide_norm: bool = False


FAMILIES = {
    "gpt2": Family(fused=True, gated=False, biases="all", layer_norm=True),
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "qwen2": Family(biases="qkv"),
    "qwen3": Family(query_key_norm="head"),
    "qwen3_moe": Family(query_key_norm="head"),
    "gemma3_text": Family(norms=4, query_key_norm="head", wide_norm=True),
    "smollm3": Family(),
    "olmo2": Family(query_key_norm="whole", wide_norm=True),
    "phi3": Family(fused=True),
}


class Matrix(NamedTuple):
    """A linear layer's weight (d_out, d_in); `copies` of it where each expert has one."""

    name: str
    d_out: int
    d_in: int
    copies: int = 1


@dataclass(frozen=True)
class Shape:
    """The dimensions of one model.

    family: transformers' name of the architecture, a key of FAMILIES
    width: of the residual stream · inner: of the feed-forward part, of one expert if there are any
    heads, kv_heads: of the queries, and of keys and values · head: the width of one
    tied: the output layer's weight is the embedding's · positions: learned ones, 0 for none
    experts, active_experts: 0 where the feed-forward part is dense
    parameters: as published

    Raises ValueError for sizes that no model can have.
    """

    name: str
    source: str
    family: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool
    positions: int = 0
    experts: int = 0
    active_experts: int = 0
    parameters: int = 0

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"the family is {self.family!r}: choose one of {', '.join(FAMILIES)}")
        for name in ("layers", "width", "inner", "heads", "kv_heads", "head", "vocabulary"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: it must be a whole number from 1 up"
                )
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{self.heads} heads do not divide among {self.kv_heads} heads of keys and values"
            )


@functools.cache
def known() -> dict[str, Shape]:
    """The models of shapes.json, by name."""
    rows = json.loads(Path(__file__).with_name("shapes.json").read_text("utf8"))
    return {row["name"]: Shape(**row) for row in rows}


def named(name: str) -> Shape:
    """The model of this name. Raises ValueError for an unknown one, with the nearest names."""
    shapes = known()
    if name not in shapes:
        lowered = {each.lower(): each for each in shapes}
        near = difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.3)
        names = [lowered[each] for each in near] or list(shapes)[:3]
        raise ValueError(f"no model is called {name!r}: the nearest are {', '.join(names)}")
    return shapes[name]


# Counting -----------------------------------------------------------------------------------------


def matrices(shape: Shape) -> tuple[Matrix, ...]:
    """The linear layers of one layer of the model; an expert's count as often as there are experts.

    A mixture of experts stores an expert's gate and up as one, and its router is a matrix too.
    """
    family, width, inner = FAMILIES[shape.family], shape.width, shape.inner
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    if family.fused:
        attention = (Matrix("qkv", queries + 2 * keys, width),)
    else:
        attention = (
            Matrix("q", queries, width),
            Matrix("k", keys, width),
            Matrix("v", keys, width),
        )
    if shape.experts:
        forward = (
            Matrix("router", shape.experts, width),
            Matrix("gate_up", 2 * inner, width, shape.experts),
            Matrix("down", width, inner, shape.experts),
        )
    elif not family.gated:
        forward = (Matrix("up", inner, width), Matrix("down", width, inner))
    elif family.fused:
        forward = (Matrix("gate_up", 2 * inner, width), Matrix("down", width, inner))
    else:
        forward = (
            Matrix("gate", inner, width),
            Matrix("up", inner, width),
            Matrix("down", width, inner),
        )
    return (*attention, Matrix("o", width, queries), *forward)


def linear_parameters(shape: Shape) -> int:
    """Weights of all linear layers but the output layer: what is quantised, and what "all-linear"
    adapts."""
    return shape.layers * sum(each.copies * each.d_out * each.d_in for each in matrices(shape))


def layer_vectors(shape: Shape) -> int:
    """Biases and norms of one layer."""
    family = FAMILIES[shape.family]
    biased = {"": (), "qkv": ("q", "k", "v")}.get(
        family.biases, tuple(each.name for each in matrices(shape))
    )
    biases = sum(each.d_out for each in matrices(shape) if each.name in biased)
    norms = family.norms * shape.width * (2 if family.layer_norm else 1)
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    of_queries_and_keys = {"": 0, "head": 2 * shape.head, "whole": queries + keys}
    return biases + norms + of_queries_and_keys[family.query_key_norm]


def embedding(shape: Shape) -> int:
    """Numbers of the embedding; the output layer has as many."""
    return shape.vocabulary * shape.width


def body(shape: Shape) -> int:
    """All parameters but those of an output layer of its own: what a critic or reward model has."""
    last_norm = shape.width * (2 if FAMILIES[shape.family].layer_norm else 1)
    outside = embedding(shape) + shape.positions * shape.width + last_norm
    return linear_parameters(shape) + shape.layers * layer_vectors(shape) + outside


def total(shape: Shape) -> int:
    """All parameters; a matrix that is used twice counts once."""
    return body(shape) + (0 if shape.tied else embedding(shape))


def active(shape: Shape) -> int:
    """Parameters that one token meets in matrix products: without the embedding's table and the
    experts that the router passes over, and with the output layer."""
    idle = sum(
        (each.copies - shape.active_experts) * each.d_out * each.d_in
        for each in matrices(shape)
        if each.copies > 1
    )
    return linear_parameters(shape) - shape.layers * idle + embedding(shape)


def adapted(shape: Shape, targets: str | tuple[str, ...] = ALL_LINEAR) -> tuple[Matrix, ...]:
    """The linear layers of one layer that an adapter adapts.

    Raises ValueError for a name that no matrix of the model has.
    """
    own = matrices(shape)
    if targets == ALL_LINEAR:
        return own
    names = {targets} if isinstance(targets, str) else set(targets)
    if not names or names - {each.name for each in own}:
        raise ValueError(
            f"{targets!r} are no matrices of {shape.name}: give {ALL_LINEAR!r} or some of "
            f"{', '.join(each.name for each in own)}"
        )
    return tuple(each for each in own if each.name in names)


def adapter(shape: Shape, rank: int, targets: str | tuple[str, ...] = ALL_LINEAR) -> int:
    """Parameters that LoRA trains: Σ r (d_out + d_in) over the adapted matrices (Hu et al. 2021,
    section 4.1). An expert's gate and up get a rank each, as in the library PEFT."""
    per_layer = sum(
        each.copies
        * rank
        * (2 if each.copies > 1 and each.name == "gate_up" else 1)
        * (each.d_out + each.d_in)
        for each in adapted(shape, targets)
    )
    return shape.layers * per_layer


def trained_and_held(
    layers: int,
    width: int,
    inner: int,
    heads: int,
    kv_heads: int,
    head: int,
    vocabulary: int,
    tied: bool,
    rank: int,
) -> tuple[int, int]:
    """What LoRA on all linear layers trains in a model of Llama's family, and what the base holds.

    Dimensions as in Shape. Each layer has two norms of `width` numbers, and one more stands behind
    the last.
    """
    dimensions = (layers, width, inner, heads, kv_heads, head, vocabulary, tied)
    shape = Shape("", "", "llama", *dimensions)
    return adapter(shape, rank), total(shape)


# Built --------------------------------------------------------------------------------------------

# transformers' names of the dimensions, where they differ from most models'.
_GPT2 = {
    "layers": "n_layer",
    "width": "n_embd",
    "inner": "n_inner",
    "heads": "n_head",
    "positions": "n_positions",
}
_USUAL = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "inner": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head": "head_dim",
}
_QWEN_MIXTURE = _USUAL | {
    "inner": "moe_intermediate_size",
    "experts": "num_experts",
    "active_experts": "num_experts_per_tok",
}
_MIXTRAL = _USUAL | {"experts": "num_local_experts", "active_experts": "num_experts_per_tok"}
_NAMES = {"gpt2": _GPT2, "qwen3_moe": _QWEN_MIXTURE, "mixtral": _MIXTRAL}


def build(shape: Shape, **settings):
    """The model as transformers builds it, with random weights; under torch.device("meta") without
    memory. settings: more of its config."""
    from transformers import AutoConfig, AutoModelForCausalLM

    names = _NAMES.get(shape.family, _USUAL)
    dimensions = {theirs: getattr(shape, ours) for ours, theirs in names.items()}
    if shape.family == "phi3":
        del dimensions["head_dim"]
    no_tokens = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    config = AutoConfig.for_model(
        shape.family,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        **no_tokens | dimensions | settings,
    )
    return AutoModelForCausalLM.from_config(config)
