"""Remedies against the three failures: a few lines each, and each has a price.

errors in the data     −log Σ_k p(k | x) noise[k, y]        (Patrini et al. 2017, forward correction)
a rank that runs out   Σ_{i>r} σᵢ² / Σᵢ σᵢ²                  (Eckart and Young 1936)
a reward exploited     min over reward models, or mean − weight · variance    (Coste et al. 2024)
                       the last step within a budget of KL        (Gao, Schulman and Hilton 2023)
"""

import math
from collections.abc import Sequence

import torch
from methods.arguments import check_whole
from torch import Tensor


def forward_loss(logits: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    """Mean negative log-likelihood of labels that are wrong with known probabilities.

    logits: float (batch, classes) · labels: int (batch,), as they were observed · noise: float
    (classes, classes), noise[k, j] the probability that class k is labelled j; its rows add up to 1

    The model goes on predicting the right class: the errors are put on top of what it says before it
    is compared with the labels. In log space, so that a probability near 0 stays finite. Returns a
    scalar. Raises ValueError for a matrix of another shape, or whose rows are no distributions.
    """
    check_noise(noise, logits.shape[-1])
    joint = logits.log_softmax(-1) + noise.log().T[labels]
    return -joint.logsumexp(-1).mean()


def check_noise(noise: Tensor, classes: int) -> None:
    """Raises ValueError unless there is one distribution over the classes for each of them."""
    if noise.shape != (classes, classes):
        raise ValueError(
            f"the noise is a matrix of {tuple(noise.shape)} for {classes} classes: give one row and "
            "one column for each class"
        )
    if (noise < 0).any() or not torch.allclose(noise.sum(-1), torch.ones(()).to(noise), atol=1e-4):
        raise ValueError("a row of the noise is no distribution: let each row add up to 1")


def energy_left(change: Tensor, rank: int) -> float:
    """The share of a matrix's squared entries that its best approximation of this rank misses.

    change: float (rows, columns), such as what training added to a weight · returns a number from 0
    to 1; 0 for a matrix of zeros. Raises ValueError for a rank below 0.
    """
    check_whole("rank", rank, least=0)
    energies = torch.linalg.svdvals(change).square()
    everything = energies.sum().item()
    return energies[rank:].sum().item() / everything if everything else 0.0


def strictest(scores: Tensor) -> Tensor:
    """What the strictest of several reward models says of each response.

    scores: float (models, batch) · returns float (batch,)
    """
    return scores.min(0).values


def cautious(scores: Tensor, weight: float) -> Tensor:
    """What several reward models say on average, less where they disagree.

    scores: float (models, batch) · weight: of the variance between the models (divided by their
    number) · returns float (batch,)
    """
    return scores.mean(0) - weight * scores.var(0, correction=0)


def stop_at(kl: Sequence[float], budget: float) -> int:
    """How many steps to make: as many as stay within a budget of KL, up to the first that does not.

    kl: the divergence from the reference after each step, in nats per response · returns from 0 to
    len(kl); what comes back below the budget later does not count. Raises ValueError for a
    divergence that is not a number.
    """
    check_numbers(kl)
    for step, nats in enumerate(kl):
        if nats > budget:
            return step
    return len(kl)


def check_numbers(kl: Sequence[float]) -> None:
    """Raises ValueError for a divergence that is not a number, and says after which step."""
    for step, nats in enumerate(kl, start=1):
        if math.isnan(nats):
            raise ValueError(f"the divergence after step {step} is not a number")
