"""What other calculators say: their formulas, each on a training of memory.py, in bytes.

All were read in their public sources. A calculator answers None where it has no answer: no such
method, no such precision. Sizes that some of them print as "GB" are 2^30 bytes. What two of them add
for a process's context and for fragmentation is left out, since an allocator does not count it.
"""

from collections.abc import Callable

from planning import shapes
from planning.memory import ADAMW, ADAPTER, ALL, FUSED, QUANTISED, Training
from planning.shapes import FAMILIES


def _plain(training: Training) -> bool:
    """SFT with AdamW on one device: what all of them are made for."""
    adamw = training.optimizer in (ADAMW, FUSED)
    return training.method == "SFT" and training.devices == 1 and adamw


def accelerate(training: Training) -> float | None:
    """`accelerate estimate-memory`, commands/estimate.py and utils/modeling.py at commit 00e4d26: the
    largest of four stages, 4 times the model's size in float32, or twice in 16 bits. No activations.
    """
    if not _plain(training) or training.trains != ALL:
        return None
    in_float32 = 4.0 * shapes.body(training.shape)
    return {"float32": 4 * in_float32}.get(training.precision, 2 * in_float32)


def gpu_poor(training: Training) -> float | None:
    """RahulSChand/gpu_poor, src/App.js at commit 05d18ab: 16 bits throughout, attention that holds
    the attention matrix, LoRA of rank 8 on four square matrices. It adds 650 MiB."""
    if not _plain(training) or training.precision == "float32":
        return None
    shape, rows, s = training.shape, training.rows, training.length
    layers, h, inner, heads = shape.layers, shape.width, shape.inner, shape.heads
    weights = 2.0 * (2 * shape.vocabulary * h + layers * (4 * h * h + 3 * inner * h))
    activations = (32 * s * h + 12 * s * inner + 8 * s + 8 * heads * s * s) * layers * rows
    activations *= 0.15 if training.checkpointing else 1.0
    if training.trains == ALL:
        rest = 3 * weights
    elif training.trains == ADAPTER:
        rest = 384.0 * layers * h
    else:
        unpacking = 0.75 * (15 * h + 6 * inner) * layers * 50 * max(1.0, s / 50) ** 0.5 * rows
        weights *= 0.58875 / 2
        rest = 48 * layers * h + unpacking
    return weights + rest + activations


def netra(training: Training) -> float | None:
    """NetraRuntime/training-memory-calculator, index.html at commit 94f9cee: 12 bytes for each
    parameter in bfloat16, the activations of Korthikanti et al. 2023. It adds ten percent."""
    if not _plain(training) or training.precision == "float32":
        return None
    shape, tokens = training.shape, training.tokens
    master = {"mixed": 4, "bfloat16 with a float32 copy": 4}.get(training.precision, 0)
    count = shapes.total(shape)
    if training.trains == ALL:
        states = count * (2.0 + 2 + master + 8)
    else:
        base = 2 if training.trains == ADAPTER else (4 + 8 / 64 + 32 / (64 * 256)) / 8
        adapter = shapes.adapter(shape, training.rank, training.targets)
        states = base * count + adapter * (2.0 + 2 + master + 8)
    per_token = shape.layers * shape.width
    if training.checkpointing:
        activations = 2 * per_token
    else:
        table = 0 if training.fused else 5 * shape.heads * training.length / shape.width
        activations = per_token * (34 + table)
    return states + tokens * activations


def cookbook(training: Training) -> float | None:
    """EleutherAI/cookbook, calc/calc_transformer_mem.py at commit c2af7db: 18 bytes for each
    parameter, gradients in float32; with checkpointing the activations without the attention matrix.
    """
    if not _plain(training) or training.trains != ALL or training.precision == "bfloat16":
        return None
    shape, s = training.shape, training.length
    layers, h = shape.layers, shape.width
    matrices = 3 if FAMILIES[shape.family].gated else 2
    attention = int(2 * (1 + shape.kv_heads / shape.heads) * layers * h * h)
    count = 2 * shape.vocabulary * h + h * s + 8 * h * layers + 2 * h + attention
    count += matrices * layers * h * shape.inner
    low = 4 if training.precision == "float32" else 2
    table = 0.0 if training.checkpointing else (2 * low + 1) * shape.heads * s / h
    activations = training.tokens * h * layers * (16 * low + 2 + table)
    return float(count * (low + 4 + 12) + activations)


def llama_factory(training: Training) -> float | None:
    """The rule of LLaMA-Factory's README, "Hardware Requirement" at commit 142e1ce: 18 GB for each
    billion parameters, 8 in pure bfloat16, 2 for LoRA, a half for QLoRA in 4 bits."""
    if not _plain(training) or training.precision == "float32":
        return None
    if training.trains == ALL:
        rule = 8.0 if training.precision == "bfloat16" else 18.0
    else:
        rule = {ADAPTER: 2.0, QUANTISED: 0.5}[training.trains]
    return rule * shapes.total(training.shape)


CALCULATORS: dict[str, Callable[[Training], float | None]] = {
    "accelerate": accelerate,
    "gpu_poor": gpu_poor,
    "NetraRuntime": netra,
    "EleutherAI cookbook": cookbook,
    "LLaMA-Factory's rule": llama_factory,
}
