import math

import torch


# right: a check of all rewards, then argmax, which gives the first of equals
def right_1(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")
    return rewards.argmax(dim=1)


# right: plain Python, keeping the first strictly larger reward
def right_2(rewards):
    kept = []
    for row in rewards.tolist():
        if not all(math.isfinite(value) for value in row):
            raise FloatingPointError(f"not finite: {row}")
        best = 0
        for k in range(1, len(row)):
            if row[k] > row[best]:
                best = k
        kept.append(best)
    return torch.tensor(kept, dtype=torch.long, device=rewards.device)


# right: the smallest position among those that reach the row's maximum
def right_3(rewards):
    if (rewards.isnan() | rewards.isinf()).any():
        raise FloatingPointError("rewards must be finite")
    n = rewards.shape[1]
    positions = torch.arange(n, device=rewards.device).expand(rewards.shape)
    is_best = rewards == rewards.amax(dim=1, keepdim=True)
    return positions.masked_fill(~is_best, n).amin(dim=1)


# right: a stable sort in descending order, of which the first column is kept
def right_4(rewards):
    def require_finite(values):
        if values.isfinite().logical_not().any():
            raise FloatingPointError("found a reward that is not finite")
        return values

    order = torch.sort(require_finite(rewards), dim=1, descending=True, stable=True).indices
    return order[:, 0]


# wrong: checks only the winning rewards, so a minus infinity that loses goes unnoticed
def wrong_1(rewards):
    best = rewards.max(dim=1)
    if not torch.isfinite(best.values).all():
        raise FloatingPointError("a reward is not finite")
    return rewards.argmax(dim=1)


# wrong: looks for nan only, infinities pass
def wrong_2(rewards):
    if torch.isnan(rewards).any():
        raise FloatingPointError("a reward is not finite")
    return torch.argmax(rewards, dim=-1)


# wrong: keeps the last of equals, because of >= in the loop
def wrong_3(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")
    best = rewards[:, 0].clone()
    index = torch.zeros(len(rewards), dtype=torch.long, device=rewards.device)
    for k in range(1, rewards.shape[1]):
        better = rewards[:, k] >= best
        best = torch.where(better, rewards[:, k], best)
        index[better] = k
    return index


# wrong: any for all, so it raises only if not a single reward is finite
def wrong_4(rewards):
    if not torch.isfinite(rewards).any():
        raise FloatingPointError("a reward is not finite")
    return rewards.argmax(dim=1)


# wrong: squeezes first, so one prompt (or n = 1) gives a scalar instead of a vector
def wrong_5(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")
    return rewards.squeeze().argmax(dim=-1)


# wrong: counts rewards within a tolerance of the best as equal, so an earlier and slightly worse one is kept
def wrong_6(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")
    best = rewards.max(dim=1, keepdim=True).values
    return torch.isclose(rewards, best, rtol=1e-3, atol=1e-3).int().argmax(dim=1)


# wrong: starts the running maximum at zero, so a prompt with negative rewards only keeps response 0
def wrong_7(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")
    kept = []
    for row in rewards:
        best, index = 0.0, 0
        for k, value in enumerate(row):
            if value > best:
                best, index = value, k
        kept.append(index)
    return torch.tensor(kept, device=rewards.device)
