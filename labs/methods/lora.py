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

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from methods.arguments import check_shapes
from methods.targets import AdaptedLinear, AdapterError, as_tuple, find, linear_targets, refuse_rank
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
    check_shapes(weight=weight, BA=B @ A)
    return weight + B @ A * (alpha / len(A))


def unmerged_weight(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W₀ from the weight that an adapter was merged into, up to rounding; a new tensor."""
    check_shapes(weight=weight, BA=B @ A)
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
        # The weight's sample, once merging has left rounding behind.
        self.before_merging: list[float] | None = None
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


def sample_of_weight(layer: nn.Linear | LoRALinear) -> list[float]:
    """The first few numbers of a layer's weight; merging and unmerging do not change them.

    Enough to tell two bases apart, and to know one again in another precision.
    """
    if isinstance(layer, LoRALinear):
        return layer.before_merging or sample_of_weight(layer.base)
    return layer.weight[0, :8].float().tolist()


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
    refuse_rank(found, rank)
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


def remove(model: nn.Module, name: str) -> None:
    """Take one adapter off; a layer that is left with none is the base's own again.

    If it was the active one, none is then and nothing trains. Raises AdapterError for an unknown
    name or while an adapter is merged.
    """
    refuse_merged(model)
    known(model, name)
    for path, layer in layers(model).items():
        if name in layer.configs:
            for entries in (layer.A, layer.B, layer.configs, layer.update):
                del entries[name]
        if layer.active == name:
            layer.active = None
        if not layer.configs:
            model.set_submodule(path, layer.base)


@torch.no_grad()
def combine(model: nn.Module, weights: dict[str, float], name: str) -> None:
    """A new adapter that adds the weighted sum of what others add, exactly; it becomes active.

        Σ_i w_i (α_i/r_i) B_i A_i = [w_1 (α_1/r_1) B_1, w_2 (α_2/r_2) B_2, …] [A_1; A_2; …]

    weights: w_i by the adapter's name; its rank is the sum of theirs. Raises AdapterError for an
    unknown name, no adapter at all, a weight that is not finite, a name that is taken or cannot be
    one, and while an adapter is merged.
    """
    refuse_merged(model)
    refuse_name(model, name)
    if not weights or not all(map(math.isfinite, weights.values())):
        raise AdapterError(f"the weights are {weights}: name at least one adapter, and finite ones")
    for other in weights:
        known(model, other)
    places = {
        path: layer for path, layer in layers(model).items() if layer.configs.keys() & weights
    }
    configs = {other: _config(model, other) for other in weights}
    rank = sum(config.rank for config in configs.values())
    parts = {
        path: [_scaled(layer, other, weight, configs[other]) for other, weight in weights.items()]
        for path, layer in places.items()
    }
    matrices = {
        path: (torch.cat([A for A, _ in pairs]), torch.cat([B for _, B in pairs], dim=1))
        for path, pairs in parts.items()
    }
    attach(model, name, LoRAConfig(rank, rank, tuple(places)), matrices)


def _config(model: nn.Module, name: str) -> LoRAConfig:
    return next(layer.configs[name] for layer in layers(model).values() if name in layer.configs)


def _scaled(
    layer: LoRALinear, name: str, weight: float, config: LoRAConfig
) -> tuple[Tensor, Tensor]:
    """A and w (α/r) B; zeros where the layer lacks the adapter, so that all have one rank."""
    if name not in layer.configs:
        linear = layer.base.weight
        return linear.new_zeros(config.rank, linear.shape[1]), linear.new_zeros(
            linear.shape[0], config.rank
        )
    return layer.A[name], layer.B[name] * (weight * config.effective_alpha / config.rank)


# Merging ------------------------------------------------------------------------------------------


@torch.no_grad()
def merge(model: nn.Module, merged_weight: Callable = merged_weight) -> None:
    """Add the active adapter to the base's weights, so that it costs no time any more.

    Nothing in the model trains then. `state_dict` does not say what is merged: unmerge before you
    write a checkpoint. Raises AdapterError, before anything is changed, if no adapter is active, one
    is merged already, an adapted weight lies where another one does, or `merged_weight` returns
    anything but a weight of finite numbers.
    """
    refuse_merged(model)
    active = [layer for layer in layers(model).values() if layer.active in layer.configs]
    if not active:
        raise AdapterError("no adapter is active: activate one before merging")
    _refuse_shared(model)
    for layer in active:  # all of them first, so that nothing is half merged
        _refuse_result(layer, merged_weight(layer.base.weight, *layer.matrices(layer.active)))
    for layer in active:
        layer.before_merging = sample_of_weight(layer)
        layer.base.weight.copy_(merged_weight(layer.base.weight, *layer.matrices(layer.active)))
        layer.merged = layer.active
    freeze(model, None)


def _refuse_result(layer: LoRALinear, weight: Tensor) -> None:
    base = layer.base.weight
    if not isinstance(weight, Tensor) or weight.shape != base.shape:
        raise AdapterError(f"the function must return a weight {tuple(base.shape)}: correct it")
    if not weight.to(base.dtype).isfinite().all():
        raise AdapterError(
            f"the weight would hold numbers that are not finite or too large for {base.dtype}: "
            "train the adapter again at a lower learning rate, or load the base in float32"
        )


def _refuse_shared(model: nn.Module) -> None:
    """Raises AdapterError where a weight to be changed lies in memory where another one does."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    others = {name: (tensor.device, *_extent(tensor)) for name, tensor in tensors if tensor.numel()}
    for path, layer in layers(model).items():
        own = f"{path}.base.weight"
        place, start, end = others[own]
        for name, (other_place, other_start, other_end) in others.items():
            shared = place == other_place and start < other_end and other_start < end
            if shared and name != own and layer.active in layer.configs:
                raise AdapterError(
                    f"an adapted layer shares its weight with {name.removesuffix('.weight')}, which "
                    "merging would change too: go on without merging, or leave that layer out of "
                    "the targets"
                )


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The first address that a tensor may use and the one behind its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


@torch.no_grad()
def unmerge(model: nn.Module, unmerged_weight: Callable = unmerged_weight) -> None:
    """Take the merged adapter out of the base's weights, up to rounding; it trains again.

    Raises AdapterError if none is merged or `unmerged_weight` returns anything but a weight of
    finite numbers.
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
