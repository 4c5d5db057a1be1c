"""Right solutions of lab 08's exercises."""

import math


def a_product(layers, kv_heads, head, rows, length, size):
    return math.prod([2, layers, kv_heads, head, rows, length, size])


def keys_and_values_apart(layers, kv_heads, head, rows, length, size):
    keys = layers * rows * length * kv_heads * head * size
    values = size * head * kv_heads * length * rows * layers
    return float(keys + values)


def layer_by_layer(layers, kv_heads, head, rows, length, size):
    total = 0
    for _ in range(layers):
        total += 2 * kv_heads * head * size * rows * length
    return total


def with_conditions(parts, devices, stage):
    shares = {}
    for part, bytes in parts.items():
        if (
            part == "optimiser states"
            and stage >= 1
            or part == "gradients"
            and stage >= 2
            or part in ("weights", "frozen weights")
            and stage >= 3
        ):
            bytes = bytes / devices
        shares[part] = bytes
    return shares


def with_a_copy(parts, devices, stage):
    shares = dict(parts)
    order = [["optimiser states"], ["gradients"], ["weights", "frozen weights"]]
    for names in order[:stage]:
        for name in names:
            if name in shares:
                shares[name] *= 1 / devices
    return shares


def with_a_comprehension(parts, devices, stage):
    divided = {1: {"optimiser states"}, 2: {"gradients"}, 3: {"weights", "frozen weights"}}
    names = set().union(*(divided[n] for n in range(1, stage + 1)))
    return {name: size / (devices if name in names else 1) for name, size in parts.items()}


def passes_added(parameters, frozen, checkpointing):
    flops = 2 * parameters + 2 * parameters
    if not frozen:
        flops += 2 * parameters
    if checkpointing:
        flops += 2 * parameters
    return flops


def by_table(parameters, frozen, checkpointing):
    return {(0, 0): 6, (0, 1): 8, (1, 0): 4, (1, 1): 6}[
        (int(frozen), int(checkpointing))
    ] * parameters


def with_a_sum(parameters, frozen, checkpointing):
    return sum(2 * parameters for wanted in (True, True, not frozen, checkpointing) if wanted)


RIGHT = {
    "cost.cache_bytes": [a_product, keys_and_values_apart, layer_by_layer],
    "cost.sharded": [with_conditions, with_a_copy, with_a_comprehension],
    "cost.token_flops": [passes_added, by_table, with_a_sum],
}
