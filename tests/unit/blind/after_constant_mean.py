import torch


# right: where puts 0 at what does not count
def right_1(values, counts, longest):
    return torch.where(counts, values, torch.zeros_like(values)).sum() / (len(values) * longest)


# right: an index by the mask, summed in double precision
def right_2(values, counts, longest):
    total = values[counts].double().sum()
    return (total / (values.shape[0] * longest)).to(values.dtype)


# right: a loop over rows, the mean over the responses of each row's sum divided by longest
def right_3(values, counts, longest):
    rows = [row[which].sum() / longest for row, which in zip(values, counts)]
    return torch.stack(rows).mean()


# right: masked_fill, then an einsum over both axes
def right_4(values, counts, longest):
    kept = values.masked_fill(~counts, 0.0)
    return torch.einsum("bt->", kept) / (kept.size(0) * longest)


# wrong: a product with the mask, so a NaN outside of it makes the result NaN
def wrong_1(values, counts, longest):
    return (values * counts).sum() / (len(values) * longest)


# wrong: divides by the number of tokens that count, the mean over tokens
def wrong_2(values, counts, longest):
    return values[counts].sum() / counts.sum()


# wrong: divides by the width of the tensor and not by longest
def wrong_3(values, counts, longest):
    kept = torch.where(counts, values, torch.zeros_like(values))
    return kept.sum() / kept.numel()


# wrong: sums over the responses, divided by longest alone
def wrong_4(values, counts, longest):
    return values[counts].sum() / longest


# wrong: writes the zeros into the caller's values (an error where it is a leaf that requires grad)
def wrong_5(values, counts, longest):
    values[~counts] = 0
    return values.sum() / (len(values) * longest)


# wrong: cuts the columns at longest, though the tokens that count may stand further to the right
def wrong_6(values, counts, longest):
    values, counts = values[:, :longest], counts[:, :longest]
    return values[counts].sum() / (len(values) * longest)


# wrong: takes for granted that the tokens that count stand at the beginning of each row
def wrong_7(values, counts, longest):
    total = 0.0
    for row, length in zip(values, counts.sum(1).tolist()):
        total = total + row[:length].sum()
    return total / (len(values) * longest)


# wrong: a response without any token that counts is not counted among the responses
def wrong_8(values, counts, longest):
    responses = counts.any(1).sum().clamp(min=1)
    return values[counts].sum() / (responses * longest)
