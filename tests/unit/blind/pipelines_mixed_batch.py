import math

import numpy as np
import torch
import torch.nn.functional as F


# right: clamps the index, two bmm, then a mask on the adapter's share
def right_1(x, weight, A, B, alpha, adapter):
    index = adapter.clamp(min=0).long()
    low = torch.bmm(x, A[index].transpose(1, 2))
    delta = torch.bmm(low, B[index].transpose(1, 2)) * (alpha / A.shape[1])
    on = (adapter >= 0).to(x.dtype).view(-1, 1, 1)
    return F.linear(x, weight) + on * delta


# right: a loop over rows, a list, a stack
def right_2(x, weight, A, B, alpha, adapter):
    rows = []
    for row, k in zip(x, adapter.tolist()):
        out = row @ weight.T
        if k != -1:
            out = out + alpha / A.size(1) * (row @ A[k].T @ B[k].T)
        rows.append(out)
    return torch.stack(rows)


# right: appends an adapter of zeros, so that Python's -1 is the base alone
def right_3(x, weight, A, B, alpha, adapter):
    A0 = torch.cat([A, torch.zeros_like(A[:1])])
    B0 = torch.cat([B, torch.zeros_like(B[:1])])
    i = adapter.long()
    scale = alpha / A.shape[1]
    return x @ weight.T + scale * torch.einsum("btd,brd,bor->bto", x, A0[i], B0[i])


# right: one-hot choice in one einsum, in float64; the row of -1 is all zeros
def right_4(x, weight, A, B, alpha, adapter):
    choice = (adapter[:, None] == torch.arange(A.shape[0], device=adapter.device)).double()
    delta = torch.einsum("bk,kor,krd->bod", choice, B.double(), A.double())
    full = weight.double() + alpha / A.shape[1] * delta
    return (x.double() @ full.transpose(1, 2)).to(x.dtype)


# right: one matmul for each adapter that occurs, added with index_add
def right_5(x, weight, A, B, alpha, adapter):
    out = torch.matmul(x, weight.t())
    for k in adapter.unique().tolist():
        if k < 0:
            continue
        rows = torch.nonzero(adapter == k).flatten()
        delta = F.linear(F.linear(x[rows], A[k]), B[k])
        out = out.index_add(0, rows, delta * (alpha / B.shape[2]))
    return out


# right: computes every adapter for the whole batch and picks with torch.where
def right_6(x, weight, A, B, alpha, adapter):
    base = x @ weight.T
    out = base
    for k in range(len(A)):
        with_k = base + (alpha / A.shape[1]) * (x @ (B[k] @ A[k]).T)
        out = torch.where((adapter == k)[:, None, None], with_k, out)
    return out


# right: writes the rows into the base's output in place (which autograd allows here)
def right_7(x, weight, A, B, alpha, adapter):
    out = F.linear(x, weight)
    has = adapter >= 0
    if has.any():
        chosen = adapter[has].long()
        delta = x[has] @ A[chosen].mT @ B[chosen].mT
        out[has] = out[has] + delta * alpha / A.shape[-2]
    return out


# wrong: A[-1] is the last adapter, not the base
def wrong_1(x, weight, A, B, alpha, adapter):
    i = adapter.long()
    return x @ weight.T + alpha / A.shape[1] * (x @ A[i].mT @ B[i].mT)


# wrong: scales by alpha, not by alpha over rank
def wrong_2(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * alpha * (x @ A[i].mT @ B[i].mT)


# wrong: takes the number of adapters for the rank
def wrong_3(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * (alpha / A.shape[0]) * (x @ A[i].mT @ B[i].mT)


# wrong: takes d_in for the rank
def wrong_4(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * (alpha / A.shape[-1]) * (x @ A[i].mT @ B[i].mT)


# wrong: adapter > 0 leaves adapter 0 out
def wrong_5(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter > 0).float()[:, None, None]
    return x @ weight.T + on * (alpha / A.shape[1]) * (x @ A[i].mT @ B[i].mT)


# wrong: clamps but does not mask, so that -1 gets adapter 0
def wrong_6(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    return x @ weight.T + (alpha / A.shape[1]) * (x @ A[i].mT @ B[i].mT)


# wrong: the mask takes the base's output away as well
def wrong_7(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0).to(x.dtype)[:, None, None]
    return on * (x @ weight.T + (alpha / A.shape[1]) * (x @ A[i].mT @ B[i].mT))


# wrong: the mask has shape (batch, 1) and falls on the time axis
def wrong_8(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0).to(x.dtype)[:, None]
    return x @ weight.T + on * (alpha / A.shape[1]) * (x @ A[i].mT @ B[i].mT)


# wrong: sets the caller's adapter from -1 to 0 in place (the values returned are right)
def wrong_9(x, weight, A, B, alpha, adapter):
    on = (adapter >= 0).to(x.dtype)[:, None, None]
    adapter[adapter < 0] = 0
    i = adapter.long()
    return x @ weight.T + on * (alpha / A.shape[1]) * (x @ A[i].mT @ B[i].mT)


# wrong: a single base row turns the adapters off for the whole batch
def wrong_10(x, weight, A, B, alpha, adapter):
    base = x @ weight.T
    if (adapter == -1).any():
        return base
    i = adapter.long()
    return base + (alpha / A.shape[1]) * (x @ A[i].mT @ B[i].mT)


# wrong: fills an output under no_grad, so that no gradient arrives
def wrong_11(x, weight, A, B, alpha, adapter):
    with torch.no_grad():
        out = torch.empty(*x.shape[:2], weight.shape[0], dtype=x.dtype)
        for b in range(x.shape[0]):
            out[b] = x[b] @ weight.T
            k = int(adapter[b])
            if k >= 0:
                out[b] += alpha / A.shape[1] * (x[b] @ A[k].T @ B[k].T)
    return out


# wrong: merges with B.data, so that B gets no gradient (x and A do)
def wrong_12(x, weight, A, B, alpha, adapter):
    rows = []
    for b in range(x.shape[0]):
        k = int(adapter[b])
        w = weight if k < 0 else weight + alpha / A.shape[1] * (B.data[k] @ A[k])
        rows.append(x[b] @ w.T)
    return torch.stack(rows)


# wrong: puts the zero adapter in front but forgets to add 1 to the index
def wrong_13(x, weight, A, B, alpha, adapter):
    A0 = torch.cat([torch.zeros_like(A[:1]), A])
    B0 = torch.cat([torch.zeros_like(B[:1]), B])
    i = adapter.long()
    return x @ weight.T + (alpha / A.shape[1]) * (x @ A0[i].mT @ B0[i].mT)


# wrong: scales the base too
def wrong_14(x, weight, A, B, alpha, adapter):
    scale = alpha / A.shape[1]
    rows = []
    for b in range(x.shape[0]):
        k = int(adapter[b])
        base = x[b] @ weight.T
        rows.append(base if k < 0 else scale * (base + x[b] @ A[k].T @ B[k].T))
    return torch.stack(rows)


# wrong: the scale is applied to A and to B, so twice
def wrong_15(x, weight, A, B, alpha, adapter):
    scale = alpha / A.shape[1]
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * (x @ (scale * A[i]).mT @ (scale * B[i]).mT)


# wrong: integer division of alpha by the rank
def wrong_16(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * (alpha // A.shape[1]) * (x @ A[i].mT @ B[i].mT)


# wrong: reshapes where it should transpose (no error, mixed up numbers)
def wrong_17(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    n, r, d = A.shape
    low = torch.bmm(x, A[i].reshape(-1, d, r))
    delta = torch.bmm(low, B[i].reshape(-1, r, B.shape[1]))
    return x @ weight.T + on * (alpha / r) * delta


# wrong: merges into the weight in place: adapters pile up from row to row, the weight is changed
def wrong_18(x, weight, A, B, alpha, adapter):
    rows = []
    for b in range(x.shape[0]):
        w = weight.detach()
        k = int(adapter[b])
        if k >= 0:
            w += (alpha / A.shape[1] * (B[k] @ A[k])).detach()
        live = 0 if k < 0 else alpha / A.shape[1] * (B[k] @ A[k] - (B[k] @ A[k]).detach())
        rows.append(x[b] @ (w.clone() + live).T)
    return torch.stack(rows)


# wrong: the loop over adapters ends before the last that occurs
def wrong_19(x, weight, A, B, alpha, adapter):
    out = x @ weight.T
    for k in range(int(adapter.max())):
        on = (adapter == k)[:, None, None]
        out = out + on * (alpha / A.shape[1]) * (x @ A[k].T @ B[k].T)
    return out


# wrong: groups by adapter and concatenates without going back to the old order
def wrong_20(x, weight, A, B, alpha, adapter):
    parts = []
    for k in adapter.unique().tolist():
        rows = x[adapter == k]
        out = rows @ weight.T
        if k >= 0:
            out = out + alpha / A.shape[1] * (rows @ A[k].T @ B[k].T)
        parts.append(out)
    return torch.cat(parts)


# wrong: sums over time on the way to the rank, right only for one time step
def wrong_21(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    low = torch.einsum("btd,brd->br", x, A[i])
    delta = torch.einsum("br,bor->bo", low, B[i])
    return x @ weight.T + on * (alpha / A.shape[1]) * delta[:, None]


# wrong: squeeze drops every axis of size 1 (a batch of one, one time step, ...)
def wrong_22(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    delta = x @ A[i].mT @ B[i].mT
    return (x @ weight.T + on * (alpha / A.shape[1]) * delta).squeeze()


# wrong: uses the first row's adapter for the whole batch
def wrong_23(x, weight, A, B, alpha, adapter):
    base = x @ weight.T
    k = int(adapter[0])
    if k < 0:
        return base
    return base + (alpha / A.shape[1]) * (x @ A[k].T @ B[k].T)


# wrong: takes the adapters in the order of the rows, row b has adapter b
def wrong_24(x, weight, A, B, alpha, adapter):
    rows = []
    for b in range(x.shape[0]):
        out = x[b] @ weight.T
        if adapter[b] >= 0:
            k = b % len(A)
            out = out + alpha / A.shape[1] * (x[b] @ A[k].T @ B[k].T)
        rows.append(out)
    return torch.stack(rows)


# wrong: numpy on the way, values right and all gradients lost but the base's for x
def wrong_25(x, weight, A, B, alpha, adapter):
    a, b, xs = A.detach().numpy(), B.detach().numpy(), x.detach().numpy()
    delta = np.zeros((*x.shape[:2], weight.shape[0]), dtype=xs.dtype)
    for j, k in enumerate(adapter.tolist()):
        if k >= 0:
            delta[j] = alpha / a.shape[1] * (xs[j] @ a[k].T @ b[k].T)
    return x @ weight.T + torch.from_numpy(delta)


# wrong: the adapter's branch sees x.detach(): A and B learn, x misses a part of its gradient
def wrong_26(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * (alpha / A.shape[1]) * (x.detach() @ A[i].mT @ B[i].mT)


# wrong: rank-stabilised scale, alpha over the root of the rank (right for rank 1)
def wrong_27(x, weight, A, B, alpha, adapter):
    i = adapter.clamp(min=0).long()
    on = (adapter >= 0)[:, None, None]
    return x @ weight.T + on * (alpha / math.sqrt(A.shape[1])) * (x @ A[i].mT @ B[i].mT)


# wrong: zeroes the last adapter in a copy so that A[-1] is nothing; rows that ask for it by its number lose it
def wrong_28(x, weight, A, B, alpha, adapter):
    keep = torch.ones(len(B), 1, 1, dtype=B.dtype)
    if (adapter < 0).any():
        keep[-1] = 0
    i = adapter.long()
    return x @ weight.T + (alpha / A.shape[1]) * (x @ A[i].mT @ (B * keep)[i].mT)
