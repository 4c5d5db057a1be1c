import itertools

import torch


# right: the buggy version with the labels padded by -100 straight away
def right_1(examples, pad_id):
    longest = max((len(ids) for ids, _ in examples), default=0)
    ids = [ids + [pad_id] * (longest - len(ids)) for ids, _ in examples]
    labels = [labels + [IGNORE] * (longest - len(labels)) for _, labels in examples]
    return torch.tensor(ids, dtype=torch.long), torch.tensor(labels, dtype=torch.long)


# right: two full tensors, each row's front overwritten
def right_2(examples, pad_id):
    shape = (len(examples), max((len(i) for i, _ in examples), default=0))
    ids = torch.full(shape, pad_id, dtype=torch.long)
    labels = torch.full(shape, -100, dtype=torch.long)
    for row, (i, l) in enumerate(examples):
        ids[row, : len(i)] = torch.tensor(i, dtype=torch.long)
        labels[row, : len(l)] = torch.tensor(l, dtype=torch.long)
    return ids, labels


# right: pad_sequence with two different padding values
def right_3(examples, pad_id):
    def pad(lists, value):
        rows = [torch.tensor(one, dtype=torch.long) for one in lists]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    return pad([i for i, _ in examples], pad_id), pad([l for _, l in examples], -100)


# right: zip_longest transposes the batch, the mask of padding comes from the lengths
def right_4(examples, pad_id):
    lengths = torch.tensor([len(i) for i, _ in examples])
    ids = torch.tensor(
        list(itertools.zip_longest(*(i for i, _ in examples), fillvalue=pad_id)), dtype=torch.long
    ).T
    labels = torch.tensor(
        list(itertools.zip_longest(*(l for _, l in examples), fillvalue=pad_id)), dtype=torch.long
    ).T
    padding = torch.arange(ids.shape[1]) >= lengths[:, None]
    return ids.contiguous(), labels.masked_fill(padding, -100)


# wrong: masks wherever the id is the padding token, so the true stop token is masked too (the bug again)
def wrong_1(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    ids = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in examples])
    labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in examples])
    return ids, labels.masked_fill(ids == pad_id, -100)


# wrong: always writes a stop label at the last real place, also where the example was cut off or masked there
def wrong_2(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    ids = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in examples])
    labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in examples])
    for row, (_, original) in enumerate(examples):
        labels[row, len(original) - 1] = pad_id
    return ids, labels


# wrong: lets the first padding token count as "the stop token", shorter rows learn a second stop
def wrong_3(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    all_ids, all_labels = [], []
    for ids, labels in examples:
        gap = longest - len(ids)
        all_ids.append(ids + [pad_id] * gap)
        all_labels.append((labels + [pad_id] + [-100] * gap)[:longest])
    return torch.tensor(all_ids), torch.tensor(all_labels)


# wrong: extends the caller's lists in place, the examples stay padded for the next batch
def wrong_4(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    for ids, labels in examples:
        gap = longest - len(ids)
        ids.extend([pad_id] * gap)
        labels.extend([-100] * gap)
    return torch.tensor([i for i, _ in examples]), torch.tensor([l for _, l in examples])


# wrong: pad_sequence's default pads the ids with 0, not with pad_id
def wrong_5(examples, pad_id):
    ids = [torch.tensor(i) for i, _ in examples]
    labels = [torch.tensor(l) for _, l in examples]
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(ids, batch_first=True), pad(labels, batch_first=True, padding_value=-100)


# wrong: takes the first stop token of a row for its end, an earlier one (in the prompt) masks all that follows
def wrong_6(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    ids = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in examples])
    labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in examples])
    is_stop = (ids == pad_id).long()
    after_stop = is_stop.cumsum(1) - is_stop > 0
    labels[after_stop] = -100
    return ids, labels


# wrong: sorts the examples by length (as pack_padded_sequence once wanted), the rows come in another order
def wrong_7(examples, pad_id):
    ordered = sorted(examples, key=lambda pair: len(pair[0]), reverse=True)
    longest = len(ordered[0][0])
    ids = torch.tensor([i + [pad_id] * (longest - len(i)) for i, _ in ordered])
    labels = torch.tensor([l + [-100] * (longest - len(l)) for _, l in ordered])
    return ids, labels
