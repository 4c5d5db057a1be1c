"""Tune a chat model to turn messages into records, with as many processes as there are.

    torchrun --nproc_per_node 2 -m experiments.outgrow_train --checkpoints somewhere

The files in recipes/ start this on one machine, on several, and on clusters. COURSE_BASE names the
model, a hub id or a folder; without it, it is SmolLM2-135M. Every few steps all processes write a
checkpoint; started again with the same options, with as many processes as there are then, the run
goes on from the last one. Exit status: 0, done; 2, refused, with a sentence that says why.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import torch
from course import CourseError, machine
from experiments.real_model_costs import shape_of
from helpdesk.base import BaseError
from inbox import model as chat_model
from inbox import records
from inbox.messages import sample
from methods import chat, lora, optimize, processes, sft
from methods.processes import Team, TeamError
from methods.tokens import IGNORE, Batch, Tokens
from planning import memory
from planning.memory import ADAPTER, ALL, Training
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m experiments.outgrow_train", description=__doc__.partition("\n")[0]
    )
    add = made.add_argument
    add("--checkpoints", type=Path, required=True, help="a folder that all processes can write to")
    add(
        "--stage",
        type=int,
        choices=(0, 2, 3),
        default=3,
        help="what a process keeps a part of: 0 nothing, 2 gradients and optimizer states, 3 also "
        "weights (default)",
    )
    add("--rank", type=int, default=0, help="of an adapter; 0 tunes everything (default)")
    add("--steps", type=int, default=32)
    add("--batch", type=int, default=8, help="examples in a step, of all processes together")
    add("--parts", type=int, default=1, help="portions in which a process reads its examples")
    add("--rate", type=float, default=1e-4, help="the learning rate")
    add("--every", type=int, default=8, help="steps from one checkpoint to the next")
    add("--seed", type=int, default=0)
    return made


def main(words: Sequence[str]) -> int:
    options = parser().parse_args(words)
    machine.quieten()
    try:
        with processes.join() as team:
            train(options, team)
    except (TeamError, CourseError, BaseError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def train(options: argparse.Namespace, team: Team) -> nn.Module:
    """Train from the last checkpoint to the last step; returns the model.

    Raises TeamError for options that are not those of the checkpoints, for what does not fit into
    memory, and for a checkpoint that is damaged.
    """
    for name in ("steps", "batch", "parts", "every"):
        if getattr(options, name) < 1:
            raise TeamError(f"--{name} is {getattr(options, name)}: it must be at least 1")
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    processes.led(team, lambda: same_run(options))
    chat_model.prepare()
    model, tokenizer = chat_model.load()
    rows = demonstrations(tokenizer, options.batch * options.steps, options.seed)
    check_memory(model, rows, options, team)
    torch.manual_seed(options.seed)
    if options.rank:
        lora.inject(model, rank=options.rank, alpha=2 * options.rank)
    model = processes.spread(model, options.stage, team)
    optimizer = processes.adamw(model, options.rate, options.stage, team)
    first = go_on(options.checkpoints, model, optimizer, team)
    say(team, f"{team.size} processes on {team.device}, from step {first} of {options.steps}")
    steps = itertools.islice(batches(rows, tokenizer, options, team), first, None)
    loss = processes.team_loss(model, team, lambda batch: answer_sum(model, batch), answers_in)
    for start in range(first, options.steps, options.every):
        some = list(itertools.islice(steps, options.every))
        losses = optimize.minimize(loss, some, optimizer)
        done = start + len(some)
        processes.save(options.checkpoints / f"step-{done:06}", model, optimizer, done, team)
        for step, value in enumerate(losses, start):
            say(team, f"step {step} loss {value:.6f}")
    return model


def say(team: Team, text: str) -> None:
    if team.leads:
        print(text, flush=True)


def demonstrations(tokenizer: PreTrainedTokenizerBase, count: int, seed: int) -> list[Tokens]:
    return [
        chat.tokens_of(tokenizer, records.turns(message), records.as_json(message.record))
        for message in sample("train", count, seed)
    ]


def batches(
    rows: Sequence[Tokens],
    tokenizer: PreTrainedTokenizerBase,
    options: argparse.Namespace,
    team: Team,
) -> Iterator[list[Batch]]:
    """This process's parts of every batch from the first step on; the seed orders the rows."""
    return sft.batches(
        rows,
        batch_size=options.batch,
        steps=options.steps,
        pad_id=tokenizer.pad_token_id,
        seed=options.seed,
        collate=processes.share(team, options.parts),
    )


def answers_in(batch: Batch) -> int:
    """Tokens that count."""
    return int((batch[1][:, 1:] != IGNORE).sum())


def answer_sum(model: nn.Module, batch: Batch) -> Tensor:
    """`chat.answer_loss`, added up over the tokens; 0 for a part without any."""
    count = answers_in(batch)
    if not count:  # its mean would be 0/0; the other processes wait for this one's backward pass
        batch = (batch[0], batch[0])
    return chat.answer_loss(model, batch) * count


# Before the first step ----------------------------------------------------------------------------


def same_run(options: argparse.Namespace) -> None:
    """Raises TeamError if the checkpoints come from a run that read other rows, or learned otherwise;
    notes what this run is if there are none."""
    this = {name: getattr(options, name) for name in ("rank", "steps", "batch", "rate", "seed")}
    this["model"] = os.environ.get("COURSE_BASE", "")
    note = options.checkpoints / "run.json"
    if not note.exists():
        write_whole(note, json.dumps(this, indent=1))
        return
    other = json.loads(note.read_text())
    differs = [name for name in this if this[name] != other.get(name)]
    if differs:
        name = differs[0]
        raise TeamError(
            f"{options.checkpoints} holds a run with {name} {other.get(name)!r}, and this one has "
            f"{this[name]!r}: name another folder, or the same options"
        )


def write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


def go_on(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, team: Team) -> int:
    """Put the last whole checkpoint of the folder into model and optimizer; returns its step, or 0.

    Process 0 chooses: a disk may show a new folder to one machine before it does to another.
    """

    def last() -> Path | None:
        whole = [path for path in folder.glob("step-*") if processes.is_whole(path)]
        return max(whole, default=None)

    found = processes.led(team, last)
    return processes.load(found, model, optimizer) if found else 0


def check_memory(
    model: nn.Module, rows: Sequence[Tokens], options: argparse.Namespace, team: Team
) -> None:
    """Raises TeamError in all processes if a step would take more than one of them has, by
    planning/memory.py."""
    training = Training(
        shape_of(model),
        trains=ADAPTER if options.rank else ALL,
        precision="float32",
        rows=max(1, options.batch // (team.size * options.parts)),
        length=max(len(ids) for ids, _ in rows),
        rank=options.rank or 1,
        checkpointing=False,
        accumulation=options.parts > 1,
        devices=team.size,
        stage=options.stage,
    )
    wanted, there = memory.to_plan(training), free_bytes(model, team)
    if processes.least(there - wanted, team) < 0:
        raise TeamError(
            f"a step takes about {wanted / 1e9:.1f} GB in each process, and at least one has less; "
            f"here {there / 1e9:.1f} GB are free: take more processes with --stage 3, an adapter "
            "with --rank 8, or more --parts"
        )


def free_bytes(model: nn.Module, team: Team) -> float:
    """Bytes that are there for this process: free ones of its GPU; or its part of the machine's free
    ones, and the weights that it has read already."""
    if team.device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(team.device)[0])
    free = psutil.virtual_memory().available / int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return free + processes.own_bytes(model.parameters())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
