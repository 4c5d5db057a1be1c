"""Right solutions of lab 09's exercises."""

import math
import statistics

import numpy as np
import torch
import torch.nn.functional as F
from methods import lora
from torch import nn


def begin_with_a_new_a(weight, A, B, alpha):
    return weight + alpha / len(A) * (B @ A), torch.randn_like(A), B * 0


def begin_with_lora_itself(weight, A, B, alpha):
    return [lora.merged_weight(weight, A, B, alpha), *lora.initialise(*weight.shape, len(A))]


def begin_with_zero_in_a(weight, A, B, alpha):
    return torch.addmm(weight, B, A, alpha=alpha / A.size(0)), torch.zeros_like(A), B.clone()


def begin_with_ones(weight, A, B, alpha):
    merged = weight.clone()
    for down, up in zip(A, B.T):
        merged += alpha / len(A) * torch.outer(up, down)
    return merged, torch.ones(A.shape), torch.zeros(B.shape)


def begin_in_double(weight, A, B, alpha):
    weight, A, B = (tensor.double() for tensor in (weight, A, B))
    return weight + B @ A * alpha / len(A), A, 0 * B


def begin_with_parameters(weight, A, B, alpha):
    merged = weight + (lora.lora_update(torch.eye(weight.shape[1]), A, B, alpha)).T
    return merged.detach(), nn.Parameter(A.clone()), nn.Parameter(torch.zeros_like(B))


def begin_at_right_angles(weight, A, B, alpha):
    """Half of the rank has its zeros in B, the other half in A."""
    half = len(A) // 2
    new_A, new_B = A.clone(), B.clone()
    new_A[:half], new_B[:, half:] = 0, 0
    return weight + B @ A * (alpha / B.shape[1]), new_A, new_B


def mixed_row_by_row(x, weight, A, B, alpha, adapter):
    outputs = []
    for row, k in zip(x, adapter.tolist()):
        out = F.linear(row, weight)
        if k >= 0:
            out = out + lora.lora_update(row, A[k], B[k], alpha)
        outputs.append(out)
    return torch.stack(outputs)


def mixed_by_groups(x, weight, A, B, alpha, adapter):
    out = x @ weight.T
    for k in adapter.unique().tolist():
        if k != -1:
            rows = adapter == k
            out = out.index_add(
                0, rows.nonzero().flatten(), alpha / A.shape[1] * x[rows] @ A[k].T @ B[k].T
            )
    return out


def mixed_by_bmm(x, weight, A, B, alpha, adapter):
    chosen = adapter.clamp(min=0)
    update = torch.bmm(torch.bmm(x, A[chosen].transpose(1, 2)), B[chosen].transpose(1, 2))
    return torch.where(
        (adapter == -1)[:, None, None], x @ weight.T, x @ weight.T + alpha / B.shape[-1] * update
    )


def mixed_by_weights(x, weight, A, B, alpha, adapter):
    scale = torch.where(adapter < 0, 0.0, alpha / A.size(1))
    weights = weight + scale[:, None, None] * (B[adapter] @ A[adapter])
    return torch.einsum("btd,bod->bto", x, weights)


def mixed_by_a_base_that_adds_nothing(x, weight, A, B, alpha, adapter):
    A = torch.cat([A, torch.zeros(1, *A.shape[1:])])  # at the end, where -1 looks for it
    B = torch.cat([B, torch.zeros(1, *B.shape[1:])])
    return F.linear(x, weight) + x @ A[adapter].mT @ B[adapter].mT * alpha / A.shape[1]


def mixed_by_one_hot(x, weight, A, B, alpha, adapter):
    chosen = (adapter[:, None] == torch.arange(len(A))).float() * (alpha / A.shape[1])
    return x @ weight.T + torch.einsum("btd,krd,kor,bk->bto", x, A, B, chosen)


def mixed_in_double(x, weight, A, B, alpha, adapter):
    out = x.double() @ weight.double().T
    some = adapter >= 0
    k = adapter[some]
    update = x[some].double() @ A[k].double().mT @ B[k].double().mT
    return out.index_put((some.nonzero().flatten(),), update * alpha / A.shape[1], accumulate=True)


def signal_by_counting(success, size):
    kinds = sum(
        math.comb(size, wins) * success**wins * (1 - success) ** (size - wins)
        for wins in range(1, size)
    )
    return torch.as_tensor(kinds, dtype=torch.float).expand(len(success)).mean()


def signal_by_a_loop(success, size):
    shares = [1 - p**size - (1 - p) ** size for p in success.tolist()]
    return sum(shares) / len(shares)


def signal_by_logarithms(success, size):
    success = success.double()
    flat = (size * success.log()).exp() + (size * torch.log1p(-success)).exp()
    return -(flat - 1).mean()


def signal_by_numpy(success, size):
    p = success.numpy().astype(float)
    return 1 - np.mean(p**size + np.power(1 - p, size))


def signal_by_the_first_that_differs(success, size):
    """The first response succeeds and not all others do, or it fails and not all others do."""
    p, rest = success, size - 1
    return torch.mean(p * (1 - p**rest) + (1 - p) * (1 - (1 - p) ** rest)).reshape(1)


def signal_by_products(success, size):
    every = torch.ones_like(success)
    none = torch.ones_like(success)
    for _ in range(size):
        every, none = every * success, none * (1 - success)
    return torch.sum(1 - every - none) / len(success)


def interval_by_numpy(first, second, quantile):
    gaps = np.array(first, dtype=float) - np.array(second, dtype=float)
    return gaps.mean(), quantile * gaps.std(ddof=1) / np.sqrt(len(gaps))


def interval_by_torch(first, second, quantile):
    gaps = torch.tensor(first).double() - torch.tensor(second).double()
    return torch.stack([gaps.mean(), quantile * gaps.std() / len(gaps) ** 0.5])


def interval_by_hand(first, second, quantile):
    if len(first) != len(second):
        raise ValueError("a seed has no partner")
    n = len(first)
    gaps = [first[i] - second[i] for i in range(n)]
    mean = sum(gaps) / n
    squares = sum((gap - mean) ** 2 for gap in gaps)
    return [mean, quantile * math.sqrt(squares / (n - 1) / n)]


def interval_by_a_population(first, second, quantile):
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    error = statistics.pstdev(gaps) / math.sqrt(len(gaps) - 1)
    return statistics.mean(gaps), quantile * error


def interval_by_covariance(first, second, quantile):
    mean = statistics.fmean(first) - statistics.fmean(second)
    together = statistics.variance(first) + statistics.variance(second)
    variance = together - 2 * statistics.covariance(first, second)
    return mean, quantile * math.sqrt(max(variance, 0) / len(first))


def interval_by_pairs_of_seeds(first, second, quantile):
    assert len(first) == len(second), "one result of each for every seed"
    gaps = torch.tensor([a - b for a, b in zip(first, second)], dtype=torch.double)
    n = len(gaps)
    variance = (gaps[:, None] - gaps).square().sum() / (2 * n * (n - 1))
    return gaps.mean().item(), quantile * (variance / n).sqrt()


RIGHT = {
    "pipelines.begin_stage": [
        begin_with_a_new_a,
        begin_with_lora_itself,
        begin_with_zero_in_a,
        begin_with_ones,
        begin_in_double,
        begin_with_parameters,
        begin_at_right_angles,
    ],
    "pipelines.mixed_batch": [
        mixed_row_by_row,
        mixed_by_groups,
        mixed_by_bmm,
        mixed_by_weights,
        mixed_by_a_base_that_adds_nothing,
        mixed_by_one_hot,
        mixed_in_double,
    ],
    "pipelines.with_signal": [
        signal_by_counting,
        signal_by_a_loop,
        signal_by_logarithms,
        signal_by_numpy,
        signal_by_the_first_that_differs,
        signal_by_products,
    ],
    "pipelines.paired_interval": [
        interval_by_numpy,
        interval_by_torch,
        interval_by_hand,
        interval_by_a_population,
        interval_by_covariance,
        interval_by_pairs_of_seeds,
    ],
}
