"""Grade a folder of submitted notebooks: `make grade SUBMISSIONS=folder`.

Or `python -m grading folder`. The results go to the folder's name with .graded appended: records,
gradebook.csv, totals.csv, feedback pages, junit.xml and Gradescope's files. A run that was
interrupted resumes where it stopped. The exit status is about the run, never about the marks: 0,
all is final; 2, wrong usage; 3, a person has to look at something; 4, the sandbox that you asked
for is not available.
"""

import argparse
import csv
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from .errors import GradingError
from .files import write_durably
from .lms import gradebooks
from .options import add_shared_options, default_results
from .records import store
from .records.counting import which_count
from .records.record import Record, Status
from .sandbox import tiers
from .text import clean

ROOT = Path(__file__).resolve().parents[1]
FINAL, USAGE, REVIEW, TIER, INTERRUPTED = 0, 2, 3, 4, 130
PYTEST_USAGE = 4  # pytest's own exit status for wrong usage
PYTEST = (
    *("-E", "-m", "pytest", "-c", "grading/pytest.ini", "--rootdir", "grading", "grading"),
    *("-q", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
)
# What the caller's environment may not decide: what pytest and Python load.
REMOVED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME")


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    if not hasattr(os, "fork"):
        print("Grading needs Linux or macOS: on Windows, run it in WSL.", file=sys.stderr)
        return TIER
    try:
        return explain(options.explain) if options.explain else grade(options)
    except GradingError as error:
        print(error, file=sys.stderr)
        return TIER if isinstance(error, tiers.TierUnmet) else USAGE
    except KeyboardInterrupt:
        print("\nStopped; nothing is lost. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m grading", description=__doc__.partition("\n")[0])
    add = made.add_argument
    add("submissions", nargs="?", type=Path, help="a folder that an LMS exported, or one notebook")
    add_shared_options(add)
    add(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="how many notebooks to grade at a time (default: %(default)s)",
    )
    add("--canvas", type=Path, help="the gradebook that Canvas exported: writes a filled copy")
    add("--moodle", type=Path, help="the worksheet that Moodle exported: writes a filled copy")
    add("--lab", help="the lab whose points are filled in, as NN_name; needed if there are several")
    add("--column", help="the column of --canvas or --moodle to fill, if several would fit")
    add(
        "--explain",
        type=Path,
        metavar="RECORD",
        help="say what a record contains, and what has changed since",
    )
    return made


def grade(options: argparse.Namespace) -> int:
    if options.submissions is None:
        raise GradingError("Name the folder of the submissions: make grade SUBMISSIONS=folder.")
    if options.workers < 1:
        raise GradingError("--workers must be at least 1.")
    tiers.tier_for(options.require_tier)
    for export in (options.canvas, options.moodle):
        if export and not export.is_file():
            raise GradingError(
                f"There is no file {export}: name the CSV file that the LMS exported."
            )
    status, output = run_pytest(options)
    if status not in (FINAL, REVIEW):
        print(output.strip(), file=sys.stderr)
        return USAGE if status in (USAGE, PYTEST_USAGE) else REVIEW
    results = results_of(options)
    print(summary(results))
    placed = True
    if options.canvas:
        placed &= fill_in(options.canvas, gradebooks.fill_canvas, results, options)
    if options.moodle:
        placed &= fill_in(options.moodle, gradebooks.fill_moodle, results, options)
    return status if placed else REVIEW


def run_pytest(options: argparse.Namespace) -> tuple[int, str]:
    """Exit status and captured stdout; progress and messages to the instructor go to stderr."""
    with subprocess.Popen(
        command(options),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            output = process.communicate()[0]
        except KeyboardInterrupt:  # pytest gets it too, and first ends its processes
            process.communicate()
            raise
    return process.returncode, output


def results_of(options: argparse.Namespace) -> Path:
    return (
        options.results or default_results(options.submissions.resolve(), options.part)
    ).resolve()


def command(options: argparse.Namespace) -> list[str]:
    """The plain pytest command behind a run."""
    words = [sys.executable, *PYTEST, "--submissions", str(options.submissions.resolve())]
    words += ["--results", str(results_of(options)), "--policy", options.policy]
    if options.workers > 1:
        words += ["-p", "xdist.plugin", "-n", str(options.workers)]
    if options.part:
        words += ["--part", "{}/{}".format(*options.part)]
    if options.require_tier:
        words += ["--require-tier", options.require_tier]
    if options.seed_secret:
        words += ["--seed-secret", str(options.seed_secret.resolve())]
    return words


def environment() -> dict[str, str]:
    """The caller's variables, without those that would change what pytest and Python load."""
    kept = {name: value for name, value in os.environ.items() if name not in REMOVED}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}


def summary(results: Path) -> str:
    records = current_records(results)
    counts = Counter(record.status for record in records)
    numbers = ", ".join(f"{counts[status]} {status}" for status in Status)
    lines = [f"{len(records)} records in {results}: {numbers}"]
    lines += [
        f"  {record.status}: {clean(record.file, 100)}: {clean(record.reason, 200)}"
        for record in records
        if not record.is_graded
    ]
    lines += [
        f"  to be checked: {clean(record.file, 100)}: {clean(record.doubt, 300)}"
        for record in records
        if record.doubt
    ]
    return "\n".join([*lines, f"gradebook: {results / 'gradebook.csv'}"])


def fill_in(export: Path, fill: Callable, results: Path, options: argparse.Namespace) -> bool:
    """Write a copy of the LMS's table with the points to the results; whether all found a place."""
    records = current_records(results)
    labs = sorted({record.lab for record in records if record.lab})
    if not labs or options.lab not in (None, *labs):
        raise GradingError(
            f"There is no graded notebook of {options.lab or 'any lab'}: nothing can be filled in."
        )
    if options.lab is None and len(labs) > 1:
        raise GradingError(
            f"The records are of several labs: name one with --lab, of {', '.join(labs)}."
        )
    lab = options.lab or labs[0]
    mine = [record for record in records if record.lab in (None, lab)]
    counted = which_count(mine, options.policy)
    filled, messages = fill(export.read_bytes(), mine, counted, options.column)
    write_durably(results / export.name, filled)
    print(f"{results / export.name}: ready to be imported", *messages, sep="\n  ")
    return not any(message.endswith(gradebooks.NOT_FILLED) for message in messages)


def current_records(results: Path) -> list[Record]:
    """The records in this run's gradebook; those of submissions that are gone are left out."""
    with open(results / "gradebook.csv", encoding="utf-8-sig", newline="") as file:
        shown = {line["submission"] for line in csv.DictReader(file)}
    return [record for record in store.read_all(results) if record.submission in shown]


def explain(path: Path) -> int:
    from .marking import MarkingSettings, provenance  # takes seconds, for the sake of PyTorch
    from .run import checks_now

    record = store.read(path)
    if record is None:
        raise GradingError(f"{path} is no record: name a file from the folder records/ of a run.")
    now = provenance(MarkingSettings(None, record.grader.tier), None)
    print(store.explain(record, now, checks_now()))
    return FINAL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
