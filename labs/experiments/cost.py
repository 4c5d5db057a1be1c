"""What lab 08 measures: training steps of random models, and how much memory they take."""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from course import BLUE, GREEN, GREY, ORANGE, PINK, PURPLE, Sweep, machine
from course.rows import Row
from matplotlib.axes import Axes
from methods import kl, lora, ppo, rollouts, tokens
from methods.reward import ScalarModel
from planning import cost, memory, shapes, tables
from planning.measure import allocated, states_of
from planning.memory import ADAMW, ADAPTER, ALL, FUSED, METHODS, SGD, Training
from planning.published import Figure
from planning.shapes import ALL_LINEAR, Shape
from torch import Tensor, nn

# Shapes -------------------------------------------------------------------------------------------


def _small(family: str, **more) -> Shape:
    """A model of a family with its own proportions, small enough to train in a second."""
    sizes = {"layers": 4, "width": 256, "inner": 640, "heads": 8, "kv_heads": 2, "head": 32}
    return Shape(f"small {family}", "", family, **sizes | {"vocabulary": 8000, "tied": True} | more)


SMALL = [
    _small("llama", tied=False),
    _small("gpt2", kv_heads=8, positions=1024),
    _small("qwen3", head=64),
    _small("gemma3_text", head=64),
    _small("olmo2", kv_heads=8, tied=False),
    _small("phi3", tied=False),
]
SHAPES = {shape.name: shape for shape in [*shapes.known().values(), *SMALL]}


# A step -------------------------------------------------------------------------------------------


def measure_training(training: Training, device: torch.device) -> dict[str, float]:
    """Take two steps of a training with random weights and random tokens; count the second.

    returns bytes: weights, frozen weights and optimiser states as they lie there between two steps,
    and the peak, which includes them
    """
    gc.collect()
    torch.manual_seed(0)
    step, optimizer, models = _set_up(training, device)
    step()
    used = allocated(step, device)
    states = states_of(optimizer, *models)
    return states | {"peak": sum(states.values()) + used.peak}


def _set_up(
    training: Training, device: torch.device
) -> tuple[Callable[[], None], torch.optim.Optimizer, list[nn.Module]]:
    policy = _model(training, device)
    models = [policy]
    for _ in range(_references(training)):
        models.append(_model(replace(training, trains=ALL), device).requires_grad_(False))
    critics = [ScalarModel(policy) for _ in range(2 * METHODS[training.method].bodies)]
    if critics:
        critics[1].requires_grad_(False)  # the reward model
    trained = [*policy.parameters(), *(p for one in critics[:1] for p in one.parameters())]
    optimizer = _optimizer(training, [one for one in trained if one.requires_grad])
    loss = LOSSES[training.method](training, models, critics)

    def step() -> None:
        with _autocast(training, device):
            value = loss()
        value.backward()
        del value
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, optimizer, [*models, *critics]


def _references(training: Training) -> int:
    models = METHODS[training.method]
    return 0 if training.adapter else models.references


def _model(training: Training, device: torch.device) -> nn.Module:
    attention = "sdpa" if training.fused else "eager"
    settings = {"attn_implementation": attention, "use_cache": False}
    if training.shape.family == "gpt2":
        settings |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    half = training.precision == "bfloat16" or (training.precision == "mixed" and training.adapter)
    dtype = torch.bfloat16 if half else torch.float32
    with torch.device(device):
        model = shapes.build(training.shape, **settings).to(dtype).train()
    if training.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if training.adapter:
        model.enable_input_require_grads()
        targets = training.targets
        if targets != ALL_LINEAR:
            targets = [f"{name}_proj" for name in targets]
        lora.inject(model, rank=training.rank, alpha=2 * training.rank, targets=targets)
        if training.precision == "mixed":
            for parameter in filter(lambda one: one.requires_grad, model.parameters()):
                parameter.data = parameter.data.float()
    return model


def _optimizer(training: Training, parameters: list[Tensor]) -> torch.optim.Optimizer:
    if training.optimizer == memory.SGD:
        return torch.optim.SGD(parameters, lr=1e-4)
    which = {ADAMW: {"foreach": True}, FUSED: {"fused": True}}[training.optimizer]
    return torch.optim.AdamW(parameters, lr=1e-4, **which)


def _autocast(training: Training, device: torch.device) -> contextlib.AbstractContextManager:
    if training.precision != "mixed":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


# Losses: each returns a function that reads new random tokens and computes the loss ---------------


def _random_ids(training: Training, like: nn.Module) -> Tensor:
    rows = training.tokens // training.length
    ids = torch.randint(2, training.shape.vocabulary, (rows, training.length))
    return ids.to(next(like.parameters()).device)


def _sft(training: Training, models: Sequence[nn.Module], critics) -> Callable[[], Tensor]:
    (policy,) = models

    def loss() -> Tensor:
        ids = _random_ids(training, policy)
        return policy(input_ids=ids, labels=ids).loss

    return loss


def _dpo(training: Training, models: Sequence[nn.Module], critics) -> Callable[[], Tensor]:
    policy, reference = models[0], models[-1]

    def log_probs(model: nn.Module, ids: Tensor) -> Tensor:
        return tokens.token_log_probs(model(input_ids=ids).logits.float(), ids).sum(-1)

    def loss() -> Tensor:
        ids = _random_ids(training, policy)
        with torch.no_grad(), _without_adapter(training, policy):
            before = log_probs(reference, ids)
        gain = (log_probs(policy, ids) - before).view(-1, 2)
        return -nn.functional.logsigmoid(0.1 * (gain[:, 0] - gain[:, 1])).mean()

    return loss


@contextlib.contextmanager
def _without_adapter(training: Training, policy: nn.Module) -> Iterator[None]:
    """The base as its own reference."""
    if not training.adapter:
        yield
        return
    lora.activate(policy, None)
    yield
    lora.activate(policy, "default")


def _sampled(
    training: Training, policy: nn.Module, reference: nn.Module, score
) -> rollouts.Rollout:
    """Half a row is the prompt; no response ends by itself, since no token is the stop token."""
    half = training.length // 2
    prompts = torch.randint(2, training.shape.vocabulary, (training.sampled, half)).tolist()
    how = {"max_new_tokens": training.length - half, "temperature": 1.0, "stop_id": -1, "pad_id": 0}
    return rollouts.roll_out(policy, reference, score, prompts, **how)


def _grpo(training: Training, models: Sequence[nn.Module], critics) -> Callable[[], Tensor]:
    policy, reference = models[0], models[-1]

    def loss() -> Tensor:
        rollout = _sampled(
            training, policy, reference, lambda _, responses: torch.rand(len(responses))
        )
        part = rollout.select(torch.arange(training.rows))
        now = rollouts.response_log_probs(policy, part.ids, part.real, part.labels, 1.0)
        gain = torch.randn_like(now)
        surrogate = ppo.clipped_surrogate(now, part.log_probs, gain, part.counts, 0.2)
        return surrogate + 0.04 * tokens.masked_mean(kl.k3(now, part.ref_log_probs), part.counts)

    return loss


def _ppo(training: Training, models: Sequence[nn.Module], critics) -> Callable[[], Tensor]:
    policy, reference = models[0], models[-1]
    critic, reward_model = critics
    half = training.length // 2
    config = ppo.PPOConfig(max_new_tokens=training.length - half, minibatch=training.rows)

    def score(prompts, responses) -> Tensor:
        from methods.reward import rewards

        return rewards(reward_model, prompts, responses, pad_id=0, batch_size=training.rows)

    def loss() -> Tensor:
        prompts = torch.randint(2, training.shape.vocabulary, (training.sampled, half)).tolist()
        rollout = ppo.roll_out(
            policy, reference, critic, score, prompts, config, stop_id=-1, pad_id=0
        )
        rows = torch.arange(training.rows, device=rollout.ids.device)
        value, _ = ppo.minibatch_loss(rollout, rows, policy, critic, config)
        return value

    return loss


LOSSES = {"SFT": _sft, "DPO": _dpo, "GRPO": _grpo, "PPO": _ppo}


# The sweep ----------------------------------------------------------------------------------------

SMOL, GPT2 = "SmolLM2 135M", "GPT-2 124M"
USUAL = {
    "method": "SFT",
    "trains": ALL,
    "precision": "float32",
    "optimizer": FUSED,
    "rows": 2,
    "length": 128,
    "checkpointing": False,
    "fused": True,
}


def _settings() -> list[dict]:
    """Each difference from the usual settings, on SmolLM2's shape; then other families."""
    adapter = {"trains": ADAPTER}
    long = {"rows": 1, "length": 512}
    short = {"length": 48}  # sampling is slow under the profiler's eyes
    differences = [
        {},
        {"optimizer": ADAMW},
        {"optimizer": SGD},
        {"checkpointing": True},
        long,
        long | {"fused": False},
        long | {"checkpointing": True},
        {"precision": "mixed"},
        {"precision": "mixed", "checkpointing": True},
        {"precision": "bfloat16"},
        adapter,
        adapter | {"checkpointing": True},
        adapter | {"precision": "bfloat16"},
        adapter | {"precision": "mixed"},
        adapter | long,
        {"method": "DPO"},
        adapter | {"method": "DPO"},
        short,
        short | {"method": "GRPO"},
        short | {"method": "PPO"},
        short | adapter | {"method": "PPO"},
    ]
    wide = [{"shape": SMOL} | USUAL | some for some in differences]
    gpt2 = [{"shape": GPT2} | USUAL | some for some in ({}, long, long | {"fused": False})]
    small = [
        {"shape": shape.name} | USUAL | {"precision": precision} | long
        for shape in SMALL
        for precision in ("float32", "mixed")
    ]
    return wide + gpt2 + small


def as_training(shape: str, **settings) -> Training:
    """The training that a row of settings asks for; a rollout is as many rows as a step reads."""
    return Training(SHAPES[shape], sampled=settings["rows"], **settings)


def run_memory(**settings) -> dict[str, float]:
    """A training's bytes as `measure_training` finds them, in millions."""
    measured = measure_training(as_training(**settings), torch.device(machine.pick_device()))
    return {name: count / 1e6 for name, count in measured.items()}


# A tenth of a percent of the smallest peak: the allocator counts, and nothing is drawn by chance.
MEMORY = Sweep("cost.memory", run=run_memory, grid=_settings, agree={"peak": 0.1})


def peak_of(rows: Sequence[Row], **differences) -> float:
    """The measured peak of SmolLM2's shape at the usual settings but for some differences."""
    wanted = {"shape": SMOL} | USUAL | differences
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row["peak"]


def predicted(row: Row) -> Training:
    """The training of a stored row."""
    return as_training(**{name: row[name] for name in ("shape", *USUAL)})


def error(row: Row) -> float:
    """By how much the formula's peak is above the measured one, as a share of that."""
    return memory.peak(predicted(row)).total / 1e6 / row["peak"] - 1


Case = tuple[Training, float]  # and the bytes of its peak, as somebody found them


def measured_cases(rows: Sequence[Row]) -> list[Case]:
    """The measured settings of models with 100 million parameters and more."""
    return [(predicted(row), row["peak"] * 1e6) for row in rows if row["shape"] in (SMOL, GPT2)]


def published_cases(figures: Sequence[Figure]) -> list[Case]:
    """The published figures of one GPU that its allocator counted: the other calculators know one
    device alone."""
    return [
        (figure.training, figure.bytes)
        for figure in figures
        if figure.kind == "allocated" and figure.training.devices == 1
    ]


def errors_of_all(cases: Sequence[Case], calculators: dict) -> dict[str, list[float]]:
    """Each calculator's errors, as shares of the true peaks, where it has an answer; ours first."""
    everyone = {OURS: lambda training: memory.peak(training).total} | calculators
    return {
        name: [
            said / true - 1
            for training, true in cases
            if (said := calculator(training)) is not None
        ]
        for name, calculator in everyone.items()
    }


def error_of_states(row: Row) -> float:
    """The same for weights, frozen weights and optimiser states together."""
    said = memory.states(predicted(row))
    return sum(said.values()) / 1e6 / sum(row[part] for part in said) - 1


# The document's amounts, and the methods ----------------------------------------------------------


def document_jobs() -> dict[str, cost.Job]:
    """The ends of the document's ranges of data, as training jobs on one H100."""
    return {
        f"{method}, {samples:,} {'prompts' if method == tables.RLHF else 'samples'}": tables.job(
            method, samples
        )
        for method, ends in tables.AMOUNTS.items()
        for samples in ends
    }


# Names of measures, with what they measure.
LLAMA8_GB = {
    "cost.llama8_full_gb": ALL,
    "cost.llama8_lora_gb": ADAPTER,
    "cost.llama8_qlora_gb": memory.QUANTISED,
}
OURS = "this formula"
ERRORS = {  # on published figures: of the median, and how many
    OURS: ("cost.error_this", "cost.cases_this"),
    "accelerate": ("cost.error_accelerate", "cost.cases_accelerate"),
    "gpu_poor": ("cost.error_gpu_poor", "cost.cases_gpu_poor"),
    "NetraRuntime": ("cost.error_netraruntime", "cost.cases_netraruntime"),
    "LLaMA-Factory's rule": ("cost.error_llama_factory", "cost.cases_llama_factory"),
}
TABLE_GB = {"cost.table_sft_gb": "SFT", "cost.table_peft_gb": "PEFT", "cost.table_rlhf_gb": "RLHF"}


def by_method(shape: Shape) -> dict[tuple[str, str], float]:
    """GB at the peak by method and by what trains, at memory.py's usual settings."""
    return {
        (method, trains): memory.peak(Training(shape, method, trains)).total / memory.GB
        for method in METHODS
        for trains in memory.TRAINS
    }


# Pictures -----------------------------------------------------------------------------------------

PART_COLORS = {
    "weights": BLUE,
    "frozen weights": GREY,
    "optimiser states": GREEN,
    "gradients": ORANGE,
    "activations": PURPLE,
    "logits": PINK,
    "bfloat16 copies": "#bbbbbb",
    "working space": "#bbbbbb",
    "key–value cache": "#bbbbbb",
}


def draw_moments(ax: Axes, training: Training) -> None:
    """A stacked bar for each moment of a step, in GB, by part."""
    moments = memory.moments(training)
    for place, moment in enumerate(moments):
        reached = 0.0
        for part, count in moment.parts.items():
            size = count / memory.GB
            ax.barh(-place, size, left=reached, color=PART_COLORS[part], label=part)
            reached += size
    ax.set_yticks([-place for place in range(len(moments))], [one.name for one in moments])
    ax.tick_params(axis="y", labelsize="x-small")
    ax.set(xlabel="GB", title=training.trains)
    seen = dict(zip(*reversed(ax.get_legend_handles_labels())))
    ax.legend(
        seen.values(),
        seen,
        fontsize="x-small",
        loc="upper center",
        bbox_to_anchor=(0.4, -0.2),
        ncols=2,
    )


def draw_stages(ax: Axes, by_stage: Sequence[dict[str, float]]) -> None:
    """A stacked bar for each stage of ZeRO, in GB on each device."""
    for stage, parts in enumerate(by_stage):
        reached = 0.0
        for part, count in parts.items():
            ax.barh(
                -stage,
                count / memory.GB,
                left=reached,
                color=PART_COLORS[part],
                label=None if stage else part,
            )
            reached += count / memory.GB
    ax.set_yticks([-stage for stage in range(len(by_stage))], [f"stage {i}" for i in range(4)])
    ax.set(xlabel="GB on each of 8 devices")
    ax.legend(fontsize="small")


def draw_caches(ax: Axes, lengths: Sequence[int], caches: dict[str, Sequence[float]]) -> None:
    for (name, sizes), color in zip(caches.items(), (ORANGE, BLUE)):
        ax.plot(lengths, sizes, "o-", color=color, label=name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
    ax.set(xlabel="tokens of a response", ylabel="GB for 64 responses")
    ax.legend()


def draw_errors(
    axes: Sequence[Axes],
    rows: Sequence[Row],
    on_measured: dict[str, list[float]],
    on_published: dict[str, list[float]],
) -> None:
    """Predicted against measured, and the errors of all calculators on both kinds of cases."""
    measured = [row["peak"] / 1e3 for row in rows]
    said = [memory.peak(predicted(row)).total / 1e9 for row in rows]
    ends = [0.8 * min(measured), 1.25 * max(measured)]
    axes[0].plot(ends, ends, color=GREY, linewidth=1)
    axes[0].plot(measured, said, "o", color=BLUE, markersize=4)
    axes[0].set(xscale="log", yscale="log", xlabel="measured peak, GB", ylabel="predicted, GB")
    for shift, errors, color in ((0.15, on_measured, BLUE), (-0.15, on_published, ORANGE)):
        for place, wrong in enumerate(errors.values()):
            inside = [one for one in wrong if one < FAR]
            beyond = [FAR for one in wrong if one >= FAR]
            for marker, some in (("o", inside), (">", beyond)):
                y = [shift - place] * len(some)
                axes[1].plot(some, y, marker, color=color, alpha=0.5, markersize=4)
    axes[1].plot([], [], "o", color=BLUE, label="measured here")
    axes[1].plot([], [], "o", color=ORANGE, label="published")
    axes[1].legend(fontsize="x-small", loc="lower right")
    axes[1].axvline(0, color=GREY, linewidth=1)
    names = list(on_measured)
    axes[1].set_yticks([-place for place in range(len(names))], names, fontsize="small")
    axes[1].set(xlabel="error of the peak", xlim=(-1, 1.5))
    ticks = [-0.5, 0, 0.5, 1]
    axes[1].set_xticks(ticks, [f"{tick:+.0%}" if tick else "0" for tick in ticks])


FAR = 1.4  # errors beyond it are drawn as triangles at it
KINDS = {"allocated": BLUE, "reserved": ORANGE, "process": PINK}


def draw_published(ax: Axes, figures: Sequence[Figure]) -> None:
    """The formula's error for each published figure, by what was counted."""
    for place, figure in enumerate(figures):
        off = memory.peak(figure.training).total / figure.bytes - 1
        ax.plot(off, -place, "o", color=KINDS[figure.kind])
    for kind, color in KINDS.items():
        ax.plot([], [], "o", color=color, label=kind)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.axvspan(-0.1, 0.1, color=GREY, alpha=0.15)
    ax.set_yticks(
        [-place for place in range(len(figures))], [one.what for one in figures], fontsize="x-small"
    )
    ax.set(xlabel="formula against published figure", xlim=(-0.5, 0.5))
    ticks = (-0.4, -0.2, 0, 0.2, 0.4)
    ax.set_xticks(ticks, [f"{tick:+.0%}" if tick else "0" for tick in ticks])
    ax.legend(fontsize="small", loc="lower right")


def draw_hours(ax: Axes, jobs: dict[str, cost.Job]) -> None:
    """Bars of hours, by what they are spent on; sampling first."""
    colors = {"sampling": PINK, "scoring": GREEN, "training": BLUE}
    for place, job in enumerate(jobs.values()):
        spent = cost.hours(job)
        ax.barh(-place, sum(spent.values()), color=colors["training"])
        ax.barh(-place, spent["sampling"] + spent["scoring"], color=colors["scoring"])
        ax.barh(-place, spent["sampling"], color=colors["sampling"])
    for name, color in colors.items():
        ax.barh(0, 0, color=color, label=name)
    ax.set_yticks([-place for place in range(len(jobs))], list(jobs))
    ax.set(xlabel="hours of one H100")
    ax.legend(fontsize="small")


def draw_methods(ax: Axes, table: dict[tuple[str, str], float]) -> None:
    """A group of bars for each method, one for each choice of what trains."""
    height = 0.26
    for row, (trains, color) in enumerate(zip(memory.TRAINS, (BLUE, ORANGE, GREEN))):
        sizes = [table[method, trains] for method in METHODS]
        places = [-place - (row - 1) * height for place in range(len(METHODS))]
        ax.barh(places, sizes, height, color=color, label=trains)
        for place, size in zip(places, sizes):
            ax.text(size, place, f" {size:.0f}", va="center", fontsize="x-small")
    ax.set_yticks([-place for place in range(len(METHODS))], list(METHODS))
    for card in (24, 80):
        ax.axvline(card * memory.GIB / memory.GB, color=GREY, linewidth=1, linestyle="--")
    ax.set(xlabel="GB at the peak; dashed: cards of 24 and 80 GB")
    ax.legend(fontsize="small")
