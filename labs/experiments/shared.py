"""What the experiments of all labs share: a fresh base, tuning, scoring, drawing replies.

An experiment is a run: settings and a seed go in, results come out. Its module declares the sweeps
that repeat it over a grid of settings (course.sweep); their rows are stored with the book, and a
lab repeats some of them with the functions that the learner wrote.

Everything runs on the fastest device of the machine.
"""

import functools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from course import machine
from helpdesk import base, language
from helpdesk.tasks import Example
from methods import rollouts, sft
from methods.tokens import IGNORE, Batch, Tokens, collate, mask_prompt
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 40  # where a drawn reply is cut; hardly any is that long
BATCH = 256  # rows that are drawn or scored together


# The base -----------------------------------------------------------------------------------------


@functools.cache
def tokenizer() -> PreTrainedTokenizerBase:
    """The help desk's tokenizer."""
    return base.load_base()[1]


def fresh() -> PreTrainedModel:
    """The base model, untouched, on the fastest device here."""
    return base.load_base(machine.pick_device())[0]


# Tuning -------------------------------------------------------------------------------------------


def tokens_of(examples: Iterable[Example], mask_prompt: Callable = mask_prompt) -> list[Tokens]:
    """The ids and labels of each example; the prompt's labels do not count."""
    return [mask_prompt(*language.encode_example(tokenizer(), example)) for example in examples]


def batch_of(examples: Iterable[Example]) -> Batch:
    """All examples in one batch, on the fastest device: two int tensors (examples, time)."""
    device = machine.pick_device()
    ids, labels = collate(tokens_of(examples), tokenizer().pad_token_id)
    return ids.to(device), labels.to(device)


def batches(
    examples: Sequence[Example],
    *,
    steps: int,
    seed: int,
    size: int = 16,
    mask_prompt: Callable = mask_prompt,
) -> Iterator[Batch]:
    """`steps` batches of the examples, `size` in each, in an order that the seed draws."""
    return sft.batches(
        tokens_of(examples, mask_prompt),
        batch_size=size,
        steps=steps,
        pad_id=tokenizer().pad_token_id,
        seed=seed,
    )


def tune(
    model: nn.Module,
    examples: Sequence[Example],
    *,
    steps: int,
    rate: float,
    seed: int,
    size: int = 16,
    look: Callable[[int], None] | None = None,
    mask_prompt: Callable = mask_prompt,
    sft_loss: Callable = sft.sft_loss,
) -> list[float]:
    """Tune whatever requires a gradient, in place; returns the loss of every step, nats per token.

    rate: the learning rate · seed: of the order of the examples · size: examples in a batch ·
    look: called with the number of each step before it
    """
    some = batches(examples, steps=steps, seed=seed, size=size, mask_prompt=mask_prompt)
    some = looked_at(some, look) if look else some
    return sft.fine_tune(model, some, steps=steps, learning_rate=rate, loss=sft_loss)


def looked_at(some: Iterable[Batch], look: Callable[[int], None]) -> Iterator[Batch]:
    """The batches, with a look at the model before each."""
    for step, batch in enumerate(some):
        look(step)
        yield batch


def last(values: Sequence[float], count: int = 10) -> float:
    """The mean of the last values, such as the losses of the last ten steps."""
    return statistics.fmean(values[-count:])


# Scoring ------------------------------------------------------------------------------------------


@torch.no_grad()
def score(model: nn.Module, examples: Sequence[Example], *, stop: bool = True) -> dict[str, float]:
    """How well a model predicts the responses, all in one batch.

    stop: whether the stop token behind a response is asked for
    returns loss, in nats per token · tokens: the share of right tokens · exact: the share of
    responses that are right to the last token
    """
    pairs = tokens_of(examples)
    if not stop:
        pairs = [(ids[:-1], labels[:-1]) for ids, labels in pairs]
    ids, labels = (
        part.to(machine.pick_device()) for part in collate(pairs, tokenizer().pad_token_id)
    )
    logits = model(input_ids=ids).logits
    counts = labels[:, 1:] != IGNORE
    right = (logits[:, :-1].argmax(-1) == labels[:, 1:]) & counts
    return {
        "loss": sft.sft_loss(logits, labels).item(),
        "tokens": (right.sum() / counts.sum()).item(),
        "exact": (right.sum(1) == counts.sum(1)).float().mean().item(),
    }


# Drawing ------------------------------------------------------------------------------------------


def draw(model: nn.Module, prompts: Sequence[list[int]], count: int = 1) -> list[list[list[int]]]:
    """`count` sampled responses to each prompt, in token ids, with torch's global generator."""
    wanted = [prompt for prompt in prompts for _ in range(count)]
    ids = {"stop_id": tokenizer().eos_token_id, "pad_id": tokenizer().pad_token_id}
    drawn = []
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        drawn += rollouts.sample(model, part, max_new_tokens=MAX_NEW_TOKENS, **ids).responses
    return [drawn[row : row + count] for row in range(0, len(drawn), count)]
