"""The experiments of lab 11: what a real language model makes of the course's findings.

The model is SmolLM2-135M-Instruct (inbox.model), the task to turn a customer's message into a record
as JSON (inbox.records). Rank 0 stands for full tuning. Responses are decoded greedily.
"""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from course import Sweep, machine, rows_of
from course.rows import Row, lowest
from inbox import model as real
from inbox import questions, records
from inbox.messages import Message, sample
from methods import chat, lora, rollouts, sft, verifiers
from methods.tokens import collate
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

DATA = ("../inbox/english.txt",)
ALPHA = 32
STEPS, BATCH = 32, 8
USUAL = 256  # examples, which are all seen once
MAX_NEW_TOKENS = 48  # no right answer is longer than 43
AT_ONCE = 64  # rows that are drawn together
TESTED = 64  # messages of each test set
GREEDY = 1e-4  # a temperature at which the likeliest token has all the probability
TUNING_SEED = 9  # learning rates are chosen on messages of their own
SEEDS = (0, 1, 2)


# The model ----------------------------------------------------------------------------------------


@functools.cache
def tokenizer() -> PreTrainedTokenizerBase:
    return real.load()[1]


def fresh(start: str = "SmolLM2", rank: int = 0, seed: int = 0) -> nn.Module:
    """The real model, or one of its shape with "random weights"; with an adapter unless the rank
    is 0."""
    torch.manual_seed(seed)
    model = real.load(machine.pick_device())[0]
    if start == "random weights":
        model = AutoModelForCausalLM.from_config(model.config).to(model.device)
    if rank:
        lora.inject(model, rank=rank, alpha=ALPHA)
    return model


def draw(
    model: nn.Module, prompts: Sequence[list[int]], limit: int, temperature: float = GREEDY
) -> list[str]:
    """One response to each prompt as text, without the end-of-turn token; cut after `limit` tokens."""
    stop_id, texts = chat.end_of_turn(tokenizer()), []
    for start in range(0, len(prompts), AT_ONCE):
        drawn = rollouts.sample(
            model,
            prompts[start : start + AT_ONCE],
            max_new_tokens=limit,
            stop_id=stop_id,
            pad_id=tokenizer().pad_token_id,
            temperature=temperature,
        )
        texts += [
            tokenizer().decode(response[:-1] if stopped else response)
            for response, stopped in zip(drawn.responses, drawn.stopped)
        ]
    return texts


# What is measured ---------------------------------------------------------------------------------


def answers(
    model: nn.Module,
    messages: Sequence[Message],
    system: str = records.SHORT,
    shots: tuple[Message, ...] = (),
) -> list[str]:
    """One answer to each message, as text."""
    prompts = [prompt(message, system, shots) for message in messages]
    return draw(model, prompts, MAX_NEW_TOKENS)


def marks(model: nn.Module, group: str, seed: int, **how: object) -> dict[str, float]:
    """The mean of each mark over TESTED messages of a group: valid, keys, fields, exact, and each
    field by its name; shares. how: system and shots, as in answers"""
    messages = sample(group, TESTED, seed)
    return mean_marks(answers(model, messages, **how), messages)


def mean_marks(said: Sequence[str], messages: Sequence[Message]) -> dict[str, float]:
    each = [records.mark(text, m.record) for text, m in zip(said, messages, strict=True)]
    return {name: statistics.fmean(one[name] for one in each) for name in each[0]}


def prompt(
    message: Message, system: str = records.SHORT, shots: tuple[Message, ...] = ()
) -> list[int]:
    return chat.prompt_of(tokenizer(), records.turns(message, system, shots))


def both_tests(model: nn.Module, seed: int, **how: object) -> dict[str, float]:
    """The marks on new messages of the usual kind, and with far_ before their names on those of
    another kind."""
    near, far = (marks(model, group, 100 + seed, **how) for group in ("test", "far"))
    return near | {f"far_{name}": value for name, value in far.items()}


@torch.no_grad()
def english(model: nn.Module) -> float:
    """The loss on ten paragraphs of English prose that have nothing to do with the task, in nats
    per token."""
    text = (Path(__file__).parent / DATA[0]).read_text("utf8")
    rows = [chat.encoded(tokenizer(), paragraph) for paragraph in text.strip().split("\n\n")]
    ids, labels = collate([(row, row) for row in rows], tokenizer().pad_token_id)
    return chat.answer_loss(model, (ids, labels)).item()


def answered(model: nn.Module) -> float:
    """The share of the questions that are still answered rightly."""
    asked = [
        [{"role": "system", "content": questions.SYSTEM}, {"role": "user", "content": question}]
        for question, _ in questions.QUESTIONS
    ]
    answers = draw(model, [chat.prompt_of(tokenizer(), turns) for turns in asked], limit=24)
    words = [word for _, word in questions.QUESTIONS]
    return statistics.fmean(map(questions.is_right, answers, words))


# Prompting alone ----------------------------------------------------------------------------------

SYSTEMS = {"short": records.SHORT, "long": records.LONG}


def run_prompted(
    system: str, shots: int, seed: int, *, read_values: Callable = verifiers.read_values
) -> dict[str, float]:
    """No tuning: an instruction, and `shots` solved messages before the one that is asked for.

    returns the marks, with far_ before their names on messages of another kind · found and far_found:
    the share of answers in which read_values finds a record, also with words around it
    """
    model, told = fresh(), {}
    solved = tuple(sample("train", shots, seed))
    for group, before in (("test", ""), ("far", "far_")):
        messages = sample(group, TESTED, 100 + seed)
        said = answers(model, messages, SYSTEMS[system], solved)
        found = [read_values(text, list(records.KEYS)) is not None for text in said]
        means = mean_marks(said, messages) | {"found": statistics.fmean(found)}
        told |= {f"{before}{name}": value for name, value in means.items()}
    return told


# Expected: without a solved message nothing is valid JSON, however long the instruction; with four
# nearly all is, and hardly any record is right in every field. (A first look at 32 messages, by which
# the task was made as hard as it is, said so.) Eight are better than four in fields. Reading records
# out of the words around them finds few more.
PROMPTED = Sweep(
    "real.prompted",
    run_prompted,
    [
        {"system": system, "shots": shots, "seed": seed}
        for seed in SEEDS
        for system, shots in (("short", 0), ("long", 0), ("short", 4), ("short", 8))
    ],
    agree={"fields": 0.05},
)


# Tuning -------------------------------------------------------------------------------------------


def demonstrations(count: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Ids and labels of `count` training messages with their records."""
    return [
        chat.tokens_of(tokenizer(), records.turns(message), records.as_json(message.record))
        for message in sample("train", count, seed)
    ]


def tune(
    model: nn.Module, examples: int, rate: float, seed: int, steps: int = STEPS
) -> list[float]:
    """SFT on demonstrations, in place; the loss of every step, in nats per token."""
    batches = sft.batches(
        demonstrations(examples, seed),
        batch_size=BATCH,
        steps=steps,
        pad_id=tokenizer().pad_token_id,
        seed=seed,
    )
    return chat.tune(model, batches, steps=steps, learning_rate=rate)


def run_tuned(start: str, rank: int, examples: int, rate: float, seed: int) -> dict[str, object]:
    """SFT for STEPS steps, or for as many as it takes to see every example once.

    returns the marks as in both_tests · losses, of every step · english, in nats per token, and
    answered, a share, of other instructions: what is left of them
    """
    model = fresh(start, rank, seed)
    losses = tune(model, examples, rate, seed, max(STEPS, examples // BATCH))
    return both_tests(model, seed) | {
        "losses": losses,
        "english": english(model),
        "answered": answered(model),
    }


def missed(row: Row) -> float:
    """The share of wrong fields on the usual test messages."""
    return 1 - row["fields"]


# Expected: LoRA's best rate is about ten times full tuning's, as practice has it, not twice, as in
# lab 02. Rank 1 wants the higher rate, rank 64 the lower one. Random weights learn the frame of the
# JSON at best. (Full tuning was still getting better at 3e-4, so 1e-3 was added after the others.)
RATES = Sweep(
    "real.rates",
    run_tuned,
    [
        {"start": start, "rank": rank, "examples": USUAL, "rate": rate, "seed": TUNING_SEED}
        for start, rank, rates in (
            ("SmolLM2", 8, (3e-4, 1e-3, 3e-3)),
            ("SmolLM2", 0, (3e-5, 1e-4, 3e-4, 1e-3)),
            ("random weights", 0, (3e-4, 1e-3)),
            ("SmolLM2", 1, (1e-3, 3e-3)),
            ("SmolLM2", 64, (3e-4, 1e-3)),
        )
        for rate in rates
    ],
    agree={missed: 0.06},
)


WAYS = (("SmolLM2", 0), ("SmolLM2", 8), ("SmolLM2", 1), ("SmolLM2", 64), ("random weights", 0))


FEWER_AND_MORE = {8: (16, 64, 1024), 0: (16, 64)}  # by rank; 1,024 take an hour with full tuning


def at_best_rates(ways: Iterable[tuple[str, int]], counts: Iterable[int]) -> list[Row]:
    """Settings of run_tuned: each way with each number of examples, at the rate that is best for it
    with 256."""
    best = lowest(rows_of(RATES), missed, "start", "rank")
    return [
        {
            "start": start,
            "rank": rank,
            "examples": count,
            "rate": best[start, rank]["rate"],
            "seed": seed,
        }
        for (start, rank), count, seed in itertools.product(ways, counts, SEEDS)
    ]


# Expected: full tuning and rank 8 are within 5 points of each other in right fields, rank 1 a little
# behind; random weights get no record right in any field but by chance. Messages of another kind cost
# every way 15 points or more. Full tuning forgets more of the old instructions than LoRA at the same
# loss.
TUNED = Sweep("real.tuned", run_tuned, lambda: at_best_rates(WAYS, [USUAL]), agree={missed: 0.06})

# Expected: sixteen examples teach the frame, and each fourfold step adds 5 to 10 points of fields.
EXAMPLES = Sweep(
    "real.examples",
    run_tuned,
    lambda: [
        row
        for rank, counts in FEWER_AND_MORE.items()
        for row in at_best_rates([("SmolLM2", rank)], counts)
    ],
    agree={missed: 0.06},
)
