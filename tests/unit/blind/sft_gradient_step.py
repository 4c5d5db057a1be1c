import torch


# right: no_grad loop, gradient set to None
def right_1(parameters, learning_rate):
    with torch.no_grad():
        for p in parameters:
            if p.grad is not None:
                p -= learning_rate * p.grad
                p.grad = None


# right: through p.data, the gradient zeroed in place
def right_2(parameters, learning_rate):
    for p in parameters:
        if p.grad is None:
            continue
        p.data.sub_(p.grad.detach(), alpha=learning_rate)
        p.grad.detach_()
        p.grad.zero_()


# right: torch.optim.SGD over the distinct parameters that have a gradient
def right_3(parameters, learning_rate):
    active = list({id(p): p for p in parameters if p.grad is not None}.values())
    if active:
        optimiser = torch.optim.SGD(active, lr=learning_rate)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


# right: decorated helper writes the new value with copy_, tied entries are stepped once
def right_4(parameters, learning_rate):
    @torch.no_grad()
    def step(p):
        gradient, p.grad = p.grad, None
        if gradient is not None:
            p.copy_(p - learning_rate * gradient)

    for p in parameters:
        step(p)


# wrong: switches autograd off for the whole program and never on again
def wrong_1(parameters, learning_rate):
    torch.set_grad_enabled(False)
    for p in parameters:
        if p.grad is not None:
            p -= learning_rate * p.grad
            p.grad = None


# wrong: puts new tensors into the list, the model's own parameters stay as they were
def wrong_2(parameters, learning_rate):
    for i, p in enumerate(parameters):
        if p.grad is not None:
            parameters[i] = (p - learning_rate * p.grad).detach().requires_grad_()


# wrong: stops at the first parameter without a gradient, later ones are not updated
def wrong_3(parameters, learning_rate):
    with torch.no_grad():
        for p in parameters:
            if p.grad is None:
                break
            p.sub_(learning_rate * p.grad)
            p.grad = None


# wrong: the clearing is outside the loop, only the last parameter's gradient is cleared
def wrong_4(parameters, learning_rate):
    with torch.no_grad():
        for p in parameters:
            if p.grad is not None:
                p.sub_(learning_rate * p.grad)
        if parameters:
            p.grad = None


# wrong: clips the gradient norm to 1 "for stability", so large gradients give another step
def wrong_5(parameters, learning_rate):
    torch.nn.utils.clip_grad_norm_(parameters, max_norm=1.0)
    with torch.no_grad():
        for p in parameters:
            if p.grad is not None:
                p.add_(p.grad, alpha=-learning_rate)
                p.grad = None


# wrong: turns requires_grad off to be allowed to write in place and does not turn it on again
def wrong_6(parameters, learning_rate):
    for p in parameters:
        if p.grad is not None:
            p.requires_grad_(False)
            p -= learning_rate * p.grad
            p.grad = None


# wrong: the in-place write on a leaf raises without no_grad, the except swallows it: nothing moves
def wrong_7(parameters, learning_rate):
    for p in parameters:
        try:
            p -= learning_rate * p.grad
        except (RuntimeError, TypeError):
            pass
        p.grad = None
