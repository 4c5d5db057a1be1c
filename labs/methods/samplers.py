"""Samplers: who draws the responses, where that is not the model that trains.

    y ~ π_s(· | x),        while the gradient is that of        E_{y ~ π} [r(x, y)]

At scale an engine of its own draws the responses. It holds the trainer's weights in lower precision
and computes with other kernels, so its policy π_s is not the policy π that is to be trained: the
mismatch. It is measured by having the trainer compute the log-probability of every token that the
sampler drew, and corrected by importance weights, truncated at C:

    w_t = min( π(y_t | x, y_<t) / π_s(y_t | x, y_<t), C )        of each token
    w   = min( Π_t π(y_t | x, y_<t) / π_s(y_t | x, y_<t), C )    of a whole response

With whole responses and without a ceiling, E_{π_s} [w f(y)] = E_π [f(y)] for every f, but the
product over many tokens varies a great deal. A token's ratio varies less, but how the response began
stays the sampler's choice. Truncated weights are the proposal of Yao et al. 2025, "On the
Rollout-Training Mismatch in Modern RL Systems". TRL has both kinds, as token_truncate and
sequence_truncate (`vllm_importance_sampling_mode` of its GRPOConfig).

What is here is the mismatch alone. The ratio ρ of PPO's clip is between the trainer now and the
trainer when the responses came, and stays what it is.

Left out on purpose: responses that are drawn while the trainer goes on, so that the sampler's
weights are old; weights below a floor; dropping responses in place of truncating their weight; an
engine on another machine.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from methods import grpo, kl, lora, rollouts
from methods.arguments import check_positive, check_shape, check_shapes, check_tables, check_whole
from methods.grpo import Aggregate, GRPOConfig, GRPORollout
from methods.models import evaluating
from methods.optimize import minimize
from methods.rollouts import Samples, Score, log_probs_by_length
from methods.tokens import IGNORE, join, place
from torch import Tensor, nn

CEILING = 2.0  # C


class SamplerError(RuntimeError):
    """The engine cannot be used, or gave back what cannot be used; the message says what to do."""


class Sampler(Protocol):
    """Draws responses, and takes the trainer's weights over."""

    def __call__(
        self,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int,
        stop_id: int,
        pad_id: int,
        temperature: float,
    ) -> Samples:
        """One response to each prompt, as `rollouts.sample` gives it: with the stop token, and with
        the sampler's own log-probabilities at this temperature."""
        ...

    def follow(self, model: nn.Module) -> None:
        """Draw from the model as it stands now, from the next call on."""
        ...


# The model itself, and copies of it ---------------------------------------------------------------


class Own:
    """The model itself, as it stands at each call. Raises what `rollouts.sample` raises."""

    def __init__(self, model: nn.Module):
        self.model = model

    def __call__(self, prompts: Sequence[list[int]], **settings: Any) -> Samples:
        return rollouts.sample(self.model, prompts, **settings)

    def follow(self, model: nn.Module) -> None:
        self.model = model


# Takes a copy of the model, and returns it in lower precision
Rounding = Callable[[nn.Module], nn.Module]


class Rounded(Own):
    """A copy of the model in lower precision, rounded when it is made and at each `follow`.

    how: `bfloat16`, what `few_bits` returns, or another function
    """

    def __init__(self, model: nn.Module, how: Rounding):
        self.how = how
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        self.model = self.how(copy.deepcopy(model).requires_grad_(False))


def bfloat16(model: nn.Module) -> nn.Module:
    """The model in bfloat16, in place: weights, activations and key–value cache.

    Its logits come out in float32, since engines draw from those (vLLM's Sampler converts them
    first). Otherwise the log-probabilities would be rounded once more, after the draw.
    """

    def in_float32(_: nn.Module, __: tuple, output: Any) -> Any:
        output.logits = output.logits.float()
        return output

    model.to(torch.bfloat16).register_forward_hook(in_float32)
    return model


def few_bits(bits: int = 4, group: int = 32) -> Rounding:
    """Rounds the weights of linear layers to a few bits, as an engine that serves a quantised model
    holds them; it computes with the rounded weights in the model's own precision.

    group: so many weights of a row share a scale; the last group of a row may have fewer. The
    embeddings and the output layer stay as they are, as usual. Raises ValueError for bits below 2,
    and for a group below 1.
    """
    check_whole("bits", bits, least=2)
    check_whole("group", group)

    @torch.no_grad()
    def rounded(model: nn.Module) -> nn.Module:
        output = model.get_output_embeddings()
        for layer in model.modules():
            if isinstance(layer, nn.Linear) and layer is not output:
                parts = layer.weight.split(group, dim=1)
                layer.weight.copy_(torch.cat([nearest(part, bits) for part in parts], dim=1))
        return model

    return rounded


def nearest(weights: Tensor, bits: int) -> Tensor:
    """Each row rounded to the nearest of 2^bits − 1 evenly spaced numbers around 0, of which the
    outermost is the row's largest: symmetric round-to-nearest.

    weights: float (rows, columns) · returns the same shape
    """
    most = 2 ** (bits - 1) - 1
    steps = weights.abs().amax(-1, keepdim=True) / most
    return (weights / steps.where(steps > 0, 1)).round() * steps


# vLLM ---------------------------------------------------------------------------------------------

# SamplingParams takes a temperature below this for this one, and says so in its log only.
COLDEST = 0.01


class VLLM:
    """vLLM's offline engine, its class LLM. It draws with a random generator of its own.

    source: a folder or a hub id with a model in transformers' format, or a model, which is written to
    a temporary folder · dtype, seed: the engine's · options: whatever else `vllm.LLM` takes, such as
    gpu_memory_utilization, tensor_parallel_size, quantization

    Raises SamplerError where vLLM is not installed.
    """

    def __init__(
        self,
        source: nn.Module | str | Path,
        *,
        dtype: str = "bfloat16",
        seed: int = 0,
        **options: Any,
    ):
        try:
            import vllm
            import vllm.inputs
        except ImportError:
            raise SamplerError(
                "vLLM is not installed: install it where there is a GPU that it knows, or draw with "
                "methods.samplers.Own"
            ) from None
        self.vllm, self.times, self.folder = vllm, 0, None
        self.place = tempfile.TemporaryDirectory(prefix="sampler-")
        if isinstance(source, nn.Module):
            source = self.folder = self._written(source)
        # logprobs_mode: by default (raw_logprobs) vLLM returns log-probabilities from before the
        # temperature (vllm/config/model.py, ModelConfig). generation_config: by default the model's
        # own habits apply as well. skip_tokenizer_init: only token ids go in and out.
        settled = {
            "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm",
            "skip_tokenizer_init": True,
        }
        self.engine = vllm.LLM(model=str(source), dtype=dtype, seed=seed, **settled, **options)

    def __call__(
        self,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int,
        stop_id: int,
        pad_id: int,
        temperature: float = 1.0,
    ) -> Samples:
        """As in Sampler; vLLM needs no padding. Raises ValueError for a temperature that is not a
        finite number from 0.01 up, and for a prompt that leaves no room for the response;
        SamplerError for a response without its stop token or its log-probabilities."""
        check_whole("max_new_tokens", max_new_tokens)
        check_positive("temperature", temperature)
        if temperature < COLDEST:
            raise ValueError(
                f"temperature is {temperature}: vLLM would draw at {COLDEST}; give at least that"
            )
        # top_p, top_k: all tokens. ignore_eos: the stop token alone ends a response, whatever the
        # model's own. logprobs=0: the token that was drawn, and no other (vllm/sampling_params.py).
        settings = self.vllm.SamplingParams(
            temperature=temperature,
            top_p=1.0,
            top_k=0,
            max_tokens=max_new_tokens,
            stop_token_ids=[stop_id],
            ignore_eos=True,
            logprobs=0,
            detokenize=False,
        )
        asked = [self.vllm.inputs.TokensPrompt(prompt_token_ids=list(row)) for row in prompts]
        answers = self.engine.generate(asked, settings, use_tqdm=False)
        drawn = [response_of(answer.outputs[0], stop_id, max_new_tokens) for answer in answers]
        responses, log_probs, stopped = (list(part) for part in zip(*drawn, strict=True))
        return Samples(responses=responses, log_probs=log_probs, stopped=stopped)

    def follow(self, model: nn.Module) -> None:
        """Write the model, and let the engine read it in place of its weights.

        Each time to another folder, since a path that was read before may come from a cache (issue
        32718 of vllm-project/vllm). `reload_weights` is the worker's method that the page on sleep
        mode calls, and its argument weights_path that of GPUModelRunner. What the engine keeps of
        prompts that it has read belongs to the old weights and has to go (issue 9744).
        """
        folder = self._written(model)
        self.engine.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        self.engine.reset_prefix_cache()
        if self.folder:
            shutil.rmtree(self.folder)
        self.folder = folder

    def _written(self, model: nn.Module) -> Path:
        self.times += 1
        folder = Path(self.place.name) / f"weights-{self.times}"
        bare(model).save_pretrained(folder)
        return folder


def response_of(
    output: Any, stop_id: int, max_new_tokens: int
) -> tuple[list[int], list[float], bool]:
    """Tokens, their log-probabilities, and whether it stopped, of a vllm.CompletionOutput.

    The stop token is among its token_ids: the scheduler's check_stop looks at the last one of them.
    """
    tokens = list(output.token_ids)
    if output.logprobs is None or len(output.logprobs) != len(tokens):
        raise SamplerError("vLLM gave no log-probability for a token: let it be another version")
    log_probs = [found[token].logprob for found, token in zip(output.logprobs, tokens)]
    stopped = tokens[-1:] == [stop_id]
    if stopped != (output.finish_reason == "stop"):
        raise SamplerError(
            f"vLLM ended a response with {output.finish_reason!r}, and its last token is "
            f"{tokens[-1:]}: the stop token {stop_id} belongs to a response that stops"
        )
    if not stopped and len(tokens) < max_new_tokens:
        raise ValueError(
            f"a prompt leaves room for {len(tokens)} tokens of its response, not for "
            f"{max_new_tokens}: shorten it, or give the engine a larger max_model_len"
        )
    return tokens, log_probs, stopped


def bare(model: nn.Module) -> nn.Module:
    """The model without adapters, to be written: a copy with the active one merged, if it has any."""
    if not hasattr(model, "save_pretrained"):
        raise ValueError(
            f"{type(model).__name__} cannot write itself (no save_pretrained), so no engine can read "
            "it: give a model from transformers"
        )
    if not lora.layers(model):
        return model
    model = copy.deepcopy(model)
    if any(layer.active in layer.configs for layer in lora.layers(model).values()):
        lora.merge(model)
    lora.strip(model)
    return model


# The correction -----------------------------------------------------------------------------------


@torch.no_grad()
def importance(
    sampler_log_probs: Tensor,
    trainer_log_probs: Tensor,
    counts: Tensor,
    ceiling: float = CEILING,
    whole: bool = False,
) -> Tensor:
    """By how much each token weighs: min(π / π_s, C), without a gradient; 1 where counts is false.

    sampler_log_probs, trainer_log_probs: of the tokens that the sampler drew, float (batch, time) ·
    counts: bool (batch, time) · ceiling: C, at least 1; math.inf for no truncation · whole: every
    token gets the weight of its response, the product of its tokens' ratios, truncated once
    returns float (batch, time)

    Raises ValueError for a ceiling below 1, where equal policies would not weigh 1, and
    FloatingPointError for a log-probability that is NaN.
    """
    check_tables(counts, sampler_log_probs=sampler_log_probs, trainer_log_probs=trainer_log_probs)
    if not ceiling >= 1:
        raise ValueError(
            f"ceiling is {ceiling}: it must be at least 1, the weight of equal policies"
        )
    logs = (trainer_log_probs - sampler_log_probs).where(counts, 0)
    if logs.isnan().any():
        raise FloatingPointError(
            "a token that was drawn has no log-probability (NaN): check the sampler and the trainer"
        )
    if whole:
        logs = logs.sum(-1, keepdim=True).expand_as(logs)
    return logs.exp().clamp(max=ceiling).where(counts, 1)


# A rollout ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """Responses of a sampler, and what both policies say of them.

    ids, real, labels, counts: as in rollouts.Rollout · sampler_log_probs, trainer_log_probs: float
    (batch, time - 1), 0 where counts is false
    """

    samples: Samples
    ids: Tensor
    real: Tensor
    labels: Tensor
    counts: Tensor
    sampler_log_probs: Tensor
    trainer_log_probs: Tensor


@torch.no_grad()
def draw(
    sampler: Sampler,
    policy: nn.Module,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    stop_id: int,
    pad_id: int,
) -> Drawn:
    """Let the sampler answer each prompt, and the trainer's policy compute the log-probabilities of
    what it drew. Raises what the sampler raises."""
    samples = sampler(
        prompts,
        max_new_tokens=max_new_tokens,
        stop_id=stop_id,
        pad_id=pad_id,
        temperature=temperature,
    )
    rows = join(prompts, samples.responses, pad_id)
    ids, real, labels = (tensor.to(policy.device) for tensor in rows)
    counts = labels[:, 1:] != IGNORE
    with evaluating(policy):
        trainer_log_probs = log_probs_by_length(policy, ids, real, labels, temperature)
    sampler_log_probs = place(samples.log_probs, counts)
    return Drawn(samples, ids, real, labels, counts, sampler_log_probs, trainer_log_probs)


@dataclass
class SampledRollout(GRPORollout):
    """A rollout whose responses come from a sampler; log_probs are the trainer's.

    sampler_log_probs: the sampler's own, float (batch, time - 1), 0 where counts is false ·
    weights: from `importance`, float (batch, time - 1)
    """

    sampler_log_probs: Tensor
    weights: Tensor


@torch.no_grad()
def roll_out(
    sampler: Sampler,
    policy: nn.Module,
    reference: nn.Module,
    score: Score,
    prompts: Sequence[list[int]],
    config: GRPOConfig,
    *,
    stop_id: int,
    pad_id: int,
    ceiling: float = CEILING,
    whole: bool = False,
) -> SampledRollout:
    """Let the sampler draw config.size responses to each prompt, score and compare them, and weigh
    them by how much the trainer's policy agrees.

    ceiling, whole: as in importance; where the config takes a response for one action, its weight is
    always that of the whole response

    The advantages compare the responses as they were drawn. Raises what the sampler, `importance` and
    `rollouts.roll_out` raise.
    """
    asked = [prompt for prompt in prompts for _ in range(config.size)]
    special = {"stop_id": stop_id, "pad_id": pad_id}
    settings = {"max_new_tokens": config.max_new_tokens, "temperature": config.temperature}
    drawn = draw(sampler, policy, asked, **settings, **special)
    scores = checked(score(asked, drawn.samples.responses), len(asked)).to(policy.device).float()
    with evaluating(reference):
        known = log_probs_by_length(
            reference, drawn.ids, drawn.real, drawn.labels, config.temperature
        )
    earned = scores
    if config.whole_response:
        earned = earned - config.beta * kl.k1(drawn.trainer_log_probs, known).sum(-1)
    both = drawn.sampler_log_probs, drawn.trainer_log_probs
    return SampledRollout(
        prompts=asked,
        responses=drawn.samples.responses,
        stopped=drawn.samples.stopped,
        ids=drawn.ids,
        real=drawn.real,
        labels=drawn.labels,
        counts=drawn.counts,
        scores=scores,
        log_probs=drawn.trainer_log_probs,
        ref_log_probs=known,
        advantages=config.advantages(earned, config.size),
        sampler_log_probs=drawn.sampler_log_probs,
        weights=importance(*both, drawn.counts, ceiling, whole or config.whole_response),
    )


def checked(scores: Tensor, count: int) -> Tensor:
    """The scores. Raises TypeError or ValueError for anything but a tensor (count,), and
    FloatingPointError for one that is not finite."""
    check_shape("the score", scores, count)
    if not torch.isfinite(scores).all():
        raise FloatingPointError(
            "a response got a score that is not finite: check the reward; nothing was updated"
        )
    return scores


# The update ---------------------------------------------------------------------------------------


def weighted(aggregate: Aggregate, weights: Tensor) -> Aggregate:
    """The same mean of values that are multiplied by their weights first; it is not divided by the
    weights' sum.

    weights: (batch, time), like the values
    """

    def mean(values: Tensor, counts: Tensor, longest: int) -> Tensor:
        check_shapes(values=values, weights=weights)
        return aggregate(values * weights, counts, longest)

    return mean


def minibatch_loss(
    rollout: SampledRollout, rows: Tensor, policy: nn.Module, config: GRPOConfig
) -> tuple[Tensor, dict[str, float]]:
    """`grpo.minibatch_loss` with every token's gain multiplied by its weight.

    Weights are at least 0, so it does not matter whether they multiply the gain or the advantage in
    it. They multiply the penalty for leaving the reference, too, whose tokens come from the same
    sampler; TRL adds the penalty without weights.
    """
    part = rollout.select(rows)
    weights = part.weights
    if config.whole_response:  # a table with one column
        weights = weights.where(part.counts, 0).amax(-1, keepdim=True)
    config = replace(config, aggregate=weighted(config.aggregate, weights))
    return grpo.minibatch_loss(
        part, torch.arange(len(part.ids), device=part.ids.device), policy, config
    )


def update(
    rollout: SampledRollout, policy: nn.Module, optimizer: torch.optim.Optimizer, config: GRPOConfig
) -> dict[str, float]:
    """`grpo.update` with this loss: passes over the rollout in place; returns the mean metrics.

    Raises FloatingPointError if a loss or a gradient is not finite, before it reaches the parameters.
    """
    history = []

    def loss(rows: Tensor) -> Tensor:
        value, metrics = minibatch_loss(rollout, rows, policy, config)
        history.append(metrics)
        return value

    with evaluating(policy):
        minimize(
            loss,
            rollouts.minibatches(rollout, size=config.minibatch, passes=config.passes),
            optimizer,
            refusal="the {what} is {value}: lower the learning rate "
            f"({config.learning_rate}); the last update was not made",
        )
    return {name: sum(step[name] for step in history) / len(history) for name in history[0]}


def summary(rollout: SampledRollout) -> dict[str, float]:
    """`rollouts.summary`, and what says how far the sampler is away: mismatch, the mean of
    |log π − log π_s| over the tokens · weight, the mean of their weights."""
    counts = rollout.counts
    apart = (rollout.log_probs - rollout.sampler_log_probs).abs()[counts]
    return rollouts.summary(rollout) | {
        "mismatch": apart.mean().item(),
        "weight": rollout.weights[counts].mean().item(),
    }
