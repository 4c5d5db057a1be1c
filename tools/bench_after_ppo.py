"""How fast DPO and GRPO are beside TRL's trainers: a part of `make bench`.

Both sides get one model, the same pairs or the same responses, one batch a step and AdamW without
weight decay; making the trainer and tokenising are left out.
"""

import contextlib
import copy
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from datasets import Dataset
from helpdesk import preferences, raters
from helpdesk.tickets import sample_tickets
from methods import dpo, grpo, rollouts
from methods.reward import Ranking
from methods.rollouts import Samples
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

ROUNDS = 3
STEPS, PAIRS = 8, 32  # pairs in a step of DPO
PROMPTS, SIZE, LONGEST = 16, 8, 40  # of GRPO
RATE, BETA = 1e-4, 0.1
ON_CPU = {
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "report_to": [],
    "disable_tqdm": True,
    "save_strategy": "no",
    "logging_steps": STEPS,
    "max_steps": STEPS,
    "max_grad_norm": 0.0,
    "learning_rate": RATE,
    "beta": BETA,
    "dataloader_pin_memory": False,
}


def report(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Print how many times as long TRL's trainers take."""
    pairs = some_pairs(model, tokenizer)
    drawn = [some_samples(model, tokenizer, step) for step in range(STEPS)]
    dpo_ratios, grpo_ratios, sampling = [], [], []
    for _ in range(ROUNDS):
        dpo_ratios.append(trl_dpo(model, tokenizer, pairs) / our_dpo(model, tokenizer, pairs))
        grpo_ratios.append(trl_grpo(model, tokenizer, drawn) / our_grpo(model, tokenizer, drawn))
        sampling.append(trl_grpo(model, tokenizer, None) / our_grpo(model, tokenizer, None))
    print(
        f"DPO, a step of {PAIRS} pairs, and GRPO, a step of {PROMPTS} x {SIZE} responses; medians"
    )
    print(
        f"  DPO relative to TRL's DPOTrainer        {statistics.median(dpo_ratios):8.2f}   "
        "(target: at least 1.30)"
    )
    print(
        f"  GRPO on the same responses              {statistics.median(grpo_ratios):8.2f}   "
        "(target: at least 1.50)"
    )
    print(f"  GRPO, each with its own sampling        {statistics.median(sampling):8.2f}\n")


def some_pairs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Ranking]:
    """Choices between two of the model's own replies to a ticket."""
    asked = sample_tickets("train", STEPS * PAIRS * 5 // 4, seed=0)
    prompts = preferences.prompts(tokenizer, asked)
    drawn = [sampled(model, tokenizer, prompts, seed).responses for seed in (0, 1)]
    found = preferences.rankings(tokenizer, asked, list(zip(*drawn)), raters.Rater(), 0)
    return found[: STEPS * PAIRS]


def sampled(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list, seed: int
) -> Samples:
    torch.manual_seed(seed)
    return rollouts.sample(model, prompts, max_new_tokens=LONGEST, **special(tokenizer))


def special(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    return {"stop_id": tokenizer.eos_token_id, "pad_id": tokenizer.pad_token_id}


def asked_in(tokenizer: PreTrainedTokenizerBase, step: int) -> list[list[int]]:
    """The prompts of one step of GRPO, each once."""
    return preferences.prompts(tokenizer, sample_tickets("train", PROMPTS, seed=step))


def some_samples(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, step: int) -> Samples:
    repeated = [prompt for prompt in asked_in(tokenizer, step) for _ in range(SIZE)]
    return sampled(model, tokenizer, repeated, step)


def worth(responses: list[list[int]]) -> list[float]:
    """A reward that costs nothing to compute."""
    return [len(set(response)) / 10 for response in responses]


@contextlib.contextmanager
def given(samples: list[Samples] | None) -> Iterator[None]:
    """rollouts.sample hands these out one after another; None leaves it as it is."""
    if samples is None:
        yield
        return
    own, left = rollouts.sample, iter(samples)
    rollouts.sample = lambda *_, **__: next(left)
    try:
        yield
    finally:
        rollouts.sample = own


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def our_dpo(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: list[Ranking]
) -> float:
    training = dpo.train(
        copy.deepcopy(model),
        pairs,
        pad_id=tokenizer.pad_token_id,
        beta=BETA,
        batch_size=PAIRS,
        learning_rate=RATE,
    )
    return seconds(lambda: list(training))


def trl_dpo(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: list[Ranking]
) -> float:
    def text(ids: list[int]) -> str:
        return tokenizer.decode([token for token in ids if token != tokenizer.eos_token_id])

    rows = [
        {"prompt": text(prompt), "chosen": f" {text(chosen)}", "rejected": f" {text(rejected)}"}
        for prompt, (chosen, rejected) in pairs
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = DPOConfig(output_dir=folder, per_device_train_batch_size=PAIRS, **ON_CPU)
        policy, reference = copy.deepcopy(model), copy.deepcopy(model)
        data = Dataset.from_list(rows)
        trainer = DPOTrainer(
            policy,
            reference,
            config,
            train_dataset=data,
            processing_class=tokenizer,
            optimizers=(plain_adamw(policy), None),
        )
        return seconds(trainer.train)


def our_grpo(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: list[Samples] | None
) -> float:
    config = replace(
        grpo.RECIPES["GRPO"],
        size=SIZE,
        minibatch=PROMPTS * SIZE,
        beta=BETA,
        learning_rate=RATE,
        max_new_tokens=LONGEST,
    )
    asked = [asked_in(tokenizer, step) for step in range(STEPS)]
    training = grpo.train(
        copy.deepcopy(model),
        lambda _, responses: torch.tensor(worth(responses)),
        asked,
        config,
        **special(tokenizer),
    )
    with given(samples):
        return seconds(lambda: list(training))


def trl_grpo(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: list[Samples] | None
) -> float:
    policy = copy.deepcopy(model)
    rows = [
        {"prompt": tokenizer.decode(prompt)}
        for step in range(STEPS)
        for prompt in asked_in(tokenizer, step)
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        policy.save_pretrained(folder)  # from where TRL loads the reference
        policy.config._name_or_path = folder
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=PROMPTS * SIZE,
            num_generations=SIZE,
            max_completion_length=LONGEST,
            loss_type="grpo",
            shuffle_dataset=False,
            **ON_CPU,
        )
        trainer = GRPOTrainer(
            policy,
            lambda completion_ids, **_: worth(completion_ids),
            config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            optimizers=(plain_adamw(policy), None),
        )
        if samples is not None:
            hand_out(trainer, samples)
        return seconds(trainer.train)


def hand_out(trainer: GRPOTrainer, samples: list[Samples]) -> None:
    """The trainer gets these responses instead of sampling some, in the order of its prompts."""
    left = iter(samples)
    trainer._generate_single_turn = lambda *_, **__: (next(left).responses, None)


def plain_adamw(model: PreTrainedModel) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
