"""Where results live, how they are written, and how yours compare with the book's."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import session
from .errors import CourseError
from .session import Lab

Record = dict[str, object]


def book_folder(device: str) -> Path:
    """The folder of the results that the pages show, for runs on `device`."""
    results = session.LABS / "results"
    return results / "gpu" if device == "cuda" else results


def result_path(lab: Lab) -> Path:
    """The file of this run: COURSE_RESULTS names "book" or a folder; without it, results/local."""
    return folder_of_run(lab, "COURSE_RESULTS") / f"{lab.name}.json"


def sweep_path(lab: Lab, name: str) -> Path:
    """The file of a sweep: at the full scale the run's own, where COURSE_SWEEPS goes before
    COURSE_RESULTS; at the small scale the book's, and on a GPU the one made on a GPU if there is
    one."""
    file = Path("sweeps", f"{name}.json")
    if lab.full:
        return folder_of_run(lab, "COURSE_SWEEPS", "COURSE_RESULTS") / file
    path = book_folder(lab.device) / file
    return path if path.exists() else book_folder("cpu") / file


def folder_of_run(lab: Lab, *settings: str) -> Path:
    """The folder that the first of these environment variables names, if any is set."""
    where = next(filter(None, map(os.environ.get, settings)), session.LABS / "results" / "local")
    return book_folder(lab.device) if where == "book" else Path(where).expanduser()


def as_json(record: Record) -> str:
    """The text of a result file."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_table(head: Record, rows: Iterable[Record]) -> str:
    """The text of a sweep's file: one row on a line, so that a changed row is one changed line."""
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    return as_json(head).removesuffix("\n}\n") + f',\n "rows": [\n{lines}\n ]\n}}\n'


def write_whole(path: Path, text: str) -> None:
    """Put `text` into the file `path` by renaming: the old file is there or the new one, never half
    of it.

    Raises CourseError when the folder cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp keeps its files private
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise CourseError(
            f"{shown(path)} could not be written ({error.strerror}): set COURSE_RESULTS to "
            "a folder you can write to and run this cell again; nothing is lost."
        ) from None


def shown(path: Path) -> str:
    """The path as a reader knows it: from labs/ on where it lies inside."""
    path = path.absolute()
    return (
        path.relative_to(session.LABS).as_posix()
        if path.is_relative_to(session.LABS)
        else str(path)
    )


def comparison(record: Record) -> str:
    """A table "yours / the book's" of all measures, or no text where the book has no result for
    this lab."""
    path = book_folder(record["device"]) / f"{record['lab']}.json"
    if not path.exists():
        return ""
    mine, book = flat(record), flat(json.loads(path.read_text(encoding="utf-8")))
    width = max(map(len, mine))
    lines = [f"{'':{width}}  {'yours':>12}  {'the book':>12}"]
    for name, (value, unit) in mine.items():
        theirs = f"{book[name][0]:12,.4g}" if name in book else f"{'-':>12}"
        lines.append(f"{name:{width}}  {value:12,.4g}  {theirs}  {unit}")
    return "\n".join(lines) + "\n"


def flat(record: Record) -> dict[str, tuple[float, str]]:
    """Every measure of a result with its unit, then the run's time and memory."""
    values = {name: (entry["value"], entry["unit"]) for name, entry in record["measures"].items()}
    return values | {
        "run time": (record["seconds"], "s"),
        "peak memory": (record["peak_mib"], "MiB"),
    }
