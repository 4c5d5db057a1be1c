import torch
import torch.nn.functional as F


# right: logsigmoid of the margin of the implicit rewards
def right_1(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -F.logsigmoid(reward[:, 0] - reward[:, 1]).mean()


# right: a classification between two rewards, whose right class is always 0
def right_2(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    target = torch.zeros(len(reward), dtype=torch.long, device=reward.device)
    return F.cross_entropy(reward, target)


# right: a loop over the pairs with log(e^0 + e^-margin), in double precision
def right_3(log_probs, ref_log_probs, beta):
    losses = []
    for ours, theirs in zip(log_probs.double(), ref_log_probs.double()):
        margin = beta * ((ours[0] - ours[1]) - (theirs[0] - theirs[1]))
        losses.append(torch.logaddexp(torch.zeros_like(margin), -margin))
    return torch.stack(losses).mean().to(log_probs.dtype)


# right: einsum with (1, -1) for the margin, then softplus of its negative
def right_4(log_probs, ref_log_probs, beta):
    ratio = log_probs - ref_log_probs
    sign = torch.tensor([1.0, -1.0], dtype=ratio.dtype, device=ratio.device)
    margin = torch.einsum("pc,c->p", ratio, sign)
    return F.softplus(-beta * margin).mean()


# wrong: log(sigmoid(...)) is minus infinity where the sigmoid underflows, far apart
def wrong_1(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -torch.log(torch.sigmoid(reward[:, 0] - reward[:, 1])).mean()


# wrong: the columns are exchanged, so the rejected response is preferred
def wrong_2(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -F.logsigmoid(reward[:, 1] - reward[:, 0]).mean()


# wrong: the sum over the pairs in place of the mean, which is the same for one pair only
def wrong_3(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -F.logsigmoid(reward[:, 0] - reward[:, 1]).sum()


# wrong: a small number inside the logarithm keeps it finite, but caps the loss at 18 and kills the gradient there
def wrong_4(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -torch.log(torch.sigmoid(reward[:, 0] - reward[:, 1]) + 1e-8).mean()


# wrong: logsigmoid of each reward by itself, chosen up and rejected down, and not of their difference
def wrong_5(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -(F.logsigmoid(reward[:, 0]) + F.logsigmoid(-reward[:, 1])).mean()


# wrong: the value is right, but it is rebuilt from a number, so no gradient reaches log_probs
def wrong_6(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return torch.tensor(-F.logsigmoid(reward[:, 0] - reward[:, 1]).mean().item())


# wrong: uses the beta 0.1 of the notebook and not the argument
def wrong_7(log_probs, ref_log_probs, beta):
    BETA = 0.1
    reward = BETA * (log_probs - ref_log_probs)
    return -F.logsigmoid(reward[:, 0] - reward[:, 1]).mean()


# wrong: logsigmoid of the mean margin, which is not the mean of the logsigmoids
def wrong_8(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return -F.logsigmoid((reward[:, 0] - reward[:, 1]).mean())
