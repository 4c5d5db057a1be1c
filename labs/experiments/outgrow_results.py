"""What lab 12 makes of its teams: how far they are from one process, and what each process holds."""

import math
from collections.abc import Callable, Sequence

import torch
from course import BLUE, GREEN, GREY, ORANGE
from experiments.outgrow import AT_STAGES, METHODS, OTHER_SEEDS, WRONG, named, replies
from experiments.shared import tokenizer, tokens_of
from matplotlib.axes import Axes
from methods.tokens import IGNORE, collate, token_log_probs
from planning import memory, shapes
from planning.memory import Training
from torch import Tensor, nn

Found = dict[str, object]  # what outgrow.run returns
PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "states": "optimiser states",
}  # the planner's
BY_STAGE = (BLUE, GREEN, ORANGE, GREY)

# Names of measures: by how many processes or shards, by which mistake, by devices and stage
MEANS_ANGLES = {2: "outgrow.means_angle_2", 4: "outgrow.means_angle_4", 8: "outgrow.means_angle_8"}
BUG_ANGLES = {2: "outgrow.bug_angle_2", 8: "outgrow.bug_angle_8", 64: "outgrow.bug_angle_64"}
BUG_LENGTHS = {2: "outgrow.bug_length_2", 8: "outgrow.bug_length_8", 64: "outgrow.bug_length_64"}
WRONG_GAPS = {
    "means": "outgrow.gap_means",
    "same rows": "outgrow.gap_same_rows",
    "one seed": "outgrow.gap_one_seed",
    "late adapter": "outgrow.gap_late_adapter",
    OTHER_SEEDS: "outgrow.gap_other_seeds",
}
PLANNED = {
    (8, 0): "outgrow.planned_8_0",
    (8, 3): "outgrow.planned_8_3",
    (64, 3): "outgrow.planned_64_3",
    (512, 3): "outgrow.planned_512_3",
}


# How far apart ------------------------------------------------------------------------------------


def gap(one: Found, other: Found) -> float:
    """The largest difference of a parameter that trained. Raises ValueError for different ones."""
    if one["trained"].keys() != other["trained"].keys():
        raise ValueError("the two trained different parameters")
    return max(
        (tensor - other["trained"][name]).abs().max().item()
        for name, tensor in one["trained"].items()
    )


def loss_gap(one: Found, other: Found) -> float:
    """The largest difference of a step's loss."""
    pairs = zip(one["losses"], other["losses"], strict=True)
    return max(abs(mine - theirs) for mine, theirs in pairs)


def gaps(
    alone: dict[str, Found], team: dict[str, list[Found]], of: Callable[[Found, Found], float]
) -> dict[str, float]:
    """For each job at a stage, the largest gap between a process of the team and the one alone."""
    return {
        named(method, stage): max(of(one, alone[method]) for one in team[named(method, stage)])
        for method, stage in AT_STAGES
    }


def wrong_gaps(alone: dict[str, Found], team: dict[str, list[Found]]) -> dict[str, float]:
    """For each mistake, how far process 0 ends from the one alone; for a late adapter, how far the two
    processes end from each other. The last is no mistake: a right run with other seeds."""
    late = WRONG[-1].name
    found = {job.name: gap(team[job.name][0], alone[job.method]) for job in WRONG[:-1]}
    return found | {late: gap(*team[late]), OTHER_SEEDS: gap(team[OTHER_SEEDS][0], alone["GRPO"])}


def draw_losses(ax: Axes, alone: dict[str, Found], team: dict[str, list[Found]]) -> None:
    """Each method's losses: a line for one process, dots for two. They are divided by the largest,
    so that all four fit on one axis."""
    for method, color in zip(METHODS, BY_STAGE):
        losses = alone[method]["losses"]
        scale = max(map(abs, losses))
        ax.plot([loss / scale for loss in losses], color=color, label=method)
        both = team[named(method, 3)][0]["losses"]
        ax.plot([loss / scale for loss in both], "o", color=color, markersize=4)
    ax.set(xlabel="step", ylabel="loss, by its largest")
    ax.legend(fontsize="small")


NONE = 1e-7  # where a logarithmic axis shows no difference at all


def draw_gaps(ax: Axes, right: dict[str, float], wrong: dict[str, float]) -> None:
    """The largest difference of a parameter on a logarithmic axis: jobs done rightly, and mistakes,
    with a right run of other seeds in grey. A difference of 0 has no place there: it is a ring at the left edge."""
    names = [*right, *wrong]
    for place, name in enumerate(names):
        value = (right | wrong)[name]
        color = GREY if name == OTHER_SEEDS else ORANGE if name in wrong else BLUE
        ax.plot(max(value, NONE), place, "o", color=color, fillstyle="full" if value else "none")
    ax.axvline(1e-5, color=GREY, linewidth=1, linestyle=":")
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="largest difference of a parameter")


# What each holds ----------------------------------------------------------------------------------


def held(alone: dict[str, Found], team: dict[str, list[Found]]) -> dict[tuple[int, str], float]:
    """By stage and part: the share of SFT's bytes that process 0 of two holds."""
    return {
        (stage, part): team[named("SFT", stage)][0][part] / alone["SFT"][part]
        for stage in range(4)
        for part in PARTS
    }


def planned(stage: int, part: str, devices: int = 2) -> float:
    """The same share, by planning/memory.py."""
    name = PARTS[part]
    return memory.sharded({name: 1.0}, devices, stage)[name]


def draw_held(ax: Axes, found: dict[tuple[int, str], float]) -> None:
    """Bars for what process 0 holds, strokes for what was planned."""
    for place, part in enumerate(PARTS):
        for stage, color in enumerate(BY_STAGE):
            at = place + (stage - 1.5) / 5
            ax.bar(
                at, found[stage, part], 0.18, color=color, label=None if place else f"stage {stage}"
            )
            ax.plot(
                [at - 0.09, at + 0.09], [planned(stage, part)] * 2, color="black", linewidth=1.5
            )
    ax.set_xticks(range(len(PARTS)), PARTS)
    ax.set(ylabel="share on process 0", ylim=(0, 1.35))
    ax.legend(fontsize="small", ncols=4, loc="upper center")


LARGE = "Llama 3.1 8B"
DEVICES = (1, 8, 64, 512)


def planned_gb(devices: int, stage: int, model: str = LARGE) -> float:
    """GB on each device at the peak: all parameters, mixed precision, a row of 2,048 tokens each."""
    training = Training(shapes.named(model), devices=devices, stage=stage)
    return memory.peak(training).total / memory.GB


def draw_planned(ax: Axes) -> None:
    """GB on each device against the number of devices, a line for each stage."""
    for stage, color in enumerate(BY_STAGE):
        sizes = [planned_gb(devices, stage) for devices in DEVICES]
        ax.plot(DEVICES, sizes, "o-", color=color, label=f"stage {stage}")
    ax.set(xscale="log", xlabel="devices", ylabel="GB on each")
    ax.set_xticks(DEVICES, [str(devices) for devices in DEVICES])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.legend(fontsize="small")


# One process plays several ------------------------------------------------------------------------


def token_losses(model: nn.Module, count: int, seed: int) -> list[Tensor]:
    """The losses of the tokens of so many replies, a tensor (tokens,) with a gradient for each."""
    rows = tokens_of(replies(count, seed))
    ids, labels = collate(rows, tokenizer().pad_token_id)
    ids, labels = ids.to(model.device), labels.to(model.device)
    losses = -token_log_probs(model(input_ids=ids, use_cache=False).logits, labels)
    counts = labels[:, 1:] != IGNORE
    return [losses[row][counts[row]] for row in range(count)]


def averaged_gradient(
    model: nn.Module, losses: Sequence[Tensor], size: int, objective: Callable
) -> Tensor:
    """The gradient that `size` processes would step with: the average of the gradients of what each
    of them minimises, objective(its losses, counts). losses: of each row, dealt out like cards"""
    dealt = [torch.cat(list(losses[rank::size])) for rank in range(size)]
    counts = [len(own) for own in dealt]
    objectives = [objective(own, counts) for own in dealt]
    grads = torch.autograd.grad(sum(objectives) / size, list(model.parameters()), retain_graph=True)
    return torch.cat([grad.flatten() for grad in grads])


def angle(one: Tensor, other: Tensor) -> float:
    """Between two gradients, in degrees."""
    cosine = torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0)
    return math.degrees(math.acos(min(1.0, cosine.item())))
