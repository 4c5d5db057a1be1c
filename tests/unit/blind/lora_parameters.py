import math

import torch
import torch.nn as nn


# right: the closed form
def right_1(d_out, d_in, rank):
    return rank * (d_out + d_in)


# right: builds both factors without memory and counts their entries
def right_2(d_out, d_in, rank):
    A = torch.empty(rank, d_in, device="meta")
    B = torch.empty(d_out, rank, device="meta")
    return A.numel() + B.numel()


# right: sums the products of the two shapes with a nested helper
def right_3(d_out, d_in, rank):
    def size(*shape):
        return math.prod(shape)

    return sum(size(*shape) for shape in ((d_out, rank), (rank, d_in)))


# right: adds one row of A and one column of B for every unit of rank, in a loop
def right_4(d_out, d_in, rank):
    count = 0
    for _ in range(rank):
        count += d_in
        count += d_out
    return count


# wrong: takes both factors as d_in wide, right for square matrices only
def wrong_1(d_out, d_in, rank):
    return 2 * rank * d_in


# wrong: counts the degrees of freedom of a matrix of this rank instead of the numbers that are trained
def wrong_2(d_out, d_in, rank):
    return rank * (d_out + d_in - rank)


# wrong: adds a bias of d_out numbers, which an adapter does not have
def wrong_3(d_out, d_in, rank):
    A = nn.Linear(d_in, rank, bias=False, device="meta")
    B = nn.Linear(rank, d_out, device="meta")
    return sum(p.numel() for module in (A, B) for p in module.parameters())


# wrong: goes through the share of the full matrix in floats and truncates, one too few for some sizes
def wrong_4(d_out, d_in, rank):
    share = rank / d_out + rank / d_in
    return int(share * d_out * d_in)


# wrong: right number but a float, not an int
def wrong_5(d_out, d_in, rank):
    return (d_out + d_in) / 2 * 2 * rank


# wrong: silently caps the rank at the smaller side, too few for a rank above it
def wrong_6(d_out, d_in, rank):
    rank = min(rank, d_out, d_in)
    return rank * d_out + rank * d_in


# wrong: counts alpha as one more trained number
def wrong_7(d_out, d_in, rank):
    return d_out * rank + rank * d_in + 1
