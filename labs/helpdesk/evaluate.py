"""What a model can do: its responses to prompts, and how often they are right."""

from collections.abc import Sequence

import torch
from helpdesk.language import encode
from helpdesk.tasks import Example
from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 256


@torch.no_grad()
def respond(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 40,
    sample: bool = False,
) -> list[str]:
    """The model's response to each prompt: decoded text, with the stop token if the model stopped.

    Greedy, or with `sample` drawn at temperature 1 from torch's global generator.
    """
    # The libraries would sample from the 50 likeliest tokens only, unless told otherwise.
    how = (
        {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        if sample
        else {"do_sample": False}
    )
    was_training = model.training
    model.eval()
    responses = []
    for start in range(0, len(prompts), BATCH):
        ids = [encode(tokenizer, prompt, start=True) for prompt in prompts[start : start + BATCH]]
        batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(
            model.device
        )
        output = model.generate(
            **batch,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **how,
        )
        new = output[:, batch["input_ids"].shape[1] :].tolist()
        responses += [tokenizer.decode(_until_stop(row, tokenizer.eos_token_id)) for row in new]
    model.train(was_training)
    return responses


def _until_stop(ids: list[int], stop: int) -> list[int]:
    """The ids up to and including the first stop token; what follows is padding."""
    return ids[: ids.index(stop) + 1] if stop in ids else ids


def exact_matches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> list[bool]:
    """For each example: is the greedy response the expected one, word for word, and stopped?"""
    longest = max(len(encode(tokenizer, example.response)) for example in examples) + 1
    responses = respond(
        model, tokenizer, [example.prompt for example in examples], max_new_tokens=longest
    )
    stop = tokenizer.eos_token
    return [
        response.endswith(stop) and response.removesuffix(stop).strip() == example.response.strip()
        for response, example in zip(responses, examples)
    ]


def exact_match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> float:
    """The share of examples with an exact match, in [0, 1]."""
    return sum(exact_matches(model, tokenizer, examples)) / len(examples)
