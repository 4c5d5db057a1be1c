"""A policy with adapters, for checks of functions that switch them: see checks/models.py for recipes.

It stands apart so that the strength of the other exercises' checks need not be measured afresh when
it changes.
"""

from typing import TYPE_CHECKING

import torch
from checks.models import MINE, OTHER, recipe, small_model
from methods import lora
from methods.targets import bare_linears
from torch import nn

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


class Telling(lora.LoRALinear):
    """An adapted layer that keeps the number of its active adapter, 0 for none, in a parameter: of
    what a function does to a model in another process, only the parameters tell."""

    def __init__(self, base: nn.Linear):
        self.__dict__["told"] = None
        super().__init__(base)
        self.active_number = nn.Parameter(torch.zeros(()), requires_grad=False)

    @property
    def active(self) -> str | None:
        return self.__dict__["told"]

    @active.setter
    def active(self, name: str | None) -> None:
        self.__dict__["told"] = name
        if "active_number" in self._parameters:
            number = list(self.configs).index(name) + 1 if name in self.configs else 0
            self.active_number.data.fill_(number)


@recipe
def adapted_policy() -> "LlamaForCausalLM":
    """A language model with three adapters that have all learned something; the second one, MINE, is
    active and sits on every layer, the others sit on some."""
    model = small_model()
    for path, linear in list(bare_linears(model)):
        if path != "lm_head":
            model.set_submodule(path, Telling(linear))
    lora.inject(model, rank=2, alpha=4, targets=["q_proj", "v_proj", "up_proj"], name=OTHER)
    lora.inject(model, rank=2, alpha=4, name=MINE)
    lora.inject(model, rank=2, alpha=4, targets=["q_proj", "up_proj"], name="default")
    lora.activate(model, MINE)
    for layer in lora.layers(model).values():
        for B in layer.B.values():
            nn.init.normal_(B, std=0.4)
    return model
