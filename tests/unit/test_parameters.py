"""Parameter counts in closed form: against arithmetic written out here, and against what was
published."""

import subprocess
import sys
from pathlib import Path

import pytest
from planning.parameters import (
    ALL_LINEAR,
    ARCHITECTURES,
    PUBLISHED,
    agrees,
    count,
    count_with_peft,
    lora_parameters,
    meta_model,
    share,
    total,
)

LABS = Path(__file__).parents[2] / "labs"


def test_one_matrix_is_256_times_smaller_at_rank_8():
    assert lora_parameters(4096, 4096, 8) == 65_536 == 4096 * 4096 // 256
    assert 1 - lora_parameters(4096, 4096, 8) / (4096 * 4096) == pytest.approx(0.99609, abs=5e-6)


def test_the_two_sides_of_a_matrix_count_apart():
    assert lora_parameters(3, 5, 2) == 2 * 5 + 3 * 2
    assert lora_parameters(3, 5, 3) > 3 * 5, (
        "at the full rank LoRA has more parameters than the matrix"
    )


@pytest.mark.parametrize("rank", [0, -1, 4])
def test_a_rank_that_the_matrix_cannot_have_is_refused(rank):
    with pytest.raises(ValueError, match=f"3 × 5 takes a rank from 1 to 3, not {rank}"):
        lora_parameters(3, 5, rank)


def test_llama_2_written_out():
    attention, feed_forward = 4 * (4096 + 4096), 3 * (4096 + 11008)
    assert count("Llama-2-7B", 8) == 8 * 32 * (attention + feed_forward) == 19_988_480
    layer = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096
    assert total("Llama-2-7B") == 32 * layer + 2 * 32000 * 4096 + 4096 == 6_738_415_616


def test_grouped_query_attention_has_small_keys_and_values():
    assert (
        count("Llama-3.1-8B", 4, ["k"]) == count("Llama-3.1-8B", 4, ["v"]) == 4 * 32 * (1024 + 4096)
    )
    assert count("Qwen3-0.6B", 4, ["k"]) == 4 * 28 * (1024 + 1024)
    # Its heads together are wider than the model.
    assert count("Qwen3-0.6B", 4, ["q"]) == count("Qwen3-0.6B", 4, ["o"]) == 4 * 28 * (2048 + 1024)


def test_an_adapter_for_every_expert_and_twice_the_rank_for_the_fused_pair():
    attention = (4096 + 2048) * 2 + (512 + 2048) * 2
    experts = 128 * (2 * (1536 + 2048) + (2048 + 768))
    assert count("Qwen3-30B-A3B", 8) == 8 * 48 * (attention + (128 + 2048) + experts)


@pytest.mark.parametrize(
    ("model", "millions"),
    [
        ("GPT-2 medium", 354.82),
        ("GPT-2 large", 774.03),
        ("Llama-2-7B", 6738.42),
        ("Llama-3.1-8B", 8030.26),
        ("Qwen3-0.6B", 596.05),
        ("Qwen3-8B", 8190.74),
        ("Qwen3-30B-A3B", 30532.12),
    ],
)
def test_totals_are_those_of_the_published_weights(model, millions):
    assert total(model) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(
    ("rank", "targets", "percent"),
    [
        (8, ALL_LINEAR, "0.30"),
        (16, ALL_LINEAR, "0.59"),
        (64, ALL_LINEAR, "2.37"),
        (64, ("q", "v"), "0.50"),
    ],
)
def test_llama_2_share(rank, targets, percent):
    assert f"{100 * share('Llama-2-7B', rank, targets):.2f}" == percent


def test_nine_percent_of_llama_3_1_need_the_output_layer_too():
    layers = count("Llama-3.1-8B", 256)
    with_output = layers + lora_parameters(128256, 4096, 256)
    assert f"{100 * layers / total('Llama-3.1-8B'):.1f}" == "8.4"
    assert f"{100 * with_output / total('Llama-3.1-8B'):.1f}" == "8.8"
    assert f"{with_output / 1e9:.2f}" == "0.70"


@pytest.mark.parametrize("model", ["GPT-2 medium", "GPT-2 large", "GPT-3 175B"])
def test_fused_attention_is_the_same_model_with_a_smaller_adapter(model):
    assert total(model) == total(f"{model}, fused")
    assert count(model, 8) > count(f"{model}, fused", 8)
    assert count(model, 8, ("q", "v")) == count(f"{model}, fused", 8, "qkv")


def test_published_counts_agree_except_two():
    assert [row.model for row in PUBLISHED if not agrees(row)] == ["GPT-2 medium", "GPT-2 large"]
    millions = {
        row.model: count(row.model, row.rank, row.targets) / 1e6
        for row in PUBLISHED
        if not agrees(row)
    }
    assert millions == pytest.approx({"GPT-2 medium": 0.39, "GPT-2 large": 0.74}, abs=0.005)


def test_agreement_is_at_the_printed_precision():
    def agrees_with(printed):
        return agrees(PUBLISHED[0]._replace(printed=printed))  # 0.294912 million

    assert all(map(agrees_with, ["0", "0.3", "0.29", "0.295", "0.2949"]))
    assert not any(map(agrees_with, ["1", "0.2", "0.30", "0.294"]))


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_all_linear_is_the_sum_of_its_matrices_and_linear_in_the_rank(model):
    matrices = ARCHITECTURES[model].matrices
    assert (
        count(model, 8)
        == count(model, 8, matrices)
        == sum(count(model, 8, name) for name in matrices)
    )
    assert count(model, 64) == 64 * count(model, 1)


def test_a_target_named_twice_counts_once():
    assert count("GPT-2 medium", 8, ["q", "v", "q"]) == count("GPT-2 medium", 8, ["q", "v"])


@pytest.mark.parametrize("function", [count, share, count_with_peft])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("GPT-5", 8),
            "no dimensions are given for the model 'GPT-5': choose one of RoBERTa base, ",
        ),
        (
            ("GPT-2 medium", 8, "qv"),
            "'qv' are no targets in GPT-2 medium: give 'all-linear' or some of q, k, v, o, up, ",
        ),
        (("GPT-2 medium", 8, ("q", "gate")), "are no targets in GPT-2 medium"),
        (
            ("GPT-2 medium, fused", 8, ("q", "v")),
            "are no targets in GPT-2 medium, fused: .* qkv, o, up, down",
        ),
        (("GPT-2 medium", 8, ()), "are no targets in GPT-2 medium"),
        (("GPT-2 medium", 0), "takes a rank from 1 to 1024, not 0"),
        (("GPT-2 medium", 1025), "takes a rank from 1 to 1024, not 1025"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_sentence(function, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        function(*arguments)


@pytest.mark.parametrize("function", [total, meta_model])
def test_a_model_without_dimensions_is_refused(function):
    with pytest.raises(ValueError, match="no dimensions are given for the model 'GPT-5'"):
        function("GPT-5")


def test_the_closed_form_needs_no_library():
    code = (
        "import sys; from planning.parameters import count; count('Llama-2-7B', 8); "
        "sys.exit(bool({'torch', 'transformers', 'peft', 'course', 'helpdesk', 'methods'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=LABS).returncode == 0
