import torch
import torch.nn.functional as F


# right: F.cross_entropy without reduction, vocabulary moved to axis 1, sign turned
def right_1(logits, labels):
    scores = logits[:, :-1].transpose(1, 2)
    return -F.cross_entropy(scores, labels[:, 1:].long(), ignore_index=-100, reduction="none")


# right: plain loops, logit minus logsumexp at each place that counts
def right_2(logits, labels):
    batch, time = labels.shape
    rows = []
    for b in range(batch):
        for t in range(time - 1):
            y = int(labels[b, t + 1])
            if y == -100:
                rows.append(logits[b, t, :0].sum())  # 0, still part of the graph
            else:
                z = logits[b, t]
                rows.append(z[y] - torch.logsumexp(z, dim=0))
    if not rows:
        return logits[:, 1:].sum(-1)
    return torch.stack(rows).reshape(batch, time - 1)


# right: boolean indexing, only the places that count are normalised and written into zeros
def right_3(logits, labels):
    target = labels[:, 1:].long()
    counts = target != IGNORE
    chosen = logits[:, :-1][counts]
    out = logits.new_zeros(target.shape)
    out[counts] = chosen.log_softmax(-1).gather(-1, target[counts][:, None])[:, 0]
    return out


# right: a one-hot comparison with arange selects by where (a masked place matches no token, so it sums to 0)
def right_4(logits, labels):
    def log_normalise(z):
        z = z - z.amax(dim=-1, keepdim=True).detach()
        return z - z.exp().sum(-1, keepdim=True).log()

    log_p = log_normalise(logits[:, :-1])
    vocabulary = torch.arange(logits.shape[-1], device=labels.device)
    hit = labels[:, 1:, None] == vocabulary
    return torch.where(hit, log_p, torch.zeros_like(log_p)).sum(-1)


# wrong: subtracts one maximum for the whole batch, rows with much smaller logits underflow to log 0
def wrong_1(logits, labels):
    target = labels[:, 1:].long()
    z = logits[:, :-1]
    z = z - z.max()
    log_p = z - z.exp().sum(-1, keepdim=True).log()
    picked = log_p.gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return picked.masked_fill(target == -100, 0.0)


# wrong: the slice is a view, so the caller's labels lose their -100 (result itself is right)
def wrong_2(logits, labels):
    target = labels[:, 1:]
    ignored = target == -100
    target[ignored] = 0
    log_p = F.log_softmax(logits[:, :-1], dim=-1)
    picked = log_p.gather(-1, target.long().unsqueeze(-1)).squeeze(-1)
    return picked.masked_fill(ignored, 0.0)


# wrong: after the clamp it masks every 0, so real tokens with id 0 do not count
def wrong_3(logits, labels):
    target = labels[:, 1:].long().clamp(min=0)
    log_p = F.log_softmax(logits[:, :-1], dim=-1)
    picked = log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return torch.where(target > 0, picked, torch.zeros_like(picked))


# wrong: the targets are shifted but the mask is not (it is taken from labels[:, :-1])
def wrong_4(logits, labels):
    mask = labels[:, :-1] != -100
    target = labels[:, 1:].long().clamp(min=0)
    log_p = F.log_softmax(logits[:, :-1], dim=-1)
    picked = log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return picked.masked_fill(~mask, 0.0)


# wrong: squeeze() without an axis drops the batch axis for a batch of one (or the time axis for two tokens)
def wrong_5(logits, labels):
    target = labels[:, 1:].long()
    log_p = F.log_softmax(logits[:, :-1], dim=-1)
    picked = log_p.gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze()
    return picked * (target != -100).squeeze()


# wrong: reshape instead of transpose brings the vocabulary to axis 1, the numbers get mixed up
def wrong_6(logits, labels):
    batch, time, vocab = logits.shape
    scores = logits[:, :-1].reshape(batch, vocab, time - 1)
    return -F.cross_entropy(scores, labels[:, 1:].long(), ignore_index=-100, reduction="none")


# wrong: detaches the logits, so a loss built on the result has no gradient
def wrong_7(logits, labels):
    target = labels[:, 1:].long()
    log_p = F.log_softmax(logits.detach()[:, :-1], dim=-1)
    picked = log_p.gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return picked.masked_fill(target == -100, 0.0)
