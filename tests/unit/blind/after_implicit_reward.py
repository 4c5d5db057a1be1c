import torch


# right: the difference of the log-probabilities, times beta
def right_1(log_probs, ref_log_probs, beta):
    return beta * (log_probs - ref_log_probs)


# right: the product is spread over both terms, in double precision
def right_2(log_probs, ref_log_probs, beta):
    reward = beta * log_probs.double() - beta * ref_log_probs.double()
    return reward.to(log_probs.dtype)


# right: walks over the single elements and puts the shape back, gradients kept
def right_3(log_probs, ref_log_probs, beta):
    pairs = list(zip(log_probs.reshape(-1), ref_log_probs.reshape(-1)))
    if not pairs:
        return log_probs - ref_log_probs
    return torch.stack([(p - r) * beta for p, r in pairs]).reshape(log_probs.shape)


# right: einsum with the weights (beta, -beta) over the two stacked tensors, any shape
def right_4(log_probs, ref_log_probs, beta):
    both = torch.stack([log_probs, ref_log_probs], dim=-1)
    weights = torch.tensor([1.0, -1.0], dtype=both.dtype, device=both.device)
    return torch.einsum("...k,k->...", both, weights) * beta


# wrong: the sign is turned, the reference's log-probability minus the policy's
def wrong_1(log_probs, ref_log_probs, beta):
    return beta * (ref_log_probs - log_probs)


# wrong: divides by beta, as in the exponent of the optimal policy, in place of multiplying
def wrong_2(log_probs, ref_log_probs, beta):
    return (log_probs - ref_log_probs) / beta


# wrong: uses the beta 0.1 of the notebook and not the argument
def wrong_3(log_probs, ref_log_probs, beta):
    BETA = 0.1
    return BETA * (log_probs - ref_log_probs)


# wrong: subtracts in place and so overwrites the caller's log_probs (an error where it requires grad)
def wrong_4(log_probs, ref_log_probs, beta):
    log_probs -= ref_log_probs
    return beta * log_probs


# wrong: takes the logarithm of a ratio of probabilities, which underflow to 0 / 0 for whole responses
def wrong_5(log_probs, ref_log_probs, beta):
    return beta * torch.log(torch.exp(log_probs) / torch.exp(ref_log_probs))


# wrong: sums over the last axis, as if the inputs were log-probabilities of tokens
def wrong_6(log_probs, ref_log_probs, beta):
    return beta * (log_probs - ref_log_probs).sum(-1)


# wrong: beta weighs the reference only, for a missing pair of brackets
def wrong_7(log_probs, ref_log_probs, beta):
    return log_probs - beta * ref_log_probs


# wrong: takes off the mean over the batch to stand for the term with Z
def wrong_8(log_probs, ref_log_probs, beta):
    reward = beta * (log_probs - ref_log_probs)
    return reward - reward.mean()
