"""What pipelines need besides the methods themselves.

    W' = W + (α/r) B A,  B' = 0        the next stage begins where the last one ended
    h_i = W x_i + (α/r) B_k A_k x_i    one batch, an adapter k for each row i (Sheng et al. 2023)
    1 − p^G − (1 − p)^G                a group of G responses has a signal: neither all nor none succeed
    d̄ ± t s_d / √n                     a difference seed by seed, d_i = first_i − second_i

Left out on purpose: kernels that gather the adapters of a batch without copying them.
"""

import math
import statistics
from collections.abc import Sequence

import torch
from methods.arguments import check_shape, check_whole
from methods.lora import merged_weight
from torch import Tensor


def begin_stage(
    weight: Tensor, A: Tensor, B: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The weight and the adapter with which the next stage begins.

    weight: float (d_out, d_in), frozen · A (rank, d_in), B (d_out, rank): what the last stage learned
    returns the same three, new tensors. The policy is what it was, W + (α/r) B A; so is the reference
    of the next stage, which is the weight alone; and the adapter can learn, since only B is zero.
    """
    return merged_weight(weight, A, B, alpha), A.clone(), torch.zeros_like(B)


def mixed_batch(
    x: Tensor, weight: Tensor, A: Tensor, B: Tensor, alpha: float, adapter: Tensor
) -> Tensor:
    """A linear layer on a batch in which each row has an adapter of its own.

    x: float (batch, time, d_in) · weight: (d_out, d_in) · A: (adapters, rank, d_in) · B: (adapters,
    d_out, rank) · adapter: int (batch,), the adapter of each row, -1 for the base alone
    returns float (batch, time, d_out). Raises ValueError for other shapes, and for an adapter that
    there is not.
    """
    check_mixed(x, weight, A, B, adapter)
    thin = torch.einsum("btd,brd->btr", x, A[adapter])
    update = torch.einsum("btr,bor->bto", thin, B[adapter]) * (alpha / A.shape[1])
    return x @ weight.T + update * (adapter >= 0)[:, None, None]


def check_mixed(x: Tensor, weight: Tensor, A: Tensor, B: Tensor, adapter: Tensor) -> None:
    """Raises ValueError unless all shapes fit together and every row's adapter is -1 or there.

    einsum spreads a side of length 1, and A[-2] is an adapter as well: neither would show.
    """
    check_shape("x", x, None, None, None)
    check_shape("A", A, None, None, x.shape[-1])
    check_shape("B", B, len(A), None, A.shape[1])
    check_shape("weight", weight, B.shape[1], x.shape[-1])
    check_shape("adapter", adapter, len(x))
    if adapter.is_floating_point() or adapter.dtype == torch.bool:
        raise ValueError(f"adapter is of {adapter.dtype}: give whole numbers, one for each row")
    if len(wrong := adapter[(adapter < -1) | (adapter >= len(A))]):
        raise ValueError(
            f"there is no adapter {wrong[0].item()}: give numbers from 0 to {len(A) - 1}, or -1 for "
            "the base"
        )


def groups_with_signal(success: Tensor, size: int) -> Tensor:
    """The expected share of groups in which some responses succeed and some fail.

    In the other groups all rewards are equal, so all advantages are zero and nothing is learned.

    success: float (prompts,), the probability that a response to the prompt succeeds · size: the
    responses in a group, all to one prompt, drawn independently
    returns a scalar, the mean over the prompts. Raises ValueError for what is no probability, for no
    prompt at all, and for a size below 1.
    """
    check_whole("size", size)
    check_probabilities(success)
    return (1 - success**size - (1 - success) ** size).mean()


def check_probabilities(success: Tensor) -> None:
    """Raises ValueError unless there are probabilities, at least one."""
    if not success.numel():
        raise ValueError("there is no prompt: give the probability of at least one")
    if not ((success >= 0) & (success <= 1)).all():
        raise ValueError("a probability is below 0, above 1 or no number: give shares from 0 to 1")


def paired_interval(
    first: Sequence[float], second: Sequence[float], quantile: float
) -> tuple[float, float]:
    """The mean of first − second, taken seed by seed, and half the width of its interval.

    first, second: a result for each seed, two seeds or more, in the same order · quantile: of
    Student's t with n − 1 degrees of freedom, 4.303 for three seeds and 95 %. Raises ValueError for
    fewer than two seeds, or where one has no partner.
    """
    check_pairs(first, second)
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    return statistics.fmean(gaps), quantile * statistics.stdev(gaps) / math.sqrt(len(gaps))


def check_pairs(first: Sequence[float], second: Sequence[float]) -> None:
    """Raises ValueError unless there are two pairs at least, and nothing is left without a partner."""
    if len(first) != len(second):
        raise ValueError(
            f"there are {len(first)} results and {len(second)}: give one of each for every seed"
        )
    if len(first) < 2:
        raise ValueError(f"a deviation needs two seeds at least, and {len(first)} are given")
