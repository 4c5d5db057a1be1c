"""The same training on several processes: what each of them reads, and how their results become one.

    L(θ) = Σ_k S_k(θ) / Σ_k N_k        S_k, N_k: process k's losses, added up, and how many they are

torch averages the gradients of K processes. So each process has to minimise K · S_k / Σ N, with the
count of all of them, and the average is the gradient of L. The mean of the processes' own means,
1/K Σ S_k / N_k, is another loss: it gives the tokens of a process with few of them more weight.

Every process reads its own rows of the same batch (`share`), draws responses with a seed of its own
(`seed_of`), and sees the loss of the whole team, so that all of them stop at the same step. What a
process keeps a part of, and no longer all, is said by a stage (Rajbhandari et al. 2020, section 5):

    0   nothing; gradients are averaged                              DistributedDataParallel
    1   the optimizer's states                                       and ZeroRedundancyOptimizer
    2   also the gradients; weights are whole from the first layer   fully_shard (FSDP), which leaves
        of a step until its backward pass                            layers gathered
    3   also the weights; a layer is whole while it computes         fully_shard

`optimize.minimize` trains the result, with the loss that `team_loss` makes of a method's own sum and
count. A method's whole loop does not: `sft.fine_tune` on two processes takes the mean of means.

Left out on purpose: tensor and pipeline parallelism, mixed precision, sharding inside a machine and
copies across machines, a model that no machine's memory holds while it is read.
"""

import contextlib
import datetime
import functools
import inspect
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from methods import optimize
from methods.tokens import Batch, Tokens, collate
from torch import Tensor, nn
from torch.distributed.checkpoint import CheckpointException
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

STAGES = (0, 1, 2, 3)
Part, Found = TypeVar("Part"), TypeVar("Found")
PATIENCE = 30.0  # minutes that a process waits for another one, which may be fetching a model


class TeamError(RuntimeError):
    """The processes cannot work together; the message says why and what to do."""


@dataclass(frozen=True)
class Team:
    """The processes of a run as one of them sees it: which one it is, of how many, on what device."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0


ALONE = Team()


# Coming together ----------------------------------------------------------------------------------


NAMED = (("WORLD_SIZE", 1), ("RANK", 0))


@contextlib.contextmanager
def join(patience: float = PATIENCE) -> Iterator[Team]:
    """The team that a launcher has started: torchrun, accelerate launch, or Slurm through either.

    They name it in RANK, WORLD_SIZE and LOCAL_RANK; without those, the process is alone.
    patience: minutes after which a process gives up waiting for the others

    Raises TeamError where there are fewer GPUs than processes on this machine, or they do not meet.
    A process that fails ends without leaving the group, since that could wait for the others; its
    launcher ends them.
    """
    size, rank = (int(os.environ.get(name, value)) for name, value in NAMED)
    device = device_of(int(os.environ.get("LOCAL_RANK", 0)))
    if size == 1 or dist.is_initialized():  # Ray Train lets its processes meet by itself
        yield Team(rank, size, device)
        return
    try:
        dist.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            timeout=datetime.timedelta(minutes=patience),
        )
    except (RuntimeError, ValueError) as error:
        raise TeamError(
            f"process {rank} of {size} found no others ({first_line(error)}): start all of them by "
            "one launcher, and let its port be free"
        ) from None
    yield Team(rank, size, device)
    dist.destroy_process_group()


def device_of(local_rank: int) -> str:
    """A GPU for each process of a machine, or the CPU for all of them. Raises TeamError."""
    found = torch.cuda.device_count()
    if not found:
        return "cpu"
    if local_rank >= found:
        raise TeamError(
            f"this machine has {found} GPUs and process {local_rank + 1} wants one of its own: start "
            f"{found} processes, or hide the GPUs with CUDA_VISIBLE_DEVICES= to use the CPU"
        )
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def led(team: Team, act: Callable[[], Found]) -> Found:
    """What process 0's act returns, in every process; no other process acts.

    Raises TeamError in all of them if process 0 meets an OSError, a ValueError or a TeamError.
    """
    told: list = [None, None]
    if team.leads:
        try:
            told[0] = act()
        except (OSError, ValueError, TeamError) as error:
            told[1] = str(error)
    if team.size > 1:
        dist.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise TeamError(told[1])
    return told[0]


# What each reads ----------------------------------------------------------------------------------


def share(team: Team, parts: int = 1) -> Callable[[Sequence[Tokens], int], list[Batch]]:
    """What `sft.batches` takes as collate: this process's rows of a batch, in so many parts.

    A batch of size B is dealt out row by row, so that the processes together read each row once, and
    each of them B / K; its rows are read in `parts` portions, one after the other. Raises ValueError
    for a batch that does not deal out evenly.
    """

    def collated(examples: Sequence[Tokens], pad_id: int) -> list[Batch]:
        portions = team.size * parts
        if len(examples) % portions:
            raise ValueError(
                f"{len(examples)} rows do not deal out evenly to {team.size} processes with {parts} "
                f"parts each: let the batch be a multiple of {portions}"
            )
        mine = examples[team.rank :: team.size]
        return [collate(mine[part::parts], pad_id) for part in range(parts)]

    return collated


def seed_of(team: Team, seed: int) -> int:
    """A seed that no other process of the team has. With equal seeds, all would make the same random
    choices: for the same prompt, the same response."""
    return seed * team.size + team.rank


# What comes of it ---------------------------------------------------------------------------------


def total(value: Tensor, team: Team) -> Tensor:
    """The sum over all processes, without a gradient."""
    value = value.detach().clone()
    if team.size > 1:
        dist.all_reduce(value)
    return value


def least(value: float, team: Team) -> float:
    """The smallest value that a process has."""
    found = torch.tensor(value, dtype=torch.double, device=team.device)
    if team.size > 1:
        dist.all_reduce(found, dist.ReduceOp.MIN)
    return found.item()


def team_loss(
    model: nn.Module,
    team: Team,
    loss_sum: Callable[[Part], Tensor],
    count_of: Callable[[Part], int],
) -> Callable[[Sequence[Part]], Tensor]:
    """The loss that `optimize.minimize` takes, of the list of this process's parts of a batch.

    loss_sum: a part's losses added up, a scalar with its gradient · count_of: how many they are

    Its value is the mean over the whole batch of the whole team, the same in every process. Its
    gradient is this process's share, times K, so that the average over the team is the gradient of
    that mean. All parts but the last go backward at once, which frees their memory. Raises ValueError
    where nothing counts in any of them.
    """

    def loss(parts: Sequence[Part]) -> Tensor:
        count = total(torch.tensor(float(sum(map(count_of, parts))), device=team.device), team)
        if not count:
            raise ValueError("nothing counts in this batch: check its labels")
        weight = team.size / count
        done = torch.zeros((), device=team.device)
        with unsynchronised(model):
            for part in parts[:-1]:
                own = loss_sum(part) * weight
                own.backward()
                done += own.detach()
        own = loss_sum(parts[-1]) * weight
        mean = total(done + own, team) / team.size
        return own + (mean - own).detach()

    return loss


def unsynchronised(model: nn.Module) -> contextlib.AbstractContextManager:
    """Keep the gradients of stages 0 and 1 in the process that made them, until the next backward
    pass outside. Those of stages 2 and 3 are divided at once: kept, they would be whole."""
    return (
        model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()
    )


# Where the numbers lie ----------------------------------------------------------------------------


class Replica(DistributedDataParallel):
    """DistributedDataParallel that answers for its model: its device, what its forward takes, ...

    Buffers are not sent around at every call, since processes that sample call the model a different
    number of times. A gradient lies in the buffer that is averaged, so there is no copy of it.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model, forward_sync_buffers=False, gradient_as_bucket_view=True)
        forward = functools.partial(super().forward)
        forward.__signature__ = inspect.signature(model.forward)
        self.forward = forward

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.module, name)


def spread(model: nn.Module, stage: int, team: Team) -> nn.Module:
    """The model in the hands of the team, with process 0's numbers everywhere.

    Whatever is put into the model later, an adapter say, is not synchronised: put it in before. Raises ValueError for no stage, and for a model without layers.
    """
    if stage not in STAGES:
        raise ValueError(f"there is no stage {stage!r}: take one of {STAGES}")
    if team.size == 1:
        return model.to(team.device)
    if stage < 2:
        return Replica(model.to(team.device))  # which sends process 0's numbers around by itself
    mesh = init_device_mesh(torch.device(team.device).type, (team.size,))
    for part in [*layers_of(model), model]:  # one at a time, so that no device meets all of them
        take_from_process_0(part.to(team.device))
        fully_shard(part, mesh=mesh, reshard_after_forward=stage == 3)
    return model


def adamw(model: nn.Module, learning_rate: float, stage: int, team: Team) -> torch.optim.Optimizer:
    """`optimize.adamw` of a model from `spread`, with the states that belong to this process."""
    if stage != 1 or team.size == 1:
        return optimize.adamw(model.parameters(), learning_rate)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options = {"lr": learning_rate, "weight_decay": 0.0, "fused": True}
    return ZeroRedundancyOptimizer(trainable, torch.optim.AdamW, **options)


def take_from_process_0(module: nn.Module) -> nn.Module:
    """Process 0's numbers in every process, but for parts that are shared out already."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if not isinstance(tensor, DTensor):
            dist.broadcast(tensor.detach(), src=0)
    return module


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The model's layers: its first list of modules, which may hold lists of experts. Raises
    ValueError if it has none."""
    for module in model.modules():  # a module before what it holds
        if isinstance(module, nn.ModuleList):
            return module
    raise ValueError("the model has no list of layers, so nothing says where to divide it")


@contextlib.contextmanager
def gathered(model: nn.Module, stage: int) -> Iterator[None]:
    """Keep a model whole for a while, as sampling needs it: a process whose responses have ended asks
    for no further layer, and the others would wait for it."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    try:
        for part in parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(stage == 3, recurse=False)
            part.reshard()


def whole_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter in full, by its name in the model; all processes have to ask."""
    return {
        name.removeprefix("module."): full(parameter.detach()).clone()
        for name, parameter in model.named_parameters()
    }


def full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of these tensors that lie in this process."""
    here = (one.to_local() if isinstance(one, DTensor) else one for one in tensors)
    return sum(one.numel() * one.element_size() for one in here)


# Checkpoints --------------------------------------------------------------------------------------

# What does not train is not written: whoever goes on has it, as they have the code.
TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)
LAST = ".metadata"  # the file that is written last, and makes a checkpoint whole


def is_whole(folder: Path) -> bool:
    return (folder / LAST).is_file()


def save(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, team: Team
) -> None:
    """Write what trains, the optimizer's states and the step, so that any number of processes can go
    on from there, at any stage but 1, whose states torch does not collect. An older
    checkpoint in this folder is removed.

    Each process writes what it holds. What breaks off leaves a folder that is not whole, which
    `load` refuses. Raises TeamError where a process cannot write.
    """
    led(team, lambda: shutil.rmtree(folder) if folder.exists() else None)
    with (
        refusing(f"{folder} cannot be written", "free some space, or name another folder"),
        quiet(),
    ):
        dcp.save(state_of(model, optimizer, step), checkpoint_id=folder)


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put a checkpoint into model and optimizer, in place; returns its step.

    It may have been written by another number of processes, at another stage. Raises TeamError for a
    folder without a whole checkpoint, or of another model. If a file turns out to be damaged, model
    and optimizer hold a part of the checkpoint: load another one, or end.
    """
    state = state_of(model, optimizer, 0)
    refusal = f"{folder} holds no whole checkpoint of this model"
    with refusing(refusal, "name another one, or begin afresh"), quiet():
        dcp.load(state, checkpoint_id=folder)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=TRAINED,
    )
    return state["step"]


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> dict[str, object]:
    weights, states = get_state_dict(model, optimizer, options=TRAINED)
    return {"model": weights, "optimizer": states, "step": step}


@contextlib.contextmanager
def refusing(what: str, remedy: str) -> Iterator[None]:
    """A sentence for a process's failure, which all processes are told of."""
    try:
        yield
    except CheckpointException as error:
        rank, (first, _) = min(error.failures.items())
        raise TeamError(f"{what} (process {rank}: {first_line(first)}): {remedy}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without torch's warning that a process which is alone is alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
