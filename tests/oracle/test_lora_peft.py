"""LoRA from scratch against the library PEFT: same layers, same outputs, same gradients, same
files, same training."""

import copy
import json
import re

import pytest
import torch
from helpdesk.language import build_tokenizer, encode_example
from helpdesk.pretrain import new_model
from helpdesk.tasks import triage
from helpdesk.tickets import sample_tickets
from methods import adapter_files, lora
from methods.sft import fine_tune, sft_loss
from methods.tokens import collate, mask_prompt
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

RANK, ALPHA = 4, 12
STEPS, BATCH, RATE = 20, 8, 2e-3
TOLERANCE = 1e-5
FULL_NAME = "model.layers.1.self_attn.k_proj"
TARGETS = pytest.mark.parametrize(
    "targets", ["all-linear", ["q_proj", "v_proj"], [FULL_NAME]], ids=["all", "qv", "one"]
)
PREFACTOR = pytest.mark.parametrize("rank_stabilised", [False, True], ids=["plain", "rslora"])
IDS = torch.randint(3, 90, (4, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def base():
    """A small Llama with weights as large as trained ones and matrices that are not all square."""
    torch.manual_seed(3)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=90,
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.1,
            tie_word_embeddings=True,
        )
    )


@pytest.fixture(scope="module")
def batches():
    tokenizer = build_tokenizer()
    tickets = sample_tickets("train", STEPS * BATCH, seed=1)
    tokens = [mask_prompt(*encode_example(tokenizer, triage(ticket))) for ticket in tickets]
    return [
        collate(tokens[i : i + BATCH], tokenizer.pad_token_id) for i in range(0, len(tokens), BATCH)
    ]


def settings(targets="all-linear", rank_stabilised=False, rank=RANK, alpha=ALPHA):
    return {"rank": rank, "alpha": alpha, "targets": targets, "rank_stabilised": rank_stabilised}


def config(targets="all-linear", rank_stabilised=False, rank=RANK, alpha=ALPHA, **more):
    return LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, use_rslora=rank_stabilised, **more
    )


def their_layers(model):
    return {
        path.removeprefix(adapter_files.PREFIX): module
        for path, module in model.named_modules()
        if hasattr(module, "lora_A")
    }


def copy_numbers(ours, theirs, name="default", seed=5):
    """Random A and B, none of them zero, the same in both models."""
    generator, there = torch.Generator().manual_seed(seed), their_layers(theirs)
    mine = {path: layer for path, layer in lora.layers(ours).items() if name in layer.configs}
    for path, layer in mine.items():
        for which, matrices in (("lora_A", layer.A), ("lora_B", layer.B)):
            matrices[name].data = torch.randn(matrices[name].shape, generator=generator) * 0.2
            getattr(there[path], which)[name].weight.data = matrices[name].data.clone()


def pair(base, **chosen):
    """The same adapter in our model and in PEFT's."""
    ours, theirs = copy.deepcopy(base), get_peft_model(copy.deepcopy(base), config(**chosen))
    lora.inject(ours, **settings(**chosen))
    copy_numbers(ours, theirs)
    return ours, theirs


def answer(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def same(mine, theirs, message=None):
    torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE, msg=message)


def differ(one, other):
    return (one - other).abs().max() > 0.1


# One adapter --------------------------------------------------------------------------------------


@TARGETS
@PREFACTOR
def test_layers_outputs_gradients_and_counts_are_pefts(base, targets, rank_stabilised):
    ours, theirs = pair(base, targets=targets, rank_stabilised=rank_stabilised)
    assert list(lora.layers(ours)) == list(their_layers(theirs))
    assert lora.count(ours) == theirs.get_nb_trainable_parameters()
    same(answer(ours), answer(theirs))
    assert differ(answer(ours), answer(base)), (
        "the adapter does nothing, so equality would prove little"
    )

    for model in (ours, theirs):
        sft_loss(model(input_ids=IDS).logits, IDS).backward()
    there = their_layers(theirs)
    for path, layer in lora.layers(ours).items():
        for mine, other in ((layer.A, there[path].lora_A), (layer.B, there[path].lora_B)):
            gradient = mine["default"].grad
            assert gradient.abs().max() > 1e-4
            same(gradient, other["default"].weight.grad, path)
    trained = [sum(p.grad is not None for p in model.parameters()) for model in (ours, theirs)]
    assert trained[0] == trained[1] == 2 * len(there)


@TARGETS
@PREFACTOR
def test_merged_weights_are_pefts(base, targets, rank_stabilised):
    ours, theirs = pair(base, targets=targets, rank_stabilised=rank_stabilised)
    lora.merge(ours)
    lora.strip(ours)
    theirs = theirs.merge_and_unload()
    assert [path for path, _ in ours.named_modules()] == [
        path for path, _ in theirs.named_modules()
    ]
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        same(mine, other, name)
    same(answer(ours), answer(theirs))
    assert differ(answer(ours), answer(base))


def test_all_linear_is_pefts_on_the_help_desks_base_and_with_an_output_layer_of_its_own():
    untied = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=20,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            tie_word_embeddings=False,
        )
    )
    for model, layers in ((new_model(), 3), (untied, 1)):
        theirs = get_peft_model(copy.deepcopy(model), config())
        lora.inject(model, **settings())
        assert (
            list(lora.layers(model)) == list(their_layers(theirs))
            and len(their_layers(theirs)) == 7 * layers
        )
        assert lora.count(model) == theirs.get_nb_trainable_parameters()


def test_a_new_adapter_is_drawn_from_pefts_distribution(base):
    torch.manual_seed(0)
    ours, theirs = copy.deepcopy(base), get_peft_model(copy.deepcopy(base), config(rank=16))
    lora.inject(ours, **settings(rank=16))
    there = their_layers(theirs)
    for path, layer in lora.layers(ours).items():
        A, B = layer.A["default"], layer.B["default"]
        other = there[path].lora_A["default"].weight
        assert not B.any() and not there[path].lora_B["default"].weight.any()
        bound = layer.base.in_features**-0.5
        for drawn in (A, other):
            assert 0.97 * bound < drawn.abs().max() <= bound
        assert A.std().item() == pytest.approx(other.std().item(), rel=0.1)


# Training -----------------------------------------------------------------------------------------


@PREFACTOR
def test_twenty_steps_of_training_are_pefts(batches, tmp_path, rank_stabilised):
    torch.manual_seed(3)
    ours = new_model()
    theirs = copy.deepcopy(ours)
    before = {name: p.clone() for name, p in ours.named_parameters()}
    lora.inject(ours, **settings(["q_proj", "v_proj", "up_proj", "down_proj"], rank_stabilised))
    adapter_files.save(ours, tmp_path)
    theirs = PeftModel.from_pretrained(theirs, tmp_path, is_trainable=True)
    assert lora.count(ours) == theirs.get_nb_trainable_parameters()

    our_losses = fine_tune(ours, batches, steps=STEPS, learning_rate=RATE)
    their_losses = fine_tune(theirs, batches, steps=STEPS, learning_rate=RATE)
    assert len(our_losses) == STEPS
    assert our_losses == pytest.approx(their_losses, abs=TOLERANCE)
    assert our_losses[-1] < our_losses[0] - 0.1, (
        "nothing was learned, so equality would prove little"
    )
    there = their_layers(theirs)
    for path, layer in lora.layers(ours).items():
        same(layer.A["default"], there[path].lora_A["default"].weight, path)
        same(layer.B["default"], there[path].lora_B["default"].weight, path)
        assert layer.B["default"].abs().max() > 1e-3
        assert torch.equal(layer.base.weight, before[f"{path}.weight"])
    ids, labels = batches[0]
    with torch.no_grad():
        same(ours(input_ids=ids).logits, theirs(input_ids=ids).logits)


# Files --------------------------------------------------------------------------------------------


@TARGETS
@PREFACTOR
def test_peft_loads_our_files(base, tmp_path, targets, rank_stabilised):
    ours, _ = pair(base, targets=targets, rank_stabilised=rank_stabilised)
    adapter_files.save(ours, tmp_path)
    theirs = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)
    same(answer(theirs), answer(ours))
    assert differ(answer(theirs), answer(base))
    told = theirs.peft_config["default"]
    assert (told.r, told.lora_alpha, told.use_rslora) == (RANK, ALPHA, rank_stabilised)


@TARGETS
@PREFACTOR
def test_we_load_pefts_files(base, tmp_path, targets, rank_stabilised):
    _, theirs = pair(base, targets=targets, rank_stabilised=rank_stabilised)
    theirs.save_pretrained(tmp_path)
    ours = copy.deepcopy(base)
    adapter_files.load(ours, tmp_path, "theirs")
    same(answer(ours), answer(theirs))
    assert differ(answer(ours), answer(base))
    found = {layer.configs["theirs"] for layer in lora.layers(ours).values()}
    assert {(it.rank, it.alpha, it.rank_stabilised) for it in found} == {
        (RANK, ALPHA, rank_stabilised)
    }
    adapter_files.save(ours, tmp_path / "again", "theirs")
    same(answer(PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "again")), answer(theirs))


def test_a_base_and_an_adapter_come_from_folders_as_in_real_life(base, tmp_path):
    base.save_pretrained(tmp_path / "base")
    ours, _ = pair(base)
    adapter_files.save(ours, tmp_path / "adapter")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    adapter_files.load(loaded, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32),
        tmp_path / "adapter",
    )
    same(answer(loaded), answer(ours))
    same(answer(loaded), answer(theirs))
    other = AutoModelForCausalLM.from_config(base.config)
    with pytest.raises(lora.AdapterError, match="other weights"):
        adapter_files.load(other, tmp_path / "adapter")


@pytest.mark.filterwarnings("ignore::UserWarning")  # PEFT itself has doubts about some of these
@pytest.mark.parametrize(
    "more, word",
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"layers_to_transform": [0]}, "layers_to_transform"),
        ({"exclude_modules": ["v_proj"]}, "exclude_modules"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
    ],
)
def test_what_goes_beyond_plain_lora_is_refused(base, tmp_path, more, word):
    theirs = get_peft_model(copy.deepcopy(base), config(["q_proj", "v_proj"], **more))
    theirs.save_pretrained(tmp_path)
    ours = copy.deepcopy(base)
    names = [path for path, _ in ours.named_modules()]
    with pytest.raises(lora.AdapterError) as caught:
        adapter_files.load(ours, tmp_path)
    assert re.search(rf"asks for {word}\b", str(caught.value)) and "PEFT" in str(caught.value)
    assert [path for path, _ in ours.named_modules()] == names and torch.equal(
        answer(ours), answer(base)
    )


def test_ways_of_drawing_that_leave_the_base_alone_are_accepted(base, tmp_path):
    for init in (True, False, "gaussian", "orthogonal", "mica"):
        theirs = get_peft_model(copy.deepcopy(base), config(["q_proj"], init_lora_weights=init))
        theirs.save_pretrained(tmp_path / str(init))
        assert (
            json.loads((tmp_path / str(init) / adapter_files.CONFIG).read_text("utf8"))[
                "init_lora_weights"
            ]
            == init
        )
        ours = copy.deepcopy(base)
        adapter_files.load(ours, tmp_path / str(init))
        same(answer(ours), answer(theirs))


# Several adapters ---------------------------------------------------------------------------------


def test_switching_between_adapters_is_pefts(base):
    ours, theirs = pair(base)
    others = {
        "narrow": settings(["q_proj"], rank=2, alpha=3),
        "stable": settings(["q_proj", "up_proj"], True, 8),
    }
    for seed, (name, chosen) in enumerate(others.items()):
        lora.inject(ours, name=name, **chosen)
        theirs.add_adapter(
            name,
            config(chosen["targets"], chosen["rank_stabilised"], chosen["rank"], chosen["alpha"]),
        )
        copy_numbers(ours, theirs, name, seed)
    answers = []
    for name in ("stable", "default", "narrow", "stable"):
        lora.activate(ours, name)
        theirs.set_adapter(name)
        answers.append(answer(ours))
        same(answers[-1], answer(theirs), name)
        assert lora.count(ours)[0] == theirs.get_nb_trainable_parameters()[0]
    assert all(differ(answers[i], answers[i + 1]) for i in range(3))

    lora.activate(ours, None)
    with theirs.disable_adapter():
        same(answer(ours), answer(theirs))
    same(answer(ours), answer(base))


def test_merging_one_of_several_and_taking_it_out_is_pefts(base):
    ours, theirs = pair(base)
    lora.inject(ours, name="other", **settings(["q_proj"]))
    theirs.add_adapter("other", config(["q_proj"]))
    copy_numbers(ours, theirs, "other", 9)
    lora.activate(ours, "default")
    lora.merge(ours)
    theirs.merge_adapter(["default"])
    same(answer(ours), answer(theirs))
    lora.unmerge(ours)
    theirs.unmerge_adapter()
    there = their_layers(theirs)
    for path, layer in lora.layers(ours).items():
        same(layer.base.weight, there[path].base_layer.weight, path)
    for name in ("other", "default"):
        lora.activate(ours, name)
        theirs.set_adapter(name)
        same(answer(ours), answer(theirs), name)


# Adapters of the output layer, several in a folder, combinations ----------------------------------


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_an_adapter_of_the_output_layer_goes_to_peft_and_back(base, tmp_path, tied):
    settings_of_base = copy.deepcopy(base.config)
    settings_of_base.tie_word_embeddings = tied
    torch.manual_seed(4)
    LlamaForCausalLM(settings_of_base).save_pretrained(tmp_path / "base")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    ours = copy.deepcopy(plain)
    lora.inject(ours, **settings(["lm_head", "q_proj"]))
    for layer in lora.layers(ours).values():
        torch.nn.init.normal_(layer.B["default"], std=0.2)
    adapter_files.save(ours, tmp_path / "ours")

    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "ours")
    same(answer(ours), answer(theirs))
    for number, with_embeddings in enumerate(("auto", True, False)):
        theirs.save_pretrained(tmp_path / str(number), save_embedding_layers=with_embeddings)
        back = copy.deepcopy(plain)
        adapter_files.load(back, tmp_path / str(number))
        same(answer(back), answer(ours))
    assert differ(answer(ours), answer(plain))


def test_of_several_adapters_in_pefts_folder_each_is_found(base, tmp_path):
    _, theirs = pair(base, targets=["q_proj"])
    theirs.add_adapter("second", config(["q_proj", "v_proj"], rank=2))
    for name, module in theirs.named_modules():
        if "lora_B.second" in name:
            torch.nn.init.normal_(module.weight, std=0.3)
    theirs.save_pretrained(tmp_path)
    for name in ("default", "second"):
        ours = copy.deepcopy(base)
        adapter_files.load(ours, tmp_path, name)
        theirs.set_adapter(name)
        same(answer(ours), answer(theirs))


def test_a_combination_is_pefts(base):
    ours, theirs = pair(base, targets=["q_proj", "v_proj"])
    lora.inject(ours, **settings(["q_proj", "v_proj"], rank=2, alpha=3), name="second")
    theirs.add_adapter("second", config(["q_proj", "v_proj"], rank=2, alpha=3))
    copy_numbers(ours, theirs, "second", seed=6)
    lora.combine(ours, {"default": 0.4, "second": 1.3}, "both")
    theirs.add_weighted_adapter(["default", "second"], [0.4, 1.3], "both", combination_type="cat")
    theirs.set_adapter("both")
    same(answer(ours), answer(theirs))
    assert differ(answer(ours), answer(base))


def test_an_adapter_with_nan_is_merged_by_neither(base):
    ours, theirs = pair(base, targets=["q_proj"])
    lora.layers(ours)[FULL_NAME.replace("k_proj", "q_proj")].A["default"].data[0, 0] = torch.nan
    their_layers(theirs)[FULL_NAME.replace("k_proj", "q_proj")].lora_A["default"].weight.data[
        0, 0
    ] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        lora.merge(ours)
    with pytest.raises(ValueError, match="NaNs detected"):
        theirs.merge_adapter(safe_merge=True)
