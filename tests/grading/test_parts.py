"""One folder on several machines: parts, job files, and the records put together."""

import argparse
import random
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from made import notebook, record, solutions, submission

from grading import __main__, course, parts, run
from grading.lms.intake import find_submissions
from grading.notebook import labs
from grading.options import default_results, read_part
from grading.records import store
from grading.records.record import (
    CheckResult,
    ExerciseResult,
    Provenance,
    Result,
    State,
    Status,
    without_timing,
)

GRADER = Provenance("T1", {}, "5ec2e7", "0b", "e9", "10", {})


def merged(folder, *words):
    return parts.main(["merge", str(folder), *words])


@pytest.fixture
def folder(tmp_path):
    return made_folder(tmp_path / "a class", 23)


def made_folder(path, count):
    """So many tiny notebooks, each of another learner."""
    path.mkdir(parents=True)
    for number in range(count):
        (path / f"learner_{number:04}.ipynb").write_text(notebook(f"x = {number}"))
    return path


def grade_in_parts(folder, of, settings=lambda number: GRADER, seed=0):
    """Records as `of` machines would have made them; returns them by submission."""
    rng, found = random.Random(seed), {}
    for number in range(1, of + 1):
        mine = run.of_part(find_submissions(folder), (number, of))
        for one in mine:
            exercises = tuple(some_marks(id, rng) for id in labs()["01_sft"].functions)
            made = record(
                **store.origin_of(one),
                submission=one.id,
                sha256=one.sha256,
                grader=settings(number),
                points=sum(each.points for each in exercises),
                earned=sum(each.earned for each in exercises),
                exercises=exercises,
            )
            store.write(default_results(folder, (number, of)), made)
            found[one.id] = made
    return found


def some_marks(id, rng):
    """Marks of an exercise, each check passed or not by chance."""
    checks = []
    for check in course.find(id).checks:
        passed = rng.random() < 0.7
        earned, result = (check.points, "passed") if passed else (0, "failed")
        checks.append(CheckResult(check.name, check.points, earned, Result(result), "", ""))
    points, earned = (sum(getattr(one, what) for one in checks) for what in ("points", "earned"))
    return ExerciseResult(id, points, earned, State("attempted"), (), "c5", tuple(checks))


# Parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count, of", [(23, 1), (23, 4), (5, 5), (40, 7), (3, 8)])
def test_parts_share_nothing_miss_nothing_and_are_about_as_large(count, of):
    whole = list(range(count))
    dealt = [run.of_part(whole, (number, of)) for number in range(1, of + 1)]
    assert sorted(sum(dealt, [])) == whole
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_without_a_part_everything_is_this_runs():
    assert run.of_part([3, 1, 2], None) == [3, 1, 2]


@pytest.mark.parametrize("text, part", [("1/1", (1, 1)), ("3/10", (3, 10)), ("10/10", (10, 10))])
def test_a_part_is_which_and_of_how_many(text, part):
    assert read_part(text) == part


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "3", "1/0", "-1/4", "1/1001", "a/b", "1/2/3", "1 / 2"]
)
def test_what_is_no_part_is_refused_in_a_sentence(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no part: write which and of how many"):
        read_part(text)


def test_several_machines_must_be_given_one_secret(folder):
    with pytest.raises(parts.GradingError, match="need one secret: .* with --seed-secret"):
        run.make_run(folder, None, None, None, (1, 2))
    assert not default_results(folder, (1, 2)).exists()


# Merging ------------------------------------------------------------------------------------------


def test_three_thousand_records_of_ten_parts_are_all_there(tmp_path, capsys):
    folder = made_folder(tmp_path / "exports", 3000)
    graded = grade_in_parts(folder, 10)
    assert merged(folder) == parts.DONE
    said = capsys.readouterr().out
    assert "3,000 records of 10 parts: one for each of 3,000 submissions, none lost" in said
    assert {one.submission: one for one in store.read_all(default_results(folder))} == graded
    lines = (default_results(folder) / "gradebook.csv").read_text("utf-8-sig").splitlines()
    assert len(lines) == 3001


def test_a_missing_part_is_named_and_nothing_is_written(folder, capsys):
    grade_in_parts(folder, 5)
    for path in store.folder(default_results(folder, (2, 5))).glob("*.json"):
        path.unlink()
    assert merged(folder) == parts.REVIEW
    said = capsys.readouterr().err
    assert "5 of 23 submissions have no record of the file" in said and "and 2 more" in said
    assert said.rstrip().endswith("copy their folders here: 2/5.")
    assert not default_results(folder).exists()


@pytest.mark.parametrize(
    "field, value, what",
    [
        ("seed", "other", "secrets"),
        ("engine", "other", "graders"),
        ("lock", "other", "packages"),
        ("tier", "T0", "sandboxes"),
        ("versions", {"torch": "3"}, "versions"),
        ("limits", {"seconds": 5.0}, "limits"),
        ("notebook", "other", "notebooks of lab 01_sft"),
    ],
)
def test_parts_that_were_graded_otherwise_are_not_put_together(folder, capsys, field, value, what):
    other = replace(GRADER, **{field: value})
    grade_in_parts(folder, 4, lambda number: other if number == 3 else GRADER)
    assert merged(folder) == parts.REVIEW
    said = capsys.readouterr().err
    assert f"Parts 1-of-4 and 3-of-4 were graded with different {what}: delete the folder" in said
    assert not default_results(folder).exists()


def rewrite(folder, part, change):
    """Put every record of a part through `change`; None deletes it."""
    for path in store.folder(default_results(folder, part)).glob("*.json"):
        made = change(store.read(path))
        path.unlink()
        if made:
            store.write(default_results(folder, part), made)


def test_parts_with_other_checks_are_not_put_together(folder, capsys):
    grade_in_parts(folder, 2)

    def with_another_check(record):
        first, *others = record.exercises
        return replace(record, exercises=(replace(first, checks_sha256="other"), *others))

    rewrite(folder, (2, 2), with_another_check)
    assert merged(folder) == parts.REVIEW
    assert "were graded with different checks of sft." in capsys.readouterr().err


def test_a_record_that_is_cut_off_is_named(folder, capsys):
    grade_in_parts(folder, 2)
    path = next(store.folder(default_results(folder, (2, 2))).glob("*.json"))
    path.write_text(path.read_text()[:200])
    assert merged(folder) == parts.REVIEW
    said = capsys.readouterr().err
    assert f"{path.name} is no whole record: delete it and grade part 2/2 again" in said
    assert not default_results(folder).exists()


def test_hidden_files_are_no_records(folder):
    grade_in_parts(folder, 2)
    (store.folder(default_results(folder, (2, 2))) / "._zoe.json").write_bytes(b"\0\5\26\7")
    assert merged(folder) == parts.DONE


def test_a_file_that_has_changed_since_is_named(folder, capsys):
    grade_in_parts(folder, 2)
    (folder / "learner_0004.ipynb").write_text(notebook("x = 'another'"))
    assert merged(folder) == parts.REVIEW
    said = capsys.readouterr().err
    assert (
        "1 of 23 submissions have no record of the file that lies here: learner_0004.ipynb" in said
    )
    assert "1/2" in said


def test_after_a_late_file_only_what_has_moved_is_graded_again(folder, capsys):
    """Every file behind the late one belongs to another part now; its old record is set aside."""
    grade_in_parts(folder, 2)
    (folder / "a_late_one.ipynb").write_text(notebook("x = 'late'"))
    assert merged(folder) == parts.REVIEW
    grade_in_parts(folder, 2, seed=1)
    capsys.readouterr()
    assert merged(folder) == parts.DONE
    said = capsys.readouterr().out
    assert (
        "24 records of 2 parts: one for each of 24" in said and "23 others were set aside" in said
    )


def test_records_of_files_that_are_gone_are_not_counted(folder, capsys):
    grade_in_parts(folder, 1)
    (folder / "learner_0003.ipynb").unlink()
    assert merged(folder) == parts.DONE
    said = capsys.readouterr().out
    assert "22 records of 1 parts: one for each of 22" in said and "1 others were set aside" in said
    assert len(store.read_all(default_results(folder))) == 22


def test_parts_of_different_numbers_are_not_mixed(folder, capsys):
    grade_in_parts(folder, 3)
    grade_in_parts(folder, 2)
    assert merged(folder) == parts.REVIEW
    assert "has parts of 2 and of 3: delete those that do not belong" in capsys.readouterr().err


def test_a_second_merge_keeps_what_a_person_or_a_later_run_has_settled(folder, capsys):
    graded = grade_in_parts(folder, 2)
    rewrite(folder, (1, 2), lambda one: replace(one, status=Status("needs review"), reason="x"))
    assert merged(folder) == parts.REVIEW
    said = capsys.readouterr().out
    assert "12 needs review" in said and "learner_0000.ipynb: x" in said  # it says what waits
    for one in graded.values():
        store.write(default_results(folder), one)
    assert merged(folder) == parts.DONE
    assert all(one.is_graded for one in store.read_all(default_results(folder)))


def test_results_of_another_secret_are_left_alone(folder, capsys):
    graded = grade_in_parts(folder, 2)
    one = next(iter(graded.values()))
    other = replace(one, grader=replace(GRADER, seed="older"))
    store.write(default_results(folder), other)
    assert merged(folder) == parts.REVIEW
    assert (
        "holds records that were made with another secret: move it away" in capsys.readouterr().err
    )
    assert store.read_all(default_results(folder)) == [other]


@pytest.mark.parametrize("place", [".", "inside", ".."])
def test_results_among_the_submissions_are_refused(folder, capsys, place):
    grade_in_parts(folder, 2)
    assert merged(folder, "--results", str(folder / place)) == parts.USAGE
    assert "The results cannot go to" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_refused_in_a_sentence(folder, capsys):
    grade_in_parts(folder, 2)
    default_results(folder).write_text("a file")
    assert merged(folder) == parts.USAGE
    assert "name a folder you can use" in capsys.readouterr().err


def test_a_link_to_the_folder_is_the_folder(folder, tmp_path, monkeypatch, capsys):
    grade_in_parts(folder, 2)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/exports").symlink_to(folder)
    assert parts.main(["merge", "exports"]) == parts.DONE
    assert default_results(folder).is_dir()
    monkeypatch.chdir(folder)
    assert parts.main(["merge", "."]) == parts.DONE


def test_without_any_part_it_says_what_to_do(folder, capsys):
    assert merged(folder) == parts.USAGE
    assert "There is no part in" in capsys.readouterr().err


def test_merging_again_changes_nothing(folder):
    grade_in_parts(folder, 3)
    merged(folder)
    before = contents(default_results(folder))
    assert merged(folder) == parts.DONE and contents(default_results(folder)) == before


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_parts_give_the_marks_of_the_whole(tmp_path):
    folder, secret = tmp_path / "exports", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("a secret of some length")
    loss = {"sft.loss": solutions("01_sft")["sft.loss"]}
    (folder / "zoe.ipynb").write_text(submission("01_sft", loss))
    (folder / "adam.ipynb").write_text(submission("01_sft"))
    shared = [str(folder), "--seed-secret", str(secret), "--workers", "1"]
    for part in ("1/2", "2/2"):
        assert __main__.main([*shared, "--part", part]) == __main__.FINAL
    assert merged(folder) == parts.DONE
    whole = tmp_path / "whole"
    assert __main__.main([*shared, "--results", str(whole)]) == __main__.FINAL
    of_parts = {one.submission: one for one in store.read_all(default_results(folder))}
    assert sorted(one.earned for one in of_parts.values()) == [0, 4]
    for one in store.read_all(whole):
        assert without_timing(of_parts[one.submission]) == without_timing(one)


# Job files ----------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "the secret"
    path.write_text("0123456789abcdef")
    return path


def written(folder, system, count, *words):
    status = parts.main(["write", str(folder), "--parts", str(count), "--for", system, *words])
    assert status == parts.DONE
    return folder.with_name(f"{folder.name}.parts") / next(iter(parts.JOBS[system]))


def grading_commands(text):
    """The words of every line that calls the grader."""
    lines = re.findall(r"-m (grading(?:\.parts)? [^|\n]+)", text)
    place = re.compile(r"\$\{\{ *matrix.part *\}\}|\$SLURM_ARRAY_TASK_ID")
    return [shlex.split(place.sub("3", line)) for line in lines]


def test_the_jobs_of_slurm_grade_each_part_of_the_folder(folder, secret):
    path = written(folder, "slurm", 6, "--seed-secret", str(secret))
    text = path.read_text()
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    assert "#SBATCH --array=1-6\n" in text
    ((_, *words),) = grading_commands(text)
    options = __main__.parser().parse_args(words)
    assert options.submissions == folder and options.part == (3, 6)
    assert options.seed_secret == secret and options.require_tier == "T1"
    merging = path.with_name("merge.sbatch")
    assert subprocess.run(["bash", "-n", merging]).returncode == 0
    assert grading_commands(merging.read_text()) == [["grading.parts", "merge", str(folder)]]


@pytest.fixture
def inside(folder, monkeypatch):
    """The folder, in a repository that holds nothing else."""
    monkeypatch.setattr(parts, "ROOT", folder.parent)
    monkeypatch.chdir(folder.parent)
    return folder.relative_to(folder.parent)


def test_the_jobs_of_github_grade_each_part_and_merge_them(inside):
    path = written(inside, "github", 3)
    jobs = yaml.safe_load(path.read_text())["jobs"]
    assert jobs["grade"]["strategy"]["matrix"]["part"] == [1, 2, 3]
    assert jobs["merge"]["needs"] == "grade" and jobs["merge"]["if"] == "always()"
    (_, *words), (_, *merging) = grading_commands(path.read_text())
    options = __main__.parser().parse_args(words)
    assert str(options.submissions) == "a class" and options.part == (3, 3)
    assert parts.parser().parse_args(merging).command is parts.merge
    for job in jobs.values():
        for step in job["steps"]:
            if "run" in step:
                checked = subprocess.run(["bash", "-n"], input=step["run"], text=True)
                assert checked.returncode == 0


@pytest.mark.parametrize("count", [1, 3])
def test_what_the_jobs_of_github_upload_lies_where_merge_looks(inside, count):
    """The shell line that stages a part is run, and all artifacts are unpacked into one folder, as
    download-artifact does with merge-multiple, and with a single artifact in any case."""
    grade_in_parts(inside, count)
    path = written(inside, "github", count)
    jobs = yaml.safe_load(path.read_text())["jobs"]
    upload, download = jobs["grade"]["steps"][-1]["with"], jobs["merge"]["steps"][-3]["with"]
    line = next(one for one in jobs["grade"]["steps"][-2]["run"].splitlines() if "staged" in one)
    for number in range(1, count + 1):
        here = line.replace("${{ matrix.part }}", str(number))
        assert subprocess.run(["bash", "-euc", here]).returncode == 0
        Path(upload["path"]).rename(f"artifact-{number}")
    shutil.rmtree(download["path"])
    for number in range(1, count + 1):
        shutil.copytree(f"artifact-{number}", download["path"], dirs_exist_ok=True)
    assert download["merge-multiple"] and merged(inside) == parts.DONE


@pytest.mark.parametrize(
    "system, count, words, complaint",
    [
        ("slurm", 0, [], "--parts is 0: name a number from 1 to 1000"),
        ("slurm", 1001, [], "--parts is 1001: name a number from 1"),
        ("github", 257, [], "--parts is 257: name a number from 1 to 256"),
        ("slurm", 24, [], "There are 23 submissions for 24 parts: name fewer"),
        ("slurm", 4, [], "All jobs need one secret: make a file with it, .* with --seed-secret"),
        ("slurm", 4, ["--seed-secret", "nowhere"], "nowhere cannot be read"),
        ("github", 4, [], "lies outside the course: put the folder into the repository"),
    ],
)
def test_jobs_that_could_not_run_are_not_written(folder, capsys, system, count, words, complaint):
    status = parts.main(["write", str(folder), "--parts", str(count), "--for", system, *words])
    assert status == parts.USAGE
    assert re.search(complaint, capsys.readouterr().err)
    assert not list(folder.parent.glob("*.parts/grade.*"))


@pytest.mark.parametrize(
    "name", ["cl[a]ss", "a'b", "two\nlines", "$HOME", 'a"b', "semi;colon", "-x/y`"]
)
def test_names_that_a_shell_would_read_are_refused(tmp_path, capsys, secret, name):
    folder = made_folder(tmp_path / name, 3)
    words = ["write", str(folder), "--parts", "2", "--for", "slurm", "--seed-secret", str(secret)]
    assert parts.main(words) == parts.USAGE
    assert "has characters in its name that job files do not take" in capsys.readouterr().err
