import math

import torch
import torch.nn.functional as F


# right: expm1(u) - u on the whole tensor, which stays exact for tiny u
def right_1(log_p, log_q):
    u = log_q - log_p
    return torch.expm1(u) - u


# right: walks over the single elements with a helper and stacks them again, any shape, gradients kept
def right_2(log_p, log_q):
    def one(p, q):
        u = q - p
        return u.expm1() - u

    shape = log_p.shape
    pairs = list(zip(log_p.reshape(-1), log_q.reshape(-1)))
    if not pairs:
        return log_p - log_q
    return torch.stack([one(p, q) for p, q in pairs]).reshape(shape)


# right: Taylor series where u is near zero, the closed form elsewhere
def right_3(log_p, log_q):
    u = log_q - log_p
    near = u.abs() < 1e-2
    small = torch.where(near, u, torch.zeros_like(u))
    series = sum(small**n / math.factorial(n) for n in range(2, 9))
    return torch.where(near, series, torch.exp(u) - 1 - u)


# right: Poisson negative log-likelihood of a count of one is e^u - u; in float64, held at 0 against rounding
def right_4(log_p, log_q):
    u = log_q.double() - log_p.double()
    loss = F.poisson_nll_loss(u, torch.ones_like(u), log_input=True, full=False, reduction="none")
    return (loss - 1).clamp(min=0).to(log_p.dtype)


# wrong: u has the wrong sign (log p - log q), which is no estimate of KL(p || q) from samples of p
def wrong_1(log_p, log_q):
    u = log_p - log_q
    return torch.expm1(u) - u


# wrong: this is k2, half the squared log-ratio; never negative and near k3 for small u, but biased
def wrong_2(log_p, log_q):
    u = log_q - log_p
    return 0.5 * u**2


# wrong: takes the logarithm of the ratio again, so a ratio that underflows to 0 gives inf in the place of about -u
def wrong_3(log_p, log_q):
    ratio = torch.exp(log_q - log_p)
    return (ratio - 1) - torch.log(ratio)


# wrong: holds the estimate at 10 "for stability", as some libraries do
def wrong_4(log_p, log_q):
    u = log_q - log_p
    k = torch.expm1(u) - u
    return torch.clamp(k, min=0, max=10)


# wrong: the ratio is detached, so the value is right and the gradient is that of k1
def wrong_5(log_p, log_q):
    u = log_q - log_p
    ratio_minus_one = torch.expm1(u).detach()
    return ratio_minus_one - u


# wrong: subtracts in place and so overwrites the caller's log_q (an error where it requires grad)
def wrong_6(log_p, log_q):
    u = log_q.sub_(log_p)
    return torch.expm1(u) - u


# wrong: F.kl_div gives p * (log p - log q), an exact sum's summand, weighted by p and sometimes negative
def wrong_7(log_p, log_q):
    return F.kl_div(log_q, log_p, log_target=True, reduction="none")


# wrong: takes for granted that the inputs are (batch, time), so any other shape raises
def wrong_8(log_p, log_q):
    batch, time = log_p.shape
    rows = []
    for b in range(batch):
        u = log_q[b] - log_p[b]
        rows.append(torch.expm1(u) - u)
    return torch.stack(rows)
