import numpy as np
import torch


# right: the group's sum minus the own score, divided by size - 1
def right_1(scores, size):
    groups = scores.reshape(-1, size)
    others = (groups.sum(1, keepdim=True) - groups) / (size - 1)
    return (groups - others).reshape(-1)


# right: the centred score times size / (size - 1) is the same number
def right_2(scores, size):
    groups = scores.reshape(-1, size)
    return ((groups - groups.mean(1, keepdim=True)) * (size / (size - 1))).reshape(-1)


# right: numpy in double precision, each response left out by np.delete
def right_3(scores, size):
    values = scores.detach().cpu().double().numpy()
    out = np.empty_like(values)
    for i in range(len(values)):
        start = i - i % size
        out[i] = values[i] - np.delete(values[start : start + size], i - start).mean()
    return torch.from_numpy(out).to(scores)


# right: a matrix with 1 on the diagonal and -1 / (size - 1) elsewhere, by einsum
def right_4(scores, size):
    eye = torch.eye(size, dtype=torch.float64, device=scores.device)
    weights = eye - (1 - eye) / (size - 1)
    groups = scores.double().reshape(-1, size)
    return torch.einsum("gj,ij->gi", groups, weights).reshape(-1).to(scores.dtype)


# wrong: minus the mean of the whole group, the own score among it
def wrong_1(scores, size):
    groups = scores.reshape(-1, size)
    return (groups - groups.mean(1, keepdim=True)).reshape(-1)


# wrong: the others' sum is divided by size and not by size - 1
def wrong_2(scores, size):
    groups = scores.reshape(-1, size)
    others = (groups.sum(1, keepdim=True) - groups) / size
    return (groups - others).reshape(-1)


# wrong: divides by size - 1, but the own score is still in the sum
def wrong_3(scores, size):
    groups = scores.reshape(-1, size)
    return (groups - groups.sum(1, keepdim=True) / (size - 1)).reshape(-1)


# wrong: the others are all the others of the batch, which is the same for one group only
def wrong_4(scores, size):
    others = (scores.sum() - scores) / (len(scores) - 1)
    return scores - others


# wrong: the groups are taken to be interleaved, with the columns and not the rows as groups
def wrong_5(scores, size):
    groups = scores.reshape(size, -1)
    others = (groups.sum(0, keepdim=True) - groups) / (size - 1)
    return (groups - others).reshape(-1)


# wrong: works in place on a view and so overwrites the caller's scores
def wrong_6(scores, size):
    groups = scores.view(-1, size)
    groups -= (groups.sum(1, keepdim=True) - groups) / (size - 1)
    return scores


# wrong: the others' mean minus the own score, the sign is turned
def wrong_7(scores, size):
    groups = scores.reshape(-1, size)
    return ((groups.sum(1, keepdim=True) - groups) / (size - 1) - groups).reshape(-1)


# wrong: the others are told by their value, so an equal score of a sibling is left out as well
def wrong_8(scores, size):
    out = []
    for start in range(0, len(scores), size):
        group = scores[start : start + size].tolist()
        for score in group:
            others = [other for other in group if other != score]
            out.append(score - sum(others) / max(len(others), 1))
    return torch.tensor(out, dtype=scores.dtype)
