import numpy as np
import torch


# right: one group in each row, torch's std is that of a sample
def right_1(scores, size):
    groups = scores.reshape(-1, size)
    mean, std = groups.mean(1, keepdim=True), groups.std(1, keepdim=True)
    return ((groups - mean) / (std + 1e-4)).reshape(-1)


# right: numpy with ddof=1, in double precision
def right_2(scores, size):
    groups = scores.detach().cpu().double().numpy().reshape(-1, size)
    out = groups - groups.mean(axis=1, keepdims=True)
    out = out / (groups.std(axis=1, ddof=1, keepdims=True) + 1e-4)
    return torch.from_numpy(np.ascontiguousarray(out.reshape(-1))).to(scores)


# right: a loop over slices of `size`, the deviation written out, in double precision
def right_3(scores, size):
    parts = []
    for start in range(0, len(scores), size):
        group = scores[start : start + size].double()
        centred = group - group.sum() / size
        parts.append(centred / ((centred**2).sum() / (size - 1)).sqrt().add(1e-4))
    return torch.cat(parts).to(scores.dtype)


# right: mean and deviation from the differences of all pairs, by einsum
def right_4(scores, size):
    groups = scores.double().reshape(-1, size)
    gaps = groups[:, :, None] - groups[:, None, :]
    std = (torch.einsum("gij,gij->g", gaps, gaps) / (2 * size * (size - 1))).sqrt()
    return (gaps.mean(2) / (std[:, None] + 1e-4)).reshape(-1).to(scores.dtype)


# wrong: the deviation of a population, divided by size
def wrong_1(scores, size):
    groups = scores.reshape(-1, size)
    std = groups.std(1, keepdim=True, unbiased=False)
    return ((groups - groups.mean(1, keepdim=True)) / (std + 1e-4)).reshape(-1)


# wrong: groups are taken to be interleaved, which is the same only for one group
def wrong_2(scores, size):
    groups = scores.reshape(size, -1)
    out = (groups - groups.mean(0)) / (groups.std(0) + 1e-4)
    return out.reshape(-1)


# wrong: the mean is the group's, but the deviation is that of the whole batch
def wrong_3(scores, size):
    groups = scores.reshape(-1, size)
    return ((groups - groups.mean(1, keepdim=True)) / (scores.std() + 1e-4)).reshape(-1)


# wrong: 1e-4 is added to the variance, under the root, and not to the deviation
def wrong_4(scores, size):
    groups = scores.reshape(-1, size)
    std = (groups.var(1, keepdim=True) + 1e-4).sqrt()
    return ((groups - groups.mean(1, keepdim=True)) / std).reshape(-1)


# wrong: works in place on a view and so overwrites the caller's scores
def wrong_5(scores, size):
    groups = scores.view(-1, size)
    std = groups.std(1, keepdim=True)
    groups -= groups.mean(1, keepdim=True)
    groups /= std + 1e-4
    return groups.view(-1)


# wrong: nothing is added to the deviation, so a group of equal scores gets nan
def wrong_6(scores, size):
    groups = scores.reshape(-1, size)
    return ((groups - groups.mean(1, keepdim=True)) / groups.std(1, keepdim=True)).reshape(-1)


# wrong: the deviation is held above 1e-4 in place of 1e-4 added to it, which shows where the scores lie close
def wrong_7(scores, size):
    groups = scores.reshape(-1, size)
    std = groups.std(1, keepdim=True).clamp(min=1e-4)
    return ((groups - groups.mean(1, keepdim=True)) / std).reshape(-1)


# wrong: the centred scores are not divided by any deviation, as in Dr. GRPO
def wrong_8(scores, size):
    groups = scores.reshape(-1, size)
    return (groups - groups.mean(1, keepdim=True)).reshape(-1)
