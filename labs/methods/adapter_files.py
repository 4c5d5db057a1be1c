"""An adapter on disk, in the format of the library PEFT: either loads what the other saved.

    adapter_config.json           rank, alpha, the kind of prefactor and the targets
    adapter_model.safetensors     A and B of each adapted layer, by its name; samples of the base

Left out on purpose: whatever goes beyond plain LoRA on linear layers (refused by name), the base
itself, a model card, older files of pickled tensors.
"""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from methods.lora import (
    ALL_LINEAR,
    LoRAConfig,
    attach,
    known,
    layers,
    refuse_merged,
    refuse_name,
    sample_of_weight,
)
from methods.targets import AdaptedLinear, AdapterError, find, linear_targets, matching, named
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

CONFIG, WEIGHTS, OLDER = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."  # PEFT's name for the place of the base inside its wrapper
# Rounding to bfloat16 and once more to float16 moves a number by less than this share of it.
SAME = 2**-7
SMALLEST = 1e-7  # what float16 can still tell from 0


def save(model: nn.Module, folder: str | Path, name: str = "default") -> None:
    """Write one adapter to a folder, as PEFT does.

    Files of the same names are replaced when both new ones are complete. The file of weights also
    says which base it belongs to, where PEFT does not look. Raises AdapterError for an unknown
    name, while an adapter is merged, or where nothing can be written.
    """
    refuse_merged(model)
    known(model, name)
    mine = {path: layer for path, layer in layers(model).items() if name in layer.configs}
    config = next(iter(mine.values())).configs[name]
    record = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": getattr(model, "name_or_path", None) or None,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rank_stabilised,
        "target_modules": list(config.targets),
        "bias": "none",
        "inference_mode": True,
    }
    tensors = {
        f"{PREFIX}{path}.lora_{which}.weight": getattr(layer, which)[name].detach().contiguous()
        for path, layer in mine.items()
        for which in "AB"
    }
    samples = {path: sample_of_weight(layer) for path, layer in mine.items()}
    metadata = {"format": "pt", "base": json.dumps(samples)}
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(
            {
                folder / WEIGHTS: lambda part: save_file(tensors, part, metadata),
                folder / CONFIG: lambda part: part.write_text(json.dumps(record, indent=2), "utf8"),
            }
        )
    except (OSError, SafetensorError) as error:
        raise AdapterError(
            f"the adapter could not be written to {folder} ({error}): choose another folder"
        ) from None


def load(model: nn.Module, folder: str | Path, name: str = "default") -> None:
    """Put an adapter that `save` or PEFT wrote on the model and make it active; the rest is frozen.

    Another base is known by the names and sizes of its layers and, where `save` wrote the file, by
    the first numbers of each adapted weight. A folder that holds the adapter in a subfolder of its
    name, as PEFT writes any but "default", will do. Raises AdapterError, before anything is
    changed, for a missing, truncated or unreadable file, numbers that are not finite, an adapter
    for another base, an adapter that needs more than LoRA on linear layers, and a name that is
    taken or cannot be one; also while one is merged.
    """
    refuse_merged(model)
    refuse_name(model, name)
    folder = _folder_of(Path(folder), name)
    config = _read_config(folder / CONFIG, model)
    tensors, samples = _read_tensors(folder)
    found = find(model, config.rank, config.alpha, config.targets)
    _refuse_other_weights(model, tensors, folder)
    _refuse_other_layers(found, config.rank, tensors, folder)
    for path, linear in found.items():
        for number, own in zip(samples.get(path, []), sample_of_weight(model.get_submodule(path))):
            if not math.isclose(number, own, rel_tol=SAME, abs_tol=SMALLEST):
                raise AdapterError(
                    f"the adapter in {folder} was trained on a base of the same shape with other "
                    "weights; load the base that it was trained on"
                )
        for which in "AB":
            key = _key(path, which)
            if not tensors[key].to(linear.weight.dtype).isfinite().all():
                raise AdapterError(
                    f"the adapter in {folder} holds numbers that are not finite, or too large for "
                    f"{linear.weight.dtype}: copy the whole folder of the adapter again, load the "
                    "base in float32, or train the adapter again"
                )
    matrices = {path: tuple(tensors[_key(path, which)] for which in "AB") for path in found}
    attach(model, name, config, matrices)


def _key(path: str, which: str) -> str:
    return f"{PREFIX}{path}.lora_{which}.weight"


def _folder_of(folder: Path, name: str) -> Path:
    """The folder in it that bears the adapter's name and holds one, or else the folder itself."""
    inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if name in inside:
        return folder / name
    if inside and not (folder / CONFIG).exists():
        raise AdapterError(
            f"{folder} holds no adapter itself, but its folders {', '.join(inside)} do: name one "
            "of them"
        )
    return folder


# Reading ------------------------------------------------------------------------------------------


def _read_config(path: Path, model: nn.Module) -> LoRAConfig:
    try:
        record = json.loads(path.read_text("utf-8-sig"))
        if record["peft_type"] != "LORA":
            raise AdapterError(
                f"{path} is of the type {record['peft_type']}: only LORA can be loaded here"
            )
        rank, alpha, targets = record["r"], record["lora_alpha"], record["target_modules"]
    except AdapterError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        raise AdapterError(
            f"{path} is missing or no adapter's settings: copy the whole folder of the adapter "
            "again"
        ) from None
    beyond = sorted(key for key in record.keys() - HARMLESS if not _empty(record[key]))
    if record.get("init_lora_weights") not in STARTS:
        beyond.append("init_lora_weights")
    if beyond:
        raise AdapterError(
            f"{path} asks for {', '.join(beyond)}, which is beyond plain LoRA: load it with the "
            "library PEFT"
        )
    rank_stabilised = record.get("use_rslora") or False
    if not isinstance(rank_stabilised, bool):
        raise AdapterError(
            f"{path} says use_rslora: {rank_stabilised!r}, which is neither true nor false: write "
            "one of them, without quotation marks"
        )
    return LoRAConfig(rank, alpha, _targets(model, targets), rank_stabilised)


def _targets(model: nn.Module, targets: object) -> tuple[str, ...]:
    """What PEFT's target_modules mean: a regular expression, "all-linear", or names, of which some
    may match nothing."""
    if targets == ALL_LINEAR:
        return linear_targets(model)
    if isinstance(targets, str):
        return matching(model, targets)
    if not isinstance(targets, list):
        return ()
    return tuple(target for target in targets if named(model, target)) or tuple(targets)


def _empty(value: object) -> bool:
    """Whether a setting asks for nothing; 0 asks for layer 0."""
    return value is None or value is False or value in ("none", {}, [])


# Settings of PEFT that change neither which numbers there are nor what is computed with them. Any
# other, known today or not, is refused unless it is empty.
HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
}
# PEFT's ways to draw A and B that leave the base as it is; the others change its weights too.
STARTS = (None, True, False, "eva", "gaussian", "mica", "orthogonal")


def _read_tensors(folder: Path) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """The tensors by name, and the samples of the base's weights, empty if there are none."""
    path = folder / WEIGHTS
    if not path.exists() and (folder / OLDER).exists():
        raise AdapterError(
            f"{folder} holds {OLDER}, pickled tensors, which may run any code when they are read: "
            "load it with the library PEFT, if you trust its author, and save it again"
        )
    try:
        with safe_open(path, "pt") as file:
            # torch.compile puts _orig_mod into names.
            tensors = {key.replace("_orig_mod.", ""): file.get_tensor(key) for key in file.keys()}
            samples = _samples((file.metadata() or {}).get("base", "{}"))
    except (OSError, SafetensorError):
        raise AdapterError(
            f"{path} is missing, truncated or no file of weights: copy the whole folder of the "
            "adapter again"
        ) from None
    # In float32, because little can be done with float8.
    tensors = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
    }
    return tensors, samples


def _samples(text: str) -> dict[str, list[float]]:
    """What `save` wrote of the base's weights; nothing, if another tool wrote something else there."""
    try:
        samples = json.loads(text)
        return {path: [float(number) for number in numbers] for path, numbers in samples.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


# Refusing -----------------------------------------------------------------------------------------


def _refuse_other_weights(model: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    """Take the base's own weights out of `tensors`: PEFT writes its embeddings beside an adapter of
    the output layer. Raises AdapterError where they are not this base's."""
    for key in [key for key in tensors if not key.endswith((".lora_A.weight", ".lora_B.weight"))]:
        own = _base_weight(model, key.removeprefix(PREFIX).replace(".base_layer", ""))
        saved = tensors.pop(key)
        if own is None:
            reason = "which is neither an A or B of LoRA nor a weight of this base"
        elif own.shape != saved.shape:
            reason = f"a weight {tuple(saved.shape)} that is {tuple(own.shape)} in this base"
        elif not torch.allclose(saved.float(), own.float().cpu(), rtol=SAME, atol=SMALLEST):
            reason = "with other numbers than this base's, as if it had been trained too"
        else:
            continue
        raise AdapterError(
            f"the adapter in {folder} brings {key}, {reason}: load it with the library PEFT"
        )


def _base_weight(model: nn.Module, name: str) -> Tensor | None:
    path, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    return getattr(module.base if isinstance(module, AdaptedLinear) else module, leaf, None)


def _refuse_other_layers(
    found: dict[str, nn.Linear], rank: int, tensors: dict[str, Tensor], folder: Path
) -> None:
    """Raises AdapterError unless there are an A and a B, floats of the right size, for each layer
    and no others."""
    expected = {
        _key(path, which): shape
        for path, linear in found.items()
        for which, shape in (("A", (rank, linear.in_features)), ("B", (linear.out_features, rank)))
    }
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    for key in sorted(expected.keys() | shapes.keys()):
        here, there = expected.get(key), shapes.get(key)
        if here != there:
            raise AdapterError(
                f"the adapter in {folder} was made for another base: {key.removeprefix(PREFIX)} is "
                f"{there or 'missing'} in the file and {here or 'unknown'} in this model; load the "
                "base that it was trained on"
            )
    if not all(tensor.is_floating_point() for tensor in tensors.values()):
        raise AdapterError(
            f"the adapter in {folder} holds whole numbers instead of floats: load it with the "
            "tool that wrote it"
        )


# Writing ------------------------------------------------------------------------------------------


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
