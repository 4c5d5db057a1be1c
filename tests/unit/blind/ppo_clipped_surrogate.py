import math

import torch


# right: boolean indexing first, then the formula as it stands
def right_1(log_probs, old_log_probs, advantages, counts, clip):
    ratio = torch.exp(log_probs[counts] - old_log_probs[counts])
    a = advantages[counts]
    surrogate = ratio * a
    if clip is not None:
        surrogate = torch.min(surrogate, ratio.clamp(1 - clip, 1 + clip) * a)
    return -surrogate.mean()


# right: masks the log-ratio before exp, larger of two losses, masked_mean of the course
def right_2(log_probs, old_log_probs, advantages, counts, clip):
    ratio = (log_probs - old_log_probs).masked_fill(~counts, 0).exp()
    a = advantages.masked_fill(~counts, 0)
    loss = -ratio * a
    if clip is not None:
        loss = torch.maximum(loss, -ratio.clip(1 - clip, 1 + clip) * a)
    return masked_mean(loss, counts)


# right: token by token with a helper that knows the four cases
def right_3(log_probs, old_log_probs, advantages, counts, clip):
    def token(ratio, a):
        if clip is not None and a > 0 and ratio > 1 + clip:
            return a * (1 + clip)
        if clip is not None and a < 0 and ratio < 1 - clip:
            return a * (1 - clip)
        return ratio * a

    terms = []
    for b in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            if counts[b, t]:
                terms.append(token((log_probs[b, t] - old_log_probs[b, t]).exp(), advantages[b, t]))
    return -sum(terms) / len(terms)


# right: one-sided clip in log space, above for positive and below for negative advantages
def right_4(log_probs, old_log_probs, advantages, counts, clip):
    zero = torch.zeros_like(log_probs)
    log_ratio = torch.where(counts, log_probs - old_log_probs, zero)
    a = torch.where(counts, advantages, zero)
    if clip is not None:
        high = math.log1p(clip)
        low = math.log1p(-clip) if clip < 1 else -math.inf
        log_ratio = torch.where(a >= 0, log_ratio.clamp(max=high), log_ratio.clamp(min=low))
    return -torch.einsum("bt,bt->", log_ratio.exp(), a) / counts.sum()


# wrong: negated both terms but kept min, so it takes the optimistic one
def wrong_1(log_probs, old_log_probs, advantages, counts, clip):
    ratio = torch.exp(log_probs[counts] - old_log_probs[counts])
    a = advantages[counts]
    loss = -ratio * a
    if clip is not None:
        loss = torch.min(loss, -ratio.clamp(1 - clip, 1 + clip) * a)
    return loss.mean()


# wrong: uses the clipped ratio alone, without the minimum with the unclipped term
def wrong_2(log_probs, old_log_probs, advantages, counts, clip):
    ratio = torch.exp(log_probs[counts] - old_log_probs[counts])
    if clip is not None:
        ratio = torch.clamp(ratio, 1 - clip, 1 + clip)
    return -(ratio * advantages[counts]).mean()


# wrong: the clip is straight-through, so the value is right, but clipped tokens still get a gradient
def wrong_3(log_probs, old_log_probs, advantages, counts, clip):
    ratio = torch.exp(log_probs[counts] - old_log_probs[counts])
    a = advantages[counts]
    surrogate = ratio * a
    if clip is not None:
        clipped = ratio + (ratio.clamp(1 - clip, 1 + clip) - ratio).detach()
        surrogate = torch.min(surrogate, clipped * a)
    return -surrogate.mean()


# wrong: averages within each row and then over rows, so tokens of short responses weigh more
def wrong_4(log_probs, old_log_probs, advantages, counts, clip):
    ratio = torch.where(counts, log_probs - old_log_probs, torch.zeros_like(log_probs)).exp()
    surrogate = ratio * advantages
    if clip is not None:
        surrogate = torch.min(surrogate, ratio.clamp(1 - clip, 1 + clip) * advantages)
    surrogate = torch.where(counts, surrogate, torch.zeros_like(surrogate))
    return -(surrogate.sum(-1) / counts.sum(-1)).mean()


# wrong: multiplies with the mask after exp, so a ratio that overflows on padding gives inf * 0 = nan
def wrong_5(log_probs, old_log_probs, advantages, counts, clip):
    mask = counts.to(log_probs.dtype)
    ratio = torch.exp(log_probs - old_log_probs)
    surrogate = ratio * advantages
    if clip is not None:
        surrogate = torch.min(surrogate, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -(surrogate * mask).sum() / mask.sum()


# wrong: asks for the truth of clip, so an epsilon of 0.0 means no clip
def wrong_6(log_probs, old_log_probs, advantages, counts, clip):
    ratio = torch.exp(log_probs[counts] - old_log_probs[counts])
    a = advantages[counts]
    surrogate = ratio * a
    if clip:
        surrogate = torch.min(surrogate, ratio.clamp(1 - clip, 1 + clip) * a)
    return -surrogate.mean()


# wrong: holds the log-ratio within +-epsilon, so the ratio is clipped at e^-eps and e^eps
def wrong_7(log_probs, old_log_probs, advantages, counts, clip):
    log_ratio = log_probs[counts] - old_log_probs[counts]
    a = advantages[counts]
    surrogate = log_ratio.exp() * a
    if clip is not None:
        surrogate = torch.min(surrogate, log_ratio.clamp(-clip, clip).exp() * a)
    return -surrogate.mean()


# wrong: takes clip=None for the usual default of 0.2 and clips all the same
def wrong_8(log_probs, old_log_probs, advantages, counts, clip):
    if clip is None:
        clip = 0.2
    ratio = torch.exp(log_probs[counts] - old_log_probs[counts])
    a = advantages[counts]
    return -torch.min(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a).mean()
