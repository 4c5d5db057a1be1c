"""Grade one folder on several machines: the job files, and what becomes of the records.

    python -m grading.parts write exports --parts 10 --for slurm --seed-secret secret
    python -m grading.parts merge exports

`write` puts job files into exports.parts: an array of batch jobs for Slurm, or for GitHub Actions a
workflow with a matrix, to be put into .github/workflows. Each job grades one part of the folder, by
`--part 3/10`, and keeps its results in exports.parts/3-of-10. `merge` copies all records into
exports.graded and writes the gradebook there. It refuses to do so while a submission has no record,
or where two machines did not grade alike. Exit status: 0, done; 2, wrong usage; 3, not merged, or a
person has to look at something.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from . import run
from .__main__ import summary
from .errors import GradingError
from .files import write_durably
from .lms.intake import find_submissions
from .lms.submission import Submission
from .marking import MarkingSettings
from .options import MAX_PARTS, Part, default_results, folder_of_parts
from .records import store
from .records.counting import POLICIES
from .records.record import Record, Status
from .sandbox.tiers import tier_for
from .text import clean

ROOT = Path(__file__).resolve().parents[1]
DONE, USAGE, REVIEW, INTERRUPTED = 0, 2, 3, 130
NAMED = 3  # things that a sentence names
PART = re.compile(r"(\d+)-of-(\d+)")
AS_IT_IS = re.compile(r"(?:/[\w .+=@~]?[\w .+=@~,-]*)+")  # nothing that a shell or YAML would read
PYTHON = ".venv/bin/python -E -m"


def main(words: Sequence[str]) -> int:
    options = parser().parse_args(words)
    if not hasattr(os, "fork"):
        print("Grading needs Linux or macOS: on Windows, run it in WSL.", file=sys.stderr)
        return USAGE
    try:
        return options.command(options)
    except GradingError as error:
        print(error, file=sys.stderr)
        return REVIEW if isinstance(error, NotMerged) else USAGE
    except OSError as error:
        print(f"{error.filename}: {error.strerror}: name a folder you can use.", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again: it begins afresh.", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m grading.parts", description=__doc__.partition("\n")[0]
    )
    commands = made.add_subparsers(required=True, metavar="write | merge")
    writing = commands.add_parser("write", help="write the job files for a number of machines")
    writing.set_defaults(command=write)
    writing.add_argument("--parts", type=int, required=True, help="how many jobs")
    writing.add_argument("--for", dest="system", choices=JOBS, required=True, help="who runs them")
    writing.add_argument(
        "--seed-secret", type=Path, help="a file that all jobs can read (Slurm; see make grade)"
    )
    merging = commands.add_parser("merge", help="put the records of all parts together")
    merging.set_defaults(command=merge)
    merging.add_argument("--results", type=Path, help="where the gradebook goes")
    merging.add_argument("--policy", choices=POLICIES, default=POLICIES[0])
    for each in (writing, merging):
        each.add_argument("submissions", type=Path, help="the whole folder of the submissions")
    return made


# The job files ------------------------------------------------------------------------------------

SLURM = """#!/bin/bash
# One job for each part of {folder_here}. Every machine sees the same disk.
# Start it, then the job that puts the records together and says what is missing:
#   sbatch --dependency=afterany:$(sbatch --parsable {grading}) {merging}
#SBATCH --job-name=grade
#SBATCH --array=1-{parts}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=02:00:00
set -uo pipefail
cd {root}
{grade} {folder} --part "$SLURM_ARRAY_TASK_ID/{parts}" --workers 4 --seed-secret {secret} --require-tier T1
status=$?
[ "$status" = 3 ] && exit 0   # some notebooks wait for a person: merge says which
exit "$status"
"""
SLURM_MERGE = """#!/bin/bash
#SBATCH --job-name=merge
#SBATCH --ntasks=1
#SBATCH --time=00:30:00
cd {root}
{merge}
"""
GITHUB = """# Grades {folder_here} in {parts} jobs and puts their records together.
#
# Put this file into .github/workflows of your own, private copy of the course, and commit it with the
# folder to its main branch: the hand-ins and the gradebook are readable for whoever sees the
# repository. It wants a secret named SEED_SECRET of 16 characters or more. Then start it by hand.
#
# A checkout gives all files the same time, so of several hand-ins of one learner none is the latest:
# the gradebook marks them.
name: grade
on: workflow_dispatch
permissions:
  contents: read
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 300
    strategy:
      fail-fast: false
      matrix:
        part: [{numbers}]
    steps:
      - uses: actions/checkout@v6
      - uses: actions/setup-python@v6
        with: {{python-version: "3.11"}}
      - run: make setup
      - env:
          SEED_SECRET: ${{{{ secrets.SEED_SECRET }}}}
        run: |
          printf %s "$SEED_SECRET" > "$RUNNER_TEMP/secret"
          status=0
          {grade} {folder} --part "${{{{ matrix.part }}}}/{parts}" --seed-secret "$RUNNER_TEMP/secret" --require-tier T1 || status=$?
          mkdir -p staged && cp -r {places}/"${{{{ matrix.part }}}}-of-{parts}" staged/
          [ "$status" = 0 ] || [ "$status" = 3 ]   # 3: some notebooks wait for a person
      - uses: actions/upload-artifact@v6
        with:
          name: ${{{{ matrix.part }}}}-of-{parts}
          path: staged
          overwrite: true
  merge:
    needs: grade
    if: always()   # it says what is missing
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v6
      - uses: actions/setup-python@v6
        with: {{python-version: "3.11"}}
      - run: make setup
      - uses: actions/download-artifact@v6
        with:
          pattern: "*-of-{parts}"
          path: "{places_here}"
          merge-multiple: true
      - run: |
          status=0
          {merge} || status=$?
          [ "$status" = 0 ] || [ -e {results}/gradebook.csv ]
      - uses: actions/upload-artifact@v6
        with: {{name: gradebook, path: "{results_here}", overwrite: true}}
"""
MOST = {"slurm": MAX_PARTS, "github": 256}  # jobs that a matrix may have
JOBS = {  # by system: each file with its template
    "slurm": {"grade.sbatch": SLURM, "merge.sbatch": SLURM_MERGE},
    "github": {"grade.yml": GITHUB},
}


def write(options: argparse.Namespace) -> int:
    """Write the job files of a system; prints where they are."""
    folder, parts = options.submissions.resolve(), options.parts
    most = MOST[options.system]
    if not 1 <= parts <= most:
        raise GradingError(f"--parts is {parts}: name a number from 1 to {most}.")
    if not AS_IT_IS.fullmatch(str(folder)):
        raise GradingError(
            f"{shown(folder)} has characters in its name that job files do not take: rename it to "
            "letters, digits, spaces, dots, dashes and underscores."
        )
    count = len(find_submissions(folder))
    if parts > count:
        raise GradingError(
            f"There are {count} submissions for {parts} parts: name fewer, or some would be empty."
        )
    if options.system == "slurm":
        run.read_secret(secret_of(options))
    for name, template in JOBS[options.system].items():
        path = folder_of_parts(folder) / name
        write_durably(path, job_file(template, options))
        print(f"written: {path}")
    print(f"{parts} jobs for {count} submissions; the file says how to start them")
    return DONE


def secret_of(options: argparse.Namespace) -> Path:
    if options.seed_secret is None:
        raise GradingError(
            "All jobs need one secret: make a file with it, as by python -c 'import secrets; "
            "print(secrets.token_hex())' > secret, and name it with --seed-secret."
        )
    return options.seed_secret.resolve()


def job_file(template: str, options: argparse.Namespace) -> str:
    folder = options.submissions.resolve()
    if options.system == "github":  # its checkout lies elsewhere, so paths begin in it
        if not folder.is_relative_to(ROOT):
            raise GradingError(
                f"{shown(folder)} lies outside the course: put the folder into the repository."
            )
        folder, secret = folder.relative_to(ROOT), Path("secret")
    else:
        secret = secret_of(options)
    places = {
        "folder": folder,
        "places": folder_of_parts(folder),
        "results": default_results(folder),
        "root": ROOT,
        "secret": secret,
        "grading": folder_of_parts(folder) / "grade.sbatch",
        "merging": folder_of_parts(folder) / "merge.sbatch",
    }
    words = {key: shlex.quote(f"{path}") for key, path in places.items()}
    words |= {f"{key}_here": f"{path}" for key, path in places.items()}  # in a comment, or in YAML
    return template.format(
        **words,
        parts=options.parts,
        numbers=", ".join(map(str, range(1, options.parts + 1))),
        grade=f"{PYTHON} grading",
        merge=f"{PYTHON} grading.parts merge {words['folder']}",
    )


# The records --------------------------------------------------------------------------------------


class NotMerged(GradingError):
    """The records of the parts do not fit together; nothing was written."""


def merge(options: argparse.Namespace) -> int:
    """Put the records of all parts into one folder and write the gradebook.

    Raises NotMerged where a submission has no record or two records do not go together.
    """
    folder = options.submissions.resolve()
    results = (options.results or default_results(folder)).resolve()
    run.check_place(folder, results)
    submissions = find_submissions(folder)
    places = parts_in(folder_of_parts(folder))
    records, aside = {}, 0
    for place in places:
        mine = {one.id: one for one in run.of_part(submissions, part_of(place))}
        for record in readable(place):
            if record.submission in mine and record.sha256 == mine[record.submission].sha256:
                records[record.submission] = store.with_origin(record, mine[record.submission])
            else:
                aside += 1
    complete(records, submissions, places)
    graded_alike(records, submissions, places)
    keep_final(results, records)
    this = run.Run(folder, results, MarkingSettings(None, tier_for(None)))
    with run.locked(results):
        for record in records.values():
            store.write(results, record)
        problems = run.finish(this, submissions, options.policy)
    print(
        f"{len(records):,} records of {len(places)} parts: one for each of {len(submissions):,} "
        "submissions, none lost, none twice"
    )
    if aside:
        print(
            f"{aside:,} others were set aside: of files that are gone, changed or in another part"
        )
    print(summary(results))
    for problem in problems:
        print(problem, file=sys.stderr)
    return DONE if not problems and run.is_final(this, submissions, options.policy) else REVIEW


def parts_in(folder: Path) -> list[Path]:
    """The folders of all parts, in order. Raises GradingError if there is none, and NotMerged for
    parts of different numbers."""
    found = sorted(
        (path for path in folder.glob("*-of-*") if path.is_dir() and PART.fullmatch(path.name)),
        key=part_of,
    )
    if not found:
        raise GradingError(
            f"There is no part in {shown(folder)}: grade with --part first, or copy the parts of the "
            "other machines there."
        )
    if len(numbers := sorted({part_of(path)[1] for path in found})) > 1:
        raise NotMerged(
            f"{shown(folder)} has parts of {' and of '.join(map(str, numbers))}: delete those that "
            "do not belong to this run."
        )
    return found


def part_of(place: Path) -> Part:
    return tuple(map(int, PART.fullmatch(place.name).groups()))


def readable(place: Path) -> list[Record]:
    """The records of a part; raises NotMerged for a file that holds none."""
    found = []
    for path in sorted(store.folder(place).glob("[!.]*.json")):
        record = store.read(path)
        if record is None:
            raise NotMerged(
                f"{shown(path)} is no whole record: delete it and grade part "
                f"{place.name.replace('-of-', '/')} again."
            )
        found.append(record)
    return found


def complete(
    records: dict[str, Record], submissions: Sequence[Submission], places: Sequence[Path]
) -> None:
    """Raises NotMerged unless every submission has a record."""
    of = part_of(places[0])[1]
    missing = [number for number, one in enumerate(submissions) if one.id not in records]
    if missing:
        parts = sorted({number % of + 1 for number in missing})
        raise NotMerged(
            f"{len(missing):,} of {len(submissions):,} submissions have no record of the file that "
            f"lies here: {named([submissions[number].file for number in missing])}. Grade these "
            f"again, or copy their folders here: {named([f'{part}/{of}' for part in parts])}."
        )


def graded_alike(
    records: dict[str, Record], submissions: Sequence[Submission], places: Sequence[Path]
) -> None:
    """Raises NotMerged for parts that were not graded by the same course with the same secret."""
    of, first = part_of(places[0])[1], {}
    for number, one in enumerate(submissions):
        part = f"{number % of + 1}-of-{of}"
        for what, value in conditions(records[one.id]).items():
            other, wanted = first.setdefault(what, (part, value))
            if value != wanted:
                raise NotMerged(
                    f"Parts {other} and {part} were graded with different {what}: delete the folder "
                    "of one of them and grade it again, so that all learners meet the same checks."
                )


def conditions(record: Record) -> dict[str, object]:
    """What has to be the same on all machines, with a name for each."""
    grader = record.grader
    same = {"secrets": grader.seed, "graders": grader.engine, "packages": grader.lock}
    same |= {"versions": tuple(sorted(grader.versions.items())), "sandboxes": grader.tier}
    same["limits"] = tuple(sorted(grader.limits.items()))
    if record.lab:
        same[f"notebooks of lab {record.lab}"] = grader.notebook
    for exercise in record.exercises:
        same[f"checks of {exercise.id}"] = exercise.checks_sha256
    return same


def keep_final(results: Path, records: dict[str, Record]) -> None:
    """Put final records that lie in the results already into the place of those that wait for a
    person. Raises NotMerged where the results are of another run."""
    for id, record in records.items():
        old = store.read(store.path_of(results, id))
        if old is None:
            continue
        if old.grader.seed != record.grader.seed:
            raise NotMerged(
                f"{shown(results)} holds records that were made with another secret: move it away, "
                "or name another folder with --results."
            )
        waits = record.status is Status.NEEDS_REVIEW and old.status is not Status.NEEDS_REVIEW
        if waits and old.sha256 == record.sha256:
            records[id] = old


def shown(path: Path) -> str:
    return clean(str(path), 300)


def named(files: Sequence[str]) -> str:
    """Some of the files, and how many more there are."""
    shown = ", ".join(clean(file, 60) for file in files[:NAMED])
    more = len(files) - NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
