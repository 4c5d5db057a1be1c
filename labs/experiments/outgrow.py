"""The experiments of lab 12: the course's training on one process and on two, and what goes wrong.

A job names a method and where its numbers lie; a team of processes works through a list of jobs:

    accelerate launch --multi_gpu --num_processes 2 -m experiments.outgrow jobs.json results

(--multi_gpu is accelerate's word for several processes on one machine.) Without a launcher one
process does the same, and reads the rows of all of them. All of it is on the CPU, on any machine:
the question is whether the sums are the same, and that wants one kind of arithmetic.
"""

import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from course import machine
from experiments.shared import fresh, tokenizer, tokens_of
from helpdesk import preferences, tasks
from helpdesk.replies import TRANSCRIPTS
from helpdesk.tickets import sample_tickets
from methods import dpo, grpo, lora, optimize, processes, sft
from methods.processes import Team, TeamError
from methods.reward import Ranking
from methods.tokens import IGNORE, Batch, token_log_probs
from torch import Tensor, nn

LABS = Path(__file__).resolve().parents[1]
STEPS, RATE = 10, 1e-3
BATCH = 16  # examples, pairs or responses in a step, of all processes together
RANK = 8
SIZE = 2  # processes of a team; a process that is alone draws the responses of as many
METHODS = ("SFT", "LoRA", "DPO", "GRPO")
RIGHT, MEAN_OF_MEANS, LATE_ADAPTER = "right", "mean of means", "late adapter"
ONE_SEED, SAME_ROWS = "one seed", "same rows"
# No mistakes of a programmer's: process 1 is killed before its third step, or begins with other
# numbers, as when each draws its own.
DIES, OTHER_START = "dies", "other start"
OTHER_SEEDS = "other seeds"  # no mistake either: what a right run does with other random numbers


@dataclass(frozen=True)
class Job:
    """One training: a method, a stage of `processes.spread`, in how many parts each process reads
    its rows, and which mistake is made, if any.

    stop: write a checkpoint after this step and end, 0 for never · start: the name of the job whose
    checkpoint to go on from
    """

    name: str
    method: str = "SFT"
    stage: int = 0
    parts: int = 1
    mistake: str = RIGHT
    stop: int = 0
    start: str = ""


HALF = STEPS // 2  # after which a checkpoint is written
AT_STAGES = [(method, stage) for method in METHODS for stage in (0, 3)]
AT_STAGES += [("SFT", 1), ("SFT", 2), ("GRPO", 2)]
STOPPED = [("SFT", 3), ("SFT", 0), ("LoRA", 2)]
IN_PARTS = (0, 1, 3)  # stages
WRONG = (
    Job("means", mistake=MEAN_OF_MEANS),
    Job("same rows", mistake=SAME_ROWS),
    Job("one seed", "GRPO", mistake=ONE_SEED),
    Job("late adapter", "LoRA", mistake=LATE_ADAPTER),
)


def named(method: str, stage: int, *more: str) -> str:
    """The name of a job of two processes."""
    return " ".join([method, str(stage), *more])


def jobs_of_one() -> list[Job]:
    """What a process does alone, each job named by its method: all to compare with."""
    jobs = [Job(method, method) for method in METHODS] + [Job("SFT in parts", parts=2)]
    return jobs + [Job(f"{method} half", method, stop=HALF) for method in ("SFT", "LoRA")]


def jobs_shown() -> list[Job]:
    """What two processes do in the lab: each method at its stages, a checkpoint, and the mistakes."""
    jobs = [Job(named(*which), *which) for which in AT_STAGES]
    return [*jobs, half(*STOPPED[0]), *WRONG, Job(OTHER_SEEDS, "GRPO", mistake=OTHER_SEEDS)]


def half(method: str, stage: int) -> Job:
    """Half of a training, and its checkpoint."""
    return Job(named(method, stage, "half"), method, stage, stop=HALF)


def jobs_of_two(checkpoints: Path) -> list[Job]:
    """These and more; some go on from the checkpoints that one process has written."""
    jobs = jobs_shown()
    jobs += [Job(named("SFT", stage, "in parts"), "SFT", stage, parts=2) for stage in IN_PARTS]
    jobs += [half(*which) for which in STOPPED[1:]]
    jobs += [
        Job(f"{method} on from one", method, 3, start=str(checkpoints / f"{method} half"))
        for method in ("SFT", "LoRA")
    ]
    jobs += [
        Job(named("SFT", stage, OTHER_START), "SFT", stage, 1, OTHER_START) for stage in (0, 3)
    ]
    return jobs


# What is learned from -----------------------------------------------------------------------------


def replies(count: int, seed: int) -> list[tasks.Example]:
    """Clerks' replies from the old transcripts: some are three words long, and some thirty."""
    rng = random.Random(f"replies {seed}")
    return [
        tasks.reply(ticket, TRANSCRIPTS, rng) for ticket in sample_tickets("train", count, seed)
    ]


def pairs(count: int, seed: int) -> list[Ranking]:
    """Two clerks' replies to each ticket, in any order: what DPO is to prefer does not matter here."""
    first, second = (tokens_of(replies(count, seed + other)) for other in (0, 1000))
    found = []
    for (ids, labels), (_, others) in zip(first, second, strict=True):
        own, other = ([label for label in one if label != IGNORE] for one in (labels, others))
        found.append((ids[: len(ids) - len(own)], [own, other]))
    return found


def base_for(team: Team) -> nn.Module:
    """The base model, untouched, where the team is, which may not be the fastest device here."""
    return fresh().to(team.device)


def prompts(count: int, seed: int) -> list[list[int]]:
    return preferences.prompts(tokenizer(), sample_tickets("train", count, seed))


# The losses, added up -----------------------------------------------------------------------------


def sft_sum(model: nn.Module, batch: Batch) -> Tensor:
    """− Σ log π(y_t | x, y_<t) over a batch's response tokens."""
    ids, labels = (part.to(model.device) for part in batch)
    return -token_log_probs(model(input_ids=ids, use_cache=False).logits, labels).sum()


def tokens_in(batch: Batch) -> int:
    return int((batch[1][:, 1:] != IGNORE).sum())


def dpo_sum(model: nn.Module, known: Tensor, some: Sequence[Ranking], rows: list[int]) -> Tensor:
    """DPO's loss of these pairs, added up; known: log π_ref of all pairs, float (pairs, 2)"""
    part = [some[row] for row in rows]
    now = dpo.pair_log_probs(model, part, tokenizer().pad_token_id)
    lengths = torch.tensor([[len(response) for response in both] for _, both in part])
    logs = dpo.PairLogProbs(now, known[rows], lengths.to(now.device))
    return dpo.sigmoid_loss(logs, 0.1) * len(rows)


def grpo_sum(model: nn.Module, config: grpo.GRPOConfig, rollout: grpo.GRPORollout) -> Tensor:
    """GRPO's loss of a rollout's responses, added up."""
    rows = torch.arange(len(rollout.ids), device=rollout.ids.device)
    return grpo.minibatch_loss(rollout, rows, model, config)[0] * len(rows)


# Steps of each method: a list of parts for every one ----------------------------------------------


def sft_steps(model: nn.Module, team: Team, job: Job) -> tuple[Iterator, Callable, Callable]:
    reader = Team(0, team.size) if job.mistake == SAME_ROWS else team
    steps = sft.batches(
        tokens_of(replies(8 * BATCH, seed=0)),
        batch_size=BATCH,
        steps=STEPS,
        pad_id=tokenizer().pad_token_id,
        seed=0,
        collate=processes.share(reader, job.parts),
    )
    return steps, lambda batch: sft_sum(model, batch), tokens_in


def dpo_steps(model: nn.Module, team: Team, job: Job) -> tuple[Iterator, Callable, Callable]:
    some = pairs(STEPS * BATCH, seed=0)
    known = dpo.log_probs_of_all(model, some, tokenizer().pad_token_id, batch_size=32)

    def steps() -> Iterator[list[list[int]]]:
        for step in range(STEPS):
            mine = range(step * BATCH + team.rank, (step + 1) * BATCH, team.size)
            yield [list(mine[part :: job.parts]) for part in range(job.parts)]

    return steps(), lambda rows: dpo_sum(model, known, some, rows), len


CONFIG = grpo.GRPOConfig(size=4, minibatch=BATCH, max_new_tokens=48, learning_rate=RATE)


def brevity(prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Tensor:
    """A reward without any judgement: short responses are better."""
    return torch.tensor([-float(len(response)) for response in responses])


def grpo_steps(model: nn.Module, team: Team, job: Job) -> tuple[Iterator, Callable, Callable]:
    """Each process samples for its own prompts with a seed of its own, until its longest response
    ends. One that is alone plays the others too, one after the other, so that the same responses are
    drawn."""
    played = [team] if team.size > 1 else [Team(rank, SIZE) for rank in range(SIZE)]
    asked, reference = prompts(STEPS * BATCH // CONFIG.size, seed=0), base_for(team)
    special = {"stop_id": tokenizer().eos_token_id, "pad_id": tokenizer().pad_token_id}

    def steps() -> Iterator[list[grpo.GRPORollout]]:
        for step in range(STEPS):
            batch = asked[step * BATCH // CONFIG.size : (step + 1) * BATCH // CONFIG.size]
            with processes.gathered(model, job.stage):
                found = [drawn(one, step, batch[one.rank :: one.size]) for one in played]
            yield found

    def drawn(one: Team, step: int, mine: list[list[int]]) -> grpo.GRPORollout:
        torch.manual_seed(seed_in(job, one, step))
        return grpo.roll_out(model, reference, brevity, mine, CONFIG, **special)

    def count(rollout: grpo.GRPORollout) -> int:
        return len(rollout.ids)

    return steps(), lambda rollout: grpo_sum(model, CONFIG, rollout), count


def seed_in(job: Job, team: Team, step: int) -> int:
    """The seed of a process in a step. The mistake is to give process 0's seed to all."""
    if job.mistake == ONE_SEED:
        team = Team(0, team.size)
    return processes.seed_of(team, step + 1000 * (job.mistake == OTHER_SEEDS))


STEPS_OF = {"SFT": sft_steps, "LoRA": sft_steps, "DPO": dpo_steps, "GRPO": grpo_steps}


# A training ---------------------------------------------------------------------------------------


def start_of(job: Job, team: Team) -> nn.Module:
    """The model in the hands of the team, with an adapter or without."""
    model = base_for(team)
    if job.mistake == OTHER_START and team.rank:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01
    torch.manual_seed(100)  # all draw the same adapter
    if job.mistake == LATE_ADAPTER:  # the model is wrapped first, and then the adapter is put in
        model = processes.spread(model, job.stage, team)
        lora.inject(getattr(model, "module", model), rank=RANK, alpha=2 * RANK)
        return model
    if job.method == "LoRA":
        lora.inject(model, rank=RANK, alpha=2 * RANK)
    return processes.spread(model, job.stage, team)


def run(job: Job, team: Team, folder: Path) -> dict[str, object]:
    """Train as the job says.

    folder: of checkpoints, each named like its job
    returns losses, of every step · widths, tokens of the longest prompt with a response at
    each, for GRPO · weights, gradients and states, bytes that it holds of each at the last step (`held_by`) ·
    trained, by name, in full, on the CPU

    Raises TeamError for a checkpoint that cannot be read or written.
    """
    model = start_of(job, team)
    optimizer = processes.adamw(model, RATE, job.stage, team)
    steps, loss_sum, count_of = STEPS_OF[job.method](model, team, job)
    if job.start:
        first = processes.load(folder / job.start, model, optimizer)
        steps = itertools.islice(steps, first, None)
    if job.mistake == MEAN_OF_MEANS:
        loss = own_mean(loss_sum, count_of)
    else:
        loss = processes.team_loss(model, team, loss_sum, count_of)
    steps = itertools.islice(steps, job.stop or None)
    if job.mistake == DIES:
        steps = killed(steps, team)
    held: dict[str, int] = {}
    widths: list[int] = []
    losses = optimize.minimize(
        held_by(model, optimizer, loss, held), widths_in(steps, widths), optimizer
    )
    if job.stop:
        processes.save(folder / job.name, model, optimizer, job.stop, team)
    return {"losses": losses, "widths": widths, **held, "trained": trained(model)}


def trained(model: nn.Module) -> dict[str, Tensor]:
    """What trained, in full; all processes have to ask."""
    learning = {name for name, one in model.named_parameters() if one.requires_grad}
    return {
        name: tensor.cpu()
        for name, tensor in processes.whole_parameters(model).items()
        if not learning.isdisjoint((name, f"module.{name}"))
    }


def widths_in(steps: Iterable[list], widths: list[int]) -> Iterator[list]:
    """The steps; how many tokens wide a rollout is goes to `widths`."""
    for parts in steps:
        widths += [part.ids.shape[1] for part in parts if isinstance(part, grpo.GRPORollout)]
        yield parts


def held_by(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable, held: dict[str, int]
) -> Callable[[list], Tensor]:
    """The loss, which counts what this process holds: weights when the loss is known, gradients when
    the backward pass is through, states after the step. The last step's numbers stay in `held`."""

    def counted(parts: list) -> Tensor:
        value = loss(parts)
        held["weights"] = processes.own_bytes(model.parameters())
        return value

    def gradients(*_: object) -> None:
        grads = (one.grad for one in model.parameters() if one.grad is not None)
        held["gradients"] = processes.own_bytes(grads)

    def states(*_: object) -> None:
        held["states"] = processes.own_bytes(states_of(optimizer))

    optimizer.register_step_pre_hook(gradients)
    optimizer.register_step_post_hook(states)
    return counted


def states_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Both running means of every parameter that this process takes a step for."""
    optimizer = getattr(optimizer, "optim", optimizer)  # ZeroRedundancyOptimizer's own
    return [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]


def own_mean(loss_sum: Callable, count_of: Callable) -> Callable[[list], Tensor]:
    """The mistake: each process's own mean, which torch then averages over the processes."""
    return lambda parts: sum(map(loss_sum, parts)) / sum(map(count_of, parts))


def killed(steps: Iterable, team: Team) -> Iterator:
    """The steps, and the end of process 1 before the third, as when its machine goes down."""
    for number, step in enumerate(steps):
        if number == 2 and team.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield step


# A team at work -----------------------------------------------------------------------------------


def alone(jobs: Iterable[Job], folder: Path, *, threads: int = 1) -> dict[str, dict[str, object]]:
    """What one process finds, by the name of each job, with as many threads as one of a team has.

    Another number of threads adds up in another order. Raises TeamError as `run` does.
    """
    with using(threads):
        return {job.name: run(job, processes.ALONE, folder) for job in jobs}


@contextlib.contextmanager
def using(threads: int) -> Iterator[None]:
    """Let torch use so many threads, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def work(jobs: Sequence[Job], folder: Path) -> None:
    """Every process runs every job; what process k found goes to folder/k/job.pt."""
    machine.quieten()
    torch.set_num_threads(1)  # for each process, so that two of them share two cores
    with processes.join(patience=2) as team:
        for job in jobs:
            result = run(job, team, folder)
            place = folder / str(team.rank)
            place.mkdir(parents=True, exist_ok=True)
            torch.save(result, place / f"{job.name}.pt")


def launch(
    jobs: Sequence[Job], folder: Path, *, size: int = SIZE, port: int | None = None
) -> dict[str, list[dict[str, object]]]:
    """Let `size` processes do the jobs, started by accelerate launch; without a launcher if 1.

    folder: for results and checkpoints · port: at which they meet, a free one if it is None
    returns by the name of each job what every process found, in their order

    Raises TeamError if one of them fails: the message says which and why. Checkpoints that were
    written before are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "jobs.json"
    listed.write_text(json.dumps([asdict(job) for job in jobs]))
    what = ["-m", "experiments.outgrow", str(listed), str(folder)]
    options = {"num_processes": size, "num_machines": 1, "main_process_port": port or free_port()}
    options |= {"mixed_precision": "no", "dynamo_backend": "no"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    if size > 1:
        what = ["-m", "accelerate.commands.launch", "--multi_gpu", *words, *what]
    ended = subprocess.run(
        [sys.executable, *what], cwd=LABS, env=surroundings(), capture_output=True, text=True
    )
    if ended.returncode:
        raise TeamError(complaint(ended.stderr))
    return found(jobs, folder, size=size)


def found(
    jobs: Iterable[Job], folder: Path, *, size: int = SIZE
) -> dict[str, list[dict[str, object]]]:
    """By the name of each job what every process found, in their order, also if a later job failed."""
    return {
        job.name: [torch.load(folder / str(rank) / f"{job.name}.pt") for rank in range(size)]
        for job in jobs
    }


# What a launcher says to the processes of its own team.
OTHERS = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_",
    "GROUP_",
    "ROLE_",
    "MASTER_",
    "TORCHELASTIC_",
    "ACCELERATE_",
)


def surroundings() -> dict[str, str]:
    """The environment of a team's processes: one thread each, no GPU, and no other team's places."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(LABS), "CUDA_VISIBLE_DEVICES": ""}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def complaint(errors: str) -> str:
    """One sentence of what the processes and their launcher wrote."""
    if "EADDRINUSE" in errors or "address already in use" in errors.lower():
        return "the port is in use: end the team that has it, or name another one"
    found = re.findall(r"^(?:\[rank\d+\]: )?(?:[\w.]+\.)?(\w*Error): (.+)$", errors, re.M)
    ours = [said for name, said in found if name == "TeamError"]
    if ours:
        return ours[0]
    if match := re.search(r"rank\s*: (\d+) .*\n\s*exitcode\s*: -9\b", errors):
        return (
            f"process {match[1]} was killed, and the others were stopped: go on from the last "
            "checkpoint, with as many processes as there are"
        )
    if found:
        return "a process ended: " + ": ".join(found[0])
    return f"a process ended: {(errors.strip().splitlines() or ['it said nothing'])[-1][-200:]}"


if __name__ == "__main__":
    work([Job(**job) for job in json.loads(Path(sys.argv[1]).read_text())], Path(sys.argv[2]))
