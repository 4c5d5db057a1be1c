"""What lab 09 runs: one stage after another (section 5 of the document).

Combination 1 is one base with an adapter for each team, combination 2 is SFT and then RLHF,
combination 3 is the same with adapters all the way. The stages, the labels and the judgement are
those of experiments/pipelines_compared.py.
"""

import copy
import functools
import statistics
import time

import torch
from course import Sweep, rows_of
from course.rows import Row, matching
from experiments import after_ppo
from experiments import pipelines_compared as compared
from experiments import ppo as lab_04
from experiments.after_ppo import SEEDS, Compute
from experiments.pipelines_compared import rates, worth
from experiments.reward_model import fit
from experiments.shared import draw, fresh, score, tokenizer, tune
from helpdesk import preferences, raters, tasks, tickets
from helpdesk.tasks import Example
from helpdesk.words import CLERKS
from methods import lora
from methods.models import evaluating
from methods.reference import adapter_off
from planning.measure import bytes_of
from torch import nn
from transformers import AutoModelForCausalLM

# Combination 1: one base, an adapter for each team ------------------------------------------------

TEAMS = 6
SHOWN = 32  # tickets of each team
TEST = 100
ARMS = ("an adapter each", "a full model each", "one full model", "one adapter")
ALIKE = 0.02  # a share of wrong replies that is no difference
TEAM_STEPS = 40  # of 16 tickets, for each team


def of_team(number: int, split: str, count: int, seed: int) -> list[Example]:
    """Replies in the house style of a team. The prompt names one of its clerks, so that one model
    for all can tell the teams apart."""
    style = tasks.house_style(number)
    some = tickets.sample_tickets(split, count, 1000 * seed + number)
    shown = [style.example(ticket) for ticket in some]
    return [
        Example(f"{each.prompt.removesuffix(':')}{CLERKS[number]} :", each.response)
        for each in shown
    ]


@functools.cache
def general(seed: int) -> nn.Module:
    """Stage one: the base after SFT on triage, the house's common task."""
    torch.manual_seed(seed)
    model = fresh()
    shown = [tasks.triage(ticket) for ticket in tickets.sample_tickets("train", 1000, 700 + seed)]
    tune(model, shown, steps=300, rate=1e-3, seed=seed, size=32)
    return model


def triage_kept(model: nn.Module) -> float:
    """The share of test tickets whose fields are right: what stage one taught."""
    some = [tasks.triage(ticket) for ticket in tickets.sample_tickets("test", 200, 3)]
    return score(model, some)["exact"]


def run_teams(arm: str, rate: float, seed: int) -> dict[str, object]:
    """All teams, tuned in one of four ways after SFT on the common task.

    returns exact, the share of right replies of each team · triage, what is left of the common task,
    the mean over the models · triage_off, the same with the adapters switched off, 0 without any ·
    artefact_bytes, of everything that has to be stored beside the general model · operations and
    train_seconds, for all teams together
    """
    start = general(seed)
    shown = [of_team(number, "train", SHOWN, 1 + seed) for number in range(TEAMS)]
    groups = shown if arm.endswith("each") else [[one for each in shown for one in each]]
    began, operations, models = time.perf_counter(), 0.0, []
    for number, examples in enumerate(groups):
        model = copy.deepcopy(start)
        torch.manual_seed(seed + number)
        if "adapter" in arm:
            lora.inject(model, rank=8, alpha=32)
        compute = Compute(model)
        steps = TEAM_STEPS * len(examples) // SHOWN
        tune(model, examples, steps=steps, rate=rate, seed=seed)
        compute.stop()
        operations += compute.operations
        models.append(model)
    seconds = time.perf_counter() - began
    test = [of_team(number, "test", TEST, 0) for number in range(TEAMS)]
    serving = models if len(models) > 1 else models * TEAMS
    told = {
        "exact": [score(model, some)["exact"] for model, some in zip(serving, test)],
        "triage": statistics.fmean(map(triage_kept, models)),
        "triage_off": 0.0,
    }
    if "adapter" in arm:
        with adapter_off(models[0]):
            told["triage_off"] = triage_kept(models[0])
    return told | {
        "artefact_bytes": sum(map(stored_bytes, models)),
        "operations": operations,
        "train_seconds": seconds,
    }


def stored_bytes(model: nn.Module) -> int:
    """Bytes of what training changed: the adapter, or the whole model."""
    return bytes_of(each for each in model.parameters() if each.requires_grad)


def wrong(row: Row) -> float:
    """The share of wrong answers over all teams."""
    return 1 - statistics.fmean(row["exact"])


# Expected: an adapter each is as good as a full model each, within 0.05, at a twelfth of the bytes;
# one model for all is a little behind, one adapter for all further. Every way loses the common task,
# and the adapters alone give it back when they are switched off. A first run, with 128 tickets of each
# team and 80 steps, left no reply wrong at any rate, so both were cut before anything was compared.
TEAM_RATES = Sweep(
    "pipelines.team_rates",
    run_teams,
    [
        {"arm": arm, "rate": rate, "seed": 9}
        for arm in ARMS
        for rate in ((1e-3, 3e-3, 1e-2) if "adapter" in arm else (3e-4, 1e-3, 3e-3))
    ],
    agree={wrong: 0.15},
)


def team_grid() -> list[Row]:
    """Every arm at its gentlest rate, on a seed of its own: the lowest that is within ALIKE of the
    best."""
    rates = {}
    for arm in ARMS:
        tried = matching(rows_of(TEAM_RATES), arm=arm)
        best = min(map(wrong, tried))
        rates[arm] = min(row["rate"] for row in tried if wrong(row) <= best + ALIKE)
    return [{"arm": arm, "rate": rates[arm], "seed": seed} for seed in SEEDS for arm in ARMS]


TEAM = Sweep("pipelines.teams", run_teams, team_grid, agree={wrong: 0.1, "triage": 0.3})


# Combinations 2 and 3: stages ---------------------------------------------------------------------

DEMONSTRATIONS = 500  # for a stage of SFT
CHOICES = 1000  # tickets on whose replies a rater chooses, for a stage of PPO or DPO
READS = {"SFT": DEMONSTRATIONS, "PPO": CHOICES, "DPO": CHOICES, "program": 0}  # labels
PIPELINES = ("SFT → PPO", "SFT → DPO → program", "PPO", "PPO → SFT", "SFT → PPO → SFT")
WITH_ADAPTERS = "SFT → PPO"
PARAMETERS = ("full", "r = 8", "r = 1")


def own_choices(policy: nn.Module, seed: int) -> list:
    """The usual rater's choices between two replies of the policy as it stands, for new tickets."""
    some = tickets.sample_tickets("train", CHOICES, 800 + seed)
    torch.manual_seed(seed)
    with evaluating(policy):
        drawn = draw(policy, preferences.prompts(tokenizer(), some), 2)
    return preferences.rankings(tokenizer(), some, drawn, raters.Rater(), seed)


def stage(policy: nn.Module, signal: str, parameters: str, seed: int, compute: Compute) -> None:
    """One stage, in place, with labels of its own and the rate that was best for it alone."""
    name = signal if parameters == "full" or signal == "program" else f"{signal}, LoRA"
    rate = rates()[name]
    if signal == "SFT":
        shown = compared.demonstrations(DEMONSTRATIONS, seed)
        tune(policy, shown, steps=compared.SFT_STEPS, rate=rate, seed=seed, size=32)
        return
    if signal == "program":
        training = compared.by_program(policy, rate, seed)
    elif signal == "DPO":
        training = compared.by_dpo(policy, rate, seed, own_choices(policy, seed))
    else:
        rewarder = fit(own_choices(policy, seed), seed=seed).requires_grad_(False)
        critic = copy.deepcopy(rewarder).requires_grad_(True)
        compute.count(critic.body, rewarder.body)
        proxy = lab_04.proxy(rewarder)
        training = after_ppo.by_ppo(policy, critic, rate, seed, proxy, compared.RL_STEPS)
    torch.manual_seed(seed)
    for _ in training:
        pass


def run_pipeline(pipeline: str, parameters: str, seed: int) -> dict[str, object]:
    """Stages one after another. The reference of each is the policy that the stage before left;
    an adapter is merged after its stage, and the next stage gets a fresh one.

    returns, before the first stage and after each: gold, exact, kl from the base, reading and
    forgotten as in compared.worth · operations and seconds so far · labels read so far
    """
    policy, base = after_ppo.policy_of(parameters, seed), fresh()
    compute, seconds, labels = Compute(policy), 0.0, 0
    told = {name: [value] for name, value in worth(policy, base).items()}
    told |= {"operations": [0.0], "stage_seconds": [0.0], "labels": [0]}
    for number, signal in enumerate(pipeline.split(" → ")):
        if number and parameters != "full":
            renew(policy, parameters)
        began, before = time.perf_counter(), compute.operations
        stage(policy, signal, parameters, seed, compute)
        seconds, labels = time.perf_counter() - began, labels + READS[signal]
        spent = compute.operations
        for name, value in worth(policy, base).items():
            told[name].append(value)
        compute.operations = spent
        told["operations"].append(spent - before)
        told["stage_seconds"].append(seconds)
        told["labels"].append(labels)
    compute.stop()
    return told


def renew(policy: nn.Module, parameters: str) -> None:
    """Merge the adapter into the weights and begin another one, so that the reference of the next
    stage is again the policy with its adapter off."""
    lora.merge(policy)
    lora.strip(policy)
    lora.inject(policy, rank=after_ppo.RANKS[parameters], alpha=32)


def gold_at_end(row: Row) -> float:
    """Gold after the last stage."""
    return row["gold"][-1]


# Expected: SFT → PPO ends above PPO alone in gold and far above in exact match; PPO → SFT ends where
# SFT does, since SFT overwrites what PPO taught; SFT → PPO → SFT as well. The program at the end
# raises exact match, and costs some gold. With adapters all the way no rank is 0.2 gold points
# behind full tuning, and rank 1 forgets least.
PIPELINE = Sweep(
    "pipelines.stages",
    run_pipeline,
    [
        {"pipeline": pipeline, "parameters": parameters, "seed": seed}
        for seed in SEEDS
        for pipeline in PIPELINES
        for parameters in (PARAMETERS if pipeline == WITH_ADAPTERS else ("full",))
    ],
    agree={gold_at_end: 0.6},
)


# RLHF without SFT ---------------------------------------------------------------------------------

STARTS = {"random weights": None, "base": 0, "30 steps of SFT": 30}
COLD_RATES = (3e-4, 1e-3, 3e-3)


def started(start: str, seed: int) -> nn.Module:
    """A policy that has learned nothing, the base, or one that writes polite replies."""
    torch.manual_seed(seed)
    model = fresh()
    steps = STARTS[start]
    if steps is None:
        return AutoModelForCausalLM.from_config(model.config).to(model.device)
    if steps:
        shown = compared.demonstrations(32 * steps, seed)
        tune(model, shown, steps=steps, rate=rates()["SFT"], seed=seed, size=32)
    return model


def run_without_sft(start: str, rate: float, seed: int) -> dict[str, object]:
    """RLOO against the program that accepts polite replies, from one of STARTS.

    returns score, the share of accepted replies, flat_groups and kl, from the start, of every step ·
    gold and reading, before and after · broke, whether a loss or gradient was not finite
    """
    policy, broke = started(start, seed), False
    base, told = copy.deepcopy(policy), {"score": [], "flat_groups": [], "kl": []}
    before = worth(policy, base)
    torch.manual_seed(seed)
    try:
        for _, metrics in compared.by_program(policy, rate, seed):
            for name, values in told.items():
                values.append(metrics[name])
    except FloatingPointError:
        broke = True
    after = worth(policy, base)
    pairs = {name: [before[name], after[name]] for name in ("gold", "exact", "reading")}
    return told | pairs | {"broke": broke}


def exact_at_end(row: Row) -> float:
    """The share of polite replies after training."""
    return row["exact"][-1]


# Expected: from random weights nothing moves at any rate (stall); from the base, where one reply in
# fifty is right, it learns at the middle rate and diverges at the highest: gold falls and the KL
# runs away; after thirty steps of SFT it learns at every rate but the highest.
WITHOUT_SFT = Sweep(
    "pipelines.without_sft",
    run_without_sft,
    [
        {"start": start, "rate": rate, "seed": seed}
        for seed in SEEDS
        for start in STARTS
        for rate in COLD_RATES
    ],
    agree={exact_at_end: 0.4},
)
