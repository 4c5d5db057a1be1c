"""One batch with many adapters against PEFT's, which takes a name for each row: `adapter_names`."""

import copy

import pytest
import torch
from methods import lora, pipelines
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

RANK, ALPHA = 4, 10
TOLERANCE = 1e-5
NAMES = "first", "second", "third"
BASE = "__base__"  # what PEFT calls a row without an adapter
ROWS = ["third", BASE, "first", "third", "second", BASE, "first"]
IDS = torch.randint(3, 90, (len(ROWS), 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def base():
    """A small Llama with weights as large as trained ones and matrices that are not all square."""
    torch.manual_seed(3)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=90,
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.1,
        )
    )
    return model.eval()


@pytest.fixture(scope="module")
def theirs(base):
    """PEFT's model with three adapters, none of whose matrices is zero."""
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    model = get_peft_model(copy.deepcopy(base), config, adapter_name=NAMES[0])
    for name in NAMES[1:]:
        model.add_adapter(name, config)
    generator = torch.Generator().manual_seed(5)
    for layer in adapted(model):
        for matrix in (*layer.lora_A.values(), *layer.lora_B.values()):
            matrix.weight.data = 0.2 * torch.randn(matrix.weight.shape, generator=generator)
    return model.eval()


def adapted(model):
    return [module for module in model.modules() if hasattr(module, "lora_A")]


def numbers(names):
    return torch.tensor([NAMES.index(name) if name in NAMES else -1 for name in names])


def stacked(layer):
    """A (adapters, rank, d_in) and B (adapters, d_out, rank) of one of PEFT's layers."""
    A, B = (
        torch.stack([getattr(layer, which)[name].weight.detach() for name in NAMES])
        for which in ("lora_A", "lora_B")
    )
    return A, B


def same(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "rows", [ROWS, [BASE] * len(ROWS), ["second"] * len(ROWS)], ids=["mixed", "base", "one"]
)
def test_every_layer_of_a_mixed_batch_is_pefts(theirs, rows):
    seen = []

    def keep(layer, inputs, kept, output):
        seen.append((layer, inputs[0], output))

    hooks = [layer.register_forward_hook(keep, with_kwargs=True) for layer in adapted(theirs)]
    with torch.no_grad():
        theirs(input_ids=IDS, adapter_names=rows)
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(hooks) == 14
    for layer, x, output in seen:
        weight = layer.base_layer.weight.detach()
        mine = pipelines.mixed_batch(x, weight, *stacked(layer), ALPHA, numbers(rows))
        same(mine, output)


def test_a_mixed_batch_is_one_adapter_after_another(base, theirs):
    """Our adapters, one after another and each with all rows, give what PEFT gives at once."""
    ours = copy.deepcopy(base)
    for place, name in enumerate(NAMES):
        lora.inject(ours, rank=RANK, alpha=ALPHA, targets="all-linear", name=name)
        for mine, layer in zip(lora.layers(ours).values(), adapted(theirs), strict=True):
            A, B = stacked(layer)
            mine.A[name].data, mine.B[name].data = A[place], B[place]
    answers = {}
    with torch.no_grad():
        for name in (*NAMES, None):
            lora.activate(ours, name)
            answers[name or BASE] = ours(input_ids=IDS).logits
        mixed = theirs(input_ids=IDS, adapter_names=ROWS).logits
    same(torch.stack([answers[name][row] for row, name in enumerate(ROWS)]), mixed)
    assert (answers["first"] - answers[BASE]).abs().max() > 0.1
