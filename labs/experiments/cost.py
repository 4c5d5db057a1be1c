"""What lab 08 measures: training steps of random models, and how much memory they take."""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from methods import kl, lora, ppo, rollouts, tokens
from methods.reward import ScalarModel
from planning import memory, shapes
from planning.measure import allocated, states_of
from planning.memory import ADAMW, ALL, FUSED, METHODS, Training
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
    dtype = torch.bfloat16 if training.precision == "bfloat16" else torch.float32
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
