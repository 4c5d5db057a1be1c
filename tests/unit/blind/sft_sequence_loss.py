import torch
import torch.nn.functional as F


# right: sum over time, mean over the batch
def right_1(logits, labels):
    return -token_log_probs(logits, labels).sum(dim=1).mean()


# right: summed F.cross_entropy over the flattened batch, divided by the number of rows
def right_2(logits, labels):
    total = F.cross_entropy(
        logits[:, :-1].flatten(0, 1),
        labels[:, 1:].flatten().long(),
        ignore_index=IGNORE,
        reduction="sum",
    )
    return total / logits.size(0)


# right: a loop over the responses with a helper, then the mean of the stacked sums
def right_3(logits, labels):
    def one(z, y):
        y = y[1:].long()
        keep = y != -100
        log_p = z[:-1][keep].log_softmax(-1)
        return -log_p[torch.arange(len(log_p)), y[keep]].sum()

    return torch.stack([one(z, y) for z, y in zip(logits, labels)]).mean()


# right: nats collected for each row by index_add, rows without a label stay at 0 and count in the average
def right_4(logits, labels):
    row, place = torch.where(labels[:, 1:] != -100)
    z = logits[row, place]
    target = labels[row, place + 1].long()
    nats = z.logsumexp(-1) - z.gather(1, target.unsqueeze(1)).squeeze(1)
    sums = logits.new_zeros(len(logits)).index_add(0, row, nats)
    return torch.einsum("b->", sums) / sums.numel()


# wrong: mean over each response's tokens in place of the sum (length-normalised)
def wrong_1(logits, labels):
    counts = (labels[:, 1:] != -100).sum(dim=1).clamp(min=1)
    return -(token_log_probs(logits, labels).sum(dim=1) / counts).mean()


# wrong: averages only over rows that have a token that counts, not over the batch
def wrong_2(logits, labels):
    sums = -token_log_probs(logits, labels).sum(dim=1)
    has_tokens = (labels[:, 1:] != -100).any(dim=1)
    return sums[has_tokens].mean()


# wrong: token mean times mean length, with the length counted on unshifted labels (first column included)
def wrong_3(logits, labels):
    mean_length = (labels != -100).sum(dim=1).to(logits.dtype).mean()
    return sft_loss(logits, labels) * mean_length


# wrong: sums over the batch axis and averages over time
def wrong_4(logits, labels):
    return -token_log_probs(logits, labels).sum(dim=0).mean()


# wrong: squeeze() drops the time axis when only one place is predicted, then the batch is summed
def wrong_5(logits, labels):
    log_p = token_log_probs(logits, labels).squeeze()
    return -log_p.sum(dim=-1).mean()


# wrong: multiplies the probabilities and takes the log at the end, long or unlikely responses underflow to inf
def wrong_6(logits, labels):
    likelihood = token_log_probs(logits, labels).exp().prod(dim=1)
    return -likelihood.log().mean()


# wrong: flattens before the shift, so a row's last logits are scored on the next row's first label
def wrong_7(logits, labels):
    flat_logits = logits.flatten(0, 1)[:-1]
    flat_labels = labels.flatten()[1:].long()
    total = F.cross_entropy(flat_logits, flat_labels, ignore_index=-100, reduction="sum")
    return total / logits.shape[0]
