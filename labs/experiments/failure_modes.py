"""What lab 10 runs: the three failures that the document's summary names, one for each method.

SFT learns the errors of its data, a low rank runs out, and a reward model is exploited. Each has a
dose and a remedy with a price.
"""

import copy
import functools
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from course import Sweep, lowest, machine, rows_of
from course.rows import Row
from experiments import lora as lab_02
from experiments.after_ppo import SEEDS, asked_in, special
from experiments.reward_model import RATE, base_replies
from experiments.shared import batch_of, draw, fresh, score, tokenizer, tune
from helpdesk import preferences, raters, tasks, tickets
from helpdesk.language import encode
from helpdesk.tasks import Example
from helpdesk.tickets import Ticket
from helpdesk.words import CITIES, PRODUCTS
from methods import ppo, remedies, reward, rollouts
from methods.reward import Ranking, ScalarModel
from methods.tokens import IGNORE
from torch import Tensor, nn

# SFT learns the errors of its data ----------------------------------------------------------------

SHOWN = 1000  # tickets with their fields
NOISE_STEPS = 150  # of 32 tickets
DOSES = (0.0, 0.1, 0.2, 0.3, 0.4)
KINDS = ("any wrong city", "one wrong city", "whole products")


def next_city(city: str) -> str:
    """The city that stands in for another in a systematic error."""
    return CITIES[(CITIES.index(city) + 1) % len(CITIES)]


def noisy(kind: str, dose: float, seed: int) -> list[Example]:
    """Triage with a wrong city in a share of the examples.

    kind: "any wrong city", another one at random; "one wrong city", the next one in the list; or
    "whole products", the next one in every ticket about certain products
    """
    rng = random.Random(f"noise {seed}")
    some = tickets.sample_tickets("train", SHOWN, 900 + seed)
    wrong = set(rng.sample(range(SHOWN), round(dose * SHOWN)))
    products = wrong_products(dose, seed)
    shown = []
    for number, ticket in enumerate(some):
        hit = ticket.product in products if kind == "whole products" else number in wrong
        city = ticket.city
        if hit and kind == "any wrong city":
            city = rng.choice([other for other in CITIES if other != ticket.city])
        elif hit:
            city = next_city(ticket.city)
        right = tasks.triage(ticket)
        said = right.response.split(" | ")
        shown.append(Example(right.prompt, " | ".join([*said[:2], city, *said[3:]])))
    return shown


def wrong_products(dose: float, seed: int) -> set[str]:
    """The products whose tickets all have a wrong city: this share of all products."""
    return set(random.Random(f"products {seed}").sample(PRODUCTS, round(dose * len(PRODUCTS))))


@torch.no_grad()
def city_probabilities(model: nn.Module, some: Sequence[Ticket]) -> tuple[Tensor, Tensor]:
    """What a model makes of the place of the city, once the fields before are right.

    returns float (tickets, cities): the probability of each city · int (tickets,): the right one
    """
    ids, labels = batch_of(tasks.triage(ticket) for ticket in some)
    words = torch.tensor(tokenizer().convert_tokens_to_ids(list(CITIES)), device=ids.device)
    place = (labels != IGNORE).int().argmax(-1) + 4  # product | problem | city
    logits = model(input_ids=ids).logits
    said = logits[torch.arange(len(ids)), place - 1].softmax(-1)[:, words]
    return said.cpu(), torch.tensor([CITIES.index(ticket.city) for ticket in some])


def run_noise(kind: str, dose: float, seed: int) -> dict[str, object]:
    """SFT on triage with wrong cities, judged on 300 test tickets.

    returns shown, the share of wrong examples · greedy, the share of wrong cities when the likeliest
    word is taken · sampled, the probability of a wrong city · among_hit and among_others, greedy
    errors for the products that "whole products" hits and for the others (0 where there are none)
    """
    torch.manual_seed(seed)
    model, shown = fresh(), noisy(kind, dose, seed)
    right_ones = noisy(kind, 0.0, seed)
    tune(model, shown, steps=NOISE_STEPS, rate=1e-3, seed=seed, size=32)
    some = tickets.sample_tickets("test", 300, 4)
    said, right = city_probabilities(model, some)
    wrong = said.argmax(-1) != right
    hit = torch.tensor([ticket.product in wrong_products(dose, seed) for ticket in some])
    return {
        "shown": statistics.fmean(a != b for a, b in zip(shown, right_ones)),
        "greedy": wrong.float().mean().item(),
        "sampled": 1 - said[torch.arange(len(some)), right].mean().item(),
        "among_hit": wrong[hit].float().mean().item() if hit.any() else 0.0,
        "among_others": wrong[~hit].float().mean().item(),
    }


# Expected: of random errors, nearly none is made greedily, however many there are, and sampling makes
# as many as it was shown. One wrong city is no worse when decoding is greedy, as long as it is in the
# minority. Errors about whole products are learned in full: as many as were shown, and for those
# products nearly always.
NOISE = Sweep(
    "failures.noise",
    run_noise,
    [
        {"kind": kind, "dose": dose, "seed": seed}
        for seed in SEEDS
        for kind in KINDS
        for dose in DOSES
        if (dose or kind == KINDS[0]) and (kind, dose) != ("whole products", 0.3)  # as many as 0.2
    ],
    agree={"greedy": 0.08, "sampled": 0.06},
)


def noise_of(kind: str, dose: float) -> Tensor:
    """How often each token is shown as another, float (vocab, vocab): cities change, nothing else does.

    kind: "any wrong city" or "one wrong city"
    """
    noise = torch.eye(len(tokenizer()))
    ids = tokenizer().convert_tokens_to_ids(list(CITIES))
    for place, token in enumerate(ids):
        others = [ids[(place + 1) % len(ids)]] if kind == "one wrong city" else ids
        noise[token, [other for other in others if other != token]] = dose / (
            len(others) - (token in others)
        )
        noise[token, token] = 1 - dose
    return noise.to(machine.pick_device())


def corrected_loss(kind: str, dose: float, forward_loss: Callable) -> Callable:
    """SFT's loss of logits and labels, with the noise known to it."""
    noise = noise_of(kind, dose)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        counts = labels[:, 1:] != IGNORE
        return forward_loss(logits[:, :-1][counts], labels[:, 1:][counts], noise)

    return loss


def wrong_cities(model: nn.Module) -> dict[str, float]:
    """greedy and sampled, as run_noise has them."""
    said, right = city_probabilities(model, tickets.sample_tickets("test", 300, 4))
    return {
        "greedy": (said.argmax(-1) != right).float().mean().item(),
        "sampled": 1 - said[torch.arange(len(right)), right].mean().item(),
    }


def run_corrected(
    kind: str, dose: float, seed: int, *, forward_loss: Callable = remedies.forward_loss
) -> dict[str, float]:
    """SFT on triage with wrong cities whose probabilities are known to the loss.

    returns greedy and sampled, as run_noise does
    """
    loss = corrected_loss(kind, dose, forward_loss)
    torch.manual_seed(seed)
    model, shown = fresh(), noisy(kind, dose, seed)
    tune(model, shown, steps=NOISE_STEPS, rate=1e-3, seed=seed, size=32, sft_loss=loss)
    return wrong_cities(model)


# Expected: with the right noise in the loss, random errors of 40 % leave fewer than 5 % greedy errors
# and fewer than 10 % sampled ones, where the plain loss samples more than it was shown.
CORRECTED = Sweep(
    "failures.corrected",
    run_corrected,
    [
        {"kind": kind, "dose": dose, "seed": seed}
        for seed in SEEDS
        for kind in KINDS[:2]
        for dose in (0.2, 0.4)
    ],
    agree={"greedy": 0.1, "sampled": 0.1},
)


LOSSES = ("usual", "corrected")
LONGER = (150, 300, 450)  # steps at which a longer run is looked at


def run_longer(loss: str, seed: int) -> dict[str, list[float]]:
    """SFT with the most random errors and the loss of LOSSES, three times as long.

    returns greedy and sampled, as run_noise has them, at each step of LONGER
    """
    kind, dose, told = KINDS[0], DOSES[-1], []
    corrected = corrected_loss(kind, dose, remedies.forward_loss)
    torch.manual_seed(seed)
    model, shown = fresh(), noisy(kind, dose, seed)

    def look(step: int) -> None:
        if step in LONGER:
            told.append(wrong_cities(model))

    own = {"sft_loss": corrected} if loss == "corrected" else {}
    tune(model, shown, steps=LONGER[-1], rate=1e-3, seed=seed, size=32, look=look, **own)
    told.append(wrong_cities(model))
    return {name: [each[name] for each in told] for name in told[0]}


def greedy_at_end(row: Row) -> float:
    """greedy at the last look."""
    return row["greedy"][-1]


# Added after "failures.corrected" was known, where the corrected loss had learned no city in 150
# steps. Expected: it is slow and not wrong; with three times the steps fewer than 10 % of its cities
# are wrong, and the usual loss's samples are as wrong as before.
LONGER_RUNS = Sweep(
    "failures.longer",
    run_longer,
    [{"loss": loss, "seed": seed} for seed in SEEDS for loss in LOSSES],
    agree={greedy_at_end: 0.15},
)


# A low rank runs out ------------------------------------------------------------------------------

FEW, MANY = 256, 1024  # facts
RANKS = {"full": 0, "r = 1": 1, "r = 4": 4, "r = 16": 16}
RANK_STEPS = 2000
LOOKS = (125, 250, 500, 1000, 2000)


def run_rank(count: int, parameters: str, rate: float, seed: int) -> dict[str, object]:
    """Memorise random facts, and look at five times on the way.

    returns known, the share of the facts (of 256 of them at most) that are known at each of LOOKS
    """
    facts, known = tasks.depot_facts(count, 40 + seed), []
    model = lab_02.fresh(RANKS[parameters], seed=seed)

    def look(step: int) -> None:
        if step in LOOKS:
            known.append(score(model, facts[:256])["exact"])

    tune(model, facts, steps=RANK_STEPS, rate=rate, seed=seed, size=32, look=look)
    known.append(score(model, facts[:256])["exact"])
    return {"known": known}


def unknown(row: Row) -> float:
    """The share of facts that are not known at the end."""
    return 1 - row["known"][-1]


def unknown_on_the_way(row: Row) -> float:
    """The share of facts that are not known, the mean over LOOKS."""
    return 1 - statistics.fmean(row["known"])


# Expected: 256 facts fit into rank 4, given time; of 1,024 rank 1 knows less than half when full
# tuning knows nearly all, and four times the steps buy as much as four times the rank.
RANK_RATES = Sweep(
    "failures.rank_rates",
    run_rank,
    [
        {"count": FEW, "parameters": parameters, "rate": rate, "seed": 9}
        for parameters in RANKS
        for rate in (1e-3, 2e-3)
    ],
    agree={unknown: 0.3},
)


def rank_grid() -> list[Row]:
    """Every choice of parameters at the rate that left the fewest facts unknown, over all looks."""
    best = lowest(rows_of(RANK_RATES), unknown_on_the_way, "parameters")
    return [
        {"count": MANY, "parameters": name, "rate": best[name]["rate"], "seed": seed}
        for seed in SEEDS
        for name in RANKS
        if name != "r = 16"  # as good as rank 4 with few facts
    ]


RANK = Sweep("failures.rank", run_rank, rank_grid, agree={unknown: 0.3})


# A reward model is exploited ----------------------------------------------------------------------

PAIRS = 1000  # tickets on whose replies a rater chose
MORE = 4  # times as many, for one remedy
MEMBERS = 3  # of an ensemble
HACK_STEPS = 30
HACK_RATE = 3e-4
RATERS = {"fair": raters.Rater(), "fond of length": raters.Rater(length_bias=0.1)}
REMEDIES = ("none", "KL penalty", "more pairs", "ensemble", "fresh labels")
TRIED = {"fair": REMEDIES, "fond of length": ("none", "KL penalty", "fresh labels")}


@dataclass
class Ensemble:
    """Several reward models of the same pairs; a reply is worth what the strictest says of it."""

    members: list[ScalarModel]

    def __call__(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Tensor:
        pad_id = special()["pad_id"]
        said = [reward.rewards(each, prompts, responses, pad_id=pad_id) for each in self.members]
        return remedies.strictest(torch.stack(said))


@functools.cache
def labelled(rater: str, count: int, seed: int) -> list[Ranking]:
    """The rater's choices between two replies of the base to so many tickets."""
    some = tickets.sample_tickets("train", count, 100 + seed)
    return preferences.rankings(tokenizer(), some, base_replies(some, 2, seed), RATERS[rater], seed)


def trained_on(some: Sequence[Ranking], seed: int) -> ScalarModel:
    """A reward model of these choices, in two passes as in lab 03."""
    torch.manual_seed(seed)
    model = ScalarModel(fresh())
    reward.train(
        model,
        some,
        pad_id=special()["pad_id"],
        epochs=2,
        batch_size=16,
        learning_rate=RATE,
        seed=seed,
    )
    return model.requires_grad_(False)


def score_of(models: Sequence[ScalarModel]) -> rollouts.Score:
    """What PPO is paid: by the one model, or by the strictest of several."""
    return Ensemble(list(models))


def run_hack(rater: str, remedy: str, seed: int) -> dict[str, object]:
    """PPO for HACK_STEPS steps on the choices of one rater, with one remedy against hacking.

    remedy: "none", no KL penalty either; "KL penalty", β = 0.1; "more pairs", MORE times as many;
    "ensemble", the strictest of MEMBERS reward models; "fresh labels": half-way a new reward model,
    from the old choices and as many new ones between the policy's own replies
    returns gold, score (what is paid), kl (with fresh labels, from half-way on: from there) and
    length at every step · labels, how many choices were made · said, the first reply of the first
    step and of the last
    """
    count = PAIRS * (MORE if remedy == "more pairs" else 1)
    some = labelled(rater, count, seed)
    members = MEMBERS if remedy == "ensemble" else 1
    models = [trained_on(some, seed + 100 * number) for number in range(members)]
    torch.manual_seed(seed)
    policy = fresh()
    config = ppo.PPOConfig(beta=0.1 if remedy == "KL penalty" else 0.0, learning_rate=HACK_RATE)
    groups = asked_in(HACK_STEPS, 1, seed)
    half = HACK_STEPS // 2
    parts = [groups[:half], groups[half:]] if remedy == "fresh labels" else [groups]
    told: dict[str, list] = {name: [] for name in ("gold", "score", "kl", "length")}
    said, labels = [], len(some)
    for number, part in enumerate(parts):
        if number:
            own = fresh_choices(policy, rater, seed)
            labels += len(own)
            models = [trained_on([*some, *own], seed)]
        said += follow(policy, models, part, config, seed, told)
    return told | {"labels": labels, "said": f"{said[0]}\n{said[-1]}"}


def fresh_choices(policy: nn.Module, rater: str, seed: int) -> list[Ranking]:
    """The rater's choices between two replies of the policy as it stands."""
    some = tickets.sample_tickets("train", PAIRS, 1100 + seed)
    torch.manual_seed(seed)
    drawn = draw(policy, preferences.prompts(tokenizer(), some), 2)
    return preferences.rankings(tokenizer(), some, drawn, RATERS[rater], seed)


def follow(
    policy: nn.Module,
    models: Sequence[ScalarModel],
    groups: Sequence[Sequence[Ticket]],
    config: ppo.PPOConfig,
    seed: int,
    told: dict[str, list],
) -> list[str]:
    """PPO on these tickets, in place; what it tells is added to `told`. Returns a reply of each
    step."""
    torch.manual_seed(seed)
    said = []
    training = ppo.train(
        policy,
        copy.deepcopy(models[0]).requires_grad_(True),
        score_of(models),
        (preferences.prompts(tokenizer(), group) for group in groups),
        config,
        **special(),
    )
    for group, (rollout, metrics) in zip(groups, training):
        gold = preferences.gold_scores(tokenizer(), group, rollout.responses)
        seen = metrics | {"gold": statistics.fmean(gold)}
        for name, values in told.items():
            values.append(seen[name])
        said.append(tokenizer().decode(rollout.responses[0]))
    return said


def gold_at_end(row: Row) -> float:
    """Gold over the last three steps, their mean."""
    return statistics.fmean(row["gold"][-3:])


def gold_lost(row: Row) -> float:
    """By how much gold ends below its best step."""
    return max(row["gold"]) - gold_at_end(row)


# Expected: with a fair rater and no remedy gold peaks and then falls by half a point or more while the
# score rises; the penalty and fresh labels keep most of it, more pairs and an ensemble some. With a
# rater who is fond of length gold falls further, and only the penalty helps: fresh labels and more
# pairs repeat the rater's taste.
HACK = Sweep(
    "failures.hacked",
    run_hack,
    [
        {"rater": rater, "remedy": remedy, "seed": seed}
        for seed in SEEDS
        for rater in RATERS
        for remedy in TRIED[rater]
    ],
    agree={gold_at_end: 0.9},
)


def run_judge(rater: str, judge: int, seed: int) -> dict[str, list[float]]:
    """One of the ensemble's reward models reads the replies that HACK's runs have stored.

    returns first and last: its scores of a reply of the first step, and of one of the last, of every
    run with that rater
    """
    rows = [row for row in rows_of(HACK) if row["rater"] == rater]
    model = trained_on(labelled(rater, PAIRS, seed), seed + 100 * judge)
    return {name: judged(model, rows, step) for name, step in (("first", 0), ("last", -1))}


def judged(model: ScalarModel, rows: Sequence[Row], step: int) -> list[float]:
    """What a reward model says of the reply that each run has stored of a step."""
    asked = [asked_in(HACK_STEPS, 1, row["seed"])[step][0] for row in rows]
    prompts = preferences.prompts(tokenizer(), asked)
    replies = [encode(tokenizer(), row["said"].split("\n")[step]) for row in rows]
    return reward.rewards(model, prompts, replies, pad_id=special()["pad_id"]).tolist()


def score_of_last(row: Row) -> float:
    """The mean score of the last replies."""
    return statistics.fmean(row["last"])


# Expected: the judges lie further apart on the last replies than on the first.
JUDGES = Sweep(
    "failures.judges",
    run_judge,
    [{"rater": "fair", "judge": judge, "seed": 0} for judge in range(MEMBERS)],
    agree={score_of_last: 0.5},
)
