"""Exercises, their checks, and what a learner is told."""

import pytest
import torch
from course import CourseError, Exercise, Mistake, check, exercise, learner, registry, run_checks


def mean(values, ignore=None):
    kept = [value for value in values if value != ignore]
    return sum(kept) / len(kept)


@pytest.fixture
def demo(monkeypatch):
    """The exercise demo.mean: three checks worth 1, 2 and 1 points."""
    monkeypatch.setattr(registry, "EXERCISES", {})
    monkeypatch.setattr(learner, "_attempted", {})
    registered = Exercise(
        "demo.mean", reference=mean, minutes=5, difficulty=2, next="try it on a tensor"
    )

    @registered.check(points=1)
    def divides(student, seed):
        values = torch.rand(4, generator=torch.Generator().manual_seed(seed)).tolist()
        if abs(student(values) - sum(values) / 4) > 1e-9:
            raise Mistake(
                "the sum is not divided by the number of values", next="divide by len(values)"
            )

    @registered.check(points=2)
    def leaves_out(student, seed):
        if student([1, 2, 9], 9) != 1.5:
            raise Mistake("the ignored values are counted", next="drop them first")

    @registered.check(points=1)
    def keeps_one_value(student, seed):
        if student([3]) != 3:
            raise AssertionError

    return registered


def attempt(function):
    return exercise("demo.mean", points=4, minutes=5, difficulty=2)(function)


def told(function, capsys):
    """What check() prints of a learner's function, line by line."""
    taken = attempt(function)
    capsys.readouterr()
    check(taken)
    return capsys.readouterr().out.splitlines()


def own_mean(values, ignore):
    """What a learner may write: the solution itself is out of reach of an answer."""
    kept = [value for value in values if value != ignore]
    return sum(kept) / len(kept)


def no_division(values, ignore=None):
    return sum(value for value in values if value != ignore)


def counts_ignored(values, ignore=None):
    return sum(values) / len(values)


def raises(values, ignore=None):
    kept = [value for value in values if value != ignore]
    raise ValueError(f"two\nlines {kept and 'and more'}")


# untouched bodies


def dots(values, ignore=None): ...


def dots_below_a_docstring(values, ignore=None):
    """The mean.

    values: numbers
    """
    ...


def passed_over(values, ignore=None):
    pass


def only_a_docstring(values, ignore=None):
    """The mean."""


@pytest.mark.parametrize("stub", [dots, dots_below_a_docstring, passed_over, only_a_docstring])
def test_an_untouched_body_gives_the_reference_under_the_stubs_name(demo, stub, capsys):
    taken = attempt(stub)
    assert (taken.attempted, taken.__name__, taken.__doc__) == (False, stub.__name__, stub.__doc__)
    assert taken([1, 2, 9], 9) == 1.5 and taken([1, 2, 9], ignore=9) == 1.5
    assert not hasattr(mean, "attempted") and learner.own_functions() == []
    capsys.readouterr()
    check(taken)
    assert (
        capsys.readouterr().out
        == f"demo.mean: not attempted\nnext: replace the ... in {stub.__name__}\n"
    )


def ends_in_dots(values, ignore=None):
    values = list(values)
    ...


def raises_at_once(values, ignore=None):
    raise NotImplementedError


def one_constant(values, ignore=None):
    return 0


@pytest.mark.parametrize("body", [ends_in_dots, raises_at_once, one_constant])
def test_any_other_body_is_the_learners_own(demo, body):
    taken = attempt(body)
    assert taken is body and taken.attempted
    assert learner.own_functions() == ["demo.mean"]


def test_running_the_cell_again_replaces(demo):
    attempt(one_constant)
    attempt(dots)
    assert learner.own_functions() == []


def test_exercise_says_whose_function_is_in_use(demo, capsys):
    attempt(dots)
    attempt(one_constant)
    assert capsys.readouterr().out.splitlines() == [
        "demo.mean: 4 points, 5 minutes, medium; the solution is in use until you write it",
        "demo.mean: 4 points, 5 minutes, medium; your function is in use",
    ]


# verdicts


def test_full_marks(demo, capsys):
    assert told(mean, capsys) == ["demo.mean: 4/4 points", "next: try it on a tensor"]
    demo.next = ""
    assert told(mean, capsys) == ["demo.mean: 4/4 points"]


def test_the_first_mistake_is_named_and_the_others_are_still_run(demo, capsys):
    assert told(counts_ignored, capsys) == [
        "demo.mean: 2/4 — the ignored values are counted",
        "next: drop them first",
    ]
    assert told(no_division, capsys) == [
        "demo.mean: 1/4 — the sum is not divided by the number of values",
        "next: divide by len(values)",
    ]


def test_a_function_that_raises_is_told_in_one_line_with_its_own_line(demo, capsys):
    line = raises.__code__.co_firstlineno + 2
    assert told(raises, capsys) == [
        f"demo.mean: 0/4 — your function raised ValueError: two lines and more (line {line})",
        f"next: {registry.ANY_CRASH}",
    ]


def exits(values, ignore=None):
    raise SystemExit


def asserts(values, ignore=None):
    if ignore is not None:
        raise AssertionError("no")
    return sum(values) / len(values)


def returns_nothing(values, ignore=None):
    values.clear()


def test_other_ways_to_go_wrong_are_told_without_a_traceback(demo, capsys):
    verdicts = [told(function, capsys)[0] for function in (exits, asserts, returns_nothing)]
    for verdict, start in zip(
        verdicts,
        [
            "demo.mean: 0/4 — your function raised SystemExit (line",
            "demo.mean: 2/4 — your function raised AssertionError: no (line",
            "demo.mean: 0/4 — what your function returned cannot be used (TypeError: unsupported operand",
        ],
        strict=True,
    ):
        assert verdict.startswith(start)


def wrong_for_one(values, ignore=None):
    return own_mean(values, ignore) if len(values) > 1 else 0


def test_a_bare_assert_is_named_by_its_check(demo, capsys):
    assert told(wrong_for_one, capsys) == ["demo.mean: 3/4 — it failed keeps one value"]


def chatty(values, ignore=None):
    print("seen", len(values))
    return own_mean(values, ignore)


def test_what_the_function_prints_follows_the_verdict(demo, capsys):
    assert told(chatty, capsys)[:4] == [
        "demo.mean: 4/4 points",
        "next: try it on a tensor",
        "your function printed:",
        "seen 4",
    ]


def test_a_long_message_is_cut(demo, capsys):
    def long(values, ignore=None):
        raise ValueError("x" * 1000)

    assert len(told(long, capsys)[0]) < 200


def test_a_crash_is_told_with_what_it_usually_comes_from(demo, capsys):
    weight = torch.nn.Parameter(torch.ones(2))
    crashes = {
        "-100 is the id of no token": lambda: torch.ones(2, 3).gather(1, torch.tensor([[-100]])),
        "torch.no_grad()": lambda: weight.sub_(1),
        "print the shapes": lambda: torch.ones(2, 3) @ torch.ones(2, 3),
        "print the shapes just": lambda: torch.ones(2) + torch.ones(3),
        "torch.where": lambda: bool(torch.ones(2) > 0),
        "work on all of them": lambda: float(torch.ones(2)),
        "no .item()": lambda: torch.ones(1).sum().backward(),
        "define it in the function": lambda: undefined,  # noqa: F821
        "without return": lambda: None + 1,
    }
    for words, crash in crashes.items():

        def crashing(values, ignore=None):
            return crash()  # noqa: B023

        line, next = told(crashing, capsys)
        assert "your function raised" in line
        assert words.removesuffix(" just").replace("work on all", "works on all") in next, next


def test_an_endless_loop_is_told(demo, capsys, monkeypatch):
    monkeypatch.setattr(learner, "PATIENCE_SECONDS", 0.2)

    def endless(values, ignore=None):
        while True:
            try:
                len(values)
            except Exception:
                pass

    line, next = told(endless, capsys)
    assert "still running" in line and "never ends" in next
    assert told(mean, capsys)[0] == "demo.mean: 4/4 points"


def test_a_cell_that_failed_is_not_judged_by_its_earlier_version(demo, capsys, monkeypatch):
    cells = ["", '@exercise("demo.mean", …)']
    monkeypatch.setattr(learner.portable, "inputs", lambda: cells)
    function = attempt(mean)
    cells += ["check(mean)", '@exercise("demo.mean", …)\ndef mean(values:', "check(mean)"]
    capsys.readouterr()
    check(function)
    line, next = capsys.readouterr().out.splitlines()
    assert line.startswith("demo.mean: 0/4 — the cell with your function stopped with an error")
    assert next.startswith("next: correct the cell")
    function = attempt(mean)
    capsys.readouterr()
    check(function)
    assert capsys.readouterr().out.startswith("demo.mean: 4/4")


def test_an_interrupt_is_not_swallowed(demo):
    def interrupted(values, ignore=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks(demo, interrupted, 0)


# run_checks, which a grader calls too


def test_run_checks_reports_every_check_and_prints_nothing(demo, capsys):
    results = run_checks(demo, counts_ignored, seed=3)
    assert [tuple(result) for result in results] == [
        ("divides", 1, 1, "", ""),
        ("leaves_out", 2, 0, "the ignored values are counted", "drop them first"),
        ("keeps_one_value", 1, 1, "", ""),
    ]
    assert capsys.readouterr() == ("", "")


def test_run_checks_seeds_each_check_and_leaves_the_random_state_alone(demo):
    drawn = []

    def random_student(values, ignore=None):
        drawn.append(torch.rand(1).item())
        return mean(values, ignore)

    before = torch.random.get_rng_state()
    run_checks(demo, random_student, seed=5)
    run_checks(demo, random_student, seed=5)
    run_checks(demo, random_student, seed=6)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn[:3] == drawn[3:6] == [drawn[0]] * 3
    assert drawn[6] != drawn[0]


# bad input


def test_changed_numbers_are_refused_with_the_right_first_line(demo):
    with pytest.raises(
        CourseError, match=r'restore it to @exercise\("demo.mean", points=4, minutes=5, diff'
    ):
        exercise("demo.mean", points=5, minutes=5, difficulty=2)


def test_an_unknown_id_names_the_closest(demo):
    with pytest.raises(CourseError, match=r"no exercise 'demo.meen' \(the closest are demo.mean"):
        exercise("demo.meen", points=4, minutes=5, difficulty=2)


def test_other_parameters_are_refused_and_both_lists_shown(demo):
    with pytest.raises(CourseError, match=r"\(value, ignore\) and must be \(values, ignore\)"):
        attempt(lambda value, ignore=None: 0)


def test_only_a_function_can_be_an_exercise(demo):
    with pytest.raises(CourseError, match="stands above a function"):
        attempt(3)


@pytest.mark.parametrize("thing, name", [(print, "print"), (3, "int")])
def test_check_takes_only_exercises(thing, name):
    with pytest.raises(
        CourseError, match=rf"check\(\) was given {name}, which has no @exercise line"
    ):
        check(thing)


def test_the_module_of_checks_is_loaded_when_an_exercise_is_asked_for(demo, tmp_path, monkeypatch):
    (tmp_path / "sums.py").write_text(
        "from course import Exercise\n"
        "Exercise('sums.total', reference=sum, minutes=1, difficulty=1)\n"
    )
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    import checks

    monkeypatch.setattr(checks, "__path__", [str(tmp_path)])
    assert registry.find("sums.total").reference is sum
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry.find("broken.one")


def test_an_exercise_is_registered_once_with_a_known_difficulty(demo):
    with pytest.raises(ValueError, match="registered twice"):
        Exercise("demo.mean", reference=mean, minutes=5, difficulty=2)
    with pytest.raises(ValueError, match="must be 1, 2 or 3"):
        Exercise("demo.other", reference=mean, minutes=5, difficulty=4)


def test_wrong_solutions_are_kept_in_order_and_stay_functions(demo):
    assert demo.wrong_solutions == []
    assert demo.wrong("nothing is divided", next="divide")(no_division) is no_division
    demo.wrong("all are counted")(counts_ignored)
    assert [tuple(wrong) for wrong in demo.wrong_solutions] == [
        (no_division, "nothing is divided", "divide"),
        (counts_ignored, "all are counted", ""),
    ]


def test_an_error_of_the_course_is_shown_as_one_sentence():
    assert CourseError("Do this.")._render_traceback_() == ["CourseError: Do this."]


def test_an_answer_that_calls_the_solution_is_none(demo, capsys):
    def calls_it(values, ignore=None):
        return mean(values, ignore)

    assert told(calls_it, capsys)[0].startswith(
        "demo.mean: 0/4 — your function raised SolutionWithheld: this calls the"
    )
    assert mean([1, 3]) == 2  # within reach again
    assert (
        told(
            lambda values, ignore=None: (
                sum(v for v in values if v != ignore) / sum(v != ignore for v in values)
            ),
            capsys,
        )[0]
        == "demo.mean: 4/4 points"
    )


# where the fault may lie


@pytest.fixture
def two_cells(demo):
    """two_cells(total, mean): both as a learner's functions in one notebook; the second uses the
    first."""
    registered = Exercise(
        "demo.total", reference=lambda values: sum(values), minutes=5, difficulty=1
    )

    @registered.check(points=1)
    def sums(student, seed):
        if student([1, 2]) != 3:
            raise Mistake("this is no sum", next="add them up")

    def run(total, own_mean):
        names = {}
        exec(
            f"def total(values):\n    {total}\n\ndef mean(values, ignore=None):\n    {own_mean}",
            names,
        )
        names["total"] = exercise("demo.total", points=1, minutes=5, difficulty=1)(names["total"])
        return attempt(names["mean"])

    return run


KEPT = "kept = [value for value in values if value != ignore]; "
NAMED = "first: your total is in use here and fails its own check; run check(total)"


@pytest.mark.parametrize(
    "total, own_mean, named",
    [
        ("return 7", f"{KEPT}return total(kept) / len(kept)", True),
        ("return 7", f"{KEPT}return (lambda: total(kept))() / len(kept)", True),
        ("return sum(values)", f"{KEPT}return total(values) / len(values)", False),  # its own fault
        ("return 7", f"{KEPT}return sum(values) / len(values)", False),  # not used
        ("...", "return total(values)", False),  # the solution is in use
    ],
)
def test_a_helper_that_fails_its_own_check_is_named(two_cells, capsys, total, own_mean, named):
    function = two_cells(total, own_mean)
    capsys.readouterr()
    check(function)
    lines = capsys.readouterr().out.splitlines()
    assert "4/4" not in lines[0] and (NAMED in lines) == named, lines


def test_a_right_function_is_not_blamed_for_another(two_cells, capsys):
    function = two_cells("return 7", f"{KEPT}return sum(kept) / len(kept)")
    capsys.readouterr()
    check(function)
    assert capsys.readouterr().out.splitlines()[0] == "demo.mean: 4/4 points"


def test_a_mistyped_name_is_guessed(demo, capsys):
    def mistyped(values, ignore=None):
        return sum(vlaues) / len(values)  # noqa: F821

    assert told(mistyped, capsys)[1] == "next: did you mean values?"
