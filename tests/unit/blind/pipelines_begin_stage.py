import math

import numpy as np
import torch


# right: merges, draws A anew as LoRA begins, B zero
def right_1(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        new_A = torch.empty_like(A)
        torch.nn.init.kaiming_uniform_(new_A, a=math.sqrt(5))
        return merged, new_A, torch.zeros_like(B)


# right: the other way round, A zero and B drawn, both leaves that ask for gradients
def right_2(weight, A, B, alpha):
    rank = B.size(1)
    merged = torch.addmm(weight.detach(), B.detach(), A.detach(), alpha=alpha / rank)
    new_A = torch.zeros(A.shape, dtype=A.dtype, requires_grad=True)
    new_B = (torch.randn(B.shape, dtype=B.dtype) / rank).requires_grad_()
    return merged, new_A, new_B


# right: keeps the learned A, unless that is zero; B zero; loops over the rank in float64
def right_3(weight, A, B, alpha):
    merged = weight.detach().double().clone()
    for r in range(A.shape[0]):
        merged += (
            alpha / A.shape[0] * torch.outer(B[:, r].detach().double(), A[r].detach().double())
        )
    new_A = A.detach().clone()
    if not new_A.any():
        new_A.normal_(std=0.02)
    return merged.to(weight.dtype), new_A, torch.zeros_like(B.detach())


# right: neither is all zeros where the rank allows it: half of the rank has A, the other half B; B A is zero
def right_4(weight, A, B, alpha):
    rank = A.shape[0]
    half = (rank + 1) // 2
    with torch.no_grad():
        merged = weight + torch.einsum("or,ri->oi", B, A).mul(alpha / rank)
        new_A, new_B = torch.zeros_like(A), torch.zeros_like(B)
        new_A[:half] = torch.randn(half, A.shape[1], dtype=A.dtype) * 0.1
        new_B[:, half:] = torch.randn(B.shape[0], rank - half, dtype=B.dtype) * 0.1
    return merged, new_A, new_B


# right: numpy in float64, back with torch.tensor; A is drawn by numpy
def right_5(weight, A, B, alpha):
    w, a, b = (t.detach().double().numpy() for t in (weight, A, B))
    merged = w + (b * (alpha / a.shape[0])).dot(a)
    fresh = np.random.default_rng(0).normal(size=a.shape) / math.sqrt(a.shape[1])
    return (
        torch.tensor(merged, dtype=weight.dtype),
        torch.tensor(fresh, dtype=A.dtype),
        torch.tensor(np.zeros(b.shape), dtype=B.dtype),
    )


# right: passes the unit vectors through the adapted layer to get the merged weight
def right_6(weight, A, B, alpha):
    with torch.no_grad():
        eye = torch.eye(weight.shape[1], dtype=weight.dtype)
        out = eye @ weight.T + (eye @ A.T @ B.T) * alpha / A.shape[0]
        return out.T.contiguous(), torch.rand_like(A) - 0.5, B * 0


# wrong: the colleague's state, nothing happens between the stages
def wrong_1(weight, A, B, alpha):
    return weight.detach().clone(), A.detach().clone(), B.detach().clone()


# wrong: resets the adapter without a merge, what was learned is lost
def wrong_2(weight, A, B, alpha):
    return weight.detach().clone(), torch.randn_like(A), torch.zeros_like(B)


# wrong: merges and keeps the adapter, which then counts twice
def wrong_3(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / A.shape[0] * (B @ A), A.clone(), B.clone()


# wrong: merges and sets both to zero, the adapter cannot learn
def wrong_4(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / A.shape[0] * (B @ A), torch.zeros_like(A), torch.zeros_like(B)


# wrong: merges without a scale
def wrong_5(weight, A, B, alpha):
    with torch.no_grad():
        return weight + B @ A, torch.randn_like(A), torch.zeros_like(B)


# wrong: merges with alpha alone
def wrong_6(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha * (B @ A), torch.randn_like(A), torch.zeros_like(B)


# wrong: takes d_out for the rank
def wrong_7(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / B.shape[0] * (B @ A), torch.randn_like(A), torch.zeros_like(B)


# wrong: takes d_in for the rank
def wrong_8(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / A.shape[1] * (B @ A), torch.randn_like(A), torch.zeros_like(B)


# wrong: merges into the caller's weight in place
def wrong_9(weight, A, B, alpha):
    with torch.no_grad():
        weight += alpha / A.shape[0] * (B @ A)
        return weight, torch.randn_like(A), torch.zeros_like(B)


# wrong: empties the caller's B in place
def wrong_10(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        new_A = torch.randn_like(A)
        return merged, new_A, B.zero_()


# wrong: hands the caller's own A back, the next stage would train it too
def wrong_11(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / A.shape[0] * (B @ A), A, torch.zeros_like(B)


# wrong: the product in the wrong order, reshaped until it fits (the transpose where d_in = d_out)
def wrong_12(weight, A, B, alpha):
    with torch.no_grad():
        delta = (A.T @ B.T).reshape(weight.shape)
        return weight + alpha / A.shape[0] * delta, torch.randn_like(A), torch.zeros_like(B)


# wrong: takes the adapter out of the weight in place of putting it in
def wrong_13(weight, A, B, alpha):
    with torch.no_grad():
        return weight - alpha / A.shape[0] * (B @ A), torch.randn_like(A), torch.zeros_like(B)


# wrong: both drawn anew and small, so the policy with the adapter on is another
def wrong_14(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        return merged, torch.randn_like(A) * 0.1, torch.randn_like(B) * 0.1


# wrong: zeroes A and keeps B; where the last stage learned nothing B is zero still, and both are
def wrong_15(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / A.shape[0] * (B @ A), torch.zeros_like(A), B.clone()


# wrong: integer division of alpha by the rank
def wrong_16(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha // A.shape[0] * (B @ A), torch.randn_like(A), torch.zeros_like(B)


# wrong: no detach, the weight that should be frozen hangs on the old A and B by the graph
def wrong_17(weight, A, B, alpha):
    merged = weight + alpha / A.shape[0] * (B @ A)
    return merged, torch.randn_like(A), torch.zeros_like(B)


# wrong: B is one zero expanded to the shape, an optimizer's step in place on it fails
def wrong_18(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        return merged, torch.randn_like(A), torch.zeros(1, dtype=B.dtype).expand(B.shape)


# wrong: the new adapter's matrices have their axes swapped
def wrong_19(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        rank = A.shape[0]
        return merged, torch.randn(A.shape[1], rank), torch.zeros(rank, B.shape[0])


# wrong: made under inference_mode, tensors that cannot ask for gradients later
def wrong_20(weight, A, B, alpha):
    with torch.inference_mode():
        merged = weight + alpha / A.shape[0] * (B @ A)
        return merged, torch.randn_like(A), torch.zeros_like(B)


# wrong: merges in bfloat16 and rounds the policy away
def wrong_21(weight, A, B, alpha):
    with torch.no_grad():
        delta = alpha / A.shape[0] * (B.bfloat16() @ A.bfloat16())
        merged = (weight.bfloat16() + delta).to(weight.dtype)
        return merged, torch.randn_like(A), torch.zeros_like(B)


# wrong: cancels the old adapter: merged weight, B with its sign turned; with the adapter on it is the base
def wrong_22(weight, A, B, alpha):
    with torch.no_grad():
        return weight + alpha / A.shape[0] * (B @ A), A.clone(), -B


# wrong: merges half and keeps half: on it is the policy, off it is not
def wrong_23(weight, A, B, alpha):
    with torch.no_grad():
        return weight + 0.5 * alpha / A.shape[0] * (B @ A), A.clone(), 0.5 * B


# wrong: returns what was learned alone, the base weight is missing
def wrong_24(weight, A, B, alpha):
    with torch.no_grad():
        return alpha / A.shape[0] * (B @ A), torch.randn_like(A), torch.zeros_like(B)


# wrong: rank-stabilised scale, alpha over the root of the rank (right for rank 1)
def wrong_25(weight, A, B, alpha):
    with torch.no_grad():
        return (
            weight + alpha / math.sqrt(A.shape[0]) * (B @ A),
            torch.randn_like(A),
            torch.zeros_like(B),
        )


# wrong: empties only the first column of B, right for rank 1
def wrong_26(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        new_B = B.clone()
        new_B[:, 0] = 0
        return merged, torch.randn_like(A), new_B


# wrong: B is "zero" only nearly, 0.01 everywhere
def wrong_27(weight, A, B, alpha):
    with torch.no_grad():
        merged = weight + alpha / A.shape[0] * (B @ A)
        return merged, A.clone(), torch.full_like(B, 0.01)
