"""Performance on the real model, as ratios measured in one run: a part of `make bench`.

Full tuning and LoRA of SmolLM2-135M on messages and records, ours beside TRL's SFTTrainer, for LoRA
with PEFT's adapter, on the same batches.
"""

import contextlib
import copy
import io
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from course import CourseError
from datasets import Dataset
from inbox import model as real
from inbox import records
from inbox.messages import Message, sample
from methods import chat, lora
from methods.optimize import warm_up_and_decay
from methods.tokens import IGNORE, Batch, collate
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

ROUNDS, STEPS, BATCH, RANK, RATE = 3, 4, 8, 8, 1e-5


def report(matrix_product_rate: Callable[[], float]) -> None:
    """Print tokens per second of both kinds of tuning, beside the libraries and the machine's
    rate."""
    try:
        model, tokenizer = real.load()
    except CourseError as error:
        print(f"SmolLM2-135M: not timed. {error}\n")
        return
    messages = sample("train", STEPS * BATCH, 0)
    batches = batches_of(tokenizer, messages)
    tokens = sum(int((ids != tokenizer.pad_token_id).sum()) for ids, _ in batches)
    print(
        f"SmolLM2-135M, {STEPS} steps of {BATCH} messages with their records, medians of {ROUNDS} rounds"
    )
    for rank in (0, RANK):
        ours, theirs, shares = [], [], []
        for _ in range(ROUNDS):
            peak = matrix_product_rate()
            ours.append(our_loop(adapted(model, rank, ours=True), batches))
            peak = (peak + matrix_product_rate()) / 2
            shares.append(operations(model, batches) / ours[-1] / peak)
            theirs.append(trl_loop(adapted(model, rank, ours=False), tokenizer, messages))
        name = f"LoRA at rank {rank}" if rank else "full tuning"
        speed = statistics.median(a / b for a, b in zip(theirs, ours))
        print(f"  {name}, tokens per second {tokens / statistics.median(ours):22.0f}")
        print(
            f"    speed relative to SFTTrainer{' and PEFT' if rank else '':9} {speed:12.2f}   (target: at least 1.20)"
        )
        if not rank:
            share = statistics.median(shares)
            print(
                f"    share of an fp32 matrix product       {share:12.2f}   (target: at least 0.50)"
            )
    print()


def batches_of(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[Batch]:
    rows = [
        chat.tokens_of(tokenizer, records.turns(message), records.as_json(message.record))
        for message in messages
    ]
    starts = range(0, len(rows), BATCH)
    return [collate(rows[start : start + BATCH], tokenizer.pad_token_id) for start in starts]


def adapted(model: PreTrainedModel, rank: int, ours: bool) -> torch.nn.Module:
    """A copy of the model, with our adapter or PEFT's on all linear layers unless the rank is 0."""
    model = copy.deepcopy(model)
    if not rank:
        return model
    if ours:
        lora.inject(model, rank=rank, alpha=2 * rank)
        return model
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return get_peft_model(model, config)


def operations(model: PreTrainedModel, batches: list[Batch]) -> float:
    """Floating-point operations of full tuning in the matrices: 6 for each weight and token that
    meets it, and the output layer meets only the columns from the first that counts."""
    head = model.get_output_embeddings().weight.numel()
    body = model.num_parameters() - head
    total = 0.0
    for ids, labels in batches:
        first = int((labels[:, 1:] != IGNORE).any(0).int().argmax())
        total += 6 * len(ids) * (body * ids.shape[1] + head * (ids.shape[1] - first))
    return total


def our_loop(model: torch.nn.Module, batches: list[Batch]) -> float:
    """Seconds of our loop."""
    began = time.perf_counter()
    chat.tune(model, batches, steps=STEPS, learning_rate=RATE)
    return time.perf_counter() - began


def trl_loop(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, messages: list[Message]
) -> float:
    """Seconds of `SFTTrainer.train`, its set-up and tokenising left out."""
    data = Dataset.from_list(
        [
            {
                "prompt": records.turns(message),
                "completion": [{"role": "assistant", "content": records.as_json(message.record)}],
            }
            for message in messages
        ]
    )
    trains = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trains, lr=RATE, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(STEPS))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = SFTConfig(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            completion_only_loss=True,
            train_sampling_strategy="sequential",
            max_grad_norm=0.0,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            logging_steps=STEPS,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = SFTTrainer(
            model,
            config,
            train_dataset=data,
            processing_class=tokenizer,
            optimizers=(optimizer, schedule),
        )
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began
