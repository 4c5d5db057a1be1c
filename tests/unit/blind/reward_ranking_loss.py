import itertools

import torch
import torch.nn.functional as F


# right: two loops over the places of a ranking
def right_1(rewards):
    K = rewards.shape[1]
    losses = []
    for i in range(K):
        for j in range(i + 1, K):
            losses.append(-F.logsigmoid(rewards[:, i] - rewards[:, j]))
    return torch.stack(losses).mean()


# right: all pairs of places by itertools, flattened into the earlier exercise
def right_2(rewards):
    better, worse = zip(*itertools.combinations(range(rewards.shape[1]), 2))
    return bradley_terry_loss(rewards[:, list(better)].flatten(), rewards[:, list(worse)].flatten())


# right: the square of all margins, of which the upper triangle is kept by boolean indexing
def right_3(rewards):
    K = rewards.shape[1]
    margins = rewards.unsqueeze(2) - rewards.unsqueeze(1)
    upper = torch.ones(K, K, dtype=torch.bool, device=rewards.device).triu(1)
    kept = margins[:, upper]
    return F.binary_cross_entropy_with_logits(kept, torch.ones_like(kept))


# right: goes by the distance between the places and divides by the number of choices at the end
def right_4(rewards):
    rankings, K = rewards.shape

    def at_distance(gap):
        margin = rewards[:, :-gap] - rewards[:, gap:]
        return torch.logaddexp(torch.zeros_like(margin), -margin).sum()

    return sum(at_distance(gap) for gap in range(1, K)) / (rankings * K * (K - 1) / 2)


# wrong: only neighbours in the ranking, right at K = 2 only
def wrong_1(rewards):
    return -F.logsigmoid(rewards[:, :-1] - rewards[:, 1:]).mean()


# wrong: masks the lower triangle to zero but takes the mean over all K * K places
def wrong_2(rewards):
    margins = rewards[:, :, None] - rewards[:, None, :]
    return -F.logsigmoid(margins).triu(1).mean()


# wrong: the likelihood of the whole order (Plackett-Luce), which agrees with the pairs at K = 2 only
def wrong_3(rewards):
    K = rewards.shape[1]
    losses = [torch.logsumexp(rewards[:, k:], dim=1) - rewards[:, k] for k in range(K - 1)]
    return torch.stack(losses).mean()


# wrong: sorts the rewards first, so the model's own order counts as the raters'
def wrong_4(rewards):
    ordered = rewards.sort(dim=1, descending=True).values
    i, j = torch.triu_indices(rewards.shape[1], rewards.shape[1], offset=1)
    return -F.logsigmoid(ordered[:, i] - ordered[:, j]).mean()


# wrong: finds the pairs as margins that are not zero, so pairs of equal rewards drop out of the mean
def wrong_5(rewards):
    margins = (rewards.unsqueeze(2) - rewards.unsqueeze(1)).triu(1)
    margins = margins[margins != 0]
    return -F.logsigmoid(margins).mean()


# wrong: writes the choice as a ratio of exponentials, which overflows for large rewards
def wrong_6(rewards):
    strength = rewards.exp()
    i, j = torch.triu_indices(rewards.shape[1], rewards.shape[1], offset=1)
    share = strength[:, i] / (strength[:, i] + strength[:, j])
    return -share.log().mean()


# wrong: takes the mean margin over the rankings before the log-sigmoid, right for one ranking only
def wrong_7(rewards):
    K = rewards.shape[1]
    losses = []
    for i, j in itertools.combinations(range(K), 2):
        losses.append(-F.logsigmoid((rewards[:, i] - rewards[:, j]).mean()))
    return sum(losses) / len(losses)
