"""Marking without a sandbox: what is asked how often, what becomes of each end, and the inputs."""

import json
import os
import socket
import threading
import types
from dataclasses import asdict

import psutil
import pytest
from course import find
from course.learner import NOTEBOOK_SEED
from made import submission
from threats import LAB

from grading import course as seam
from grading import marking as marking_module
from grading import notebook
from grading.marking import Marker, Marking, MarkingSettings, NeedsReview, Verdict
from grading.records.record import Result
from grading.sandbox import failures, wire
from grading.sandbox.failures import ForkServerGone, Lost, Raised, Stopped, Unusable, exception_in
from grading.sandbox.fork_server import Connection
from grading.sandbox.limits import Limits

SECRET = b"a secret of this test"
LOSS = find("sft.loss")


def marking(secret=SECRET, data=None):
    """The marking of a submission, with no fork server behind it."""
    data = data or submission(LAB, "solved").encode()
    return Marking(
        None, MarkingSettings(secret, "T0"), notebook.find_answers(data, f"{LAB}.ipynb"), data
    )


def answer_of(this, id="sft.loss"):
    return next(answer for answer in this.answers.answers if answer.id == id)


# The inputs ---------------------------------------------------------------------------------------


def test_a_check_s_inputs_depend_on_all_that_should_matter_and_on_nothing_else():
    same = marking().seed("sft.loss", "passes_the_gradient")
    other = [
        marking(b"another secret of this test").seed("sft.loss", "passes_the_gradient"),
        marking(data=submission(LAB, {}).encode()).seed("sft.loss", "passes_the_gradient"),
        marking().seed("sft.sequence_loss", "passes_the_gradient"),
        marking().seed("sft.loss", "another_check"),
    ]
    assert same == marking().seed("sft.loss", "passes_the_gradient") and len({same, *other}) == 5
    assert all(0 <= seed < 2**31 for seed in (same, *other))
    assert marking(None).seed("sft.loss", "passes_the_gradient") == NOTEBOOK_SEED


# What comes over the line -------------------------------------------------------------------------


@pytest.fixture
def line(tmp_path):
    """A connection whose worker is the test itself: (connection, the worker's end)."""
    connection, (mine, theirs) = Connection.__new__(Connection), socket.socketpair()
    connection.channel, connection.limits = mine, Limits(wall=2)
    connection.process, connection.pid, connection.folder = (
        psutil.Process(),
        os.getpid(),
        str(tmp_path),
    )
    connection.fork_server = types.SimpleNamespace(tier="T1")
    with mine, theirs:
        yield connection, theirs


def test_an_answer_bears_the_number_of_its_question(line):
    connection, worker = line
    id = connection.send({"order": "call"})
    worker.sendall(wire.pack({"id": id, "value": 1}, []))
    assert connection.receive(id)[0] == {"id": id, "value": 1}
    for wrong in ({"id": connection.send({"order": "call"})[:-1] + "x"}, {}, {"id": None}):
        worker.sendall(wire.pack(wrong, []))
        with pytest.raises(Unusable, match="not asked"):
            connection.receive(id)


def test_every_question_has_a_number_that_nobody_can_guess(line):
    connection, _ = line
    ids = {connection.send({"order": "call"}) for _ in range(20)}
    assert len(ids) == 20 and all(len(id) >= 16 for id in ids)


@pytest.mark.parametrize(
    "frame, told",
    [
        ((40 * 2**20).to_bytes(8, "big"), "too big: 40 MiB"),
        (wire.HEAD.pack(9, 5) + b"wrong", "cannot be read"),
        (wire.pack({"value": " " * (3 * 2**20)}, []), "more than can be read"),
    ],
    ids=["long", "no JSON", "wordy"],
)
def test_what_is_no_answer_is_unusable(line, frame, told):
    connection, worker = line
    sends = threading.Thread(target=worker.sendall, args=[frame])
    sends.start()
    with pytest.raises(Unusable, match=told):
        connection.receive("id")
    sends.join()


def test_a_worker_that_ended_may_have_been_ended_by_the_machine(line):
    connection, worker = line
    worker.close()
    with pytest.raises(Lost) as loss:
        connection.ask({"order": "call"})
    assert (loss.value.result, loss.value.doubtful) == ("crashed", True)


# Exceptions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, kinds",
    [
        ("ValueError", (Raised, ValueError)),
        ("ZeroDivisionError", (Raised, ZeroDivisionError)),
        ("OSError", (Raised,)),
        ("SystemExit", (Stopped,)),
        ("KeyboardInterrupt", (Stopped,)),
        ("NoSuchName", (Raised,)),
        ("print", (Raised,)),
        (5, (Raised,)),
        (["ValueError"], (Raised,)),
    ],
    ids=str,
)
def test_an_exception_arrives_as_what_a_check_may_expect_and_as_nothing_more(name, kinds):
    error = exception_in({"raised": name, "name": "Own", "text": "words", "line": 3})
    assert (
        all(isinstance(error, kind) for kind in kinds) and error.kind == "Own" and error.line == 3
    )
    assert isinstance(error, Exception) == (Stopped not in kinds)


def test_a_reply_without_an_exception_has_none():
    assert exception_in({"raised": None, "name": "Own"}) is None and exception_in({}) is None


@pytest.mark.parametrize(
    "told, kind, line",
    [
        ({"name": "a b"}, "ValueError", None),
        ({"name": "x" * 41}, "ValueError", None),
        ({"name": 3}, "ValueError", None),
        ({"line": 0}, "ValueError", None),
        ({"line": 10**6}, "ValueError", None),
        ({"line": True}, "ValueError", None),
        ({"line": "3"}, "ValueError", None),
        ({"name": "Mine", "line": 7}, "Mine", 7),
    ],
    ids=str,
)
def test_what_a_worker_says_of_an_exception_carries_no_message(told, kind, line):
    error = exception_in({"raised": "ValueError"} | told)
    assert (error.kind, error.line) == (kind, line)
    assert exception_in({"raised": "Made_up 1.5"}).kind == "Exception"
    assert (
        len(str(exception_in({"raised": "ValueError", "text": "x" * 10**4}))) == failures.MAX_TEXT
    )


# Lost workers -------------------------------------------------------------------------------------

WAITED, COMPUTED = Lost("timeout", "it waited", doubtful=True), Lost("timeout", "it computed")
ENDED, SWELLED = Lost("crashed", "it ended", doubtful=True), Lost("crashed", "it took memory")


def outcomes(monkeypatch, *ends):
    """The result of an exercise whose checks come to these ends in turn, and the checks asked."""
    this, asked = marking(), []

    def verdict(answer, registered, check):
        asked.append(check.name)
        end = ends[min(len(asked), len(ends)) - 1]
        if isinstance(end, BaseException):
            raise end
        return Verdict(Result(end))

    monkeypatch.setattr(this, "verdict", verdict)
    return this.exercise(answer_of(this)), asked


@pytest.mark.parametrize(
    "ends, results, asked",
    [
        (["passed"], ["passed"] * 3, 3),
        ([WAITED, "passed"], ["passed"] * 3, 4),  # a second chance, and all is well
        ([ENDED, "passed"], ["passed"] * 3, 4),
        (
            [COMPUTED, "passed"],
            ["timeout", "passed", "passed"],
            3,
        ),  # no second chance for what a machine does not cause
        ([SWELLED, "passed"], ["crashed", "passed", "passed"], 3),
        ([WAITED], ["timeout"] * 3, 2),  # twice is long enough for the whole exercise
        ([COMPUTED], ["timeout"] * 3, 2),
        ([SWELLED], ["crashed"] * 3, 2),
        ([ENDED], ["crashed"] * 3, 4),
        (["passed", COMPUTED, "passed"], ["passed", "timeout", "passed"], 3),
    ],
)
def test_how_often_a_lost_worker_is_asked_again(monkeypatch, ends, results, asked):
    record, names = outcomes(monkeypatch, *ends)
    assert [check.result for check in record.checks] == results and len(names) == asked
    assert record.earned == sum(
        check.points for check, result in zip(LOSS.checks, results) if result == "passed"
    )


@pytest.mark.parametrize("result", ["failed", "error", "timeout", "crashed", "needs review"])
def test_only_what_passed_earns_points(monkeypatch, result):
    record, _ = outcomes(monkeypatch, result)
    assert record.earned == 0 and all(check.earned == 0 for check in record.checks)


def test_what_a_check_says_becomes_one_plain_line(monkeypatch):
    this = marking()
    hostile = Verdict(Result.FAILED, "one\x1b[2J\ntwo\u202e" + "x" * 400, "do\x00 this\n")
    monkeypatch.setattr(this, "verdict", lambda *_: hostile)
    check = this.exercise(answer_of(this)).checks[0]
    assert check.next.isprintable() and check.mistake.isprintable() and len(check.mistake) <= 200


def test_no_worker_is_asked_for_what_was_not_attempted_or_cannot_run(monkeypatch):
    data = submission(
        LAB, {"sft.loss": '@exercise("sft.loss")\ndef sft_loss(logits, labels):\n    return (\n'}
    ).encode()
    this = marking(data=data)
    monkeypatch.setattr(this, "verdict", lambda *_: pytest.fail("a worker was asked"))
    records = {answer.id: this.exercise(answer) for answer in this.answers.answers}
    assert {check.result for check in records["sft.sequence_loss"].checks} == {"not attempted"}
    assert {check.result for check in records["sft.loss"].checks} == {"error"}
    assert sum(record.earned for record in records.values()) == 0
    assert [
        answer.id for answer in this.answers.answers if answer.state == "not attempted"
    ] == this.unattempted()


# Cells --------------------------------------------------------------------------------------------


def test_a_cell_is_left_out_once_it_was_tried_twice_or_is_itself_to_blame():
    this = marking()
    number = this.cells[0][0]
    this.leave_out(number, WAITED)
    assert this.cells[0][0] == number and this.notes == []
    this.leave_out(number, WAITED)
    assert number not in dict(this.cells) and this.notes == [
        f"cell {number} was left out: it waited"
    ]
    other = this.cells[0][0]
    this.leave_out(other, COMPUTED)
    assert other not in dict(this.cells) and len(this.notes) == 2


def test_cells_without_end_and_time_without_end_are_a_matter_for_a_person():
    this = marking()
    with pytest.raises(NeedsReview, match="cells had to be ended"):
        for number in range(marking_module.MAX_LOST_CELLS + 1):
            this.leave_out(number, SWELLED)
    this.began -= marking_module.MAX_WALL_TIMES * this.settings.limits.wall + 1
    with pytest.raises(NeedsReview, match="too long"), this.worker("sft.loss"):
        pass


def test_what_a_cell_raised_is_told_once():
    this = marking()
    for _ in range(3):
        this.note_what_was_raised(4, {"raised": "ValueError", "name": "Own"})
        this.note_what_was_raised(5, {"raised": None})
    assert this.notes == ["cell 4 raised Own; the cells after it were run all the same"]


# Whose fault --------------------------------------------------------------------------------------


def test_a_check_that_breaks_on_the_solution_is_the_course_s_fault_and_else_the_answer_s():
    exercise = types.SimpleNamespace(reference=len)

    def needs_a_list(function, seed):
        function([seed])

    def is_broken(function, seed):
        raise KeyError("the course's own")

    blamed = [
        marking_module.blame(
            TypeError("odd"),
            exercise,
            types.SimpleNamespace(test=test, name=test.__name__, points=1),
            3,
        )
        for test in (needs_a_list, is_broken)
    ]
    assert blamed[0] == (
        "failed",
        "what your function returned cannot be used (TypeError: odd)",
        "return what the docstring says",
        0,
    )
    assert blamed[1][:2] == (
        "needs review",
        "the check fails on the course's own solution: KeyError",
    )


@pytest.mark.parametrize(
    "error, status",
    [
        (notebook.Ungradable("it is empty"), "ungradable"),
        (NeedsReview("a person"), "needs review"),
        (ZeroDivisionError("of ours"), "needs review"),
        (ForkServerGone(), "needs review"),
    ],
    ids=repr,
)
def test_every_end_has_marks(monkeypatch, error, status):
    this, restarted = Marker(MarkingSettings(SECRET, "T0")), []
    monkeypatch.setattr(this, "restart", lambda: restarted.append(True))

    def find_answers(data, file):
        raise error

    monkeypatch.setattr(notebook, "find_answers", find_answers)
    marks = this.mark(b"")
    assert marks.status == status and marks.reason and marks.earned == 0
    assert bool(restarted) == isinstance(error, ForkServerGone)
    json.dumps(asdict(marks))


# What a record depends on -------------------------------------------------------------------------


def test_the_digest_of_checks_covers_the_modules_they_use_and_the_solution(monkeypatch, tmp_path):
    for path in seam.ROOT.glob("labs/[cm]*/*.py"):
        copy = tmp_path / path.relative_to(seam.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(seam, "ROOT", tmp_path)

    def digest():
        seam.digest_of_checks.cache_clear()
        return seam.digest_of_checks("ppo.value_loss")

    found = [digest()]
    for name in ("checks/ppo", "checks/shared", "checks/models", "methods/ppo"):
        path = tmp_path / "labs" / f"{name}.py"
        path.write_text(path.read_text() + "# changed\n")
        found.append(digest())
    assert len(set(found)) == 5
    (tmp_path / "labs" / "checks" / "lora.py").write_text("# changed\n")
    assert digest() == found[-1]
    seam.digest_of_checks.cache_clear()
