"""How a mistake gets its name, and what the properties tell."""

import pytest
import torch
from checks import shared
from checks.shared import (
    NO_GRADIENT,
    NOT_FINITE,
    ONE_NUMBER,
    as_loss,
    expect,
    in_words,
    needs_gradients,
    needs_parameter_gradients,
    needs_untouched,
    number,
    numbers,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake, learner, registry, run_checks

OTHERWISE = "this is not the scaled sum", "sum, then scale"
X = torch.tensor([[1.0, 2.0], [3.0, 5.0]])


def scaled_sum(x, scale):
    return x.sum() * scale


def unscaled(x, scale):
    return x.sum()


def not_summed(x, scale):
    return x * scale


def cannot_run(x, scale):
    raise RuntimeError


def spoils(x, scale):
    return x.zero_().sum()


@pytest.fixture
def demo(monkeypatch):
    """The exercise demo.sum, three wrong solutions of which stand beside one that cannot run and
    one that changes its arguments."""
    monkeypatch.setattr(registry, "EXERCISES", {})
    shared.public_calls.cache_clear()
    made = Exercise("demo.sum", reference=scaled_sum, minutes=1, difficulty=1)
    made.wrong("it stops")(cannot_run)
    made.wrong("only zeros")(spoils)
    made.wrong("the scale is not used", next="multiply")(unscaled)
    made.wrong("never told: the one before it does the same")(unscaled)
    made.wrong("this is not summed", next="sum")(not_summed)
    yield made
    shared.public_calls.cache_clear()


def mistake_of(test, *arguments, **keywords):
    with pytest.raises(Mistake) as caught:
        test(*arguments, **keywords)
    return str(caught.value), caught.value.next


def expected(demo, student, **keywords):
    return mistake_of(expect, demo, student, (X, 0.5), otherwise=OTHERWISE, **keywords)


def test_what_does_as_the_reference_does_passes(demo):
    expect(demo, lambda x, scale: (x * scale).sum().double(), (X, 0.5), otherwise=OTHERWISE)
    expect(demo, lambda x, scale: float(x.sum() * scale), (X, 0.5), otherwise=OTHERWISE)


def test_the_first_wrong_solution_with_the_students_result_names_the_mistake(demo):
    assert expected(demo, lambda x, scale: x.sum()) == ("the scale is not used", "multiply")
    assert expected(demo, not_summed) == ("this is not summed", "sum")
    assert expected(demo, lambda x, scale: 0.0) == ("only zeros", "")


def test_a_result_that_only_lies_near_a_wrong_one_is_not_named_after_it(demo):
    assert expected(demo, lambda x, scale: x.sum() * 1.00005) == OTHERWISE


def test_every_function_gets_its_own_copies(demo):
    assert expected(demo, spoils) == ("only zeros", "")
    assert X.tolist() == [[1, 2], [3, 5]]


def test_without_a_name_infinities_and_shapes_are_told_before_the_general_words(demo):
    assert expected(demo, lambda x, scale: x.sum() / 0) == NOT_FINITE
    assert expected(demo, lambda x, scale: x[0]) == ONE_NUMBER
    assert expected(demo, lambda x, scale: None) == shared.RETURNS_NOTHING
    assert expected(demo, lambda x, scale: "11")[0] == "the result must be a tensor, yours is a str"
    assert mistake_of(numbers_of_rows, demo, lambda x, scale: 7) == (
        "the result must have the shape (2,), yours has ()",
        "one for each row",
    )


def numbers_of_rows(demo, student):
    demo.reference = lambda x, scale: x.sum(-1) * scale
    expect(demo, student, (X, 3), otherwise=OTHERWISE, shape="one for each row")


def test_what_is_compared_may_be_a_part_or_the_arguments_as_they_were_left(demo):
    def first(value, x, scale):
        return x[0]

    expect(demo, unscaled, (X, 0.5), otherwise=OTHERWISE, read=first)
    assert expected(demo, spoils, read=first) == ("only zeros", "")
    assert expected(demo, lambda x, scale: x.add_(1), read=first) == OTHERWISE
    assert expected(demo, lambda x, scale: 7, read=lambda value, x, scale: [value, 1]) == OTHERWISE


def test_numbers_and_number_take_what_holds_them_and_name_the_shape():
    assert numbers([1, 2], (2,), next="two").tolist() == [1, 2]
    assert mistake_of(numbers, X, (2,), next="two") == (
        "the result must have the shape (2,), yours has (2, 2)",
        "two",
    )
    assert number(X[:1, :1]).shape == () and number(3) == 3
    assert mistake_of(number, X) == ONE_NUMBER


def test_as_loss_keeps_what_is_more_than_one_number():
    assert as_loss(X[:1, :1]).shape == () and as_loss(X).shape == (2, 2)


def test_an_exception_of_a_block_is_told_in_words_and_another_is_not():
    def raises(error):
        with in_words(IndexError, "there is no third", "count"):
            raise error

    assert mistake_of(raises, IndexError("3")) == ("there is no third", "count")
    with pytest.raises(KeyError):
        raises(KeyError("3"))


def test_solutions_that_differ_in_a_part_are_registered_under_its_name(demo):
    @wrong_part(demo)
    def wrong_power(power):
        return lambda x, scale: scaled_sum(x ** power(), scale)

    @wrong_power("this is the sum of the squares", next="do not square")
    def squares():
        return 2

    function, *words = demo.wrong_solutions[-1]
    assert (function.__name__, function(X, 0.5)) == ("squares", 19.5) and squares() == 2
    assert expected(demo, function) == ("this is the sum of the squares", "do not square")
    assert words == ["this is the sum of the squares", "do not square"]


def test_an_argument_that_changes_is_named(demo):
    needs_untouched(demo, unscaled, (X, 0.5))
    assert mistake_of(needs_untouched, demo, spoils, (X, 0.5))[0] == "x is changed in place"
    assert mistake_of(needs_untouched, demo, lambda x, scale: None, (X, 1))[0].endswith("nothing")


@pytest.mark.parametrize(
    "student, told",
    [
        (lambda x, scale: scaled_sum(x.detach(), scale), NO_GRADIENT[0]),
        (lambda x, scale: scaled_sum(x, scale).item(), NO_GRADIENT[0]),
        (lambda x, scale: torch.zeros((), requires_grad=True), "no gradient reaches x"),
        (unscaled, "the gradient in x is another one"),
        (lambda x, scale: (x * 0).sqrt().sum(), "the gradient in x is not finite"),
        (spoils, "x is changed in place"),
    ],
)
def test_a_gradient_that_is_not_the_references_is_told(demo, student, told):
    needs_gradients(demo, scaled_sum, (X, 0.5), "x", next="")
    assert mistake_of(needs_gradients, demo, student, (X, 0.5), "x", next="")[0] == told


def test_gradients_in_a_model_are_compared_and_the_model_stays_as_it_was(demo):
    def applied(model, x):
        return model(x).squeeze(-1)

    demo.reference, model = applied, torch.nn.Linear(2, 1)
    given = (model, X), torch.tensor([1.0, -2.0])
    needs_parameter_gradients(demo, applied, *given)
    assert model.weight.grad is None
    for student, told in (
        (lambda model, x: 2 * applied(model, x), "the gradient in the model's parameters"),
        (lambda model, x: applied(model, x).detach(), NO_GRADIENT[0]),
        (lambda model, x: model(x), "the result must have the shape (2,), yours has (2, 1)"),
    ):
        assert mistake_of(needs_parameter_gradients, demo, student, *given)[0].startswith(told)


def test_the_notebooks_value_of_an_argument_is_wrong_elsewhere(demo):
    @demo.check(points=1)
    def scales(student, seed):
        expect(demo, student, (X, seed + 2), otherwise=OTHERWISE)

    fixed = with_the_notebooks(demo, "scale")
    demo.wrong("the scale is the notebook's", next="use it")(fixed)
    assert fixed.__name__ == "scale_of_the_notebook"
    (right,), (wrong,) = (run_checks(demo, fixed, seed) for seed in (learner.NOTEBOOK_SEED, 4))
    assert right.earned == 1
    assert (wrong.earned, wrong.mistake) == (0, "the scale is the notebook's")
