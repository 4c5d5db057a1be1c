import math

import torch


# right: subtracts the scaled product
def right_1(weight, A, B, alpha):
    rank = A.shape[0]
    return weight - (alpha / rank) * (B @ A)


# right: one fused library call with a negative factor
def right_2(weight, A, B, alpha):
    return torch.addmm(weight, B, A, beta=1, alpha=-alpha / B.shape[1])


# right: takes one outer product out after the other, out of place
def right_3(weight, A, B, alpha):
    rank = len(A)

    def component(k):
        return torch.einsum("o,i->oi", B[:, k], A[k]) * alpha / rank

    base = weight.clone()
    for k in range(rank):
        base = base - component(k)
    return base


# right: merges the negated adapter with the earlier exercise
def right_4(weight, A, B, alpha):
    return merged_weight(weight, A, -B, alpha)


# wrong: integer division of alpha by the rank, right only where it divides
def wrong_1(weight, A, B, alpha):
    scale = alpha // A.shape[0]
    return weight - scale * (B @ A)


# wrong: subtracts in place, so the merged weight itself changes and no new tensor is returned
def wrong_2(weight, A, B, alpha):
    with torch.no_grad():
        weight.sub_(B @ A, alpha=alpha / A.shape[0])
    return weight


# wrong: scales by alpha but forgets to divide by the rank
def wrong_3(weight, A, B, alpha):
    return weight - alpha * (B @ A)


# wrong: takes the last side of A, the input width, for the rank
def wrong_4(weight, A, B, alpha):
    rank = A.shape[-1]
    return weight - alpha / rank * (B @ A)


# wrong: hands back the very same tensor, not a new one, when the adapter is still zero
def wrong_5(weight, A, B, alpha):
    if not B.any():
        return weight
    return weight - (alpha / A.shape[0]) * torch.matmul(B, A)


# wrong: computes and returns in float32 whatever the weight's type, so a float64 weight is rounded
def wrong_6(weight, A, B, alpha):
    delta = B.float() @ A.float()
    return weight.float() - alpha / A.shape[0] * delta


# wrong: divides alpha by the root of the rank (rank-stabilised scaling), right at rank 1 only
def wrong_7(weight, A, B, alpha):
    rank = B.shape[1]
    return weight - (alpha / math.sqrt(rank)) * (B @ A)
