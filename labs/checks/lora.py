"""The checks of lab 02's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import contextlib
import itertools
import math
import operator
import random
import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from checks.models import MINE, OTHER, adapted_deep_model, adapted_model
from checks.shared import (
    NO_GRADIENT,
    RETURNS_NOTHING,
    Words,
    call,
    close,
    expect,
    in_place,
    kind_of,
    needs_gradient,
    needs_shape_of,
    needs_something,
    needs_untouched,
    no_gradient_in,
    randoms,
    result,
    some_number,
    traits,
    with_the_notebooks,
)
from course import Exercise, Mistake
from methods import lora
from planning import parameters
from torch import Tensor, nn

# The start ----------------------------------------------------------------------------------------

initialise = Exercise("lora.initialise", reference=lora.initialise, minutes=5, difficulty=1)
TWO_MATRICES = "two tensors are expected, A and B", "return A, B"
DOWN = "A takes the input down from d_in to rank"
UP = "B takes it up again, from rank to d_out"
NO_FLOATS = (
    "A and B must hold floats: whole numbers cannot learn",
    "torch.zeros and torch.randn give floats",
)
B_NOT_ZERO = (
    "B is not zero, so the first step does not begin at the base",
    "make B with torch.zeros",
)
A_NOT_FINITE = (
    "A holds numbers that are not finite",
    "fill it after torch.empty, as with normal_()",
)
ALL_THE_SAME = ("all numbers of A are the same", "draw each one at random, as with torch.randn")
NOT_DRAWN = (
    "A is the same on every call, so all layers would begin alike",
    "set no seed in the function",
)
ROWS_REPEAT = (
    "rows of A repeat each other: the adapter would have a lower rank",
    "draw every row by itself",
)
NOT_AROUND_0 = (
    "the numbers of A do not lie around 0",
    "draw from a normal, or uniformly between -a and a",
)
TOO_LARGE, TOO_SMALL = (
    (
        f"the numbers of A are too {what} to learn from",
        "a standard deviation of about 1 / sqrt(d_in) is asked for",
    )
    for what in ("large", "small")
)


@initialise.wrong(*TWO_MATRICES)
def a_alone(d_out, d_in, rank):
    return torch.randn(rank, d_in)


@initialise.wrong(
    "A and B have changed places",
    next="A reads the input: (rank, d_in); B writes the output: (d_out, rank)",
)
def changed_places(d_out, d_in, rank):
    return lora.initialise(d_out, d_in, rank)[::-1]


@initialise.wrong(
    "A and B are both transposed",
    next="as in nn.Linear, the output comes first: A (rank, d_in), B (d_out, rank)",
)
def both_transposed(d_out, d_in, rank):
    return tuple(matrix.T for matrix in lora.initialise(d_out, d_in, rank))


@initialise.wrong("A (rank, d_in) must be the other way round: yours is (d_in, rank)", next=DOWN)
def a_transposed(d_out, d_in, rank):
    return torch.randn(d_in, rank), torch.zeros(d_out, rank)


@initialise.wrong("B (d_out, rank) must be thin: yours is as large as the weight", next=UP)
def full_size_b(d_out, d_in, rank):
    return torch.randn(rank, d_in), torch.zeros(d_out, d_in)


@initialise.wrong(*NO_FLOATS)
def whole_numbers(d_out, d_in, rank):
    return torch.randint(-3, 4, (rank, d_in)), torch.zeros(d_out, rank, dtype=int)


@initialise.wrong(
    "both matrices are zero: no gradient would ever reach either", next="draw A at random"
)
def both_zero(d_out, d_in, rank):
    return torch.zeros(rank, d_in), torch.zeros(d_out, rank)


@initialise.wrong(
    "A is zero and B is not: here it is the other way round",
    next="draw A at random, make B of zeros",
)
def zeros_in_a(d_out, d_in, rank):
    return torch.zeros(rank, d_in), torch.randn(d_out, rank)


@initialise.wrong(*B_NOT_ZERO)
def both_random(d_out, d_in, rank):
    return torch.randn(rank, d_in), torch.randn(d_out, rank)


@initialise.wrong(*A_NOT_FINITE)
def divided_by_nothing(d_out, d_in, rank):
    return torch.randn(rank, d_in) / 0, torch.zeros(d_out, rank)


@initialise.wrong(*ALL_THE_SAME)
def all_ones(d_out, d_in, rank):
    return torch.ones(rank, d_in), torch.zeros(d_out, rank)


@initialise.wrong(*NOT_DRAWN)
def seeded(d_out, d_in, rank):
    return randoms(0, rank, d_in), torch.zeros(d_out, rank)


@initialise.wrong(*ROWS_REPEAT)
def one_row(d_out, d_in, rank):
    return torch.randn(1, d_in).repeat(rank, 1), torch.zeros(d_out, rank)


@initialise.wrong(*NOT_AROUND_0)
def never_negative(d_out, d_in, rank):
    return torch.rand(rank, d_in), torch.zeros(d_out, rank)


@initialise.wrong(*TOO_LARGE)
def far_too_large(d_out, d_in, rank):
    return torch.randn(rank, d_in) * d_in, torch.zeros(d_out, rank)


@initialise.wrong(*TOO_LARGE)
def standard_normal(d_out, d_in, rank):
    return torch.randn(rank, d_in), torch.zeros(d_out, rank)


@initialise.wrong(*TOO_SMALL)
def far_too_small(d_out, d_in, rank):
    return torch.randn(rank, d_in) * 1e-6, torch.zeros(d_out, rank)


def two_matrices(value) -> tuple[Tensor, Tensor]:
    needs_something(value)
    if (
        not isinstance(value, tuple | list)
        or len(value) != 2
        or not all(isinstance(matrix, Tensor) for matrix in value)
    ):
        raise Mistake(*TWO_MATRICES)
    return tuple(matrix.detach() for matrix in value)


def shapes_of(value, *sizes: int) -> list[tuple[int, ...]]:
    return [tuple(matrix.shape) for matrix in two_matrices(value)]


def which_are_zero(value, *sizes: int) -> list[tuple]:
    return [(matrix.shape, bool((matrix == 0).all())) for matrix in two_matrices(value)]


def sizes(seed: int) -> tuple[int, int, int]:
    """d_out, d_in and rank."""
    rng = random.Random(seed)
    return rng.randrange(40, 56), rng.randrange(60, 80), rng.choice((3, 4, 5))


def drawn(student, seed: int) -> tuple[Tensor, Tensor]:
    """A and B, of the right shapes and of floats; or a Mistake."""
    d_out, d_in, rank = sizes(seed)
    A, B = two_matrices(student(d_out, d_in, rank))
    other_shapes = (
        f"A (rank, d_in) and B (d_out, rank) must be tensors {(rank, d_in)} and {(d_out, rank)}, "
        f"yours are {tuple(A.shape)} and {tuple(B.shape)}"
    )
    expect(
        initialise, student, sizes(seed), otherwise=(other_shapes, f"{DOWN}, {UP}"), read=shapes_of
    )
    if not (A.is_floating_point() and B.is_floating_point()):
        raise Mistake(*NO_FLOATS)
    return A, B


@initialise.check(points=1)
def has_the_right_shapes(student, seed):
    drawn(student, seed)


@initialise.check(points=1)
def begins_at_the_base(student, seed):
    drawn(student, seed)
    expect(initialise, student, sizes(seed), otherwise=B_NOT_ZERO, read=which_are_zero)


@initialise.wrong(*A_NOT_FINITE)
def standardised_over_its_rows(d_out, d_in, rank):
    A = torch.randn(rank, d_in)
    return (A - A.mean(0)) / A.std(0) / math.sqrt(d_in), torch.zeros(d_out, rank)


@initialise.check(points=1)
def draws_a_at_random(student, seed):
    (A, _), (again, _) = drawn(student, seed), drawn(student, seed)
    if not torch.isfinite(A).all():
        raise Mistake(*A_NOT_FINITE)
    if (A == A[0, 0]).all():
        raise Mistake(*ALL_THE_SAME)
    if torch.equal(A, again):
        raise Mistake(*NOT_DRAWN)
    if torch.linalg.matrix_rank(A.double()) < len(A):
        raise Mistake(*ROWS_REPEAT)
    thin, _ = two_matrices(student(30, 50, 1))
    if not torch.isfinite(thin).all():
        raise Mistake(*A_NOT_FINITE)
    if A.mean().abs() > A.std() / 2:
        raise Mistake(*NOT_AROUND_0)
    spread = A.std() * math.sqrt(A.shape[1])  # 1 is what the docstring asks for
    if not 0.05 < spread < 4:
        message, next = TOO_LARGE if spread > 1 else TOO_SMALL
        raise Mistake(f"{message}: their standard deviation is {A.std():.1g}", next=next)


# What the update, merging and unmerging share -----------------------------------------------------

FACTORS = "the output of the adapter is scaled by alpha / rank, and rank is the number of rows of A"
NO_FACTOR = "the factor alpha / rank is missing", FACTORS
WRONG_FACTORS: dict[str, tuple[str, Callable]] = {
    "alpha_alone": (
        "the update is multiplied by alpha and never divided by the rank",
        lambda A, B, alpha: alpha,
    ),
    "rank_alone": (
        "the update is divided by the rank and alpha is not used",
        lambda A, B, alpha: 1 / len(A),
    ),
    "root_of_rank": (
        "the factor is alpha / sqrt(rank): that is rsLoRA",
        lambda A, B, alpha: alpha / math.sqrt(len(A)),
    ),
    "upside_down": (
        "the factor is rank / alpha: it stands on its head",
        lambda A, B, alpha: len(A) / alpha,
    ),
    "columns_of_a": (
        "alpha is divided by d_in and not by the rank",
        lambda A, B, alpha: alpha / A.shape[1],
    ),
    "rows_of_b": (
        "alpha is divided by d_out and not by the rank",
        lambda A, B, alpha: alpha / len(B),
    ),
    "smaller_side": (
        "alpha is divided by d_in and not by the rank",
        lambda A, B, alpha: alpha / min(A.shape),
    ),
}


def register_wrong_factors(exercise: Exercise, missing: Words) -> None:
    """Wrong solutions: the reference with another factor than alpha / rank. missing: the words for
    a factor of 1."""

    def register(name: str, words: Words, factor: Callable) -> None:
        def scaled(first, A, B, alpha):
            return exercise.reference(first, A, B, len(A) * factor(A, B, alpha))

        scaled.__name__ = name
        exercise.wrong(*words)(scaled)

    register("no_factor", missing, lambda A, B, alpha: 1)
    for name, (message, factor) in WRONG_FACTORS.items():
        register(name, (message, FACTORS), factor)
    exercise.wrong("alpha is taken to be the notebook's", next=FACTORS)(
        with_the_notebooks(exercise, "alpha")
    )


def adapter(seed: int) -> tuple[Tensor, Tensor, float]:
    """A (rank, 11), B (9, rank) and an alpha that is no rank, no root of one and no side, so that
    every wrong factor shows. No side is a number that people write out, such as 8."""
    rank = random.Random(seed).choice((2, 3, 5))
    return randoms(seed, rank, 11), randoms(seed + 1, 9, rank), some_number(seed, 5.1, 6.9)


def wide_adapter(seed: int) -> tuple[Tensor, Tensor, float]:
    """The rank is above d_in, which is a waste and no mistake."""
    return randoms(seed, 13, 7), randoms(seed + 1, 9, 13), some_number(seed, 5.1, 6.9)


def square_adapter(seed: int) -> tuple[Tensor, Tensor, float]:
    """A and B fit together in either order, and nearly every factor is 1."""
    return randoms(seed, 1, 9), randoms(seed + 1, 9, 1), 1.0


def tensor(value, *given) -> Tensor:
    needs_something(value)
    if not isinstance(value, Tensor):
        raise Mistake(
            f"the result must be a tensor, yours is {kind_of(value)}",
            next="stay with tensors from the arguments to the result",
        )
    return result(value)


THE_SAME_TENSOR = (
    "where B is zero, the very same tensor comes back: whoever changes one changes the other",
    "a sum or a difference is a new tensor even if it changes nothing",
)


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two tensors; 0 if their shapes differ."""
    if one.shape != other.shape:
        return 0.0
    return F.cosine_similarity(one.double().flatten(), other.double().flatten(), dim=0).item()


ALONG = 1 - 1e-7  # cosine of the angle between a tensor and a multiple of it
MISFIT = "the shapes do not fit together"


def misfit(error: RuntimeError) -> str:
    """What to say of matrices that do not fit together; any other error is raised again."""
    if not re.search(r"matrix|mat1|mat2|shape|size|dimension", str(error)):
        raise error
    return f"{MISFIT}: {str(error).splitlines()[0]}"


def expect_product(
    exercise: Exercise, student, seed: int, rows: int, otherwise: Words, next: str, read=tensor
) -> None:
    """expect() for a tensor (rows, 11) and an adapter. Matrices that do not fit together may fit if
    they are square, and show there what was meant. next: what to try for another shape."""
    given = randoms(seed + 2, rows, 11), *adapter(seed)
    try:
        call(student, given)
    except RuntimeError as error:
        words = misfit(error), next
        square = randoms(seed + 2, rows, 9), *square_adapter(seed)
        with contextlib.suppress(RuntimeError):
            expect(exercise, student, square, otherwise=words, read=read)
        raise Mistake(*words) from None
    expect(exercise, student, given, otherwise=otherwise, shape=next, read=read)
    wide = randoms(seed + 2, rows, 7), *wide_adapter(seed)
    expect(exercise, student, wide, otherwise=otherwise, shape=next, read=read)


def needs_a_new_tensor(exercise: Exercise, student, seed: int) -> None:
    """Even where the adapter adds nothing yet."""
    weight, A, B, alpha = randoms(seed + 2, 9, 11), *adapter(seed)
    value = student(weight, A, torch.zeros_like(B), alpha)
    tensor(value)
    if value is weight:
        raise Mistake(*THE_SAME_TENSOR)


# The update ---------------------------------------------------------------------------------------

lora_update = Exercise("lora.update", reference=lora.lora_update, minutes=10, difficulty=2)
THIN = "x @ A.T goes from d_in to rank, then @ B.T from rank to d_out"
NOT_THE_UPDATE = "this is not (alpha / rank) B A x", THIN
ANY_DIMENSIONS = ("x may also be", "with x on the left, x @ A.T works for any leading dimensions")
BATCH, ONE_ROW = "(batch, time, d_in)", "a single row (1, d_in)"

register_wrong_factors(lora_update, missing=NO_FACTOR)


@lora_update.wrong("A and B have changed places: B is applied first", next=THIN)
def b_first(x, A, B, alpha):
    return x @ B @ A * alpha / len(A)


@lora_update.wrong(
    "x is added to the update",
    next="return the update alone; the layer adds it to what the base gives",
)
def plus_x(x, A, B, alpha):
    return x + lora.lora_update(x, A, B, alpha)


@lora_update.wrong(MISFIT, next=THIN)
def columns_only(x, A, B, alpha):
    return B @ A @ x * alpha / len(A)


@lora_update.wrong(f"{ANY_DIMENSIONS[0]} {BATCH}", next=ANY_DIMENSIONS[1])
def two_dimensions(x, A, B, alpha):
    return (B @ (A @ x.t())).t() * alpha / len(A)


@lora_update.wrong(f"{ANY_DIMENSIONS[0]} {BATCH}", next=ANY_DIMENSIONS[1])
def only_a_batch(x, A, B, alpha):
    return torch.mm(torch.mm(x, A.T), B.T) * alpha / len(A)


@lora_update.wrong("the sign is wrong", next="the update is added to what the base gives: no minus")
def negative(x, A, B, alpha):
    return -lora.lora_update(x, A, B, alpha)


@lora_update.wrong(*NOT_THE_UPDATE)
def a_product_of_rows(x, A, B, alpha):
    return x @ A.T @ B.T * x.mean(-1, keepdim=True)


@lora_update.wrong(*NO_GRADIENT)
def detached(x, A, B, alpha):
    return lora.lora_update(x, A.detach(), B.detach(), alpha).detach()


@lora_update.wrong(*no_gradient_in("A"))
def a_detached(x, A, B, alpha):
    return lora.lora_update(x, A.data, B, alpha)


@lora_update.wrong(*no_gradient_in("x"))
def x_detached(x, A, B, alpha):
    return lora.lora_update(x.detach(), A, B, alpha)


@lora_update.wrong(*in_place("x"))
def scaled_in_place(x, A, B, alpha):
    x *= alpha / len(A)
    return x @ A.T @ B.T


@lora_update.wrong(*in_place("B"))
@torch.no_grad()
def b_scaled_in_place(x, A, B, alpha):
    B *= alpha / len(A)
    return x @ A.T @ B.T


def line_of(value, *given) -> Tensor:
    """The result up to a factor."""
    value = tensor(value)
    return value / value.norm().clamp(min=1e-9) * value.sum().sign()


@lora_update.check(points=2)
def is_the_scaled_product(student, seed):
    expect_product(lora_update, student, seed, rows=5, otherwise=NOT_THE_UPDATE, next=THIN)


@lora_update.check(points=1)
def takes_any_number_of_dimensions(student, seed):
    rows = randoms(seed + 2, 5, 11), *adapter(seed)
    right = close(call(student, rows), lora_update.reference(*rows))
    read = tensor if right else line_of  # a wrong factor has cost its points already
    for leading, words in (((2, 3), BATCH), ((1,), ONE_ROW), ((), "a single vector (d_in)")):
        given = randoms(seed + 3, *leading, 11), *adapter(seed)
        try:
            expect(lora_update, student, given, otherwise=NOT_THE_UPDATE, read=read)
        except (Mistake, RuntimeError) as error:
            shapes = error if isinstance(error, Mistake) else misfit(error)
            message, next = ANY_DIMENSIONS
            raise Mistake(f"{message} {words}, and there {shapes}", next=next) from None


@lora_update.check(points=1)
def passes_the_gradient(student, seed):
    *learned, alpha = given = randoms(seed + 2, 5, 11), *adapter(seed)
    needs_untouched(lora_update, student, given)
    value = student(*(argument.requires_grad_() for argument in learned), alpha)
    needs_gradient(value)
    value.sum().backward()
    for name, argument in zip(("x", "A", "B"), learned):
        if argument.grad is None:
            raise Mistake(*no_gradient_in(name))


# Counting -----------------------------------------------------------------------------------------

lora_parameters = Exercise(
    "lora.parameters", reference=parameters.lora_parameters, minutes=5, difficulty=1
)
NOT_A_NUMBER = "one number is expected", "return the count"
CUT_OFF = (
    "for some sizes this is too few by one: a float was cut off",
    "multiply and add whole numbers; no division, no float",
)
ADD_THE_SIZES = "add the sizes of A (rank, d_in) and B (d_out, rank)"
NOT_WHOLE = (
    "a count is a whole number, and this is a float",
    "multiply and add whole numbers; no division, no float",
)


@lora_parameters.wrong(
    "the sides are multiplied, not added", next="A and B are two thin matrices: add their sizes"
)
def count_product(d_out, d_in, rank):
    return rank * d_out * d_in


@lora_parameters.wrong("the sizes of A and B are multiplied", next="add them")
def count_both_products(d_out, d_in, rank):
    return (rank * d_in) * (d_out * rank)


@lora_parameters.wrong("this is A alone", next="B (d_out, rank) is trained too")
def count_a(d_out, d_in, rank):
    return rank * d_in


@lora_parameters.wrong("this is B alone", next="A (rank, d_in) is trained too")
def count_b(d_out, d_in, rank):
    return d_out * rank


@lora_parameters.wrong("the frozen weight is counted too", next="LoRA trains A and B alone")
def count_with_weight(d_out, d_in, rank):
    return d_out * d_in + rank * (d_out + d_in)


@lora_parameters.wrong(
    "this is the weight that full tuning trains", next="count A (rank, d_in) and B (d_out, rank)"
)
def count_weight(d_out, d_in, rank):
    return d_out * d_in


@lora_parameters.wrong("the rank is not used", next="A has rank rows, B has rank columns")
def count_without_rank(d_out, d_in, rank):
    return d_out + d_in


@lora_parameters.wrong("B is counted as if it were as wide as A", next="B is (d_out, rank)")
def count_twice_a(d_out, d_in, rank):
    return 2 * rank * d_in


@lora_parameters.wrong("A is counted as if it were as high as B", next="A is (rank, d_in)")
def count_twice_b(d_out, d_in, rank):
    return 2 * rank * d_out


@lora_parameters.wrong("this is one too many", next=ADD_THE_SIZES)
def count_one_off(d_out, d_in, rank):
    return rank * (d_out + d_in) + 1


@lora_parameters.wrong(*NOT_WHOLE)
def count_as_float(d_out, d_in, rank):
    return rank * (d_out + d_in) / 1


@lora_parameters.wrong(*NOT_WHOLE)
def count_as_float_tensor(d_out, d_in, rank):
    return torch.tensor(float(rank * (d_out + d_in)))


@lora_parameters.wrong(*NOT_A_NUMBER)
def count_as_text(d_out, d_in, rank):
    return f"{rank * (d_out + d_in)} parameters"


def a_matrix(seed: int) -> tuple[int, int, int]:
    """d_out, d_in and rank."""
    rng = random.Random(seed)
    return rng.randint(200, 400), rng.randint(500, 900), rng.randint(3, 9)


def as_number(value, *sizes: int) -> float:
    """A number of Python's, so that it is compared exactly."""
    needs_something(value)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        message, next = NOT_A_NUMBER
        raise Mistake(f"{message}, yours is {kind_of(value)}", next=next) from None


# d_out, d_in and rank for which rank (1/d_out + 1/d_in) d_out d_in, in floats, comes out too small
HARD_FOR_FLOATS = (1827, 2899, 5), (744, 3280, 13), (1131, 6897, 64)


@lora_parameters.wrong(*CUT_OFF)
def by_a_share_in_floats(d_out, d_in, rank):
    share = rank * (d_out + d_in) / (d_out * d_in)
    return int(d_out * d_in * share)


@lora_parameters.check(points=1)
def counts_both_matrices(student, seed):
    d_out, d_in, rank = a_matrix(seed)
    value = student(d_out, d_in, rank)
    another = f"a matrix {d_out} × {d_in} at rank {rank} does not take {value}", ADD_THE_SIZES
    expect(lora_parameters, student, a_matrix(seed), otherwise=another, read=as_number)


@lora_parameters.check(points=1)
def gives_a_whole_number(student, seed):
    value, other = (student(*a_matrix(each)) for each in (seed, seed + 10**6))
    if as_number(value) == as_number(other):
        raise Mistake(
            "the count is the same for another matrix", next="it depends on d_out, d_in and rank"
        )
    for d_out, d_in, rank in HARD_FOR_FLOATS:
        if as_number(student(d_out, d_in, rank)) == rank * (d_out + d_in) - 1:
            raise Mistake(*CUT_OFF)
    try:
        operator.index(value)
    except (TypeError, RuntimeError):
        raise Mistake(*NOT_WHOLE) from None


# Merging ------------------------------------------------------------------------------------------

merged_weight = Exercise("lora.merge", reference=lora.merged_weight, minutes=10, difficulty=2)
LIKE_THE_WEIGHT = "B @ A has the shape of the weight, (d_out, d_in)"
NOT_MERGED = "this is not W₀ + (alpha / rank) B A", LIKE_THE_WEIGHT
AS_BEFORE = "the weight is the same as before", "add the update to it"
WITHOUT_WEIGHT = "this is the update alone, without the base's weight", "return weight + …"
TRANSPOSED = "the product of A and B is transposed", LIKE_THE_WEIGHT

register_wrong_factors(
    merged_weight,
    missing=(f"{NO_FACTOR[0]}: W₀ + BA is right only where alpha equals the rank", FACTORS),
)
merged_weight.wrong("the update is subtracted", next="merging adds it")(lora.unmerged_weight)


@merged_weight.wrong(*TRANSPOSED)
def merge_transposed(weight, A, B, alpha):
    return weight + A.T @ B.T * (alpha / len(A))


@merged_weight.wrong("A and B have changed places: A @ B is (rank, rank)", next=LIKE_THE_WEIGHT)
def merge_changed_places(weight, A, B, alpha):
    return weight + A @ B * (alpha / len(A))


@merged_weight.wrong(*in_place("weight"))
def merge_in_place(weight, A, B, alpha):
    weight += B @ A * (alpha / len(A))
    return weight


@merged_weight.wrong(*in_place("weight"))
def merge_into_data(weight, A, B, alpha):
    weight.data.add_(B @ A * (alpha / len(A)))
    return weight.clone()


@merged_weight.wrong(*WITHOUT_WEIGHT)
def merge_update_alone(weight, A, B, alpha):
    return B @ A * (alpha / len(A))


@merged_weight.wrong(*WITHOUT_WEIGHT)
def merge_bare_product(weight, A, B, alpha):
    return B @ A


@merged_weight.wrong(*AS_BEFORE)
def unchanged(weight, A, B, alpha):
    return weight


@merged_weight.wrong(*AS_BEFORE)
def copied(weight, A, B, alpha):
    return weight.clone()


@merged_weight.wrong(*RETURNS_NOTHING)
def merge_no_return(weight, A, B, alpha):
    weight += B @ A * (alpha / len(A))


def weight_of(value, weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    value = tensor(value)
    if abs(cosine(value, B @ A)) > ALONG:  # whatever the factor
        raise Mistake(*WITHOUT_WEIGHT)
    return value


@merged_weight.wrong(*THE_SAME_TENSOR)
def merged_weight_itself_where_b_is_zero(weight, A, B, alpha):
    return lora.merged_weight(weight, A, B, alpha) if B.any() else weight


@merged_weight.check(points=2)
def does_what_base_and_adapter_do_together(student, seed):
    expect_product(
        merged_weight,
        student,
        seed,
        rows=9,
        otherwise=NOT_MERGED,
        next=LIKE_THE_WEIGHT,
        read=weight_of,
    )


@merged_weight.check(points=1)
def leaves_the_old_weight_alone(student, seed):
    weight, *others = given = randoms(seed + 2, 9, 11), *adapter(seed)
    needs_untouched(merged_weight, student, given)
    value = tensor(student(weight, *others))
    needs_shape_of(weight, value, LIKE_THE_WEIGHT)
    if close(value, weight):
        raise Mistake(*AS_BEFORE)
    needs_a_new_tensor(merged_weight, student, seed)


# What learns --------------------------------------------------------------------------------------

freeze = Exercise("lora.freeze", reference=lora.freeze, minutes=10, difficulty=2)
MODELS = adapted_model, adapted_deep_model
ANY_LAYERS = "go through lora.layers(model).values()"
WHOLE_BASE = "the whole base still trains", "begin with model.requires_grad_(False)"
PARTS = "parts of the base still train"
FREEZE_FIRST = "freeze everything first: embeddings, norms, biases and the output layer too"
STILL_FROZEN = (
    f"the adapter {MINE!r} was frozen and still is",
    "requires_grad_(True) on its A and B",
)
STAYS_FROZEN = "of the adapter stays frozen"
NOT_EVERYWHERE = (
    "an adapter need not be on every layer",
    "skip a layer where name not in layer.configs",
)
ONE_MODEL = "this fits one model alone, and another one has no such layers", ANY_LAYERS
NEW_NUMBERS = "the numbers of the model have changed", "only requires_grad is to be set"


def half_trains(matrix: str, other: str) -> Words:
    return f"only {matrix} of the adapter trains", f"let {other} require gradients too"


def both_train(mine: str, other: str) -> Words:
    return (
        f"the adapter {other!r} trains as well as {mine!r}",
        "freeze all adapters, then thaw the one whose whole name is name",
    )


@freeze.wrong(*WHOLE_BASE)
def freeze_nothing(model, name):
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


@freeze.wrong(f"{PARTS}: embedding.weight", next=FREEZE_FIRST)
def freeze_weights_of_layers(model, name):
    for layer in lora.layers(model).values():
        layer.requires_grad_(False)
    freeze_nothing(model, name)


def freeze_all_but(part: str, left: str) -> None:
    """Register a wrong solution. left: what it leaves unfrozen in the first of the models."""

    def freeze_most(model, name):
        lora.freeze(model, name)
        for path, p in model.named_parameters():
            if path.endswith(tuple(left.split(", "))):
                p.requires_grad = True

    freeze_most.__name__ = f"freeze_all_but_{part}"
    freeze.wrong(f"{PARTS}: {left}", next=FREEZE_FIRST)(freeze_most)


freeze_all_but("biases", "norm.bias, up.base.bias, down.base.bias")
freeze_all_but("norm", "norm.weight, norm.bias")
freeze_all_but("head", "head.weight")
freeze_all_but("embedding", "embedding.weight")


@freeze.wrong(*STILL_FROZEN)
def freeze_everything(model, name):
    model.requires_grad_(False)


@freeze.wrong(*STILL_FROZEN)
def freeze_without_thaw(model, name):
    for path, p in model.named_parameters():
        if not path.endswith((f".A.{name}", f".B.{name}")):
            p.requires_grad = False


@freeze.wrong(*STILL_FROZEN)
def thaw_the_active(model, name):
    lora.freeze(model, next(iter(lora.layers(model).values())).active)


@freeze.wrong(*STILL_FROZEN)
def thaw_known_paths(model, name):
    known = {f"{layer}.{matrix}.{name}" for layer in ("up", "down") for matrix in "AB"}
    for path, p in model.named_parameters():
        p.requires_grad = path in known


@freeze.wrong(*ONE_MODEL)
def thaw_known_layers(model, name):
    model.requires_grad_(False)
    for layer in (model.up, model.down):
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


@freeze.wrong(*both_train(MINE, OTHER))
def thaw_all_adapters(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A.requires_grad_(True)
        layer.B.requires_grad_(True)


@freeze.wrong(*both_train(MINE, OTHER))
def thaw_by_the_end_of_the_name(model, name):
    for path, p in model.named_parameters():
        p.requires_grad = path.endswith(name)


@freeze.wrong(*both_train(MINE, OTHER))
def thaw_by_part_of_the_name(model, name):
    for path, p in model.named_parameters():
        p.requires_grad = name in path


@freeze.wrong(*half_trains("B", "A"))
def thaw_only_b(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.B[name].requires_grad_(True)


@freeze.wrong(*half_trains("A", "B"))
def thaw_only_a(model, name):
    for path, p in model.named_parameters():
        p.requires_grad = path.endswith(f".A.{name}")


@freeze.wrong(f"down.A.{MINE}, down.B.{MINE} {STAYS_FROZEN}", next=ANY_LAYERS)
def thaw_first_layer(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)
        break


@freeze.wrong(*STILL_FROZEN)
def stops_at_a_layer_without_it(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        if name not in layer.configs:
            return
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)


@freeze.wrong(*NOT_EVERYWHERE)
def thaw_on_every_layer(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)


@freeze.wrong(*NEW_NUMBERS)
@torch.no_grad()
def zero_the_base(model, name):
    lora.freeze(model, name)
    model.up.base.weight.zero_()


def trained(student, make: Callable[[], nn.Module], name: str, begin: bool) -> dict[str, bool]:
    """Whether each parameter of a model with two adapters trains, after the function; all began as
    `begin`."""
    model = make().requires_grad_(begin)
    before = traits(model)
    try:
        student(model, name)
    except (KeyError, AttributeError) as error:
        if f"'{type(model).__name__}' object has no attribute" in str(error):
            raise Mistake(*ONE_MODEL) from None
        if name not in str(error):  # nn.ParameterDict says which name it does not hold
            raise
        raise Mistake(*NOT_EVERYWHERE) from None
    if traits(model) != before:
        raise Mistake(*NEW_NUMBERS)
    return {path: p.requires_grad for path, p in model.named_parameters()}


def of(name: str, trains: dict[str, bool]) -> dict[str, bool]:
    return {path: it for path, it in trains.items() if path.endswith((f".A.{name}", f".B.{name}"))}


@freeze.check(points=1)
def freezes_the_base(student, seed):
    for make in MODELS:
        trains = trained(student, make, MINE, begin=True)
        base = trains.keys() - of(MINE, trains).keys() - of(OTHER, trains).keys()
        left = [path for path, it in trains.items() if it and path in base]
        if len(left) == len(base):
            raise Mistake(*WHOLE_BASE)
        if left:
            raise Mistake(f"{PARTS}: {', '.join(left)}", next=FREEZE_FIRST)


@freeze.check(points=1)
def lets_the_adapter_learn(student, seed):
    for make, name in itertools.product(MODELS, (MINE, OTHER)):
        mine = of(name, trained(student, make, name, begin=False))
        if not any(mine.values()):
            raise Mistake(*STILL_FROZEN)
        for matrix, other in (("A", "B"), ("B", "A")):
            if not any(it for path, it in mine.items() if f".{other}." in path):
                raise Mistake(*half_trains(matrix, other))
        if left := [path for path, it in mine.items() if not it]:
            raise Mistake(f"{', '.join(left)} {STAYS_FROZEN}", next=ANY_LAYERS)


@freeze.check(points=1)
def leaves_the_other_adapter_frozen(student, seed):
    for make, (mine, other) in itertools.product(MODELS, ((MINE, OTHER), (OTHER, MINE))):
        if any(of(other, trained(student, make, mine, begin=True)).values()):
            raise Mistake(*both_train(mine, other))


# Find the silent bug ------------------------------------------------------------------------------

unmerged_weight = Exercise(
    "lora.silent_bug", reference=lora.unmerged_weight, minutes=15, difficulty=3
)
NOT_UNMERGED = "this is not the weight before merging", "do what merging does, with a minus"
NOTHING_TAKEN_OUT = "nothing has been taken out", "subtract what merging added"
ADDED_AGAIN = "the adapter is added a second time", "subtract it"
UPDATE_ALONE = "this is the update alone, without the weight", "return weight - …"

register_wrong_factors(
    unmerged_weight,
    missing=(
        "a part of the adapter stays behind: merging added (alpha / rank) B A, and this takes out B A",
        "with alpha equal to the rank the bug hides; multiply by alpha / rank here too",
    ),
)
for nothing in (unchanged, copied):
    unmerged_weight.wrong(*NOTHING_TAKEN_OUT)(nothing)


@unmerged_weight.wrong(*ADDED_AGAIN)
def unmerge_adds(weight, A, B, alpha):
    return weight + B @ A * (alpha / len(A))


@unmerged_weight.wrong(*ADDED_AGAIN)
def unmerge_adds_bare(weight, A, B, alpha):
    return weight + B @ A


@unmerged_weight.wrong(*in_place("weight"))
def unmerge_in_place(weight, A, B, alpha):
    return weight.sub_(B @ A * (alpha / len(A)))


@unmerged_weight.wrong(
    "only zeros are left", next="take the update out of the weight, and keep the rest"
)
def unmerge_to_zeros(weight, A, B, alpha):
    return weight - weight


@unmerged_weight.wrong(*UPDATE_ALONE)
def unmerge_update_alone(weight, A, B, alpha):
    return -B @ A * (alpha / len(A))


@unmerged_weight.wrong(*TRANSPOSED)
def unmerge_transposed(weight, A, B, alpha):
    return weight - A.T @ B.T * (alpha / len(A))


@unmerged_weight.wrong(*NOT_UNMERGED)
def unmerge_a_part(weight, A, B, alpha):
    return weight - B[:, :1] @ A[:1] * (alpha / len(A))


def base_of(value, weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    value = tensor(value)
    needs_shape_of(weight, value, LIKE_THE_WEIGHT)
    if abs(cosine(value, B @ A)) > ALONG:
        raise Mistake(*UPDATE_ALONE)
    if cosine(value - weight, B @ A) > ALONG:
        raise Mistake(*ADDED_AGAIN)
    return value


@unmerged_weight.wrong(*THE_SAME_TENSOR)
def unmerged_weight_itself_where_b_is_zero(weight, A, B, alpha):
    return lora.unmerged_weight(weight, A, B, alpha) if B.any() else weight


@unmerged_weight.check(points=3)
def gives_the_base_back(student, seed):
    expect_product(
        unmerged_weight,
        student,
        seed,
        rows=9,
        otherwise=NOT_UNMERGED,
        next=LIKE_THE_WEIGHT,
        read=base_of,
    )


@unmerged_weight.check(points=1)
def leaves_the_merged_weight_alone(student, seed):
    # The colleague's function leaves it alone, too, and earns nothing for that.
    gives_the_base_back(student, seed)
    needs_untouched(unmerged_weight, student, (randoms(seed + 2, 9, 11), *adapter(seed)))
    needs_a_new_tensor(unmerged_weight, student, seed)
