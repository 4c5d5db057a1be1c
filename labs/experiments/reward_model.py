"""What lab 03 runs: reward models for different raters, numbers of pairs, and ways to train.

The recipe is one for all: the base draws two replies to each training ticket, a rater chooses, and
a reward model is fitted to the choices in two passes. It is judged on replies to 600 test tickets,
which no training sees: by the choices of the same kind of rater, and by the gold score.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Sequence

import torch
from course import Sweep
from course.rows import Row
from experiments.shared import BATCH, draw, fresh, tokenizer
from helpdesk import judge, language, preferences, raters, replies, tickets
from helpdesk.tickets import Ticket
from methods import reward
from methods.optimize import minimize
from methods.reward import Ranking, ScalarModel
from torch import Tensor

RATE = 1e-3  # the learning rate of every reward model
HELD_OUT = 600  # test tickets, each with two replies
SEEDS = (0, 1, 2)  # of every sweep
PRECISE_RATER = raters.Rater(sharpness=50.0)  # decides by the gold score, nearly always alike


# The recipe ---------------------------------------------------------------------------------------


def base_replies(asked: Sequence[Ticket], count: int, seed: int) -> list[list[list[int]]]:
    """`count` replies of the base to each ticket, in token ids."""
    torch.manual_seed(seed)
    return draw(fresh(), preferences.prompts(tokenizer(), asked), count)


def compare(split: str, count: int, rater: raters.Rater, seed: int, size: int = 2) -> list[Ranking]:
    """One rater's rankings of `size` replies to each of `count` tickets of a split.

    Equal replies are shown once, so that a ranking may be shorter, and a ticket may have none.
    """
    return rank(tickets.sample_tickets(split, count, seed), rater, seed, size)


def rank(asked: Sequence[Ticket], rater: raters.Rater, seed: int, size: int = 2) -> list[Ranking]:
    """One rater's rankings of `size` replies to each ticket, as in `compare`."""
    drawn = base_replies(asked, size, seed)
    return preferences.rankings(tokenizer(), asked, drawn, rater, seed)


def fit(
    rankings: Sequence[Ranking], *, epochs: int = 2, batch_size: int = 16, seed: int = 0
) -> ScalarModel:
    """A reward model, trained from the base on these rankings."""
    torch.manual_seed(seed)
    model = ScalarModel(fresh())
    reward.train(
        model,
        rankings,
        pad_id=tokenizer().pad_token_id,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=RATE,
        seed=seed,
    )
    return model


def accuracy(model: ScalarModel, rankings: Sequence[Ranking]) -> float:
    """The share of pairs that the rewards put in the rankings' order."""
    return reward.accuracy(model, rankings, tokenizer().pad_token_id)


# What is held out ---------------------------------------------------------------------------------


@functools.cache
def held_out_pairs() -> list[tuple[Ticket, list[list[int]]]]:
    """Test tickets, each with two replies of the base in token ids, which may be equal."""
    asked = tickets.sample_tickets("test", HELD_OUT, 0)
    return list(zip(asked, base_replies(asked, 2, 900)))


def gold_of(ticket: Ticket, pair: Sequence[list[int]]) -> list[float]:
    """The gold scores of replies to one ticket."""
    return preferences.gold_scores(tokenizer(), [ticket] * len(pair), pair)


def held_out(rater: raters.Rater, *, decided: bool = False, seed: int = 900) -> list[Ranking]:
    """The held-out pairs as a rater judges them.

    decided: whether only pairs are shown whose gold scores differ · seed: of the rater's choices
    """
    shown = [
        (ticket, pair)
        for ticket, pair in held_out_pairs()
        if not decided or len(set(gold_of(ticket, pair))) == 2
    ]
    return preferences.rankings(tokenizer(), *zip(*shown), rater, seed)


def held_out_margins() -> list[float]:
    """How far the gold scores of each held-out pair lie apart, in gold points; a pair of equal
    replies is left out, since nobody chooses there."""
    return [
        abs(first - second)
        for ticket, pair in held_out_pairs()
        if pair[0] != pair[1]
        for first, second in [gold_of(ticket, pair)]
    ]


def exchanged() -> list[Ranking]:
    """Held-out tickets in twos, about different products: each prefers its own reply to the
    other's."""
    rows = held_out_pairs()
    prompts = preferences.prompts(tokenizer(), [ticket for ticket, _ in rows])
    found = []
    for one, two in zip(range(0, len(rows), 2), range(1, len(rows), 2)):
        (first, (own, _)), (second, (other, _)) = rows[one], rows[two]
        if first.product != second.product and own != other:
            found += [(prompts[one], [own, other]), (prompts[two], [other, own])]
    return found


def names_product() -> float:
    """The share of held-out replies that name the ticket's product."""
    named = [
        ticket.product in tokenizer().decode(reply)
        for ticket, pair in held_out_pairs()
        for reply in pair
    ]
    return sum(named) / len(named)


# How many pairs, from which rater -----------------------------------------------------------------

RATERS = {"default": raters.Rater(), "16 % flips": raters.Rater(sharpness=50.0, flips=0.16)}
COUNTS = (100, 300, 1000, 3000)


def choices(rater: raters.Rater, pairs: int, seed: int) -> list[Ranking]:
    """The first so many of one rater's choices between two replies to 3,200 training tickets.

    No more replies are drawn than it takes: a few to spare, since equal ones are no choice, and
    whole batches, so that fewer choices are the first of more.
    """
    enough = math.ceil(pairs * 16 / 15 / BATCH) * BATCH
    return rank(tickets.sample_tickets("train", 3200, seed)[:enough], rater, seed)[:pairs]


def run_pairs(rater: str, pairs: int, seed: int) -> dict[str, float]:
    """Train on so many pairs of one rater.

    returns accuracy, against held-out choices of that rater, and gold_accuracy, against the gold
    score where it differs
    """
    model = fit(choices(RATERS[rater], pairs, 10 + seed), seed=seed)
    return {
        "accuracy": accuracy(model, held_out(RATERS[rater])),
        "gold_accuracy": accuracy(model, held_out(PRECISE_RATER, decided=True)),
    }


PAIRS = Sweep(
    "reward.pairs",
    run=run_pairs,
    grid=[
        {"rater": rater, "pairs": pairs, "seed": seed}
        for seed in SEEDS
        for rater in RATERS
        for pairs in COUNTS
    ],
    agree={"gold_accuracy": 0.05},
)

PAIRS_MEASURES = {  # name: result and settings
    "reward.default_accuracy_100": ("accuracy", {"rater": "default", "pairs": 100}),
    "reward.default_accuracy_300": ("accuracy", {"rater": "default", "pairs": 300}),
    "reward.default_accuracy_1000": ("accuracy", {"rater": "default", "pairs": 1000}),
    "reward.default_accuracy_3000": ("accuracy", {"rater": "default", "pairs": 3000}),
    "reward.default_gold_accuracy_100": ("gold_accuracy", {"rater": "default", "pairs": 100}),
    "reward.default_gold_accuracy_300": ("gold_accuracy", {"rater": "default", "pairs": 300}),
    "reward.default_gold_accuracy_1000": ("gold_accuracy", {"rater": "default", "pairs": 1000}),
    "reward.default_gold_accuracy_3000": ("gold_accuracy", {"rater": "default", "pairs": 3000}),
    "reward.flips_accuracy_100": ("accuracy", {"rater": "16 % flips", "pairs": 100}),
    "reward.flips_accuracy_300": ("accuracy", {"rater": "16 % flips", "pairs": 300}),
    "reward.flips_accuracy_1000": ("accuracy", {"rater": "16 % flips", "pairs": 1000}),
    "reward.flips_accuracy_3000": ("accuracy", {"rater": "16 % flips", "pairs": 3000}),
    "reward.flips_gold_accuracy_100": ("gold_accuracy", {"rater": "16 % flips", "pairs": 100}),
    "reward.flips_gold_accuracy_300": ("gold_accuracy", {"rater": "16 % flips", "pairs": 300}),
    "reward.flips_gold_accuracy_1000": ("gold_accuracy", {"rater": "16 % flips", "pairs": 1000}),
    "reward.flips_gold_accuracy_3000": ("gold_accuracy", {"rater": "16 % flips", "pairs": 3000}),
}


# A larger one -------------------------------------------------------------------------------------


def run_larger(pairs: int, seed: int) -> dict[str, float]:
    """Train on more pairs of the default rater, and judge with more.

    returns accuracy, on the choices that a rater makes of 2,600 test tickets, and gold_accuracy, as
    run_pairs does
    """
    model = fit(compare("train", 4080, raters.Rater(), 100 + seed)[:pairs], seed=seed)
    return {
        "accuracy": accuracy(model, compare("test", 2600, raters.Rater(), 900)),
        "gold_accuracy": accuracy(model, held_out(PRECISE_RATER, decided=True)),
    }


LARGER = Sweep(
    "reward.larger",
    run=run_larger,
    grid=[{"pairs": 4000, "seed": seed} for seed in SEEDS],
    agree={"accuracy": 0.02, "gold_accuracy": 0.05},
)


# What raters like ---------------------------------------------------------------------------------

BIASED = {
    "none": raters.Rater(),
    "thanks": raters.Rater(thanks_bias=1.0),
    "length": raters.Rater(length_bias=0.1),
}
THANKS = " thank you for your patience ."
QUESTION = " how old is your {product} ?"


def gain_of(model: ScalarModel, sentence: str) -> float:
    """What one more sentence at the end of a plain reply is worth, on average, in gold points.

    sentence: may name the ticket's {product}

    A reward is a log-odds of the rater's choice; divided by the rater's sharpness it is in gold
    points.
    """
    asked, rng = tickets.sample_tickets("test", 300, 1), random.Random(1)
    habits = replies.Habits(greeting=0, closing=0, question=0)
    plain = [" " + replies.sample_reply(ticket, habits, rng) for ticket in asked]
    longer = [text + sentence.format(product=ticket.product) for text, ticket in zip(plain, asked)]
    prompts, pad_id = preferences.prompts(tokenizer(), asked), tokenizer().pad_token_id
    before, after = (
        reward.rewards(model, prompts, list(map(response_ids, texts)), pad_id=pad_id)
        for texts in (plain, longer)
    )
    return (after - before).mean().item() / raters.Rater().sharpness


def response_ids(text: str) -> list[int]:
    """The token ids of a response, the stop token included."""
    return language.encode(tokenizer(), text) + [tokenizer().eos_token_id]


def run_bias(bias: str, seed: int) -> dict[str, float]:
    """Train on 1,000 pairs of a rater with one bias.

    returns what thanks and a question at the end of a reply are then worth, in gold points
    """
    model = fit(compare("train", 1100, BIASED[bias], 20 + seed)[:1000], seed=seed)
    return {"thanks": gain_of(model, THANKS), "question": gain_of(model, QUESTION)}


BIAS = Sweep(
    "reward.bias",
    run=run_bias,
    grid=[{"bias": bias, "seed": seed} for seed in SEEDS for bias in BIASED],
    agree={"thanks": 0.1, "question": 0.1},
)

BIAS_MEASURES = {  # name: the sentence that is added, the rater's bias
    "reward.thanks_bias_none": ("thanks", "none"),
    "reward.question_bias_none": ("question", "none"),
    "reward.thanks_bias_thanks": ("thanks", "thanks"),
    "reward.question_bias_thanks": ("question", "thanks"),
    "reward.thanks_bias_length": ("thanks", "length"),
    "reward.question_bias_length": ("question", "length"),
}
ADDED_BY_A_BIAS = (  # name, the sentence that is added, the rater's bias
    ("reward.thanks_bias_added", "thanks", "thanks"),
    ("reward.question_bias_added", "question", "length"),
)


def added_by_a_bias(rows: Sequence[Row], sentence: str, bias: str) -> list[float]:
    """What a rater's bias adds to the reward for a sentence, in gold points, for each seed."""
    paid = {(row["bias"], row["seed"]): row[sentence] for row in rows}
    return [paid[bias, seed] - paid["none", seed] for seed in SEEDS]


# Rankings -----------------------------------------------------------------------------------------


def pairs_of(rankings: Sequence[Ranking]) -> list[Ranking]:
    """All pairs of each ranking, as rankings of two."""
    return [
        (prompt, list(pair))
        for prompt, ranked in rankings
        for pair in itertools.combinations(ranked, 2)
    ]


@torch.no_grad()
def held_out_loss(model: ScalarModel, rater: raters.Rater) -> float:
    """The loss on the first 500 held-out pairs of a rater, in nats per choice."""
    pairs, pad_id = held_out(rater)[:500], tokenizer().pad_token_id
    losses = [
        reward.ranking_loss(reward.batch_rewards(model, pairs[start : start + 100], pad_id))
        for start in range(0, len(pairs), 100)
    ]
    return torch.stack(losses).mean().item()


def run_rankings(batches: str, epochs: int, seed: int) -> dict[str, float]:
    """Train on 200 rankings of four replies by the default rater.

    batches: "grouped", each ranking as a whole, or "shuffled", cut into its six pairs; the replies
    and the rankings are the same, and a batch holds about as many replies · returns accuracy and
    loss, in nats per choice, on held-out pairs, and train_accuracy
    """
    rater = raters.Rater()
    compared = compare("train", 260, rater, 30 + seed, size=4)
    ranked = [(prompt, responses) for prompt, responses in compared if len(responses) == 4][:200]
    if batches == "grouped":
        model = fit(ranked, epochs=epochs, batch_size=8, seed=seed)
    else:
        model = fit(pairs_of(ranked), epochs=epochs, batch_size=16, seed=seed)
    return {
        "accuracy": accuracy(model, held_out(rater)),
        "train_accuracy": accuracy(model, pairs_of(ranked)),
        "loss": held_out_loss(model, rater),
    }


RANKINGS = Sweep(
    "reward.rankings",
    run=run_rankings,
    grid=[
        {"batches": batches, "epochs": epochs, "seed": seed}
        for seed in SEEDS
        for epochs in (1, 3)
        for batches in ("grouped", "shuffled")
    ],
    agree={"accuracy": 0.05, "loss": 0.05},
)

RANKINGS_UNITS = {
    "accuracy": "share of held-out choices",
    "train_accuracy": "share of training choices",
    "loss": "nats per held-out choice",
}
RANKINGS_MEASURES = {  # name: result and settings
    "reward.grouped_accuracy_1": ("accuracy", {"batches": "grouped", "epochs": 1}),
    "reward.grouped_train_accuracy_1": ("train_accuracy", {"batches": "grouped", "epochs": 1}),
    "reward.grouped_loss_1": ("loss", {"batches": "grouped", "epochs": 1}),
    "reward.shuffled_accuracy_1": ("accuracy", {"batches": "shuffled", "epochs": 1}),
    "reward.shuffled_train_accuracy_1": ("train_accuracy", {"batches": "shuffled", "epochs": 1}),
    "reward.shuffled_loss_1": ("loss", {"batches": "shuffled", "epochs": 1}),
    "reward.grouped_accuracy_3": ("accuracy", {"batches": "grouped", "epochs": 3}),
    "reward.grouped_train_accuracy_3": ("train_accuracy", {"batches": "grouped", "epochs": 3}),
    "reward.grouped_loss_3": ("loss", {"batches": "grouped", "epochs": 3}),
    "reward.shuffled_accuracy_3": ("accuracy", {"batches": "shuffled", "epochs": 3}),
    "reward.shuffled_train_accuracy_3": ("train_accuracy", {"batches": "shuffled", "epochs": 3}),
    "reward.shuffled_loss_3": ("loss", {"batches": "shuffled", "epochs": 3}),
}


# A cycle ------------------------------------------------------------------------------------------


def cycle(split: str, count: int, seed: int) -> list[Ranking]:
    """Choices that go round in a circle, three for each ticket: a reply with a greeting beats one
    with empathy, that one beats one with thanks, and that one the first."""
    asked = tickets.sample_tickets(split, count, seed)
    pairs = []
    for ticket, prompt in zip(asked, preferences.prompts(tokenizer(), asked)):
        fix = replies.FIX[0].format(product=ticket.product, fix=judge.FIXES[ticket.problem])
        three = [
            response_ids(f" hello . {fix}"),
            response_ids(f" i am so sorry to hear that . {fix}"),
            response_ids(f" {fix} thank you for your patience ."),
        ]
        pairs += [(prompt, [three[i], three[(i + 1) % 3]]) for i in range(3)]
    return pairs


# Best-of-n ----------------------------------------------------------------------------------------

BEST_OF = {  # name: n
    "reward.best_of_1": 1,
    "reward.best_of_4": 4,
    "reward.best_of_16": 16,
    "reward.best_of_64": 64,
}


def scored_draws(
    model: ScalarModel, asked: Sequence[Ticket], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """`count` replies of the base to each ticket, as the reward model and as the judge see them.

    returns rewards and gold scores, both float (tickets, count)
    """
    drawn = base_replies(asked, count, seed)
    responses = [response for row in drawn for response in row]
    prompts = [prompt for prompt in preferences.prompts(tokenizer(), asked) for _ in range(count)]
    rewards = reward.rewards(model, prompts, responses, pad_id=tokenizer().pad_token_id)
    repeated = [ticket for ticket in asked for _ in range(count)]
    golds = torch.tensor(preferences.gold_scores(tokenizer(), repeated, responses))
    return rewards.cpu().view(-1, count), golds.view(-1, count)


# The silent bug -----------------------------------------------------------------------------------


def train_with(
    batch_rewards: Callable[[ScalarModel, Sequence[Ranking], int], Tensor],
    pairs: Sequence[Ranking],
    *,
    ranking_loss: Callable[[Tensor], Tensor] = reward.ranking_loss,
) -> tuple[ScalarModel, list[float]]:
    """A reward model trained on these pairs in two passes, and the loss of every step.

    batch_rewards: what stands in for reward.batch_rewards
    """
    torch.manual_seed(0)
    model, pad_id = ScalarModel(fresh()), tokenizer().pad_token_id
    losses = minimize(
        lambda batch: ranking_loss(batch_rewards(model, batch, pad_id)),
        reward.batches(pairs, batch_size=16, epochs=2, seed=0),
        torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0),
    )
    return model, losses


@torch.no_grad()
def in_company(
    batch_rewards: Callable[[ScalarModel, Sequence[Ranking], int], Tensor],
    model: ScalarModel,
    count: int = 300,
) -> tuple[float, float]:
    """Score `count` held-out pairs in one batch, and each alone.

    returns the share of pairs that are in gold's order in the batch, and the share whose order is
    another one alone
    """
    pairs, pad_id = held_out(PRECISE_RATER, decided=True)[:count], tokenizer().pad_token_id
    together = batch_rewards(model, pairs, pad_id)
    alone = torch.cat([batch_rewards(model, [pair], pad_id) for pair in pairs])
    right, right_alone = (rewards[:, 0] > rewards[:, 1] for rewards in (together, alone))
    return right.float().mean().item(), (right != right_alone).float().mean().item()
