import torch
import torch.nn.functional as F


# right: one loop from the right over the columns, value and advantage reset to 0 outside of the response
def right_1(rewards, values, counts, gamma, lam):
    zero = torch.zeros_like(values[:, 0])
    next_value, running, columns = zero, zero, []
    for t in reversed(range(values.shape[1])):
        here = counts[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(here, delta + gamma * lam * running, zero)
        next_value = torch.where(here, values[:, t], zero)
        columns.append(running)
    return torch.stack(columns[::-1], dim=1)


# right: cuts the run out of each row, solves it alone with a helper, puts it back
def right_2(rewards, values, counts, gamma, lam):
    def run(r, v):
        advantages, following, value_after = [], 0.0, 0.0
        for reward, value in zip(reversed(r.unbind()), reversed(v.unbind())):
            following = reward + gamma * value_after - value + gamma * lam * following
            value_after = value
            advantages.append(following)
        return torch.stack(advantages[::-1])

    out = torch.zeros_like(values)
    for b in range(values.shape[0]):
        places = counts[b].nonzero().flatten()
        if len(places):
            out[b, places] = run(rewards[b, places], values[b, places])
    return out


# right: a triangular matrix of weights (gamma lam)^(k - t), multiplied with the masked errors
def right_3(rewards, values, counts, gamma, lam):
    zero = torch.zeros_like(values)
    masked = torch.where(counts, values, zero)
    following = F.pad(masked[:, 1:], (0, 1))
    delta = torch.where(counts, rewards + gamma * following - values, zero)
    time = torch.arange(values.shape[1], device=values.device)
    steps = time[:, None] - time[None, :]  # k - t
    weights = torch.tensor(gamma * lam, dtype=values.dtype, device=values.device) ** steps.clamp(
        min=0
    )
    weights = weights * (steps >= 0)
    return torch.where(counts, torch.einsum("bk,kt->bt", delta, weights), zero)


# right: doubling (a parallel scan): after n rounds every place holds the sum of its next 2^n errors
def right_4(rewards, values, counts, gamma, lam):
    def shifted(x, n):
        return torch.cat([x[:, n:], torch.zeros_like(x[:, :n])], dim=1)

    v = values.masked_fill(~counts, 0)
    r = rewards.masked_fill(~counts, 0)
    total = (r + gamma * shifted(v, 1) - v).masked_fill(~counts, 0)
    step = 1
    while step < values.shape[1]:
        total = total + (gamma * lam) ** step * shifted(total, step)
        step *= 2
    return total.masked_fill(~counts, 0)


# wrong: the last response token bootstraps from the critic's value on the padding behind it
def wrong_1(rewards, values, counts, gamma, lam):
    following = F.pad(values[:, 1:], (0, 1))
    delta = torch.where(counts, rewards + gamma * following - values, torch.zeros_like(values))
    running, columns = torch.zeros_like(values[:, 0]), []
    for t in reversed(range(values.shape[1])):
        running = delta[:, t] + gamma * lam * running
        columns.append(running)
    return torch.where(counts, torch.stack(columns[::-1], dim=1), torch.zeros_like(values))


# wrong: roll wraps round, so in a row without prompt and padding the last token is followed by the first one's value
def wrong_2(rewards, values, counts, gamma, lam):
    zero = torch.zeros_like(values)
    following = torch.where(counts, values, zero).roll(-1, dims=1)
    delta = torch.where(counts, rewards + gamma * following - values, zero)
    running, columns = torch.zeros_like(values[:, 0]), []
    for t in reversed(range(values.shape[1])):
        running = delta[:, t] + gamma * lam * running
        columns.append(running)
    return torch.where(counts, torch.stack(columns[::-1], dim=1), zero)


# wrong: masks only at the end, so the errors of the padding on the right leak into the response
def wrong_3(rewards, values, counts, gamma, lam):
    following = F.pad(torch.where(counts, values, torch.zeros_like(values))[:, 1:], (0, 1))
    delta = rewards + gamma * following - values
    running, columns = torch.zeros_like(values[:, 0]), []
    for t in reversed(range(values.shape[1])):
        running = delta[:, t] + gamma * lam * running
        columns.append(running)
    return torch.stack(columns[::-1], dim=1) * counts


# wrong: the recursion falls by lambda alone, which shows only where gamma is not 1
def wrong_4(rewards, values, counts, gamma, lam):
    zero = torch.zeros_like(values[:, 0])
    next_value, running, columns = zero, zero, []
    for t in reversed(range(values.shape[1])):
        here = counts[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(here, delta + lam * running, zero)
        next_value = torch.where(here, values[:, t], zero)
        columns.append(running)
    return torch.stack(columns[::-1], dim=1)


# wrong: whitens the advantages over the batch before it returns them
def wrong_5(rewards, values, counts, gamma, lam):
    zero = torch.zeros_like(values[:, 0])
    next_value, running, columns = zero, zero, []
    for t in reversed(range(values.shape[1])):
        here = counts[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(here, delta + gamma * lam * running, zero)
        next_value = torch.where(here, values[:, t], zero)
        columns.append(running)
    advantages = torch.stack(columns[::-1], dim=1)
    chosen = advantages[counts]
    advantages = (advantages - chosen.mean()) / (chosen.std() + 1e-8)
    return torch.where(counts, advantages, torch.zeros_like(advantages))


# wrong: zeroes the masked places of the caller's values and rewards in place
def wrong_6(rewards, values, counts, gamma, lam):
    values[~counts] = 0
    rewards[~counts] = 0
    running = torch.zeros_like(values[:, 0])
    columns = []
    for t in reversed(range(values.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else torch.zeros_like(running)
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * running
        columns.append(running)
    return torch.stack(columns[::-1], dim=1) * counts


# wrong: divides a cumulative sum by (gamma lam)^t, which is nan for lambda = 0 and underflows in long rows
def wrong_7(rewards, values, counts, gamma, lam):
    zero = torch.zeros_like(values)
    following = F.pad(torch.where(counts, values, zero)[:, 1:], (0, 1))
    delta = torch.where(counts, rewards + gamma * following - values, zero)
    time = torch.arange(values.shape[1], device=values.device)
    weight = torch.tensor(gamma * lam, dtype=values.dtype, device=values.device) ** time
    total = (delta * weight).flip(-1).cumsum(-1).flip(-1) / weight
    return torch.where(counts, total, zero)


# wrong: takes the first row's start and end for every row
def wrong_8(rewards, values, counts, gamma, lam):
    places = counts[0].nonzero().flatten()
    first, last = int(places[0]), int(places[-1])
    out = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    for t in range(last, first - 1, -1):
        following = values[:, t + 1] if t < last else 0.0
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * running
        out[:, t] = running
    return torch.where(counts, out, torch.zeros_like(out))
