"""Lab 11: what a training step of the real model takes, and what an adapter weighs and costs."""

import contextlib
import ctypes
import gc
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from course import machine
from experiments.real_model import answered, demonstrations, english, fresh
from methods import adapter_files, chat, lora, optimize, sft
from methods.tokens import IGNORE, Batch
from planning import memory
from planning.measure import allocated, states_of
from planning.memory import ADAPTER, ALL, Training
from planning.shapes import Shape
from torch import Tensor, nn

ROWS, LENGTH = 2, 128  # of the measured batch, without padding
ANSWER = 32  # of each row's tokens count
RANK, RATE = 8, 1e-4
TIMED = 3  # steps, of which the median is told


def give_back() -> None:
    """Hand freed memory back to the system: the C library keeps it otherwise, and the next model
    comes on top."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # where the library has no such function
        ctypes.CDLL(None).malloc_trim(0)


def before_tuning() -> dict[str, float]:
    """What the untuned model does of what tuning may undo: answered, a share, and english, in nats
    per token."""
    give_back()
    model = fresh()
    return {"answered": answered(model), "english": english(model)}


def batch(seed: int = 0) -> Batch:
    """Demonstrations as one long text, cut into rows of LENGTH tokens of which the last ANSWER count."""
    device, tokens = machine.pick_device(), []
    for ids, _ in demonstrations(ROWS * LENGTH // 60, seed):
        tokens += ids
    ids = torch.tensor(tokens[: ROWS * LENGTH], device=device).view(ROWS, LENGTH)
    labels = ids.clone()
    labels[:, :-ANSWER] = IGNORE
    return ids, labels


def everywhere(model: nn.Module, batch: Batch) -> Tensor:
    """The loss as most code computes it: logits for every token, though few count."""
    ids, labels = batch
    return sft.sft_loss(model(input_ids=ids, use_cache=False).logits, labels)


def measure_step(rank: int) -> dict[str, float]:
    """Train the real model for a few steps and count; rank 0 is full tuning.

    returns bytes: states, the peak, and the peak with logits everywhere · what planning/memory.py
    says of the states and of the latter, as predicted_ · trained, parameters · seconds of a step
    """
    give_back()
    model, given = fresh(rank=rank), batch()
    optimizer = optimize.adamw(model.parameters(), RATE)

    def step(loss: Callable[[nn.Module, Batch], Tensor]) -> None:
        value = loss(model, given)
        value.backward()
        del value
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step(chat.answer_loss)  # the optimizer's states come with the first one
    held = sum(states_of(optimizer, model).values())
    peaks = {
        name: held + allocated(lambda loss=loss: step(loss), given[0].device).peak
        for name, loss in (("peak", chat.answer_loss), ("peak_everywhere", everywhere))
    }
    seconds = statistics.median(timed(lambda: step(chat.answer_loss)) for _ in range(TIMED))
    return predicted(model, rank) | peaks | {"states": held, "seconds": seconds}


def predicted(model: nn.Module, rank: int) -> dict[str, float]:
    """What planning/memory.py says of such a step, in bytes."""
    training = Training(
        shape_of(model),
        trains=ADAPTER if rank else ALL,
        precision="float32",
        rows=ROWS,
        length=LENGTH,
        rank=rank or 1,
        checkpointing=False,
    )
    return {
        "trained": memory.trainable(training),
        "predicted_states": sum(memory.states(training).values()),
        "predicted_peak": memory.peak(training).total,
    }


def shape_of(model: nn.Module) -> Shape:
    """A model of Llama's kind, in the planner's terms."""
    config = model.config
    return Shape(
        name=config.name_or_path,
        source="",
        family=config.model_type,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        inner=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head=config.head_dim,
        vocabulary=config.vocab_size,
        tied=config.tie_word_embeddings,
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


# The adapter, written and merged ------------------------------------------------------------------


@torch.no_grad()
def measure_adapter(seed: int = 0) -> dict[str, float]:
    """An adapter whose B is drawn at random, as if it had learned something: what it weighs, and
    whether the model says the same with it beside, merged, and in PEFT.

    returns adapter and base, bytes on disk, the base in float32 · changed, merged and peft, the
    largest difference of a log-probability: from the base, and from the adapter beside it ·
    beside_seconds and merged_seconds, of reading one batch
    """
    give_back()
    model, ids = fresh(rank=RANK), batch(seed)[0]
    base = said(model, ids)
    for layer in lora.layers(model).values():
        torch.nn.init.normal_(layer.B["default"], std=0.02)
    beside = said(model, ids)
    with tempfile.TemporaryDirectory() as folder:
        adapter_files.save(model, folder)
        told = {
            "adapter": sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors")),
            "base": 4 * (model.num_parameters() - lora.count(model)[0]),
            "changed": largest(beside - base),
            "peft": largest(said(in_peft(folder), ids) - beside),
        }
    told["beside_seconds"] = statistics.median(timed(lambda: model(ids)) for _ in range(TIMED))
    lora.merge(model)
    told["merged_seconds"] = statistics.median(timed(lambda: model(ids)) for _ in range(TIMED))
    return told | {"merged": largest(said(model, ids) - beside)}


def said(model: nn.Module, ids: Tensor) -> Tensor:
    """Log-probabilities of what follows each row: float (rows, vocabulary)."""
    return model(ids, use_cache=False, logits_to_keep=1).logits.log_softmax(-1)


def largest(difference: Tensor) -> float:
    return difference.abs().max().item()


def in_peft(folder: str) -> nn.Module:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(fresh(), folder)
