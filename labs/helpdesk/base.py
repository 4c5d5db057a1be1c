"""The base model: the shipped one, or any causal language model that COURSE_BASE names."""

import hashlib
import json
import os
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
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

    The model has no dropout, in training mode or out of it, and no habits of generation (such as a
    repetition penalty). COURSE_BASE, a folder or a hub id, swaps in another model. Raises BaseError
    if the model is missing, altered or not a causal language model.
    """
    other = os.environ.get("COURSE_BASE")
    if other:
        model, tokenizer = _load_other(other)
    else:
        verify(FOLDER)
        model, tokenizer = _load(FOLDER)
    if not _embedded(model, tokenizer.pad_token_id):
        # Padding is masked by length, so the stop token can stand in.
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    # What a model brings of its own would change every response, and so every score.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model.to(device), tokenizer


def _embedded(model: PreTrainedModel, token: int | None) -> bool:
    return token is not None and 0 <= token < model.get_input_embeddings().num_embeddings


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
        source,
        config=_without_dropout(AutoConfig.from_pretrained(source)),
        dtype=torch.float32,
        output_loading_info=True,
    )
    # transformers would go on with random numbers in the place of what is missing.
    if missing := sorted(record["missing_keys"]):
        raise OSError(f"the weights lack {missing[0]} and {len(missing) - 1} more")
    return model, tokenizer


def _without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration with every share to be dropped at 0, whatever the family calls it."""
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            _without_dropout(value)
        elif "drop" in name and type(value) in (int, float):
            setattr(config, name, type(value)(0))  # some families mind the type
    return config


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
        causal = is_causal(model)
    except Exception as error:  # transformers raises anything from OSError to KeyError here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BaseError(
            f"COURSE_BASE={source!r} is neither a folder with a causal language model and its "
            f"tokenizer nor a hub id that can be reached ({reason}); correct it, or unset it to "
            "use the shipped base model"
        ) from None
    if not _embedded(model, tokenizer.eos_token_id):
        raise BaseError(
            f"COURSE_BASE={source!r}: its tokenizer has no stop token (eos_token) that the model "
            "knows; choose another model"
        )
    if not causal:
        raise BaseError(
            f"COURSE_BASE={source!r}: its prediction of a token depends on the tokens after it, as "
            "in an encoder such as BERT; choose a causal language model"
        )
    return model, tokenizer


@torch.no_grad()
def is_causal(model: PreTrainedModel) -> bool:
    """Whether what the model says of the first tokens of a row stays when the last one changes."""
    size = model.get_input_embeddings().num_embeddings
    ids = torch.arange(10).unsqueeze(0) % size
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % size
    one, other = (model(input_ids=row, use_cache=False).logits[:, :-1] for row in (ids, changed))
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)
