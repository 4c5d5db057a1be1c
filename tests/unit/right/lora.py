"""Right solutions of lab 02's exercises."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from methods import lora
from torch import nn


def start_small(d_out, d_in, rank):
    return torch.randn(rank, d_in) * 0.01, torch.zeros(d_out, rank)


def start_over_rank(d_out, d_in, rank):
    return torch.randn(rank, d_in) / rank, torch.zeros(d_out, rank)


def start_kaiming(d_out, d_in, rank):
    A, B = nn.Parameter(torch.empty(rank, d_in)), nn.Parameter(torch.zeros(d_out, rank))
    nn.init.kaiming_uniform_(A, a=math.sqrt(5))
    return A, B


def start_orthogonal(d_out, d_in, rank):
    return [nn.init.orthogonal_(torch.empty(rank, d_in)), torch.zeros(d_out, rank)]


def start_through_layers(d_out, d_in, rank):
    down, up = nn.Linear(d_in, rank, bias=False), nn.Linear(rank, d_out, bias=False)
    nn.init.zeros_(up.weight)
    return down.weight, up.weight


def start_uniform(d_out, d_in, rank):
    return (torch.rand(rank, d_in) * 2 - 1) / rank**0.5, torch.randn(d_out, rank) * 0


def start_in_double(d_out, d_in, rank):
    return torch.randn(rank, d_in, dtype=torch.float64) * 0.02, torch.zeros(
        d_out, rank, dtype=torch.float64
    )


def update_by_linear(x, A, B, alpha):
    return F.linear(F.linear(x, A), B) * alpha / A.shape[0]


def update_by_the_product(x, A, B, alpha):
    delta = alpha / B.shape[1] * B @ A
    return x @ delta.T


def update_by_einsum(x, A, B, alpha):
    return torch.einsum("...d,rd,or->...o", x, A, B) * (alpha / A.size(0))


def update_scaled_first(x, A, B, alpha):
    scale = alpha / B.size(-1)
    hidden = torch.matmul(x * scale, A.transpose(0, 1))
    return torch.matmul(hidden, B.t())


def update_in_double(x, A, B, alpha):
    return (x.double() @ A.double().mT) @ B.double().mT * (alpha / len(A))


def update_row_by_row(x, A, B, alpha):
    flat = x.reshape(-1, x.shape[-1])
    return (
        torch.stack([B @ (A @ row) for row in flat])
        .reshape(*x.shape[:-1], len(B))
        .mul(alpha / len(A))
    )


def count_separately(d_out, d_in, rank):
    a = rank * d_in
    b = d_out * rank
    return a + b


def count_by_tensors(d_out, d_in, rank):
    return sum(matrix.numel() for matrix in lora.initialise(d_out, d_in, rank))


def count_by_numpy(d_out, d_in, rank):
    return np.int64(rank) * np.add(d_out, d_in)


def count_as_tensor(d_out, d_in, rank):
    return torch.tensor([rank * d_in, rank * d_out]).sum()


def count_by_layers(d_out, d_in, rank):
    adapter = nn.Sequential(nn.Linear(d_in, rank, bias=False), nn.Linear(rank, d_out, bias=False))
    return sum(p.numel() for p in adapter.parameters())


def merge_by_addmm(weight, A, B, alpha):
    return torch.addmm(weight, B, A, alpha=alpha / A.size(0))


def merge_a_copy(weight, A, B, alpha):
    merged = weight.detach().clone()
    merged += (alpha / B.shape[1]) * (B @ A)
    return merged


def merge_by_einsum(weight, A, B, alpha):
    return weight + alpha * torch.einsum("or,rd->od", B, A) / A.shape[0]


def merge_in_double(weight, A, B, alpha):
    return weight.double() + (alpha / len(A)) * B.double() @ A.double()


def merge_as_parameter(weight, A, B, alpha):
    return nn.Parameter(weight + (alpha / len(A) * B) @ A)


def merge_through_the_update(weight, A, B, alpha):
    return weight + lora.lora_update(torch.eye(weight.shape[1]), A, B, alpha).T


def freeze_by_names(model, name):
    for path, p in model.named_parameters():
        p.requires_grad = path.endswith((f".A.{name}", f".B.{name}"))


def freeze_by_last_part(model, name):
    for path, p in model.named_parameters():
        p.requires_grad_(path.split(".")[-1] == name)


def freeze_by_modules(model, name):
    for p in model.parameters():
        p.requires_grad = False
    for module in model.modules():
        if isinstance(module, lora.LoRALinear):
            for matrices in (module.A, module.B):
                if name in matrices:
                    matrices[name].requires_grad = True


def freeze_by_identity(model, name):
    chosen = {
        id(m[name])
        for layer in lora.layers(model).values()
        for m in (layer.A, layer.B)
        if name in m
    }
    for p in model.parameters():
        p.requires_grad_(id(p) in chosen)
    return model


def unmerge_by_merging(weight, A, B, alpha):
    return lora.merged_weight(weight, -A, B, alpha)


def unmerge_negative_alpha(weight, A, B, alpha):
    return lora.merged_weight(weight, A, B, -alpha)


def unmerge_by_addmm(weight, A, B, alpha):
    return torch.addmm(weight, B, A, alpha=-alpha / len(A))


def unmerge_a_copy(weight, A, B, alpha):
    base = weight.clone()
    base -= (alpha / A.shape[0]) * torch.matmul(B, A)
    return base


def unmerge_in_double(weight, A, B, alpha):
    return (weight.double() - alpha / len(A) * (B.double() @ A.double())).float()


RIGHT = {
    "lora.initialise": [
        start_small,
        start_over_rank,
        start_kaiming,
        start_orthogonal,
        start_through_layers,
        start_uniform,
        start_in_double,
    ],
    "lora.update": [
        update_by_linear,
        update_by_the_product,
        update_by_einsum,
        update_scaled_first,
        update_in_double,
        update_row_by_row,
    ],
    "lora.parameters": [
        count_separately,
        count_by_tensors,
        count_by_numpy,
        count_as_tensor,
        count_by_layers,
    ],
    "lora.merge": [
        merge_by_addmm,
        merge_a_copy,
        merge_by_einsum,
        merge_in_double,
        merge_as_parameter,
        merge_through_the_update,
    ],
    "lora.freeze": [freeze_by_names, freeze_by_last_part, freeze_by_modules, freeze_by_identity],
    "lora.silent_bug": [
        unmerge_by_merging,
        unmerge_negative_alpha,
        unmerge_by_addmm,
        unmerge_a_copy,
        unmerge_in_double,
    ],
}
