"""What must hold for LoRA from scratch, whatever the model, and what it refuses."""

import contextlib
import copy
import json
import math
import os

import pytest
import torch
from methods import lora
from methods.adapter_files import CONFIG, PREFIX, WEIGHTS, load, save
from methods.lora import (
    AdapterError,
    activate,
    adapters,
    combine,
    count,
    inject,
    layers,
    merge,
    merged_weight,
    remove,
    strip,
    unmerge,
)
from methods.sft import fine_tune, sft_loss
from methods.targets import bare_linears, linear_targets
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM

VOCAB, RANK, ALPHA = 13, 3, 5.0
LINEAR = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
Q = "model.layers.0.self_attn.q_proj"
IDS = torch.randint(0, VOCAB, (3, 7), generator=torch.Generator().manual_seed(0))


def new_model(seed=0, **changes):
    """A Llama of two layers whose matrices are not all square, with tied embeddings."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
    }
    return LlamaForCausalLM(LlamaConfig(**settings | changes))


@pytest.fixture()
def model():
    return new_model()


def randomise(model, name="default", seed=1):
    """Give B numbers, so that the adapter does something."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers(model).values():
        if name in layer.configs:
            layer.B[name].data = torch.randn(layer.B[name].shape, generator=generator) * 0.1


def adapted(model, name="default", seed=1, **settings):
    inject(model, **{"rank": RANK, "alpha": ALPHA, "name": name} | settings)
    randomise(model, name, seed)
    return model


def answer(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def snapshot(model):
    """Everything about a model that a refused call must leave alone."""
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        {name: p.requires_grad for name, p in model.named_parameters()},
        [(path, id(module)) for path, module in model.named_modules()],
        {
            path: (layer.active, layer.merged, dict(layer.configs))
            for path, layer in layers(model).items()
        },
    )


@contextlib.contextmanager
def refused(model, *words):
    """AdapterError in one sentence that holds the words, and a model that is as it was."""
    tensors, *rest = snapshot(model)
    with pytest.raises(AdapterError) as caught:
        yield
    told = str(caught.value)
    assert "\n" not in told and ". " not in told
    assert all(word in told for word in words), told
    after, *rest_after = snapshot(model)
    assert rest_after == rest
    assert after.keys() == tensors.keys() and all(
        torch.allclose(after[name], tensors[name], rtol=0, atol=0, equal_nan=True)
        for name in tensors
    )


# The equation -------------------------------------------------------------------------------------


def matrices(d_out=6, d_in=8, rank=3):
    torch.manual_seed(2)
    return [
        torch.randn(shape, dtype=torch.float64)
        for shape in ((d_out, d_in), (rank, d_in), (d_out, rank))
    ]


def test_the_update_is_alpha_over_rank_times_b_a_x():
    _, A, B = matrices()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    found = lora.lora_update(x, A, B, ALPHA)
    for row in range(2):
        for t in range(5):
            torch.testing.assert_close(found[row, t], ALPHA / 3 * (B @ (A @ x[row, t])))


def test_merged_weight_answers_like_base_and_adapter_and_comes_apart_again():
    weight, A, B = matrices()
    before, x = weight.clone(), torch.randn(4, 8, dtype=torch.float64)
    merged = lora.merged_weight(weight, A, B, ALPHA)
    torch.testing.assert_close(x @ merged.T, x @ weight.T + lora.lora_update(x, A, B, ALPHA))
    torch.testing.assert_close(
        lora.unmerged_weight(merged, A, B, ALPHA), weight, rtol=0, atol=1e-12
    )
    assert torch.equal(weight, before)


def test_the_start_is_uniform_in_one_over_root_d_in_and_zero():
    A, B = lora.initialise(50, 400, 8)
    assert A.shape == (8, 400) and B.shape == (50, 8) and not B.any()
    assert A.abs().max() <= 0.05 and A.std().item() == pytest.approx(0.05 / math.sqrt(3), rel=0.05)
    assert abs(A.mean()) < 0.003 and not torch.equal(A, lora.initialise(50, 400, 8)[0])


def test_gradients_are_the_full_weights_gradient_seen_through_the_adapter():
    weight, A, B = matrices()
    x, target = torch.randn(5, 8, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    full = lora.merged_weight(weight, A, B, ALPHA).requires_grad_()
    (x @ full.T - target).square().sum().backward()

    layer = lora.LoRALinear(nn.Linear(8, 6, bias=False).double())
    layer.base.weight.data = weight
    layer.add("default", lora.LoRAConfig(3, ALPHA, ("layer",)), A, B)
    layer.active = "default"
    (layer(x) - target).square().sum().backward()
    scale, G = ALPHA / 3, full.grad
    torch.testing.assert_close(layer.B["default"].grad, scale * G @ A.T)
    torch.testing.assert_close(layer.A["default"].grad, scale * B.T @ G)


def test_no_gradient_leaves_two_matrices_of_zeros():
    _, full_A, full_B = matrices()
    x = torch.randn(4, 8, dtype=torch.float64)
    for A, B, moves in (
        (0 * full_A, 0 * full_B, [False, False]),
        (full_A, 0 * full_B, [False, True]),
        (0 * full_A, full_B, [True, False]),
    ):
        A, B = A.clone().requires_grad_(), B.clone().requires_grad_()
        lora.lora_update(x, A, B, ALPHA).sum().backward()
        assert [bool(A.grad.any()), bool(B.grad.any())] == moves


# An adapter in a model ----------------------------------------------------------------------------


def test_a_new_adapter_changes_no_bit_of_the_output_and_no_loss(model):
    before = answer(model)
    expected = sft_loss(before, IDS).item()
    inject(model, rank=RANK, alpha=ALPHA)
    assert torch.equal(answer(model), before)
    assert fine_tune(model, [(IDS, IDS)], steps=1, learning_rate=1e-3) == [expected]
    assert not torch.equal(answer(model), before)


def test_all_linear_is_every_linear_layer_but_the_output_layer(model):
    assert linear_targets(model) == LINEAR
    inject(model, rank=RANK, alpha=ALPHA)
    assert sorted(path.rpartition(".")[2] for path in layers(model)) == sorted(LINEAR * 2)
    assert linear_targets(model) == LINEAR  # seen through the adapter too
    assert type(model.lm_head) is nn.Linear


def test_all_linear_leaves_the_output_layer_out_even_where_it_is_adapted_already():
    model = adapted(new_model(tie_word_embeddings=False), "head", targets="lm_head")
    inject(model, rank=RANK, alpha=ALPHA, name="rest")
    assert list(model.lm_head.configs) == ["head"]


@pytest.mark.parametrize(
    "targets, found",
    [
        (
            ["q_proj", "v_proj"],
            [
                "model.layers.0.self_attn.q_proj",
                "model.layers.0.self_attn.v_proj",
                "model.layers.1.self_attn.q_proj",
                "model.layers.1.self_attn.v_proj",
            ],
        ),
        ("o_proj", ["model.layers.0.self_attn.o_proj", "model.layers.1.self_attn.o_proj"]),
        ([Q], [Q]),
        (["1.mlp.up_proj", Q], [Q, "model.layers.1.mlp.up_proj"]),
    ],
)
def test_targets_are_the_last_parts_of_names(model, targets, found):
    inject(model, rank=RANK, alpha=ALPHA, targets=targets)
    assert list(layers(model)) == found


def test_a_target_matches_whole_parts_of_a_name():
    model = nn.ModuleDict(
        {
            "my_up": nn.Linear(4, 4),
            "up": nn.Linear(4, 4),
            "inner": nn.ModuleDict({"base": nn.Linear(4, 4)}),
        }
    )
    inject(model, rank=1, alpha=1, targets="up")
    assert list(layers(model)) == ["up"]
    inject(model, rank=1, alpha=1, name="all")
    assert list(layers(model)) == ["my_up", "up", "inner.base"]


def test_only_the_adapter_trains_and_no_gradient_reaches_the_base(model):
    base = sum(p.numel() for p in model.parameters())
    adapted(model)
    expected = sum(RANK * sum(layer.base.weight.shape) for layer in layers(model).values())
    assert count(model) == (expected, base + expected)
    before = {name: p.clone() for name, p in model.named_parameters()}
    fine_tune(model, [(IDS, IDS)] * 3, steps=3, learning_rate=1e-2)
    model(input_ids=IDS).logits.sum().backward()
    for name, p in model.named_parameters():
        trains = name.endswith((".A.default", ".B.default"))
        assert (p.grad is not None) == trains and torch.equal(p, before[name]) != trains, name


def test_the_update_of_a_layer_has_at_most_the_rank_and_two_adapters_have_at_most_both(model):
    inject(model, rank=RANK, alpha=ALPHA, name="one")
    inject(model, rank=RANK, alpha=ALPHA, name="two")
    for seed, name in enumerate(adapters(model)):
        activate(model, name)
        randomise(model, name, seed)
        fine_tune(model, [(IDS, IDS)] * 2, steps=2, learning_rate=1e-2)
    for layer in layers(model).values():
        one, two = (layer.B[name].double() @ layer.A[name].double() for name in ("one", "two"))
        assert torch.linalg.matrix_rank(one) == torch.linalg.matrix_rank(two) == RANK
        assert torch.linalg.matrix_rank(one + two) == 2 * RANK


def test_rank_stabilised_divides_by_the_root_of_the_rank():
    plain, stable = (adapted(new_model(), rank=4, rank_stabilised=it) for it in (False, True))
    bare = new_model()
    for path, layer in layers(plain).items():
        other, x = stable.get_submodule(path), torch.randn(2, layer.base.in_features)
        other.A["default"].data = layer.A["default"].data
        base = bare.get_submodule(path)(x)
        torch.testing.assert_close(other(x) - base, 2 * (layer(x) - base), rtol=1e-3, atol=1e-5)


def test_the_functions_of_a_caller_are_the_ones_used(model):
    before = answer(model)
    used = []

    def begin(d_out, d_in, rank):
        used.append((d_out, d_in, rank))
        return torch.ones(rank, d_in), torch.ones(d_out, rank)

    inject(
        model,
        rank=2,
        alpha=1,
        initialise=begin,
        update=lambda x, A, B, alpha: 0 * lora.lora_update(x, A, B, alpha),
    )
    assert used == [(*layer.base.weight.shape, 2) for layer in layers(model).values()]
    assert all((layer.A["default"] == 1).all() for layer in layers(model).values())
    torch.testing.assert_close(answer(model), before)
    inject(model, rank=2, alpha=1, name="own merge")
    merge(model, merged_weight=lambda weight, A, B, alpha: 0 * weight)
    assert not layers(model)[Q].base.weight.any()
    unmerge(model, unmerged_weight=lambda weight, A, B, alpha: weight + 1)
    assert (layers(model)[Q].base.weight == 1).all()


# Several adapters ---------------------------------------------------------------------------------


def test_each_adapter_answers_alone_and_none_answers_as_the_base(model):
    base = answer(model)
    alone = {}
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        alone[name] = answer(adapted(copy.deepcopy(model), name, seed))
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        adapted(model, name, seed)
    assert adapters(model) == ["one", "two"]
    for name in ("one", "two", "one"):
        activate(model, name)
        assert torch.equal(answer(model), alone[name])
    activate(model, None)
    assert torch.equal(answer(model), base)
    assert count(model)[0] == 0
    assert not torch.equal(alone["one"], alone["two"]) and not torch.equal(alone["one"], base)


def test_a_new_adapter_takes_over_and_the_old_one_learns_no_more(model):
    adapted(model, "one")
    inject(model, rank=RANK, alpha=ALPHA, name="two", targets="q_proj")
    assert {layer.active for layer in layers(model).values()} == {"two"}
    assert {name.rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad} == {
        "two"
    }
    activate(model, "one")
    trains = [name for name, p in model.named_parameters() if p.requires_grad]
    assert {name.rpartition(".")[2] for name in trains} == {"one"} and len(trains) == 2 * 7 * 2


def test_layers_without_the_active_adapter_answer_as_the_base(model):
    base = {path: module.weight.detach().clone() for path, module in bare_linears(model)}
    adapted(model, "wide")
    adapted(model, "narrow", targets="q_proj")
    x = torch.randn(2, 16)
    assert torch.equal(
        model.model.layers[0].self_attn.v_proj(x), x @ base["model.layers.0.self_attn.v_proj"].T
    )
    assert not torch.equal(model.get_submodule(Q)(x), x @ base[Q].T)


def test_adapters_share_no_storage_with_each_other_or_the_base(model, tmp_path):
    adapted(model, "one")
    adapted(model, "two")
    save(model, tmp_path, "one")
    load(model, tmp_path, "three")
    places = [p.untyped_storage().data_ptr() for p in model.parameters()]
    assert len(set(places)) == len(places)


def test_freeze_thaws_what_it_names_and_nothing_else(model):
    adapted(model, "one")
    adapted(model, "two", targets="q_proj")
    for begin in (True, False):
        model.requires_grad_(begin)
        lora.freeze(model, "two")
        trains = {name for name, p in model.named_parameters() if p.requires_grad}
        assert trains == {
            f"model.layers.{i}.self_attn.q_proj.{m}.two" for i in (0, 1) for m in "AB"
        }


# Merging ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_merged_answers_as_unmerged_and_comes_apart(model, rank_stabilised):
    base = {name: p.clone() for name, p in model.state_dict().items()}
    adapted(model, rank_stabilised=rank_stabilised)
    before = answer(model)
    merge(model)
    torch.testing.assert_close(answer(model), before, rtol=0, atol=1e-5)
    assert not torch.allclose(layers(model)[Q].base.weight, base[f"{Q}.weight"], atol=1e-3)
    unmerge(model)
    torch.testing.assert_close(answer(model), before, rtol=0, atol=1e-5)
    strip(model)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, base[name], rtol=0, atol=1e-6)


def test_a_hundred_rounds_of_merging_do_not_drift(model):
    before = answer(adapted(model))
    for _ in range(100):
        merge(model)
        unmerge(model)
    torch.testing.assert_close(answer(model), before, rtol=0, atol=1e-4)
    for name, p in new_model().named_parameters():
        path = name.removesuffix(".weight")
        weight = (
            layers(model)[path].base.weight if path in layers(model) else model.get_parameter(name)
        )
        torch.testing.assert_close(weight, p, rtol=0, atol=1e-4)


def test_strip_leaves_the_bare_model_with_what_is_merged(model):
    bare = [(path, type(module)) for path, module in model.named_modules()]
    base = answer(model)
    before = answer(adapted(model))
    other = copy.deepcopy(model)
    merge(model)
    strip(model)
    strip(other)
    assert [(path, type(module)) for path, module in model.named_modules()] == bare
    torch.testing.assert_close(answer(model), before, rtol=0, atol=1e-5)
    assert torch.equal(answer(other), base)
    assert layers(model) == {} and adapters(model) == [] and count(model)[0] == 0


def test_only_the_active_adapter_is_merged_and_taken_out(model):
    adapted(model, "one")
    adapted(model, "two", seed=5, targets="q_proj")
    expected = answer(model)
    merge(model)
    assert {path: layer.merged for path, layer in layers(model).items() if layer.merged} == {
        path: "two" for path in layers(model) if path.endswith("q_proj")
    }
    torch.testing.assert_close(answer(model), expected, rtol=0, atol=1e-5)
    unmerge(model)
    torch.testing.assert_close(answer(model), expected, rtol=0, atol=1e-5)


def test_a_tied_output_layer_is_not_merged_as_it_would_change_the_embeddings(model):
    adapted(model, targets=["lm_head", "q_proj"])
    with refused(model, "shares its weight with model.embed_tokens"):
        merge(model)
    free = adapted(new_model(tie_word_embeddings=False), targets="lm_head")
    before = answer(free)
    merge(free)
    torch.testing.assert_close(answer(free), before, rtol=0, atol=1e-5)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, -1, 1.5, 2.0, True, "3", None])
def test_a_rank_that_is_no_whole_number_from_1_up_is_refused(model, rank):
    with refused(model, f"the rank is {rank!r}", "whole number from 1"):
        inject(model, rank=rank, alpha=ALPHA)


def test_a_rank_above_the_smaller_side_of_any_layer_is_refused(model):
    with refused(model, "the rank is 9", "model.layers.0.self_attn.k_proj", "(8, 16)", "at most 8"):
        inject(model, rank=9, alpha=ALPHA)
    inject(model, rank=8, alpha=ALPHA)


@pytest.mark.parametrize(
    "alpha", [math.nan, math.inf, "8", None, 0, True, torch.tensor(8.0).numpy()[()]]
)
def test_an_alpha_that_is_no_finite_number_is_refused(model, alpha):
    with refused(model, f"alpha is {alpha!r}", "finite number"):
        inject(model, rank=RANK, alpha=alpha)


@pytest.mark.parametrize(
    "targets, words",
    [
        (["q_proj", "v_porj"], ["no layer is named 'v_porj'", "closest names are v_proj"]),
        (["proj"], ["no layer is named 'proj'", "q_proj"]),
        (["xyz"], ["no layer is named 'xyz'", *LINEAR, "lm_head"]),
        (["embed_tokens"], ["'embed_tokens' is a Embedding", "only nn.Linear"]),
        (["self_attn"], ["'self_attn' is a LlamaAttention", "only nn.Linear"]),
        ("norm", ["'norm' is a LlamaRMSNorm"]),
        ([], ["no target was named"]),
        ((), ["no target was named"]),
        ("", ["no layer is named ''"]),
    ],
)
def test_targets_that_cannot_be_adapted_are_refused(model, targets, words):
    with refused(model, *words):
        inject(model, rank=RANK, alpha=ALPHA, targets=targets)


def test_one_bad_target_among_good_ones_changes_nothing_in_an_adapted_model_either(model):
    adapted(model, "one", targets="q_proj")
    with refused(model, "no layer is named 'nowhere'"):
        inject(model, rank=RANK, alpha=ALPHA, name="two", targets=["v_proj", "nowhere"])


def test_a_start_that_fails_leaves_the_model_alone(model):
    begun = []

    def fail_late(*shape):
        begun.append(shape)
        if len(begun) == 3:
            raise RuntimeError("no memory")
        return lora.initialise(*shape)

    tensors, *rest = snapshot(model)
    with pytest.raises(RuntimeError, match="no memory"):
        inject(model, rank=RANK, alpha=ALPHA, initialise=fail_late)
    after, *rest_after = snapshot(model)
    assert rest_after == rest and after.keys() == tensors.keys()


@pytest.mark.parametrize(
    "start",
    [
        lambda d_out, d_in, rank: (torch.zeros(rank, d_in + 1), torch.zeros(d_out, rank)),
        lambda d_out, d_in, rank: (torch.zeros(d_out, rank), torch.zeros(rank, d_in)),
        lambda d_out, d_in, rank: torch.zeros(rank, d_in),
        lambda d_out, d_in, rank: None,
    ],
)
def test_a_start_of_another_form_is_refused(model, start):
    with refused(model, "initialise must return A"):
        inject(model, rank=RANK, alpha=ALPHA, initialise=start)


def test_a_model_that_peft_has_wrapped_is_refused(model):
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    with refused(wrapped, "wrapped by the library PEFT"):
        inject(wrapped, rank=RANK, alpha=ALPHA, targets=["v_proj"])


def test_a_model_without_linear_layers_and_a_layer_that_is_more_than_linear_are_refused():
    with refused(nn.Sequential(nn.Conv1d(2, 2, 1)), "has no nn.Linear layer"):
        inject(nn.Sequential(nn.Conv1d(2, 2, 1)), rank=1, alpha=ALPHA)
    attention = nn.Sequential(
        nn.MultiheadAttention(4, 2), nn.Linear(4, 4)
    )  # its out_proj is used, but never called
    with refused(attention, "only nn.Linear"):
        inject(attention, rank=1, alpha=ALPHA, targets=["out_proj"])


def test_a_merging_function_that_returns_no_weight_is_refused(model):
    adapted(model)
    for wrong in (lambda weight, A, B, alpha: None, lambda weight, A, B, alpha: weight[:1]):
        with refused(model, "must return a weight"):
            merge(model, wrong)
    merge(model)
    with refused(model, "must return a weight"):
        unmerge(model, lambda weight, A, B, alpha: None)


def test_nothing_trains_while_an_adapter_is_merged_and_it_trains_again_afterwards(model):
    adapted(model)
    before = {name for name, p in model.named_parameters() if p.requires_grad}
    merge(model)
    assert before and not any(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="no parameter of the model requires a gradient"):
        fine_tune(model, [], steps=1, learning_rate=0.1)
    unmerge(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == before


def test_a_name_that_is_taken_is_refused(model, tmp_path):
    adapted(model)
    save(model, tmp_path)
    with refused(model, "there is an adapter 'default' already"):
        inject(model, rank=RANK, alpha=ALPHA, targets="q_proj")
    with refused(model, "there is an adapter 'default' already"):
        load(model, tmp_path)


@pytest.mark.parametrize("name", ["", "a.b", "keys", "training"])
def test_a_name_that_cannot_be_one_is_refused(model, tmp_path, name):
    save(adapted(new_model()), tmp_path)
    for call in (
        lambda: inject(model, rank=RANK, alpha=ALPHA, name=name),
        lambda: load(model, tmp_path, name),
    ):
        with refused(model, f"cannot be called {name!r}"):
            call()


def test_what_needs_a_known_adapter_refuses_an_unknown_one(model, tmp_path):
    with refused(model, "there is no adapter 'two'", "none"):
        activate(model, "two")
    adapted(model, "one")
    for call in (lambda: activate(model, "two"), lambda: save(model, tmp_path, "two")):
        with refused(model, "there is no adapter 'two'", "there is one"):
            call()
    assert not list(tmp_path.iterdir())


def test_everything_else_waits_while_an_adapter_is_merged(model, tmp_path):
    save(adapted(model), tmp_path / "there")
    merge(model)
    for call in (
        lambda: merge(model),
        lambda: activate(model, None),
        lambda: activate(model, "default"),
        lambda: inject(model, rank=RANK, alpha=ALPHA, name="two"),
        lambda: save(model, tmp_path / "new"),
        lambda: load(model, tmp_path / "there", "two"),
    ):
        with refused(model, "'default' is merged", "unmerge"):
            call()
    assert not (tmp_path / "new").exists()


def test_there_must_be_something_to_merge_or_to_take_out(model):
    with refused(model, "no adapter is merged"):
        unmerge(model)
    with refused(model, "no adapter is active"):
        merge(model)
    adapted(model)
    with refused(model, "no adapter is merged"):
        unmerge(model)
    activate(model, None)
    with refused(model, "no adapter is active"):
        merge(model)
    activate(model, "default")
    merge(model)
    unmerge(model)
    with refused(model, "no adapter is merged"):
        unmerge(model)


# Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"targets": ["q_proj", "v_proj"]},
        {"targets": Q},
        {"rank_stabilised": True},
        {"rank": 1, "alpha": 0.5},
    ],
)
def test_what_is_saved_is_what_is_loaded(tmp_path, settings):
    model = adapted(new_model(), "one", **settings)
    save(model, tmp_path / "deep" / "folder", "one")
    other = new_model()
    load(other, tmp_path / "deep" / "folder", "two")
    torch.testing.assert_close(
        answer(other), answer(model), rtol=0, atol=1e-6
    )  # a loaded tensor may lie unaligned
    assert not torch.allclose(answer(other), answer(new_model()), atol=1e-3)
    for path, layer in layers(model).items():
        there = other.get_submodule(path)
        assert torch.equal(there.A["two"], layer.A["one"]) and torch.equal(
            there.B["two"], layer.B["one"]
        )
        assert there.configs["two"] == layer.configs["one"]
    assert adapters(other) == ["two"] and count(other) == count(model)
    assert not (tmp_path / "deep" / "folder" / "README.md").exists()


def test_of_several_adapters_the_named_one_is_saved(model, tmp_path):
    answers = {}
    for seed, (name, settings) in enumerate(
        {"one": {}, "two": {"targets": "q_proj", "rank": 2}}.items()
    ):
        adapted(model, name, seed, **settings)
        answers[name] = answer(model)
    for name in answers:
        save(model, tmp_path / name, name)
        other = new_model()
        load(other, tmp_path / name)
        torch.testing.assert_close(answer(other), answers[name], rtol=0, atol=1e-6)


def test_the_files_are_named_and_shaped_as_peft_wants_them(model, tmp_path):
    save(adapted(model, targets="v_proj", rank_stabilised=True), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert {
        name: tuple(tensor.shape) for name, tensor in load_file(tmp_path / WEIGHTS).items()
    } == {
        f"base_model.model.model.layers.{i}.self_attn.v_proj.lora_{m}.weight": shape
        for i in (0, 1)
        for m, shape in (("A", (RANK, 16)), ("B", (8, RANK)))
    }
    config = json.loads((tmp_path / CONFIG).read_text("utf8"))
    assert config == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": RANK,
        "lora_alpha": ALPHA,
        "use_rslora": True,
        "bias": "none",
        "target_modules": ["v_proj"],
        "inference_mode": True,
    }


@pytest.fixture()
def saved(tmp_path):
    save(adapted(new_model()), tmp_path)
    return tmp_path


def test_a_missing_folder_is_refused(model, tmp_path):
    with refused(model, "nowhere", "is missing"):
        load(model, tmp_path / "nowhere")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_or_a_folder_in_its_place_is_refused(model, saved, name):
    (saved / name).unlink()
    with refused(model, name, "is missing"):
        load(model, saved)
    (saved / name).mkdir()
    with refused(model, name, "is missing"):
        load(model, saved)


def test_a_truncated_file_of_weights_is_refused_wherever_it_ends(model, saved):
    whole = (saved / WEIGHTS).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for length in (
        0,
        1,
        7,
        8,
        9,
        header // 2,
        header - 1,
        header,
        header + 1,
        len(whole) // 2,
        len(whole) - 1,
    ):
        (saved / WEIGHTS).write_bytes(whole[:length])
        with refused(model, WEIGHTS, "truncated"):
            load(model, saved)
    (saved / WEIGHTS).write_bytes(whole)
    load(model, saved)


def test_a_truncated_or_foreign_config_is_refused(model, saved):
    whole = (saved / CONFIG).read_bytes()
    for text in (
        b"",
        whole[:1],
        whole[: len(whole) // 2],
        whole[:-1],
        b"[]",
        b"3",
        b"null",
        b"\xff\xfe",
        b'{"peft_type": "LORA"}',
    ):
        (saved / CONFIG).write_bytes(text)
        with refused(model, CONFIG, "no adapter's settings"):
            load(model, saved)


def change_config(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text("utf8")) | changes), "utf8")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"peft_type": "IA3"}, ["type IA3", "only LORA"]),
        ({"target_modules": None}, ["no target was named"]),
        ({"target_modules": []}, ["no target was named"]),
        ({"target_modules": r".*\.query"}, ["regular expression", "matches no nn.Linear layer"]),
        ({"target_modules": "q_proj"}, ["regular expression 'q_proj' matches no"]),
        ({"target_modules": "("}, ["no regular expression"]),
        ({"r": 0}, ["the rank is 0"]),
        ({"r": "3"}, ["the rank is '3'"]),
        ({"r": 2}, ["made for another base"]),
        ({"lora_alpha": "5"}, ["alpha is '5'"]),
        ({"lora_alpha": None}, ["alpha is None"]),
        ({"use_dora": True}, ["use_dora", "PEFT"]),
        ({"bias": "all"}, ["asks for bias"]),
        ({"bias": "lora_only", "rank_pattern": {"q_proj": 2}}, ["asks for bias, rank_pattern"]),
        ({"alpha_pattern": {"q_proj": 2}}, ["alpha_pattern"]),
        ({"modules_to_save": ["lm_head"]}, ["modules_to_save"]),
        ({"layers_to_transform": [0]}, ["layers_to_transform"]),
        ({"layers_to_transform": 0}, ["layers_to_transform"]),
        ({"use_something_new": True}, ["use_something_new"]),
        ({"something_new": 0.0}, ["something_new"]),
        ({"exclude_modules": ["q_proj"]}, ["exclude_modules"]),
        ({"lora_bias": True}, ["lora_bias"]),
        ({"fan_in_fan_out": True}, ["fan_in_fan_out"]),
        ({"layer_replication": [[0, 1]]}, ["layer_replication"]),
        ({"target_parameters": ["x"]}, ["target_parameters"]),
        ({"trainable_token_indices": [1]}, ["trainable_token_indices"]),
        ({"use_qalora": True}, ["use_qalora"]),
        ({"alora_invocation_tokens": [1]}, ["alora_invocation_tokens"]),
        ({"init_lora_weights": "pissa"}, ["init_lora_weights"]),
    ],
)
def test_settings_that_cannot_be_loaded_are_refused(model, saved, changes, words):
    change_config(saved, **changes)
    with refused(model, *words):
        load(model, saved)


def test_the_settings_of_another_method_are_told_by_its_type(model, saved):
    (saved / CONFIG).write_text(
        json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8}), "utf8"
    )
    with refused(model, "type PROMPT_TUNING"):
        load(model, saved)


def test_settings_of_peft_that_change_nothing_are_accepted(model, saved):
    change_config(
        saved,
        init_lora_weights="gaussian",
        lora_dropout=0.1,
        modules_to_save=None,
        rank_pattern={},
        use_dora=False,
        exclude_modules=None,
        layers_to_transform=[],
        task_type="CAUSAL_LM",
    )
    load(model, saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 32},
        {"intermediate_size": 40},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
    ],
)
def test_an_adapter_for_a_base_of_another_shape_is_refused(saved, changes):
    model = new_model(**changes)
    with refused(model, "made for another base"):
        load(model, saved)


def test_an_adapter_for_a_base_of_the_same_shape_and_other_weights_is_refused(saved):
    for model in (new_model(seed=1), new_model(seed=0)):
        other = model.model.layers[1].mlp.down_proj.weight
        other.data[0, 0] += 1e-3
        with refused(model, "same shape with other weights"):
            load(model, saved)


def test_a_merged_adapter_makes_another_base(saved):
    model = new_model()
    load(model, saved)
    merge(model)
    strip(model)
    with refused(model, "other weights"):
        load(model, saved)


def test_merging_and_unmerging_leave_the_base_the_one_it_was(saved, tmp_path):
    model = new_model()
    load(model, saved, "one")
    for _ in range(5):
        merge(model)
        unmerge(model)
    assert not torch.equal(layers(model)[Q].base.weight, new_model().get_submodule(Q).weight), (
        "no rounding, no test"
    )
    load(model, saved, "two")
    save(model, tmp_path / "again", "one")
    load(new_model(), tmp_path / "again")


def test_the_base_is_the_same_after_rounding_that_even_half_precision_shows(tmp_path):
    def on_the_edge():  # halfway between two bfloat16 numbers: the least rounding upwards shows
        model = new_model()
        model.get_submodule(Q).weight.data[0] = (1 + 2**-8) * 2**-10
        return model

    model = adapted(on_the_edge())
    for _ in range(20):
        merge(model)
        unmerge(model)
    row, bare = layers(model)[Q].base.weight[0], on_the_edge()
    assert not torch.equal(row.bfloat16(), bare.get_submodule(Q).weight[0].bfloat16()), (
        "the test proves nothing"
    )
    save(model, tmp_path)
    load(bare, tmp_path)


def test_the_base_that_counts_is_the_one_at_the_time_of_saving(tmp_path):
    changed, other = adapted(new_model(seed=5)), new_model(seed=0)
    for path, layer in layers(changed).items():
        layer.base.load_state_dict(other.get_submodule(path).state_dict())
    save(changed, tmp_path)
    load(other, tmp_path)
    with refused(new_model(seed=5), "other weights"):
        load(new_model(seed=5), tmp_path)


def test_a_base_in_half_precision_is_the_same_base(saved):
    load(new_model().to(torch.bfloat16), saved)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(model, saved, number):
    tensors = load_file(saved / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = number
    save_file(tensors, saved / WEIGHTS, {"format": "pt"})
    with refused(model, "not finite"):
        load(model, saved)


@pytest.mark.parametrize("change", ["missing", "extra", "renamed", "transposed"])
def test_weights_that_are_not_those_of_the_settings_are_refused(model, saved, change):
    tensors = load_file(saved / WEIGHTS)
    with safe_open(saved / WEIGHTS, "pt") as file:
        metadata = file.metadata()
    key = f"{PREFIX}{Q}.lora_A.weight"
    tensor = tensors[key] if change == "extra" else tensors.pop(key)
    if change != "missing":
        tensors[key if change == "transposed" else f"{PREFIX}{Q}.lora_C.weight"] = (
            tensor.T.contiguous() if change == "transposed" else tensor.clone()
        )
    save_file(tensors, saved / WEIGHTS, metadata)
    words = ["lora_C", "neither"] if change in ("extra", "renamed") else ["made for another base"]
    with refused(model, *words):
        load(model, saved)


# Files of other tools -----------------------------------------------------------------------------


def rewritten(folder, change=lambda key, tensor: (key, tensor), **changes):
    """The saved adapter with other names or numbers, and other settings."""
    with safe_open(folder / WEIGHTS, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(folder / WEIGHTS)
    save_file(dict(change(*pair) for pair in tensors.items()), folder / WEIGHTS, metadata)
    change_config(folder, **changes)


@pytest.fixture()
def expected():
    return answer(adapted(new_model()))


@pytest.mark.parametrize(
    "targets",
    [
        "all-linear",
        r"model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj",
        r".*(q|k|v|o|gate|up|down)_proj",
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "fc_in"],
    ],
)
def test_targets_are_read_as_peft_reads_them(model, saved, expected, targets):
    rewritten(saved, target_modules=targets)
    load(model, saved)
    assert torch.equal(answer(model), expected)


def test_a_regular_expression_that_means_other_layers_is_refused(model, saved):
    rewritten(saved, target_modules=r".*layers\.0\..*")
    with refused(model, "made for another base", "layers.1"):
        load(model, saved)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_an_adapter_in_another_precision_is_read(model, saved, expected, dtype):
    rewritten(saved, lambda key, tensor: (key, tensor.to(dtype)))
    load(model, saved)
    own = layers(model)[Q].A["default"]
    assert own.dtype == torch.float32
    torch.testing.assert_close(answer(model), expected, rtol=0, atol=1.0)


@pytest.mark.parametrize("said", ["false", "true", 1, [True]])
def test_a_prefactor_that_is_neither_true_nor_false_is_refused(model, saved, said):
    rewritten(saved, use_rslora=said)
    with refused(model, "use_rslora", "neither true nor false"):
        load(model, saved)


@pytest.mark.parametrize("base", ["", "7", "[]", '{"a": 1}', '{"a": ["x"]}', "no JSON"])
def test_what_another_tool_wrote_where_the_base_is_told_is_passed_over(
    model, saved, expected, base
):
    tensors = load_file(saved / WEIGHTS)
    save_file(tensors, saved / WEIGHTS, {"format": "pt", "base": base})
    load(model, saved)
    assert torch.equal(answer(model), expected)


def test_whole_numbers_in_the_place_of_floats_are_refused(model, saved):
    rewritten(saved, lambda key, tensor: (key, tensor.to(torch.int8)))
    with refused(model, "whole numbers"):
        load(model, saved)


def test_numbers_too_large_for_the_bases_precision_are_refused(saved):
    rewritten(saved, lambda key, tensor: (key, tensor * 1e6))
    model = new_model().to(torch.float16)
    with refused(model, "too large for torch.float16", "load the base in float32"):
        load(model, saved)


@pytest.mark.parametrize("edge", [1 + 2**-8 + 2**-12, 1 + 2**-8, 1.0, 255 / 256])
@pytest.mark.parametrize("written", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("read", [torch.float32, torch.float16, torch.bfloat16])
def test_a_base_is_known_again_in_any_precision(tmp_path, written, read, edge):
    def base():
        model = new_model()
        model.get_submodule(Q).weight.data[0] = edge * 2**-10
        return model

    save(adapted(base().to(written)), tmp_path)
    load(base().to(read), tmp_path)


def test_names_that_torch_compile_has_made_are_read(model, saved, expected):
    rewritten(saved, lambda key, tensor: (key.replace("layers.", "layers._orig_mod."), tensor))
    load(model, saved)
    assert torch.equal(answer(model), expected)


def test_a_byte_order_mark_is_no_obstacle(model, saved, expected):
    text = (saved / CONFIG).read_text("utf8")
    (saved / CONFIG).write_text(text, "utf-8-sig")
    load(model, saved)
    assert torch.equal(answer(model), expected)


def test_older_files_of_pickled_tensors_are_refused_for_what_they_are(model, saved):
    (saved / WEIGHTS).rename(saved / "adapter_model.bin")
    with refused(model, "pickled tensors", "any code"):
        load(model, saved)


def test_an_adapter_in_a_folder_of_its_name_is_found(model, tmp_path, expected):
    save(adapted(new_model()), tmp_path / "french")
    save(adapted(new_model()), tmp_path / "german")
    with refused(model, "french, german", "name one of them"):
        load(model, tmp_path)
    load(model, tmp_path, "french")
    assert torch.equal(answer(model), expected) and adapters(model) == ["french"]


def test_a_rank_above_a_layers_side_is_read_though_it_is_a_waste(model, tmp_path):
    wide = new_model()
    for name in ("one", "two"):
        adapted(wide, name, rank=8, targets="v_proj")
    combine(wide, {"one": 1.0, "two": 1.0}, "both")
    save(wide, tmp_path, "both")
    load(model, tmp_path)
    assert torch.equal(answer(model), answer(wide))
    assert layers(model)["model.layers.0.self_attn.v_proj"].configs["default"].rank == 16


def test_the_bases_own_weights_beside_an_adapter_are_read_only_if_they_are_the_bases(
    model, saved, expected
):
    key, own = "base_model.model.model.embed_tokens.weight", model.get_input_embeddings().weight
    tensors = load_file(saved / WEIGHTS)
    for weight, words in (
        (own, None),
        (own + 0.01, ["embed_tokens", "other numbers"]),
        (own[:-1], ["embed_tokens", "a weight"]),
    ):
        tensors[key] = weight.detach().clone()
        save_file(tensors, saved / WEIGHTS, {"format": "pt"})
        if words:
            with refused(model, *words):
                load(model, saved)
        else:
            load(model, saved)
            assert torch.equal(answer(model), expected)
            remove(model, "default")


# Several adapters ---------------------------------------------------------------------------------


def test_removing_an_adapter_leaves_the_others_and_bare_layers(model):
    base = answer(model)
    one = answer(adapted(model, "one", targets=["q_proj", "up_proj"]))
    adapted(model, "two", seed=5, targets=["q_proj", "v_proj"])
    remove(model, "two")
    assert adapters(model) == ["one"] and count(model)[0] == 0
    assert {path.rpartition(".")[2] for path in layers(model)} == {"q_proj", "up_proj"}
    assert torch.equal(answer(model), base)
    activate(model, "one")
    assert torch.equal(answer(model), one)
    remove(model, "one")
    assert layers(model) == {} and torch.equal(answer(model), base)
    with refused(model, "no adapter 'one'"):
        remove(model, "one")


def test_an_adapter_that_does_not_answer_is_removed_without_a_change(model):
    adapted(model, "one")
    expected = answer(adapted(model, "two", seed=5))
    remove(model, "one")
    assert torch.equal(answer(model), expected) and count(model)[0] > 0


def test_nothing_is_removed_or_combined_while_an_adapter_is_merged(model):
    adapted(model)
    merge(model)
    for refusing in (
        lambda: remove(model, "default"),
        lambda: combine(model, {"default": 1.0}, "new"),
    ):
        with refused(model, "is merged into the weights"):
            refusing()


def test_a_combination_adds_the_weighted_sum_of_the_updates(model):
    base = {path: linear.weight.clone() for path, linear in new_linears(model)}
    adapted(model, "one", targets=["q_proj", "v_proj"], rank_stabilised=True)
    adapted(model, "two", seed=5, targets=["q_proj", "up_proj"], rank=2, alpha=7)
    updates = {}
    for name in ("one", "two"):
        for path, layer in layers(model).items():
            if name in layer.configs:
                merged = merged_weight(base[path], *layer.matrices(name))
                updates[path, name] = merged - base[path]
    weights = {"one": 0.3, "two": -1.5}
    combine(model, weights, "both")
    assert layers(model)[Q].configs["both"].rank == RANK + 2 and layers(model)[Q].active == "both"
    merge(model)
    for path, layer in layers(model).items():
        expected = base[path] + sum(
            weight * updates.get((path, name), 0) for name, weight in weights.items()
        )
        torch.testing.assert_close(layer.base.weight, expected, rtol=0, atol=1e-5)


def new_linears(model):
    return [(path, m) for path, m in model.named_modules() if isinstance(m, torch.nn.Linear)]


@pytest.mark.parametrize(
    "weights, name, words",
    [
        ({}, "new", ["name at least one"]),
        ({"default": math.nan}, "new", ["finite ones"]),
        ({"default": 1.0, "other": 1.0}, "new", ["no adapter 'other'"]),
        ({"default": 1.0}, "default", ["already"]),
    ],
)
def test_what_cannot_be_combined_is_refused(model, weights, name, words):
    adapted(model)
    with refused(model, *words):
        combine(model, weights, name)


# Merging what would spoil the base ----------------------------------------------------------------


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_an_adapter_that_would_spoil_the_base_is_not_merged(model, number):
    adapted(model)
    layers(model)[Q].A["default"].data[0, 0] = number
    with refused(model, "not finite or too large"):
        merge(model)


def test_what_half_precision_cannot_hold_is_not_merged():
    model = adapted(new_model()).to(torch.float16)
    for matrix in (layers(model)[Q].A["default"], layers(model)[Q].B["default"]):
        matrix.data.fill_(60000)
    with refused(model, "too large for torch.float16"):
        merge(model)


@pytest.mark.parametrize("which", ["half of a buffer", "a transposed view", "another layer's"])
def test_weights_in_one_memory_are_not_merged(which):
    """Two parameters that are not one and the same, and change together."""
    model = new_model()
    q, o = (model.get_submodule(f"model.layers.0.self_attn.{name}_proj") for name in "qo")
    if which == "a transposed view":
        o.weight = torch.nn.Parameter(q.weight.data.T)
    elif which == "another layer's":
        o.weight = torch.nn.Parameter(q.weight.data)
    else:
        model.register_buffer("copy", q.weight.data[4:])
    adapted(model, targets="q_proj")
    with refused(model, "shares its weight with", "copy" if "buffer" in which else "o_proj"):
        merge(model)


def test_weights_side_by_side_in_one_storage_are_merged(model):
    q, o = (model.get_submodule(f"model.layers.0.self_attn.{name}_proj") for name in "qo")
    both = torch.cat([q.weight.data, o.weight.data])
    q.weight, o.weight = (torch.nn.Parameter(part) for part in both.split(len(q.weight)))
    before = answer(adapted(model, targets="q_proj"))
    merge(model)
    torch.testing.assert_close(answer(model), before, rtol=0, atol=1e-5)


def test_a_model_without_linear_layers_is_refused_with_what_it_has():
    from transformers import FalconConfig, FalconForCausalLM, GPT2Config, GPT2LMHeadModel

    small = {"vocab_size": 12, "hidden_size": 16, "num_attention_heads": 2}
    for model, kind in (
        (GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=12)), "Conv1D"),
        (FalconForCausalLM(FalconConfig(**small, num_hidden_layers=1)), "FalconLinear"),
    ):
        with refused(model, "no nn.Linear layer but its output", kind):
            inject(model, rank=2, alpha=4)


@pytest.mark.parametrize("failing", ["the weights", "the settings", "the first replacement"])
def test_a_save_that_fails_leaves_the_old_files_as_they_were(model, saved, monkeypatch, failing):
    old = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(*_, **__):
        raise OSError("no space left on device")

    def fail_half_way(tensors, path, metadata):
        path.write_bytes(b"half a file")
        fail()

    place, function = {
        "the weights": ("methods.adapter_files.save_file", fail_half_way),
        "the settings": ("pathlib.Path.write_text", fail),
        "the first replacement": ("os.replace", fail),
    }[failing]
    adapted(model, seed=9, alpha=1)
    with monkeypatch.context() as patch:
        patch.setattr(place, function)
        with refused(model, "no space left", "choose another folder"):
            save(model, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == old
    save(model, saved)
    new = {path.name: path.read_bytes() for path in saved.iterdir()}
    assert new.keys() == old.keys() and all(new[name] != old[name] for name in old)


def test_a_folder_that_cannot_be_written_is_refused(model, tmp_path):
    adapted(model)
    (tmp_path / "file").write_text("mine", "utf8")
    with refused(model, "could not be written", "choose another folder"):
        save(model, tmp_path / "file")
    with refused(model, "could not be written"):
        save(model, tmp_path / "file" / "folder")
    assert (tmp_path / "file").read_text("utf8") == "mine" and os.listdir(tmp_path) == ["file"]


# Mixtures of experts ------------------------------------------------------------------------------


@pytest.fixture()
def mixture():
    """One dense layer, and one whose experts are parameters with three dimensions."""
    torch.manual_seed(0)
    config = DeepseekV3Config(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        moe_intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        q_lora_rank=8,
        kv_lora_rank=8,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    )
    return DeepseekV3ForCausalLM(config)


def test_all_linear_is_refused_where_peft_would_adapt_the_experts_too(mixture):
    with refused(mixture, "experts.gate_up_proj", "name the layers"):
        inject(mixture, rank=2, alpha=4)


def test_a_name_that_experts_bear_too_is_refused(mixture):
    with refused(mixture, "'down_proj' also names", "experts.down_proj"):
        inject(mixture, rank=2, alpha=4, targets=["o_proj", "down_proj"])


def test_the_linear_layers_of_a_mixture_are_read_whole_by_peft(mixture, tmp_path):
    bare = copy.deepcopy(mixture)
    inject(mixture, rank=2, alpha=4, targets=["o_proj", "q_b_proj"])
    for layer in layers(mixture).values():
        torch.nn.init.normal_(layer.B["default"])
    save(mixture, tmp_path)
    read = PeftModel.from_pretrained(bare, tmp_path)
    ids = torch.arange(8).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(mixture(ids).logits, read(ids).logits, rtol=0, atol=1e-5)
