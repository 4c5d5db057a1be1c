"""Chat: conversations as a chat model reads them, and SFT on the assistant's turn alone.

A tokenizer of a chat model brings a template: a small program that writes a conversation as one
text, with a token of its own at the end of every turn. A model that was tuned with that template
knows no other form. So the template is applied once, and only here:

    <|im_start|>user⏎Where is my kettle?<|im_end|>⏎<|im_start|>assistant⏎    the prompt
    {"product": "kettle", ...}<|im_end|>                                     the response

The response counts, up to and including the token that ends the turn; without it, the model would
never learn to stop. What counts is said by position: the end-of-turn token is often the padding
token too, and a label that is dropped by its id would be dropped in both places.

TRL's SFTTrainer does the same, but for what a template writes behind that token, such as a line
break: there it counts, here it is left away, since sampling ends before it.

Left out on purpose: tools, reasoning that a template hides, several assistant turns that count,
packing.
"""

from collections.abc import Iterable, Sequence

import torch
from jinja2 import TemplateError
from methods.models import check_tokens, takes
from methods.optimize import REFUSAL, adamw, minimize, warm_up_and_decay
from methods.sft import sft_loss
from methods.tokens import IGNORE, Batch, Tokens, mask_prompt
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

Turn = dict[str, str]  # role and content
MARK = "0123456789"  # an answer that no template would write by itself


class ChatError(ValueError):
    """A conversation that cannot be written for this model; the message says why and what to do."""


# Rendering ----------------------------------------------------------------------------------------


def prompt_of(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> list[int]:
    """Token ids of the conversation, up to where the assistant's answer has to begin.

    Raises ChatError for a tokenizer without a chat template, and for a conversation that its
    template refuses.
    """
    return encoded(tokenizer, rendered(tokenizer, turns, open_turn=True))


def example_of(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], answer: str
) -> tuple[list[int], list[int]]:
    """Token ids of prompt and response; the response ends with the end-of-turn token.

    The two are encoded apart, so that the model meets the very prompt that it will be sampled from.
    Raises ChatError as prompt_of does, and where the template would write the prompt otherwise once
    the answer is there.
    """
    prompt = rendered(tokenizer, turns, open_turn=True)
    whole = rendered(tokenizer, [*turns, {"role": "assistant", "content": answer}])
    if not whole.startswith(prompt):
        raise ChatError(
            "this model's chat template writes a prompt differently once it has been answered, so no "
            "position tells them apart: choose another model"
        )
    response, end = encoded(tokenizer, whole.removeprefix(prompt)), end_of_turn(tokenizer)
    return encoded(tokenizer, prompt), response[: response.index(end) + 1]


def tokens_of(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], answer: str) -> Tokens:
    """Ids and labels of the conversation and its answer; only the answer's labels count."""
    return mask_prompt(*example_of(tokenizer, turns, answer))


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that the template puts behind an assistant's answer: where sampling has to stop.

    It need not be the tokenizer's `eos_token`. Raises ChatError as prompt_of does, and for a
    template that ends no turn with a token of its own.
    """
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": MARK}]
    behind = rendered(tokenizer, turns).rpartition(MARK)[2]
    own = tokenizer.added_tokens_decoder
    found = next((token for token in encoded(tokenizer, behind) if token in own), None)
    if found is None:
        raise ChatError(
            "this model's chat template ends the assistant's turn with no token of its own, so that "
            "nothing would tell it to stop: choose another model"
        )
    return found


def rendered(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, open_turn: bool = False
) -> str:
    """The conversation as the template writes it, with the assistant's turn opened at its end or
    not. Raises ChatError."""
    if not getattr(tokenizer, "chat_template", None):
        raise ChatError(
            "this model's tokenizer has no chat template, so it is no chat model: choose one that "
            "has been tuned on conversations, or set tokenizer.chat_template"
        )
    try:
        return tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=open_turn
        )
    except (TemplateError, KeyError, TypeError) as error:
        raise ChatError(f"the chat template refuses this conversation: {error}") from None


def encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The text's ids and no others: a template writes the first token of a text itself."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def chatml(
    turns: Sequence[tuple[list[int], list[int]]],
    answer: list[int],
    assistant: list[int],
    start: int,
    line: int,
    end: int,
) -> Tokens:
    """Ids and labels of a conversation in ChatML, the form of SmolLM2's and many other templates.

        start role line content end line        for each turn, and then
        start assistant line answer end

    turns: role and content of each, in token ids · answer, assistant: the answer and the role that
    gives it, in token ids · start, line, end: the tokens that open a turn, break a line and end a
    turn. Only the answer and the end of its turn count.
    """
    prompt = []
    for role, content in turns:
        prompt += [start, *role, line, *content, end, line]
    return mask_prompt([*prompt, start, *assistant, line], [*answer, end])


def ends(rows: Sequence[Tokens], end: int) -> list[str]:
    """What each row teaches about the end of a turn: "learned" if the last token that counts is the
    end, "masked" if the end stands right behind it and does not count, else "missing".

    A row in which nothing counts is "missing".
    """
    words = []
    for ids, labels in rows:
        last = max((place for place, label in enumerate(labels) if label != IGNORE), default=None)
        if last is None:
            words.append("missing")
        elif labels[last] == end:
            words.append("learned")
        else:
            words.append("masked" if ids[last + 1 : last + 2] == [end] else "missing")
    return words


def labels_by_position(ids: Tensor, prompts: Tensor, lengths: Tensor) -> Tensor:
    """Labels of rows that are padded on the right: the ids of the response, IGNORE elsewhere.

    ids: int (batch, time) · prompts, lengths: int (batch,), tokens of the prompt, and of prompt and
    response together
    """
    place = torch.arange(ids.shape[1], device=ids.device)
    counts = (place >= prompts[:, None]) & (place < lengths[:, None])
    return ids.where(counts, IGNORE)


# Training -----------------------------------------------------------------------------------------


def answer_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The mean negative log-probability of the tokens that count: scalar, nats per token.

    It is sft_loss. But the output layer is asked only from the first column on in which a token
    counts: with a vocabulary of 49,152 tokens it is a fifth of SmolLM2-135M's arithmetic, and its
    table of logits the largest tensor of the step. Raises ValueError for rows that the model cannot
    read.
    """
    ids, labels = (part.to(model.device) for part in batch)
    check_tokens(model, ids)
    first = int((labels[:, 1:] != IGNORE).any(0).int().argmax())
    keep = {"logits_to_keep": ids.shape[1] - first} if takes(model, "logits_to_keep") else {}
    logits = model(input_ids=ids, use_cache=False, **keep).logits
    return sft_loss(logits, labels[:, -logits.shape[1] :])


def tune(
    model: nn.Module, batches: Iterable[Batch], *, steps: int, learning_rate: float
) -> list[float]:
    """As `methods.sft.fine_tune`, which it equals up to rounding; returns the loss of every step."""
    return minimize(
        lambda batch: answer_loss(model, batch),
        batches,
        adamw(model.parameters(), learning_rate),
        schedule=warm_up_and_decay(steps),
        refusal=f"{REFUSAL} ({learning_rate}), and check that every batch has a token that counts",
    )
