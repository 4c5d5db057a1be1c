"""Right solutions of lab 10's exercises."""

import itertools
import math
import statistics

import numpy as np
import torch
import torch.nn.functional as F


def forward_by_a_table(logits, labels, noise):
    log_probs = logits.log_softmax(1)
    return F.nll_loss((log_probs[:, :, None] + noise.log()).logsumexp(1), labels)


def forward_by_loops(logits, labels, noise):
    losses = []
    for row, label in zip(logits, labels.tolist()):
        ways = [
            row[k] + math.log(noise[k, label])
            for k in range(len(row))
            if noise[k, label] > 0  # the others do not lead to this label
        ]
        losses.append(torch.logsumexp(row, 0) - torch.logsumexp(torch.stack(ways), 0))
    return sum(losses) / len(losses)


def forward_by_a_difference_in_double(logits, labels, noise):
    logits = logits.double()
    seen = logits + noise.double().log()[:, labels].T
    return (logits.logsumexp(-1) - seen.logsumexp(-1)).mean()


def forward_by_shifting(logits, labels, noise):
    weights = noise.T[labels]
    highest = logits.masked_fill(weights == 0, -math.inf).amax(-1, keepdim=True).detach()
    shifted = (logits - highest).where(weights > 0, 0).exp()
    seen = (weights * shifted).sum(-1).log() + highest[:, 0]
    return -torch.sum(seen - logits.logsumexp(-1)) / len(labels)


def forward_by_cross_entropy(logits, labels, noise):
    said = F.log_softmax(logits, dim=1).unsqueeze(2) + torch.log(noise).unsqueeze(0)
    return F.cross_entropy(torch.logsumexp(said, dim=1), labels)


def forward_by_picking(logits, labels, noise):
    rows = torch.arange(len(labels))
    joint = torch.log_softmax(logits, -1)[:, :, None] + noise.log()[None]
    return joint.logsumexp(1)[rows, labels].neg().mean()


def energy_of_the_residual(change, rank):
    if not change.any():
        return 0.0
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    return ((change - best).square().sum() / change.square().sum()).item()


def energy_by_numpy(change, rank):
    energies = np.linalg.svd(change.numpy(), compute_uv=False) ** 2
    return energies[rank:].sum() / energies.sum() if energies.any() else 0


def energy_by_eigenvalues(change, rank):
    change = change.double()
    energies = torch.linalg.eigvalsh(change @ change.T).flip(0)
    return energies[rank:].sum() / energies.sum() if change.any() else torch.zeros(1)


def energy_by_what_is_kept(change, rank):
    everything = float((change.double() ** 2).sum())
    if everything == 0:
        return 0.0
    kept = torch.linalg.matrix_norm(change.double(), 2).item() ** 2 if rank == 1 else None
    if kept is None:
        kept = sum(value**2 for value in torch.linalg.svdvals(change).tolist()[:rank])
    return 1 - kept / everything


def energy_by_taking_away(change, rank):
    rest, whole = change.double().clone(), change.double().norm().item() ** 2
    for _ in range(min(rank, *change.shape)):
        left, values, right = torch.linalg.svd(rest, full_matrices=False)
        rest -= values[0] * torch.outer(left[:, 0], right[0])
    return rest.norm().item() ** 2 / whole if whole > 0 else 0.0


def cautious_by_loops(scores, weight):
    told = []
    for response in range(scores.shape[1]):
        column = [scores[model, response].item() for model in range(len(scores))]
        mean = sum(column) / len(column)
        told.append(mean - weight * sum((one - mean) ** 2 for one in column) / len(column))
    return torch.tensor(told)


def cautious_by_numpy(scores, weight):
    return scores.numpy().mean(0) - weight * scores.numpy().var(0)


def cautious_by_squares_in_double(scores, weight):
    scores = scores.double()
    mean = scores.mean(0)
    return mean - weight * (scores.square().mean(0) - mean.square())


def cautious_by_pairs(scores, weight):
    distances = (scores[:, None] - scores[None]).square().mean((0, 1))
    return torch.einsum("mb->b", scores) / len(scores) - weight * distances / 2


def cautious_by_statistics(scores, weight):
    columns = scores.T.tolist()
    return [statistics.fmean(one) - weight * statistics.pvariance(one) for one in columns]


def cautious_by_var_mean(scores, weight):
    variance, mean = torch.var_mean(scores, dim=0, correction=0)
    return torch.sub(mean, variance, alpha=weight)


def steps_by_takewhile(kl, budget):
    return len(list(itertools.takewhile(lambda nats: nats <= budget, kl)))


def steps_by_numpy(kl, budget):
    return np.argmax(np.append(np.array(kl) > budget, True))


def steps_by_a_loop(kl, budget):
    steps = 0
    while steps < len(kl) and kl[steps] <= budget:
        steps += 1
    return steps


def steps_by_recursion(kl, budget):
    if not kl or kl[0] > budget:
        return 0
    return 1 + steps_by_recursion(kl[1:], budget)


def steps_by_the_largest_so_far(kl, budget):
    return sum(highest <= budget for highest in itertools.accumulate(kl, max))


def steps_by_torch(kl, budget):
    return (torch.tensor(kl, dtype=torch.double) <= budget).cumprod(0).sum()


def steps_from_the_end(kl, budget):
    told = len(kl)
    for step in reversed(range(len(kl))):
        if kl[step] > budget:
            told = step
    return float(told)


RIGHT = {
    "failures.forward_loss": [
        forward_by_a_table,
        forward_by_loops,
        forward_by_a_difference_in_double,
        forward_by_shifting,
        forward_by_cross_entropy,
        forward_by_picking,
    ],
    "failures.energy_left": [
        energy_of_the_residual,
        energy_by_numpy,
        energy_by_eigenvalues,
        energy_by_what_is_kept,
        energy_by_taking_away,
    ],
    "failures.cautious": [
        cautious_by_loops,
        cautious_by_numpy,
        cautious_by_squares_in_double,
        cautious_by_pairs,
        cautious_by_statistics,
        cautious_by_var_mean,
    ],
    "failures.stop_at": [
        steps_by_takewhile,
        steps_by_numpy,
        steps_by_a_loop,
        steps_by_recursion,
        steps_by_the_largest_so_far,
        steps_by_torch,
        steps_from_the_end,
    ],
}
