"""A sampler of its own, in lab 12: copies of the model in lower precision draw the responses, and the
model computes what it would have to know of them.

The gradient is that of the expected reward, for the reward `brevity`: what a step of GRPO or RLOO
follows, before any clip. Every seed has its own prompts and random numbers, the same ones for each
sampler, so that two samplers of the same policy would draw the same responses.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from course import BLUE, GREEN, ORANGE
from experiments.outgrow import brevity, prompts, using
from experiments.outgrow_results import angle
from experiments.shared import tokenizer
from matplotlib.axes import Axes
from methods import grpo, kl, samplers
from methods.rollouts import log_probs_by_length
from methods.samplers import Drawn, Own, Rounded, Sampler
from torch import Tensor, nn

# Nobody serves a model with the three numbers of 2 bits. It is here as a mismatch that cannot be
# overlooked, since that of the others might be.
ROUNDINGS = {
    "bfloat16": samplers.bfloat16,
    "4 bits": samplers.few_bits(4),
    "2 bits": samplers.few_bits(2),
}
OWN, COARSE = "own", "2 bits"
SAMPLERS = (OWN, *ROUNDINGS)

SEEDS = range(5)
PROMPTS, SIZE = 10, 4  # of a seed, and responses to each
LONGEST = 48  # tokens, where a response is cut
NEAR = (0.8, 1.25)  # ratios outside of it are counted

# How tokens are weighted: not at all, each by its ratio, by that of its response, and by the latter
# without a ceiling.
PLAIN, TOKEN, WHOLE, UNCUT = "not weighted", "tokens", "responses", "responses, no ceiling"
WAYS = (PLAIN, TOKEN, WHOLE, UNCUT)
# Which gradients are computed, since they take the most time. Weights that are all close to 1 change
# none, and bfloat16 is nearer than 4 bits.
SLOPES = {OWN: (PLAIN,), "bfloat16": (), "4 bits": (PLAIN,), COARSE: WAYS}


def sampler_of(name: str, model: nn.Module) -> Sampler:
    return Own(model) if name == OWN else Rounded(model, ROUNDINGS[name])


def drawn(sampler: Sampler, model: nn.Module, seed: int) -> Drawn:
    """SIZE responses of the sampler to each of this seed's prompts."""
    asked = [prompt for prompt in prompts(PROMPTS, 500 + seed) for _ in range(SIZE)]
    torch.manual_seed(seed)
    return samplers.draw(
        sampler,
        model,
        asked,
        max_new_tokens=LONGEST,
        temperature=1.0,
        stop_id=tokenizer().eos_token_id,
        pad_id=tokenizer().pad_token_id,
    )


def mismatch(some: Drawn) -> dict[str, float]:
    """How far the two policies are apart on the tokens that the sampler drew.

    mean, largest: |log π_s − log π|, in nats · outside: share of tokens whose ratio π / π_s leaves
    0.8 to 1.25 · kl: D_KL(π_s ‖ π) of a token, in nats, by k3 · effective: share of the responses
    that would say as much, all weighing the same, as these with their weights: (Σ w)² / (n Σ w²)
    """
    mine, theirs = some.sampler_log_probs[some.counts], some.trainer_log_probs[some.counts]
    ratios, whole = (theirs - mine).exp(), response_weights(some)
    return {
        "mean": (theirs - mine).abs().mean().item(),
        "largest": (theirs - mine).abs().max().item(),
        "outside": ((ratios < NEAR[0]) | (ratios > NEAR[1])).float().mean().item(),
        "kl": kl.k3(mine, theirs).mean().item(),
        "effective": (whole.sum() ** 2 / whole.square().sum() / len(whole)).item(),
    }


def weights_of(some: Drawn) -> dict[str, Tensor]:
    """By the way of weighting, the weight of every token: float (batch, time - 1)."""
    both = some.sampler_log_probs, some.trainer_log_probs, some.counts
    return {
        PLAIN: torch.ones_like(some.sampler_log_probs),
        TOKEN: samplers.importance(*both),
        WHOLE: samplers.importance(*both, whole=True),
        UNCUT: samplers.importance(*both, math.inf, whole=True),
    }


def response_weights(some: Drawn, ceiling: float = math.inf) -> Tensor:
    """π(y | x) / π_s(y | x) of each response, float (batch,)."""
    both = some.sampler_log_probs, some.trainer_log_probs, some.counts
    return samplers.importance(*both, ceiling, whole=True).where(some.counts, 0).amax(-1)


def gradients(model: nn.Module, some: Drawn, ways: Iterable[str] = WAYS) -> dict[str, Tensor]:
    """By the way of weighting, the estimate of ∇ E_{y ~ π} [brevity(y)], all parameters in a row.

    Without weights the sampler's responses are taken for the model's own. With those of whole
    responses and no ceiling the estimate is unbiased; the other two are a compromise. The advantages
    leave one out, and nothing is divided by a deviation or a length.
    """
    scores = brevity([], some.samples.responses).to(some.ids.device)
    advantages = grpo.leave_one_out(scores, SIZE).unsqueeze(-1)
    now = log_probs_by_length(model, some.ids, some.real, some.labels, 1.0)
    parameters, weights, found = list(model.parameters()), weights_of(some), {}
    for way in ways:
        gain = (weights[way] * advantages * now).sum() / len(scores)
        grads = torch.autograd.grad(gain, parameters, retain_graph=True)
        found[way] = torch.cat([grad.flatten() for grad in grads])
    return found


# The comparison -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What one sampler's responses give for one seed.

    mismatch: from `mismatch` · angles: in degrees, by the way of weighting,
    between the gradient of these responses and the mean of what the model's own give for the other
    seeds
    """

    mismatch: dict[str, float]
    angles: dict[str, float]


@using(threads=1)  # on a busy machine, two that wait for each other take many times as long
def compare(model: nn.Module, seeds: Sequence[int] = SEEDS) -> dict[str, list[Found]]:
    """For each sampler, what is found for each seed; gradients in the ways of SLOPES. At least two
    seeds, since a gradient is compared with those of the others."""
    draws = {name: [] for name in SAMPLERS}
    for name, some in draws.items():
        sampler = sampler_of(name, model)
        some += [drawn(sampler, model, seed) for seed in seeds]
    slopes = {
        name: [gradients(model, some, SLOPES[name]) if SLOPES[name] else {} for some in draws[name]]
        for name in SAMPLERS
    }
    own = torch.stack([slope[PLAIN] for slope in slopes[OWN]])
    others = [(own.sum(0) - row) / (len(own) - 1) for row in own]
    return {
        name: [
            Found(mismatch(some), {way: angle(g, aim) for way, g in slope.items()})
            for some, slope, aim in zip(draws[name], slopes[name], others)
        ]
        for name in SAMPLERS
    }


# Names of measures: which number of which sampler, the mean over seeds
MISMATCHES = {
    "outgrow.sampler_gap_own": (OWN, "mean"),
    "outgrow.sampler_gap_bf16": ("bfloat16", "mean"),
    "outgrow.sampler_gap_4_bits": ("4 bits", "mean"),
    "outgrow.sampler_gap_2_bits": (COARSE, "mean"),
    "outgrow.sampler_kl_bf16": ("bfloat16", "kl"),
    "outgrow.sampler_kl_4_bits": ("4 bits", "kl"),
    "outgrow.sampler_kl_2_bits": (COARSE, "kl"),
    "outgrow.sampler_outside_4_bits": ("4 bits", "outside"),
    "outgrow.sampler_outside_2_bits": (COARSE, "outside"),
    "outgrow.sampler_effective_4_bits": ("4 bits", "effective"),
    "outgrow.sampler_effective_2_bits": (COARSE, "effective"),
}
UNITS = {
    "mean": "nats per token",
    "kl": "nats per token",
    "outside": "share of tokens",
    "effective": "share",
}
# The largest of all seeds
LARGEST = {
    "outgrow.sampler_largest_bf16": "bfloat16",
    "outgrow.sampler_largest_4_bits": "4 bits",
    "outgrow.sampler_largest_2_bits": COARSE,
}
ANGLES = {
    "outgrow.sampler_angle_own": (OWN, PLAIN),
    "outgrow.sampler_angle_4_bits": ("4 bits", PLAIN),
    "outgrow.sampler_angle_2_bits": (COARSE, PLAIN),
    "outgrow.sampler_angle_2_bits_tokens": (COARSE, TOKEN),
    "outgrow.sampler_angle_2_bits_responses": (COARSE, WHOLE),
    "outgrow.sampler_angle_2_bits_no_ceiling": (COARSE, UNCUT),
}
# By how much farther off than the model's own
TILTS = {
    "outgrow.sampler_tilt_4_bits": ("4 bits", PLAIN),
    "outgrow.sampler_tilt_2_bits": (COARSE, PLAIN),
    "outgrow.sampler_tilt_2_bits_tokens": (COARSE, TOKEN),
    "outgrow.sampler_tilt_2_bits_responses": (COARSE, WHOLE),
    "outgrow.sampler_tilt_2_bits_no_ceiling": (COARSE, UNCUT),
}


# By how much weights turn the gradient back
REPAIRS = {"outgrow.sampler_repair_tokens": TOKEN, "outgrow.sampler_repair_responses": WHOLE}


def angles(found: dict[str, list[Found]], name: str, way: str = PLAIN) -> list[float]:
    """Of a sampler's gradients, one for each seed, in degrees."""
    return [one.angles[way] for one in found[name]]


def tilts(found: dict[str, list[Found]], name: str, way: str = PLAIN) -> list[float]:
    """For each seed, by how many degrees the gradient is farther off than that of the model's own
    responses."""
    pairs = zip(angles(found, name, way), angles(found, OWN), strict=True)
    return [one - own for one, own in pairs]


def repairs(found: dict[str, list[Found]], way: str) -> list[float]:
    """For each seed, by how many degrees the gradient of the coarse sampler's responses is nearer when
    they are weighted."""
    pairs = zip(angles(found, COARSE), angles(found, COARSE, way), strict=True)
    return [plain - weighted for plain, weighted in pairs]


def numbers(found: dict[str, list[Found]]) -> dict[str, tuple[object, str]]:
    """By the name of each measure its values, one for each seed, or its value; and the unit."""
    told = {
        name: ([one.mismatch[what] for one in found[sampler]], UNITS[what])
        for name, (sampler, what) in MISMATCHES.items()
    }
    told |= {
        name: (max(one.mismatch["largest"] for one in found[sampler]), "largest, in nats")
        for name, sampler in LARGEST.items()
    }
    told |= {name: (angles(found, *which), "degrees") for name, which in ANGLES.items()}
    told |= {name: (repairs(found, way), "degrees") for name, way in REPAIRS.items()}
    return told | {name: (tilts(found, *which), "degrees") for name, which in TILTS.items()}


# Pictures -----------------------------------------------------------------------------------------


def draw_angles(ax: Axes, found: dict[str, list[Found]]) -> None:
    """The angles of each sampler's gradients: a dot for each seed, a stroke for the mean. Blue is the
    model itself, orange is not weighted, green is."""
    rows = [(name, way) for name in SAMPLERS for way in WAYS if way in found[name][0].angles]
    for place, (name, way) in enumerate(rows):
        color = BLUE if name == OWN else ORANGE if way == PLAIN else GREEN
        values = angles(found, name, way)
        ax.plot(values, [place] * len(values), "o", color=color, markersize=4)
        ax.plot([statistics.fmean(values)] * 2, [place - 0.3, place + 0.3], color=color)
    labels = [name if way == PLAIN else f"{name}, by {way}" for name, way in rows]
    ax.set_yticks(range(len(rows)), labels, fontsize="small")
    ax.invert_yaxis()
    ax.set(xlabel="degrees from the gradient", xlim=(0, 90))
