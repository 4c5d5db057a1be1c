"""What the checks of all labs share. A wrong solution is written once, beside the check that names
it, with the message a learner gets and the next thing to try:

    sft_loss = Exercise("sft.loss", reference=sft.sft_loss, minutes=10, difficulty=2)

    @sft_loss.wrong("the tokens are summed, not averaged", next="divide by the number of tokens")
    def sum_of_tokens(logits, labels):
        return -tokens.token_log_probs(logits, labels).sum()

    @sft_loss.check(points=2)
    def is_the_mean_over_response_tokens(student, seed):
        expect(sft_loss, student, random_batch(seed), otherwise=("not the mean", "sum first"))

`expect` compares the student's result with the reference's; where they differ, it runs the wrong
solutions in the order of their registration and names the first that gives the student's result,
else it says `otherwise`. A fault that only a property shows (no gradient, changed in place) is
registered with the words that the property's helper raises: `@sft_loss.wrong(*NO_GRADIENT)`.
tests/unit/test_checks.py gives every wrong solution to the checks and expects its words.
"""

import contextlib
import copy
import functools
import inspect
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from checks.models import VOCAB
from course import Exercise, Mistake, find, run_checks
from course.learner import NOTEBOOK_SEED
from methods.tokens import IGNORE
from torch import Tensor

Words = tuple[str, str]  # a message and the next thing to try: Mistake(*words), wrong(*words)
Check = Callable[[Callable, int], None]

RIGHT, ALIKE = (
    1e-4,
    1e-5,
)  # wrong results may lie side by side: the same mistake is closer than right
FLOWS = "no detach, no .item(), no numpy on the way"

RETURNS_NOTHING = "your function returns nothing", "end it with return"
NO_GRADIENT = "no gradient flows through your function", FLOWS
NOTHING_TO_LEARN = NO_GRADIENT[0], f"{FLOWS}, and nothing that runs under torch.no_grad()"
ONE_NUMBER = (
    "the loss must be one number, a tensor without dimensions",
    "end with a sum or a mean over everything that is left",
)
NOT_FINITE = (
    "there are infinities or NaN in what your function returns",
    "print the steps: log of 0 or less, 0 / 0, or exp of something large",
)
WRONG_SHAPE = "the result must have the shape"  # numbers() and expect() say more behind it


def in_place(name: str) -> Words:
    return f"{name} is changed in place", f"make a new one; the caller still needs {name}"


def no_gradient_in(name: str) -> Words:
    return f"no gradient reaches {name}", f"use {name} itself, without detach or .data"


# Inputs -------------------------------------------------------------------------------------------


def some_number(seed: int, low: float, high: float) -> float:
    """Another number for every seed: an argument is to be used, not what it happened to be in the
    notebook."""
    return random.Random(seed).uniform(low, high)


def randoms(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_tokens(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(2, VOCAB) for _ in range(length)]


def random_batch(seed: int, rows: int = 3, time: int = 9) -> tuple[Tensor, Tensor]:
    """Logits (rows, time, VOCAB) and labels (rows, time): a masked prompt, a response, padding;
    lengths differ.

    The second row has a prompt of a single token. The third row's response begins with the token 0,
    which is a token like any other.
    """
    rng = random.Random(seed)
    labels = torch.full((rows, time), IGNORE)
    for row in range(rows):
        start, length = 1 if row == 1 else rng.randint(2, 4), 1 + row % 4
        labels[row, start : start + length] = torch.tensor(random_tokens(rng, length))
        if row == 2:
            labels[row, start] = 0
    return randoms(seed, rows, time, VOCAB) * 2, labels


def twice(test: Check) -> Check:
    """The test on a second batch as well: one number, or one mask, may happen to be right on the
    first."""

    @functools.wraps(test)
    def tested(student, seed):
        test(student, seed)
        test(student, seed + 10**6)

    return tested


# The student's result against the reference's -----------------------------------------------------


def call(function: Callable, arguments: Iterable) -> Any:
    """The function's result on copies of the arguments."""
    return function(*copy.deepcopy(tuple(arguments)))


def close(value, expected: Tensor, tolerance: float = RIGHT) -> bool:
    """Whether a returned tensor or number equals the expected one, whatever its float type."""
    try:
        value = torch.as_tensor(value).detach().to(expected.dtype)
    except (TypeError, ValueError, RuntimeError):
        return False
    return value.shape == expected.shape and torch.allclose(
        value, expected, rtol=tolerance, atol=tolerance
    )


def same(value, expected, tolerance: float = RIGHT) -> bool:
    """Tensors are compared as numbers, all else with ==."""
    return close(value, expected, tolerance) if isinstance(expected, Tensor) else value == expected


def kind_of(value) -> str:
    """What a returned value is, in words; a class of the learner's own is not named, since its name
    could tell what the checks' inputs are."""
    known = type(value).__module__.partition(".")[0] in ("builtins", "numpy", "torch")
    return f"a {type(value).__name__}" if known else "an object of another class"


def result(value, *given) -> Tensor:
    """What was returned, a tensor, an array, a list or a number, as a tensor without gradient; or a
    Mistake."""
    needs_something(value)
    try:
        return torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"the result must be a tensor, yours is {kind_of(value)}",
            next="return what the docstring says",
        ) from None


def expect(
    exercise: Exercise,
    student: Callable,
    arguments: Iterable,
    otherwise: Words,
    *,
    shape: str = "the shape is in the docstring",
    read: Callable = result,
) -> None:
    """Raise a Mistake unless the student does with the arguments what the reference does.

    The mistake is named after the first wrong solution that gives the student's result. If there is
    none: infinities, another shape (`shape` is what to try then), or the words of `otherwise`.
    read: what is compared of a call, `read(returned value, *arguments as the call left them)`, such
    as a part of the result, or the arguments that the function changes
    """
    arguments = tuple(arguments)
    value, expected = (
        outcome(function, arguments, read) for function in (student, exercise.reference)
    )
    if same(value, expected):
        return
    if isinstance(value, Tensor) and not torch.isfinite(value).all():
        raise Mistake(*NOT_FINITE)
    for wrong in exercise.wrong_solutions:
        if does_the_same(wrong.function, arguments, read, value):
            raise Mistake(wrong.message, next=wrong.next)
    needs_shape_of(expected, value, shape)
    raise Mistake(*otherwise)


def does_the_same(wrong: Callable, arguments: tuple, read: Callable, value) -> bool:
    with contextlib.suppress(Exception):  # there may be inputs on which it cannot run
        return same(value, outcome(wrong, arguments, read), ALIKE)
    return False


def expect_on_all(
    exercise: Exercise, student: Callable, inputs: list[tuple], otherwise: Words, read: Callable
) -> None:
    """As `expect`, on several inputs together: a mistake is named only by a wrong solution that
    gives the student's results on all of them."""
    mine, right = (
        [outcome(function, given, read) for given in inputs]
        for function in (student, exercise.reference)
    )
    if mine == right:
        return
    for wrong in exercise.wrong_solutions:
        if does_the_same_on_all(wrong.function, inputs, read, mine):
            raise Mistake(wrong.message, next=wrong.next)
    raise Mistake(otherwise[0], next=otherwise[1])


def does_the_same_on_all(wrong: Callable, inputs: list[tuple], read: Callable, mine: list) -> bool:
    with contextlib.suppress(Exception):  # there may be inputs on which it cannot run
        return mine == [outcome(wrong, given, read) for given in inputs]
    return False


def outcome(function: Callable, arguments: tuple, read: Callable) -> Any:
    given = copy.deepcopy(arguments)
    return read(function(*given), *given)


@contextlib.contextmanager
def in_words(errors: type[Exception], message: str, next: str) -> Iterator[None]:
    """What the student's function raises on the inputs of this block, as a Mistake."""
    try:
        yield
    except errors:
        raise Mistake(message, next=next) from None


# Properties ---------------------------------------------------------------------------------------


def needs_something(value) -> None:
    if value is None:
        raise Mistake(*RETURNS_NOTHING)


def needs_gradient(value) -> None:
    needs_something(value)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise Mistake(*NO_GRADIENT)


def needs_shape_of(expected, value, next: str) -> None:
    if isinstance(expected, Tensor) and value.shape != expected.shape:
        if expected.ndim == 0:
            raise Mistake(*ONE_NUMBER)
        shapes = f"{tuple(expected.shape)}, yours has {tuple(value.shape)}"
        raise Mistake(f"{WRONG_SHAPE} {shapes}", next=next)


def numbers(value, shape: tuple[int, ...], next: str) -> Tensor:
    """What was returned as a tensor of this shape without gradient; or a Mistake."""
    value = result(value)
    needs_shape_of(torch.empty(shape), value, next)
    return value


def number(value, *given) -> Tensor:
    """What was returned as a tensor without dimensions; or a Mistake."""
    value = result(value)
    if value.numel() != 1:
        raise Mistake(*ONE_NUMBER)
    return value.reshape(())


def as_loss(value, *given) -> Tensor:
    """What was returned, without dimensions if it is one number. As expect's `read` it lets a wrong
    solution name a loss that is not reduced."""
    value = result(value)
    return value.reshape(()) if value.numel() == 1 else value


def by_name(exercise: Exercise, arguments: Iterable) -> dict[str, Any]:
    """Copies of the arguments under the names that the function gives them."""
    return dict(zip(inspect.signature(exercise.reference).parameters, copy.deepcopy(arguments)))


def needs_untouched(exercise: Exercise, student: Callable, arguments: Iterable) -> None:
    """The function returns something and leaves its arguments as they were."""
    mine = by_name(exercise, arguments)
    needs_something(student(*mine.values()))
    for (name, after), before in zip(mine.items(), arguments):
        if traits(after) != traits(before):
            raise Mistake(*in_place(name))


def needs_gradients(
    exercise: Exercise, student: Callable, arguments: Iterable, *learned: str, next: str
) -> None:
    """The gradient in each of the arguments named in `learned` is the reference's."""
    needs_untouched(exercise, student, arguments)
    mine, theirs = by_name(exercise, arguments), by_name(exercise, arguments)
    for name in learned:
        mine[name].requires_grad_()
        theirs[name].requires_grad_()
    value = student(*mine.values())
    needs_gradient(value)
    value.sum().backward()
    exercise.reference(*theirs.values()).sum().backward()
    for name in learned:
        if mine[name].grad is None:
            raise Mistake(*no_gradient_in(name))
        if not torch.isfinite(mine[name].grad).all():
            raise Mistake(
                f"the gradient in {name} is not finite", next="no infinity may arise on the way"
            )
        if not close(mine[name].grad, theirs[name].grad):
            raise Mistake(f"the gradient in {name} is another one", next=next)


def needs_parameter_gradients(
    exercise: Exercise, student: Callable, arguments: tuple, weights: Tensor
) -> None:
    """The gradient in the parameters of the first argument, a model, of the weighted sum of the
    function's results, is the reference's."""
    gradients = []
    for function in (student, exercise.reference):
        model, *others = copy.deepcopy(arguments)
        value = function(model, *others)
        needs_something(value)
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise Mistake(*NOTHING_TO_LEARN)
        numbers(value, tuple(weights.shape), next="the shape is in the docstring")
        (value * weights).sum().backward()
        gradients.append(
            [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
        )
    if not all(close(mine, theirs) for mine, theirs in zip(*gradients)):
        raise Mistake(
            "the gradient in the model's parameters is another one",
            next="first get the values right",
        )


# Wrong solutions ----------------------------------------------------------------------------------


def wrong_part(exercise: Exercise) -> Callable:
    """For wrong solutions that differ in one part. The decorated function makes a solution from its
    part; it becomes a decorator like `exercise.wrong`, which registers the solution of a part under
    the part's name and returns the part."""

    def decorate(solution_of: Callable) -> Callable:
        @functools.wraps(solution_of)
        def wrong(message: str, next: str) -> Callable:
            def register(part: Callable) -> Callable:
                solution = solution_of(part)
                solution.__name__ = part.__name__
                exercise.wrong(message, next=next)(solution)
                return part

            return register

        return wrong

    return decorate


# Public answers -----------------------------------------------------------------------------------


@functools.cache
def public_calls(id: str) -> list[tuple]:
    """With what the notebook's own check calls the function: the arguments of each call."""
    reference, calls = find(id).reference, []

    @functools.wraps(inspect.unwrap(reference))
    def listening(*arguments):
        calls.append(copy.deepcopy(arguments))
        return reference(*arguments)

    run_checks(find(id), listening, NOTEBOOK_SEED)
    return calls


def with_the_notebooks(exercise: Exercise, name: str) -> Callable:
    """A wrong solution: the reference with the argument `name` as the notebook's check gives it
    first."""
    place = list(inspect.signature(exercise.reference).parameters).index(name)

    def fixed(*arguments):
        known = copy.deepcopy(public_calls(exercise.id)[0][place])
        return exercise.reference(*arguments[:place], known, *arguments[place + 1 :])

    fixed.__name__ = f"{name}_of_the_notebook"
    return fixed


def traits(value) -> Any:
    """What two equal values have in common: shape and numbers of tensors and models, and all else
    as it is."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.detach().numpy().tobytes()
    if isinstance(value, torch.nn.Module):
        return [traits(parameter) for parameter in value.parameters()]
    return [traits(element) for element in value] if isinstance(value, (list, tuple)) else value
