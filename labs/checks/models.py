"""The models that checks hand to a function.

Each is made by a recipe and carries its name, so that another process can make the same model from
the name and its numbers, and nothing that holds code has to travel.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from methods import lora, reward
from torch import nn

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

VOCAB, PAD = 11, 0
MINE, OTHER = "triage", "triage_and_triage"  # one name begins and ends with the other

RECIPES: dict[str, Callable[[], nn.Module]] = {}


def recipe(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Register a function that makes a model; its models get the attribute `recipe`, the function's
    name."""

    @functools.wraps(make)
    def made() -> nn.Module:
        model = make()
        model.recipe = make.__name__
        return model

    RECIPES[make.__name__] = made
    return made


@recipe
def small_model() -> "LlamaForCausalLM":
    """A language model of VOCAB tokens, its parameters large enough that every token makes a
    difference."""
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
    )  # two seconds, and most exercises do without it

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=32,
            initializer_range=0.4,
            pad_token_id=PAD,
        )
    ).eval()


@recipe
def reward_model() -> reward.ScalarModel:
    """A reward model on the small model, with a head that says something."""
    model = reward.ScalarModel(small_model())
    torch.nn.init.normal_(model.head.weight)
    return model


class Small(nn.Module):
    """Every kind of parameter that a language model has: embeddings, norms, weights, biases, an
    output layer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(5, 6), nn.LayerNorm(6)
        self.up, self.down, self.head = (
            nn.Linear(6, 8),
            nn.Linear(8, 6),
            nn.Linear(6, 5, bias=False),
        )


class Deep(nn.Module):
    """The same kinds of parameter under other names, in two blocks."""

    def __init__(self):
        super().__init__()
        self.tokens, self.last = nn.Embedding(5, 6), nn.Linear(6, 5, bias=False)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {"query": nn.Linear(6, 6), "value": nn.Linear(6, 4), "before": nn.LayerNorm(6)}
            )
            for _ in range(2)
        )


@recipe
def adapted_model() -> Small:
    """The adapter MINE sits on both linear layers inside, the adapter OTHER on one of them."""
    model = Small()
    lora.inject(model, rank=2, alpha=4, targets=["up", "down"], name=MINE)
    lora.inject(model, rank=2, alpha=4, targets=["up"], name=OTHER)
    return model


@recipe
def adapted_deep_model() -> Deep:
    """The adapter MINE sits on every query and value, the adapter OTHER on the values."""
    model = Deep()
    lora.inject(model, rank=2, alpha=4, targets=["query", "value"], name=MINE)
    lora.inject(model, rank=2, alpha=4, targets=["value"], name=OTHER)
    return model
