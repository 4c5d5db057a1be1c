"""The experiments of lab 01: what supervised fine-tuning reaches, and what it takes over.

Every run takes the learner's `mask_prompt` and `sft_loss`; their defaults are the references.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from course import Sweep
from experiments import shared
from experiments.shared import batch_of, fresh, tokenizer, tune
from helpdesk import evaluate, replies, tasks, tickets
from helpdesk.tasks import Example
from helpdesk.tickets import Ticket
from methods import sft
from methods.tokens import Batch, mask_prompt
from torch import nn
from transformers import AutoModelForCausalLM

RATE = 2e-3
STEPS = 220  # until triage is learned
BATCH = 32
SEEDS = (0, 1, 2)

Row = dict[str, object]


# Triage: one clear response -----------------------------------------------------------------------


def training_set() -> list[Example]:
    """1,024 training tickets to file."""
    return [tasks.triage(ticket) for ticket in tickets.sample_tickets("train", 1024, 0)]


def test_set() -> list[Example]:
    """500 test tickets to file."""
    return [tasks.triage(ticket) for ticket in tickets.sample_tickets("test", 500, 0)]


def run_triage(
    start: str, seed: int, *, mask_prompt: Callable = mask_prompt, sft_loss: Callable = sft.sft_loss
) -> Row:
    """Full tuning on triage, from the base or from random weights.

    Results: exact_match, the share of 500 tickets filed right · curve: the loss of every step ·
    train_seconds · responses: to the first three test tickets, one in a line
    """
    torch.manual_seed(seed)
    model = fresh()
    if start == "random weights":
        model = AutoModelForCausalLM.from_config(model.config).to(model.device)
    own = {"mask_prompt": mask_prompt, "sft_loss": sft_loss}
    began = time.perf_counter()
    losses = tune(model, training_set(), steps=STEPS, rate=RATE, seed=seed, size=BATCH, **own)
    seconds = time.perf_counter() - began
    asked = [example.prompt for example in test_set()[:3]]
    return {
        "exact_match": evaluate.exact_match(model, tokenizer(), test_set()),
        "curve": losses,
        "train_seconds": seconds,
        "responses": "\n".join(evaluate.respond(model, tokenizer(), asked, max_new_tokens=12)),
    }


TRIAGE = Sweep(
    "sft.triage",
    run_triage,
    [{"start": start, "seed": seed} for start in ("the base", "random weights") for seed in SEEDS],
    agree={"exact_match": 0.1, "curve": 0.05},
)


# Replies: many acceptable responses ---------------------------------------------------------------

FIRST, SECOND = replies.FIX[0], replies.FIX[2]


def customers() -> list[Ticket]:
    """300 test tickets to reply to."""
    return tickets.sample_tickets("test", 300, 2)


def sampled(model: nn.Module, seed: int) -> list[str]:
    """One sampled reply to each customer."""
    torch.manual_seed(seed)
    prompts = [tasks.reply_prompt(ticket) for ticket in customers()]
    drawn = evaluate.respond(model, tokenizer(), prompts, sample=True)
    return [reply.removesuffix(tokenizer().eos_token).strip() for reply in drawn]


def fix(ticket: Ticket, sentence: str) -> Example:
    """A reply that consists of one sentence with the right fix."""
    said = sentence.format(product=ticket.product, fix=replies.FIXES[ticket.problem])
    return Example(tasks.reply_prompt(ticket), " " + said)


def mixture(share: float, seed: int) -> list[Example]:
    """1,024 demonstrations of which `share` give the first response, the others the second."""
    rng = random.Random(seed)
    return [
        fix(ticket, FIRST if rng.random() < share else SECOND)
        for ticket in tickets.sample_tickets("train", 1024, seed)
    ]


def run_mixture(
    seed: int, *, mask_prompt: Callable = mask_prompt, sft_loss: Callable = sft.sft_loss
) -> Row:
    """Tune on 70 % of the first and 30 % of the second response; the share of each in samples."""
    model, own = fresh(), {"mask_prompt": mask_prompt, "sft_loss": sft_loss}
    tune(model, mixture(0.7, seed), steps=60, rate=RATE, seed=seed, **own)
    drawn = sampled(model, seed)

    def share_of(sentence: str) -> float:
        texts = (fix(ticket, sentence).response.strip() for ticket in customers())
        return sum(reply == text for reply, text in zip(drawn, texts)) / len(drawn)

    return {"first": share_of(FIRST), "second": share_of(SECOND)}


MIXTURE = Sweep(
    "sft.mixture",
    run_mixture,
    [{"seed": seed} for seed in SEEDS],
    agree={"first": 0.1, "second": 0.1},
)


@torch.no_grad()
def mean_log_prob(model: nn.Module, sentence: str) -> float:
    """Mean log-probability of a response's tokens after 200 customers, in nats."""
    ids, labels = batch_of(fix(ticket, sentence) for ticket in customers()[:200])
    return -sft.sft_loss(model(input_ids=ids).logits, labels).item()


def run_undemonstrated(
    seed: int, *, mask_prompt: Callable = mask_prompt, sft_loss: Callable = sft.sft_loss
) -> Row:
    """Tune on the first response alone; the change of the second one's log-probability, in nats
    per token."""
    model, own = fresh(), {"mask_prompt": mask_prompt, "sft_loss": sft_loss}
    before = mean_log_prob(model, SECOND)
    tune(model, mixture(1.0, seed), steps=20, rate=RATE, seed=seed, **own)
    return {"change": mean_log_prob(model, SECOND) - before}


UNDEMONSTRATED = Sweep(
    "sft.undemonstrated",
    run_undemonstrated,
    [{"seed": seed} for seed in SEEDS],
    agree={"change": 0.2},
)


# Habits and styles --------------------------------------------------------------------------------

DOSES = (0.0, 0.3, 0.6)
RUDE_AT = {"sft.rude_at_0": 0.0, "sft.rude_at_30": 0.3, "sft.rude_at_60": 0.6}
POLITE_AT = {
    "sft.polite_at_0": 0,
    "sft.polite_at_16": 16,
    "sft.polite_at_32": 32,
    "sft.polite_at_64": 64,
    "sft.polite_at_128": 128,
    "sft.polite_at_256": 256,
    "sft.polite_at_1024": 1024,
}


def written(habits: replies.Habits, count: int, seed: int) -> list[Example]:
    """Replies that a clerk with these habits wrote to `count` training tickets."""
    rng = random.Random(seed)
    asked = tickets.sample_tickets("train", count, seed)
    return [tasks.reply(ticket, habits, rng) for ticket in asked]


def run_rude(
    dose: float,
    seed: int,
    *,
    mask_prompt: Callable = mask_prompt,
    sft_loss: Callable = sft.sft_loss,
) -> Row:
    """Tune on replies of clerks who are rude in a share of them, the dose.

    Results: the share of rude replies that was shown, and that the tuned model samples
    """
    shown = written(replace(replies.TRANSCRIPTS, rude=dose), 1024, seed)
    model, own = fresh(), {"mask_prompt": mask_prompt, "sft_loss": sft_loss}
    tune(model, shown, steps=40, rate=RATE, seed=seed, **own)
    drawn = sampled(model, seed)
    return {
        "shown": sum(replies.is_rude(example.response) for example in shown) / len(shown),
        "sampled": sum(map(replies.is_rude, drawn)) / len(drawn),
    }


RUDE = Sweep(
    "sft.rude",
    run_rude,
    [{"dose": dose, "seed": seed} for dose in DOSES for seed in SEEDS],
    agree={"shown": 1e-6, "sampled": 0.1},
)


def run_polite(
    count: int, seed: int, *, mask_prompt: Callable = mask_prompt, sft_loss: Callable = sft.sft_loss
) -> Row:
    """Tune on `count` polite replies, or not at all; the share of samples in the polite style."""
    model, own = fresh(), {"mask_prompt": mask_prompt, "sft_loss": sft_loss}
    if count:
        shown = written(replies.POLITE, count, seed)
        tune(model, shown, steps=80, rate=RATE, seed=seed, **own)
    right = map(replies.is_polite, sampled(model, seed), customers())
    return {"polite": sum(right) / len(customers())}


POLITE = Sweep(
    "sft.polite",
    run_polite,
    [{"count": count, "seed": seed} for count in POLITE_AT.values() for seed in SEEDS],
    agree={"polite": 0.1},
)


# Parts of the notebook ----------------------------------------------------------------------------


def bytes_kept(optimizer_class: type[torch.optim.Optimizer], batch: Batch) -> float:
    """Bytes per parameter that an optimiser still holds after a step on the batch."""
    model, (ids, labels) = fresh(), batch
    optimizer = optimizer_class(model.parameters(), lr=1e-4)
    sft.sft_loss(model(input_ids=ids).logits, labels).backward()
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values()]
    moments = [value for value in kept if torch.is_tensor(value) and value.dim()]
    return sum(moment.nbytes for moment in moments) / model.num_parameters()


def batches_with(collate: Callable, steps: int, mask_prompt: Callable) -> Iterator[Batch]:
    """Batches of triage from a colleague's `collate`, whose padding token is the stop token."""
    return sft.batches(
        shared.tokens_of(training_set(), mask_prompt),
        batch_size=BATCH,
        steps=steps,
        pad_id=tokenizer().eos_token_id,
        seed=0,
        collate=collate,
    )
