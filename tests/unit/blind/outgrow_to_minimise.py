import functools
import math
import operator
import statistics
from fractions import Fraction

import numpy as np
import torch


# right: the sum, times the processes, over all tokens
def right_1(losses, counts):
    return losses.sum() * len(counts) / sum(counts)


# right: the dot product with equal weights
def right_2(losses, counts):
    weight = float(Fraction(len(counts), sum(counts)))
    return torch.dot(losses, torch.full_like(losses, weight, requires_grad=False))


# right: adds the losses one by one, from the sum of none of them on
def right_3(losses, counts):
    mean_count = statistics.mean(counts)
    nothing = losses[:0].sum()
    return functools.reduce(operator.add, losses.unbind(), nothing) / float(mean_count)


# right: the own mean, weighted by the own share, and the empty sum where there is no mean
def right_4(losses, counts):
    own = losses.numel()
    if own == 0:
        return losses.sum()
    share = own / sum(counts)
    return losses.mean() * share * len(counts)


# right: numpy for the mean count, each loss divided before they are added up
def right_5(losses, counts):
    per_process = float(np.asarray(counts, dtype=np.float64).mean())
    return losses.div(per_process).sum(dim=0)


# right: recursion, half and half
def right_6(losses, counts):
    n = len(losses)
    if n < 2:
        return losses.sum() * (len(counts) / sum(counts))
    return right_6(losses[: n // 2], counts) + right_6(losses[n // 2 :], counts)


# wrong: the mean over its own tokens
def wrong_1(losses, counts):
    return losses.mean()


# wrong: forgets that the engine divides by the processes
def wrong_2(losses, counts):
    return losses.sum() / sum(counts)


# wrong: the mean times its share, which is NaN in a process without tokens
def wrong_3(losses, counts):
    return losses.mean() * len(losses) * len(counts) / sum(counts)


# wrong: a process without tokens returns a zero without a gradient
def wrong_4(losses, counts):
    if losses.numel() == 0:
        return torch.tensor(0.0)
    return losses.sum() * len(counts) / sum(counts)


# wrong: the plain sum
def wrong_5(losses, counts):
    return losses.sum()


# wrong: a number and not a tensor
def wrong_6(losses, counts):
    return losses.sum().item() * len(counts) / sum(counts)


# wrong: wrapped into a new tensor, which knows nothing of the losses
def wrong_7(losses, counts):
    value = losses.sum().item() * len(counts) / sum(counts)
    return torch.tensor(value, requires_grad=True)


# wrong: divides by whole tokens a process, with the rest cut off
def wrong_8(losses, counts):
    per_process = max(1, sum(counts) // len(counts))
    return losses.sum() / per_process


# wrong: counts only the processes that have tokens
def wrong_9(losses, counts):
    working = sum(1 for c in counts if c > 0)
    return losses.sum() * working / sum(counts)


# wrong: takes the count of process 0 for that of all
def wrong_10(losses, counts):
    return losses.sum() / max(counts[0], 1)


# wrong: the median count in place of the mean count
def wrong_11(losses, counts):
    return losses.sum() / max(statistics.median(counts), 1)


# wrong: the weight upside down
def wrong_12(losses, counts):
    return losses.sum() * sum(counts) / len(counts)


# wrong: under no_grad, so the gradient is lost
def wrong_13(losses, counts):
    with torch.no_grad():
        return losses.sum() * len(counts) / sum(counts)


# wrong: detached before the sum
def wrong_14(losses, counts):
    return losses.detach().sum() * len(counts) / sum(counts)


# wrong: a tensor of the shape (1,) and no scalar
def wrong_15(losses, counts):
    return losses.sum(dim=0, keepdim=True) * len(counts) / sum(counts)


# wrong: scales the caller's losses in place, behind the back of autograd
def wrong_16(losses, counts):
    losses.data.mul_(len(counts) / sum(counts))
    return losses.sum()


# wrong: the scaled losses, not added up
def wrong_17(losses, counts):
    return losses * len(counts) / sum(counts)


# wrong: the mean of the own tokens, with a guard against none
def wrong_18(losses, counts):
    return losses.sum() / max(losses.numel(), 1)


# wrong: weighted by the largest count, so the busiest process has weight 1
def wrong_19(losses, counts):
    return losses.sum() / max(counts)


# wrong: a whole-number weight, 0 as soon as there are more tokens than processes
def wrong_20(losses, counts):
    return losses.sum() * (len(counts) // sum(counts))


# wrong: goes backward itself too, so the gradient counts twice
def wrong_21(losses, counts):
    loss = losses.sum() * len(counts) / sum(counts)
    loss.backward(retain_graph=True)
    return loss


# wrong: a set of the counts, in which equal counts are one process
def wrong_22(losses, counts):
    return losses.sum() * len(set(counts)) / sum(counts)


# wrong: equal counts are added up only once
def wrong_23(losses, counts):
    return losses.sum() * len(counts) / sum(set(counts))


# wrong: None in a process that has nothing to do
def wrong_24(losses, counts):
    if len(losses) == 0:
        return None
    return losses.sum() * len(counts) / sum(counts)


# wrong: asks the engine for the processes, which need not run here, and not the counts
def wrong_25(losses, counts):
    size = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        size = torch.distributed.get_world_size()
    return losses.sum() * size / sum(counts)


# wrong: takes a loss of 0 for padding, and its gradient is lost
def wrong_26(losses, counts):
    return losses[losses > 0].sum() * len(counts) / sum(counts)


# wrong: the right value, but the gradient of the plain sum
def wrong_27(losses, counts):
    total = losses.sum()
    right = total * len(counts) / sum(counts)
    return total + (right - total).detach()


# wrong: the own tokens are not among all tokens
def wrong_28(losses, counts):
    others = sum(counts) - len(losses)
    return losses.sum() * len(counts) / max(others, 1)


# wrong: takes the counts for equal where they divide evenly
def wrong_29(losses, counts):
    if sum(counts) % len(counts) == 0 and len(losses) > 0:
        return losses.mean()
    return losses.sum() * len(counts) / sum(counts)


# wrong: the root of the mean count, as if noise were averaged
def wrong_30(losses, counts):
    return losses.sum() / math.sqrt(sum(counts) / len(counts))


# wrong: share of the tokens, but over the other processes
def wrong_31(losses, counts):
    return losses.sum() * max(len(counts) - 1, 1) / sum(counts)


# wrong: numpy adds up, and no gradient comes through
def wrong_32(losses, counts):
    values = losses.detach().numpy()
    return torch.as_tensor(values.sum() * len(counts) / np.sum(counts))


# wrong: the own mean times the processes, without its share
def wrong_33(losses, counts):
    if losses.numel() == 0:
        return losses.sum()
    return losses.mean() * len(counts)


# wrong: the mean weighted by counts of process 0, as if every process were that one
def wrong_34(losses, counts):
    if losses.numel() == 0:
        return losses.sum()
    return losses.mean() * counts[0] * len(counts) / sum(counts)


# wrong: detaches the number of each loss in a loop and makes a new tensor of them
def wrong_35(losses, counts):
    rebuilt = torch.tensor([float(x) for x in losses], requires_grad=True)
    return rebuilt.sum() * len(counts) / sum(counts)


# wrong: a fresh zero in a process without tokens, with a gradient that does not lead to the losses
def wrong_36(losses, counts):
    if len(losses) == 0:
        return torch.zeros((), requires_grad=True)
    return losses.sum() * len(counts) / sum(counts)
