import torch
import torch.nn.functional as F


# right: logsumexp over the right class of log-softmax plus the log of the label's column
def right_1(logits, labels, noise):
    log_noise = noise.to(logits).log()[:, labels.long()].T
    return -torch.logsumexp(F.log_softmax(logits, dim=1) + log_noise, dim=1).mean()


# right: the difference of two logsumexp of the raw logits, one with the noise and one without
def right_2(logits, labels, noise):
    column = noise.to(logits).T[labels.long()]
    with_noise = (logits + column.log()).logsumexp(1)
    return (logits.logsumexp(1) - with_noise).mean()


# right: a loop in double precision over only those classes that may have got the label
def right_3(logits, labels, noise):
    total = 0.0
    for row, label in zip(logits.double(), labels.tolist()):
        column = noise[:, label].double()
        possible = column > 0
        terms = torch.log_softmax(row, 0)[possible] + column[possible].log()
        top = terms.max().detach()
        total = total - (top + torch.exp(terms - top).sum().log())
    return (total / len(logits)).to(logits.dtype)


# right: the bound of EM with the exact posterior of the right class held fixed, which touches the likelihood there
def right_4(logits, labels, noise):
    log_p = F.log_softmax(logits, dim=-1)
    column = noise.to(logits)[:, labels.long()].T
    posterior = torch.softmax(log_p.detach() + column.log(), dim=-1)
    fixed = torch.xlogy(posterior, column) - torch.xlogy(posterior, posterior)
    return -((posterior * log_p) + fixed).sum(-1).mean()


# wrong: takes the logarithm of the mixed probabilities, which are 0 where softmax underflows, so the loss is infinite
def wrong_1(logits, labels, noise):
    mixed = torch.softmax(logits, dim=1) @ noise
    return -torch.log(mixed[torch.arange(len(labels)), labels]).mean()


# wrong: a clamp of the mixed probability keeps the loss finite, but caps it and kills the gradient there
def wrong_2(logits, labels, noise):
    mixed = torch.softmax(logits, dim=1) @ noise
    return F.nll_loss(mixed.clamp_min(1e-12).log(), labels)


# wrong: takes the label's row of the noise and not its column
def wrong_3(logits, labels, noise):
    return -torch.logsumexp(F.log_softmax(logits, dim=1) + noise[labels].log(), dim=1).mean()


# wrong: the sum over the batch in place of the mean
def wrong_4(logits, labels, noise):
    log_noise = noise.log()[:, labels].T
    return -torch.logsumexp(F.log_softmax(logits, dim=1) + log_noise, dim=1).sum()


# wrong: the backward correction, which mixes the losses with the inverse of the noise
def wrong_5(logits, labels, noise):
    losses = -F.log_softmax(logits, dim=1)
    corrected = losses @ torch.linalg.pinv(noise).T
    return corrected.gather(1, labels[:, None]).mean()


# wrong: averages the logarithms with the noise as weights, where the logarithm of the average is asked
def wrong_6(logits, labels, noise):
    weights = noise[:, labels].T
    return -(weights * F.log_softmax(logits, dim=1)).sum(1).mean()


# wrong: mixes the logits with the noise and not the probabilities
def wrong_7(logits, labels, noise):
    return F.cross_entropy(logits @ noise, labels)


# wrong: hands the mixed probabilities to cross_entropy as if they were logits
def wrong_8(logits, labels, noise):
    return F.cross_entropy(torch.softmax(logits, dim=1) @ noise, labels)


# wrong: sets the log of a probability of 0 to 0, which makes it a probability of 1
def wrong_9(logits, labels, noise):
    log_noise = torch.where(noise > 0, noise.clamp_min(1e-30).log(), torch.zeros_like(noise))
    return -torch.logsumexp(F.log_softmax(logits, dim=1) + log_noise[:, labels].T, dim=1).mean()


# wrong: adds a small number to the noise, so an impossible error explains an unlikely label
def wrong_10(logits, labels, noise):
    log_noise = (noise + 1e-6).log()[:, labels].T
    return -torch.logsumexp(F.log_softmax(logits, dim=1) + log_noise, dim=1).mean()


# wrong: leaves the logits unnormalised
def wrong_11(logits, labels, noise):
    return -torch.logsumexp(logits + noise.log()[:, labels].T, dim=1).mean()


# wrong: makes the label's column add up to 1, as if it were the probability of the class given the label
def wrong_12(logits, labels, noise):
    column = (noise / noise.sum(0, keepdim=True))[:, labels].T
    return -torch.logsumexp(F.log_softmax(logits, dim=1) + column.log(), dim=1).mean()


# wrong: keeps only the likeliest explanation of the label, with max in place of logsumexp
def wrong_13(logits, labels, noise):
    terms = F.log_softmax(logits, dim=1) + noise.log()[:, labels].T
    return -terms.max(dim=1).values.mean()


# wrong: multiplies a posterior of 0 by a logarithm of minus infinity, so a probability of 0 gives NaN
def wrong_14(logits, labels, noise):
    terms = F.log_softmax(logits, dim=1) + noise.log()[:, labels].T
    posterior = torch.softmax(terms, dim=1).detach()
    return -(posterior * (terms - posterior.log())).sum(1).mean()
