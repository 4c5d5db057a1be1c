"""The shapes of models: as published, and as transformers and PEFT count them."""

import pytest
import torch
from planning import parameters, shapes

KNOWN = list(shapes.known())


@pytest.mark.parametrize("name", KNOWN)
def test_the_count_is_the_published_one(name):
    shape = shapes.named(name)
    assert shapes.total(shape) == shape.parameters


@pytest.mark.parametrize("name", KNOWN)
def test_transformers_builds_a_model_of_as_many_parameters(name):
    shape = shapes.named(name)
    with torch.device("meta"):
        model = shapes.build(shape)
    assert sum(parameter.numel() for parameter in model.parameters()) == shapes.total(shape)
    own = {path: weight for path, weight in model.named_parameters() if weight.dim() > 1}
    outside = shapes.embedding(shape) * (1 if shape.tied else 2) + shape.positions * shape.width
    assert sum(weight.numel() for weight in own.values()) - outside == shapes.linear_parameters(
        shape
    )


@pytest.mark.parametrize(
    "name, same",
    [
        ("Llama 2 7B", "Llama-2-7B"),
        ("Llama 3.1 8B", "Llama-3.1-8B"),
        ("Qwen3 0.6B", "Qwen3-0.6B"),
        ("Qwen3 30B-A3B", "Qwen3-30B-A3B"),
        ("GPT-2 medium 355M", "GPT-2 medium, fused"),
    ],
)
@pytest.mark.parametrize("rank", [1, 16])
def test_an_adapter_has_as_many_parameters_as_in_the_table_of_lora(name, same, rank):
    assert shapes.adapter(shapes.named(name), rank) == parameters.count(same, rank)


def test_an_adapter_of_some_matrices():
    llama = shapes.named("Llama 3.1 8B")
    assert shapes.adapter(llama, 8, ("q", "v")) == 32 * 8 * ((4096 + 4096) + (4096 + 1024))
    with pytest.raises(ValueError, match="'qkv' are no matrices of Llama 3.1 8B: give 'all-linear"):
        shapes.adapter(llama, 8, "qkv")


def test_what_one_token_meets():
    llama, mixtral = shapes.named("Llama 3.1 8B"), shapes.named("Mixtral 8x7B v0.1")
    assert shapes.active(llama) == shapes.linear_parameters(llama) + 4096 * 128256
    # 12.9 billion with the embedding's table, as its publisher says.
    assert shapes.active(mixtral) + shapes.embedding(mixtral) == pytest.approx(12.88e9, rel=1e-3)


@pytest.mark.parametrize(
    "asked, nearest", [("llama 8b", "Llama"), ("Qwen3-8B", "Qwen3 8B"), ("", "GPT-2"), (None, "")]
)
def test_an_unknown_name_is_answered_with_the_nearest(asked, nearest):
    with pytest.raises(
        ValueError, match=f"no model is called {asked!r}: the nearest are.*{nearest}"
    ):
        shapes.named(asked)


@pytest.mark.parametrize(
    "wrong", [{"layers": 0}, {"width": -1}, {"heads": 2.5}, {"kv_heads": 5}, {"family": "rwkv"}]
)
def test_a_shape_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        shapes.Shape(**vars(shapes.named("Llama 3.1 8B")) | wrong)
