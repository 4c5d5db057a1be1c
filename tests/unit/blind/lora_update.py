import math

import torch
import torch.nn.functional as F


# right: two matrix products with transposed weights
def right_1(x, A, B, alpha):
    return (alpha / A.shape[0]) * (x @ A.T @ B.T)


# right: one einsum over all three
def right_2(x, A, B, alpha):
    rank = B.size(1)
    return torch.einsum("...i,ri,or->...o", x, A, B) * (alpha / rank)


# right: two F.linear calls, the scale put on the small middle activations
def right_3(x, A, B, alpha):
    def down(h):
        return F.linear(h, A)

    def up(h):
        return F.linear(h, B)

    return up(down(x) * alpha / len(A))


# right: a loop over the rank, one outer product after the other
def right_4(x, A, B, alpha):
    rank = A.shape[0]
    out = x.new_zeros(*x.shape[:-1], B.shape[0])
    for a, b in zip(A.unbind(0), B.unbind(1)):
        out = out + (x * a).sum(-1, keepdim=True) * b
    return out * alpha / rank


# wrong: divides by the square root of the rank (rsLoRA), the same only for rank 1
def wrong_1(x, A, B, alpha):
    return alpha / math.sqrt(A.shape[0]) * (x @ A.T @ B.T)


# wrong: takes the smaller side of A for the rank, wrong when rank > d_in
def wrong_2(x, A, B, alpha):
    rank = min(A.shape)
    return alpha / rank * F.linear(F.linear(x, A), B)


# wrong: integer division, the scale is rounded down (0 when alpha < rank)
def wrong_3(x, A, B, alpha):
    rank = A.shape[0]
    return (alpha // rank) * (x @ A.T @ B.T)


# wrong: scales the caller's x in place (and fails on an x that requires grad)
def wrong_4(x, A, B, alpha):
    x *= alpha / A.shape[0]
    return F.linear(F.linear(x, A), B)


# wrong: squeeze() removes a batch axis of one row from the result
def wrong_5(x, A, B, alpha):
    column = x.unsqueeze(-1)
    out = (B @ (A @ column)).squeeze()
    return out * alpha / A.shape[0]


# wrong: adds LoRA's dropout, which without training=False is always on: right only on average
def wrong_6(x, A, B, alpha):
    return alpha / A.shape[0] * F.linear(F.linear(F.dropout(x, p=0.05), A), B)


# wrong: the product is built under no_grad, so A and B get no gradient
def wrong_7(x, A, B, alpha):
    with torch.no_grad():
        delta = (alpha / A.shape[0]) * (B @ A)
    return F.linear(x, delta)
