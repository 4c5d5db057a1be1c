import math

import torch
import torch.nn.functional as F


# right: minus the mean log-sigmoid of the margins
def right_1(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).mean()


# right: logistic regression with label one, by the library
def right_2(chosen, rejected):
    margin = chosen - rejected
    return F.binary_cross_entropy_with_logits(margin, torch.ones_like(margin))


# right: a two-class cross-entropy whose right class is always the first
def right_3(chosen, rejected):
    logits = torch.stack([chosen, rejected], dim=1)
    target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits, target)


# right: pair by pair with a stable log(1 + exp(-margin)) of its own
def right_4(chosen, rejected):
    def nats(winner, loser):
        margin = winner - loser
        return torch.logaddexp(torch.zeros_like(margin), -margin)

    total = 0
    for winner, loser in zip(chosen, rejected):
        total = total + nats(winner, loser)
    return total / len(chosen)


# wrong: logarithm of a sigmoid, which is infinite with nan gradients for a strongly negative margin
def wrong_1(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected)).mean()


# wrong: compares every chosen with every rejected response of the batch, right for one pair only
def wrong_2(chosen, rejected):
    return -F.logsigmoid(chosen.unsqueeze(1) - rejected).mean()


# wrong: detaches the rejected reward, so only the chosen one gets a gradient
def wrong_3(chosen, rejected):
    return F.softplus(rejected.detach() - chosen).mean()


# wrong: clamps the margin for safety, so a badly wrong pair costs too little and gets no gradient
def wrong_4(chosen, rejected):
    margin = (chosen - rejected).clamp(-10, 10)
    return -F.logsigmoid(margin).mean()


# wrong: takes the mean of the margins inside the logarithm, right for one pair or equal margins only
def wrong_5(chosen, rejected):
    return -F.logsigmoid((chosen - rejected).mean())


# wrong: in bits instead of nats
def wrong_6(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).mean() / math.log(2)


# wrong: adds a small penalty that centres the rewards on zero, as some trainers do
def wrong_7(chosen, rejected):
    loss = -F.logsigmoid(chosen - rejected).mean()
    return loss + 0.01 * ((chosen + rejected) ** 2).mean()
