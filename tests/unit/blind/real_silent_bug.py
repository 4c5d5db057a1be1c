import itertools

import numpy as np
import torch


# right: compares each position with the row's two bounds
def right_1(ids, prompts, lengths):
    at = torch.arange(ids.shape[1], device=ids.device)[None]
    keep = (at >= prompts[:, None]) & (at < lengths[:, None])
    return ids.masked_fill(~keep, -100)


# right: a tensor of -100 into which each row's slice is copied
def right_2(ids, prompts, lengths):
    labels = torch.full_like(ids, -100)
    for row, (first, stop) in enumerate(zip(prompts.tolist(), lengths.tolist())):
        labels[row, first:stop] = ids[row, first:stop]
    return labels


# right: rows of a triangle say which positions lie before a bound
def right_3(ids, prompts, lengths):
    time = ids.shape[1]
    before = torch.ones(time + 1, time, dtype=torch.bool, device=ids.device).tril(-1)
    return torch.where(before[lengths.long()] & ~before[prompts.long()], ids, -100)


# right: +1 where the response begins, −1 where it stops, and the running sum of that
def right_4(ids, prompts, lengths):
    batch, time = ids.shape
    steps = torch.zeros(batch, time + 1, dtype=torch.long, device=ids.device)
    one = torch.ones(batch, 1, dtype=torch.long, device=ids.device)
    steps.scatter_add_(1, prompts[:, None].long(), one)
    steps.scatter_add_(1, lengths[:, None].long(), -one)
    inside = steps.cumsum(1)[:, :time].to(ids.dtype)
    return ids * inside - 100 * (1 - inside)


# right: plain lists, put together again
def right_5(ids, prompts, lengths):
    rows = []
    for row, p, n in zip(ids.tolist(), prompts.tolist(), lengths.tolist()):
        rows.append([-100] * p + row[p:n] + [-100] * (len(row) - n))
    return torch.tensor(rows, dtype=ids.dtype, device=ids.device)


# right: numpy, masks the prompt and the padding one after the other in a copy
def right_6(ids, prompts, lengths):
    labels = np.array(ids.cpu().numpy(), copy=True)
    for row, p, n in zip(labels, prompts.tolist(), lengths.tolist()):
        row[:p] = -100
        row[n:] = -100
    return torch.from_numpy(labels).to(ids.device)


# right: a list of the positions that count, and one assignment by index
def right_7(ids, prompts, lengths):
    spans = [range(p, n) for p, n in zip(prompts.tolist(), lengths.tolist())]
    rows = [i for i, span in enumerate(spans) for _ in span]
    columns = list(itertools.chain.from_iterable(spans))
    where = torch.tensor([rows, columns], dtype=torch.long, device=ids.device)
    labels = ids.new_full(ids.shape, -100)
    labels[where[0], where[1]] = ids[where[0], where[1]]
    return labels


# wrong: finds padding by its id, taken from the end of the row, and so drops every end
def wrong_1(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    labels = ids.masked_fill(at < prompts[:, None], -100)
    return labels.masked_fill(ids == ids[:, -1:], -100)


# wrong: masks the prompt but not the padding
def wrong_2(ids, prompts, lengths):
    return ids.masked_fill(torch.arange(ids.shape[1]) < prompts[:, None], -100)


# wrong: masks the padding but not the prompt
def wrong_3(ids, prompts, lengths):
    return ids.masked_fill(torch.arange(ids.shape[1]) >= lengths[:, None], -100)


# wrong: one position of padding counts
def wrong_4(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at <= lengths[:, None])
    return torch.where(keep, ids, -100)


# wrong: the first token of the response does not count
def wrong_5(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at > prompts[:, None]) & (at < lengths[:, None])
    return torch.where(keep, ids, -100)


# wrong: the last token of the response, its end, does not count
def wrong_6(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths[:, None] - 1)
    return torch.where(keep, ids, -100)


# wrong: the last token of the prompt counts
def wrong_7(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None] - 1) & (at < lengths[:, None])
    return torch.where(keep, ids, -100)


# wrong: takes lengths for those of the response without the prompt
def wrong_8(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < (prompts + lengths)[:, None])
    return torch.where(keep, ids, -100)


# wrong: masks in place, in the caller's own ids
def wrong_9(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    outside = (at < prompts[:, None]) | (at >= lengths[:, None])
    return ids.masked_fill_(outside, -100)


# wrong: takes views of the rows for copies, and so writes into the caller's ids
def wrong_10(ids, prompts, lengths):
    rows = list(ids)
    for row, p, n in zip(rows, prompts.tolist(), lengths.tolist()):
        row[:p] = -100
        row[n:] = -100
    return torch.stack(rows)


# wrong: moves the labels to the left by one, which the model's loss does already
def wrong_11(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths[:, None])
    labels = torch.where(keep, ids, -100)
    return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], -100)], 1)


# wrong: counts the padding from the right, and −0 masks a row that has none altogether
def wrong_12(ids, prompts, lengths):
    labels = ids.clone()
    for row in range(ids.shape[0]):
        labels[row, : int(prompts[row])] = -100
        labels[row, -(ids.shape[1] - int(lengths[row])) :] = -100
    return labels


# wrong: an empty response still gets one label
def wrong_13(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    stop = torch.maximum(lengths, prompts + 1)
    keep = (at >= prompts[:, None]) & (at < stop[:, None])
    return torch.where(keep, ids, -100)


# wrong: multiplies by the mask and takes each 0 for masked, so a token with the id 0 is lost
def wrong_14(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths[:, None])
    labels = ids * keep
    return labels.masked_fill(labels == 0, -100)


# wrong: bounds along the other axis, which works only where batch and time are equal
def wrong_15(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts) & (at < lengths)
    return torch.where(keep, ids, -100)


# wrong: the prompt of the first row stands for all
def wrong_16(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[0]) & (at < lengths[:, None])
    return torch.where(keep, ids, -100)


# wrong: the longest row's length stands for all
def wrong_17(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths.max())
    return torch.where(keep, ids, -100)


# wrong: takes the rows to be padded on the left
def wrong_18(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    return torch.where(at >= ids.shape[1] - (lengths - prompts)[:, None], ids, -100)


# wrong: returns floats, so the loss will not take them
def wrong_19(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths[:, None])
    return torch.where(keep, ids.float(), -100.0)


# wrong: masks with 0
def wrong_20(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths[:, None])
    return torch.where(keep, ids, 0)


# wrong: the response stops at the first token that equals the one it ends with
def wrong_21(ids, prompts, lengths):
    labels = torch.full_like(ids, -100)
    for row, (p, n) in enumerate(zip(prompts.tolist(), lengths.tolist())):
        response = ids[row, p:n].tolist()
        if response:
            n = p + response.index(response[-1]) + 1
        labels[row, p:n] = ids[row, p:n]
    return labels


# wrong: keeps the answer but drops each earlier id that equals the padding, then sets the last
def wrong_22(ids, prompts, lengths):
    at = torch.arange(ids.shape[1])
    keep = (at >= prompts[:, None]) & (at < lengths[:, None]) & (ids != ids[:, -1:])
    labels = torch.where(keep, ids, -100)
    for row, (p, n) in enumerate(zip(prompts.tolist(), lengths.tolist())):
        if n > p:
            labels[row, n - 1] = ids[row, n - 1]
    return labels


# wrong: packs the response at the front of the row and not where its tokens stand
def wrong_23(ids, prompts, lengths):
    labels = torch.full_like(ids, -100)
    for row, (p, n) in enumerate(zip(prompts.tolist(), lengths.tolist())):
        labels[row, : n - p] = ids[row, p:n]
    return labels
