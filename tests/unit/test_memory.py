"""The memory of training: sums that must come out, what PyTorch keeps, what steps really take."""

import itertools
from dataclasses import replace

import pytest
import torch
from experiments import cost
from methods import lora
from planning import memory, shapes
from planning.measure import allocated, bytes_of
from planning.memory import (
    ADAMW,
    ADAMW8,
    ADAPTER,
    ALL,
    FUSED,
    METHODS,
    PRECISIONS,
    QUANTISED,
    SGD,
    TRAINS,
    Training,
)

LLAMA = shapes.named("Llama 2 7B")
COPY = "bfloat16 with a float32 copy"
CPU = torch.device("cpu")


def per_parameter(training):
    kept = sum(memory.states(training).values()) + memory.gradients(training)
    return kept / shapes.total(training.shape)


# States -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "precision, optimizer, expected",
    [
        ("float32", FUSED, 16),
        ("mixed", ADAMW, 16),
        (COPY, FUSED, 16),
        ("bfloat16", FUSED, 8),
        ("mixed", SGD, 8),
        ("bfloat16", SGD, 4),
        (COPY, ADAMW8, 8 + 2 * (1 + 4 / 256)),
    ],
)
def test_bytes_of_each_parameter(precision, optimizer, expected):
    training = Training(LLAMA, precision=precision, optimizer=optimizer)
    assert per_parameter(training) == pytest.approx(expected)


@pytest.mark.parametrize("stage, gigabytes", [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_stages_of_zero_take_what_its_paper_says(stage, gigabytes):
    """Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 devices."""
    training = Training(LLAMA, precision=COPY, devices=64, stage=stage)
    assert 7.5 * per_parameter(training) == pytest.approx(gigabytes, abs=0.051)


@pytest.mark.parametrize("method, expected", [("SFT", 16), ("DPO", 18), ("GRPO", 18), ("PPO", 36)])
def test_bytes_of_each_parameter_by_method(method, expected):
    """With a tied embedding, so that critic and reward model are as large as the policy."""
    training = Training(shapes.named("Llama 3.2 3B"), method, precision=COPY)
    assert per_parameter(training) == pytest.approx(expected)


def test_a_critic_has_no_output_layer():
    llama = shapes.named("Llama 3.1 8B")
    smaller = memory.trainable(Training(llama, "PPO"))
    assert 2 * shapes.total(llama) - smaller == 4096 * 128256


@pytest.mark.parametrize("method, bases", [("SFT", 1), ("DPO", 1), ("GRPO", 1), ("PPO", 3)])
@pytest.mark.parametrize("trains, bytes", [(ADAPTER, 2), (QUANTISED, memory.NF4)])
def test_an_adapter_needs_no_reference(method, bases, trains, bytes):
    training = Training(replace(LLAMA, tied=True), method, trains, "bfloat16")
    linear = shapes.linear_parameters(LLAMA)
    rest = shapes.body(LLAMA) - linear
    assert memory.frozen_weights(training) == pytest.approx(bases * (bytes * linear + 2 * rest))


def test_a_weight_in_four_bits():
    assert pytest.approx(0.5159, abs=1e-4) == memory.NF4


def test_qlora_of_65_billion_is_what_its_paper_says():
    """Dettmers et al. 2023, section 1: from more than 780 GB to less than 48 GB."""
    llama = shapes.Shape("", "", "llama", 80, 8192, 22016, 64, 64, 128, 32000, False)
    assert shapes.total(llama) == pytest.approx(65.2e9, rel=0.01)
    rows = {"rows": 1, "length": 512, "rank": 64}
    assert memory.peak(Training(llama, trains=QUANTISED, precision="bfloat16", **rows)).total < 48e9
    assert memory.peak(Training(llama, precision="mixed", **rows)).total > 780e9


# Activations --------------------------------------------------------------------------------------


def kept_by_pytorch(shape, training):
    """Bytes that the forward pass of a real model saves, without parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cost._model(training, CPU)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = []

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept.append(tensor)
        return tensor

    ids = torch.randint(2, shape.vocabulary, (training.rows, training.length))
    autocast = cost._autocast(training, CPU)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        result = model(input_ids=ids, labels=ids)
    weights = {tuple(parameter.shape[::-1]) for parameter in model.parameters()}
    weights |= {tuple(parameter.shape) for parameter in model.parameters()}
    rest = [tensor for tensor in kept if tuple(tensor.shape) not in weights]
    del result
    return bytes_of(rest)


CASES = [
    (family, precision, trains, fused)
    for family, precision, trains, fused in itertools.product(
        ("llama", "qwen3", "gemma3_text", "olmo2", "phi3", "gpt2"),
        ("float32", "bfloat16", "mixed"),
        (ALL, ADAPTER),
        (True, False),
    )
    if not (trains == ADAPTER and (family == "gpt2" or precision == "mixed"))
]


@pytest.mark.parametrize("family, precision, trains, fused", CASES)
def test_a_layer_keeps_what_is_counted(family, precision, trains, fused):
    """The difference between four and two layers, so that nothing outside them matters."""
    shape = cost.SHAPES[f"small {family}"]
    kept = []
    for layers in (2, 4):
        sizes = {"width": 48, "inner": 56, "heads": 4, "head": 12, "vocabulary": 70}
        sizes["kv_heads"] = 4 if family in ("gpt2", "olmo2") else 2
        small = replace(shape, layers=layers, **sizes)
        training = Training(
            small,
            trains=trains,
            precision=precision,
            rows=3,
            length=11,
            rank=5,
            checkpointing=False,
            fused=fused,
        )
        kept.append(kept_by_pytorch(small, training))
    counted = 2 * training.tokens * sum(memory.saved_by_layer(training).values())
    assert kept[1] - kept[0] == pytest.approx(counted, rel=0.005)
