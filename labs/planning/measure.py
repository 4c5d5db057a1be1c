"""How much memory a piece of work really takes, as PyTorch's allocator counts it.

On a CPU the profiler records every allocation and every release; on a GPU the allocator keeps its
own highest mark. Both count what tensors ask for, not what a process holds.
"""

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell each start on the standard error
MEMORY_EVENT = "[memory]"  # the profiler's name for an allocation (bytes > 0) or release (< 0)


class Used(NamedTuple):
    """Bytes beyond what was allocated before. kept: still allocated afterwards · peak: at most"""

    kept: int
    peak: int


def allocated(work: Callable[[], object], device: torch.device) -> Used:
    """Do the work and count what it allocates on the device; its result is dropped before the
    count ends."""
    if device.type == "cuda":
        return _on_gpu(work, device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as trace:
        work()
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in trace.profiler.kineto_results.events()
        if event.name() == MEMORY_EVENT and event.device_type() == DeviceType.CPU
    )
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return Used(held, highest)


def _on_gpu(work: Callable[[], object], device: torch.device) -> Used:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    kept = torch.cuda.memory_allocated(device) - before
    return Used(kept, torch.cuda.max_memory_allocated(device) - before)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors; a storage that several of them share counts once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    return sum(storage.nbytes() for storage in storages.values())


def states_of(optimizer: torch.optim.Optimizer, *models: nn.Module) -> dict[str, int]:
    """Bytes of what the models and the optimiser keep between two steps, by part as in memory.py."""
    parameters = [parameter for model in models for parameter in model.parameters()]
    kept = [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
    return {
        "weights": bytes_of(one for one in parameters if one.requires_grad),
        "frozen weights": bytes_of(one for one in parameters if not one.requires_grad),
        "optimiser states": bytes_of(kept),
    }
