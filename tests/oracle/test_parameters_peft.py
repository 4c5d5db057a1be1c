"""Closed forms against PEFT: every model is built whole on the meta device, wrapped, and its
parameters are counted."""

import pytest
from planning.parameters import (
    ALL_LINEAR,
    ARCHITECTURES,
    PUBLISHED,
    count,
    count_with_peft,
    meta_model,
    total,
)


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_totals_are_those_of_the_built_model(model):
    built = meta_model(model)
    assert total(model) == sum(p.numel() for p in built.parameters())
    assert {p.device.type for p in built.parameters()} == {"meta"}, "a parameter takes memory"


@pytest.mark.parametrize("rank", [1, 8, 64])
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_all_linear_is_pefts(model, rank):
    assert count(model, rank) == count_with_peft(model, rank, ALL_LINEAR)


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_query_and_value_are_pefts(model):
    targets = [name for name in ARCHITECTURES[model].matrices if name in ("q", "v", "qkv")]
    assert count(model, 8, targets) == count_with_peft(model, 8, targets)


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_settings_are_pefts(row):
    assert count(row.model, row.rank, row.targets) == count_with_peft(
        row.model, row.rank, row.targets
    )


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("RoBERTa base", "o"),
        ("RoBERTa base", "down"),
        ("GPT-2 medium, fused", "o"),
        ("GPT-2 medium, fused", "down"),
        ("Qwen3-30B-A3B", "router"),
        ("Qwen3-30B-A3B", "gate_up"),
        ("Qwen3-30B-A3B", "down"),
    ],
)
def test_one_target_alone_is_pefts(model, target):
    assert count(model, 8, target) == count_with_peft(model, 8, target)
