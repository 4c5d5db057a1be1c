"""The checks of lab 02's exercises: what each function must do, and the mistake that each failure
points to."""

import itertools
import math
import operator
import random
import re
from collections.abc import Callable

import torch
from checks.models import MINE, OTHER, adapted_deep_model, adapted_model
from checks.shared import close, needs_something, some_number
from course import Exercise, Mistake
from course.learner import NOTEBOOK_SEED
from methods import lora
from planning import parameters
from torch import Tensor, nn

FACTORS = "the output of the adapter is scaled by alpha / rank, and rank is the number of rows of A"


def random_matrices(seed: int, d_out: int = 8, d_in: int = 11) -> tuple[Tensor, Tensor, Tensor]:
    """A weight (d_out, d_in), A (rank, d_in) and B (d_out, rank), none of them zero."""
    generator, rank = torch.Generator().manual_seed(seed), random.Random(seed).choice((2, 3, 4))
    return tuple(
        torch.randn(shape, generator=generator)
        for shape in ((d_out, d_in), (rank, d_in), (d_out, rank))
    )


def some_alpha(seed: int) -> float:
    """No rank below equals it, its root or a side of a matrix: every wrong factor shows."""
    return some_number(seed, 5.1, 6.9)


def called(student, *given, next: str):
    """What the function returns; matrices that do not fit together are told as such."""
    try:
        value = student(*(item.clone() if isinstance(item, Tensor) else item for item in given))
    except RuntimeError as error:
        if not re.search(r"matrix|mat1|mat2|shape|size|dimension", str(error)):
            raise
        raise Mistake(
            f"the shapes do not fit together: {str(error).splitlines()[0]}", next=next
        ) from None
    needs_something(value)
    return value


def factors(A: Tensor, B: Tensor, alpha: float) -> dict[str, float]:
    """Wrong factors, by what to say about them; each as a multiple of the right one."""
    rank, d_in, d_out = *A.shape, len(B)
    return {
        "the factor alpha / rank is missing": rank / alpha,
        "the update is multiplied by alpha and never divided by the rank": rank,
        "the update is divided by the rank and alpha is not used": 1 / alpha,
        "the factor is alpha / sqrt(rank): that is rsLoRA": math.sqrt(rank),
        "the factor is rank / alpha: it stands on its head": (rank / alpha) ** 2,
        "alpha is divided by d_in and not by the rank": rank / d_in,
        "alpha is divided by d_out and not by the rank": rank / d_out,
        "alpha is taken to be the notebook's": some_alpha(NOTEBOOK_SEED) / alpha,
    }


def needs_shape(value, shape: tuple[int, ...], what: str, next: str) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise Mistake(f"{what} must be a tensor {shape}, yours is {got}", next=next)


# The start ----------------------------------------------------------------------------------------

initialise = Exercise("lora.initialise", reference=lora.initialise, minutes=5, difficulty=1)


def drawn(student, seed: int) -> tuple[Tensor, Tensor]:
    rng = random.Random(seed)
    d_out, d_in, rank = rng.randrange(40, 56), rng.randrange(60, 80), rng.choice((3, 4, 5))
    result = student(d_out, d_in, rank)
    needs_something(result)
    if (
        not isinstance(result, tuple | list)
        or len(result) != 2
        or not all(isinstance(t, Tensor) for t in result)
    ):
        raise Mistake("two tensors are expected, A and B", next="return A, B")
    A, B = (matrix.detach() for matrix in result)
    shapes = tuple(A.shape), tuple(B.shape)
    if shapes == ((d_out, rank), (rank, d_in)):
        raise Mistake(
            "A and B have changed places",
            next="A reads the input: (rank, d_in); B writes the output: (d_out, rank)",
        )
    if shapes == ((d_in, rank), (rank, d_out)):
        raise Mistake(
            "A and B are both transposed",
            next="as in nn.Linear, the output comes first: A (rank, d_in), B (d_out, rank)",
        )
    needs_shape(A, (rank, d_in), "A (rank, d_in)", next="A takes the input down from d_in to rank")
    needs_shape(B, (d_out, rank), "B (d_out, rank)", next="B takes it up again, from rank to d_out")
    if not (A.is_floating_point() and B.is_floating_point()):
        raise Mistake(
            "A and B must hold floats: whole numbers cannot learn",
            next="torch.zeros and torch.randn give floats",
        )
    return A, B


@initialise.check(points=1)
def has_the_right_shapes(student, seed):
    drawn(student, seed)


@initialise.check(points=1)
def begins_at_the_base(student, seed):
    A, B = drawn(student, seed)
    if (A == 0).all() and (B == 0).all():
        raise Mistake(
            "both matrices are zero: no gradient would ever reach either", next="draw A at random"
        )
    if (A == 0).all():
        raise Mistake(
            "A is zero and B is not: here it is the other way round",
            next="draw A at random, make B of zeros",
        )
    if (B != 0).any():
        raise Mistake(
            "B is not zero, so the first step does not begin at the base",
            next="make B with torch.zeros",
        )


@initialise.check(points=1)
def draws_a_at_random(student, seed):
    (A, _), (again, _) = drawn(student, seed), drawn(student, seed)
    if not torch.isfinite(A).all():
        raise Mistake(
            "A holds numbers that are not finite",
            next="fill it after torch.empty, as with normal_()",
        )
    if (A == A[0, 0]).all():
        raise Mistake(
            "all numbers of A are the same", next="draw each one at random, as with torch.randn"
        )
    if torch.equal(A, again):
        raise Mistake(
            "A is the same on every call, so all layers would begin alike",
            next="set no seed in the function",
        )
    if torch.linalg.matrix_rank(A.double()) < len(A):
        raise Mistake(
            "rows of A repeat each other: the adapter would have a lower rank",
            next="draw every row by itself",
        )
    if A.mean().abs() > A.std() / 2:
        raise Mistake(
            "the numbers of A do not lie around 0",
            next="draw from a normal, or uniformly between -a and a",
        )
    if not 1e-4 < A.std() < 3:
        raise Mistake(
            f"the numbers of A are too {'large' if A.std() > 1 else 'small'} to learn from: their standard "
            f"deviation is {A.std():.1g}",
            next="1 / sqrt(d_in) is a good standard deviation",
        )


# The update ---------------------------------------------------------------------------------------

lora_update = Exercise("lora.update", reference=lora.lora_update, minutes=10, difficulty=2)
THIN = "x @ A.T goes from d_in to rank, then @ B.T from rank to d_out"


def rows(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))


def explain_a_misfit(student, seed: int) -> None:
    """Matrices that do not fit may fit where d_out = d_in, and show there what was meant."""
    (_, A, B), alpha = random_matrices(seed, 9, 9), some_alpha(seed)
    x = rows(seed, 5, 9)
    try:
        value = student(x.clone(), A, B, alpha)
    except Exception:
        return
    expected = lora.lora_update(x, A, B, alpha)
    if close(value, x + expected):
        raise Mistake(
            "x is added to the update",
            next="return the update alone; the layer adds it to what the base gives",
        )
    if isinstance(value, Tensor) and value.shape == expected.shape:
        turned = x @ B @ A
        if close(value / value.norm(), turned / turned.norm()):
            raise Mistake("A and B have changed places: B is applied first", next=THIN)


@lora_update.check(points=2)
def is_the_scaled_product(student, seed):
    (_, A, B), alpha = random_matrices(seed), some_alpha(seed)
    x = rows(seed, 5, 11)
    expected = lora.lora_update(x, A, B, alpha)
    try:
        value = called(student, x, A, B, alpha, next=THIN)
        needs_shape(value, tuple(expected.shape), "the update", next=THIN)
    except Mistake:
        explain_a_misfit(student, seed)
        raise
    if close(value, expected):
        return
    for message, factor in factors(A, B, alpha).items():
        if close(value, expected * factor):
            raise Mistake(message, next=FACTORS)
    if close(-value, expected):
        raise Mistake(
            "the sign is wrong", next="the update is added to what the base gives: no minus"
        )
    raise Mistake("this is not (alpha / rank) B A x", next=THIN)


@lora_update.check(points=1)
def takes_any_number_of_dimensions(student, seed):
    (_, A, B), alpha = random_matrices(seed), some_alpha(seed)
    for shape, words in (((2, 3, 11), "(batch, time, d_in)"), ((11,), "a single vector (d_in)")):
        x = rows(seed, *shape)
        told = f"x may also be {words}"
        try:
            value = called(student, x, A, B, alpha, next=THIN)
        except Mistake as mistake:
            raise Mistake(
                f"{told}, and there {mistake}",
                next="with x on the left, x @ A.T works for any leading dimensions",
            ) from None
        expected = lora.lora_update(x, A, B, alpha)
        needs_shape(
            value,
            tuple(expected.shape),
            f"{told}: the update",
            next="with x on the left, only its last dimension changes",
        )
        if not any(
            close(value, expected * factor) for factor in (1, -1, *factors(A, B, alpha).values())
        ):
            raise Mistake(
                f"{told}, and there the update is another one",
                next="with x on the left, x @ A.T works for any leading dimensions",
            )


@lora_update.check(points=1)
def passes_the_gradient(student, seed):
    (_, A, B), alpha = random_matrices(seed), some_alpha(seed)
    x = rows(seed, 5, 11)
    given = [t.clone() for t in (x, A, B)]
    needs_something(student(*given, alpha))
    for name, before, after in zip(("x", "A", "B"), (x, A, B), given):
        if not torch.equal(before, after):
            raise Mistake(
                f"{name} is changed in place",
                next=f"make a new tensor; the caller still needs {name}",
            )
    given = [t.clone().requires_grad_() for t in (x, A, B)]
    value = student(*given, alpha)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise Mistake(
            "no gradient flows through the update",
            next="no detach, no .item(), no numpy on the way",
        )
    value.sum().backward()
    for name, tensor in zip(("x", "A", "B"), given):
        if tensor.grad is None:
            raise Mistake(
                f"no gradient reaches {name}", next=f"use {name} itself, without detach or .data"
            )


# Counting -----------------------------------------------------------------------------------------

lora_parameters = Exercise(
    "lora.parameters", reference=parameters.lora_parameters, minutes=5, difficulty=1
)


def counted(student, seed: int) -> tuple[int, int, int, object]:
    rng = random.Random(seed)
    d_out, d_in, rank = rng.randint(200, 400), rng.randint(500, 900), rng.randint(3, 9)
    value = student(d_out, d_in, rank)
    needs_something(value)
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"one number is expected, yours is a {type(value).__name__}", next="return the count"
        ) from None
    return d_out, d_in, rank, value


@lora_parameters.check(points=1)
def counts_both_matrices(student, seed):
    d_out, d_in, rank, value = counted(student, seed)
    wrong = {
        rank * d_in: ("this is A alone", "B (d_out, rank) is trained too"),
        rank * d_out: ("this is B alone", "A (rank, d_in) is trained too"),
        rank * d_out * d_in: (
            "the sides are multiplied, not added",
            "A and B are two thin matrices: add their sizes",
        ),
        rank * d_out * rank * d_in: ("the sizes of A and B are multiplied", "add them"),
        d_out * d_in: (
            "this is the weight that full tuning trains",
            "count A (rank, d_in) and B (d_out, rank)",
        ),
        rank * (d_out + d_in) + d_out * d_in: (
            "the frozen weight is counted too",
            "LoRA trains A and B alone",
        ),
        d_out + d_in: ("the rank is not used", "A has rank rows, B has rank columns"),
        2 * rank * d_in: ("B is counted as if it were as wide as A", "B is (d_out, rank)"),
        2 * rank * d_out: ("A is counted as if it were as high as B", "A is (rank, d_in)"),
    }
    right = rank * (d_out + d_in)
    if float(value) != right:
        message, next = wrong.get(
            float(value),
            (
                f"a matrix {d_out} × {d_in} at rank {rank} does not take {value}",
                "add the sizes of A (rank, d_in) and B (d_out, rank)",
            ),
        )
        raise Mistake(message, next=next)


@lora_parameters.check(points=1)
def gives_a_whole_number(student, seed):
    (*_, value), (*_, other) = counted(student, seed), counted(student, seed + 10**6)
    if float(value) == float(other):
        raise Mistake(
            "the count is the same for another matrix", next="it depends on d_out, d_in and rank"
        )
    try:
        operator.index(value)
    except (TypeError, RuntimeError):
        raise Mistake(
            "a count is a whole number, and this is a float",
            next="multiply and add whole numbers; no division, no float",
        ) from None


# Merging ------------------------------------------------------------------------------------------

merged_weight = Exercise("lora.merge", reference=lora.merged_weight, minutes=10, difficulty=2)
LIKE_THE_WEIGHT = "B @ A has the shape of the weight, (d_out, d_in)"


def is_turned(student, seed: int, sign: int) -> bool:
    """Whether the function, which fails on a matrix of two different sides, adds or subtracts Aᵀ Bᵀ
    on a square one."""
    weight, A, B = random_matrices(seed, 9, 9)
    try:
        value = student(weight.clone(), A, B, some_alpha(seed))
    except Exception:
        return False
    if not isinstance(value, Tensor) or value.shape != weight.shape:
        return False
    turned, change = (B @ A).T, (value - weight) * sign
    return close(change / change.norm(), turned / turned.norm())


def weight_from(student, seed: int, weight: Tensor, A: Tensor, B: Tensor, sign: int) -> Tensor:
    try:
        value = called(student, weight, A, B, some_alpha(seed), next=LIKE_THE_WEIGHT)
        needs_shape(value, tuple(weight.shape), "the weight", next=LIKE_THE_WEIGHT)
    except Mistake:
        if is_turned(student, seed, sign):
            raise Mistake("the product of A and B is transposed", next=LIKE_THE_WEIGHT) from None
        raise
    return value


def needs_an_untouched_weight(student, seed: int) -> None:
    weight, A, B = random_matrices(seed)
    given = [t.clone() for t in (weight, A, B)]
    value = student(*given, some_alpha(seed))
    needs_something(value)
    for name, before, after in zip(("weight", "A", "B"), (weight, A, B), given):
        if not torch.equal(before, after):
            raise Mistake(
                f"{name} is changed in place", next="make a new tensor: no +=, no -=, no add_"
            )
    if value is given[0]:
        raise Mistake(
            "this is the weight itself, not a new tensor", next="weight + … makes a new one"
        )
    if not isinstance(value, Tensor) or value.shape != weight.shape or close(value, weight):
        raise Mistake("this is not the weight with the adapter", next=LIKE_THE_WEIGHT)


@merged_weight.check(points=2)
def does_what_base_and_adapter_do_together(student, seed):
    (weight, A, B), alpha = random_matrices(seed), some_alpha(seed)
    value = weight_from(student, seed, weight, A, B, +1)
    expected = lora.merged_weight(weight, A, B, alpha)
    if close(value, expected):
        return
    if close(value, weight):
        raise Mistake("the weight is the same as before", next="add the update to it")
    if close(value, weight + B @ A):
        raise Mistake(
            "the factor alpha / rank is missing: W₀ + BA is right only where alpha equals the rank",
            next=FACTORS,
        )
    update = expected - weight
    for message, factor in factors(A, B, alpha).items():
        if close(value, weight + factor * update):
            raise Mistake(message, next=FACTORS)
    if any(close(value, factor * update) for factor in (1, *factors(A, B, alpha).values())):
        raise Mistake(
            "this is the update alone, without the base's weight", next="return weight + …"
        )
    if close(value, weight - update):
        raise Mistake("the update is subtracted", next="merging adds it")
    raise Mistake("this is not W₀ + (alpha / rank) B A", next=LIKE_THE_WEIGHT)


@merged_weight.check(points=1)
def leaves_the_old_weight_alone(student, seed):
    needs_an_untouched_weight(student, seed)


# What learns --------------------------------------------------------------------------------------

freeze = Exercise("lora.freeze", reference=lora.freeze, minutes=10, difficulty=2)


MODELS = adapted_model, adapted_deep_model
ANY_LAYERS = "go through lora.layers(model).values()"


def frozen(student, make: Callable[[], nn.Module], name: str, begin: bool) -> dict[str, bool]:
    """Whether each parameter of a model with two adapters trains, after the function; all began as
    `begin`."""
    model = make()
    model.requires_grad_(begin)
    before = {path: p.detach().clone() for path, p in model.named_parameters()}
    try:
        student(model, name)
    except (
        KeyError,
        AttributeError,
    ) as error:  # a ParameterDict raises the second for a name that it does not hold
        if f"'{type(model).__name__}' object has no attribute" in str(error):
            raise Mistake(
                "this fits one model alone, and another one has no such layers", next=ANY_LAYERS
            ) from None
        if name not in str(error):
            raise
        raise Mistake(
            "an adapter need not be on every layer",
            next="skip a layer where name not in layer.configs",
        ) from None
    after = dict(model.named_parameters())
    if before.keys() != after.keys() or any(
        not torch.equal(before[path], p) for path, p in after.items()
    ):
        raise Mistake(
            "the numbers of the model have changed", next="only requires_grad is to be set"
        )
    return {path: p.requires_grad for path, p in after.items()}


def of(name: str, trains: dict[str, bool]) -> dict[str, bool]:
    return {path: it for path, it in trains.items() if path.endswith((f".A.{name}", f".B.{name}"))}


@freeze.check(points=1)
def freezes_the_base(student, seed):
    for make in MODELS:
        trains = frozen(student, make, MINE, begin=True)
        adapters = of(MINE, trains) | of(OTHER, trains)
        base = {path: it for path, it in trains.items() if path not in adapters}
        if all(base.values()):
            raise Mistake(
                "the whole base still trains", next="begin with model.requires_grad_(False)"
            )
        if left := [path for path, it in base.items() if it]:
            raise Mistake(
                f"parts of the base still train: {', '.join(left)}",
                next="freeze everything first: embeddings, norms, biases and the output layer too",
            )


@freeze.check(points=1)
def lets_the_adapter_learn(student, seed):
    for make in MODELS:
        mine = of(MINE, frozen(student, make, MINE, begin=False))
        if not any(mine.values()):
            raise Mistake(
                f"the adapter {MINE!r} was frozen and still is",
                next="requires_grad_(True) on its A and B",
            )
        for which, there in (("A", "B"), ("B", "A")):
            if not any(it for path, it in mine.items() if f".{which}." in path):
                raise Mistake(
                    f"only {there} of the adapter trains", next=f"let {which} require gradients too"
                )
        if left := [path for path, it in mine.items() if not it]:
            raise Mistake(f"{', '.join(left)} of the adapter stays frozen", next=ANY_LAYERS)


@freeze.check(points=1)
def leaves_the_other_adapter_frozen(student, seed):
    for make, (mine, other) in itertools.product(MODELS, ((MINE, OTHER), (OTHER, MINE))):
        if any(of(other, frozen(student, make, mine, begin=True)).values()):
            raise Mistake(
                f"the adapter {other!r} trains as well as {mine!r}",
                next="freeze all adapters, then thaw the one whose whole name is name",
            )


# Find the silent bug ------------------------------------------------------------------------------

unmerged_weight = Exercise(
    "lora.silent_bug", reference=lora.unmerged_weight, minutes=15, difficulty=3
)


@unmerged_weight.check(points=3)
def gives_the_base_back(student, seed):
    (weight, A, B), alpha = random_matrices(seed), some_alpha(seed)
    merged = lora.merged_weight(weight, A, B, alpha)
    value, update = weight_from(student, seed, merged, A, B, -1), merged - weight
    if close(value, weight):
        return
    if close(value, merged):
        raise Mistake("nothing has been taken out", next="subtract what merging added")
    if close(value, merged - B @ A):
        raise Mistake(
            "a part of the adapter stays behind: merging added (alpha / rank) B A, and this takes out B A",
            next="with alpha equal to the rank the bug hides; multiply by alpha / rank here too",
        )
    for message, factor in factors(A, B, alpha).items():
        if close(value, merged - factor * update):
            raise Mistake(message, next=FACTORS)
    if any(
        close(value, merged + factor * update) for factor in (1, *factors(A, B, alpha).values())
    ):
        raise Mistake("the adapter is added a second time", next="subtract it")
    if close(value, torch.zeros_like(weight)):
        raise Mistake(
            "only zeros are left", next="take the update out of the weight, and keep the rest"
        )
    if any(
        close(value * sign, factor * update)
        for sign in (1, -1)
        for factor in (1, *factors(A, B, alpha).values())
    ):
        raise Mistake("this is the update alone, without the weight", next="return weight - …")
    raise Mistake(
        "this is not the weight before merging", next="do what merging does, with a minus"
    )


@unmerged_weight.check(points=1)
def leaves_the_merged_weight_alone(student, seed):
    gives_the_base_back(
        student, seed
    )  # the colleague's function leaves it alone, too, and earns nothing for that
    needs_an_untouched_weight(student, seed)
