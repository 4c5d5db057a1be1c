"""What lab 05 runs beside preferences: rewards from a program, and a teacher.

Two tasks with one right answer: the fields of a ticket (triage), and totals of two numbers. GRPO and
its relatives have no KL penalty here, as is usual with a verifier.
"""

import copy
import functools
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from course import Sweep, lowest, rows_of, select
from course.rows import Row
from experiments import ppo as lab_04
from experiments.after_ppo import SEEDS, Compute, Steps, special
from experiments.shared import fresh, score, tokenizer, tune
from helpdesk import evaluate, language, tasks, tickets
from helpdesk.tasks import Example
from methods import distill, grpo, sft, verifiers
from torch import nn
from transformers import AutoModelForCausalLM

# Rewards without preferences ----------------------------------------------------------------------

CHOICES = 8  # responses to a prompt
PROMPTS = 32  # in a step
ANSWER = 12  # tokens at most: five fields, four bars between them, the stop token, and room


def right_fields(examples: Iterable[Example]) -> verifiers.Verifier:
    """1 for the fields of the ticket, all of them and nothing else; otherwise 0."""
    wanted = {example.prompt: [*example.response.split(), "<eos>"] for example in examples}
    return lambda prompt, response: float(response.split() == wanted[prompt])


def like_fields(prompt: str, response: str) -> float:
    """1 for anything that looks like five fields: a verifier that can be cheated."""
    words = response.split()
    return float(len(words) == 10 and words[1:9:2] == ["|"] * 4 and words[-1] == "<eos>")


def by_verifier(
    policy: nn.Module,
    examples: Sequence[Example],
    verify: verifiers.Verifier,
    *,
    recipe: str,
    rate: float,
    steps: int,
    standardised: grpo.Advantages = grpo.standardised,
) -> Steps:
    """GRPO or a relative against a verifier, with no KL penalty; a prompt comes once.

    standardised: the advantages of the recipe GRPO
    """
    config = replace(
        grpo.RECIPES[recipe], learning_rate=rate, size=CHOICES, beta=0.0, max_new_tokens=ANSWER
    )
    if recipe == "GRPO":
        config = replace(config, advantages=standardised)
    prompts = prompts_of(examples)
    training = grpo.train(
        policy,
        verifiers.as_score(verify, tokenizer().decode),
        (prompts[step * PROMPTS : (step + 1) * PROMPTS] for step in range(steps)),
        config,
        **special(),
    )
    return (metrics for _, metrics in training)


def triage_examples(split: str, count: int, seed: int) -> list[Example]:
    """Tickets of a split with their fields."""
    return [tasks.triage(ticket) for ticket in tickets.sample_tickets(split, count, seed)]


# Triage: how little a policy may know -------------------------------------------------------------

SHOWN = 64  # tickets whose fields are demonstrated
LITTLE = (30, 70, 80, 100)  # steps of SFT before
VERIFIED_STEPS = 40


def after_little_sft(steps: int, seed: int) -> tuple[nn.Module, list[Example]]:
    """The base after so many steps of SFT on SHOWN demonstrations of triage; and these."""
    torch.manual_seed(seed)
    model, shown = fresh(), triage_examples("train", SHOWN, 500 + seed)
    tune(model, shown, steps=steps, rate=1e-3, seed=seed)
    return model, shown


def run_cold_start(
    sft_steps: int,
    recipe: str,
    rate: float,
    seed: int,
    *,
    standardised: grpo.Advantages = grpo.standardised,
) -> dict[str, object]:
    """Triage by a verifier after too little SFT, and by more of the same SFT instead.

    returns p0, the share of right responses in the first step · score and flat_groups of every step
    · exact_start, exact_end and exact_more_sft, the share of 300 test tickets that greedy responses
    get right: before, after the verifier, and after further SFT of as many operations on the same
    demonstrations · forgotten and forgotten_more_sft, by how much the loss on the clerks' replies
    grew from there, in nats per token
    """
    policy, shown = after_little_sft(sft_steps, seed)
    other, test = copy.deepcopy(policy), triage_examples("test", 300, 2)
    begun, clerks = score(policy, test)["exact"], lab_04.loss_on_clerks(policy)
    unlabelled = triage_examples("train", PROMPTS * VERIFIED_STEPS, 600 + seed)
    compute, metrics = Compute(policy), {}
    torch.manual_seed(seed)
    for told in by_verifier(
        policy,
        unlabelled,
        right_fields(unlabelled),
        recipe=recipe,
        rate=rate,
        steps=VERIFIED_STEPS,
        standardised=standardised,
    ):
        for name in ("score", "flat_groups", "kl"):
            metrics.setdefault(name, []).append(told[name])
    compute.stop()
    spend(other, shown, compute.operations, seed)
    return metrics | {
        "p0": metrics["score"][0],
        "exact_start": begun,
        "exact_end": score(policy, test)["exact"],
        "exact_more_sft": score(other, test)["exact"],
        "forgotten": lab_04.loss_on_clerks(policy) - clerks,
        "forgotten_more_sft": lab_04.loss_on_clerks(other) - clerks,
        "operations": compute.operations,
    }


def spend(model: nn.Module, shown: Sequence[Example], operations: float, seed: int) -> int:
    """Go on with SFT on the same examples until it has cost as much; returns the steps it took."""
    compute = Compute(model)
    tune(copy.deepcopy(model), shown, steps=1, rate=1e-3, seed=seed)
    steps = max(1, round(operations / compute.operations))
    compute.stop()
    tune(model, shown, steps=steps, rate=1e-3, seed=seed + 1)
    return steps


RECIPES = ("GRPO", "Dr. GRPO", "RLOO")
COLD_RATES = Sweep(
    "after.cold_rates",
    run_cold_start,
    [
        {"sft_steps": 100, "recipe": recipe, "rate": rate, "seed": 9}
        for recipe in RECIPES
        for rate in (1e-4, 3e-4, 1e-3)
    ],
    agree={"exact_end": 0.2},
)


def not_right(row: Row) -> float:
    """The share of test tickets that are wrong at the end."""
    return 1 - row["exact_end"]


def cold_grid() -> list[Row]:
    """Every start with each recipe's best rate."""
    best = lowest(rows_of(COLD_RATES), not_right, "recipe")
    return [
        {"sft_steps": steps, "recipe": recipe, "rate": best[recipe]["rate"], "seed": seed}
        for seed in SEEDS
        for recipe in RECIPES
        for steps in (LITTLE if recipe == "GRPO" else (100,))
    ]


# Expected: where the first step's p0 is below 0.001 nothing is learned; from 0.01 on, the verifier
# adds 20 points or more to the share of right answers, and more than further SFT on the same
# demonstrations; the old skill is forgotten less than under that SFT.
COLD_START = Sweep("after.cold_start", run_cold_start, cold_grid, agree={"exact_end": 0.25})


def live_cold() -> Row:
    """The run whose beginning the lab repeats."""
    wanted = {"sft_steps": 100, "recipe": "GRPO", "seed": 0}
    return next(row for row in cold_grid() if wanted.items() <= row.items())


def first_steps(steps: int, standardised: grpo.Advantages) -> list[float]:
    """The share of right responses in each of the first steps of that run."""
    settings = live_cold()
    policy, _ = after_little_sft(settings["sft_steps"], settings["seed"])
    unlabelled = triage_examples("train", PROMPTS * VERIFIED_STEPS, 600 + settings["seed"])
    torch.manual_seed(settings["seed"])
    training = by_verifier(
        policy,
        unlabelled,
        right_fields(unlabelled),
        recipe=settings["recipe"],
        rate=settings["rate"],
        steps=steps,
        standardised=standardised,
    )
    return [metrics["score"] for metrics in training]


def run_answers(sft_steps: int, operations: float, seed: int) -> dict[str, object]:
    """SFT with the right fields of every ticket that the verifier marked, at the same cost: what a
    verifier is worth where the answers can be had.

    returns exact_end and forgotten, as run_cold_start does
    """
    policy, shown = after_little_sft(sft_steps, seed)
    clerks = lab_04.loss_on_clerks(policy)
    answered = triage_examples("train", PROMPTS * VERIFIED_STEPS, 600 + seed)
    spend(policy, [*shown, *answered], operations, seed)
    return {
        "exact_end": score(policy, triage_examples("test", 300, 2))["exact"],
        "forgotten": lab_04.loss_on_clerks(policy) - clerks,
    }


ANSWERED = (30, 100)  # of LITTLE


def answers_grid() -> list[Row]:
    """Some starts, each with what the verifier's training from there cost."""
    return [
        {name: row[name] for name in ("sft_steps", "operations", "seed")}
        for row in rows_of(COLD_START)
        if row["recipe"] == "GRPO" and row["sft_steps"] in ANSWERED
    ]


# Expected: where the answers can be had, SFT on them ends above the verifier, from every start; but
# it forgets more.
ANSWERS = Sweep("after.answers", run_answers, answers_grid, agree={"exact_end": 0.25})


# Cheating a verifier ------------------------------------------------------------------------------

VERIFIERS = ("the right fields", "the look of fields", "a coin")


def run_cheat(verifier: str, rate: float, seed: int) -> dict[str, object]:
    """Triage after too little SFT, by a verifier that reads the fields, one that only looks at
    their form, or the toss of a coin.

    returns score of every step · look and right, the shares of 300 greedy responses to test tickets
    that have the form and the fields, start and end · varied, how many different responses there
    are among them at the end · said, three of them, one a line
    """
    policy, _ = after_little_sft(100, seed)  # where the rates were tuned
    test = triage_examples("test", 300, 2)
    unlabelled = triage_examples("train", PROMPTS * VERIFIED_STEPS, 600 + seed)
    coin = random.Random(f"coin {seed}")
    verify = {
        "the right fields": right_fields(unlabelled),
        "the look of fields": like_fields,
        "a coin": lambda prompt, response: float(coin.random() < 0.5),
    }[verifier]
    before = answers(policy, test)
    torch.manual_seed(seed)
    training = by_verifier(
        policy, unlabelled, verify, recipe="GRPO", rate=rate, steps=VERIFIED_STEPS
    )
    scores = [metrics["score"] for metrics in training]
    after = answers(policy, test)
    return {
        "score": scores,
        "look": [share(like_fields, test, before), share(like_fields, test, after)],
        "right": [share(right_fields(test), test, before), share(right_fields(test), test, after)],
        "varied": len(set(after)),
        "said": "\n".join(after[:3]),
    }


def answers(model: nn.Module, examples: Sequence[Example]) -> list[str]:
    """The model's greedy responses, the stop token included if it gave one."""
    prompts = [example.prompt for example in examples]
    return evaluate.respond(model, tokenizer(), prompts, max_new_tokens=ANSWER)


def share(
    verify: verifiers.Verifier, examples: Sequence[Example], responses: Sequence[str]
) -> float:
    """The share of responses that a verifier accepts."""
    return statistics.fmean(
        verify(example.prompt, response) for example, response in zip(examples, responses)
    )


def cheat_grid() -> list[Row]:
    """Each verifier at the rate that is best for GRPO with the honest one."""
    rate = lowest(rows_of(COLD_RATES), not_right, "recipe")["GRPO"]["rate"]
    return [
        {"verifier": verifier, "rate": rate, "seed": seed}
        for seed in SEEDS
        for verifier in VERIFIERS
    ]


# Expected: the look of fields comes to 95 % or more, the right fields do not; with the honest verifier
# both rise; with the coin neither does.
CHEAT = Sweep("after.cheat", run_cheat, cheat_grid, agree={"look": 0.25, "right": 0.25})


# Totals: the same start, four ways on -------------------------------------------------------------

LENGTHS = ((1, 1), (1, 2), (2, 2))  # digits of the two numbers
HELD_OUT_LENGTHS = ((2, 1), (2, 3))
DEMONSTRATED = 1000  # sums that come with their total
SFT_STEPS = 450
TOTAL_STEPS = 60
WAYS = ("more SFT", "verifier", "teacher's answers", "teacher, on-policy")


def totals(count: int, lengths: Sequence[tuple[int, int]], seed: object) -> list[Example]:
    """Sums of two numbers with so many digits, each pair of lengths as often as another."""
    rng = random.Random(f"totals {seed}")
    return [
        tasks.total(*(rng.randrange(10 ** (n - 1) if n > 1 else 0, 10**n) for n in pair))
        for pair in rng.choices(lengths, k=count)
    ]


@functools.cache
def teacher() -> nn.Module:
    """A larger model of the help desk's language, about four times the base's size, which has
    learned totals from 20,000 sums, from random weights on; it requires no gradient."""
    torch.manual_seed(0)
    config = copy.deepcopy(fresh().config)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 256, 688, 4
    config.num_attention_heads = config.num_key_value_heads = 4
    config.head_dim = 64
    model = AutoModelForCausalLM.from_config(config).to(fresh().device)
    tune(model, totals(20_000, LENGTHS, "teacher"), steps=1500, rate=1e-3, seed=0, size=64)
    return model.requires_grad_(False)


def run_totals(
    way: str, rate: float, seed: int, *, reverse_kl: Callable = distill.reverse_kl
) -> dict[str, object]:
    """Totals after SFT on DEMONSTRATED sums, and then TOTAL_STEPS steps of one way on.

    returns exact_start and exact_end, the share of 300 test sums with a right greedy response ·
    held_out, the same for lengths that no training had · sampled, the share of right responses at
    temperature 1 at the end · forgotten, what the loss on the clerks' replies gained since the
    start, in nats per token · operations
    """
    torch.manual_seed(seed)
    policy, shown = fresh(), totals(DEMONSTRATED, LENGTHS, seed)
    tune(policy, shown, steps=SFT_STEPS, rate=1e-3, seed=seed, size=64)
    test, held_out = totals(300, LENGTHS, "test"), totals(300, HELD_OUT_LENGTHS, "held out")
    begun, clerks = score(policy, test)["exact"], lab_04.loss_on_clerks(policy)
    compute = Compute(policy)
    torch.manual_seed(seed)
    go_on(policy, way, rate, shown, seed, reverse_kl)
    compute.stop()
    said = evaluate.respond(policy, tokenizer(), [each.prompt for each in test], sample=True)
    return {
        "exact_start": begun,
        "exact_end": score(policy, test)["exact"],
        "held_out": score(policy, held_out)["exact"],
        "sampled": share(verifiers.right_total, test, said),
        "forgotten": lab_04.loss_on_clerks(policy) - clerks,
        "operations": compute.operations,
    }


def go_on(
    policy: nn.Module,
    way: str,
    rate: float,
    shown: Sequence[Example],
    seed: int,
    reverse_kl: Callable,
) -> None:
    """Train a policy that knows some sums: by further SFT on those shown, by a verifier, or by the
    teacher, whose answers it imitates or who tells it of its own; 256 responses a step."""
    new = totals(PROMPTS * CHOICES * TOTAL_STEPS, LENGTHS, f"new {seed}")
    if way == "more SFT":
        tune(policy, shown, steps=TOTAL_STEPS, rate=rate, seed=seed + 1, size=256)
    elif way == "verifier":
        steps = by_verifier(
            policy, new, verifiers.right_total, recipe="GRPO", rate=rate, steps=TOTAL_STEPS
        )
        for _ in steps:
            pass
    elif way == "teacher's answers":
        rows = distill.demonstrations(
            teacher(), prompts_of(new), max_new_tokens=ANSWER, **special()
        )
        batches = sft.batches(
            rows, batch_size=256, steps=TOTAL_STEPS, pad_id=special()["pad_id"], seed=seed
        )
        sft.fine_tune(policy, batches, steps=TOTAL_STEPS, learning_rate=rate)
    else:
        some, size = prompts_of(new), PROMPTS * CHOICES
        groups = (some[start : start + size] for start in range(0, len(some), size))
        steps = distill.train(
            policy,
            teacher(),
            groups,
            max_new_tokens=ANSWER,
            learning_rate=rate,
            divergence=reverse_kl,
            **special(),
        )
        for _ in steps:
            pass


def prompts_of(examples: Iterable[Example]) -> list[list[int]]:
    """Their prompts in token ids."""
    return [language.encode(tokenizer(), each.prompt, start=True) for each in examples]


def wrong(row: Row) -> float:
    """The share of test sums that are wrong at the end."""
    return 1 - row["exact_end"]


# The verifier got two more rates below the others, since the lowest had been its best.
TOTAL_RATES = Sweep(
    "after.total_rates",
    run_totals,
    [
        {"way": way, "rate": rate, "seed": 9}
        for way in WAYS
        for rate in ((1e-5, 3e-5, 1e-4, 3e-4, 1e-3) if way == "verifier" else (1e-4, 3e-4, 1e-3))
    ],
    agree={"exact_end": 0.2},
)


def totals_grid() -> list[Row]:
    """Each way at the rate that was best for it, on a seed of its own."""
    best = lowest(rows_of(TOTAL_RATES), wrong, "way")
    return [{"way": way, "rate": best[way]["rate"], "seed": seed} for seed in SEEDS for way in WAYS]


# Expected: the verifier adds 20 points or more, further SFT on the same demonstrations fewer; the
# teacher's word on the student's own answers adds most, and no way reaches the lengths held out.
TOTALS = Sweep("after.totals", run_totals, totals_grid, agree={"exact_end": 0.25})

# What a row tells, and the names of the measures --------------------------------------------------


def gained(rows: Sequence[Row], way: str) -> float:
    """By how much a way on raised the share of right totals, on average, in percentage points."""
    return 100 * statistics.fmean(
        select(rows, lambda row: row["exact_end"] - row["exact_start"], way=way)
    )


def over_more_sft(rows: Sequence[Row], steps: int) -> float:
    """By how much the verifier's share of right tickets exceeds that of further SFT, on average, in
    percentage points."""
    return statistics.fmean(select(rows, verifier_lead, sft_steps=steps))


def verifier_lead(row: Row) -> float:
    """By how much the verifier's share of right tickets exceeds that of further SFT, in percentage
    points."""
    return 100 * (row["exact_end"] - row["exact_more_sft"])


def verifier_gain(row: Row) -> float:
    """By how much the verifier raised the share of right tickets, in percentage points."""
    return 100 * (row["exact_end"] - row["exact_start"])


COLD_MEASURES = {  # result, and steps of SFT before
    "after.cold_p0_30": ("p0", 30),
    "after.cold_p0_70": ("p0", 70),
    "after.cold_p0_80": ("p0", 80),
    "after.cold_p0_100": ("p0", 100),
    "after.cold_end_30": ("exact_end", 30),
    "after.cold_end_70": ("exact_end", 70),
    "after.cold_end_80": ("exact_end", 80),
    "after.cold_start_70": ("exact_start", 70),
    "after.cold_start_80": ("exact_start", 80),
    "after.cold_start_100": ("exact_start", 100),
    "after.cold_gain_70": (verifier_gain, 70),
    "after.cold_gain_80": (verifier_gain, 80),
    "after.cold_gain_100": (verifier_gain, 100),
    "after.cold_over_more_sft_100": (verifier_lead, 100),
    "after.cold_end_100": ("exact_end", 100),
    "after.cold_more_sft_100": ("exact_more_sft", 100),
    "after.cold_forgotten_100": ("forgotten", 100),
    "after.cold_forgotten_more_sft_100": ("forgotten_more_sft", 100),
}
COLD_UNITS = {
    "p0": "share of the first step's responses",
    "exact_start": "share of test tickets",
    "exact_end": "share of test tickets",
    "exact_more_sft": "share of test tickets",
    "forgotten": "nats per token of the clerks' replies",
    "forgotten_more_sft": "nats per token of the clerks' replies",
    verifier_gain: "percentage points of right tickets gained, seed by seed",
    verifier_lead: "percentage points of right tickets, verifier minus further SFT, seed by seed",
}
RECIPE_MEASURES = {
    "after.cold_grpo": "GRPO",
    "after.cold_dr_grpo": "Dr. GRPO",
    "after.cold_rloo": "RLOO",
}
ANSWER_MEASURES = {  # result, and steps of SFT before
    "after.answers_30": ("exact_end", 30),
    "after.answers_100": ("exact_end", 100),
    "after.answers_forgotten_100": ("forgotten", 100),
}
CHEAT_MEASURES = {  # what is counted, and the verifier
    "after.cheat_look": ("look", "the look of fields"),
    "after.cheat_right": ("right", "the look of fields"),
    "after.honest_look": ("look", "the right fields"),
    "after.honest_right": ("right", "the right fields"),
    "after.coin_look": ("look", "a coin"),
    "after.coin_right": ("right", "a coin"),
}


def work(row: Row) -> float:
    """What training took of the student, in 10¹² operations."""
    return row["operations"] / 1e12


TOTAL_MEASURES = {  # result and way on
    "after.total_start": ("exact_start", "more SFT"),
    "after.total_more_sft": ("exact_end", "more SFT"),
    "after.total_verifier": ("exact_end", "verifier"),
    "after.total_answers": ("exact_end", "teacher's answers"),
    "after.total_on_policy": ("exact_end", "teacher, on-policy"),
    "after.sampled_more_sft": ("sampled", "more SFT"),
    "after.sampled_verifier": ("sampled", "verifier"),
    "after.sampled_answers": ("sampled", "teacher's answers"),
    "after.sampled_on_policy": ("sampled", "teacher, on-policy"),
    "after.held_out_verifier": ("held_out", "verifier"),
    "after.held_out_more_sft": ("held_out", "more SFT"),
    "after.total_forgotten_verifier": ("forgotten", "verifier"),
    "after.total_forgotten_more_sft": ("forgotten", "more SFT"),
    "after.total_forgotten_answers": ("forgotten", "teacher's answers"),
    "after.total_forgotten_on_policy": ("forgotten", "teacher, on-policy"),
    "after.total_work_more_sft": (work, "more SFT"),
    "after.total_work_verifier": (work, "verifier"),
    "after.total_work_answers": (work, "teacher's answers"),
    "after.total_work_on_policy": (work, "teacher, on-policy"),
}
TOTAL_UNITS = {
    "exact_start": "share of test sums, greedy",
    "exact_end": "share of test sums, greedy",
    "sampled": "share of test sums, sampled",
    "held_out": "share of sums of other lengths, greedy",
    "forgotten": "nats per token of the clerks' replies",
    work: "10¹² operations of the student",
}
