import torch
import torch.nn.functional as F


# right: the logits at t predict the label at t + 1, both sliced
def right_1(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:].long()
    picked = logits.log_softmax(-1).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target != -100, picked, torch.zeros_like(picked))


# right: minus cross-entropy with ignore_index
def right_2(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1, :]
    scaled = (logits / temperature).transpose(1, 2)
    return -F.cross_entropy(scaled, labels[:, 1:].long(), ignore_index=-100, reduction="none")


# right: place by place in a double loop
def right_3(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits
    zero = torch.zeros((), dtype=logits.dtype, device=logits.device)

    def one(b, t):
        token = int(labels[b, t + 1])
        if token == -100:
            return zero
        scaled = logits[b, t] / temperature
        return scaled[token] - scaled.logsumexp(0)

    batch, time = ids.shape
    return torch.stack([torch.stack([one(b, t) for t in range(time - 1)]) for b in range(batch)])


# right: picks the places that count with boolean indexing and writes them into zeros
def right_4(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits
    rows, places = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    chosen = logits[rows, places] / temperature
    token = labels[rows, places + 1].long()
    log_probs = chosen[torch.arange(len(token), device=token.device), token] - torch.logsumexp(
        chosen, dim=-1
    )
    out = torch.zeros(ids.shape[0], ids.shape[1] - 1, dtype=logits.dtype, device=logits.device)
    return out.index_put((rows, places), log_probs)


# wrong: shifts logits and labels, but takes the mask from the unshifted labels
def wrong_1(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:].clamp(min=0)
    picked = logits.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return picked.where(labels[:, :-1] != -100, torch.zeros_like(picked))


# wrong: divides the log-probabilities by the temperature instead of the logits; right only at 1
def wrong_2(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1]
    log_probs = logits.log_softmax(-1) / temperature
    target = labels[:, 1:]
    picked = log_probs.gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target != -100, picked, torch.zeros_like(picked))


# wrong: takes labels > 0 for the mask, so response tokens with id 0 are dropped
def wrong_3(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:]
    picked = logits.log_softmax(-1).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target > 0, picked, torch.zeros_like(picked))


# wrong: log of softmax, which underflows to -inf for large logits or low temperatures
def wrong_4(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:]
    picked = torch.log(logits.softmax(-1)).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target != -100, picked, torch.zeros_like(picked))


# wrong: runs the model under no_grad, so the result has no gradient
def wrong_5(model, ids, real, labels, temperature):
    with torch.no_grad():
        logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:]
    picked = logits.log_softmax(-1).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target != -100, picked, torch.zeros_like(picked))


# wrong: puts the model into eval mode and leaves it there
def wrong_6(model, ids, real, labels, temperature):
    model.eval()
    logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:]
    picked = logits.log_softmax(-1).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target != -100, picked, torch.zeros_like(picked))


# wrong: overwrites -100 in a view of the caller's labels, so the next call takes the prompt for response
def wrong_7(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, real)).logits[:, :-1] / temperature
    target = labels[:, 1:]
    mask = target != -100
    target[~mask] = 0
    picked = logits.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return torch.where(mask, picked, torch.zeros_like(picked))


# wrong: treats every place as real, so padding on the left is attended to and shifts the positions
def wrong_8(model, ids, real, labels, temperature):
    logits = model(**inputs(model, ids, torch.ones_like(real))).logits[:, :-1] / temperature
    target = labels[:, 1:]
    picked = logits.log_softmax(-1).gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(target != -100, picked, torch.zeros_like(picked))
