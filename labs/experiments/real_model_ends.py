"""Lab 11: what becomes of a model that is never shown the end of its turn.

SmolLM2 pads with the token that ends a turn. Who finds padding by that id drops the end of every
answer as well, and no loss looks wrong.
"""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from course import Sweep
from experiments.real_model import (
    BATCH,
    GREEDY,
    MAX_NEW_TOKENS,
    SEEDS,
    fresh,
    mean_marks,
    prompt,
    tokenizer,
)
from inbox import records
from inbox.messages import Message, sample
from methods import chat, rollouts
from methods.tokens import IGNORE, Batch, Tokens, collate

RANK, RATE = 8, 1e-3
SHOWN, ASKED = 16, 16  # demonstrations, and test messages
BY_POSITION, BY_ID = "by position", "by id"


# Conversations in tokens --------------------------------------------------------------------------


def in_tokens(message: Message, conversation: Callable = chat.chatml) -> Tokens:
    """Ids and labels of a demonstration, written by `conversation`, or by the tokenizer's own
    template where that is not ChatML."""
    turns, answer = records.turns(message), records.as_json(message.record)
    if not is_chatml():
        return chat.tokens_of(tokenizer(), turns, answer)
    start, line, end = map(encoded, ("<|im_start|>", "\n", "<|im_end|>"))
    said = [(encoded(turn["role"]), encoded(turn["content"])) for turn in turns]
    return conversation(said, encoded(answer), encoded("assistant"), *start, *line, *end)


def encoded(text: str) -> list[int]:
    return chat.encoded(tokenizer(), text)


def is_chatml() -> bool:
    """Whether the tokenizer's template writes what chat.chatml writes, for one short conversation."""
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    wanted = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
    return chat.rendered(tokenizer(), turns) == wanted


# Two ways to find the padding ---------------------------------------------------------------------


def batches(
    rows: Sequence[Tokens], counted: str, steps: int, seed: int, labels_by_position: Callable
) -> Iterator[Batch]:
    """BATCH of the rows for each step, each time other ones; counted: how padding is found"""
    rng = random.Random(seed)
    for _ in range(steps):
        yield labelled(rng.sample(rows, BATCH), counted, labels_by_position)


def labelled(rows: Sequence[Tokens], counted: str, labels_by_position: Callable) -> Batch:
    """The rows in one batch; their labels by position, or without all that has the padding's id."""
    pad_id = tokenizer().pad_token_id
    ids = collate(rows, pad_id)[0]
    prompts = torch.tensor([labels.count(IGNORE) for _, labels in rows])
    labels = labels_by_position(ids, prompts, torch.tensor([len(row) for row, _ in rows]))
    return ids, labels if counted == BY_POSITION else labels.where(ids != pad_id, IGNORE)


# The runs -----------------------------------------------------------------------------------------


def run_ends(
    counted: str,
    steps: int,
    seed: int,
    *,
    conversation: Callable = chat.chatml,
    labels_by_position: Callable = chat.labels_by_position,
) -> dict[str, object]:
    """SFT of an adapter on SHOWN demonstrations, with labels by position or by id.

    returns the share of ASKED test messages whose answer ends by itself, the marks as in marks, the
    losses of all steps, and one answer as text
    """
    model = fresh("SmolLM2", RANK, seed)
    rows = [in_tokens(message, conversation) for message in sample("train", SHOWN, seed)]
    shown = batches(rows, counted, steps, seed, labels_by_position)
    losses = chat.tune(model, shown, steps=steps, learning_rate=RATE)
    messages = sample("test", ASKED, 100 + seed)
    drawn = rollouts.sample(
        model,
        [prompt(message) for message in messages],
        max_new_tokens=MAX_NEW_TOKENS,
        stop_id=chat.end_of_turn(tokenizer()),
        pad_id=tokenizer().pad_token_id,
        temperature=GREEDY,
    )
    said = [tokenizer().decode(response, skip_special_tokens=True) for response in drawn.responses]
    stopped = statistics.fmean(map(float, drawn.stopped))
    found = {"stopped": stopped} | mean_marks(said, messages)
    return found | {"losses": losses, "said": said[0]}


def wrong_fields(row: dict[str, object]) -> float:
    """The share of wrong fields."""
    return 1 - row["fields"]


# Expected: by position nearly every answer ends by itself, after 8 steps as after 32. By id the model
# has not yet forgotten how to end after 8 steps, since it could before; after 32 steps fewer than half
# of the answers end, and the losses of the two look alike.
ENDS = Sweep(
    "real.ends",
    run_ends,
    [
        {"counted": counted, "steps": steps, "seed": seed}
        for seed in SEEDS
        for steps in (8, 32)
        for counted in (BY_POSITION, BY_ID)
    ],
    agree={wrong_fields: 0.12, "stopped": 0.2},
)
