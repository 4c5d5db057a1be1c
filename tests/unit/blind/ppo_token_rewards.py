import torch
import torch.nn.functional as F


# right: row by row, looking up the last True place
def right_1(scores, log_probs, ref_log_probs, counts, beta):
    zero = torch.zeros((), dtype=log_probs.dtype, device=log_probs.device)
    rows = []
    for b in range(counts.shape[0]):
        where = [t for t in range(counts.shape[1]) if bool(counts[b, t])]
        row = []
        for t in range(counts.shape[1]):
            if t not in where:
                row.append(zero)
                continue
            reward = -beta * (log_probs[b, t] - ref_log_probs[b, t])
            if t == where[-1]:
                reward = reward + scores[b]
            row.append(reward)
        rows.append(torch.stack(row))
    return torch.stack(rows)


# right: a reversed cumulative count finds the last token
def right_2(scores, log_probs, ref_log_probs, counts, beta):
    remaining = counts.long().flip(-1).cumsum(-1).flip(-1)
    is_last = counts & (remaining == 1)
    paid = -beta * (log_probs - ref_log_probs)
    earned = torch.where(is_last, scores.unsqueeze(-1), torch.zeros_like(paid))
    return torch.where(counts, paid + earned, torch.zeros_like(paid))


# right: writes into a fresh tensor with boolean indexing, then adds the scores by index
def right_3(scores, log_probs, ref_log_probs, counts, beta):
    rewards = torch.zeros_like(log_probs)
    rewards[counts] = beta * (ref_log_probs[counts] - log_probs[counts])
    time = torch.arange(counts.shape[1], device=counts.device)
    last = torch.where(counts, time, -1).amax(dim=1)
    rows = torch.nonzero(last >= 0).flatten()
    return rewards.index_put((rows, last[rows]), scores[rows], accumulate=True)


# right: argmax on the flipped mask, one-hot and einsum for the score
def right_4(scores, log_probs, ref_log_probs, counts, beta):
    def last_one_hot(mask):
        length = mask.shape[-1]
        last = length - 1 - mask.flip(-1).int().argmax(-1)
        return F.one_hot(last, length).bool() & mask

    kl = (log_probs - ref_log_probs).masked_fill(~counts, 0.0)
    return torch.einsum("b,bt->bt", scores, last_one_hot(counts).to(scores.dtype)) - beta * kl


# wrong: the score goes to the last column, and is lost in rows with padding on the right
def wrong_1(scores, log_probs, ref_log_probs, counts, beta):
    rewards = -beta * (log_probs - ref_log_probs)
    score_at = torch.zeros_like(rewards)
    score_at[:, -1] = scores
    return torch.where(counts, rewards + score_at, torch.zeros_like(rewards))


# wrong: takes the number of tokens minus 1 for the last one's place, right only if the response begins in column 0
def wrong_2(scores, log_probs, ref_log_probs, counts, beta):
    rewards = torch.where(counts, -beta * (log_probs - ref_log_probs), torch.zeros_like(log_probs))
    last = counts.sum(-1) - 1
    return rewards + F.one_hot(last, counts.shape[1]).to(rewards.dtype) * scores.unsqueeze(-1)


# wrong: wrong sign, a token is paid for leaving the reference
def wrong_3(scores, log_probs, ref_log_probs, counts, beta):
    remaining = counts.long().flip(-1).cumsum(-1).flip(-1)
    is_last = counts & (remaining == 1)
    rewards = -beta * (ref_log_probs - log_probs) + is_last * scores[:, None]
    return torch.where(counts, rewards, torch.zeros_like(rewards))


# wrong: the score stands in the place of the last token's penalty instead of being added to it
def wrong_4(scores, log_probs, ref_log_probs, counts, beta):
    remaining = counts.long().flip(-1).cumsum(-1).flip(-1)
    is_last = counts & (remaining == 1)
    kl = -beta * (log_probs - ref_log_probs)
    rewards = torch.where(is_last, scores[:, None], kl)
    return torch.where(counts, rewards, torch.zeros_like(rewards))


# wrong: only the score is masked; the penalty stays on prompt and padding
def wrong_5(scores, log_probs, ref_log_probs, counts, beta):
    time = torch.arange(counts.shape[1], device=counts.device)
    last = (time * counts).argmax(-1, keepdim=True)
    rewards = -beta * (log_probs - ref_log_probs)
    return rewards.scatter_add(1, last, scores.unsqueeze(1))


# wrong: charges the k3 estimate instead of the log-ratio
def wrong_6(scores, log_probs, ref_log_probs, counts, beta):
    u = ref_log_probs - log_probs
    k3 = torch.expm1(u) - u
    remaining = counts.long().flip(-1).cumsum(-1).flip(-1)
    is_last = counts & (remaining == 1)
    rewards = -beta * k3 + torch.where(is_last, scores[:, None], torch.zeros_like(k3))
    return torch.where(counts, rewards, torch.zeros_like(rewards))


# wrong: roll wraps round, so a row that begins in column 0 and ends in the last column never gets its score
def wrong_7(scores, log_probs, ref_log_probs, counts, beta):
    is_last = counts & ~counts.roll(-1, dims=1)
    rewards = -beta * (log_probs - ref_log_probs) + is_last * scores.unsqueeze(1)
    return torch.where(counts, rewards, torch.zeros_like(rewards))


# wrong: zeroes the masked places of the caller's log-probabilities in place
def wrong_8(scores, log_probs, ref_log_probs, counts, beta):
    log_probs[~counts] = 0
    ref_log_probs[~counts] = 0
    rewards = -beta * (log_probs - ref_log_probs)
    remaining = counts.long().flip(-1).cumsum(-1).flip(-1)
    is_last = counts & (remaining == 1)
    return rewards + torch.where(is_last, scores[:, None], torch.zeros_like(rewards))
