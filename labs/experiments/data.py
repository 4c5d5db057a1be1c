"""What lab 06 runs: how much data, of which kind, and how labels are best spent.

Training takes the same number of steps whatever the number of examples, so that a run with few
examples repeats them, and one with many hardly does: compute is equal, data are not. LoRA learns
triage more slowly than full tuning and gets twice the steps.
"""

import functools
import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from course import BLUE, GREEN, ORANGE, PINK, Sweep
from course.rows import Row
from experiments import reward_model
from experiments.sft import customers, sampled
from experiments.shared import fresh, score, tokenizer, tune
from helpdesk import evaluate, preferences, raters, replies, tasks, tickets
from helpdesk.tasks import Example
from helpdesk.tickets import Ticket
from matplotlib.axes import Axes
from methods import lora, reward
from planning import laws
from planning.labels import most_uncertain
from torch import nn

STEPS = {
    ("triage", "full"): 480,
    ("triage", "LoRA"): 960,
    ("polite", "full"): 240,
    ("polite", "LoRA"): 240,
}
BATCH = 16
SEEDS = (0, 1, 2)
COUNTS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
FEW, MANY = 64, 1024  # the counts at which learning rates are chosen
TASKS, ARMS = ("triage", "polite"), ("full", "LoRA")
RANK, ALPHA = 8, 32


# Performance against the number of examples -------------------------------------------------------


def examples_of(task: str, split: str, count: int, seed: int) -> list[Example]:
    """Triage, which the base cannot do, or replies in the polite style, of which it has the parts."""
    asked = tickets.sample_tickets(split, count, seed)
    if task == "triage":
        return [tasks.triage(ticket) for ticket in asked]
    rng = random.Random(seed)
    return [tasks.reply(ticket, replies.POLITE, rng) for ticket in asked]


def tuned(task: str, arm: str, examples: Sequence[Example], rate: float, seed: int) -> nn.Module:
    """The base after the steps of its task and arm: all parameters, or an adapter on all linear
    layers."""
    torch.manual_seed(seed)
    model = fresh()
    if arm == "LoRA":
        lora.inject(model, rank=RANK, alpha=ALPHA)
    tune(model, examples, steps=STEPS[task, arm], rate=rate, seed=seed, size=BATCH)
    return model


def performance(task: str, model: nn.Module, split: str, seed: int) -> float:
    """The share of tickets that are filed right, or of replies in the polite style."""
    if task == "triage":
        return evaluate.exact_match(model, tokenizer(), examples_of(task, split, 300, 0))
    if split == "test":
        asked = customers()
        drawn = sampled(model, seed)
    else:
        asked = tickets.sample_tickets(split, 150, 0)
        torch.manual_seed(seed)
        prompts = [tasks.reply_prompt(ticket) for ticket in asked]
        drawn = [
            reply.removesuffix(tokenizer().eos_token).strip()
            for reply in evaluate.respond(model, tokenizer(), prompts, sample=True)
        ]
    return sum(map(replies.is_polite, drawn, asked)) / len(asked)


TRIED = {"full": (5e-4, 1e-3, 2e-3, 4e-3), "LoRA": (1e-3, 2e-3, 4e-3)}


def run_rate(task: str, arm: str, count: int, rate: float) -> dict[str, float]:
    """Tune at one learning rate; the performance on the validation split."""
    model = tuned(task, arm, examples_of(task, "train", count, 9), rate, 9)
    return {"performance": performance(task, model, "validation", 9)}


RATES = Sweep(
    "data.rates",
    run=run_rate,
    grid=[
        {"task": task, "arm": arm, "count": count, "rate": rate}
        for task in TASKS
        for arm in ARMS
        for count in (FEW, MANY)
        for rate in TRIED[arm]
    ],
    agree={"performance": 0.15},
)
# Chosen from the rows of data.rates, for few examples and for many.
CHOSEN = {
    ("triage", "full", FEW): 0.002,
    ("triage", "full", MANY): 0.0005,
    ("triage", "LoRA", FEW): 0.001,
    ("triage", "LoRA", MANY): 0.001,
    ("polite", "full", FEW): 0.001,
    ("polite", "full", MANY): 0.002,
    ("polite", "LoRA", FEW): 0.002,
    ("polite", "LoRA", MANY): 0.004,
}


def rate_for(task: str, arm: str, count: int) -> float:
    """The learning rate that was best at the nearer of the two counts, as a ratio."""
    return CHOSEN[task, arm, FEW if count * count <= FEW * MANY else MANY]


def best_rates(rows: Sequence[Row]) -> dict[tuple[str, str, int], float]:
    """For each task, arm and count the rate with the best performance; of equal ones the first."""
    best = {}
    for row in rows:
        key = row["task"], row["arm"], row["count"]
        if key not in best or row["performance"] > best[key]["performance"]:
            best[key] = row
    return {key: row["rate"] for key, row in best.items()}


def run_size(task: str, arm: str, count: int, seed: int) -> dict[str, float]:
    """Tune on `count` examples; performance and loss on the test split."""
    examples = examples_of(task, "train", count, 20 + seed)
    model = tuned(task, arm, examples, rate_for(task, arm, count), seed)
    held_out = examples_of(task, "test", 300, 0)
    return {
        "performance": performance(task, model, "test", seed),
        "loss": score(model, held_out)["loss"],
    }


SIZE = Sweep(
    "data.size",
    run=run_size,
    grid=[
        {"task": task, "arm": arm, "count": count, "seed": seed}
        for seed in SEEDS
        for task in TASKS
        for arm in ARMS
        for count in COUNTS
    ],
    agree={"performance": 0.15, "loss": 0.15},
)


# A reward model's accuracy against the number of pairs --------------------------------------------

PAIRS = (50, 100, 200, 400, 800, 1600, 3000)


def run_reward(pairs: int, seed: int) -> dict[str, float]:
    """As in lab 03, with the usual rater, at more sizes."""
    return reward_model.run_pairs("default", pairs, seed)


REWARD = Sweep(
    "data.reward",
    run=run_reward,
    grid=[{"pairs": pairs, "seed": seed} for seed in SEEDS for pairs in PAIRS],
    agree={"gold_accuracy": 0.05},
)


# Full tuning with as many steps as LoRA ----------------------------------------------------------


def run_longer(count: int, seed: int) -> dict[str, float]:
    """Full tuning on triage as in `run_size`, for the steps that LoRA gets."""
    examples = examples_of("triage", "train", count, 20 + seed)
    torch.manual_seed(seed)
    model = fresh()
    steps, rate = STEPS["triage", "LoRA"], rate_for("triage", "full", count)
    tune(model, examples, steps=steps, rate=rate, seed=seed, size=BATCH)
    return {"performance": performance("triage", model, "test", seed)}


LONGER = Sweep(
    "data.longer",
    run=run_longer,
    grid=[{"count": count, "seed": seed} for seed in SEEDS for count in (64, 128)],
    agree={"performance": 0.15},
)


# Validation loss against the task's metric --------------------------------------------------------

EPOCHS_OF, EPOCH_STEPS, EVERY = 128, 480, 40


def run_epochs(task: str, seed: int) -> dict[str, list[float]]:
    """480 steps of full tuning on 128 examples, which is 60 epochs; loss and performance on the test
    split every 40 steps."""
    history = {"epoch": [], "loss": [], "performance": []}
    examples = examples_of(task, "train", EPOCHS_OF, 20 + seed)
    held_out = examples_of(task, "test", 300, 0)
    torch.manual_seed(seed)
    model = fresh()

    def look(step: int) -> None:
        if step % EVERY == 0:
            history["epoch"].append(step * BATCH / EPOCHS_OF)
            history["loss"].append(score(model, held_out)["loss"])
            history["performance"].append(performance(task, model, "test", seed))

    rate = rate_for(task, "full", EPOCHS_OF)
    tune(model, examples, steps=EPOCH_STEPS, rate=rate, seed=seed, size=BATCH, look=look)
    look(EPOCH_STEPS)
    return history


EPOCHS = Sweep(
    "data.epochs",
    run=run_epochs,
    grid=[{"task": task, "seed": seed} for task in TASKS for seed in SEEDS],
    agree={"loss": 0.2, "performance": 0.1},
)


# Several acceptable demonstrations, or one --------------------------------------------------------

WAYS = ("one wording", "any wording", "four wordings each")


def demonstrations(way: str, seed: int) -> list[Example]:
    """256 polite demonstrations: always in the same words, in any of the acceptable words, or four
    different ones to each of 64 tickets."""
    rng = random.Random(seed)
    if way == "four wordings each":
        asked = tickets.sample_tickets("train", 64, 20 + seed)
        return [tasks.reply(ticket, replies.POLITE, rng) for ticket in asked for _ in range(4)]
    asked = tickets.sample_tickets("train", 256, 20 + seed)
    if way == "any wording":
        return [tasks.reply(ticket, replies.POLITE, rng) for ticket in asked]
    return [Example(tasks.reply_prompt(ticket), " " + one_wording(ticket)) for ticket in asked]


def one_wording(ticket: Ticket) -> str:
    parts = (replies.GREETINGS[0], replies.EMPATHY[0], replies.FIX[0], replies.CLOSINGS[0])
    return " ".join(parts).format(product=ticket.product, fix=replies.FIXES[ticket.problem])


def run_demonstrations(way: str, seed: int) -> dict[str, float]:
    """Tune on 256 demonstrations; the share of polite replies in samples, and how many wordings of
    the 24 acceptable ones occur among them."""
    rate = rate_for("polite", "full", 256)
    model = tuned("polite", "full", demonstrations(way, seed), rate, seed)
    drawn = sampled(model, seed)
    polite = [
        (reply, ticket)
        for reply, ticket in zip(drawn, customers())
        if replies.is_polite(reply, ticket)
    ]
    wordings = {
        reply.replace(ticket.product, "…").replace(replies.FIXES[ticket.problem], "…")
        for reply, ticket in polite
    }
    return {"polite": len(polite) / len(drawn), "wordings": float(len(wordings))}


DEMONSTRATIONS = Sweep(
    "data.demonstrations",
    run=run_demonstrations,
    grid=[{"way": way, "seed": seed} for seed in SEEDS for way in WAYS],
    agree={"polite": 0.1, "wordings": 4},
)


# Demonstrations that a model wrote ----------------------------------------------------------------

BY_HAND, BY_MODEL = 96, 1024
SOURCES = ("by hand", "by the model", "by the model, checked", "all by hand")


def run_written(source: str, seed: int) -> dict[str, float]:
    """A student tuned on triage: on 96 tickets filed by hand; on 1,024 others, filed by a teacher who
    was tuned on those 96; on those of them that pass a check; or on all 1,024 filed by hand.

    Results: exact, the student's exact match · demonstrations: how many there were · right: the
    share of them that are right
    """
    by_hand = examples_of("triage", "train", BY_HAND, 20 + seed)
    asked = tickets.sample_tickets("train", BY_MODEL, 40 + seed)
    truth = [tasks.triage(ticket) for ticket in asked]
    if source == "by hand":
        shown, right = by_hand, 1.0
    elif source == "all by hand":
        shown, right = truth, 1.0
    else:
        teacher = tuned("triage", "full", by_hand, rate_for("triage", "full", BY_HAND), seed)
        shown = filed_by(teacher, truth)
        if source == "by the model, checked":
            shown = [example for example in shown if passes(example)]
        expected = {example.prompt: example.response for example in truth}
        right = sum(one.response == expected[one.prompt] for one in shown) / len(shown)
    rate = rate_for("triage", "full", len(shown))
    student = tuned("triage", "full", shown, rate, seed)
    exact = performance("triage", student, "test", seed)
    return {"exact": exact, "demonstrations": float(len(shown)), "right": right}


def filed_by(teacher: nn.Module, examples: Sequence[Example]) -> list[Example]:
    """The same prompts with the teacher's greedy responses."""
    prompts = [example.prompt for example in examples]
    written = evaluate.respond(teacher, tokenizer(), prompts, max_new_tokens=16)
    stop = tokenizer().eos_token
    return [
        Example(prompt, " " + text.removesuffix(stop).strip())
        for prompt, text in zip(prompts, written)
    ]


def passes(example: Example) -> bool:
    """Whether a filed ticket could be right, as a program can tell without knowing the answer: five
    fields, each of which stands in the complaint."""
    fields = [field.strip() for field in example.response.split("|")]
    return len(fields) == 5 and all(field and f" {field} " in example.prompt for field in fields)


WRITTEN = Sweep(
    "data.written",
    run=run_written,
    grid=[{"source": source, "seed": seed} for seed in SEEDS for source in SOURCES],
    agree={"exact": 0.15},
)


# How to spend a budget of choices -----------------------------------------------------------------

BUDGET, FIRST, POOL = 300, 100, 1200
SPENDINGS = ("random pairs", "uncertain pairs", "each pair twice")


@functools.cache
def _pool(seed: int) -> list[tuple[Ticket, list[list[int]]]]:
    """Training tickets with two different replies of the base each."""
    asked = tickets.sample_tickets("train", POOL, 10 + seed)
    drawn = reward_model.base_replies(asked, 2, 10 + seed)
    return [(ticket, pair) for ticket, pair in zip(asked, drawn) if pair[0] != pair[1]]


def judged(pairs: Sequence[tuple[Ticket, list[list[int]]]], seed: int) -> list[reward.Ranking]:
    """One choice of the usual rater for each pair."""
    return preferences.rankings(tokenizer(), *zip(*pairs), raters.Rater(), seed)


def margins_of(
    model: reward.ScalarModel, pairs: Sequence[tuple[Ticket, list[list[int]]]]
) -> list[float]:
    """How much more reward the first reply of each pair gets, in the model's units."""
    prompts = preferences.prompts(tokenizer(), [ticket for ticket, _ in pairs])
    first, second = (
        reward.rewards(
            model, prompts, [pair[i] for _, pair in pairs], pad_id=tokenizer().pad_token_id
        )
        for i in (0, 1)
    )
    return (first - second).tolist()


def run_budget(
    spending: str, seed: int, *, most_uncertain: Callable = most_uncertain
) -> dict[str, float]:
    """A reward model from 300 choices, spent in one of three ways.

    Results: gold_accuracy, against the gold score where it differs · pairs: how many choices it was
    trained on · apart: how far the gold scores of the pairs that were judged lie apart, in gold
    points, on average
    """
    pool = _pool(seed)
    if spending == "random pairs":
        shown = pool[:BUDGET]
        choices = judged(shown, seed)
    elif spending == "each pair twice":
        shown = pool[: BUDGET // 2]
        both = zip(judged(shown, seed), judged(shown, 1000 + seed))
        choices = [one for one, other in both if one == other]
    else:
        choices = judged(pool[:FIRST], seed)
        rest = pool[FIRST:]
        margins = margins_of(reward_model.fit(choices, seed=seed), rest)
        asked = [rest[place] for place in most_uncertain(margins, BUDGET - FIRST)]
        shown = pool[:FIRST] + asked
        choices = choices + judged(asked, 2000 + seed)
    model = reward_model.fit(choices, seed=seed)
    gold = reward_model.held_out(reward_model.PRECISE_RATER, decided=True)
    scores = [reward_model.gold_of(ticket, pair) for ticket, pair in shown]
    return {
        "gold_accuracy": reward_model.accuracy(model, gold),
        "pairs": float(len(choices)),
        "apart": statistics.fmean(abs(one - other) for one, other in scores),
    }


BUDGETS = Sweep(
    "data.budgets",
    run=run_budget,
    grid=[{"spending": spending, "seed": seed} for seed in range(5) for spending in SPENDINGS],
    agree={"gold_accuracy": 0.06},
)


# Ratings or comparisons ---------------------------------------------------------------------------


def rated_and_compared(
    spread: float, seed: int, *, items: int = 40, people: int = 10, judgements: int = 800
) -> dict[str, float]:
    """Raters who each have an offset and a scale of their own judge items of known worth.

    spread: standard deviation of the offsets, and of the logarithm of the scales; the worth of the
    items has 1, and each reading of an item adds noise of 1

    returns the share of all pairs of items that are put in the right order: by mean rating, by mean
    rating after each rater's own mean and spread are taken out, by as many comparisons as ratings,
    and by half as many, since a comparison reads two items
    """
    rng = np.random.default_rng(seed)
    worth = rng.normal(size=items)
    offset, scale = spread * rng.normal(size=people), np.exp(spread * rng.normal(size=people))
    item, person = rng.integers(items, size=judgements), rng.integers(people, size=judgements)
    rating = offset[person] + scale[person] * (worth[item] + rng.normal(size=judgements))
    own = rating.copy()
    for one in range(people):
        mine = person == one
        own[mine] = (own[mine] - own[mine].mean()) / max(own[mine].std(), 1e-9)
    first, second = rng.integers(items, size=(2, judgements))
    second = np.where(first == second, (second + 1) % items, second)
    wins = worth[first] - worth[second] + rng.normal(size=(2, judgements)).sum(0) > 0
    by_comparing = [
        _strengths(first[:count], second[:count], wins[:count], items)
        for count in (judgements, judgements // 2)
    ]
    return {
        "ratings": _in_order(worth, _mean_by(item, rating, items)),
        "ratings, each rater standardised": _in_order(worth, _mean_by(item, own, items)),
        "as many comparisons": _in_order(worth, by_comparing[0]),
        "half as many comparisons": _in_order(worth, by_comparing[1]),
    }


def _mean_by(item: np.ndarray, rating: np.ndarray, items: int) -> np.ndarray:
    count = np.bincount(item, minlength=items)
    return np.bincount(item, rating, minlength=items) / np.maximum(count, 1)


def _strengths(first: np.ndarray, second: np.ndarray, wins: np.ndarray, items: int) -> np.ndarray:
    """Bradley and Terry's strengths, with a little weight on 0, by gradient steps."""
    strength = np.zeros(items)
    for _ in range(500):
        surprise = wins - 1 / (1 + np.exp(strength[second] - strength[first]))
        gradient = np.bincount(first, surprise, items) - np.bincount(second, surprise, items)
        strength += 0.05 * (gradient - 0.1 * strength)
    return strength


def _in_order(worth: np.ndarray, estimate: np.ndarray) -> float:
    pairs = itertools.combinations(range(len(worth)), 2)
    return float(np.mean([(worth[i] > worth[j]) == (estimate[i] > estimate[j]) for i, j in pairs]))


# Curves -------------------------------------------------------------------------------------------

LAWS = tuple(law.__name__ for law in laws.LAWS)
DRAWN = ("triage, full", "triage, full, −loss", "reward model")
Curve = dict[int, list[float]]  # from the number of examples to the performance of each seed


def needed_for(share: float, curve: Curve) -> list[float]:
    """How many examples each seed needs to reach a share: where the line between neighbouring points
    crosses it, on a logarithmic axis; the largest count where it never does."""
    found = []
    for seed in range(len(next(iter(curve.values())))):
        points = [(math.log(count), values[seed]) for count, values in sorted(curve.items())]
        crossing = points[-1][0] if points[0][1] < share else points[0][0]
        for (x, y), (next_x, next_y) in itertools.pairwise(points):
            if y < share <= next_y:
                crossing = x + (next_x - x) * (share - y) / (next_y - y)
                break
        found.append(math.exp(crossing))
    return found


def judge_laws(curves: dict[str, Curve]) -> dict[str, dict[str, float]]:
    """For each curve the misfit of each law at the two largest counts, fitted to the means of all
    smaller ones."""
    return {
        name: laws.extrapolated(list(curve), [statistics.fmean(one) for one in curve.values()])
        for name, curve in curves.items()
    }


def best_epochs(row: Row) -> tuple[float, float]:
    """After how many epochs the loss is lowest, and after how many the performance is best."""
    lowest = min(range(len(row["loss"])), key=row["loss"].__getitem__)
    most = max(range(len(row["performance"])), key=row["performance"].__getitem__)
    return row["epoch"][lowest], row["epoch"][most]


# Pictures -----------------------------------------------------------------------------------------

COLORS = {"full": BLUE, "LoRA": ORANGE}


def draw_curves(axes: Sequence[Axes], curves: dict[tuple[str, str], Curve]) -> None:
    """One axis for each task, a curve with its seeds for each arm."""
    for (task, arm), curve in curves.items():
        ax, color = axes[TASKS.index(task)], COLORS[arm]
        counts = sorted(curve)
        for count in counts:
            ax.plot([count] * len(curve[count]), curve[count], ".", color=color, alpha=0.5)
        means = [statistics.fmean(curve[count]) for count in counts]
        ax.plot(counts, means, color=color, label=arm)
        ax.set(xscale="log", xlabel="examples", title=task)
    axes[0].set(ylabel="share of right responses")
    axes[0].legend()


def draw_laws(axes: Sequence[Axes], curves: dict[str, Curve]) -> None:
    """Means, filled where they were fitted to and open where not, with the laws."""
    for ax, (name, curve) in zip(axes, curves.items()):
        counts = sorted(curve)
        means = [statistics.fmean(curve[count]) for count in counts]
        ax.plot(counts[:-2], means[:-2], "o", color="black", markersize=4)
        ax.plot(counts[-2:], means[-2:], "o", color="black", mfc="none", markersize=5)
        between = np.geomspace(counts[0], counts[-1], 80)
        for law, color in zip(laws.LAWS, (PINK, BLUE, GREEN)):
            fitted = law(counts[:-2], means[:-2])
            ax.plot(between, [fitted.value(n) for n in between], color=color, label=fitted.name)
        ax.set(xscale="log", xlabel="examples", title=name)
    axes[-1].legend(fontsize="x-small")


def draw_epochs(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Loss and performance against epochs, by task; the best of each seed is marked."""
    for row in rows:
        color = {"triage": BLUE, "polite": GREEN}[row["task"]]
        for ax, what, best in zip(axes, ("loss", "performance"), best_epochs(row)):
            label = row["task"] if row["seed"] == 0 else None
            ax.plot(row["epoch"], row[what], color=color, alpha=0.6, label=label)
            ax.plot(best, row[what][row["epoch"].index(best)], "o", color=ORANGE, markersize=4)
    axes[0].set(xlabel="epochs", ylabel="test loss, nats per token", yscale="log")
    axes[1].set(xlabel="epochs", ylabel="share of right responses")
    axes[0].legend()


def draw_ways(ax: Axes, rows: Sequence[Row], setting: str, what: str, ways: Sequence[str]) -> None:
    """A bar for each way, with its seeds as points."""
    for place, way in enumerate(ways):
        values = [row[what] for row in rows if row[setting] == way]
        ax.barh(-place, statistics.fmean(values), color=BLUE, alpha=0.5)
        ax.plot(values, [-place] * len(values), ".", color="black")
    ax.set_yticks([-place for place in range(len(ways))], ways, fontsize="small")
    ax.set(xlim=(0, 1), xlabel="share of right responses" if what == "exact" else f"share {what}")


def draw_ordered(ax: Axes, ordered: dict[float, list[dict[str, float]]]) -> None:
    """A curve for each way of judging, over the spread between raters."""
    ways = next(iter(ordered.values()))[0]
    for way, color in zip(ways, (PINK, GREEN, BLUE, ORANGE)):
        means = [statistics.fmean(run[way] for run in runs) for runs in ordered.values()]
        ax.plot(list(ordered), means, "o-", color=color, label=way)
    ax.set(xlabel="spread between raters", ylabel="pairs in the right order", ylim=(0.76, 0.95))
    ax.legend(fontsize="x-small", loc="lower left")


# Names of measures, with what they measure --------------------------------------------------------

SHARES = {  # task, arm and count
    "data.triage_full_64": ("triage", "full", 64),
    "data.triage_full_128": ("triage", "full", 128),
    "data.triage_lora_128": ("triage", "LoRA", 128),
    "data.triage_full_256": ("triage", "full", 256),
    "data.triage_full_1024": ("triage", "full", 1024),
    "data.triage_full_4096": ("triage", "full", 4096),
    "data.triage_lora_64": ("triage", "LoRA", 64),
    "data.triage_lora_1024": ("triage", "LoRA", 1024),
    "data.triage_lora_4096": ("triage", "LoRA", 4096),
    "data.polite_full_64": ("polite", "full", 64),
    "data.polite_full_1024": ("polite", "full", 1024),
    "data.polite_lora_64": ("polite", "LoRA", 64),
    "data.polite_lora_1024": ("polite", "LoRA", 1024),
}
LONGER_AT = {"data.triage_longer_64": 64, "data.triage_longer_128": 128}
BEST_LAW = {
    "data.law_logarithm": "logarithm",
    "data.law_power": "power",
    "data.law_saturation": "saturation",
}
SHOWN = {  # result and way
    "data.polite_one_wording": ("polite", WAYS[0]),
    "data.polite_any_wording": ("polite", WAYS[1]),
    "data.polite_four_wordings": ("polite", WAYS[2]),
    "data.wordings_one_wording": ("wordings", WAYS[0]),
    "data.wordings_any_wording": ("wordings", WAYS[1]),
    "data.wordings_four_wordings": ("wordings", WAYS[2]),
}
TAUGHT = {  # result and source
    "data.written_by_hand": ("exact", SOURCES[0]),
    "data.written_by_model": ("exact", SOURCES[1]),
    "data.written_checked": ("exact", SOURCES[2]),
    "data.written_all_by_hand": ("exact", SOURCES[3]),
    "data.right_by_model": ("right", SOURCES[1]),
    "data.right_checked": ("right", SOURCES[2]),
}
SPENT = {
    "data.budget_random": SPENDINGS[0],
    "data.budget_uncertain": SPENDINGS[1],
    "data.budget_twice": SPENDINGS[2],
}
APART = {"data.apart_random": SPENDINGS[0], "data.apart_uncertain": SPENDINGS[1]}
ORDERED = {  # spread and way
    "data.ratings_alike": (0.0, "ratings"),
    "data.comparisons_alike": (0.0, "as many comparisons"),
    "data.ratings_unlike": (1.0, "ratings"),
    "data.standardised_unlike": (1.0, "ratings, each rater standardised"),
    "data.comparisons_unlike": (1.0, "as many comparisons"),
    "data.half_comparisons_unlike": (1.0, "half as many comparisons"),
}
BEST_EPOCHS = {  # of loss and of performance, by task
    "triage": ("data.loss_best_epoch_triage", "data.best_epoch_triage"),
    "polite": ("data.loss_best_epoch_polite", "data.best_epoch_polite"),
}
LOSS_RISE = {"data.loss_rise_triage": "triage", "data.loss_rise_polite": "polite"}
