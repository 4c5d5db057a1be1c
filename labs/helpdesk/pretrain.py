"""Train the base model from nothing: `python -m helpdesk.pretrain`, from labs/.

It takes minutes on two CPU cores. The result replaces labs/helpdesk/base only when it is complete.
"""

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from course.machine import set_threads
from helpdesk.base import FOLDER, MANIFEST, sha256
from helpdesk.corpus import FACT_NAMES, documents
from helpdesk.evaluate import exact_match, respond
from helpdesk.language import build_tokenizer, encode
from helpdesk.tasks import reading, triage
from helpdesk.tickets import sample_tickets
from helpdesk.words import vocabulary
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

SEED = 0
STEPS = 1200
ROWS = 96  # documents in a batch
SORTED = 16  # batches whose documents are sorted by length together
LEARNING_RATE = 3e-3
WARM_UP = 100  # steps
TRACE_EVERY = 10  # steps between two losses kept in the manifest
IGNORE = -100
TICKETS = 200  # validation tickets on which abilities are measured


def new_model() -> LlamaForCausalLM:
    """A randomly initialised Llama of just under a million parameters: under 4 MB as float32."""
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=3,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def batches(tokenizer: PreTrainedTokenizerBase, split: str, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches of token ids, int (ROWS, time): a document a row, like lengths together.

    One ticket in sight at a time makes reading easy to discover: with two in a row, "city" has two
    candidates.
    """
    pad, stop = tokenizer.pad_token_id, tokenizer.eos_token_id
    texts, rng = documents(split, seed), random.Random(seed)
    while True:
        rows = sorted(
            (encode(tokenizer, text) + [stop] for text in itertools.islice(texts, ROWS * SORTED)),
            key=len,
        )
        groups = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        rng.shuffle(groups)
        for group in groups:
            yield torch.tensor([row + [pad] * (len(group[-1]) - len(row)) for row in group])


def loss_of(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of a token, padding left out; in nats."""
    labels = ids.masked_fill(ids == model.config.pad_token_id, IGNORE)
    # Padding stands on the right, so the causal mask is mask enough.
    logits = model(input_ids=ids).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE)


def train(steps: int = STEPS, schedule: int = STEPS) -> tuple[LlamaForCausalLM, list[float]]:
    """Train for `steps` of the `schedule`.

    returns the model, and the loss of every TRACE_EVERY-th step, in nats
    """
    torch.manual_seed(SEED)
    model, tokenizer = new_model(), build_tokenizer()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )

    def rate(step):
        return min((step + 1) / WARM_UP, 1.0) * max(0.0, 1 - step / schedule)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    trace = []
    bar = tqdm(
        itertools.islice(batches(tokenizer, "train", SEED), steps), "pretraining", total=steps
    )
    for step, ids in enumerate(bar):
        loss = loss_of(model, ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        if step % TRACE_EVERY == 0:
            trace.append(loss.item())
            bar.set_postfix(loss=f"{trace[-1]:.3f}")
    return model, trace


@torch.no_grad()
def validation_loss(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int = 10
) -> float:
    """Mean loss over `count` batches about validation tickets, in nats per token."""
    some = itertools.islice(batches(tokenizer, "validation", SEED), count)
    return sum(loss_of(model, ids).item() for ids in some) / count


def abilities(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """What the base can do untuned, as shares of TICKETS validation tickets.

    Each fact read from a ticket in the notes' own format, and triage, whose format it has not seen.
    """
    tickets = sample_tickets("validation", TICKETS, SEED)
    read = {
        f"reading_{fact}": _reads(model, tokenizer, [reading(t, fact) for t in tickets])
        for fact in FACT_NAMES
    }
    return read | {"triage": exact_match(model, tokenizer, [triage(t) for t in tickets])}


def _reads(model, tokenizer, questions) -> float:
    # A note may go on with another question, so only the words of the response count, not where it
    # stops.
    prompts = [question.prompt for question in questions]
    responses = respond(model, tokenizer, prompts, max_new_tokens=2)
    right = sum(r.strip() == q.response.strip() for r, q in zip(responses, questions))
    return right / len(questions)


CARD = """# The help desk's base model

<!-- card -->
| | |
|:--|:--|
| architecture | Llama, {layers} layers, hidden size {hidden}, {parameters:,} parameters, float32 \
({megabytes:.1f} MB) |
| vocabulary | {words} tokens, one per word |
| trained on | {steps:,} batches of {rows} documents: transcripts, notes and word lists about \
training tickets |
| optimiser | AdamW, learning rate {rate}, warm-up and linear decay, seed {seed} |
| validation loss | {loss:.3f} nats per token, on documents about validation tickets |

What it can do without any tuning, on {count} validation tickets:

| | share right |
|:--|--:|
{abilities}

It cannot do triage or any other task whose format it has not seen, it knows no words beyond its \
vocabulary, and nothing about the
world outside the help desk. Train it again with `python -m helpdesk.pretrain`, from `labs/`.
"""


def card(model: PreTrainedModel, record: dict) -> str:
    """The model card, in Markdown; every figure in it is measured or read from the model."""
    config, parameters = model.config, model.num_parameters()
    rows = "\n".join(
        f"| {name.replace('_', ' the ')} | {share:.1%} |"
        for name, share in record["abilities"].items()
    )
    return CARD.format(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        parameters=parameters,
        megabytes=4 * parameters / 1e6,
        words=config.vocab_size,
        steps=record["steps"],
        rows=ROWS,
        rate=LEARNING_RATE,
        seed=SEED,
        loss=record["validation_loss"],
        count=TICKETS,
        abilities=rows,
    )


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, trace: list[float], folder: Path
) -> dict:
    """Measure the model and put it, its card and its manifest into `folder`, all at once.

    returns the manifest
    """
    record = {
        "steps": STEPS,
        "seed": SEED,
        "validation_loss": validation_loss(model, tokenizer),
        "abilities": abilities(model, tokenizer),
        "trace_every": TRACE_EVERY,
        "trace": trace,
    }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".base-") as temporary:
        new = Path(temporary, "new")
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "README.md").write_text(card(model, record), "utf8")
        record["sha256"] = {path.name: sha256(path) for path in sorted(new.iterdir())}
        (new / MANIFEST).write_text(json.dumps(record, indent=1) + "\n", "utf8")
        _swap(new, folder, Path(temporary, "old"))
    return record


def _swap(new: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=FOLDER,
        help="folder to put the model into (default: the shipped one)",
    )
    folder = parser.parse_args().output.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        parser.error(
            f"{folder} holds something other than a base model and would be replaced: name a new "
            "folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    set_threads()
    began = time.perf_counter()
    model, trace = train()
    record = save(model, build_tokenizer(), trace, folder)
    print(
        f"validation loss {record['validation_loss']:.4f} nats per token, "
        f"{(time.perf_counter() - began) / 60:.1f} minutes, in {folder}"
    )


if __name__ == "__main__":
    main()
