"""The base model: the shipped one, or any causal language model that COURSE_BASE names."""

import hashlib
import json
import os
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

FOLDER = Path(__file__).parent / "base"
ROOT = Path(__file__).parents[2]
MANIFEST = "manifest.json"
DATA = ("base/manifest.json",)  # what makes the model: counts in course.provenance
REPAIR = (
    "restore it with `git checkout -- labs/helpdesk/base`, or train it again with "
    "`python -m helpdesk.pretrain`"
)


class BaseError(RuntimeError):
    """The base model cannot be loaded; the message says why and what to do."""


def load_base(device: str = "cpu") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A fresh float32 copy of the base model on `device`, and its tokenizer.

    The model is in training mode, without dropout. COURSE_BASE, a folder or a hub id, swaps in
    another model. Raises BaseError if the model is missing, altered or not a causal language model.
    """
    other = os.environ.get("COURSE_BASE")
    if other:
        model, tokenizer = _load_other(other)
    else:
        verify(FOLDER)
        model, tokenizer = _load(FOLDER)
    if tokenizer.pad_token_id is None:
        # Padding is masked by length, so the stop token can stand in.
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.to(device), tokenizer


def verify(folder: Path) -> None:
    """Check every file of a shipped model against its manifest.

    Raises BaseError at the first that differs.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text("utf8"))["sha256"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BaseError(f"the base model's {MANIFEST} is missing or unreadable; {REPAIR}") from None
    for name, expected in files:
        path = folder / name
        if not path.is_file():
            raise BaseError(f"the base model's {name} is missing; {REPAIR}")
        if sha256(path) != expected:
            raise BaseError(
                f"the base model's {name} is not the file that was shipped (truncated or altered); "
                f"{REPAIR}"
            )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(source: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = AutoTokenizer.from_pretrained(source)
    model, record = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True
    )
    # transformers would go on with random numbers in the place of what is missing.
    if missing := sorted(record["missing_keys"]):
        raise OSError(f"the weights lack {missing[0]} and {len(missing) - 1} more")
    return model, tokenizer


def _load_other(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # A lab runs in labs/, but a relative folder was named where `make lab` was typed.
    folder = next(
        (path for path in (Path(source).expanduser(), ROOT / source) if path.is_dir()), None
    )
    if folder is None and source.startswith((".", "/", "~")):
        raise BaseError(
            f"COURSE_BASE={source!r}: there is no such folder; correct it, or unset it to use the "
            "shipped base model"
        )
    try:
        model, tokenizer = _load(folder or source)
    except Exception as error:  # transformers raises anything from OSError to KeyError here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BaseError(
            f"COURSE_BASE={source!r} is neither a folder with a causal language model and its "
            f"tokenizer nor a hub id that can be reached ({reason}); correct it, or unset it to "
            "use the shipped base model"
        ) from None
    if tokenizer.eos_token_id is None:
        raise BaseError(
            f"COURSE_BASE={source!r}: its tokenizer has no stop token (eos_token); choose another "
            "model"
        )
    return model, tokenizer
