"""Direct preference optimisation (DPO): learn from pairs, without a reward model, without sampling.

The optimum of RLHF's objective is π* = π_ref exp(r/β) / Z. Turned round, it says which reward a
policy is the optimum of, up to a number of the prompt alone:

    r̂(x, y) = β log π_θ(y | x) / π_ref(y | x)            from Rafailov et al. 2023, equation 5
    L_DPO = −E [ log σ( r̂(x, y_w) − r̂(x, y_l) ) ]                                    equation 7

So the loss is a reward model's, with the policy's own log-ratio as the reward. Below it, three
others that put another curve over the same log-ratios:

    IPO      ( h − 1/(2β) )²,  h the difference of the mean log-ratios of a token
                                                                    Azar et al. 2023, equation 17
    KTO      1 − σ( ±β (log-ratio − z) ),  + for the chosen response, − for the rejected one
                                                    Ethayarajh et al. 2024, equation 7 of version 1
    SimPO    −log σ( β (mean log π(y_w) − mean log π(y_l)) − γ ),  no reference at all
                                                                    Meng et al. 2024

The reference never changes, so it is asked once, before the first step; KTO alone asks it again.
A pair is a ranking of two, as in `methods.reward`.

Left out on purpose: label smoothing, gradient clipping, an SFT term on the chosen response.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from methods import reward
from methods.arguments import check_positive, check_shape, check_shapes, check_whole
from methods.models import check_tokens, evaluating
from methods.optimize import adamw, linear_decay, minimize
from methods.reference import reference_of
from methods.reward import Ranking, check_rankings
from methods.rollouts import log_probs_by_length
from methods.tokens import join
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

# The loss -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairLogProbs:
    """What the losses are made of; the chosen response stands in column 0, the rejected in 1.

    policy, reference: log π(y | x), the sum over a response's tokens, float (pairs, 2) · lengths: in
    tokens, int (pairs, 2) · mismatched: log π(y | x') − log π_ref(y | x') of a response beside
    another pair's prompt, float (2 × pairs,); None unless the loss is KTO's

    Raises ValueError for tables of other shapes.
    """

    policy: Tensor
    reference: Tensor
    lengths: Tensor
    mismatched: Tensor | None = None

    def __post_init__(self):
        check_shape("policy", self.policy, None, 2)
        check_shapes(policy=self.policy, reference=self.reference, lengths=self.lengths)

    @property
    def log_ratios(self) -> Tensor:
        """log π / π_ref of each response: float (pairs, 2)."""
        return self.policy - self.reference


Loss = Callable[[PairLogProbs, float], Tensor]  # and β → a scalar


def implicit_reward(log_probs: Tensor, ref_log_probs: Tensor, beta: float) -> Tensor:
    """r̂ = β (log π − log π_ref), up to a number of the prompt alone; one shape, any."""
    check_shapes(log_probs=log_probs, ref_log_probs=ref_log_probs)
    check_positive("beta", beta)
    return beta * (log_probs - ref_log_probs)


def dpo_loss(log_probs: Tensor, ref_log_probs: Tensor, beta: float) -> Tensor:
    """Mean negative log-probability of the choices: scalar, in nats per pair.

    log_probs, ref_log_probs: log π(y | x) of whole responses, float (pairs, 2), the chosen one in
    column 0. It is log 2 where policy and reference are one.
    """
    chosen, rejected = implicit_reward(log_probs, ref_log_probs, beta).unbind(-1)
    return -logsigmoid(chosen - rejected).mean()


def sigmoid_loss(pairs: PairLogProbs, beta: float) -> Tensor:
    """dpo_loss, as `train` asks for it."""
    return dpo_loss(pairs.policy, pairs.reference, beta)


def ipo_loss(pairs: PairLogProbs, beta: float) -> Tensor:
    """A target for the margin, 1/(2β), beyond which nothing is gained. Scalar.

    The log-ratios are means over a response's tokens, as in TRL; the paper writes their sums.
    """
    chosen, rejected = (pairs.log_ratios / pairs.lengths).unbind(-1)
    return (chosen - rejected - 1 / (2 * beta)).square().mean()


def kto_loss(pairs: PairLogProbs, beta: float) -> Tensor:
    """Good and bad responses, each by itself; a pair counts as one of each. Scalar.

    z, the point from which gains and losses are counted, is the mean of `mismatched`, at least 0.
    """
    z = pairs.mismatched.mean().clamp(min=0).detach()
    chosen, rejected = pairs.log_ratios.unbind(-1)
    signed = torch.stack([chosen - z, z - rejected])
    return (1 - (beta * signed).sigmoid()).mean()


def simpo_loss(pairs: PairLogProbs, beta: float, margin: float = 0.5) -> Tensor:
    """The mean log-probability of a token is the reward; no reference. Scalar.

    margin: γ, by which the chosen response has to lead
    """
    chosen, rejected = (beta * pairs.policy / pairs.lengths).unbind(-1)
    return -logsigmoid(chosen - rejected - margin).mean()


# Log-probabilities --------------------------------------------------------------------------------


def pair_log_probs(model: nn.Module, pairs: Sequence[Ranking], pad_id: int) -> Tensor:
    """log π(y | x) of both responses of each pair, with its gradient: float (pairs, 2), the chosen
    one in column 0.

    Raises ValueError for a row that the model cannot read.
    """
    prompts = [prompt for prompt, responses in pairs for _ in responses]
    responses = [response for _, both in pairs for response in both]
    ids, real, labels = join(prompts, responses, pad_id)
    check_tokens(model, ids)
    ids, real, labels = (tensor.to(model.device) for tensor in (ids, real, labels))
    return log_probs_by_length(model, ids, real, labels, temperature=1.0).sum(-1).view(-1, 2)


def mismatch(pairs: Sequence[Ranking]) -> list[Ranking]:
    """Both responses of each pair beside the prompt of the next pair, round the batch."""
    following = [*pairs[1:], pairs[0]]
    return [(prompt, responses) for (prompt, _), (_, responses) in zip(following, pairs)]


@torch.no_grad()
def log_probs_of_all(
    model: nn.Module, pairs: Sequence[Ranking], pad_id: int, batch_size: int = 128
) -> Tensor:
    """log π(y | x) of both responses of every pair, without gradients: float (pairs, 2)."""
    with evaluating(model):
        return torch.cat(
            [
                pair_log_probs(model, pairs[start : start + batch_size], pad_id)
                for start in range(0, len(pairs), batch_size)
            ]
        )


# Training -----------------------------------------------------------------------------------------


def train(
    policy: nn.Module,
    pairs: Sequence[Ranking],
    *,
    pad_id: int,
    reference: nn.Module | None = None,
    loss: Loss = sigmoid_loss,
    beta: float = 0.1,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """DPO, one step for each batch of pairs; yields each step's metrics after its update.

    policy: trained in place · reference: None for the policy as it stands at the first step

    The learning rate falls to zero in a straight line. Metrics: loss · margin, by which the implicit
    reward of the chosen response leads · accuracy, the share of pairs in which it does · chosen and
    rejected, what the log-probability of each response has gained since the reference, in nats

    Raises ValueError as check_pairs does, for a beta that is not a finite number above 0, for a
    batch of one pair under KTO and if no parameter requires a gradient, and FloatingPointError at
    the first loss or gradient that is not finite, before it reaches the parameters.
    """
    check_pairs(pairs)
    check_positive("beta", beta)
    check_whole("epochs", epochs)
    check_whole("batch_size", batch_size)
    if loss is kto_loss and (batch_size == 1 or len(pairs) % batch_size == 1):
        raise ValueError(
            f"with {len(pairs)} pairs in batches of {batch_size} a pair is left alone, and KTO reads "
            "each response beside another pair's prompt too: choose another batch_size"
        )
    optimizer = adamw(policy.parameters(), learning_rate)
    known = log_probs_of_all(reference or policy, pairs, pad_id)
    if loss is kto_loss:  # which asks it again at every step
        reference = reference or reference_of(policy)
    numbers = reward.batches(range(len(pairs)), batch_size=batch_size, epochs=epochs, seed=seed)
    steps = epochs * math.ceil(len(pairs) / batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, linear_decay(steps))
    history = []

    def batch_loss(rows: list[int]) -> Tensor:
        part = [pairs[row] for row in rows]
        with evaluating(policy):
            now = pair_log_probs(policy, part, pad_id)
            shifted = mismatched(policy, reference, part, pad_id) if loss is kto_loss else None
        lengths = [[len(response) for response in responses] for _, responses in part]
        logs = PairLogProbs(now, known[rows], torch.tensor(lengths, device=now.device), shifted)
        value = loss(logs, beta)
        history.append({"loss": value.item()} | metrics(logs, beta))
        return value

    for step, rows in enumerate(numbers, start=1):
        minimize(
            batch_loss,
            [rows],
            optimizer,
            refusal=f"the {{what}} is {{value}} at step {step}: lower the learning rate "
            f"({learning_rate}); the last update was not made",
        )
        schedule.step()
        yield history[-1]


@torch.no_grad()
def mismatched(
    policy: nn.Module, reference: nn.Module, pairs: Sequence[Ranking], pad_id: int
) -> Tensor:
    """log π(y | x') / π_ref(y | x') of every response beside the next pair's prompt: float
    (2 × pairs,). What a response gains where it does not belong is KTO's zero."""
    others = mismatch(pairs)
    with evaluating(policy, reference):
        now = pair_log_probs(policy, others, pad_id)
        return (now - pair_log_probs(reference, others, pad_id)).flatten()


@torch.no_grad()
def metrics(pairs: PairLogProbs, beta: float) -> dict[str, float]:
    """What is told of a batch of pairs beside its loss; train says what each means."""
    chosen, rejected = pairs.log_ratios.unbind(-1)
    return {
        "margin": beta * (chosen - rejected).mean().item(),
        "accuracy": (chosen > rejected).float().mean().item(),
        "chosen": chosen.mean().item(),
        "rejected": rejected.mean().item(),
    }


def check_pairs(pairs: Sequence[Ranking]) -> None:
    """Raises ValueError for no pairs, rankings of more than two, a pair of equal responses, and an
    empty prompt or response."""
    check_rankings(pairs)
    for number, (prompt, responses) in enumerate(pairs):
        if not prompt or not all(responses):
            raise ValueError(f"pair {number} has an empty prompt or response: leave it out")
    if len(pairs[0][1]) != 2:
        raise ValueError(
            f"DPO learns from pairs, and these are rankings of {len(pairs[0][1])}: give the pairs "
            "of each ranking"
        )
