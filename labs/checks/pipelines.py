"""The checks of lab 09's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import contextlib
import math
import random
import statistics
from collections.abc import Callable

import torch
from checks.lora import NO_FACTOR, NO_FLOATS, misfit, register_wrong_factors
from checks.shared import (
    NO_GRADIENT,
    NOT_FINITE,
    RETURNS_NOTHING,
    Words,
    call,
    close,
    does_the_same,
    expect,
    in_place,
    kind_of,
    needs_gradients,
    needs_something,
    needs_untouched,
    no_gradient_in,
    outcome,
    randoms,
    result,
    same,
    some_number,
    twice,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake
from methods import lora, pipelines
from torch import Tensor

# The next stage -----------------------------------------------------------------------------------

begin_stage = Exercise(
    "pipelines.begin_stage", reference=pipelines.begin_stage, minutes=10, difficulty=2
)
Stage = tuple[Tensor, Tensor, Tensor]  # a weight, A and B

MERGE = "merge first: weight + (alpha / rank) * B @ A"
LIKE_THE_WEIGHT = "B @ A has the shape of the weight, (d_out, d_in)"
AFTER_MERGING = "once B A is in the weight, the adapter must add nothing: make B of zeros"
NOT_THE_POLICY = "the weight alone is not the policy that the last stage has left", MERGE
LOST = "what the last stage learned is lost: it is neither in the weight nor in the adapter", MERGE
THE_BASE = (
    "the weight is as before, so with the adapter off the reference would be the base",
    f"{MERGE}; then the adapter begins again",
)
TWICE = (
    "the adapter counts twice: it is in the weight, and is added to it once more",
    AFTER_MERGING,
)
TAKEN_OUT = "the new adapter takes out again what was merged", AFTER_MERGING
NOT_ZERO = "the new adapter changes the policy before its first step", AFTER_MERGING
DEAD = (
    "A and B are both zero: no gradient would ever reach either",
    "one of the two is enough: keep A, or draw a new one",
)
THREE = "three tensors are expected: the weight, A and B", "return weight, A, B"
ORDER = "the three tensors are in another order", "return the weight, then A, then B"
OWN_TENSORS = "what changes one of them would change the other: make a new one, as with clone()"


def shared_memory(name: str) -> Words:
    return f"a tensor that is returned shares its memory with {name}", OWN_TENSORS


register_wrong_factors(begin_stage, missing=NO_FACTOR)


@wrong_part(begin_stage)
def wrong_weight(weight_of):
    """Another weight, a function of all arguments; A is kept and B is zero, as they should be."""

    def begin(weight, A, B, alpha):
        return weight_of(weight, A, B, alpha), A.clone(), torch.zeros_like(B)

    return begin


@wrong_weight(*LOST)
def not_merged(weight, A, B, alpha):
    return weight.clone()


@wrong_weight("the adapter is taken out of the weight, not merged into it", next=MERGE)
def subtracted(weight, A, B, alpha):
    return weight - B @ A * (alpha / len(A))


@wrong_weight("this is the update alone, without the base's weight", next=MERGE)
def update_alone(weight, A, B, alpha):
    return B @ A * (alpha / len(A))


@wrong_weight("the adapter is merged twice", next=MERGE)
def merged_twice(weight, A, B, alpha):
    return weight + 2 * B @ A * (alpha / len(A))


@wrong_weight("the weight is scaled as well: alpha / rank belongs to the update alone", next=MERGE)
def weight_scaled_too(weight, A, B, alpha):
    return (weight + B @ A) * (alpha / len(A))


@wrong_weight("weight and update are averaged: they are added", next=MERGE)
def averaged(weight, A, B, alpha):
    return (weight + B @ A * (alpha / len(A))) / 2


@wrong_weight("only the first row of A and column of B is merged", next="B @ A takes all of them")
def first_rank_alone(weight, A, B, alpha):
    return weight + B[:, :1] @ A[:1] * (alpha / len(A))


@wrong_weight("the product B A is transposed", next=LIKE_THE_WEIGHT)
def transposed(weight, A, B, alpha):
    return weight + (B @ A).T * (alpha / len(A))


@wrong_weight("A and B have changed places: A @ B is (rank, rank)", next=LIKE_THE_WEIGHT)
def a_before_b(weight, A, B, alpha):
    return weight + A @ B * (alpha / len(A))


@wrong_weight("a rounded weight is not the policy any more", next="keep the weight's own precision")
def in_half_precision(weight, A, B, alpha):
    return lora.merged_weight(weight, A, B, alpha).bfloat16()


@wrong_part(begin_stage)
def wrong_adapter(adapter_of):
    """Another adapter, a function of the old one; the weight is merged as it should be."""
    return lambda weight, A, B, alpha: (lora.merged_weight(weight, A, B, alpha), *adapter_of(A, B))


@wrong_adapter(*TWICE)
def adapter_kept(A, B):
    return A.clone(), B.clone()


@wrong_adapter(*TAKEN_OUT)
def adapter_negated(A, B):
    return A.clone(), -B


@wrong_adapter(*DEAD)
def both_zero(A, B):
    return torch.zeros_like(A), torch.zeros_like(B)


@wrong_adapter(*NOT_ZERO)
def both_drawn(A, B):
    return torch.randn_like(A), torch.randn_like(B)


@wrong_adapter(*NOT_ZERO)
def a_drawn_and_b_kept(A, B):
    return torch.randn_like(A), B.clone()


@wrong_adapter(*NOT_ZERO)
def a_little_in_b(A, B):
    return A.clone(), 1e-4 * torch.randn_like(B)


@wrong_adapter(*NOT_ZERO)
def half_of_b(A, B):
    return A.clone(), B / 2


@wrong_adapter(*NO_FLOATS)
def whole_numbers(A, B):
    return torch.ones(A.shape, dtype=int), torch.zeros(B.shape, dtype=int)


@wrong_adapter(*NOT_FINITE)
def divided_by_nothing(A, B):
    return A / 0, torch.zeros_like(B)


@wrong_adapter(*ORDER)
def b_first(A, B):
    return torch.zeros_like(B), A.clone()


@wrong_adapter("B must have the shape", next="A (rank, d_in), B (d_out, rank), as they were")
def b_like_a(A, B):
    return A.clone(), torch.zeros_like(A)


@wrong_adapter("A must have the shape", next="A (rank, d_in), B (d_out, rank), as they were")
def no_adapter_left(A, B):
    return torch.zeros(0, A.shape[1]), torch.zeros(len(B), 0)


@wrong_adapter(*shared_memory("A"))
def same_a(A, B):
    return A, torch.zeros_like(B)


@wrong_adapter(*in_place("B"))
def b_zeroed_in_place(A, B):
    return A.clone(), B.zero_().clone()


@wrong_adapter(*in_place("A"))
def a_drawn_in_place(A, B):
    return A.normal_().clone(), torch.zeros_like(B)


@begin_stage.wrong(*THE_BASE)
def all_as_before(weight, A, B, alpha):
    return weight.clone(), A.clone(), B.clone()


@begin_stage.wrong(*THE_BASE)
def scaled_into_b(weight, A, B, alpha):
    return weight.clone(), A.clone(), B * (alpha / len(A))


@begin_stage.wrong(*LOST)
def adapter_drawn_again(weight, A, B, alpha):
    return weight.clone(), *lora.initialise(*weight.shape, len(A))


@begin_stage.wrong(*ORDER)
def weight_last(weight, A, B, alpha):
    return A.clone(), torch.zeros_like(B), lora.merged_weight(weight, A, B, alpha)


@begin_stage.wrong(*THREE)
def weight_without_adapter(weight, A, B, alpha):
    return lora.merged_weight(weight, A, B, alpha)


@begin_stage.wrong(*THREE)
def adapter_without_weight(weight, A, B, alpha):
    return A.clone(), torch.zeros_like(B)


@begin_stage.wrong(*in_place("weight"))
def merged_in_place(weight, A, B, alpha):
    weight += B @ A * (alpha / len(A))
    return weight, A.clone(), torch.zeros_like(B)


@begin_stage.wrong(*in_place("weight"))
def merged_into_data(weight, A, B, alpha):
    weight.data.add_(B @ A * (alpha / len(A)))
    return weight.clone(), A.clone(), torch.zeros_like(B)


@begin_stage.wrong(*shared_memory("weight"))
def weight_itself_where_b_is_zero(weight, A, B, alpha):
    merged = lora.merged_weight(weight, A, B, alpha) if B.any() else weight
    return merged, A.clone(), torch.zeros_like(B)


@begin_stage.wrong(*RETURNS_NOTHING)
def begins_in_silence(weight, A, B, alpha):
    weight += B @ A * (alpha / len(A))


def a_layer(seed: int, d_out: int, d_in: int, rank: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """The function's arguments, with an alpha that is no rank, no root of one and no side."""
    return (
        randoms(seed, d_out, d_in),
        randoms(seed + 1, rank, d_in),
        randoms(seed + 2, d_out, rank),
        some_number(seed, 5.1, 6.9),
    )


def square_layer(seed: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """A and B fit together in either order, and nearly every factor is 1."""
    return *a_layer(seed, 9, 9, 1)[:3], 1.0


def some_layers(seed: int) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """All sides differ, and the weight is wider, taller, square; the rank is 1, or above a side; alpha
    is a whole number, the rank itself, or small."""
    rng = random.Random(seed)
    rank, d_out, d_in = rng.choice((3, 5)), rng.randint(7, 9), rng.randint(10, 13)
    side = rng.randint(4, 8)
    return [
        a_layer(seed, d_out, d_in, rank),
        a_layer(seed + 10, d_in, d_out, rng.choice((2, 3, 5))),
        a_layer(seed + 20, side, side, rng.choice((2, 3))),
        a_layer(seed + 30, side, side + 1, 1),
        a_layer(seed + 40, 6, 4, rng.randint(7, 9)),
        (*a_layer(seed + 50, 5, side + 2, 4)[:3], rng.randint(9, 20)),
        (*a_layer(seed + 60, side, 9, 3)[:3], 3),
        (*a_layer(seed + 70, 7, 6, 2)[:3], some_number(seed, 0.2, 0.6)),
    ]


def as_stage(value, weight: Tensor, A: Tensor, B: Tensor) -> Stage:
    """What was returned: three tensors of the right shapes and of finite numbers; or a Mistake."""
    needs_something(value)
    if (
        not isinstance(value, tuple | list)
        or len(value) != 3
        or not all(isinstance(tensor, Tensor) for tensor in value)
    ):
        raise Mistake(*THREE)
    wanted, told = ([tuple(t.shape) for t in tensors] for tensors in ((weight, A, B), value))
    if told != wanted and sorted(told) == sorted(wanted):
        raise Mistake(*ORDER)
    for name, mine, right in zip(("the weight", "A", "B"), told, wanted):
        if mine != right:
            raise Mistake(
                f"{name} must have the shape {right}, yours has {mine}",
                next="A (rank, d_in), B (d_out, rank), as they were",
            )
    if not all(torch.isfinite(tensor).all() for tensor in value):
        raise Mistake(*NOT_FINITE)
    return tuple(tensor.detach() for tensor in value)


def new_stage(value, given: tuple) -> Stage:
    """as_stage(), and the weight is not as before. given: the arguments as they were, so that the
    policy is another than the weight alone, unless B A is zero."""
    weight, A, B, _ = given
    new_weight, new_A, new_B = as_stage(value, weight, A, B)
    if (B @ A).any() and close(new_weight.double(), weight.double()):
        raise Mistake(*(LOST if adds_nothing(new_A, new_B) else THE_BASE))
    return new_weight, new_A, new_B


def adds_nothing(A: Tensor, B: Tensor) -> bool:
    """Whether B A is zero, up to the rounding of a product; a small B is not."""
    A, B = A.double(), B.double()
    return bool((B @ A).norm() <= 1e-5 * B.norm() * A.norm())


def weight_alone(given: tuple) -> Callable:
    """expect()'s `read`: the weight that was returned, whatever became of the arguments."""
    return lambda value, *changed: result(new_stage(value, given)[0])


def expect_weight(student: Callable, given: tuple, otherwise: Words = NOT_THE_POLICY) -> None:
    expect(begin_stage, student, given, otherwise=otherwise, read=weight_alone(given))


@begin_stage.check(points=1)
@twice
def the_weight_alone_is_the_old_policy(student, seed):
    for given in some_layers(seed):
        try:
            call(student, given)
        except (RuntimeError, ValueError) as error:
            # What does not fit together here may fit if it is square, and show there what was meant.
            words = misfit(error), LIKE_THE_WEIGHT
            with contextlib.suppress(RuntimeError, ValueError):
                expect_weight(student, square_layer(seed), otherwise=words)
            raise Mistake(*words) from None
        expect_weight(student, given)


@begin_stage.check(points=1)
@twice
def the_adapter_adds_nothing_and_can_learn(student, seed):
    for given in some_layers(seed):
        weight, A, B, alpha = given
        _, new_A, new_B = new_stage(call(student, given), given)
        if not (new_A.is_floating_point() and new_B.is_floating_point()):
            raise Mistake(*NO_FLOATS)
        if not new_A.any() and not new_B.any():
            raise Mistake(*DEAD)
        if not adds_nothing(new_A, new_B):
            change, before = new_B.double() @ new_A.double(), B.double() @ A.double()
            named = TWICE if close(change, before) else TAKEN_OUT if close(-change, before) else ()
            raise Mistake(*(named or NOT_ZERO))


@begin_stage.check(points=1)
def leaves_the_last_stage_alone(student, seed):
    """New tensors, even where the last stage learned nothing and the weight stays as it was."""
    layer, *_, other = some_layers(seed)
    weight, A, B, alpha = layer
    for given in (layer, other, (weight, A, torch.zeros_like(B), alpha)):
        needs_untouched(begin_stage, student, given)
        old = [tensor.clone() for tensor in given[:3]]
        value = student(*old, given[3])
        new_stage(value, given)
        for name, tensor in zip(("weight", "A", "B"), old):
            if any(lies_in(each, tensor) for each in value):
                raise Mistake(*shared_memory(name))


def lies_in(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or are views of one."""
    return (
        one is other or one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0
    )


# One batch, many adapters -------------------------------------------------------------------------

mixed_batch = Exercise(
    "pipelines.mixed_batch", reference=pipelines.mixed_batch, minutes=12, difficulty=2
)
ROW_BY_ROW = (
    "row i is x[i] @ weight.T + (alpha / rank) * x[i] @ A[k].T @ B[k].T with k = adapter[i]"
)
RANK = "alpha / rank, and the rank is A.shape[1]"
BASE_ROWS = "a row with -1 is x[i] @ weight.T and nothing more"
BOTH = "every row has the base; a row with an adapter has its update on top"
NOT_MIXED = "these are not the outputs of each row with its own adapter", ROW_BY_ROW
NOT_THE_BASE = "rows with -1, or those beside them, are wrong", BASE_ROWS
SHAPE = "the result is (batch, time, d_out), whatever the sizes are"


@wrong_part(mixed_batch)
def wrong_scale(scale):
    """Another factor than alpha / rank, a function of A, B and alpha."""

    def mixed(x, weight, A, B, alpha, adapter):
        return pipelines.mixed_batch(x, weight, A, B, A.shape[1] * scale(A, B, alpha), adapter)

    return mixed


@wrong_scale("the factor alpha / rank is missing", next=RANK)
def mixed_without_factor(A, B, alpha):
    return 1.0


@wrong_scale("the update is multiplied by alpha and never divided by the rank", next=RANK)
def mixed_by_alpha(A, B, alpha):
    return alpha


@wrong_scale("the update is divided by the rank and alpha is not used", next=RANK)
def mixed_by_rank_alone(A, B, alpha):
    return 1 / A.shape[1]


@wrong_scale("alpha is divided by the number of adapters: that is len(A) here", next=RANK)
def mixed_by_adapters(A, B, alpha):
    return alpha / len(A)


@wrong_scale("alpha is divided by d_in and not by the rank", next=RANK)
def mixed_by_d_in(A, B, alpha):
    return alpha / A.shape[2]


@wrong_scale("alpha is divided by d_out and not by the rank", next=RANK)
def mixed_by_d_out(A, B, alpha):
    return alpha / B.shape[1]


@wrong_scale("the factor is rank / alpha: it stands on its head", next=RANK)
def mixed_upside_down(A, B, alpha):
    return A.shape[1] / alpha


@wrong_scale("the factor is alpha / sqrt(rank): that is rsLoRA", next=RANK)
def mixed_by_root(A, B, alpha):
    return alpha / math.sqrt(A.shape[1])


@wrong_scale("the factor is squared: it was taken in both products", next=RANK)
def mixed_twice_scaled(A, B, alpha):
    return (alpha / A.shape[1]) ** 2


@wrong_scale("the update is subtracted", next=BOTH)
def mixed_subtracted(A, B, alpha):
    return -alpha / A.shape[1]


mixed_batch.wrong("alpha is taken to be the notebook's", next="alpha is an argument: use it")(
    with_the_notebooks(mixed_batch, "alpha")
)


@wrong_part(mixed_batch)
def wrong_choice(choice):
    """Other adapters for the rows, a function of the right ones and of the number of adapters."""

    def mixed(x, weight, A, B, alpha, adapter):
        return pipelines.mixed_batch(x, weight, A, B, alpha, choice(adapter, len(A)))

    return mixed


@wrong_choice("rows with -1 get the last adapter, since A[-1] is the last", next=BASE_ROWS)
def last_for_the_base(adapter, adapters):
    return adapter % adapters


@wrong_choice("rows with -1 get the first adapter", next=BASE_ROWS)
def first_for_the_base(adapter, adapters):
    return adapter.clamp(min=0)


@wrong_choice("rows with -1 get the adapter 1", next=BASE_ROWS)
def size_of_the_number(adapter, adapters):
    return adapter.abs()


@wrong_choice("the first row's adapter is used for the whole batch", next=ROW_BY_ROW)
def adapter_of_the_first_row(adapter, adapters):
    return adapter[:1].expand_as(adapter)


@wrong_choice("the last row's adapter is used for the whole batch", next=ROW_BY_ROW)
def adapter_of_the_last_row(adapter, adapters):
    return adapter[-1:].expand_as(adapter)


@wrong_choice("the first adapter is used for all rows", next=ROW_BY_ROW)
def first_adapter_for_all(adapter, adapters):
    return torch.zeros_like(adapter)


@wrong_choice("0 is an adapter like any other, and only -1 is the base", next="adapter >= 0")
def zero_is_the_base(adapter, adapters):
    return torch.where(adapter > 0, adapter, -1)


@wrong_choice("adapters are counted from 0, and these from 1", next=ROW_BY_ROW)
def counted_from_1(adapter, adapters):
    return adapter - 1 + adapters * (adapter < 0)


@wrong_choice("the rows' adapters are reversed", next=ROW_BY_ROW)
def adapters_reversed(adapter, adapters):
    return adapter.flip(0)


@wrong_choice("the adapters are sorted: each row has its own", next=ROW_BY_ROW)
def adapters_sorted(adapter, adapters):
    return adapter.sort().values


@wrong_choice("adapter is not used: row i gets the i-th adapter", next=ROW_BY_ROW)
def adapter_by_place(adapter, adapters):
    return torch.arange(len(adapter)) % adapters


@wrong_choice("no row gets an adapter: this is the base alone", next=ROW_BY_ROW)
def base_for_all(adapter, adapters):
    return torch.full_like(adapter, -1)


@wrong_choice("only one row with an adapter gets it", next=ROW_BY_ROW)
def one_row_alone(adapter, adapters):
    alone = torch.full_like(adapter, -1)
    rows = (adapter >= 0).nonzero().flatten()[:1]
    alone[rows] = adapter[rows]
    return alone


@wrong_choice("a row whose adapter stood above already gets the base", next=ROW_BY_ROW)
def each_adapter_once(adapter, adapters):
    seen = [k if k not in adapter.tolist()[:row] else -1 for row, k in enumerate(adapter.tolist())]
    return torch.tensor(seen)


def update_of(x: Tensor, A: Tensor, B: Tensor, alpha: float, adapter: Tensor) -> Tensor:
    """What the adapters add, nothing for the base: the mixed batch on a base of zeros."""
    nothing = torch.zeros(B.shape[1], x.shape[2])
    return pipelines.mixed_batch(x, nothing, A, B, alpha, adapter)


@mixed_batch.wrong("the base's output is left out: these are the updates alone", next=BOTH)
def updates_alone(x, weight, A, B, alpha, adapter):
    return update_of(x, A, B, alpha, adapter)


@mixed_batch.wrong("rows with an adapter have lost the base's output", next=BOTH)
def adapter_in_place_of_the_base(x, weight, A, B, alpha, adapter):
    chosen = (adapter >= 0)[:, None, None]
    return torch.where(chosen, update_of(x, A, B, alpha, adapter), x @ weight.T)


@mixed_batch.wrong("rows with -1 are zero: they are the base's", next=BASE_ROWS)
def zero_for_the_base(x, weight, A, B, alpha, adapter):
    chosen = (adapter >= 0)[:, None, None]
    return pipelines.mixed_batch(x, weight, A, B, alpha, adapter) * chosen


@mixed_batch.wrong("rows with -1 come back as they came in", next=BASE_ROWS)
def input_for_the_base(x, weight, A, B, alpha, adapter):
    out = pipelines.mixed_batch(x, weight, A, B, alpha, adapter)
    return torch.stack([row if k >= 0 else old for row, old, k in zip(out, x, adapter)])


@mixed_batch.wrong("rows with -1 are left out of the result", next=SHAPE)
def base_rows_dropped(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B, alpha, adapter)[adapter >= 0]


@mixed_batch.wrong("rows with -1 get all adapters together", next=BASE_ROWS)
def all_for_the_base(x, weight, A, B, alpha, adapter):
    out = pipelines.mixed_batch(x, weight, A, B, alpha, adapter)
    summed = all_added(x, weight, A, B, alpha, adapter)
    return torch.where((adapter >= 0)[:, None, None], out, summed)


@mixed_batch.wrong("all adapters are added up in every row", next=ROW_BY_ROW)
def all_added(x, weight, A, B, alpha, adapter):
    update = torch.einsum("btd,krd,kor->bto", x, A, B)
    return x @ weight.T + update * (alpha / A.shape[1])


@mixed_batch.wrong("the adapters are averaged", next=ROW_BY_ROW)
def all_averaged(x, weight, A, B, alpha, adapter):
    update = torch.einsum("btd,krd,kor->bto", x, A, B) / len(A)
    return x @ weight.T + update * (alpha / A.shape[1])


@mixed_batch.wrong("A and B are averaged over the adapters", next=ROW_BY_ROW)
def mean_matrices(x, weight, A, B, alpha, adapter):
    return x @ weight.T + lora.lora_update(x, A.mean(0), B.mean(0), alpha)


@mixed_batch.wrong("A is the right row's and B is another's", next="A[adapter] and B[adapter]")
def b_by_place(x, weight, A, B, alpha, adapter):
    places = torch.arange(len(adapter)) % len(A)
    update = torch.einsum("btd,brd,bor->bto", x, A[adapter], B[places])
    return x @ weight.T + update * (alpha / A.shape[1]) * (adapter >= 0)[:, None, None]


@mixed_batch.wrong("the adapters of all rows above are in the row, too", next=ROW_BY_ROW)
def heaped_up(x, weight, A, B, alpha, adapter):
    outputs = []
    for row, k in zip(x, adapter.tolist()):
        if k >= 0:
            weight = lora.merged_weight(weight, A[k], B[k], alpha)
        outputs.append(row @ weight.T)
    return torch.stack(outputs)


@mixed_batch.wrong("the factor alpha / rank is on the base as well", next=BOTH)
def base_scaled_too(x, weight, A, B, alpha, adapter):
    base, factor = x @ weight.T, alpha / A.shape[1]
    scaled = base * torch.where(adapter >= 0, factor, 1.0)[:, None, None]
    return scaled + update_of(x, A, B, alpha, adapter)


@mixed_batch.wrong("the factor alpha / rank is on the base as well", next=BOTH)
def every_base_scaled(x, weight, A, B, alpha, adapter):
    return x @ weight.T * (alpha / A.shape[1]) + update_of(x, A, B, alpha, adapter)


@mixed_batch.wrong("the update is computed from the base's output, not from x", next=ROW_BY_ROW)
def update_behind_the_base(x, weight, A, B, alpha, adapter):
    base = x @ weight.T
    return base + update_of(base, A, B, alpha, adapter)


@mixed_batch.wrong("the rows come back grouped by adapter", next="put each in its old place again")
def grouped(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B, alpha, adapter)[adapter.argsort(stable=True)]


@mixed_batch.wrong("the adapters are applied at positions, not in rows", next=ROW_BY_ROW)
def adapter_of_each_position(x, weight, A, B, alpha, adapter):
    update = torch.einsum("btd,trd,tor->bto", x, A[adapter], B[adapter])
    return x @ weight.T + update * (alpha / A.shape[1]) * (adapter >= 0)[None, :, None]


@mixed_batch.wrong("adapter is not used: row i gets the i-th adapter", next=ROW_BY_ROW)
def one_adapter_for_each_row(x, weight, A, B, alpha, adapter):
    update = torch.einsum("btd,brd,bor->bto", x, A, B)
    return x @ weight.T + update * (alpha / A.shape[1])


@mixed_batch.wrong("only the last position of a row gets the adapter", next="all positions do")
def last_position_alone(x, weight, A, B, alpha, adapter):
    out = x @ weight.T
    out[:, -1] += update_of(x, A, B, alpha, adapter)[:, -1]
    return out


@mixed_batch.wrong("the base's weight is transposed", next="x @ weight.T, as in nn.Linear")
def weight_transposed(x, weight, A, B, alpha, adapter):
    return x @ weight + update_of(x, A, B, alpha, adapter)


@mixed_batch.wrong(
    "A and B have changed places: B is applied first", next="x @ A[k].T, then @ B[k].T"
)
def mixed_b_first(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, B, A, alpha, adapter)


@mixed_batch.wrong("A is transposed", next="x @ A[k].T goes from d_in to the rank")
def mixed_a_transposed(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A.mT, B, alpha, adapter)


@mixed_batch.wrong("B is transposed", next="… @ B[k].T goes from the rank to d_out")
def mixed_b_transposed(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B.mT, alpha, adapter)


@mixed_batch.wrong("A and B are both transposed", next="x @ A[k].T, then @ B[k].T")
def mixed_both_transposed(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A.mT, B.mT, alpha, adapter)


@mixed_batch.wrong("the product B A is transposed: B[k].T is applied first", next=ROW_BY_ROW)
def mixed_product_transposed(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, B.mT, A.mT, alpha, adapter)


@mixed_batch.wrong("the sum over time is taken", next=SHAPE)
def summed_over_time(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B, alpha, adapter).sum(1)


@mixed_batch.wrong("sides of length 1 are left out of the result", next=SHAPE)
def squeezed(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B, alpha, adapter).squeeze()


@mixed_batch.wrong("alpha is cut to a whole number", next="use it as it is given")
def whole_alpha(x, weight, A, B, alpha, adapter):
    return x @ weight.T + update_of(x, A, B, int(alpha), adapter)


@mixed_batch.wrong(*in_place("adapter"))
def adapter_in_place(x, weight, A, B, alpha, adapter):
    based = adapter < 0
    adapter[based] = 0
    out = update_of(x, A, B, alpha, adapter)
    return x @ weight.T + out.masked_fill(based[:, None, None], 0)


@mixed_batch.wrong(*in_place("weight"))
def weight_in_place(x, weight, A, B, alpha, adapter):
    kept, outputs = weight.clone(), []
    for row, k in zip(x, adapter.tolist()):
        weight.copy_(kept if k < 0 else lora.merged_weight(kept, A[k], B[k], alpha))
        outputs.append(row @ weight.T)
    return torch.stack(outputs)


@mixed_batch.wrong(*in_place("B"))
def b_in_place(x, weight, A, B, alpha, adapter):
    with torch.no_grad():
        B *= alpha / A.shape[1]
    return pipelines.mixed_batch(x, weight, A, B, A.shape[1], adapter)


@mixed_batch.wrong(*NO_GRADIENT)
def mixed_detached(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B, alpha, adapter).detach()


@mixed_batch.wrong(*no_gradient_in("A"))
def mixed_a_detached(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A.detach(), B, alpha, adapter)


@mixed_batch.wrong(*no_gradient_in("B"))
def mixed_b_detached(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x, weight, A, B.data, alpha, adapter)


@mixed_batch.wrong(*no_gradient_in("x"))
def mixed_x_detached(x, weight, A, B, alpha, adapter):
    return pipelines.mixed_batch(x.detach(), weight, A, B, alpha, adapter)


THROUGH_BOTH = "x learns through the base and through the adapter: neither runs under no_grad"


@mixed_batch.wrong("the gradient in x is another one", next=THROUGH_BOTH)
def base_without_gradient(x, weight, A, B, alpha, adapter):
    with torch.no_grad():
        base = x @ weight.T
    return base + update_of(x, A, B, alpha, adapter)


@mixed_batch.wrong("the gradient in x is another one", next=THROUGH_BOTH)
def base_rows_without_gradient(x, weight, A, B, alpha, adapter):
    out = pipelines.mixed_batch(x, weight, A, B, alpha, adapter)
    return torch.where((adapter >= 0)[:, None, None], out, out.detach())


@mixed_batch.wrong(*RETURNS_NOTHING)
def mixes_in_silence(x, weight, A, B, alpha, adapter):
    pass


def a_batch(
    seed: int,
    adapter: list[int],
    *,
    adapters: int,
    time: int = 3,
    d_in: int = 7,
    d_out: int = 6,
    rank: int = 2,
    alpha: float | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, float, Tensor]:
    """The function's arguments; without an alpha, one that is no rank and no side."""
    return (
        randoms(seed, len(adapter), time, d_in),
        randoms(seed + 1, d_out, d_in),
        randoms(seed + 2, adapters, rank, d_in),
        randoms(seed + 3, adapters, d_out, rank),
        some_number(seed, 5.1, 6.9) if alpha is None else alpha,
        torch.tensor(adapter),
    )


def mixed_up(seed: int, rows: int, adapters: int) -> list[int]:
    """An adapter for each row: the first, the last and others, two of them again, in no order, and
    no row the adapter of its own place."""
    rng = random.Random(seed)
    while True:
        chosen = [0, adapters - 1, *rng.choices(range(adapters), k=rows - 2)]
        rng.shuffle(chosen)
        if (
            2 < len(set(chosen)) < rows
            and chosen[0] != 0 != chosen[-1] != chosen[0]
            and chosen not in (sorted(chosen), sorted(chosen)[::-1], chosen[::-1])
            and all(k != row % adapters for row, k in enumerate(chosen))
        ):
            return chosen


def with_the_base(seed: int, adapter: list[int]) -> list[int]:
    """The same with -1 in a row in the middle and in one more."""
    rng = random.Random(seed)
    rows = rng.sample(range(1, len(adapter) - 1), 2)
    return [-1 if row in rows else k for row, k in enumerate(adapter)]


def cubic_batch(seed: int) -> tuple:
    """All sides are equal, so that matrices fit together in any order, and every factor is 1."""
    return a_batch(
        seed, mixed_up(seed, 4, 4), adapters=4, time=4, d_in=4, d_out=4, rank=4, alpha=4.0
    )


def expect_mixed(student: Callable, given: tuple, otherwise: Words = NOT_MIXED) -> None:
    expect(mixed_batch, student, given, otherwise=otherwise, shape=SHAPE)


@mixed_batch.check(points=1)
@twice
def each_row_has_its_own_adapter(student, seed):
    rng = random.Random(seed)
    d_in, d_out = rng.randint(10, 13), rng.randint(14, 16)
    rank, adapters = rng.choice((2, 3, 5)), rng.choice((4, 6))
    uneven = mixed_up(seed, rng.randint(7, 9), adapters)
    sizes = {"adapters": adapters, "d_in": d_in, "d_out": d_out, "rank": rank}
    given = a_batch(seed, uneven, time=rng.randint(17, 19), **sizes)
    try:
        call(student, given)
    except (RuntimeError, ValueError) as error:
        # What does not fit together here may fit if it is square, and show there what was meant.
        words = misfit(error), "compare the shapes with those in the docstring"
        with contextlib.suppress(RuntimeError, ValueError):
            expect_mixed(student, cubic_batch(seed), otherwise=words)
        raise Mistake(*words) from None
    expect_mixed(student, given)
    expect_mixed(student, cubic_batch(seed))


@mixed_batch.check(points=1)
def rows_without_an_adapter_are_the_bases(student, seed):
    """Here alpha, the rank and the number of adapters are one number: the factor is asked elsewhere."""
    rng = random.Random(seed)
    few = rng.choice((3, 4))
    one = {"adapters": few, "rank": few, "alpha": float(few)}
    mixed = mixed_up(seed, rng.randint(6, 9), few)
    some = with_the_base(seed, mixed)
    for step, adapter in enumerate(
        (some, [-1, *some], [*some, -1], [-1] * rng.randint(2, 5), [few - 1, -1], [-1, 0], [-1])
    ):
        d_in = rng.randint(5, 9) if step else 6  # first a square layer
        given = a_batch(seed + 10 * step, adapter, d_in=d_in, **one)
        expect_mixed(student, given, otherwise=NOT_THE_BASE)
    only = a_batch(seed + 5, [0, -1, 0], adapters=1, rank=1, alpha=1.0, d_in=6, d_out=6)
    expect_mixed(student, only, otherwise=NOT_THE_BASE)


@mixed_batch.check(points=1)
def holds_for_any_sizes(student, seed):
    """One row, one position, rank 1, one adapter; as many rows as positions, as adapters; a square
    layer; the same adapter again and again; alpha a whole number, or below 1."""
    rng = random.Random(seed)
    side = rng.randint(4, 6)
    inputs = [
        a_batch(seed, [rng.randint(1, 3)], adapters=4, rank=3),
        a_batch(seed + 10, mixed_up(seed, 5, 3), adapters=3, time=1),
        a_batch(seed + 20, mixed_up(seed + 1, 6, 4), adapters=4, rank=1),
        a_batch(seed + 30, [0] * rng.randint(2, 4), adapters=1, rank=3),
        a_batch(seed + 40, mixed_up(seed + 2, side, side), adapters=side, time=side),
        a_batch(seed + 50, mixed_up(seed + 3, 5, 3), adapters=3, d_in=side, d_out=side, rank=3),
        a_batch(seed + 60, [2] * rng.randint(2, 4), adapters=4, alpha=rng.randint(7, 16)),
        a_batch(seed + 70, [1, 0], adapters=9, rank=8, d_in=3, d_out=4),
        a_batch(seed + 80, [1, 0, 1], adapters=2, alpha=some_number(seed, 0.1, 0.6)),
        a_batch(seed + 90, [0], adapters=1, time=1, rank=1, d_in=5, d_out=1),
        cubic_batch(seed + 1),
    ]
    for given in inputs:
        expect_mixed(student, given)


@mixed_batch.check(points=1)
def passes_the_gradient_and_changes_nothing(student, seed):
    rng = random.Random(seed)
    given = a_batch(seed + 9, with_the_base(seed, mixed_up(seed, 6, 4)), adapters=4)
    needs_untouched(mixed_batch, student, given)
    few = rng.choice((3, 4))
    one = {"adapters": few, "rank": few, "alpha": float(few)}
    for step in range(2):
        rows = mixed_up(seed + step, rng.randint(5, 8), few)
        needs_mixed_gradients(student, a_batch(seed + step, rows, d_in=rng.randint(5, 9), **one))
    given = a_batch(seed + 5, [*with_the_base(seed, rows), -1], **one)
    if same(outcome(student, given, result), outcome(mixed_batch.reference, given, result)):
        needs_mixed_gradients(student, given)  # what is not the base is told by another check


def needs_mixed_gradients(student: Callable, given: tuple) -> None:
    needs_gradients(mixed_batch, student, given, "x", "A", "B", next=THROUGH_BOTH)


# Numbers, of several inputs at once ---------------------------------------------------------------


def expect_numbers(
    exercise: Exercise,
    student: Callable,
    inputs: list[tuple],
    otherwise: Words | Callable[[list[Tensor], list[Tensor]], Words],
    read: Callable,
) -> None:
    """As `expect`, on several inputs together: one number alone may be that of another mistake.

    otherwise: words, or a function of the student's numbers and the right ones that finds them
    """
    mine, right = (
        [outcome(function, given, read) for given in inputs]
        for function in (student, exercise.reference)
    )
    if all(map(same, mine, right)):
        return
    if not all(torch.isfinite(value).all() for value in mine):
        raise Mistake(*NOT_FINITE)
    for wrong in exercise.wrong_solutions:
        if all(
            does_the_same(wrong.function, given, read, value) for given, value in zip(inputs, mine)
        ):
            raise Mistake(wrong.message, next=wrong.next)
    raise Mistake(*(otherwise(mine, right) if callable(otherwise) else otherwise))


# Groups with a signal -----------------------------------------------------------------------------

with_signal = Exercise(
    "pipelines.with_signal", reference=pipelines.groups_with_signal, minutes=6, difficulty=1
)
TWO_KINDS = (
    "all succeed with probability p ** size, all fail with (1 - p) ** size; the rest is left"
)
THEN_THE_MEAN = "first the share for each prompt, then the mean over the prompts"
ONE_SHARE = "one number is expected, the mean over the prompts", "end with .mean()"
SAMPLED = (
    "another number comes back on every call: the expected share is asked for, not a sample",
    TWO_KINDS,
)
NEARLY = (
    "this is near the expected share, and not the share itself",
    "compute it: no samples, no clamp, no rounding",
)
NOT_THE_SHARE = "this is not the share of groups with a signal", TWO_KINDS

with_signal.wrong("size is taken to be the notebook's", next="size is an argument: use it")(
    with_the_notebooks(with_signal, "size")
)


@wrong_part(with_signal)
def wrong_group(share):
    """Another share for each prompt, a function of its probability and the size; then the mean."""
    return lambda success, size: share(success, size).mean()


@wrong_group(
    "this is the share of groups in which at least one succeeds", next="all may succeed as well"
)
def at_least_one_succeeds(p, size):
    return 1 - (1 - p) ** size


@wrong_group("this is the share of groups in which at least one fails", next="all may fail as well")
def at_least_one_fails(p, size):
    return 1 - p**size


@wrong_group("this is the share of groups without a signal", next="subtract it from 1")
def no_signal(p, size):
    return p**size + (1 - p) ** size


@wrong_group("this is the share of groups in which all succeed", next=TWO_KINDS)
def all_succeed(p, size):
    return p**size


@wrong_group("this is the share of groups in which all fail", next=TWO_KINDS)
def all_fail(p, size):
    return (1 - p) ** size


@wrong_group("one response too few is counted: this is size - 1", next="use the whole size")
def one_too_few(p, size):
    return 1 - p ** (size - 1) - (1 - p) ** (size - 1)


@wrong_group("one response too many is counted: this is size + 1", next="use the size itself")
def one_too_many(p, size):
    return 1 - p ** (size + 1) - (1 - p) ** (size + 1)


@wrong_group(
    "one that succeeds and one that fails do not occur independently: no product of the two",
    next=TWO_KINDS,
)
def product_of_both(p, size):
    return (1 - p**size) * (1 - (1 - p) ** size)


@wrong_group("this is right for two responses alone", next=TWO_KINDS)
def pairs_alone(p, size):
    return 2 * p * (1 - p)


@wrong_group("this is the variance of a response", next=TWO_KINDS)
def variance_of_one(p, size):
    return p * (1 - p)


@wrong_group("this is the variance of the number that succeed", next=TWO_KINDS)
def variance_of_their_number(p, size):
    return size * p * (1 - p)


@wrong_group("this is the share of groups in which exactly one succeeds", next=TWO_KINDS)
def exactly_one_succeeds(p, size):
    return size * p * (1 - p) ** (size - 1)


@wrong_group("p is multiplied by the size, not raised to it", next="p ** size")
def multiplied(p, size):
    return 1 - p * size - (1 - p) * size


@wrong_group("this asks how often the first two of a group differ, or later two", next=TWO_KINDS)
def neighbours_differ(p, size):
    return 1 - (p**2 + (1 - p) ** 2) ** (size - 1)


@wrong_group("1 - p ** size is taken for (1 - p) ** size", next="mind the brackets")
def brackets_forgotten(p, size):
    return 1 - p**size - (1 - p**size)


@wrong_group("the shares are added to 1, not subtracted from it", next=TWO_KINDS)
def added_to_1(p, size):
    return 1 + p**size + (1 - p) ** size


@wrong_group("the two kinds of group are subtracted from each other", next=TWO_KINDS)
def difference_of_the_two(p, size):
    return 1 - p**size + (1 - p) ** size


@wrong_group("prompts are counted that can have a signal", next=TWO_KINDS)
def prompts_with_a_chance(p, size):
    return ((p > 0) & (p < 1)).float()


@wrong_part(with_signal)
def wrong_mean(mean):
    """Another function of the shares of all prompts."""
    return lambda success, size: mean(1 - success**size - (1 - success) ** size)


@wrong_mean("the prompts are summed, not averaged", next="end with .mean()")
def summed(shares):
    return shares.sum()


@wrong_mean("this is the median of the prompts, not the mean", next="end with .mean()")
def median_of_prompts(shares):
    return shares.median()


@wrong_mean(*ONE_SHARE)
def share_of_each_prompt(shares):
    return shares


@wrong_mean("this is in percent", next="a share is from 0 to 1: leave out the 100")
def in_percent(shares):
    return 100 * shares.mean()


@wrong_mean("this is the share of the prompt with the largest", next="end with .mean()")
def best_prompt(shares):
    return shares.max()


@wrong_mean("this asks for a signal in the groups of all prompts at once", next="end with .mean()")
def in_all_groups(shares):
    return shares.prod()


@wrong_mean("this asks for a signal in any group of all prompts", next="end with .mean()")
def in_any_group(shares):
    return 1 - (1 - shares).prod()


@with_signal.wrong(
    "the prompts' mean is taken first: where success gathers in a few prompts, there is less signal",
    next=THEN_THE_MEAN,
)
def of_the_mean_prompt(success, size):
    return pipelines.groups_with_signal(success.mean(), size)


@with_signal.wrong("the responses of all prompts make one group here", next=THEN_THE_MEAN)
def one_large_group(success, size):
    return 1 - success.prod() ** size - (1 - success).prod() ** size


@with_signal.wrong(
    "the number of prompts is taken for the size", next="size is an argument of its own"
)
def as_many_as_prompts(success, size):
    return pipelines.groups_with_signal(success, len(success))


@with_signal.wrong(
    "prompts that can have no signal are left out of the mean", next="they count as 0"
)
def only_where_there_can_be_one(success, size):
    some = success[(success > 0) & (success < 1)]
    return pipelines.groups_with_signal(some, size) if len(some) else torch.zeros(())


@with_signal.wrong("a group of one has no signal", next="one response is all of its group: 0")
def signal_of_one(success, size):
    return pipelines.groups_with_signal(success, size) if size > 1 else torch.ones(())


@with_signal.wrong(*NEARLY)
def clamped(success, size):
    return pipelines.groups_with_signal(success.clamp(0.01, 0.99), size)


@with_signal.wrong(*NEARLY)
def clamped_a_little(success, size):
    return pipelines.groups_with_signal(success.clamp(1e-4, 1 - 1e-4), size)


@with_signal.wrong(*NEARLY)
def rounded_share(success, size):
    return round(pipelines.groups_with_signal(success, size).item(), 2)


def drawn_groups(success: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
    """An estimate from 1,000 groups for each prompt."""
    draws = torch.rand(1000, size, len(success), generator=generator) < success
    return (draws.any(1) & ~draws.all(1)).float().mean()


@with_signal.wrong(*SAMPLED)
def estimated(success, size):
    return drawn_groups(success, size)


@with_signal.wrong(*NEARLY)
def estimated_from_one_seed(success, size):
    return drawn_groups(success, size, torch.Generator().manual_seed(0))


@with_signal.wrong(*in_place("success"))
def success_in_place(success, size):
    failing = (1 - success) ** size
    return (1 - success.pow_(size) - failing).mean()


@with_signal.wrong(*RETURNS_NOTHING)
def counts_in_silence(success, size):
    pass


def as_share(value, *given) -> Tensor:
    """What was returned as a tensor without dimensions; or a Mistake."""
    value = result(value)
    if value.numel() != 1:
        raise Mistake(*ONE_SHARE)
    return value.reshape(())


def near_or_not(mine: list[Tensor], right: list[Tensor]) -> Words:
    farthest = max(abs(a - b) for a, b in zip(mine, right))
    return NEARLY if farthest < 0.04 else NOT_THE_SHARE


def some_success(seed: int, prompts: int) -> Tensor:
    """Probabilities from 0.03 to 0.97, some prompts easy and some hard, in no order."""
    rng = random.Random(seed)
    some = [rng.uniform(*((0.03, 0.3), (0.3, 0.7), (0.7, 0.97))[i % 3]) for i in range(prompts)]
    rng.shuffle(some)
    return torch.tensor(some)


@with_signal.check(points=1)
@twice
def is_what_is_left_of_1(student, seed):
    rng = random.Random(seed)
    sizes = [rng.randint(5, 6), 4, 3, 2, 8, rng.choice((7, 10))]
    inputs = [
        (some_success(seed + step, rng.choice((9, 10, 11, 12))), size)
        for step, size in enumerate(sizes)
    ]
    once, again = (as_share(call(student, inputs[0])) for _ in range(2))
    if once != again and torch.isfinite(once):
        raise Mistake(*SAMPLED)
    expect_numbers(with_signal, student, inputs, near_or_not, as_share)
    needs_untouched(with_signal, student, inputs[0])


@with_signal.check(points=1)
def minds_the_edges(student, seed):
    """Prompts that always succeed or never, groups of one and large ones, one prompt, two of them."""
    rng = random.Random(seed)
    sure = [0.0, 1.0, 0.0, rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.3), 1.0, 1.0]
    rng.shuffle(sure)
    inputs = [
        (torch.tensor(sure), rng.randint(3, 6)),
        (some_success(seed, 5), 1),
        (torch.zeros(rng.randint(1, 4)), rng.randint(2, 9)),
        (torch.ones(rng.randint(1, 4)), rng.randint(2, 9)),
        (torch.tensor([0.0, 1.0]), 4),
        (torch.tensor([0.0, 1.0, 1.0]), 1),
        (some_success(seed + 1, 1), rng.randint(2, 9)),
        (torch.tensor([0.5]), 2),
        (some_success(seed + 2, 4), 4),
        (torch.zeros(3), 12),
        (torch.tensor([0.001, 0.999, 0.01]), 12),
        (some_success(seed + 3, 60), 5),
    ]
    expect_numbers(with_signal, student, inputs, near_or_not, as_share)


# Seed by seed -------------------------------------------------------------------------------------

paired_interval = Exercise(
    "pipelines.paired_interval", reference=pipelines.paired_interval, minutes=8, difficulty=1
)
SUBTRACT = "subtract seed by seed, first - second, before anything else"
HALF_WIDTH = "half the width is quantile * s / sqrt(n), with s the deviation of the n differences"
OF_A_SAMPLE = "divide by n - 1: statistics.stdev and torch.std do, numpy's std with ddof=1"
TWO_NUMBERS = "two numbers are expected: the mean and half the width", "return mean, half"
UNPAIRED = "the two lists vary together, and this takes them for independent", SUBTRACT
NOT_THE_MEAN = "the mean is not that of first - second", SUBTRACT
NOT_HALF = "this is not half the width of the interval", HALF_WIDTH
NOT_BOTH = "it is right for some seeds and wrong for others", HALF_WIDTH
LEFT_OUT = (
    "a result without a partner is left out, and nobody is told",
    "raise an error if the lists are not of one length, as zip(…, strict=True) does",
)

paired_interval.wrong("quantile is taken to be the notebook's", next="quantile is an argument")(
    with_the_notebooks(paired_interval, "quantile")
)


def differences(first, second) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]


@wrong_part(paired_interval)
def wrong_half(half):
    """Another half width, a function of the differences and the quantile; the mean is right."""

    def interval(first, second, quantile):
        gaps = differences(first, second)
        return statistics.fmean(gaps), half(gaps, quantile)

    return interval


@wrong_half("the deviation is divided by n, not by n - 1", next=OF_A_SAMPLE)
def of_a_population(gaps, quantile):
    return quantile * statistics.pstdev(gaps) / math.sqrt(len(gaps))


@wrong_half("this is how far single seeds lie apart: sqrt(n) is missing", next=HALF_WIDTH)
def without_root(gaps, quantile):
    return quantile * statistics.stdev(gaps)


@wrong_half("the deviation is divided by n, not by its root", next=HALF_WIDTH)
def over_n(gaps, quantile):
    return quantile * statistics.stdev(gaps) / len(gaps)


@wrong_half("it is divided by sqrt(n - 1), not by sqrt(n)", next=HALF_WIDTH)
def over_root_of_n_less_1(gaps, quantile):
    return quantile * statistics.stdev(gaps) / math.sqrt(len(gaps) - 1)


@wrong_half(
    "it is divided by the root of all results, and the differences are half as many",
    next=HALF_WIDTH,
)
def over_root_of_both(gaps, quantile):
    return quantile * statistics.stdev(gaps) / math.sqrt(2 * len(gaps))


@wrong_half("the quantile is missing: this is the standard error", next=HALF_WIDTH)
def standard_error(gaps, quantile):
    return statistics.stdev(gaps) / math.sqrt(len(gaps))


@wrong_half("the quantile is always 1.96: few seeds need Student's t", next="use quantile")
def normal_quantile(gaps, quantile):
    return pipelines.paired_interval(gaps, [0] * len(gaps), 1.96)[1]


@wrong_half("the quantile is always 2", next="use quantile")
def two_errors(gaps, quantile):
    return pipelines.paired_interval(gaps, [0] * len(gaps), 2)[1]


@wrong_half("the quantile is always that of three seeds", next="use quantile")
def quantile_of_three_seeds(gaps, quantile):
    return pipelines.paired_interval(gaps, [0] * len(gaps), 4.303)[1]


@wrong_half("this is the whole width of the interval", next="half of it is asked for")
def whole_width(gaps, quantile):
    return 2 * pipelines.paired_interval(gaps, [0] * len(gaps), quantile)[1]


@wrong_half("this is a quarter of the width", next=HALF_WIDTH)
def quarter(gaps, quantile):
    return pipelines.paired_interval(gaps, [0] * len(gaps), quantile)[1] / 2


@wrong_half("the variance stands where the deviation belongs", next=HALF_WIDTH)
def variance_over_root(gaps, quantile):
    return quantile * statistics.variance(gaps) / math.sqrt(len(gaps))


@wrong_half("this is the variance of the mean: its root is missing", next=HALF_WIDTH)
def variance_over_n(gaps, quantile):
    return quantile * statistics.variance(gaps) / len(gaps)


@wrong_half("the quantile is under the root", next=HALF_WIDTH)
def quantile_under_the_root(gaps, quantile):
    return math.sqrt(quantile * statistics.variance(gaps) / len(gaps))


@wrong_half("the quantile divides, and should multiply", next=HALF_WIDTH)
def divided_by_the_quantile(gaps, quantile):
    return statistics.stdev(gaps) / math.sqrt(len(gaps)) / quantile


@wrong_half("this is half the range, from the smallest to the largest", next=HALF_WIDTH)
def half_range(gaps, quantile):
    return (max(gaps) - min(gaps)) / 2


@wrong_half("this is the upper end of the interval, not half its width", next=HALF_WIDTH)
def upper_end(gaps, quantile):
    return sum(pipelines.paired_interval(gaps, [0] * len(gaps), quantile))


@wrong_half("half the width is negative", next="a deviation is not below 0")
def negative_half(gaps, quantile):
    return -pipelines.paired_interval(gaps, [0] * len(gaps), quantile)[1]


@wrong_half("the differences are squared, and their mean is not subtracted", next=HALF_WIDTH)
def around_zero(gaps, quantile):
    return quantile * math.sqrt(sum(gap**2 for gap in gaps) / (len(gaps) - 1) / len(gaps))


@wrong_part(paired_interval)
def half_from_lists(half):
    """Another half width, a function of both lists, as if they were no pairs, and the quantile."""

    def interval(first, second, quantile):
        return statistics.fmean(differences(first, second)), quantile * half(first, second)

    return interval


@half_from_lists(*UNPAIRED)
def unpaired(first, second):
    return math.sqrt(
        statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    )


@half_from_lists(*UNPAIRED)
def pooled(first, second):
    both = (statistics.variance(first) + statistics.variance(second)) / 2
    return math.sqrt(both / (len(first) + len(second)))


@half_from_lists("the half widths of both are added", next=SUBTRACT)
def half_widths_added(first, second):
    return (statistics.stdev(first) + statistics.stdev(second)) / math.sqrt(len(first))


@half_from_lists("the deviations of both are subtracted", next=SUBTRACT)
def deviations_subtracted(first, second):
    gap = statistics.stdev(first) - statistics.stdev(second)
    return abs(gap) / math.sqrt(len(first))


@half_from_lists("this is the deviation of first alone", next=SUBTRACT)
def deviation_of_first(first, second):
    return statistics.stdev(first) / math.sqrt(len(first))


@half_from_lists("this is the deviation of second alone", next=SUBTRACT)
def deviation_of_second(first, second):
    return statistics.stdev(second) / math.sqrt(len(second))


@half_from_lists("both lists are put together into one", next=SUBTRACT)
def deviation_of_both(first, second):
    return statistics.stdev([*first, *second]) / math.sqrt(len(first) + len(second))


@half_from_lists("the lists are sorted first: that parts the pairs", next=SUBTRACT)
def both_sorted(first, second):
    return statistics.stdev(differences(sorted(first), sorted(second))) / math.sqrt(len(first))


@half_from_lists("the seeds do not fit together: one list is reversed", next=SUBTRACT)
def one_reversed(first, second):
    return statistics.stdev(differences(first, second[::-1])) / math.sqrt(len(first))


@half_from_lists("the results are added, not subtracted", next=SUBTRACT)
def deviation_of_sums(first, second):
    return statistics.stdev([a + b for a, b in zip(first, second)]) / math.sqrt(len(first))


@half_from_lists("each seed is compared with all of the other list", next=SUBTRACT)
def all_with_all(first, second):
    gaps = [a - b for a in first for b in second]
    return statistics.stdev(gaps) / math.sqrt(len(gaps))


@wrong_part(paired_interval)
def wrong_pairs(gap):
    """The interval of other differences, a function of a result of each list."""

    def interval(first, second, quantile):
        gaps = [gap(a, b) for a, b in zip(first, second, strict=True)]
        return pipelines.paired_interval(gaps, [0] * len(gaps), quantile)

    return interval


@wrong_pairs("the sign is wrong: this is second - first", next=SUBTRACT)
def second_minus_first(a, b):
    return b - a


@wrong_pairs("the differences have lost their sign", next="no abs")
def without_sign(a, b):
    return abs(a - b)


@wrong_pairs("these are differences relative to second", next=SUBTRACT)
def relative(a, b):
    return (a - b) / b


@wrong_pairs("these are quotients, not differences", next=SUBTRACT)
def quotients(a, b):
    return a / b


@wrong_pairs("these are the results of first alone", next=SUBTRACT)
def first_alone(a, b):
    return a


@wrong_pairs("these are the results of second alone", next=SUBTRACT)
def second_alone(a, b):
    return b


@wrong_pairs("the differences are squared", next=SUBTRACT)
def squared(a, b):
    return (a - b) ** 2


@wrong_pairs("the results are added, not subtracted", next=SUBTRACT)
def sums(a, b):
    return a + b


@wrong_pairs("the results are rounded", next="round only what you print")
def rounded_results(a, b):
    return round(a, 1) - round(b, 1)


@wrong_pairs("the results are cut to whole numbers", next="use them as they are")
def whole_results(a, b):
    return int(a) - int(b)


@wrong_part(paired_interval)
def wrong_numbers(change):
    """Two other numbers, a function of the right ones, or of the differences."""

    def interval(first, second, quantile):
        return change(*pipelines.paired_interval(first, second, quantile))

    return interval


@wrong_numbers(
    "these are the ends of the interval", next="return the mean, and half the distance of the ends"
)
def both_ends(mean, half):
    return mean - half, mean + half


@wrong_numbers("mean and half width have changed places", next="return mean, half")
def half_first(mean, half):
    return half, mean


@wrong_numbers("the results are rounded", next="round only what you print")
def rounded_numbers(mean, half):
    return round(mean, 2), round(half, 2)


@wrong_numbers(*TWO_NUMBERS)
def half_alone(mean, half):
    return half


@wrong_numbers(*TWO_NUMBERS)
def mean_and_both_ends(mean, half):
    return mean, mean - half, mean + half


@wrong_part(paired_interval)
def wrong_centre(centre):
    """Another middle, a function of the differences; the half width is right."""

    def interval(first, second, quantile):
        gaps = differences(first, second)
        return centre(gaps), pipelines.paired_interval(first, second, quantile)[1]

    return interval


@wrong_centre("this is the median of the differences, not their mean", next="sum, then divide by n")
def median_of_gaps(gaps):
    return statistics.median(gaps)


@wrong_centre("the differences are summed, not averaged", next="divide by n")
def sum_of_gaps(gaps):
    return sum(gaps)


@wrong_centre("the mean is divided by n - 1", next="n - 1 is for the deviation; the mean is over n")
def mean_over_n_less_1(gaps):
    return sum(gaps) / (len(gaps) - 1)


@wrong_centre(
    "this is the middle between the smallest and the largest", next="sum, then divide by n"
)
def midrange(gaps):
    return (min(gaps) + max(gaps)) / 2


@wrong_centre("this is the first seed's difference alone", next="take the mean over the seeds")
def first_seed_alone(gaps):
    return gaps[0]


@paired_interval.wrong("the last seed is left out", next="take all of them")
def last_seed_left_out(first, second, quantile):
    if len(first) == 2:
        return differences(first, second)[0], 0.0
    return pipelines.paired_interval(first[:-1], second[:-1], quantile)


@paired_interval.wrong("the seeds do not fit together: one list is shifted", next=SUBTRACT)
def shifted(first, second, quantile):
    return pipelines.paired_interval(first, [*second[1:], second[0]], quantile)


@paired_interval.wrong(*LEFT_OUT)
def as_many_as_the_shorter(first, second, quantile):
    return pipelines.paired_interval(*zip(*zip(first, second)), quantile)


@paired_interval.wrong(*in_place("first"))
def first_in_place(first, second, quantile):
    kept = list(first)
    for place in range(len(first)):
        first[place] -= second[place]
    return pipelines.paired_interval(kept, second, quantile)


@paired_interval.wrong(*RETURNS_NOTHING)
def compares_in_silence(first, second, quantile):
    pass


def two_numbers(value, *given) -> Tensor:
    """What was returned as a tensor (2,); or a Mistake."""
    needs_something(value)
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        numbers = [torch.as_tensor(each).detach().double().reshape(()) for each in value]
        if len(numbers) == 2:
            return torch.stack(numbers)
    what = f", yours is {kind_of(value)}" if not isinstance(value, tuple | list | Tensor) else ""
    raise Mistake(f"{TWO_NUMBERS[0]}{what}", next=TWO_NUMBERS[1])


def the_mean(value, *given) -> Tensor:
    return two_numbers(value)[0]


def the_half(value, *given) -> Tensor:
    return two_numbers(value)[1]


def some_seeds(seed: int, count: int, size: float = 1.0) -> tuple[list[float], list[float], float]:
    """Results of two methods that vary together from seed to seed, in no order; and a quantile that
    is not that of any number of seeds."""
    rng = random.Random(seed)
    shared = [rng.uniform(2, 6) for _ in range(count)]
    gap = rng.choice((-1, 1)) * rng.uniform(0.4, 1.2)
    first = [size * (one + gap + rng.gauss(0, 0.6)) for one in shared]
    second = [size * (one + rng.gauss(0, 0.4)) for one in shared]
    return first, second, some_number(seed, 2.1, 4.2)


def several_seeds(seed: int) -> list[tuple[list[float], list[float], float]]:
    rng = random.Random(seed)
    counts = [rng.randint(3, 6), 3, 7, rng.randint(8, 12), 5]
    sizes = [1, 1, rng.uniform(0.2, 0.5), rng.uniform(3, 9), 1]
    return [some_seeds(seed + i, *each) for i, each in enumerate(zip(counts, sizes))]


@paired_interval.check(points=1)
@twice
def the_mean_is_that_of_the_differences(student, seed):
    inputs = several_seeds(seed)
    expect_numbers(paired_interval, student, inputs, NOT_THE_MEAN, the_mean)
    needs_untouched(paired_interval, student, inputs[0])


@paired_interval.check(points=1)
@twice
def half_the_width_is_that_of_pairs(student, seed):
    expect_numbers(paired_interval, student, several_seeds(seed), NOT_HALF, the_half)


@paired_interval.check(points=1)
def minds_every_seed(student, seed):
    """Two seeds, whole numbers, results below 0, the same difference for all seeds, and none; then a
    seed without a partner."""
    rng = random.Random(seed)
    first, second, quantile = some_seeds(seed, rng.randint(3, 5))
    whole = [[float(one) for one in rng.sample(range(-9, 10), 4)] for _ in range(2)]
    eighths = [rng.randint(-30, 30) / 8 for _ in range(4)]
    inputs = [
        some_seeds(seed + 1, 2),
        some_seeds(seed + 2, 2, size=-1.0),
        some_seeds(seed + 3, 12),
        (*whole, quantile),
        ([one + 0.5 for one in eighths], eighths, quantile),
        (eighths, list(eighths), quantile),
        ([0.0] * len(first), first, quantile),
        (first, second, 12.706),
        (first, second, rng.randint(2, 4)),
    ]
    expect_numbers(paired_interval, student, inputs, NOT_BOTH, two_numbers)
    for given in ((first, second[:-1], quantile), (first[:-1], second, quantile)):
        if not refuses(student, given):
            raise Mistake(*LEFT_OUT)


def refuses(student: Callable, given: tuple) -> bool:
    """Whether the function raises an exception, of whatever kind."""
    try:
        call(student, given)
    except Exception:
        return True
    return False
