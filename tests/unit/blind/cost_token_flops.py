"""Answers to cost.token_flops, written from the exercise's text alone."""


# right: counts the passes in one expression
def right_1(parameters, frozen, checkpointing):
    return 2 * parameters * (2 + (not frozen) + bool(checkpointing))


# right: adds up pass by pass
def right_2(parameters, frozen, checkpointing):
    one_pass = 2 * parameters
    total = one_pass  # forward
    total += one_pass  # backward to the inputs
    if not frozen:
        total += one_pass  # backward to the weights
    if checkpointing:
        total += one_pass  # forward once more
    return total


# right: a table of the four cases
def right_3(parameters, frozen, checkpointing):
    return (
        parameters
        * {(False, False): 6, (False, True): 8, (True, False): 4, (True, True): 6}[
            bool(frozen), bool(checkpointing)
        ]
    )


# right: a generator that yields the operations of each pass
def right_4(parameters, frozen, checkpointing):
    def passes():
        yield "forward"
        if checkpointing:
            yield "forward again"
        yield "inputs"
        yield from [] if frozen else ["weights"]

    return sum(parameters + parameters for _ in passes())


# wrong: frozen weights have no backward at all, not even to the inputs
def wrong_1(parameters, frozen, checkpointing):
    passes = 1
    if not frozen:
        passes += 2
    if checkpointing:
        passes += 1
    return 2 * parameters * passes


# wrong: elif, so with frozen weights checkpointing costs nothing; only both together is wrong
def wrong_2(parameters, frozen, checkpointing):
    if frozen:
        return 4 * parameters
    elif checkpointing:
        return 8 * parameters
    return 6 * parameters


# wrong: with checkpointing returns before frozen is looked at; only both together is wrong
def wrong_3(parameters, frozen, checkpointing):
    if checkpointing:
        return 8 * parameters
    if frozen:
        return 4 * parameters
    return 6 * parameters


# wrong: checkpointing as a third more of the total, which holds only where weights train
def wrong_4(parameters, frozen, checkpointing):
    total = 4 * parameters if frozen else 6 * parameters
    if checkpointing:
        total = total * 4 / 3
    return total


# wrong: compares with "is True", so frozen given as 1 counts as not frozen
def wrong_5(parameters, frozen, checkpointing):
    passes = 2
    if frozen is not True:
        passes += 1
    if checkpointing:
        passes += 1
    return 2 * parameters * passes


# wrong: precedence, "not" takes in the sum, so any checkpointing adds nothing and drops a pass
def wrong_6(parameters, frozen, checkpointing):
    passes = 2 + (not frozen + checkpointing)
    return 2 * parameters * passes


# wrong: forward again for each of the backward passes, so 10 where weights train; right if frozen
def wrong_7(parameters, frozen, checkpointing):
    backward = 1 if frozen else 2
    forward = 1 + (backward if checkpointing else 0)
    return 2 * parameters * (forward + backward)


# wrong: the extra forward pass counts 1 operation for each parameter rather than 2
def wrong_8(parameters, frozen, checkpointing):
    total = 2 * parameters * (2 if frozen else 3)
    if checkpointing:
        total += parameters
    return total
