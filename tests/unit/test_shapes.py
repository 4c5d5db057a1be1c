"""The shapes of models: as published, and as transformers and PEFT count them."""

import pytest
import torch
from methods import lora
from planning import parameters, shapes
from transformers import LlamaConfig, LlamaForCausalLM

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


# The heads are wider together than the model, as in some of Qwen's and Gemma's.
TINY = {
    "layers": 3,
    "width": 48,
    "inner": 37,
    "heads": 6,
    "kv_heads": 2,
    "head": 10,
    "vocabulary": 101,
}


def tiny_llama(tied, layers, width, inner, heads, kv_heads, head, vocabulary):
    return LlamaForCausalLM(
        LlamaConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            intermediate_size=inner,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head,
            vocab_size=vocabulary,
            tie_word_embeddings=tied,
        )
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rank", [1, 4])
def test_what_lora_trains_and_what_the_base_holds_is_what_a_model_has(tied, rank):
    model = tiny_llama(tied, **TINY)
    _, held = lora.count(model)
    lora.inject(model, rank=rank, alpha=rank)
    trained, with_adapter = lora.count(model)
    assert shapes.trained_and_held(**TINY, tied=tied, rank=rank) == (trained, held)
    assert with_adapter == held + trained


def test_an_output_layer_of_its_own_is_held_and_not_trained():
    tied, untied = (shapes.trained_and_held(**TINY, tied=tied, rank=4) for tied in (True, False))
    assert untied[0] == tied[0] and untied[1] - tied[1] == 101 * 48


@pytest.mark.parametrize(
    "name, published", [("SmolLM2 135M", 134_515_008), ("Llama 3.1 8B", 8_030_261_248)]
)
def test_what_a_known_model_holds_is_the_published_number(name, published):
    shape = shapes.named(name)
    dimensions = {each: getattr(shape, each) for each in (*TINY, "tied")}
    trained, held = shapes.trained_and_held(**dimensions, rank=16)
    assert held == shape.parameters == published
    assert trained == shapes.adapter(shape, 16)
