"""The memory of training: sums that must come out, what PyTorch keeps, what steps really take."""

import itertools
from dataclasses import replace

import pytest
import torch
from experiments import cost
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


# A step -------------------------------------------------------------------------------------------

STEPS = [
    {},
    {"optimizer": ADAMW},
    {"optimizer": SGD},
    {"checkpointing": True},
    {"precision": "mixed", "checkpointing": True},
    {"precision": "bfloat16", "length": 96},
    {"fused": False, "length": 96},
    {"trains": ADAPTER},
    {"trains": ADAPTER, "precision": "bfloat16", "checkpointing": True},
    {"trains": ADAPTER, "targets": ("q", "v"), "rank": 3},
    {"method": "DPO"},
    {"method": "DPO", "trains": ADAPTER},
]


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize("more", STEPS, ids=str)
def test_a_step_takes_what_is_predicted(family, more):
    shape = replace(cost.SHAPES[f"small {family}"], layers=2, vocabulary=3000)
    usual = {"precision": "float32", "rows": 3, "length": 40, "checkpointing": False}
    training = Training(shape, **usual | more)
    measured = cost.measure_training(training, CPU)
    said = memory.states(training)
    assert {part: measured[part] for part in said} == pytest.approx(said, rel=0.005, abs=200)
    assert memory.peak(training).total == pytest.approx(measured["peak"], rel=0.03)


def test_allocations_are_counted():
    kept = []

    def work():
        kept.append(torch.ones(1000, 250))  # a million bytes
        torch.ones(500, 1000)  # two million more, released at once

    used = allocated(work, CPU)
    assert used.kept == pytest.approx(1e6, rel=0.01)
    assert used.peak == pytest.approx(3e6, rel=0.01)


def test_a_storage_counts_once():
    one = torch.ones(10, 10)
    assert bytes_of([one, one[0], one.T, torch.ones(5)]) == 420


# What must hold whatever the numbers --------------------------------------------------------------


def some_trainings():
    for method, trains, precision in itertools.product(METHODS, TRAINS, PRECISIONS):
        for stage, checkpointing in ((0, True), (1, False), (2, True), (3, False)):
            yield Training(
                LLAMA,
                method,
                trains,
                precision,
                stage=stage,
                checkpointing=checkpointing,
                devices=4,
            )


def test_no_part_is_negative_and_the_peak_is_the_largest_sum():
    for training in some_trainings():
        moments = memory.moments(training)
        assert all(bytes > 0 for moment in moments for bytes in moment.parts.values())
        assert memory.peak(training).total == max(sum(one.parts.values()) for one in moments)


@pytest.mark.parametrize("change", [{"rows": 2}, {"length": 4096}, {"checkpointing": False}])
def test_more_work_takes_more(change):
    for training in some_trainings():
        more = replace(training, **change)
        assert memory.peak(more).total >= memory.peak(training).total


def test_a_part_that_is_divided_is_smaller_by_the_number_of_devices():
    whole = Training(LLAMA, precision=COPY, devices=8)
    for stage, divided in ((1, ["optimiser states"]), (3, ["optimiser states", "weights"])):
        states = memory.states(replace(whole, stage=stage))
        for part, bytes in memory.states(whole).items():
            assert states[part] == pytest.approx(bytes / (8 if part in divided else 1))


def test_only_attention_that_is_not_fused_grows_with_the_square():
    def saved(length, fused):
        training = Training(LLAMA, length=length, fused=fused, checkpointing=False)
        return sum(memory.activations(training).values())

    assert saved(4000, True) == pytest.approx(4 * saved(1000, True))
    assert saved(4000, False) > 8 * saved(1000, False)


def test_a_loss_in_chunks_holds_no_logits():
    for training in some_trainings():
        chunked = replace(training, chunked=True)
        assert not any("logits" in moment.parts for moment in memory.moments(chunked))
        assert memory.peak(chunked).total <= memory.peak(training).total


def test_accumulated_gradients_stay_beside_new_ones():
    training = Training(LLAMA, precision="bfloat16", accumulation=True)
    first = {moment.name: moment.parts for moment in memory.moments(training)}[
        "first layer of the backward pass"
    ]
    assert first["gradients"] == 2 * (shapes.total(LLAMA) + shapes.embedding(LLAMA))


def test_what_is_gathered_by_hand():
    """Two layers, embedding and output layer, in 16 bits; the layers of a 4-bit base in 4."""
    llama = shapes.named("Llama 3.1 8B")
    for trains, size in ((ADAPTER, 2), (QUANTISED, memory.NF4)):
        training = Training(llama, trains=trains, precision="bfloat16", devices=2, stage=3)
        by_hand = 2 * size * shapes.linear_parameters(llama) / 32 + 2 * 2 * 2 * 4096
        by_hand += 2 * 2 * shapes.embedding(llama)
        assert memory._gathered(training) == pytest.approx(by_hand)


def test_only_methods_that_sample_have_a_cache():
    sizes = {method: memory.cache(Training(LLAMA, method, sampled=64)) for method in METHODS}
    # 0.5 MiB for each token of 64 responses of 2,048.
    assert sizes == {"SFT": 0, "DPO": 0, "GRPO": 64 * 2**30, "PPO": 64 * 2**30}


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"rows": 0}, "rows is 0: it must be a whole number from 1 to 10 million"),
        ({"length": -5}, "length is -5"),
        ({"length": 2.5}, "length is 2.5"),
        ({"rank": True}, "rank is True"),
        ({"devices": 10**8}, "devices is 100000000"),
        ({"method": "RLHF"}, "method is 'RLHF': choose from SFT, DPO, GRPO, PPO"),
        ({"trains": "some"}, "trains is 'some'"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"optimizer": "Adam"}, "optimizer is 'Adam'"),
        ({"stage": 4}, "stage is 4: choose from 0, 1, 2, 3"),
        ({"targets": ("x",)}, "are no matrices of Llama 2 7B"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Training(LLAMA, **wrong)


def test_a_row_beyond_the_learned_positions_is_refused():
    with pytest.raises(ValueError, match="GPT-2 124M has 1024 positions"):
        Training(shapes.named("GPT-2 124M"), length=1025)
