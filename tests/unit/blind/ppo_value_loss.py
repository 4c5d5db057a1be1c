import torch
import torch.nn.functional as F


# right: boolean indexing, then the larger squared error
def right_1(values, old_values, returns, counts, clip):
    v, old, target = values[counts], old_values[counts], returns[counts]
    held = old + (v - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((v - target) ** 2, (held - target) ** 2).mean()


# right: masks the inputs, clamps between tensors, masked_mean of the course
def right_2(values, old_values, returns, counts, clip):
    v, old, target = (x.masked_fill(~counts, 0) for x in (values, old_values, returns))
    held = torch.clamp(v, min=old - clip, max=old + clip)
    worst = torch.max((v - target).square(), (held - target).square())
    return masked_mean(worst / 2, counts)


# right: token by token in plain Python
def right_3(values, old_values, returns, counts, clip):
    def half_square(x):
        return x * x / 2

    terms = []
    for b, t in counts.nonzero().tolist():
        v, old, target = values[b, t], old_values[b, t], returns[b, t]
        held = v
        if v > old + clip:
            held = old + clip
        elif v < old - clip:
            held = old - clip
        a, c = half_square(v - target), half_square(held - target)
        terms.append(a if a >= c else c)
    return torch.stack(terms).mean()


# right: the two errors stacked, largest absolute one, einsum for the sum of squares
def right_4(values, old_values, returns, counts, clip):
    def masked(x):
        return torch.where(counts, x, torch.zeros_like(x))

    v, old, target = masked(values), masked(old_values), masked(returns)
    held = torch.minimum(torch.maximum(v, old - clip), old + clip)
    error = torch.stack([v - target, held - target]).abs().amax(dim=0) * counts
    return torch.einsum("bt,bt->", error, error) / (2 * counts.sum())


# wrong: takes the smaller of the two, as in the policy's objective
def wrong_1(values, old_values, returns, counts, clip):
    v, old, target = values[counts], old_values[counts], returns[counts]
    held = old + (v - old).clamp(-clip, clip)
    return 0.5 * torch.minimum((v - target) ** 2, (held - target) ** 2).mean()


# wrong: holds the value near the return instead of near the old value
def wrong_2(values, old_values, returns, counts, clip):
    v, target = values[counts], returns[counts]
    held = target + (v - target).clamp(-clip, clip)
    return 0.5 * torch.maximum((v - target) ** 2, (held - target) ** 2).mean()


# wrong: squared error of the clipped value alone, without the larger of two
def wrong_3(values, old_values, returns, counts, clip):
    v, old, target = values[counts], old_values[counts], returns[counts]
    held = torch.clamp(v, old - clip, old + clip)
    return 0.5 * F.mse_loss(held, target)


# wrong: averages within each row and then over rows
def wrong_4(values, old_values, returns, counts, clip):
    v, old, target = (x.masked_fill(~counts, 0) for x in (values, old_values, returns))
    held = old + (v - old).clamp(-clip, clip)
    worst = torch.maximum((v - target) ** 2, (held - target) ** 2)
    return 0.5 * (worst.sum(-1) / counts.sum(-1)).mean()


# wrong: takes the larger one of the two means, not of the two errors of each token
def wrong_5(values, old_values, returns, counts, clip):
    v, old, target = values[counts], old_values[counts], returns[counts]
    held = old + (v - old).clamp(-clip, clip)
    return 0.5 * torch.maximum(F.mse_loss(v, target), F.mse_loss(held, target))


# wrong: moves the caller's old values in place (and fails where they are a leaf that requires grad)
def wrong_6(values, old_values, returns, counts, clip):
    move = (values - old_values).clamp(-clip, clip)
    held = old_values.add_(move)
    worst = torch.maximum((values - returns) ** 2, (held - returns) ** 2)
    return 0.5 * worst[counts].mean()


# wrong: clips relative to the old value, as for the policy's ratio: between (1 - clip) and (1 + clip) times it
def wrong_7(values, old_values, returns, counts, clip):
    v, old, target = values[counts], old_values[counts], returns[counts]
    held = torch.clamp(v, old * (1 - clip), old * (1 + clip))
    return 0.5 * torch.maximum((v - target) ** 2, (held - target) ** 2).mean()


# wrong: clips a detached value; the loss is right, but where nothing is clipped the two are equal, max splits the gradient, and half of it is lost
def wrong_8(values, old_values, returns, counts, clip):
    v, old, target = values[counts], old_values[counts], returns[counts]
    held = torch.clamp(v.detach(), old - clip, old + clip)
    return 0.5 * torch.max((v - target) ** 2, (held - target) ** 2).mean()
