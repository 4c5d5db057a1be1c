import torch


# right: the largest position that is real, then gather
def right_1(scores, real):
    positions = torch.arange(scores.shape[1], device=scores.device).expand(real.shape)
    last = positions.masked_fill(~real, -1).amax(dim=1)
    return scores.gather(1, last.unsqueeze(1)).squeeze(1)


# right: row by row, the last of the real numbers
def right_2(scores, real):
    return torch.stack([row[keep][-1] for row, keep in zip(scores, real)])


# right: flips the mask, where the first True is the last real token
def right_3(scores, real):
    from_end = real.flip(1).int().argmax(dim=1)
    last = scores.shape[1] - 1 - from_end
    return scores[torch.arange(len(scores), device=scores.device), last]


# right: a boolean mask that is True at exactly one place a row, where no real token follows
def right_4(scores, real):
    def real_from_here_on(mask):
        return mask.long().flip(1).cumsum(1).flip(1)

    return scores[real & (real_from_here_on(real) == 1)]


# wrong: takes the number of real tokens for the position after the last, right with padding on the right only
def wrong_1(scores, real):
    last = real.sum(dim=1) - 1
    return scores.gather(1, last.unsqueeze(1)).squeeze(1)


# wrong: decides once for the whole batch on which side padding stands, wrong for rows of both kinds together
def wrong_2(scores, real):
    if not real[:, 0].all():
        return scores[:, -1]
    last = real.sum(dim=1) - 1
    return scores[torch.arange(len(scores), device=scores.device), last]


# wrong: squeezes every axis, so a batch of one row gives a scalar
def wrong_3(scores, real):
    positions = torch.arange(scores.shape[1], device=scores.device)
    last = (positions * real).argmax(dim=1, keepdim=True)
    return scores.gather(1, last).squeeze()


# wrong: takes the numbers out of the graph with item, so no gradient reaches the model
def wrong_4(scores, real):
    rewards = []
    for i in range(len(scores)):
        last = real[i].nonzero()[-1].item()
        rewards.append(scores[i, last].item())
    return torch.tensor(rewards, dtype=scores.dtype, device=scores.device)


# wrong: overwrites the caller's scores at the padding (and fails on a leaf that requires gradients)
def wrong_5(scores, real):
    scores[~real] = 0.0
    last = real.shape[1] - 1 - real.flip(1).int().argmax(dim=1)
    return scores.gather(1, last[:, None])[:, 0]


# wrong: looks for the last number that is not zero after masking, so a real reward of exactly zero is skipped
def wrong_6(scores, real):
    masked = scores.masked_fill(~real, 0)
    from_end = (masked != 0).flip(1).int().argmax(dim=1)
    last = scores.shape[1] - 1 - from_end
    return scores.gather(1, last.unsqueeze(1)).squeeze(1)


# wrong: reads just before the first padding, which works for padding on the right or on the left but not for a row with both
def wrong_7(scores, real):
    last = (~real).int().argmax(dim=1) - 1
    return scores[torch.arange(len(scores), device=scores.device), last]
