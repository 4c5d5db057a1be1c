"""Build the capstone's leaderboard: `make capstone SUBMISSIONS=folder ARGS="--word something"`.

Or `python -m grading.capstone folder --word something`. The word draws the hidden tickets, so choose
one that no learner knows. The results go to the folder's name with .capstone appended:
leaderboard.html and leaderboard.csv. The exit status is about the run, never about the marks: 0, all
were examined; 2, wrong usage; 3, some could not be.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from .. import course
from ..errors import GradingError
from ..files import write_durably
from ..text import clean
from .artefacts import CONFIG, DEFENCE, WEIGHTS, Artefact, find_artefacts
from .leaderboard import Entry, as_csv, as_page

FINAL, USAGE, SOME_MISSING, INTERRUPTED = 0, 2, 3, 130


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    try:
        return build(options)
    except GradingError as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m grading.capstone", description=__doc__.partition("\n")[0]
    )
    made.add_argument("submissions", type=Path, help="a folder with each student's folder or .zip")
    made.add_argument("--word", required=True, help="draws the hidden tickets; keep it to yourself")
    made.add_argument("--results", type=Path, help="default: the folder's name with .capstone")
    return made


def build(options: argparse.Namespace) -> int:
    """Examine every hand-in and write the leaderboard; returns the exit status."""
    entries = []
    for artefact in find_artefacts(options.submissions):
        entry = examined(artefact, options.word)
        entries.append(entry)
        print(f"{entry.student}: {clean(outcome(entry), 500)}", flush=True)
    results = options.results or default_results(options.submissions)
    write_durably(results / "leaderboard.html", as_page(entries))
    write_durably(results / "leaderboard.csv", as_csv(entries))
    print(results / "leaderboard.html")
    return SOME_MISSING if any(entry.report is None for entry in entries) else FINAL


def outcome(entry: Entry) -> str:
    """What came of a hand-in, in a line."""
    if entry.report is None:
        return entry.problem
    return "; ".join([f"{entry.report.gold:.2f} gold points", *entry.report.faults])


def default_results(folder: Path) -> Path:
    return folder.resolve().with_name(f"{folder.resolve().name}.capstone")


def examined(artefact: Artefact, word: str) -> Entry:
    """One hand-in, examined; whatever is wrong with it becomes its problem.

    Raises GradingError where the course's own base cannot be loaded.
    """
    defence = len(artefact.files.get(DEFENCE, b"").decode("utf-8", "replace").split())
    if artefact.problem:
        return Entry(artefact.student, None, artefact.problem, defence)
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG, WEIGHTS):
            Path(folder, name).write_bytes(artefact.files[name])
        report, problem = course.examine_adapter(Path(folder), word)
    return Entry(artefact.student, report, problem.replace(folder, artefact.student), defence)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
