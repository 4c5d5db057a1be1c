import torch
import torch.nn.functional as F


# right: the formula as it stands
def right_1(weight, A, B, alpha):
    return weight + alpha / A.shape[0] * (B @ A)


# right: torch.addmm with the scale as its alpha
def right_2(weight, A, B, alpha):
    rank = B.shape[1]
    return torch.addmm(weight, B, A, beta=1, alpha=alpha / rank)


# right: a loop over the rank adds scaled outer products to a copy
def right_3(weight, A, B, alpha):
    rank = len(A)
    merged = weight.clone()
    for r in range(rank):
        merged = merged + torch.outer(B[:, r], A[r]) * alpha / rank
    return merged


# right: pushes the unit vectors through the adapter (a column of the update each) and adds the result
def right_4(weight, A, B, alpha):
    def adapter(x):
        return F.linear(F.linear(x, A), B).mul(alpha / A.size(0))

    eye = torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
    return weight + adapter(eye).transpose(0, 1)


# wrong: detach() shares memory, so the in-place add changes the base weight too
def wrong_1(weight, A, B, alpha):
    merged = weight.detach()
    merged += (alpha / A.shape[0] * (B @ A)).detach()
    return merged


# wrong: reads the rank from B's first axis, which is d_out
def wrong_2(weight, A, B, alpha):
    rank = B.shape[0]
    return weight + alpha / rank * (B @ A)


# wrong: builds the transposed product and forces it into shape with reshape, the numbers are in wrong places
def wrong_3(weight, A, B, alpha):
    delta = (A.T @ B.T).reshape(weight.shape)
    return weight + alpha / A.shape[0] * delta


# wrong: for an untrained adapter (B zero) it returns the very same tensor, not a new one
def wrong_4(weight, A, B, alpha):
    if not B.any():
        return weight
    return weight + alpha / A.shape[0] * (B @ A)


# wrong: forms the product in bfloat16 "to save memory", three digits are left
def wrong_5(weight, A, B, alpha):
    delta = (B.to(torch.bfloat16) @ A.to(torch.bfloat16)).to(weight.dtype)
    return weight + alpha / A.shape[0] * delta


# wrong: scales B in place, the adapter is changed and a second merge gives something else
def wrong_6(weight, A, B, alpha):
    with torch.no_grad():
        B.mul_(alpha / A.shape[0])
    return weight + B @ A


# wrong: addmm's beta scales the base weight, the product stays unscaled
def wrong_7(weight, A, B, alpha):
    return torch.addmm(weight, B, A, beta=alpha / A.shape[0])
