"""The reference: the policy as it stands before training, which only gives log-probabilities.

    π_ref = π_θ at step 0

A policy that is tuned in full needs a frozen copy of itself. One that carries a fresh LoRA adapter
holds its reference already: the base, with the adapter switched off for a moment. Then there is no
second model in memory.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from methods import lora
from torch import Tensor, nn


def reference_of(policy: nn.Module) -> nn.Module:
    """The policy as it stands now, for good: what is trained later does not change it.

    With an active adapter that has learned nothing yet (B = 0), and alone is to learn, the base with
    the adapter off; otherwise a frozen copy. An adapter that was tuned before, by SFT for instance,
    is part of the reference: switched off, it would give back another model than the one the
    training starts from.
    """
    adapted = [layer for layer in lora.layers(policy).values() if layer.active in layer.configs]
    fresh = all(not layer.merged and not layer.B[layer.active].any() for layer in adapted)
    learns = {id(matrix) for layer in adapted for matrix in layer.matrices(layer.active)[:2]}
    alone = all(id(part) in learns for part in policy.parameters() if part.requires_grad)
    if adapted and fresh and alone:
        return AdapterOff(policy)
    return copy.deepcopy(policy).requires_grad_(False)


class AdapterOff(nn.Module):
    """A policy with its adapter off: the same parameters, and no memory of its own.

    To be asked without gradients, between two updates.
    """

    def __init__(self, policy: nn.Module):
        super().__init__()
        self.policy = policy

    @property
    def device(self) -> torch.device:
        return self.policy.device

    @property
    def config(self):
        return self.policy.config

    def get_input_embeddings(self) -> nn.Module:
        return self.policy.get_input_embeddings()

    def get_base_model(self) -> nn.Module:
        """The model that takes the arguments, as the wrappers of the library PEFT name it."""
        return self.policy

    def forward(self, **arguments):
        with torch.no_grad(), adapter_off(self.policy):
            return self.policy(**arguments)


@torch.no_grad()
def reference_logits(policy: nn.Module, ids: Tensor) -> Tensor:
    """What the base says, asked through a policy whose adapter is switched off for it.

    ids: int (batch, time) · returns float (batch, time, vocab), without gradient
    """
    with adapter_off(policy):
        return policy(input_ids=ids, use_cache=False).logits


@contextmanager
def adapter_off(policy: nn.Module) -> Iterator[None]:
    """The adapters off; afterwards each layer has its own back, and trains what it trained before."""
    active = {layer: layer.active for layer in lora.layers(policy).values()}
    for layer in active:
        layer.active = None
    try:
        yield
    finally:
        for layer, name in active.items():
            layer.active = name
