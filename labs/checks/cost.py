"""The checks of lab 08's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import random
from collections.abc import Callable

from checks.shared import RETURNS_NOTHING, expect_on_all, kind_of, needs_something
from course import Exercise, Mistake
from planning import cost, memory

DIGITS = 9  # that two numbers must share; the order of a product moves the sixteenth


def as_number(value, *given) -> float:
    """What was returned as a number; or a Mistake."""
    needs_something(value)
    try:
        return float(f"{float(value):.{DIGITS}g}")
    except (TypeError, ValueError):
        raise Mistake(
            f"a number is expected, yours is {kind_of(value)}", next="return it"
        ) from None


# The cache ----------------------------------------------------------------------------------------

cache_bytes = Exercise("cost.cache_bytes", reference=memory.cache_bytes, minutes=8, difficulty=1)
EVERY_SIZE = "what is stored for one token, in one layer, for one head? Then multiply"


def _cache_without(name: str) -> Callable:
    """The solution that forgets one of the arguments."""

    def wrong(layers, kv_heads, head, rows, length, size):
        given = {"layers": layers, "kv_heads": kv_heads, "head": head, "rows": rows}
        given |= {"length": length, "size": size}
        return memory.cache_bytes(**given | {name: 1})

    return wrong


@cache_bytes.wrong("a key and a value are stored, and this counts one", next="multiply by 2")
def keys_alone(layers, kv_heads, head, rows, length, size):
    return memory.cache_bytes(layers, kv_heads, head, rows, length, size) / 2


for _name, _message in {
    "layers": "each layer has a cache of its own",
    "kv_heads": "each head of keys and values has its own",
    "head": "a key is as many numbers as a head is wide",
    "rows": "each row has a cache of its own",
    "length": "each token of a row adds a key and a value",
    "size": "these are numbers, and bytes are asked for",
}.items():
    _wrong = _cache_without(_name)
    _wrong.__name__ = f"without_{_name}"
    cache_bytes.wrong(_message, next=EVERY_SIZE)(_wrong)


@cache_bytes.wrong("a cache grows with the length, not with its square", next="drop one length")
def all_pairs(layers, kv_heads, head, rows, length, size):
    return memory.cache_bytes(layers, kv_heads, head, rows, length, size) * length


@cache_bytes.wrong("these are bits, and bytes are asked for", next="a byte is 8 bits")
def in_bits(layers, kv_heads, head, rows, length, size):
    return 8 * memory.cache_bytes(layers, kv_heads, head, rows, length, size)


@cache_bytes.wrong("bytes are asked for, not GB", next="leave out the division")
def in_gigabytes(layers, kv_heads, head, rows, length, size):
    return memory.cache_bytes(layers, kv_heads, head, rows, length, size) / 1e9


@cache_bytes.wrong("bytes are asked for, not GiB", next="leave out the division")
def in_gibibytes(layers, kv_heads, head, rows, length, size):
    return memory.cache_bytes(layers, kv_heads, head, rows, length, size) / 2**30


@cache_bytes.wrong("queries are not stored: no later token asks for them", next="a key and a value")
def queries_too(layers, kv_heads, head, rows, length, size):
    return 3 * memory.cache_bytes(layers, kv_heads, head, rows, length, size) / 2


@cache_bytes.wrong("the sizes are multiplied, not added", next=EVERY_SIZE)
def added(layers, kv_heads, head, rows, length, size):
    return 2 * (layers + kv_heads + head + rows + length) * size


def some_sizes(seed: int) -> tuple[int, ...]:
    """Six sizes, all different, none of which is the product of others; none is 1 or 2."""
    rng = random.Random(seed)
    primes = [11, 13, 17, 19, 23, 29, 31, 37]
    return (*rng.sample(primes, 5), 4)


@cache_bytes.check(points=2)
def multiplies_everything(student, seed):
    otherwise = "this is not what the cache takes", EVERY_SIZE
    inputs = [some_sizes(seed + step) for step in range(3)]
    expect_on_all(cache_bytes, student, inputs, otherwise, as_number)


@cache_bytes.check(points=1)
def holds_for_real_models(student, seed):
    """Large sizes, single ones, and numbers of one byte or a half: a cache may be quantised."""
    otherwise = "it is right for some sizes and wrong for others", EVERY_SIZE
    inputs = [
        (32, 8, 128, 64, 2048, 2),
        (126, 8, 128, seed % 7 + 1, 131_072, 2),
        (1, 1, 1, 1, 1, 1),
        (30, 3, 64, 1, seed % 50 + 1, 4),
        (28, 8, 128, 3, 1, 0.5),
    ]
    expect_on_all(cache_bytes, student, inputs, otherwise, as_number)


# Operations ---------------------------------------------------------------------------------------

token_flops = Exercise("cost.token_flops", reference=cost.token_flops, minutes=10, difficulty=1)
PASSES = "list the passes that take place, and count 2 for each parameter in each"


def passes(parameters, count) -> float:
    return 2.0 * parameters * count


@token_flops.wrong("frozen weights need no gradient of their own", next=PASSES)
def full_tuning_always(parameters, frozen, checkpointing):
    return passes(parameters, 3 + checkpointing)


@token_flops.wrong("checkpointing goes forward once more", next=PASSES)
def no_second_forward(parameters, frozen, checkpointing):
    return passes(parameters, 3 - frozen)


@token_flops.wrong(
    "frozen layers still pass the gradient on to the layers before them", next=PASSES
)
def no_backward_when_frozen(parameters, frozen, checkpointing):
    return passes(parameters, 1 + 2 * (not frozen) + checkpointing)


@token_flops.wrong("frozen and trained have changed places", next=PASSES)
def frozen_costs_more(parameters, frozen, checkpointing):
    return passes(parameters, 2 + frozen + checkpointing)


@token_flops.wrong("a parameter takes a multiplication and an addition: 2 operations", next=PASSES)
def one_operation(parameters, frozen, checkpointing):
    return passes(parameters, 3 - frozen + checkpointing) / 2


@token_flops.wrong("the backward pass is missing", next=PASSES)
def forward_alone(parameters, frozen, checkpointing):
    return passes(parameters, 1 + checkpointing)


@token_flops.wrong("the forward pass is missing", next=PASSES)
def backward_alone(parameters, frozen, checkpointing):
    return passes(parameters, 2 - frozen + checkpointing)


@token_flops.wrong(
    "checkpointing repeats the forward pass, not the whole step", next="add one pass for it"
)
def everything_twice(parameters, frozen, checkpointing):
    return passes(parameters, 3 - frozen) * (2 if checkpointing else 1)


@token_flops.wrong("checkpointing costs a pass, it saves none", next="add it")
def checkpointing_saves(parameters, frozen, checkpointing):
    return passes(parameters, 3 - frozen - checkpointing)


@token_flops.wrong(
    "either of the two changes the count by itself", next="treat frozen and checkpointing apart"
)
def only_one_of_both(parameters, frozen, checkpointing):
    return passes(parameters, 2 if frozen else 3 + checkpointing)


@token_flops.wrong(*RETURNS_NOTHING)
def printed(parameters, frozen, checkpointing):
    pass


@token_flops.check(points=2)
def counts_the_passes(student, seed):
    otherwise = "this is not the sum over the passes", PASSES
    count = 10**6 + random.Random(seed).randrange(10**9)
    inputs = [(count, frozen, False) for frozen in (False, True)]
    inputs += [(count + 12, frozen, True) for frozen in (False, True)]
    expect_on_all(token_flops, student, inputs, otherwise, as_number)


@token_flops.check(points=1)
def holds_for_any_size(student, seed):
    otherwise = "it is right for some sizes and wrong for others", PASSES
    sizes = [1, seed % 100 + 3, 8_030_261_248, 4.05e11]
    inputs = [(size, size > 10, size < 1e10) for size in sizes]
    inputs += [(size, size < 1e10, size < 100) for size in sizes]
    expect_on_all(token_flops, student, inputs, otherwise, as_number)
