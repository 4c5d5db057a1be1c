"""A run over a folder: what it writes, what it keeps, and that an interruption loses nothing."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from made import solutions, submission

from grading import run
from grading.__main__ import environment, main
from grading.errors import GradingError
from grading.marking import Marker, MarkingSettings
from grading.records import store
from grading.records.record import Status, from_json, to_json, without_timing
from grading.sandbox import tiers

ROOT = Path(__file__).resolve().parents[2]
LAB = "01_sft"
WRONG = '@exercise("sft.loss", points=4, minutes=10, difficulty=2)\ndef sft_loss(logits, labels):\n    return logits.sum()\n'


def write_submissions(made):
    """Five submissions: solved, untouched, wrong in one, of another lab, and no notebook at all."""
    texts = {
        "zoe/01_sft.ipynb": submission(LAB, "solved"),
        "adam/01_sft.ipynb": submission(LAB),
        "ines/01_sft.ipynb": submission(LAB, solutions(LAB) | {"sft.loss": WRONG}),
        "ines/03_reward_model.ipynb": submission("03_reward_model", "solved"),
        "omar/essay.ipynb": "no notebook",
    }
    for name, text in texts.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)


@pytest.fixture
def folder(tmp_path):
    """The five submissions, not yet graded."""
    made = tmp_path / "exports"
    write_submissions(made)
    return made


def graded(folder, *words, **settings):
    """The exit status of a run and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-E", "-m", "grading", str(folder), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | settings,
    )
    return ended.returncode, ended.stdout + ended.stderr


def all_records(folder):
    return {record.file: record for record in store.read_all(results_beside(folder))}


def marks(folder):
    return {file: without_timing(record) for file, record in all_records(folder).items()}


# A whole run --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """The five submissions, graded by two workers: where they lie, the exit status, the output."""
    made = tmp_path_factory.mktemp("first") / "exports"
    write_submissions(made)
    return made, *graded(made, "--workers", "2")


@pytest.fixture
def graded_folder(first_run, tmp_path):
    """The submissions with the results of the first run, which are left as they are."""
    made = tmp_path / "exports"
    for there, here in (first_run[0], made), (results_beside(first_run[0]), results_beside(made)):
        shutil.copytree(there, here)
    return made


def results_beside(folder):
    return folder.with_name("exports.graded")


def keep_zoe(folder):
    """Leave the one solved submission of the five in the folder."""
    for name in ("adam", "ines", "omar"):
        shutil.rmtree(folder / name)


def test_a_run_marks_keeps_and_marks_again(first_run, graded_folder):
    folder = graded_folder
    _, status, text = first_run
    assert status == 3, text  # for the sake of the essay
    earned = {
        file: (record.status, record.earned, record.points)
        for file, record in all_records(folder).items()
    }
    assert earned == {
        "zoe/01_sft.ipynb": ("graded", 21, 21),
        "adam/01_sft.ipynb": ("graded", 0, 21),
        "ines/01_sft.ipynb": ("graded", 17, 21),
        "ines/03_reward_model.ipynb": ("graded", 20, 20),
        "omar/essay.ipynb": ("ungradable", 0, 0),
    }
    assert "4 graded, 1 ungradable" in text and "omar/essay.ipynb" in text
    results = results_beside(folder)
    with open(results / "totals.csv", encoding="utf-8-sig", newline="") as file:
        assert {line["student"] for line in csv.DictReader(file)} == {"zoe", "adam", "ines", "omar"}
    assert (
        len(list((results / "feedback").glob("*.html")))
        == len(list((results / "gradescope").glob("*.json")))
        == 5
    )
    assert (results / "junit.xml").exists() and not (results / "changes.csv").exists()
    assert oct((results / "seed-secret").stat().st_mode)[-3:] == "600"

    before = {path: path.stat().st_mtime_ns for path in (results / "records").glob("*.json")}
    first = marks(folder)
    (folder / "adam" / "01_sft.ipynb").write_text(submission(LAB, "solved"))
    status, text = graded(folder, "--workers", "1")
    after = {path: path.stat().st_mtime_ns for path in (results / "records").glob("*.json")}
    assert status == 3 and [path.name[:4] for path in before if before[path] != after[path]] == [
        "adam"
    ]
    assert marks(folder)["adam/01_sft.ipynb"].earned == 21
    assert "adam" in (results / "changes.csv").read_text(encoding="utf-8-sig")
    assert len(list((results / "records" / "earlier").glob("adam*.1.json"))) == 1

    for path in (results / "records").glob("zoe*"):
        path.unlink()
    graded(folder, "--workers", "1")
    assert (
        marks(folder)["zoe/01_sft.ipynb"] == first["zoe/01_sft.ipynb"]
    )  # the same with one worker and with two


@pytest.fixture
def larger(folder):
    """The folder with twelve more submissions, so that a run over it can be cut off on its way."""
    for number in range(12):
        place = folder / f"learner{number}"
        place.mkdir()
        (place / "01_sft.ipynb").write_text(submission(LAB, "solved", after=[f"x = {number}"]))
    return folder


@pytest.fixture
def orphans_reaped():
    """Reap what a killed run leaves behind, which would be taken for the processes of later tests.

    A Marker makes the process that it lives in adopt the orphans among its descendants, and that
    lasts as long as the process: if a test has made one before, the processes of a killed run end
    up here.
    """
    before = set(psutil.Process().children())
    yield
    while left := set(psutil.Process().children()) - before:
        for orphan in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
                orphan.wait()


def begin(folder, **options):
    """A run of two workers in a session of its own, so that all its processes get a signal."""
    words = [sys.executable, "-E", "-m", "grading", str(folder), "--workers", "2"]
    return subprocess.Popen(words, cwd=ROOT, start_new_session=True, **options)


def wait_for_records(place, number, process):
    end = time.monotonic() + 120
    while len(list(place.glob("*.json"))) < number and time.monotonic() < end:
        assert process.poll() is None, "the run ended before it could be cut off"
        time.sleep(0.02)


def test_a_run_that_is_cut_off_loses_nothing(larger, orphans_reaped):
    """First by Ctrl-C, which is answered with a sentence, then by a kill; the third run ends."""
    place = results_beside(larger) / "records"
    interrupted = begin(
        larger,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for_records(place, 1, interrupted)
    os.killpg(interrupted.pid, signal.SIGINT)
    said, _ = interrupted.communicate()
    assert interrupted.returncode == 130, said
    assert "nothing is lost" in said and "Traceback" not in said and "Warning" not in said, said
    kept = {path: path.read_bytes() for path in place.glob("*.json")}
    assert 1 <= len(kept) < 17 and len(store.read_all(results_beside(larger))) == len(kept)

    killed = begin(larger, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_records(place, len(kept) + 2, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    there = {path: path.read_bytes() for path in place.glob("*.json")}
    assert len(kept) + 2 <= len(there) < 17 and all(json.loads(data) for data in there.values())
    assert there | kept == there

    status, text = graded(larger, "--workers", "1")
    assert status == 3, text  # for the sake of the essay
    assert len(all_records(larger)) == 17 and {path: path.read_bytes() for path in there} == there


def test_a_second_run_on_the_same_results_is_refused(folder):
    with run.locked(results_beside(folder)):
        status, text = graded(folder)
    assert status == 2 and "Another run is writing to" in text and "Traceback" not in text
    assert all_records(folder) == {}


def test_nothing_beside_the_notebooks_and_nothing_of_the_environment_has_a_say(folder):
    keep_zoe(folder)
    (folder / "conftest.py").write_text("raise SystemExit('never')")
    (folder / "torch.py").write_text("raise SystemExit('never')")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only")
    (folder / "zoe" / "test_mine.py").write_text("raise SystemExit('never')")
    (folder / "zoe" / "sitecustomize.py").write_text("raise SystemExit('never')")
    status, text = graded(
        folder,
        "--workers",
        "1",
        PYTEST_ADDOPTS="-k nothing",
        PYTEST_PLUGINS="nothing",
        PYTHONPATH=str(folder),
    )
    assert status == 3, text  # the two Python files beside the folder are no notebooks
    found = {file: (record.status, record.earned) for file, record in all_records(folder).items()}
    assert found == {
        "zoe/01_sft.ipynb": ("graded", 21),
        "conftest.py": ("ungradable", 0),
        "torch.py": ("ungradable", 0),
    }


def test_a_run_ends_with_0_only_if_nothing_needs_a_person(graded_folder):
    folder = graded_folder
    keep_zoe(folder)
    assert graded(folder, "--workers", "1")[0] == 0
    (folder / "bob.ipynb.txt").write_text(submission(LAB))
    (folder / "zoe" / "01_sft (1).ipynb").write_text(submission(LAB))
    for path in (folder / "zoe").glob("*"):
        os.utime(path, (1000, 1000))
    status, text = graded(folder, "--workers", "1")
    assert status == 3 and "ungradable: bob.ipynb.txt" in text
    (folder / "bob.ipynb.txt").unlink()
    status, text = graded(folder, "--workers", "1")
    assert status == 3 and "to be checked: zoe/01_sft (1).ipynb: 2 submissions" in text
    again, text = graded(folder, "--workers", "1", "--policy", "best")
    assert again == 0 and "to be checked" not in text


def test_a_learner_whom_the_lms_does_not_know_needs_a_person(graded_folder):
    folder = graded_folder
    keep_zoe(folder)
    export = folder.with_name("worksheet.csv")
    head = "Identifier,Full name,Grade,Maximum Grade\n"
    export.write_text(f"{head}Participant 1,nobody,,21.00\n")
    status, text = graded(folder, "--workers", "1", "--moodle", str(export))
    assert status == 3 and "nobody in the export has this name" in text
    export.write_text(f"{head}Participant 1,nobody,,21.00\nParticipant 2,zoe,,21.00\n")
    assert graded(folder, "--workers", "1", "--moodle", str(export))[0] == 0


# Usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "Name the folder"),
        (["/nowhere/at/all"], "There is no folder"),
        (["{folder}", "--workers", "0"], "at least 1"),
        (["{folder}", "--results", "{folder}"], "name another folder"),
        (["{folder}", "--seed-secret", "{short}"], "fewer than 16"),
        (["{folder}", "--seed-secret", "/nowhere"], "cannot be read"),
        (["{folder}", "--canvas", "/nowhere.csv"], "There is no file"),
        (["--explain", "{short}"], "is no record"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(folder, tmp_path, words, told):
    short = tmp_path / "short"
    short.write_text("secret")
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "grading",
            *(word.format(folder=folder, short=short) for word in words),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2 and told in ended.stdout + ended.stderr
    assert (
        "Traceback" not in ended.stderr and not results_beside(folder).joinpath("records").exists()
    )


def test_a_tier_that_is_not_there_is_refused(folder, monkeypatch, capsys):
    monkeypatch.setattr(tiers, "available", lambda: "T0")
    assert main([str(folder), "--require-tier", "T1"]) == 4
    assert "T1 is required" in capsys.readouterr().err and not results_beside(folder).exists()
    assert tiers.tier_for(None) == "T0" and tiers.tier_for("T0") == "T0"
    monkeypatch.setattr(tiers, "available", lambda: "T2")
    assert tiers.tier_for(None) == "T1" and tiers.tier_for("T2") == "T2"


def test_the_environment_of_a_run_has_nothing_that_steers_pytest_or_python(monkeypatch):
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONPATH", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "x")
    assert (
        not {"PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONPATH", "PYTHONSTARTUP"}
        & environment().keys()
    )


# What counts as done ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def marker():
    with Marker(
        MarkingSettings(b"a secret of sixteen", "T1" if tiers.available() != "T0" else "T0")
    ) as marker:
        yield marker


@pytest.fixture
def one(tmp_path, marker):
    """A run with one submission, graded once."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "zoe.ipynb").write_text(submission(LAB, solutions(LAB) | {"sft.loss": WRONG}))
    this = run.Run(folder, tmp_path / "results", marker.settings)
    (found,), _ = run.plan(this)
    record = run.mark(this, marker, found)
    return this, found, record


def test_a_final_record_is_left_alone(one):
    this, _, _ = one
    assert run.plan(this)[1] == []


def test_parts_of_a_folder_come_together_though_none_shows_a_namesake(tmp_path, marker):
    whole = run.Run(tmp_path / "whole", tmp_path / "results", marker.settings)
    for number, text in (
        (70006, submission(LAB)),
        (70007, submission(LAB, {"sft.loss": solutions(LAB)["sft.loss"]})),
    ):
        part = run.Run(tmp_path / str(number), tmp_path / f"{number}.results", marker.settings)
        for folder in (part.folder, whole.folder):
            place = folder / f"Wei Zhang_{number}_assignsubmission_file" / "01_sft.ipynb"
            place.parent.mkdir(parents=True)
            place.write_text(text)
        (found,), _ = run.plan(part)
        run.mark(part, marker, found)
        shutil.copytree(store.folder(part.results), store.folder(whole.results), dirs_exist_ok=True)
    found, waiting = run.plan(whole)
    assert waiting == [] and run.finish(whole, found, "latest") == []
    totals = (whole.results / "totals.csv").read_text("utf-8-sig").splitlines()
    assert [line.split(",")[:2] for line in totals[1:]] == [
        ["Wei Zhang (70006)", "0"],
        ["Wei Zhang (70007)", "4"],
    ]
    assert "no" not in [
        line["counts"]
        for line in csv.DictReader(
            (whole.results / "gradebook.csv").read_text("utf-8-sig").splitlines()
        )
    ]
    students = {record.student for record in store.read_all(whole.results)}
    assert students == {"Wei Zhang (70006)", "Wei Zhang (70007)"}
    assert not (store.folder(whole.results) / "earlier").exists()


def test_a_record_is_the_same_when_it_is_read_again(one):
    this, found, record = one
    text = store.path_of(this.results, found.id).read_text("utf-8")
    assert from_json(text) == record and to_json(from_json(text)) == text
    assert list(json.loads(text)) == [
        *("submission", "student", "file", "attempt", "modified", "sha256", "doubt"),
        *("lab", "status", "reason", "earned", "points", "exercises", "notes", "grader", "run"),
    ]


def test_a_record_that_cannot_be_read_is_made_again(one):
    this, found, _ = one
    for text in ("", "{", "[]", "{}", '{"submission": 1}'):
        store.path_of(this.results, found.id).write_text(text)
        assert run.plan(this)[1] == [found]


@pytest.mark.parametrize("change", ["bytes", "secret", "tier", "review"])
def test_what_a_record_depends_on_makes_it_pending(one, change):
    this, found, record = one
    changes = {
        "bytes": {"sha256": "0" * 64},
        "secret": {"grader": replace(record.grader, seed="0" * 64)},
        "tier": {"grader": replace(record.grader, tier="T9")},
        "review": {"status": Status.NEEDS_REVIEW},
    }
    store.write(this.results, replace(record, **changes[change]))
    assert [each.id for each in run.plan(this)[1]] == [found.id]


def test_only_exercises_whose_checks_changed_are_graded_again(one, marker):
    this, found, record = one
    exercises = tuple(
        replace(exercise, checks_sha256="0" * 64, earned=4)
        if exercise.id == "sft.loss"
        else replace(exercise, flags=("kept",))
        for exercise in record.exercises
    )
    store.write(this.results, replace(record, exercises=exercises, earned=21))
    assert run.plan(this)[1] == [found]
    again = run.mark(this, marker, found)
    assert again.earned == 17
    assert {exercise.id: exercise.flags for exercise in again.exercises}["sft.loss"] == ()
    assert sum(exercise.flags == ("kept",) for exercise in again.exercises) == 5
    assert [line[2:] for line in store.changes(this.results) if line[1].endswith(".2")] == [
        ("sft.loss", 4, 0)
    ]


def test_a_graded_record_must_hold_every_check_of_its_lab(one):
    this, found, record = one
    assert run.is_complete(record)
    first, second, third, *rest = record.exercises
    exercises = first, second, replace(third, checks=third.checks[1:]), *rest
    store.write(this.results, replace(record, exercises=exercises))
    assert "its checks are not those of the lab" in run.finish(this, [found], "latest")[0]
    store.path_of(this.results, found.id).unlink()
    assert "has no record" in run.finish(this, [found], "latest")[0]


def test_a_file_that_changed_under_the_graders_hands_is_not_marked(one, marker):
    this, found, _ = one
    (this.folder / "zoe.ipynb").write_text(submission(LAB, "solved"))
    with pytest.raises(GradingError):
        run.mark(this, marker, found)


def test_the_same_bytes_and_secret_give_the_same_record(one, marker):
    this, found, record = one
    store.path_of(this.results, found.id).unlink()
    assert without_timing(run.mark(this, marker, found)) == without_timing(record)


def test_explain_says_what_was_marked_and_what_changed_since(one, capsys):
    this, found, record = one
    path = store.path_of(this.results, found.id)
    assert main(["--explain", str(path)]) == 0
    text = capsys.readouterr().out
    assert (
        "17 of 21 points" in text
        and "sft.loss: 0/4" in text
        and "nothing has changed since" in text
    )
    first, *rest = record.exercises
    changed = {
        "exercises": (replace(first, checks_sha256="0" * 64), *rest),
        "grader": replace(record.grader, lock="0" * 64),
    }
    store.write(this.results, replace(record, **changed))
    main(["--explain", str(path)])
    assert "changed since: lock, the checks of sft.mask_prompt" in capsys.readouterr().out


# A learner's own run ------------------------------------------------------------------------------


def test_a_learners_own_run_is_a_test_for_each_check(tmp_path):
    path = tmp_path / "01_sft.ipynb"
    answers = solutions(LAB) | {"sft.loss": WRONG}
    del answers["sft.gradient_step"]
    path.write_text(submission(LAB, answers))
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            "grading/pytest.ini",
            "grading",
            "-q",
            "-p",
            "no:cacheprovider",
            "--notebook",
            str(path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1 and "2 skipped" in ended.stdout, ended.stdout
    assert "the tokens are summed" in ended.stdout or "sft.loss" in ended.stdout
    assert "Traceback" not in ended.stdout and "3 failed" in ended.stdout


def test_pytest_alone_says_what_to_name():
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "grading/pytest.ini", "grading"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 4 and "--submissions FOLDER" in ended.stderr


def test_points_go_into_the_tables_of_an_lms(graded_folder):
    folder = graded_folder
    export = folder.with_name("worksheet.csv")
    export.write_text(
        "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,"
        "Last modified (grade),Feedback comments\n"
        "Participant 1,zoe,z@example.org,Submitted,,21.00,Yes,-,\n"
        "Participant 2,nobody,n@example.org,No submission,,21.00,Yes,-,\n"
    )
    status, text = graded(folder, "--workers", "1", "--moodle", str(export))
    assert status == 2 and "name one with --lab, of 01_sft, 03_reward_model" in text
    status, text = graded(folder, "--workers", "1", "--moodle", str(export), "--lab", "01_sft")
    filled = (results_beside(folder) / "worksheet.csv").read_text()
    assert status == 3 and filled == export.read_text().replace("Submitted,,", "Submitted,21,"), (
        filled,
        text,
    )
    assert graded(folder, "--workers", "1", "--moodle", str(export), "--lab", "04_ppo")[0] == 2
