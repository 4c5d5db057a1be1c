"""Low-rank adaptation (LoRA): freeze the base and learn a low-rank change of its linear layers.

    h = W₀ x + (α/r) B A x        W₀ (d_out, d_in) frozen · A (r, d_in) random · B (d_out, r) zero   Hu et al. 2021, 4.1

The first half of this file is that equation, on plain tensors. The second half puts it into a model: adapters by name,
several on one base, one active; merged into the base and out again; saved and loaded in the format of the library PEFT.

LoRA has no loss of its own: `methods.sft.fine_tune` trains whatever requires a gradient, an adapter as well as a model.

Left out on purpose: dropout, layers that are not `nn.Linear`, mixed precision, quantised bases, DoRA and its relatives.
"""
import difflib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

ALL_LINEAR = "all-linear"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # PEFT's name for the place of the base inside its wrapper


class AdapterError(ValueError):
    """Something that cannot be done with an adapter; the message says why and what to do. The model is unchanged."""


# The equation ---------------------------------------------------------------------------------------------------------

def initialise(d_out: int, d_in: int, rank: int) -> tuple[Tensor, Tensor]:
    """A (rank, d_in), uniform in ±1/√d_in as PEFT draws it, and B (d_out, rank), zero.

    So the first step begins at the base. If both were zero, no gradient would ever reach either of them. Hu et al. draw
    A from a Gaussian.
    """
    return torch.empty(rank, d_in).uniform_(-1 / math.sqrt(d_in), 1 / math.sqrt(d_in)), torch.zeros(d_out, rank)


def lora_update(x: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """(α/r) B A x for every row of x, in two thin products; the matrix BA is never formed.

    x: float (..., d_in) · A: (rank, d_in) · B: (d_out, rank) · returns float (..., d_out)
    """
    return (x @ A.T) @ B.T * (alpha / len(A))


def merged_weight(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W₀ + (α/r) B A, a new tensor (d_out, d_in): one matrix that does what base and adapter do together."""
    return weight + B @ A * (alpha / len(A))


def unmerged_weight(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W₀ again, up to rounding, from the weight that an adapter was merged into; a new tensor (d_out, d_in)."""
    return weight - B @ A * (alpha / len(A))


# An adapter in a model ------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Settings:
    """What an adapter is, apart from its numbers. targets: the last parts of the names of the layers it adapts.

    rank_stabilised: the prefactor is α/√r (rsLoRA, Kalajdzievski 2023) and not α/r
    """
    rank: int
    alpha: float
    targets: tuple[str, ...]
    rank_stabilised: bool = False

    @property
    def effective_alpha(self) -> float:
        """What α has to be for α/r to give the prefactor: α/√r = (α√r)/r."""
        return self.alpha * math.sqrt(self.rank) if self.rank_stabilised else self.alpha


class LoRALinear(nn.Module):
    """A frozen linear layer and any number of adapters by name, of which at most one is active."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base, self.A, self.B = base, nn.ParameterDict(), nn.ParameterDict()
        self.fingerprint = _fingerprint(base.weight)  # before any merging, which leaves rounding behind
        self.settings: dict[str, Settings] = {}
        self.update: dict[str, Callable] = {}
        self.active: str | None = None
        self.merged: str | None = None

    def add(self, name: str, settings: Settings, A: Tensor, B: Tensor, update: Callable = lora_update) -> None:
        self.settings[name], self.update[name] = settings, update
        self.A[name], self.B[name] = (nn.Parameter(matrix.to(self.base.weight)) for matrix in (A, B))

    def matrices(self, name: str) -> tuple[Tensor, Tensor, float]:
        return self.A[name], self.B[name], self.settings[name].effective_alpha

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        if self.merged or self.active not in self.settings:
            return h
        return h + self.update[self.active](x, *self.matrices(self.active))


def layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers of a model, by the name that each has in the bare base."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def adapters(model: nn.Module) -> list[str]:
    """The names of the adapters on a model, in the order in which they came."""
    return list(dict.fromkeys(name for layer in layers(model).values() for name in layer.settings))


def inject(model: nn.Module, *, rank: int, alpha: float, targets: str | Sequence[str] = ALL_LINEAR,
           name: str = "default", rank_stabilised: bool = False,
           initialise: Callable = initialise, update: Callable = lora_update) -> None:
    """Put a new adapter on every layer that `targets` names, make it active and freeze everything else.

    targets: the last parts of layer names, such as ["q_proj", "v_proj"], or "all-linear" for every linear layer but the
    output layer · initialise, update: `initialise` and `lora_update` above, or others that do the same
    Raises AdapterError for a target that matches nothing or is no linear layer, a rank that is not a whole number from
    1 to the smaller side of every layer, an alpha that is no finite number, and a name that is taken or cannot be one;
    also while an adapter is merged.
    """
    _refuse_merged(model)
    targets = linear_targets(model) if targets == ALL_LINEAR else _as_tuple(targets)
    settings = Settings(rank, alpha, targets, rank_stabilised)
    _refuse_name(model, name)
    found = _find(model, settings)
    matrices = {path: initialise(*linear.weight.shape, rank) for path, linear in found.items()}
    _attach(model, name, settings, matrices, update)


def _attach(model: nn.Module, name: str, settings: Settings, matrices: dict[str, tuple[Tensor, Tensor]],
            update: Callable = lora_update) -> None:
    for path, (A, B) in matrices.items():
        layer = model.get_submodule(path)
        if not isinstance(layer, LoRALinear):
            layer = LoRALinear(layer)
            model.set_submodule(path, layer)
        layer.add(name, settings, A, B, update)
    activate(model, name)


def activate(model: nn.Module, name: str | None) -> None:
    """Switch to the adapter `name`: it alone answers and learns. None switches all of them off and freezes the model.

    Raises AdapterError for an unknown name or while an adapter is merged.
    """
    _refuse_merged(model)
    if name is not None:
        _known(model, name)
    for layer in layers(model).values():
        layer.active = name
    freeze(model, name)


def freeze(model: nn.Module, name: str | None) -> None:
    """Let the adapter `name` require gradients, and nothing else in the model."""
    model.requires_grad_(False)
    for layer in layers(model).values():
        if name in layer.settings:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


def count(model: nn.Module) -> tuple[int, int]:
    """How many numbers the model trains, and how many it holds."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


# Merging --------------------------------------------------------------------------------------------------------------

@torch.no_grad()
def merge(model: nn.Module, merged_weight: Callable = merged_weight) -> None:
    """Add the active adapter to the base's weights, so that it costs no time any more.

    Raises AdapterError if no adapter is active, one is merged already, or an adapted weight is also another layer's.
    """
    _refuse_merged(model)
    active = [layer for layer in layers(model).values() if layer.active in layer.settings]
    if not active:
        raise AdapterError("no adapter is active: activate one before merging")
    for layer in active:
        _refuse_shared(model, layer)
    for layer in active:
        layer.base.weight.copy_(merged_weight(layer.base.weight, *layer.matrices(layer.active)))
        layer.merged = layer.active


def _refuse_shared(model: nn.Module, layer: LoRALinear) -> None:
    for path, module in model.named_modules():
        if module is not layer.base and any(p is layer.base.weight for p in module.parameters(recurse=False)):
            raise AdapterError(f"an adapted layer shares its weight with {path}, which merging would change too: go on "
                               "without merging, or leave that layer out of the targets")


@torch.no_grad()
def unmerge(model: nn.Module, unmerged_weight: Callable = unmerged_weight) -> None:
    """Take the merged adapter out of the base's weights; they come back up to rounding.

    Raises AdapterError if none is merged.
    """
    merged = [layer for layer in layers(model).values() if layer.merged]
    if not merged:
        raise AdapterError("no adapter is merged: there is nothing to take out")
    for layer in merged:
        layer.base.weight.copy_(unmerged_weight(layer.base.weight, *layer.matrices(layer.merged)))
        layer.merged = None


def strip(model: nn.Module) -> None:
    """Leave the bare model: every adapter goes, and what is merged stays in the weights.

    The parameters stay frozen as they were.
    """
    for path, layer in layers(model).items():
        model.set_submodule(path, layer.base)


# Files, in PEFT's format ----------------------------------------------------------------------------------------------

def save(model: nn.Module, folder: str | Path, name: str = "default") -> None:
    """Write one adapter to a folder as PEFT does; files of the same names are replaced when both new ones are complete.

    The file of weights also says which base it belongs to, where PEFT does not look.
    Raises AdapterError for an unknown name, while an adapter is merged, or where nothing can be written.
    """
    _refuse_merged(model)
    _known(model, name)
    mine = {path: layer for path, layer in layers(model).items() if name in layer.settings}
    settings = next(iter(mine.values())).settings[name]
    config = {"peft_type": "LORA", "r": settings.rank, "lora_alpha": settings.alpha,
              "use_rslora": settings.rank_stabilised, "target_modules": list(settings.targets), "bias": "none",
              "inference_mode": True}
    tensors = {f"{PREFIX}{path}.lora_{which}.weight": getattr(layer, which)[name].detach().contiguous()
               for path, layer in mine.items() for which in "AB"}
    metadata = {"format": "pt", "base": _base_fingerprint(model, mine)}
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace({folder / WEIGHTS: lambda part: save_file(tensors, part, metadata),
                  folder / CONFIG: lambda part: part.write_text(json.dumps(config, indent=2), "utf8")})
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"the adapter could not be written to {folder} ({error}): choose another folder") from None


def load(model: nn.Module, folder: str | Path, name: str = "default") -> None:
    """Put an adapter that this file or PEFT wrote on the model, and make it active; everything else is frozen.

    Raises AdapterError, before anything is changed, for a missing, truncated or unreadable file, an adapter for another
    base, an adapter that needs more than LoRA on linear layers, and a name that is taken or cannot be one; also while
    one is merged.
    """
    _refuse_merged(model)
    _refuse_name(model, name)
    folder = Path(folder)
    settings = _read_settings(folder / CONFIG)
    tensors, base = _read_tensors(folder / WEIGHTS)
    found = _find(model, settings)
    rank = settings.rank
    expected = {f"{PREFIX}{path}.lora_{which}.weight": shape for path, linear in found.items()
                for which, shape in (("A", (rank, linear.in_features)), ("B", (linear.out_features, rank)))}
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != expected:
        raise AdapterError(f"the adapter in {folder} was made for another base: its layers or their sizes are not "
                           "those of this model; load the base that it was trained on")
    if base is not None and base != _base_fingerprint(model, found):
        raise AdapterError(f"the adapter in {folder} was trained on a base of the same shape with other weights; load "
                           "the base that it was trained on")
    matrices = {path: tuple(tensors[f"{PREFIX}{path}.lora_{which}.weight"] for which in "AB") for path in found}
    _attach(model, name, settings, matrices)


def _read_settings(path: Path) -> Settings:
    try:
        config = json.loads(path.read_text("utf8"))
        if config["peft_type"] != "LORA":
            raise AdapterError(f"{path} is of the type {config['peft_type']}: only LORA can be loaded here")
        settings = Settings(config["r"], config["lora_alpha"], _as_tuple(config["target_modules"]),
                            config.get("use_rslora", False))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"{path} is missing or no adapter's settings: copy the whole folder of the adapter "
                           "again") from None
    beyond = sorted(key for key in BEYOND if config.get(key) not in (None, False, "none", {}, []))
    if config.get("init_lora_weights") not in STARTS:
        beyond.append("init_lora_weights")
    if beyond:
        raise AdapterError(f"{path} asks for {', '.join(beyond)}, which is beyond plain LoRA: load it with the library "
                           "PEFT")
    return settings


# Settings of PEFT that would change which numbers there are, or what is computed with them.
BEYOND = ("alora_invocation_tokens", "alpha_pattern", "arrow_config", "bias", "exclude_modules", "fan_in_fan_out",
          "kasa_config", "layer_replication", "layers_to_transform", "lora_bias", "modules_to_save",
          "monteclora_config", "rank_pattern", "target_parameters", "trainable_token_indices", "use_bdlora", "use_dora",
          "use_qalora")
# PEFT's ways to draw A and B that leave the base as it is; the others change its weights too.
STARTS = (None, True, False, "eva", "gaussian", "mica", "orthogonal")


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, (file.metadata() or {}).get("base")
    except (OSError, SafetensorError):
        raise AdapterError(f"{path} is missing, truncated or no file of weights: copy the whole folder of the adapter "
                           "again") from None


def _replace(writers: dict[Path, Callable[[Path], None]]) -> None:
    parts = {path: path.with_name(f".{path.name}.part") for path in writers}
    try:
        for path, write in writers.items():
            write(parts[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _base_fingerprint(model: nn.Module, paths: Iterable[str]) -> str:
    """A digest of the layers at `paths`: enough to tell bases apart, and quick on a large one."""
    modules = [model.get_submodule(path) for path in paths]
    return hashlib.sha256("".join(module.fingerprint if isinstance(module, LoRALinear) else _fingerprint(module.weight)
                                  for module in modules).encode()).hexdigest()


def _fingerprint(weight: Tensor) -> str:
    """A digest of the weight's first row."""
    return hashlib.sha256(weight[0].detach().float().cpu().numpy().tobytes()).hexdigest()


# Finding layers, and refusing what cannot be done ---------------------------------------------------------------------

def linear_targets(model: nn.Module) -> tuple[str, ...]:
    """The last parts of the names of all linear layers but the output layer: what "all-linear" means, as in PEFT."""
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    output = output.base if isinstance(output, LoRALinear) else output
    return tuple(sorted({path.rpartition(".")[2] for path, linear in _bare_linears(model) if linear is not output}))


def _bare_linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Every linear layer by its name in the bare base, whether it is adapted already or not."""
    for path, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield path, module.base
        elif isinstance(module, nn.Linear) and not isinstance(model.get_submodule(path.rpartition(".")[0]), LoRALinear):
            yield path, module


def _find(model: nn.Module, settings: Settings) -> dict[str, nn.Linear]:
    """The linear layers that an adapter of these settings belongs on; raises AdapterError if it cannot be so."""
    rank, linears = settings.rank, dict(_bare_linears(model))
    if not settings.targets:
        raise AdapterError("no target was named: name layers, as in targets=[\"q_proj\", \"v_proj\"]")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise AdapterError(f"the rank is {rank!r}: it must be a whole number from 1 up")
    if not isinstance(settings.alpha, Real) or not math.isfinite(settings.alpha):
        raise AdapterError(f"alpha is {settings.alpha!r}: it must be a finite number, such as twice the rank")
    found = {}
    for target in settings.targets:
        matches = {path: linear for path, linear in linears.items() if path == target or path.endswith(f".{target}")}
        if not matches:
            raise AdapterError(_no_match(model, target, linears))
        found |= matches
    for path, linear in found.items():
        if rank > min(linear.weight.shape):
            raise AdapterError(f"the rank is {rank} and {path} is a matrix of {tuple(linear.weight.shape)}: choose a "
                               f"rank of at most {min(linear.weight.shape)}")
    return {path: found[path] for path in linears if path in found}


def _no_match(model: nn.Module, target: str, linears: dict[str, nn.Linear]) -> str:
    other = next((module for path, module in model.named_modules()
                  if path and (path == target or path.endswith(f".{target}"))), None)
    if other is not None:
        return f"the target {target!r} is a {type(other).__name__}: only nn.Linear layers can be adapted here"
    names = sorted({path.rpartition(".")[2] for path in linears})
    close = difflib.get_close_matches(target, names, n=3, cutoff=0.4) or names
    return f"no layer is named {target!r}: the closest names are {', '.join(close)}"


def _as_tuple(targets: str | Sequence[str]) -> tuple[str, ...]:
    return (targets,) if isinstance(targets, str) else tuple(targets)


def _known(model: nn.Module, name: str) -> None:
    if name not in adapters(model):
        raise AdapterError(f"there is no adapter {name!r} (there is {', '.join(adapters(model)) or 'none'}): inject or "
                           "load it")


def _refuse_name(model: nn.Module, name: str) -> None:
    if not name or "." in name or hasattr(nn.ParameterDict(), name):
        raise AdapterError(f"an adapter cannot be called {name!r}: choose another name, without a dot")
    if name in adapters(model):
        raise AdapterError(f"there is an adapter {name!r} already: choose another name")


def _refuse_merged(model: nn.Module) -> None:
    merged = next((layer.merged for layer in layers(model).values() if layer.merged), None)
    if merged:
        raise AdapterError(f"the adapter {merged!r} is merged into the weights: unmerge it first")
