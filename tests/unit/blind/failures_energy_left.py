import numpy as np
import torch


# right: the squared singular values from the rank on, over all of them
def right_1(change, rank):
    values = torch.linalg.svdvals(change.detach().double())
    if values.numel() == 0 or values[0] == 0:
        return 0.0
    energy = (values / values[0]) ** 2
    return (energy[rank:].sum() / energy.sum()).item()


# right: the smallest eigenvalues of the smaller Gram matrix, over its trace
def right_2(change, rank):
    matrix = change.detach().double()
    if not matrix.any():
        return 0.0
    matrix = matrix / matrix.abs().max()
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = matrix @ matrix.T
    ascending = torch.linalg.eigvalsh(gram)
    missed = ascending[: max(len(ascending) - rank, 0)].sum() / gram.trace()
    return min(max(missed.item(), 0.0), 1.0)


# right: builds the approximation and measures what is left of the matrix
def right_3(change, rank):
    matrix = change.detach().double()
    norm = torch.linalg.norm(matrix)
    if norm == 0:
        return 0.0
    u, s, vh = torch.linalg.svd(matrix / norm, full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vh[:rank]
    return min(((matrix / norm - best) ** 2).sum().item(), 1.0)


# right: numpy, taking the best layer of rank 1 off again and again
def right_4(change, rank):
    left = np.array(change.detach().cpu().double().numpy())
    total = np.linalg.norm(left)
    if total == 0:
        return 0.0
    left = left / total
    for _ in range(min(rank, *left.shape)):
        u, s, vh = np.linalg.svd(left, full_matrices=False)
        left = left - s[0] * np.outer(u[:, 0], vh[0])
    return float(min(np.sum(left**2), 1.0))


# wrong: adds the singular values without squaring them
def wrong_1(change, rank):
    values = torch.linalg.svdvals(change)
    if values.sum() == 0:
        return 0.0
    return (values[rank:].sum() / values.sum()).item()


# wrong: returns the share that is kept and not the share that is missed
def wrong_2(change, rank):
    energy = torch.linalg.svdvals(change) ** 2
    if energy.sum() == 0:
        return 0.0
    return (energy[:rank].sum() / energy.sum()).item()


# wrong: divides 0 by 0 for a matrix of zeros, which is NaN
def wrong_3(change, rank):
    energy = torch.linalg.svdvals(change) ** 2
    return (energy[rank:].sum() / energy.sum()).item()


# wrong: starts one too far, so one more singular value is kept than the rank allows
def wrong_4(change, rank):
    energy = torch.linalg.svdvals(change) ** 2
    if energy.sum() == 0:
        return 0.0
    return (energy[rank + 1 :].sum() / energy.sum()).item()


# wrong: the root of the share, which is the relative error in the Frobenius norm
def wrong_5(change, rank):
    u, s, vh = torch.linalg.svd(change, full_matrices=False)
    best = u[:, :rank] @ torch.diag(s[:rank]) @ vh[:rank]
    norm = torch.linalg.norm(change)
    return (torch.linalg.norm(change - best) / norm).item() if norm > 0 else 0.0


# wrong: takes the ascending eigenvalues of the Gram matrix for descending ones, so it keeps the smallest
def wrong_6(change, rank):
    gram = change.T @ change if change.shape[1] <= change.shape[0] else change @ change.T
    energy = torch.linalg.eigvalsh(gram).clamp_min(0)
    if energy.sum() == 0:
        return 0.0
    return (energy[rank:].sum() / energy.sum()).item()


# wrong: keeps the first columns of the matrix itself and counts the others as missed
def wrong_7(change, rank):
    total = (change**2).sum()
    if total == 0:
        return 0.0
    return ((change[:, rank:] ** 2).sum() / total).item()


# wrong: only the first missed singular value against the largest, which is the error in the spectral norm
def wrong_8(change, rank):
    values = torch.linalg.svdvals(change)
    if rank >= len(values) or values[0] == 0:
        return 0.0
    return ((values[rank] / values[0]) ** 2).item()


# wrong: takes the mean of each column off first, as a principal component analysis does
def wrong_9(change, rank):
    energy = torch.linalg.svdvals(change - change.mean(0, keepdim=True)) ** 2
    if energy.sum() == 0:
        return 0.0
    return (energy[rank:].sum() / energy.sum()).item()


# wrong: squares the eigenvalues of the Gram matrix, which are squares already
def wrong_10(change, rank):
    gram = change.T @ change if change.shape[1] <= change.shape[0] else change @ change.T
    energy = torch.linalg.eigvalsh(gram).flip(0) ** 2
    if energy.sum() == 0:
        return 0.0
    return (energy[rank:].sum() / energy.sum()).item()


# wrong: the missed squares themselves, not divided by all of them
def wrong_11(change, rank):
    return (torch.linalg.svdvals(change)[rank:] ** 2).sum().item()


# wrong: topk raises an error for a rank larger than the shorter side
def wrong_12(change, rank):
    energy = torch.linalg.svdvals(change) ** 2
    if energy.sum() == 0:
        return 0.0
    return max(1 - (energy.topk(rank).values.sum() / energy.sum()).item(), 0.0)


# wrong: makes a rank of 0 a rank of 1
def wrong_13(change, rank):
    energy = torch.linalg.svdvals(change) ** 2
    if energy.sum() == 0:
        return 0.0
    return (energy[max(rank, 1) :].sum() / energy.sum()).item()


# wrong: takes Vh for V and transposes it once more, which is another matrix or, if not square, an error
def wrong_14(change, rank):
    total = (change**2).sum()
    if total == 0:
        return 0.0
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    best = u[:, :rank] @ torch.diag(s[:rank]) @ v[:, :rank].T
    return (((change - best) ** 2).sum() / total).item()
