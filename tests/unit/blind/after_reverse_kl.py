import torch
import torch.nn.functional as F


# right: the positions that count are picked, shifted by one, and the sum over the vocabulary is written out
def right_1(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != -100
    log_p = F.log_softmax(student_logits[:, :-1][counts], dim=-1)
    log_q = F.log_softmax(teacher_logits[:, :-1][counts], dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum() / counts.sum().clamp(min=1)


# right: a loop over rows and tokens, in double precision
def right_2(student_logits, teacher_logits, labels):
    total, n = student_logits[:0].double().sum(), 0
    for b in range(labels.shape[0]):
        for t in range(1, labels.shape[1]):
            if labels[b, t] != -100:
                log_p = student_logits[b, t - 1].double().log_softmax(0)
                log_q = teacher_logits[b, t - 1].double().log_softmax(0)
                total, n = total + (log_p.exp() * (log_p - log_q)).sum(), n + 1
    return (total / max(n, 1)).to(student_logits.dtype)


# right: F.kl_div with the teacher as input and the student as target, both in log
def right_3(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != -100
    log_p = student_logits[:, :-1].log_softmax(-1)
    log_q = teacher_logits[:, :-1].log_softmax(-1)
    each = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)
    return torch.where(counts, each, torch.zeros_like(each)).sum() / counts.sum().clamp(min=1)


# right: cross-entropy with the teacher minus the student's entropy, by einsum
def right_4(student_logits, teacher_logits, labels):
    counts = labels[:, 1:].reshape(-1) != -100
    vocab = student_logits.shape[-1]
    log_p = student_logits[:, :-1].reshape(-1, vocab)[counts].double().log_softmax(-1)
    log_q = teacher_logits[:, :-1].reshape(-1, vocab)[counts].double().log_softmax(-1)
    p = log_p.exp()
    entropy, cross = -torch.einsum("nv,nv->n", p, log_p), -torch.einsum("nv,nv->n", p, log_q)
    return ((cross - entropy).sum() / max(len(p), 1)).to(student_logits.dtype)


# wrong: the forward divergence, weighted by the teacher
def wrong_1(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != -100
    log_p = F.log_softmax(student_logits[:, :-1], dim=-1)
    log_q = F.log_softmax(teacher_logits[:, :-1], dim=-1)
    return (log_q.exp() * (log_q - log_p)).sum(-1)[counts].mean()


# wrong: no shift, the logits at time t are given to the label at t
def wrong_2(student_logits, teacher_logits, labels):
    counts = labels != -100
    log_p = F.log_softmax(student_logits, dim=-1)
    log_q = F.log_softmax(teacher_logits, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)[counts].mean()


# wrong: shifted to the wrong side, the logits at time t + 1 for the label at t
def wrong_3(student_logits, teacher_logits, labels):
    counts = labels[:, :-1] != -100
    log_p = F.log_softmax(student_logits[:, 1:], dim=-1)
    log_q = F.log_softmax(teacher_logits[:, 1:], dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)[counts].mean()


# wrong: the student's probabilities are detached, so the value is right and the gradient is not
def wrong_4(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != -100
    log_p = F.log_softmax(student_logits[:, :-1], dim=-1)
    log_q = F.log_softmax(teacher_logits[:, :-1], dim=-1)
    return (log_p.exp().detach() * (log_p - log_q)).sum(-1)[counts].mean()


# wrong: the log-ratio at the label only, an estimate from one sample and not the sum over the vocabulary
def wrong_5(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != -100
    index = labels[:, 1:].clamp(min=0).unsqueeze(-1)
    gap = F.log_softmax(student_logits[:, :-1], dim=-1) - F.log_softmax(
        teacher_logits[:, :-1], dim=-1
    )
    return gap.gather(-1, index).squeeze(-1)[counts].mean()


# wrong: the mean of the rows' means, so the tokens of short rows weigh more
def wrong_6(student_logits, teacher_logits, labels):
    counts = (labels[:, 1:] != -100).to(student_logits.dtype)
    log_p = F.log_softmax(student_logits[:, :-1], dim=-1)
    log_q = F.log_softmax(teacher_logits[:, :-1], dim=-1)
    each = (log_p.exp() * (log_p - log_q)).sum(-1)
    return ((each * counts).sum(1) / counts.sum(1).clamp(min=1)).mean()


# wrong: the logarithm of a softmax, nan or inf where a probability underflows to 0
def wrong_7(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != -100
    p = torch.softmax(student_logits[:, :-1], dim=-1)
    q = torch.softmax(teacher_logits[:, :-1], dim=-1)
    return (p * torch.log(p / q)).sum(-1)[counts].mean()


# wrong: F.kl_div with "batchmean" over all positions, those that do not count are zeros in the sum but stay in the divisor
def wrong_8(student_logits, teacher_logits, labels):
    counts = (labels[:, 1:] != -100).unsqueeze(-1)
    log_p = F.log_softmax(student_logits[:, :-1], dim=-1).masked_fill(~counts, 0.0)
    log_q = F.log_softmax(teacher_logits[:, :-1], dim=-1).masked_fill(~counts, 0.0)
    vocab = log_p.shape[-1]
    return F.kl_div(
        log_q.reshape(-1, vocab), log_p.reshape(-1, vocab), log_target=True, reduction="batchmean"
    )
