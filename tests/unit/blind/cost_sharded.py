"""Answers to cost.sharded, written from the exercise's text alone."""

from fractions import Fraction
from functools import reduce


# right: a table of the stage from which a part is divided, in a comprehension
def right_1(parts, devices, stage):
    since = {"optimiser states": 1, "gradients": 2, "weights": 3, "frozen weights": 3}
    return {
        name: size / devices if name in since and stage >= since[name] else size
        for name, size in parts.items()
    }


# right: a copy, changed stage by stage
def right_2(parts, devices, stage):
    result = dict(parts)
    if stage >= 1 and "optimiser states" in result:
        result["optimiser states"] = result["optimiser states"] / devices
    if stage >= 2 and "gradients" in result:
        result["gradients"] = result["gradients"] / devices
    if stage >= 3:
        for name in ("weights", "frozen weights"):
            if name in result:
                result[name] = result[name] / devices
    return result


# right: no branch; the number of devices to the power of a truth value
def right_3(parts, devices, stage):
    order = ("optimiser states", "gradients", "weights", "frozen weights")
    divided = order[: (0, 1, 2, 4)[stage]]
    return dict(zip(parts, map(lambda name: parts[name] / devices ** (name in divided), parts)))


# right: a fold over sets of names, with exact fractions turned into floats at the end
def right_4(parts, devices, stage):
    groups = [set(), {"optimiser states"}, {"gradients"}, {"weights", "frozen weights"}]
    divided = reduce(set.union, groups[: stage + 1], set())
    result = {}
    for name, size in parts.items():
        match name in divided:
            case True:
                result[name] = float(Fraction(size) / devices)
            case _:
                result[name] = size
    return result


# wrong: integer division, though equal parts may be fractions of a byte
def wrong_1(parts, devices, stage):
    since = {"optimiser states": 1, "gradients": 2, "weights": 3, "frozen weights": 3}
    return {
        name: size // devices if stage >= since.get(name, 4) else size
        for name, size in parts.items()
    }


# wrong: divides inside the argument, and copies only when it returns
def wrong_2(parts, devices, stage):
    since = {"optimiser states": 1, "gradients": 2, "weights": 3, "frozen weights": 3}
    for name in parts:
        if stage >= since.get(name, 4):
            parts[name] /= devices
    return dict(parts)


# wrong: on one device returns the argument itself, not a new dict
def wrong_3(parts, devices, stage):
    if devices == 1:
        return parts
    since = {"optimiser states": 1, "gradients": 2, "weights": 3, "frozen weights": 3}
    result = {}
    for name, size in parts.items():
        result[name] = size / devices if stage >= since.get(name, 4) else size
    return result


# wrong: looks for "weights" within the name, so at stage 3 other parts such as "copy of the weights" are divided
def wrong_4(parts, devices, stage):
    result = {}
    for name, size in parts.items():
        if stage >= 1 and name == "optimiser states":
            size = size / devices
        elif stage >= 2 and name == "gradients":
            size = size / devices
        elif stage >= 3 and "weights" in name:
            size = size / devices
        result[name] = size
    return result


# wrong: stage 3 divides everything, activations and other parts included
def wrong_5(parts, devices, stage):
    if stage == 3:
        return {name: size / devices for name, size in parts.items()}
    divided = ["optimiser states", "gradients"][:stage]
    return {name: size / devices if name in divided else size for name, size in parts.items()}


# wrong: takes the last names with [-stage:], which at stage 0 is the whole list, so all are divided
def wrong_6(parts, devices, stage):
    groups = [("weights", "frozen weights"), ("gradients",), ("optimiser states",)]
    divided = [name for group in groups[-stage:] for name in group]
    return {name: size / devices if name in divided else size for name, size in parts.items()}


# wrong: "frozen weights" stand fourth in the list, so stage 3 leaves them whole
def wrong_7(parts, devices, stage):
    order = ["optimiser states", "gradients", "weights", "frozen weights"]
    divided = order[:stage]
    return {name: size / devices if name in divided else size for name, size in parts.items()}


# wrong: a part that is not given appears in the result with 0 bytes
def wrong_8(parts, devices, stage):
    result = dict(parts)
    if stage >= 1:
        result["optimiser states"] = parts.get("optimiser states", 0) / devices
    if stage >= 2:
        result["gradients"] = parts.get("gradients", 0) / devices
    if stage >= 3:
        result["weights"] = parts.get("weights", 0) / devices
        result["frozen weights"] = parts.get("frozen weights", 0) / devices
    return result
