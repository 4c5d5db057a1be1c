"""Lab 11, after SFT: the real model learns from choices, from a program, and from a biased rater.

All of it trains an adapter at rank 8. Records are marked by the share of right fields, replies by
the program in inbox.replies, from −2 to 4.
"""

import functools
import statistics
from collections.abc import Callable, Iterator

import torch
from course import Sweep, rows_of
from course.rows import Row, lowest
from experiments.real_model import (
    AT_ONCE,
    MAX_NEW_TOKENS,
    SEEDS,
    TUNING_SEED,
    answered,
    fresh,
    marks,
    prompt,
    tokenizer,
    tune,
)
from inbox import records, replies
from inbox.messages import Message, sample
from methods import chat, dpo, grpo, rollouts
from methods.reward import Ranking
from methods.rollouts import Score
from torch import Tensor, nn

RANK = 8
WARMTH = 0.7  # the sampling temperature; at 1, the model's sentences fall apart
REPLY_TOKENS = 64
JUDGED = 48  # messages whose replies are judged, before and after


def special() -> dict[str, int]:
    return {"stop_id": chat.end_of_turn(tokenizer()), "pad_id": tokenizer().pad_token_id}


def text_of(response: list[int]) -> tuple[str, bool]:
    """The text of a response, and whether it ended by itself."""
    ended = response[-1] == special()["stop_id"]
    return tokenizer().decode(response[:-1] if ended else response), ended


# Replies, and the program that judges them --------------------------------------------------------


def reply_prompt(message: Message) -> list[int]:
    turns = [
        {"role": "system", "content": replies.SYSTEM},
        {"role": "user", "content": message.text},
    ]
    return chat.prompt_of(tokenizer(), turns)


def drawn(model: nn.Module, messages: list[Message], limit: int = REPLY_TOKENS) -> list[list[int]]:
    """One sampled reply to each message, in token ids."""
    found = []
    for start in range(0, len(messages), AT_ONCE):
        part = messages[start : start + AT_ONCE]
        prompts = [reply_prompt(message) for message in part]
        found += rollouts.sample(
            model, prompts, max_new_tokens=limit, temperature=WARMTH, **special()
        ).responses
    return found


def judged(model: nn.Module, seed: int) -> dict[str, float]:
    """The mean over replies to JUDGED test messages: gold, what it is made of, and words."""
    messages = sample("test", JUDGED, 200 + seed)
    torch.manual_seed(200 + seed)
    said = [text_of(response) for response in drawn(model, messages)]
    each = [
        replies.parts(text, message, ended)
        | {"gold": replies.gold(text, message, ended), "words": float(len(text.split()))}
        for (text, ended), message in zip(said, messages, strict=True)
    ]
    return {name: statistics.fmean(one[name] for one in each) for name in each[0]}


def before_and_after(before: dict[str, float], after: dict[str, float]) -> dict[str, list[float]]:
    return {name: [before[name], after[name]] for name in before}


# DPO on the model's own replies -------------------------------------------------------------------

ASKED = 96  # messages, with two replies each
EPOCHS, PAIRS = 2, 8  # passes over the pairs, and pairs in a batch


def own_pairs(model: nn.Module, seed: int) -> list[Ranking]:
    """Two replies of the model to each message, the better one first; those of equal worth are left
    out."""
    messages = sample("train", ASKED, 300 + seed)
    torch.manual_seed(300 + seed)
    both = zip(drawn(model, messages), drawn(model, messages), strict=True)
    pairs = []
    for message, two in zip(messages, both, strict=True):
        worth = [replies.gold(text, message, ended) for text, ended in map(text_of, two)]
        if worth[0] != worth[1]:
            better = worth.index(max(worth))
            pairs.append((reply_prompt(message), [two[better], two[1 - better]]))
    return pairs


def run_dpo(rate: float, seed: int) -> dict[str, object]:
    """DPO, β = 0.1, on pairs that the untuned model drew and the program chose from.

    returns before and after: gold and its parts, words · pairs · margin and chosen, of every step ·
    answered, a share, afterwards
    """
    model = fresh("SmolLM2", RANK, seed)
    pairs = own_pairs(model, seed)
    before, told = judged(model, seed), {"margin": [], "chosen": []}
    training = dpo.train(
        model,
        pairs,
        pad_id=special()["pad_id"],
        epochs=EPOCHS,
        batch_size=PAIRS,
        learning_rate=rate,
        seed=seed,
    )
    for metrics in training:
        for name, values in told.items():
            values.append(metrics[name])
    found = before_and_after(before, judged(model, seed))
    return told | found | {"pairs": len(pairs), "answered": answered(model)}


def short_of_gold(row: Row) -> float:
    """How many points are missing from the best mark at the end."""
    return 4 - row["gold"][-1]


# Expected: gold rises by half a point or more, mostly by apologies and by replies that end; the
# log-probability of the chosen replies falls all the same, as in lab 05.
DPO_RATES = Sweep(
    "real.dpo_rates",
    run_dpo,
    [{"rate": rate, "seed": TUNING_SEED} for rate in (1e-4, 3e-4)],
    agree={short_of_gold: 0.4},
)


def dpo_grid() -> list[Row]:
    best = min(rows_of(DPO_RATES), key=short_of_gold)
    return [{"rate": best["rate"], "seed": seed} for seed in SEEDS]


DPO = Sweep("real.dpo", run_dpo, dpo_grid, agree={short_of_gold: 0.4})


# GRPO ---------------------------------------------------------------------------------------------

RL_STEPS, PROMPTS, GROUP = 12, 4, 8
LITTLE = 6  # steps of SFT, on 16 demonstrations, for the start that has had some


def by_grpo(
    policy: nn.Module,
    worth: Callable[[str, Message, bool], float],
    prompt_of: Callable[[Message], list[int]],
    limit: int,
    rate: float,
    seed: int,
) -> Iterator[tuple[grpo.GRPORollout, dict[str, float]]]:
    """GRPO on new training messages; worth: of a response's text, its message, and whether it ended."""
    messages = sample("train", RL_STEPS * PROMPTS, 400 + seed)
    asked = {tuple(prompt_of(message)): message for message in messages}
    config = grpo.GRPOConfig(
        size=GROUP, minibatch=8, learning_rate=rate, max_new_tokens=limit, temperature=WARMTH
    )
    torch.manual_seed(seed)
    return grpo.train(
        policy, scored_by(worth, asked), batched(list(asked), PROMPTS), config, **special()
    )


def batched(prompts: list[tuple[int, ...]], size: int) -> Iterator[list[list[int]]]:
    for start in range(0, len(prompts), size):
        yield [list(each) for each in prompts[start : start + size]]


def scored_by(
    worth: Callable[[str, Message, bool], float], asked: dict[tuple[int, ...], Message]
) -> Score:
    def score(prompts: list[list[int]], responses: list[list[int]]) -> Tensor:
        messages = [asked[tuple(prompt)] for prompt in prompts]
        said = map(text_of, responses)
        return torch.tensor(
            [worth(text, one, ended) for (text, ended), one in zip(said, messages, strict=True)]
        )

    return score


def right_fields(text: str, message: Message, ended: bool) -> float:
    """The verifier: the share of right fields, 0 for what is no record or came to no end."""
    return records.mark(text, message.record)["fields"] if ended else 0.0


def run_verified(start: str, rate: float, seed: int) -> dict[str, object]:
    """GRPO with the verifier of records, from the model with one solved message in its prompt
    ("prompted") or after LITTLE steps of SFT ("some SFT").

    returns score, flat_groups and kl of every step · before and after, on the usual test messages:
    valid, keys, fields, exact, each field · answered afterwards
    """
    model = fresh("SmolLM2", RANK, seed)
    shots = tuple(sample("train", 1, 500 + seed)) if start == "prompted" else ()
    if start == "some SFT":
        tune(model, 16, 1e-3, seed, steps=LITTLE)
    before = marks(model, "test", 100 + seed, shots=shots)
    told = {"score": [], "flat_groups": [], "kl": []}
    training = by_grpo(
        model, right_fields, functools.partial(prompt, shots=shots), MAX_NEW_TOKENS, rate, seed
    )
    for _, metrics in training:
        for name, values in told.items():
            values.append(metrics[name])
    after = marks(model, "test", 100 + seed, shots=shots)
    return told | before_and_after(before, after) | {"answered": answered(model)}


def wrong_fields(row: Row) -> float:
    """The share of wrong fields at the end."""
    return 1 - row["fields"][-1]


# Expected: from the prompted model most groups earn nothing, all alike, and the share of right fields
# hardly moves in twelve steps; after some SFT it rises by a tenth or more. As in lab 09: what is never
# drawn cannot be rewarded.
VERIFIED_RATES = Sweep(
    "real.verified_rates",
    run_verified,
    [{"start": "some SFT", "rate": rate, "seed": TUNING_SEED} for rate in (3e-4, 1e-3)],
    agree={wrong_fields: 0.12},
)


def verified_grid() -> list[Row]:
    rate = lowest(rows_of(VERIFIED_RATES), wrong_fields, "start")["some SFT"]["rate"]
    return [
        {"start": start, "rate": rate, "seed": seed}
        for seed in SEEDS
        for start in ("prompted", "some SFT")
    ]


VERIFIED = Sweep("real.verified", run_verified, verified_grid, agree={wrong_fields: 0.12})

RATERS = {"the program": replies.gold, "fond of length": replies.fond_of_length}


def run_rater(rater: str, rate: float, seed: int) -> dict[str, object]:
    """GRPO on replies, scored by the program or by the rater who is fond of length.

    returns score and kl of every step · before and after: gold, its parts, words · answered
    afterwards
    """
    model = fresh("SmolLM2", RANK, seed)
    before, told = judged(model, seed), {"score": [], "kl": []}
    training = by_grpo(model, RATERS[rater], reply_prompt, REPLY_TOKENS, rate, seed)
    for _, metrics in training:
        for name, values in told.items():
            values.append(metrics[name])
    return told | before_and_after(before, judged(model, seed)) | {"answered": answered(model)}


def rater_grid() -> list[Row]:
    rate = rows_of(VERIFIED)[0]["rate"]
    return [{"rater": rater, "rate": rate, "seed": seed} for seed in SEEDS for rater in RATERS]


# Expected: both raters' scores rise. With the program gold rises by a point; with the one who is fond
# of length replies grow to the limit, gold falls below where it began, and fewer replies end.
RATED = Sweep("real.raters", run_rater, rater_grid, agree={short_of_gold: 0.6})
