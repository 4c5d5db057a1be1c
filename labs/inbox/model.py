"""The real model as a lab takes it: SmolLM2-135M-Instruct, or the chat model that COURSE_BASE names."""

import os

import torch
from course import smollm2
from helpdesk import base
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)


def load(device: str = "cpu") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A fresh float32 copy of the real model on `device`, and its tokenizer.

    COURSE_BASE, a folder or a hub id, swaps in another chat model. Raises CourseError
    where the real model is missing, and BaseError as helpdesk.base.load_base does.
    """
    if os.environ.get("COURSE_BASE") not in (None, "", smollm2.NAME):
        return base.load_base(device)
    source = smollm2.folder()
    tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    # What a model brings of its own would change every response, and so every score.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model.to(device), tokenizer


def prepare() -> None:
    """Make the folder that `load` reads, where other processes may be about to do the same."""
    if os.environ.get("COURSE_BASE") in (None, "", smollm2.NAME):
        smollm2.ready()
