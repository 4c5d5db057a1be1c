import functools
import itertools
import math

import numpy as np
import torch


# right: the length with hypot over all numbers
def right_1(shards, limit):
    length = math.hypot(*[x for s in shards for x in s.detach().flatten().tolist()])
    if length <= limit:
        return [s.detach().clone() for s in shards]
    return [(s.detach().double() / length * limit).to(s.dtype) for s in shards]


# right: loops, in units of the largest number, so that no square is too large
def right_2(shards, limit):
    largest = 0.0
    for s in shards:
        if s.numel() > 0:
            largest = max(largest, s.abs().max().item())
    result = [s.detach().clone() for s in shards]
    if largest == 0.0:
        return result
    squares = 0.0
    for s in shards:
        squares += ((s.detach().double() / largest) ** 2).sum().item()
    length = largest * math.sqrt(squares)
    if length > limit:
        for i, s in enumerate(shards):
            result[i] = (s.detach().double() / length).mul(limit).to(s.dtype)
    return result


# right: the lengths of the shards, and the length of these, all scaled by numpy
def right_3(shards, limit):
    arrays = [s.detach().to(torch.float64).numpy() for s in shards]
    largest = max((np.abs(a).max() for a in arrays if a.size), default=0.0)
    unit = largest if largest > 0 else 1.0
    lengths = np.array([np.sqrt(np.square(a / unit).sum()) for a in arrays])
    length = float(np.sqrt(np.dot(lengths, lengths)) * unit)
    result = []
    for shard, array in zip(shards, arrays):
        if length > limit:
            array = array / length * limit
        result.append(torch.tensor(array, dtype=shard.dtype).reshape(shard.shape))
    return result


# right: folds hypot over the numbers, and new tensors from flat lists
def right_4(shards, limit):
    flat = [s.reshape(-1).tolist() for s in shards]
    length = functools.reduce(math.hypot, itertools.chain.from_iterable(flat), 0.0)
    result = []
    for shard, numbers in zip(shards, flat):
        if length > limit:
            numbers = [x / length * limit for x in numbers]
        result.append(torch.tensor(numbers, dtype=shard.dtype).reshape(tuple(shard.shape)))
    return result


# wrong: each process shortens its own part by the length of that part
def wrong_1(shards, limit):
    result = []
    for s in shards:
        length = s.norm().item()
        result.append(s * (limit / length) if length > limit else s.clone())
    return result


# wrong: adds the lengths of the shards up
def wrong_2(shards, limit):
    length = sum(s.norm().item() for s in shards)
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: the length of the longest shard
def wrong_3(shards, limit):
    length = max((s.norm().item() for s in shards), default=0.0)
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: a short gradient is made longer
def wrong_4(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    if length == 0:
        return [s.clone() for s in shards]
    return [s * (limit / length) for s in shards]


# wrong: returns the very tensors where nothing is to be shortened
def wrong_5(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    if length <= limit:
        return list(shards)
    return [s * (limit / length) for s in shards]


# wrong: shortens the caller's tensors in place
def wrong_6(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    if length > limit:
        for s in shards:
            s.mul_(limit / length)
    return [s.clone() for s in shards]


# wrong: cuts each number off at the limit, and the direction is another
def wrong_7(shards, limit):
    return [s.clamp(-limit, limit) for s in shards]


# wrong: forgets the root
def wrong_8(shards, limit):
    length = sum((s.double() ** 2).sum().item() for s in shards)
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: a small number in the denominator, which is not small beside a small limit
def wrong_9(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    factor = min(1.0, limit / (length + 1e-6))
    return [s * factor for s in shards]


# wrong: divides by the length before it looks, which fails for a gradient of zeros
def wrong_10(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    factor = min(1.0, limit / length)
    return [s * factor for s in shards]


# wrong: compares the square of the length with the limit
def wrong_11(shards, limit):
    squares = sum((s.double() ** 2).sum().item() for s in shards)
    if squares > limit:
        return [s * (limit / math.sqrt(squares)) for s in shards]
    return [s.clone() for s in shards]


# wrong: the sum of the absolute numbers for the length
def wrong_12(shards, limit):
    length = sum(s.abs().sum().item() for s in shards)
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: the largest number for the length
def wrong_13(shards, limit):
    length = max((abs(x) for s in shards for x in s.flatten().tolist()), default=0.0)
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: the root of the mean of the squares
def wrong_14(shards, limit):
    numbers = torch.cat([s.flatten().double() for s in shards])
    length = numbers.pow(2).mean().sqrt().item()
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: the shards come back flat
def wrong_15(shards, limit):
    flat = torch.cat([s.flatten() for s in shards])
    length = flat.double().norm().item()
    if length > limit:
        flat = flat * (limit / length)
    return [piece.clone() for piece in flat.split([s.numel() for s in shards])]


# wrong: stacks the shards, which works only for equal shapes
def wrong_16(shards, limit):
    whole = torch.stack(shards)
    length = whole.double().pow(2).sum().sqrt().item()
    if length > limit:
        whole = whole * (limit / length)
    return [s.clone() for s in whole]


# wrong: the 2-norm of linalg, which is the largest singular value for a matrix
def wrong_17(shards, limit):
    lengths = [torch.linalg.norm(s.double(), 2).item() for s in shards]
    length = math.sqrt(sum(x * x for x in lengths))
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: squares in the dtype of the shard, too large for it, and the gradient becomes 0 or NaN
def wrong_18(shards, limit):
    length = math.sqrt(sum(s.square().sum().item() for s in shards))
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: shortens only those shards that are too long themselves
def wrong_19(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    result = []
    for s in shards:
        result.append(s * (limit / length) if s.norm().item() > limit else s.clone())
    return result


# wrong: an equal share of the limit for each shard
def wrong_20(shards, limit):
    share = limit / math.sqrt(max(len(shards), 1))
    result = []
    for s in shards:
        length = s.norm().item()
        result.append(s * (share / length) if length > share else s.clone())
    return result


# wrong: averages the squares over the processes and does not add them up
def wrong_21(shards, limit):
    squares = [(s.double() ** 2).sum().item() for s in shards]
    length = math.sqrt(sum(squares) / max(len(squares), 1))
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: adds the shards up, as if each process held the whole gradient
def wrong_22(shards, limit):
    length = sum(shards).norm().item()
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: leaves empty shards out
def wrong_23(shards, limit):
    filled = [s for s in shards if s.numel() > 0]
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in filled))
    return [s * (limit / length) if length > limit else s.clone() for s in filled]


# wrong: view, which fails for a tensor that does not lie in one piece, like a transposed one
def wrong_24(shards, limit):
    numbers = torch.cat([s.view(-1).double() for s in shards])
    length = numbers.norm().item()
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: process 0 measures its shard, and the others do as it does
def wrong_25(shards, limit):
    length = shards[0].norm().item()
    factor = limit / length if length > limit else 1.0
    return [s * factor for s in shards]


# wrong: looks for the largest number of each shard, which an empty one does not have
def wrong_26(shards, limit):
    unit = max(s.abs().max().item() for s in shards) or 1.0
    length = unit * math.sqrt(sum(((s.double() / unit) ** 2).sum().item() for s in shards))
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: in units of the largest number, and a gradient of zeros becomes NaN
def wrong_27(shards, limit):
    numbers = torch.cat([s.flatten().double() for s in shards])
    if len(numbers) == 0:
        return [s.clone() for s in shards]
    unit = numbers.abs().max()
    length = unit * (numbers / unit).norm()
    factor = torch.clamp(limit / length, max=1.0).item()
    return [s * factor for s in shards]


# wrong: over numpy without a copy, and what is not shortened shares its memory
def wrong_28(shards, limit):
    arrays = [s.numpy() for s in shards]
    length = math.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in arrays))
    if length > limit:
        return [s * (limit / length) for s in shards]
    return [torch.from_numpy(a) if a.ndim else torch.tensor(a) for a in arrays]


# wrong: the library's clipping, which works in place and so on the caller's tensors
def wrong_29(shards, limit):
    holders = [torch.nn.Parameter(torch.zeros_like(s)) for s in shards]
    for holder, s in zip(holders, shards):
        holder.grad = s
    torch.nn.utils.clip_grad_norm_(holders, limit)
    return [holder.grad.clone() for holder in holders]


# wrong: the signs are lost
def wrong_30(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    if length > limit:
        return [s.abs() * (limit / length) for s in shards]
    return [s.clone() for s in shards]


# wrong: the root is in the comparison but not in the factor
def wrong_31(shards, limit):
    squares = sum((s.double() ** 2).sum().item() for s in shards)
    if math.sqrt(squares) > limit:
        return [s * (limit / squares) for s in shards]
    return [s.clone() for s in shards]


# wrong: the root of the factor, one root too many
def wrong_32(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    if length > limit:
        return [s * math.sqrt(limit / length) for s in shards]
    return [s.clone() for s in shards]


# wrong: makes unit length of what is too long, and forgets the limit
def wrong_33(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    if length > limit:
        return [s / length for s in shards]
    return [s.clone() for s in shards]


# wrong: dot products, which there are only for vectors
def wrong_34(shards, limit):
    length = math.sqrt(sum(torch.dot(s.double(), s.double()).item() for s in shards))
    return [s * (limit / length) if length > limit else s.clone() for s in shards]


# wrong: all in float32, so numbers of a float64 shard are rounded or vanish
def wrong_35(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    factor = min(1.0, limit / length) if length > 0 else 1.0
    return [(s.float() * factor).to(s.dtype) for s in shards]


# wrong: measures anew after every shard that it has shortened
def wrong_36(shards, limit):
    result = [s.clone() for s in shards]
    for i in range(len(result)):
        length = math.sqrt(sum((s.double() ** 2).sum().item() for s in result))
        if length > limit:
            result[i] = result[i] * (limit / length)
    return result


# wrong: the numbers of the first axis only, for each column a length of its own
def wrong_37(shards, limit):
    whole = [s.reshape(len(s), -1) if s.dim() > 0 else s.reshape(1, 1) for s in shards]
    result = []
    for s, rows in zip(shards, whole):
        lengths = rows.norm(dim=0, keepdim=True)
        factor = torch.where(lengths > limit, limit / lengths, torch.ones_like(lengths))
        result.append((rows * factor).reshape(s.shape))
    return result


# wrong: zeros in place of a gradient that is too long, as if the step were skipped
def wrong_38(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    return [torch.zeros_like(s) if length > limit else s.clone() for s in shards]


# wrong: detach for a copy, which shares the memory
def wrong_39(shards, limit):
    length = math.sqrt(sum((s.double() ** 2).sum().item() for s in shards))
    factor = min(1.0, limit / length) if length > 0 else 1.0
    return [s.detach() if factor == 1.0 else s.detach() * factor for s in shards]
