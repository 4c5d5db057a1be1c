import torch


# right: mean and var over the models, the variance without the correction
def right_1(scores, weight):
    return scores.mean(dim=0) - weight * scores.var(dim=0, unbiased=False)


# right: half the mean square of the differences between all pairs of models is the variance
def right_2(scores, weight):
    pairs = scores[:, None, :] - scores[None, :, :]
    return scores.mean(0) - weight * (pairs**2).mean(dim=(0, 1)) / 2


# right: numpy in double precision, one response at a time
def right_3(scores, weight):
    values = scores.detach().cpu().double().numpy()
    out = [column.mean() - float(weight) * column.var() for column in values.T]
    return torch.tensor(out, dtype=scores.dtype, device=scores.device)


# right: mean and squared deviations kept up to date model by model, in double precision
def right_4(scores, weight):
    mean = torch.zeros_like(scores[0], dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for count, score in enumerate(scores.double(), start=1):
        step = score - mean
        mean = mean + step / count
        squares = squares + step * (score - mean)
    return (mean - weight * squares / len(scores)).to(scores.dtype)


# wrong: the default of var divides by the number of models less 1, which is NaN for one model
def wrong_1(scores, weight):
    return scores.mean(0) - weight * scores.var(0)


# wrong: the standard deviation in place of the variance
def wrong_2(scores, weight):
    return scores.mean(0) - weight * scores.std(0, unbiased=False)


# wrong: mean and variance over the batch and not over the models
def wrong_3(scores, weight):
    return scores.mean(1) - weight * scores.var(1, unbiased=False)


# wrong: adds the variance, which rewards disagreement
def wrong_4(scores, weight):
    return scores.mean(0) + weight * scores.var(0, unbiased=False)


# wrong: the mean of the squares less the square of the mean loses all digits where scores are large and close
def wrong_5(scores, weight):
    scores = scores.float()
    mean = scores.mean(0)
    return mean - weight * ((scores**2).mean(0) - mean**2)


# wrong: the sum of the squared deviations is not divided by the number of models
def wrong_6(scores, weight):
    mean = scores.mean(0)
    return mean - weight * ((scores - mean) ** 2).sum(0)


# wrong: what the most pessimistic model says, whatever the weight
def wrong_7(scores, weight):
    return scores.min(dim=0).values


# wrong: the median of the models in place of their mean
def wrong_8(scores, weight):
    return scores.median(dim=0).values - weight * scores.var(0, unbiased=False)


# wrong: one variance over all the models and all the batch, taken off every response alike
def wrong_9(scores, weight):
    return scores.mean(0) - weight * scores.var(unbiased=False)


# wrong: the weight is shared out between the two, so the mean shrinks as well
def wrong_10(scores, weight):
    return (1 - weight) * scores.mean(0) - weight * scores.var(0, unbiased=False)


# wrong: brings each model to mean 0 and deviation 1 over the batch first
def wrong_11(scores, weight):
    scores = scores - scores.mean(1, keepdim=True)
    scores = scores / (scores.std(1, unbiased=False, keepdim=True) + 1e-8)
    return scores.mean(0) - weight * scores.var(0, unbiased=False)


# wrong: the mean absolute deviation in place of the mean squared one
def wrong_12(scores, weight):
    mean = scores.mean(0)
    return mean - weight * (scores - mean).abs().mean(0)


# wrong: uses the weight 0.5 of an example and not the argument
def wrong_13(scores, weight):
    LAMBDA = 0.5
    return scores.mean(0) - LAMBDA * scores.var(0, unbiased=False)


# wrong: takes the mean off in place and so overwrites the caller's scores
def wrong_14(scores, weight):
    mean = scores.mean(0)
    scores -= mean
    return mean - weight * (scores**2).mean(0)
