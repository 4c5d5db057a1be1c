"""Published memory figures whose settings are stated well enough to be computed again.

A figure is a peak that PyTorch's allocator counted ("allocated"), or reserved ("reserved", which
includes what it keeps for later), or what the driver shows for the process ("process", which
includes the GPU's context). bytes: as printed, in units of 1 GB = 1e9 or 1 GiB = 2^30, as each
source has it.

All figures of the six sources are here for which model, trained parameters, precision, length, batch
and checkpointing are stated or follow from the named scripts, and whose models have a shape that
this book counts, whether the formula meets them or not. Left out are repetitions of a configuration
on other cards, and two that offload to the CPU.
"""

from typing import NamedTuple

from planning import shapes
from planning.memory import ADAMW, ADAPTER, FUSED, GB, GIB, QUANTISED, Training
from planning.shapes import Shape

FMS = "IBM, fms-acceleration, scripts/benchmarks/refs/a100_80gb.csv at commit 04702cc"
LITGPT = "Lightning AI, LitGPT, tutorials/resource-tables.md at commit 4839345"
LITGPT_HUB = "Lightning AI, LitGPT, config_hub/finetune/README.md at commit 03ffc55"
ANSWER = "Answer.AI, Benchmarking QLoRA+FSDP, benchmarks_03_2024.md at commit 23fafdf"
PEFT_DEEPSPEED = "Hugging Face, PEFT, docs/source/accelerate/deepspeed.md at commit 09802c1"
PEFT_FSDP = "Hugging Face, PEFT, docs/source/accelerate/fsdp.md at commit 018ca9d"

MISTRAL, MIXTRAL = shapes.named("Mistral 7B v0.1"), shapes.named("Mixtral 8x7B v0.1")
LLAMA7, LLAMA13 = shapes.named("Llama 2 7B"), shapes.named("Llama 2 13B")
LLAMA70, LLAMA3 = shapes.named("Llama 2 70B"), shapes.named("Llama 3.1 8B")
TINY = Shape(
    "TinyLlama 1.1B", "LitGPT's config", "llama", 22, 2048, 5632, 32, 4, 64, 32000, tied=False
)

QKVO, QV = ("q", "k", "v", "o"), ("q", "v")
WIDE = ("q", "k", "v", "gate", "up", "down")


class Figure(NamedTuple):
    """One figure. kind: what was counted, as above · note: what had to be assumed, or differs"""

    what: str
    training: Training
    bytes: float
    kind: str
    source: str
    note: str = ""


def _fms(shape: Shape, rows: int, **more) -> Training:
    """All numbers in 16 bits, rows of 4,096 tokens, checkpointing, fused attention."""
    return Training(shape, precision="bfloat16", optimizer=ADAMW, rows=rows, length=4096, **more)


def _litgpt(shape: Shape, rows: int, length: int, rank: int, trains: str = ADAPTER) -> Training:
    """bfloat16 throughout, adapters on q and v, no checkpointing on one GPU."""
    return Training(
        shape,
        trains=trains,
        precision="bfloat16",
        optimizer=ADAMW,
        rows=rows,
        length=length,
        rank=rank,
        targets=QV,
        checkpointing=False,
    )


def _answer(length: int, trains: str, rows: int = 1) -> Training:
    """Llama 2 7B on two GPUs of 24 GB, weights divided."""
    return Training(
        LLAMA7,
        trains=trains,
        precision="bfloat16",
        optimizer=ADAMW,
        rows=rows,
        length=length,
        rank=64,
        targets=WIDE,
        devices=2,
        stage=3,
    )


def _litgpt2(rows: int) -> Training:
    """Llama 2 7B with adapters on two GPUs, weights divided, with checkpointing."""
    return Training(
        LLAMA7,
        trains=ADAPTER,
        precision="bfloat16",
        optimizer=ADAMW,
        rows=rows,
        length=1304,
        rank=8,
        targets=QV,
        devices=2,
        stage=3,
    )


def _peft(rows: int, devices: int, trains: str) -> Training:
    return Training(
        LLAMA70,
        trains=trains,
        precision="bfloat16",
        optimizer=FUSED,
        rows=rows,
        length=2048,
        rank=8,
        devices=devices,
        stage=3,
    )


_ADAPTER16 = {"trains": ADAPTER, "targets": QKVO}
_QLORA16 = {"trains": QUANTISED, "targets": QKVO}
_DERIVED = "length from tokens and rows per second; the optimiser is the Trainer's of then"
_LONGEST = "the longest row of the data"

PUBLISHED = [
    Figure(
        "Mistral 7B, full, 4 rows", _fms(MISTRAL, 4), 72_971_724_288, "allocated", FMS, _DERIVED
    ),
    Figure(
        "Mistral 7B, full, 8 rows", _fms(MISTRAL, 8), 72_972_117_504, "allocated", FMS, _DERIVED
    ),
    Figure(
        "Mistral 7B, full, 2 GPUs",
        _fms(MISTRAL, 2, devices=2, stage=3),
        36_762_859_520,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Mistral 7B, LoRA, 4 rows",
        _fms(MISTRAL, 4, **_ADAPTER16),
        26_108_963_328,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Mistral 7B, LoRA, 8 rows",
        _fms(MISTRAL, 8, **_ADAPTER16),
        37_098_695_168,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Mistral 7B, LoRA, 2 GPUs",
        _fms(MISTRAL, 2, devices=2, stage=3, **_ADAPTER16),
        15_123_161_088,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Mistral 7B, QLoRA, 4 rows",
        _fms(MISTRAL, 4, **_QLORA16),
        15_860_019_712,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Mistral 7B, QLoRA, 8 rows",
        _fms(MISTRAL, 8, **_QLORA16),
        26_849_751_552,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Mixtral 8x7B, QLoRA, 4 rows",
        _fms(MIXTRAL, 4, **_QLORA16),
        36_218_024_448,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Llama 2 70B, QLoRA, 4 rows",
        _fms(LLAMA70, 4, **_QLORA16),
        68_159_977_472,
        "allocated",
        FMS,
        _DERIVED,
    ),
    Figure(
        "Llama 2 7B, LoRA, 1 row",
        _litgpt(LLAMA7, 1, 1304, 8),
        21.30 * GB,
        "allocated",
        LITGPT,
        _LONGEST,
    ),
    Figure(
        "Llama 2 7B, LoRA, 2 rows",
        _litgpt(LLAMA7, 2, 1304, 8),
        29.07 * GB,
        "allocated",
        LITGPT,
        _LONGEST,
    ),
    Figure(
        "Llama 2 13B, LoRA, 1 row",
        _litgpt(LLAMA13, 1, 1304, 8),
        38.12 * GB,
        "allocated",
        LITGPT,
        _LONGEST,
    ),
    Figure(
        "Llama 2 7B, QLoRA, 1 row",
        _litgpt(LLAMA7, 1, 1304, 8, QUANTISED),
        13.84 * GB,
        "allocated",
        LITGPT,
        _LONGEST,
    ),
    Figure(
        "Llama 2 13B, QLoRA, 1 row",
        _litgpt(LLAMA13, 1, 1304, 8, QUANTISED),
        22.55 * GB,
        "allocated",
        LITGPT,
        _LONGEST,
    ),
    Figure(
        "Llama 2 7B, LoRA, rank 32",
        _litgpt(LLAMA7, 2, 512, 32),
        19.77 * GB,
        "allocated",
        LITGPT_HUB,
        "rows of up to 512 tokens",
    ),
    Figure(
        "Llama 3 8B, LoRA, rank 32",
        _litgpt(LLAMA3, 1, 512, 32),
        19.73 * GB,
        "allocated",
        LITGPT_HUB,
        "rows of up to 512 tokens; the shape of Llama 3.1",
    ),
    Figure(
        "TinyLlama 1.1B, full",
        Training(
            TINY,
            precision="bfloat16",
            optimizer=ADAMW,
            rows=4,
            length=512,
            checkpointing=False,
            accumulation=True,
        ),
        14.10 * GB,
        "allocated",
        LITGPT_HUB,
        "rows of up to 512 tokens",
    ),
    Figure(
        "Llama 2 7B, LoRA, 2 GPUs, 512",
        _answer(512, ADAPTER),
        8.28 * GIB,
        "allocated",
        ANSWER,
        "rank and targets are the script's defaults",
    ),
    Figure(
        "Llama 2 7B, LoRA, 2 GPUs, 2,048",
        _answer(2048, ADAPTER),
        9.16 * GIB,
        "allocated",
        ANSWER,
        "rank and targets are the script's defaults",
    ),
    *(
        Figure(
            f"Llama 2 7B, LoRA, 2 GPUs, {rows} × 1,304",
            _litgpt2(rows),
            gigabytes * GB,
            "allocated",
            LITGPT,
            f"{_LONGEST}; probably the peak of loading",
        )
        for rows, gigabytes in ((1, 22.18), (2, 22.47), (4, 23.39))
    ),
    *(
        Figure(
            f"Llama 2 7B, {name}, 2 GPUs, {rows} × {length:,}",
            _answer(length, trains, rows),
            gibibytes * GIB,
            "reserved",
            ANSWER,
            "rank and targets are the script's defaults",
        )
        for name, trains, rows, length, gibibytes in (
            ("QLoRA", QUANTISED, 1, 512, 4.98),
            ("QLoRA", QUANTISED, 1, 2048, 5.21),
            ("QLoRA", QUANTISED, 4, 2048, 11.22),
            ("QLoRA", QUANTISED, 10, 2048, 20.97),
            ("LoRA", ADAPTER, 4, 2048, 16.14),
            ("LoRA", ADAPTER, 6, 2048, 21.35),
        )
    ),
    Figure(
        "Llama 2 70B, LoRA, 8 GPUs, ZeRO",
        _peft(8, 8, ADAPTER),
        64 * GB,
        "process",
        PEFT_DEEPSPEED,
        "the same run with FSDP is said to take 72 to 80 GB",
    ),
    Figure(
        "Llama 2 70B, QLoRA, 2 GPUs, ZeRO",
        _peft(2, 2, QUANTISED),
        36.6 * GB,
        "process",
        PEFT_DEEPSPEED,
    ),
    Figure(
        "Llama 2 70B, QLoRA, 2 GPUs, FSDP", _peft(2, 2, QUANTISED), 35.6 * GB, "process", PEFT_FSDP
    ),
]
