"""Low-rank adaptation (LoRA): freeze the base and learn a low-rank change of its linear layers.

    h = W₀ x + (α/r) B A x        W₀ (d_out, d_in) frozen · A (r, d_in) random · B (d_out, r) zero
                                  Hu et al. 2021, section 4.1

The first half of this file is that equation, on plain tensors. The second half puts it into a
model: adapters by name, several on one base, one active; merged into the base and out again.
`methods.targets` finds the layers, `methods.adapter_files` saves and loads.

LoRA has no loss of its own: `methods.sft.fine_tune` trains whatever requires a gradient, an adapter
as well as a model. To write a whole tuned model, `merge`, `strip`, then its own `save_pretrained`:
with adapters on, it would write their layers under names that no bare model knows.

Left out on purpose: dropout, layers that are not `nn.Linear`, mixed precision, quantised bases,
DoRA and its relatives.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from methods.targets import AdaptedLinear, AdapterError, as_tuple, find, linear_targets
from torch import Tensor, nn

ALL_LINEAR = "all-linear"


# The equation -------------------------------------------------------------------------------------


def initialise(d_out: int, d_in: int, rank: int) -> tuple[Tensor, Tensor]:
    """A (rank, d_in), uniform in ±1/√d_in as PEFT draws it, and B (d_out, rank), zero.

    So the first step begins at the base. If both were zero, no gradient would ever reach either of
    them. Hu et al. draw A from a Gaussian.
    """
    A = torch.empty(rank, d_in).uniform_(-1 / math.sqrt(d_in), 1 / math.sqrt(d_in))
    return A, torch.zeros(d_out, rank)


def lora_update(x: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """(α/r) B A x for every row of x, in two thin products; the matrix BA is never formed.

    x: float (..., d_in) · A: (rank, d_in) · B: (d_out, rank) · returns float (..., d_out)
    """
    return (x @ A.T) @ B.T * (alpha / len(A))


def merged_weight(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W₀ + (α/r) B A, a new tensor (d_out, d_in): base and adapter in one matrix."""
    return weight + B @ A * (alpha / len(A))


def unmerged_weight(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W₀ from the weight that an adapter was merged into, up to rounding; a new tensor."""
    return weight - B @ A * (alpha / len(A))


# An adapter in a model ----------------------------------------------------------------------------


@dataclass(frozen=True)
class LoRAConfig:
    """What an adapter is, apart from its numbers.

    targets: the last parts of the names of the layers it adapts · rank_stabilised: the prefactor is
    α/√r (rsLoRA, Kalajdzievski 2023) and not α/r
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    rank_stabilised: bool = False

    @property
    def effective_alpha(self) -> float:
        """What α has to be for α/r to give the prefactor: α/√r = (α√r)/r."""
        return self.alpha * math.sqrt(self.rank) if self.rank_stabilised else self.alpha


class LoRALinear(AdaptedLinear):
    """A frozen linear layer and any number of adapters by name, of which at most one is active."""

    def __init__(self, base: nn.Linear):
        super().__init__(base)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        # The weight's fingerprint, once merging has left rounding behind.
        self.before_merging: str | None = None
        self.configs: dict[str, LoRAConfig] = {}
        self.update: dict[str, Callable] = {}
        self.active: str | None = None
        self.merged: str | None = None

    def add(
        self, name: str, config: LoRAConfig, A: Tensor, B: Tensor, update: Callable = lora_update
    ) -> None:
        self.configs[name], self.update[name] = config, update
        self.A[name] = nn.Parameter(A.to(self.base.weight))
        self.B[name] = nn.Parameter(B.to(self.base.weight))

    def matrices(self, name: str) -> tuple[Tensor, Tensor, float]:
        return self.A[name], self.B[name], self.configs[name].effective_alpha

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        if self.merged or self.active not in self.configs:
            return h
        return h + self.update[self.active](x, *self.matrices(self.active))


def fingerprint(layer: nn.Linear | LoRALinear) -> str:
    """A digest of the first row of a layer's weight; merging and unmerging do not change it.

    The row is taken as bfloat16 holds it, so that a base and its copy in half precision are alike.
    """
    if isinstance(layer, LoRALinear):
        return layer.before_merging or fingerprint(layer.base)
    row = layer.weight[0].detach().to(torch.bfloat16).float().cpu()
    return hashlib.sha256(row.numpy().tobytes()).hexdigest()


def layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers of a model, by the name that each has in the bare base."""
    return {
        name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)
    }


def adapters(model: nn.Module) -> list[str]:
    """The names of the adapters on a model, in the order in which they came."""
    return list(dict.fromkeys(name for layer in layers(model).values() for name in layer.configs))


def inject(
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    targets: str | Sequence[str] = ALL_LINEAR,
    name: str = "default",
    rank_stabilised: bool = False,
    initialise: Callable = initialise,
    update: Callable = lora_update,
) -> None:
    """Put a new adapter on every layer that `targets` names and make it active; the rest is frozen.

    targets: the last parts of layer names, such as ["q_proj", "v_proj"], or "all-linear" for every
    linear layer but the output layer · initialise, update: `initialise` and `lora_update` above, or
    others that do the same

    Raises AdapterError for a target that matches nothing or is no linear layer, a rank that is not
    a whole number from 1 to the smaller side of every layer, an alpha that is no finite number or
    0, a name that is taken or cannot be one, and matrices of other shapes; also while an adapter is
    merged, and for a model that PEFT has wrapped.
    """
    refuse_merged(model)
    targets = linear_targets(model) if targets == ALL_LINEAR else as_tuple(targets)
    config = LoRAConfig(rank, alpha, targets, rank_stabilised)
    refuse_name(model, name)
    found = find(model, rank, alpha, targets)
    matrices = {path: initialise(*linear.weight.shape, rank) for path, linear in found.items()}
    for path, linear in found.items():
        _refuse_shapes(matrices[path], linear, rank)
    attach(model, name, config, matrices, update)


def _refuse_shapes(matrices: tuple[Tensor, Tensor], linear: nn.Linear, rank: int) -> None:
    expected = [(rank, linear.in_features), (linear.out_features, rank)]
    if (
        not isinstance(matrices, tuple | list)
        or [tuple(getattr(matrix, "shape", ())) for matrix in matrices] != expected
    ):
        raise AdapterError(
            f"initialise must return A {expected[0]} and B {expected[1]} for a weight "
            f"{tuple(linear.weight.shape)}: correct it"
        )


def attach(
    model: nn.Module,
    name: str,
    config: LoRAConfig,
    matrices: dict[str, tuple[Tensor, Tensor]],
    update: Callable = lora_update,
) -> None:
    """Put A and B on the layer at each path, as the adapter `name`, and make it active.

    Nothing is checked.
    """
    for path, (A, B) in matrices.items():
        layer = model.get_submodule(path)
        if not isinstance(layer, LoRALinear):
            layer = LoRALinear(layer)
            model.set_submodule(path, layer)
        layer.add(name, config, A, B, update)
    activate(model, name)


def activate(model: nn.Module, name: str | None) -> None:
    """Switch to the adapter `name`: it alone answers and learns.

    None switches all of them off and freezes the model. Raises AdapterError for an unknown name or
    while an adapter is merged.
    """
    refuse_merged(model)
    if name is not None:
        known(model, name)
    for layer in layers(model).values():
        layer.active = name
    freeze(model, name)


def freeze(model: nn.Module, name: str | None) -> None:
    """Let the adapter `name` require gradients, and nothing else in the model."""
    model.requires_grad_(False)
    for layer in layers(model).values():
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


def count(model: nn.Module) -> tuple[int, int]:
    """How many numbers the model trains, and how many it holds."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


# Merging ------------------------------------------------------------------------------------------


@torch.no_grad()
def merge(model: nn.Module, merged_weight: Callable = merged_weight) -> None:
    """Add the active adapter to the base's weights, so that it costs no time any more.

    Nothing in the model trains then. `state_dict` does not say what is merged: unmerge before you
    write a checkpoint. Raises AdapterError if no adapter is active, one is merged already, an
    adapted weight is also another layer's, or `merged_weight` returns anything but a weight.
    """
    refuse_merged(model)
    active = [layer for layer in layers(model).values() if layer.active in layer.configs]
    if not active:
        raise AdapterError("no adapter is active: activate one before merging")
    for layer in active:
        _refuse_shared(model, layer)
    for layer in active:  # all of them first, so that nothing is half merged
        _refuse_result(layer, merged_weight(layer.base.weight, *layer.matrices(layer.active)))
    for layer in active:
        layer.before_merging = fingerprint(layer)
        layer.base.weight.copy_(merged_weight(layer.base.weight, *layer.matrices(layer.active)))
        layer.merged = layer.active
    freeze(model, None)


def _refuse_result(layer: LoRALinear, weight: Tensor) -> None:
    if not isinstance(weight, Tensor) or weight.shape != layer.base.weight.shape:
        raise AdapterError(
            f"the function must return a weight {tuple(layer.base.weight.shape)}: correct it"
        )


def _refuse_shared(model: nn.Module, layer: LoRALinear) -> None:
    for path, module in model.named_modules():
        if module is not layer.base and any(
            p is layer.base.weight for p in module.parameters(recurse=False)
        ):
            raise AdapterError(
                f"an adapted layer shares its weight with {path}, which merging would change too: "
                "go on without merging, or leave that layer out of the targets"
            )


@torch.no_grad()
def unmerge(model: nn.Module, unmerged_weight: Callable = unmerged_weight) -> None:
    """Take the merged adapter out of the base's weights, up to rounding; it trains again.

    Raises AdapterError if none is merged or `unmerged_weight` returns anything but a weight.
    """
    merged = [layer for layer in layers(model).values() if layer.merged]
    if not merged:
        raise AdapterError("no adapter is merged: there is nothing to take out")
    for layer in merged:
        _refuse_result(layer, unmerged_weight(layer.base.weight, *layer.matrices(layer.merged)))
    for layer in merged:
        layer.base.weight.copy_(unmerged_weight(layer.base.weight, *layer.matrices(layer.merged)))
        layer.merged = None
    freeze(model, merged[0].active)


def strip(model: nn.Module) -> None:
    """Leave the bare model: every adapter goes, and what is merged stays in the weights.

    The parameters stay frozen as they were.
    """
    for path, layer in layers(model).items():
        model.set_submodule(path, layer.base)


# Refusing what cannot be done ---------------------------------------------------------------------


def known(model: nn.Module, name: str) -> None:
    """Raises AdapterError unless there is an adapter of that name."""
    if name not in adapters(model):
        raise AdapterError(
            f"there is no adapter {name!r} (there is {', '.join(adapters(model)) or 'none'}): "
            "inject or load it"
        )


def refuse_name(model: nn.Module, name: str) -> None:
    """Raises AdapterError for a name that is taken or cannot be one."""
    if not isinstance(name, str) or not name or "." in name or hasattr(nn.ParameterDict(), name):
        raise AdapterError(
            f"an adapter cannot be called {name!r}: choose another name, without a dot"
        )
    if name in adapters(model):
        raise AdapterError(f"there is an adapter {name!r} already: choose another name")


def refuse_merged(model: nn.Module) -> None:
    """Raises AdapterError while an adapter is merged."""
    merged = next((layer.merged for layer in layers(model).values() if layer.merged), None)
    if merged:
        raise AdapterError(f"the adapter {merged!r} is merged into the weights: unmerge it first")
