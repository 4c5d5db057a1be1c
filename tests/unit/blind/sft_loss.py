import torch
import torch.nn.functional as F


# right: F.cross_entropy over the flattened, shifted batch with ignore_index
def right_1(logits, labels):
    vocab = logits.shape[-1]
    return F.cross_entropy(
        logits[:, :-1].reshape(-1, vocab), labels[:, 1:].reshape(-1).long(), ignore_index=-100
    )


# right: token_log_probs summed, divided by the number of shifted labels that count
def right_2(logits, labels):
    counts = labels[:, 1:] != IGNORE
    return -token_log_probs(logits, labels).sum() / counts.sum()


# right: loops over every place, total over count
def right_3(logits, labels):
    total, count = logits[:, :0].sum(), 0
    for z, y in zip(logits, labels):
        for t in range(1, len(y)):
            token = y[t].item()
            if token == -100:
                continue
            total = total + torch.logsumexp(z[t - 1], dim=-1) - z[t - 1, token]
            count += 1
    return total / count


# right: indices of the places that count, advanced indexing at (row, place - 1, token)
def right_4(logits, labels):
    row, place = torch.nonzero(labels[:, 1:] != -100, as_tuple=True)
    token = labels[row, place + 1].long()
    log_p = torch.log_softmax(logits, dim=2)
    return log_p[row, place, token].mean().neg()


# wrong: the mean runs over masked places too, so prompts and padding dilute it
def wrong_1(logits, labels):
    return -token_log_probs(logits, labels).mean()


# wrong: mean for each response first, then over the batch (short responses weigh more per token)
def wrong_2(logits, labels):
    counts = (labels[:, 1:] != -100).sum(1)
    sums = -token_log_probs(logits, labels).sum(1)
    kept = counts > 0
    return (sums[kept] / counts[kept]).mean()


# wrong: divides by the count of unshifted labels, one too many for each row whose first token has a label
def wrong_3(logits, labels):
    return -token_log_probs(logits, labels).sum() / (labels != -100).sum()


# wrong: takes "log-probability is 0" for "does not count", drops tokens the model is certain of
def wrong_4(logits, labels):
    log_p = token_log_probs(logits, labels)
    return -log_p[log_p != 0].mean()


# wrong: takes each response for one unbroken span from its first to its last label, gaps count as token 0
def wrong_5(logits, labels):
    losses = []
    for z, y in zip(logits[:, :-1], labels[:, 1:].long()):
        places = (y != -100).nonzero().flatten()
        if len(places) == 0:
            continue
        span = slice(int(places[0]), int(places[-1]) + 1)
        losses.append(F.cross_entropy(z[span], y[span].clamp(min=0), reduction="none"))
    return torch.cat(losses).mean()


# wrong: flattens first and shifts then, the last place of a row predicts the first label of the next row
def wrong_6(logits, labels):
    flat_logits = logits.reshape(-1, logits.shape[-1])[:-1]
    flat_labels = labels.reshape(-1)[1:].long()
    return F.cross_entropy(flat_logits, flat_labels, ignore_index=-100)


# wrong: wraps the number in a new tensor, the value is right but there is no gradient
def wrong_7(logits, labels):
    total = -token_log_probs(logits, labels).sum().item()
    count = (labels[:, 1:] != -100).sum().item()
    return torch.tensor(total / max(count, 1), dtype=logits.dtype)
