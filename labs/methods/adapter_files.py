"""An adapter on disk, in the format of the library PEFT: either loads what the other saved.

    adapter_config.json           rank, alpha, the kind of prefactor and the targets
    adapter_model.safetensors     A and B of each adapted layer, by its name; a digest of the base

Left out on purpose: whatever goes beyond plain LoRA on linear layers (refused by name), the base
itself, a model card, older files of pickled tensors.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from methods.lora import LoRAConfig, attach, fingerprint, known, layers, refuse_merged, refuse_name
from methods.targets import AdapterError, as_tuple, find
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # PEFT's name for the place of the base inside its wrapper


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
    metadata = {"format": "pt", "base": _base_fingerprint(model, mine)}
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
    the first row of each adapted weight. Raises AdapterError, before anything is changed, for a
    missing, truncated or unreadable file, numbers that are not finite, an adapter for another base,
    an adapter that needs more than LoRA on linear layers, and a name that is taken or cannot be
    one; also while one is merged.
    """
    refuse_merged(model)
    refuse_name(model, name)
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    tensors, base = _read_tensors(folder / WEIGHTS)
    found = find(model, config.rank, config.alpha, config.targets)
    rank = config.rank
    expected = {
        f"{PREFIX}{path}.lora_{which}.weight": shape
        for path, linear in found.items()
        for which, shape in (("A", (rank, linear.in_features)), ("B", (linear.out_features, rank)))
    }
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != expected:
        raise AdapterError(
            f"the adapter in {folder} was made for another base: its layers or their sizes are not "
            "those of this model; load the base that it was trained on"
        )
    if not all(
        tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()
    ):
        raise AdapterError(
            f"the adapter in {folder} holds numbers that are not finite floats: copy the whole "
            "folder of the adapter again, or train it again"
        )
    if base is not None and base != _base_fingerprint(model, found):
        raise AdapterError(
            f"the adapter in {folder} was trained on a base of the same shape with other weights; "
            "load the base that it was trained on"
        )
    matrices = {
        path: tuple(tensors[f"{PREFIX}{path}.lora_{which}.weight"] for which in "AB")
        for path in found
    }
    attach(model, name, config, matrices)


def _read_config(path: Path) -> LoRAConfig:
    try:
        record = json.loads(path.read_text("utf8"))
        if record["peft_type"] != "LORA":
            raise AdapterError(
                f"{path} is of the type {record['peft_type']}: only LORA can be loaded here"
            )
        config = LoRAConfig(
            record["r"],
            record["lora_alpha"],
            as_tuple(record["target_modules"]),
            record.get("use_rslora", False),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(
            f"{path} is missing or no adapter's settings: copy the whole folder of the adapter "
            "again"
        ) from None
    beyond = sorted(key for key in BEYOND if record.get(key) not in (None, False, "none", {}, []))
    if record.get("init_lora_weights") not in STARTS:
        beyond.append("init_lora_weights")
    if beyond:
        raise AdapterError(
            f"{path} asks for {', '.join(beyond)}, which is beyond plain LoRA: load it with the "
            "library PEFT"
        )
    return config


# Settings of PEFT that would change which numbers there are, or what is computed with them.
BEYOND = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "bias",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
)
# PEFT's ways to draw A and B that leave the base as it is; the others change its weights too.
STARTS = (None, True, False, "eva", "gaussian", "mica", "orthogonal")


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            return tensors, (file.metadata() or {}).get("base")
    except (OSError, SafetensorError):
        raise AdapterError(
            f"{path} is missing, truncated or no file of weights: copy the whole folder of the "
            "adapter again"
        ) from None


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
    return hashlib.sha256("".join(map(fingerprint, modules)).encode()).hexdigest()
