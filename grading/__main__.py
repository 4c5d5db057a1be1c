"""Grade a folder of submitted notebooks: `make grade SUBMISSIONS=folder`, or `python -m grading
folder`.

Everything goes to the folder's name with .graded behind it: records, gradebook.csv, totals.csv,
feedback, junit.xml, Gradescope's files. A run that was cut off goes on where it stopped. The exit
status speaks of the run, never of marks: 0 all is final · 2 wrong usage · 3 a person has to look at
something · 4 the sandbox that was asked for is not there
"""

import argparse
import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from . import lms, records, sandbox
from .errors import GradingError
from .files import write_whole
from .intake import choose
from .text import clean

ROOT = Path(__file__).resolve().parents[1]
FINAL, USAGE, REVIEW, TIER = 0, 2, 3, 4
FOREIGN = (
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
)  # none of our business


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    if not hasattr(os, "fork"):
        print("Grading needs Linux or macOS: on Windows, run it in WSL.", file=sys.stderr)
        return TIER
    try:
        return explain(options.explain) if options.explain else grade(options)
    except GradingError as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nStopped; nothing is lost. Run the same command again to go on.", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m grading", description=__doc__.partition("\n")[0])
    made.add_argument(
        "submissions", nargs="?", type=Path, help="a folder as an LMS exports it, or one notebook"
    )
    made.add_argument(
        "--results",
        type=Path,
        help="where everything goes (the folder's name with .graded behind it)",
    )
    made.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="how many notebooks at a time (%(default)s)",
    )
    made.add_argument(
        "--require-tier", choices=("T0", "T1", "T2"), help="refuse to grade in a weaker sandbox"
    )
    made.add_argument(
        "--seed-secret",
        type=Path,
        help="a file with a secret of your own, the same for several machines",
    )
    made.add_argument(
        "--policy",
        choices=("latest", "best"),
        default="latest",
        help="which of several submissions of one learner for one lab counts (%(default)s)",
    )
    made.add_argument(
        "--canvas", type=Path, help="the gradebook that Canvas exported: writes a filled copy"
    )
    made.add_argument(
        "--moodle",
        type=Path,
        help="the grading worksheet that Moodle exported: writes a filled copy",
    )
    made.add_argument(
        "--lab", help="the lab whose points are filled in, as 01_sft; needed if there are several"
    )
    made.add_argument(
        "--column", help="the column to fill, if --canvas has several that could be meant"
    )
    made.add_argument(
        "--explain",
        type=Path,
        metavar="RECORD",
        help="say what a record says, and what has changed since",
    )
    return made


def grade(options: argparse.Namespace) -> int:
    if options.submissions is None:
        raise GradingError("Name the folder of the submissions: make grade SUBMISSIONS=folder.")
    if options.workers < 1:
        raise GradingError("--workers must be at least 1.")
    try:
        sandbox.tier_for(options.require_tier)
    except sandbox.TierUnmet as error:
        print(error, file=sys.stderr)
        return TIER
    for export in (options.canvas, options.moodle):
        if export and not export.is_file():
            raise GradingError(
                f"There is no file {export}: name the CSV file that the LMS exported."
            )
    status, said = run_pytest(options)
    if status not in (FINAL, REVIEW):
        print(said.strip(), file=sys.stderr)
        return USAGE if status == 4 else status if status == 2 else REVIEW
    results = results_of(options)
    print(summary(results))
    for name, fill in (("canvas", lms.fill_canvas), ("moodle", lms.fill_moodle)):
        if export := getattr(options, name):
            fill_in(export, fill, results, options)
    return status


def run_pytest(options: argparse.Namespace) -> tuple[int, str]:
    """Its exit status and its own words; the bar, and all that concerns an instructor, go to
    stderr."""
    with subprocess.Popen(
        command(options),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            said = process.communicate()[0]
        except KeyboardInterrupt:  # it was interrupted as well, and puts its processes away
            process.communicate()
            raise
    return process.returncode, said


def results_of(options: argparse.Namespace) -> Path:
    folder = options.submissions.resolve()
    return (options.results or folder.with_name(f"{folder.name}.graded")).resolve()


def command(options: argparse.Namespace) -> list[str]:
    """The plain pytest command behind a run."""
    words = [
        sys.executable,
        "-E",
        "-m",
        "pytest",
        "-c",
        "grading/pytest.ini",
        "--rootdir",
        "grading",
        "grading",
        "-q",
        "--no-header",
        "--no-summary",
        "-p",
        "no:cacheprovider",
        "--policy",
        options.policy,
        "--submissions",
        str(options.submissions.resolve()),
        "--results",
        str(results_of(options)),
    ]
    if options.workers > 1:
        words += ["-p", "xdist.plugin", "-n", str(options.workers)]
    if options.require_tier:
        words += ["--require-tier", options.require_tier]
    if options.seed_secret:
        words += ["--seed-secret", str(options.seed_secret.resolve())]
    return words


def environment() -> dict[str, str]:
    """The caller's, without what would change what pytest and Python load."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}


def summary(results: Path) -> str:
    found = listed(results)
    counts = Counter(record["status"] for record in found)
    lines = [
        f"{len(found)} records in {results}: "
        + ", ".join(
            f"{counts[status]} {status}" for status in ("graded", "ungradable", "needs review")
        )
    ]
    lines += [
        f"  {record['status']}: {clean(record['file'], 100)}: {clean(record['reason'], 200)}"
        for record in found
        if record["status"] != "graded"
    ]
    return "\n".join([*lines, f"gradebook: {results / 'gradebook.csv'}"])


def fill_in(export: Path, fill, results: Path, options: argparse.Namespace) -> None:
    """Write the LMS's table with the points in it to the results; the export stays as it is."""
    found = listed(results)
    labs = sorted({record["lab"] for record in found if record["lab"]})
    if not labs or options.lab not in (None, *labs):
        raise GradingError(
            f"There is no graded notebook of {options.lab or 'any lab'}: nothing can be filled in."
        )
    if options.lab is None and len(labs) > 1:
        raise GradingError(
            f"The records are of several labs: name one with --lab, of {', '.join(labs)}."
        )
    mine = [record for record in found if record["lab"] in (None, options.lab or labs[0])]
    filled, told = fill(export.read_bytes(), mine, choose(mine, options.policy), options.column)
    write_whole(results / export.name, filled)
    print(f"{results / export.name}: ready to be imported", *told, sep="\n  ")


def listed(results: Path) -> list[dict]:
    """The records that this run's views show; older ones, of submissions that are gone, are left
    out."""
    with open(results / "gradebook.csv", encoding="utf-8-sig", newline="") as file:
        shown = {line["submission"] for line in csv.DictReader(file)}
    return [record for record in records.read_all(results) if record["submission"] in shown]


def explain(path: Path) -> int:
    from .judge import Settings
    from .run import checks_now, provenance_of

    record = records.read(path)
    if record is None:
        raise GradingError(f"{path} is no record: name a file from the folder records/ of a run.")
    now = provenance_of(Settings(None, record["grader"]["tier"]))
    del now["seed"]
    print(records.explain(record, now, checks_now()))
    return FINAL


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "labs"))
    sys.exit(main(sys.argv[1:]))
