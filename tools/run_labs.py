"""Run labs afresh and store what they print, draw and measure.

    python tools/run_labs.py [01_sft ...]        all labs, or those named
    python tools/run_labs.py --sweeps            only complete the sweeps, at the full scale
    python tools/run_labs.py --check-solutions   only say whether the solution texts are current

A lab that raises, writes to stderr or shows a path of this machine leaves its stored notebook and
results as they were. A sweep that breaks off keeps the rows it has and goes on from there the next
time.
"""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

LABS = Path(__file__).resolve().parents[1] / "labs"
sys.path.insert(0, str(LABS))

import course  # noqa: E402 (labs/ must be on the path first)
from course import CourseError, find  # noqa: E402
from course.store import book_folder, write_whole  # noqa: E402

TIMEOUT = 1800  # seconds for one cell; none where sweeps are completed
WIDGET = "application/vnd.jupyter.widget-view+json"
EXERCISE = re.compile(r'^(@exercise\("([^"]+)".*\)\n)def (\w+)', re.MULTILINE)
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


class LabError(Exception):
    """A lab that cannot be stored; the message says which cell and why."""


def lab_paths(names):
    """The notebooks of the labs named, or of all labs."""
    labs = {path.stem: path for path in sorted(LABS.glob("[0-9][0-9]_*.ipynb"))}
    names = [Path(name).stem for name in names] or list(labs)
    for name in names:
        if name not in labs:
            raise LabError(
                f"There is no lab {name!r}; these are the labs: {', '.join(labs) or 'none yet'}."
            )
    if not names:
        raise LabError("labs/ holds no notebook named like 01_sft.ipynb.")
    return [labs[name] for name in names]


def solution(id, heads):
    """The Markdown of a solution cell: what can stand in the exercise's cell, folded away.

    heads: of the notebook's exercises by id: the first line, "@exercise(…)", the function's name
    """
    reference = find(id).reference
    head, name = heads.get(id, ("", reference.__name__))
    source = re.sub(r"\Adef \w+", f"def {name}", inspect.getsource(reference).rstrip())
    written = {name: find(other).reference for other, (_, name) in heads.items()}
    code = f"{imports_of(reference, written)}{head}{source}"
    return f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>"


def imports_of(function, written):
    """The import lines that a function needs in a notebook, each name from where it is defined.

    written: the notebook's own exercises, references by name; they are not imported, because the
    reader has written them
    """
    module, local = inspect.getmodule(function), inspect.unwrap(function).__code__.co_varnames
    tree = ast.parse(inspect.getsource(function))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known, bound = vars(module), bindings(module)
    plain, listed = set(), defaultdict(set)
    for name in names.intersection(known).difference(local):
        if inspect.isfunction(known[name]) and known[name] is written.get(name):
            continue
        source, text, whole = bound.get(name, (module.__name__, name, False))
        if whole:
            plain.add((source, f"import {text}"))
        else:
            listed[source].add(text)
    lines = sorted(plain) + [
        (source, f"from {source} import {', '.join(sorted(texts, key=rank_of_name))}")
        for source, texts in sorted(listed.items())
    ]
    groups = ([line for source, line in lines if kind_of(source) == kind] for kind in range(3))
    blocks = ["\n".join(group) for group in groups if group]
    return "\n\n".join(blocks) + "\n\n\n" if blocks else ""


def bindings(module):
    """What a module's import statements bind: name → (source, what is written, whole module)."""
    names = {}
    for node in ast.parse(inspect.getsource(module)).body:
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            whole = isinstance(node, ast.Import)
            name = alias.asname or (alias.name.partition(".")[0] if whole else alias.name)
            source = alias.name if whole else node.module
            names[name] = source, ast.unparse(alias), whole
    return names


def kind_of(module):
    """0 for the standard library, 1 for an installed library, 2 for the course's own packages."""
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return 0
    return 2 if Path(course.__file__).parents[1].joinpath(package).is_dir() else 1


def rank_of_name(name):
    """Constants, classes, others, each by the alphabet: the order in which ruff sorts names."""
    constant = name.isupper() and len(name) > 1
    return 0 if constant else 1 if name[0].isupper() else 2, name


def refresh_solutions(notebook):
    """Write the current solutions into the cells that carry an exercise id; returns the ids that
    changed."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    heads = {id: (head, name) for head, id, name in EXERCISE.findall(code)}
    changed = []
    for cell in notebook.cells:
        id = cell.metadata.get("solution")
        if id and cell.source != (current := solution(id, heads)):
            cell.source = current
            changed.append(id)
    return changed


def execute(notebook, path, timeout, **settings):
    """Run all cells where the lab at `path` lies; returns the text of its result file, which is not
    stored yet.

    timeout: seconds for one cell, or None · settings: further environment variables of the run
    """
    with tempfile.TemporaryDirectory() as results:
        environment = {
            "COURSE_STORED": "1",
            "COURSE_RESULTS": results,
            "COURSE_SWEEPS": "book",
            "PYTHONHASHSEED": "0",
            **settings,
        }
        run_cells(notebook, path.parent, timeout, os.environ | environment)
        file = Path(results, f"{path.stem}.json")
        if not file.exists():
            raise LabError("the lab recorded no results: its last cell must call finish()")
        return file.read_text(encoding="utf-8")


def run_cells(notebook, folder, timeout, environment):
    """Run all cells in `folder`; raises LabError naming the cell that did not run through."""
    begun = [0]
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: begun.append(cell_index),
    )
    try:
        client.execute(env=environment, stderr=subprocess.DEVNULL)
    except CellExecutionError as error:
        told = f"raised {error.ename}: {error.evalue[:500]}"
    except (DeadKernelError, CellTimeoutError) as error:
        told = f"did not end: {str(error).splitlines()[0]}"
    else:
        return
    raise LabError(f"{name_cell(notebook, begun[-1])} {told}")


def name_cell(notebook, number):
    """A cell by its place among all cells, as a reader counts them, and its first line."""
    first = notebook.cells[number].source.partition("\n")[0]
    return f"cell {number + 1} ({first[:60]})"


def tidy(notebook, stem):
    """Leave nothing that differs from run to run: ids, metadata, widgets, addresses, chunks of
    streams."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{stem}-{number:03d}"
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = merge_streams(cell.outputs)
            for output in cell.outputs:
                strip(output)


def merge_streams(outputs):
    """Join neighbouring pieces of one stream, which arrive split by time."""
    merged = []
    for output in outputs:
        last = merged[-1] if merged else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def strip(output):
    """Take the widgets and the memory addresses out of one output."""
    if "text" in output:
        output.text = ADDRESS.sub("", output.text)
    data = output.get("data", {})
    data.pop(WIDGET, None)
    for mime in ("text/plain", "text/html"):
        if mime in data:
            data[mime] = ADDRESS.sub("", data[mime])


def refuse_noise(notebook):
    """Raise LabError for a cell that wrote to stderr or shows where this machine keeps the book."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise LabError(
                    f"{name_cell(notebook, number)} wrote to stderr: {output.text.strip()[:300]}"
                )
            for place in {str(LABS.parent), str(Path.home())} - {"/"}:
                if place in json.dumps(output):
                    raise LabError(
                        f"{name_cell(notebook, number)} shows a path of this machine: {place}"
                    )


def run(path):
    """Run one lab and replace its stored notebook and results; returns one line about it."""
    began = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    refresh_solutions(notebook)
    text = execute(notebook, path, TIMEOUT)
    tidy(notebook, path.stem)
    refuse_noise(notebook)
    record = json.loads(text)
    write_whole(book_folder(record["device"]) / f"{path.stem}.json", text)
    write_whole(path, nbformat.writes(notebook).rstrip("\n") + "\n")
    seconds, size = time.perf_counter() - began, path.stat().st_size / 1024
    held = len(record["claims"])
    return f"{path.stem}: stored after {seconds:.0f} s, {size:.0f} KiB, {held} claims held"


def run_sweeps(path):
    """Run one lab at the full scale and keep the rows of its sweeps only; returns one line about
    them."""
    notebook = nbformat.read(path, as_version=4)
    if not any(
        re.search(r"\bsweep\(", cell.source) for cell in notebook.cells if cell.cell_type == "code"
    ):
        return f"{path.stem}: has no sweep"
    record = json.loads(execute(notebook, path, timeout=None, COURSE_SCALE="full"))
    told = [
        f"{name} has {made['rows']} rows, which took {made['seconds']:.0f} s"
        for name, made in record.get("sweeps", {}).items()
    ]
    return f"{path.stem}: {'; '.join(told) or 'has no sweep'}"


def stale_solutions(path):
    """The ids whose solution text in the stored notebook is not the reference's source."""
    return refresh_solutions(nbformat.read(path, as_version=4))


def check_solutions(path):
    """Returns one line where every solution is current; raises LabError where one is not."""
    if stale := stale_solutions(path):
        raise LabError(
            f"the solution of {', '.join(stale)} is not the reference's source: run make labs"
        )
    return f"{path.stem}: the solutions are current"


TASKS = {"--sweeps": run_sweeps, "--check-solutions": check_solutions}


def main(arguments):
    """Returns the exit status: 0 when the task succeeded for every lab."""
    task = next((TASKS[argument] for argument in arguments if argument in TASKS), run)
    status = 0
    try:
        paths = lab_paths([name for name in arguments if name not in TASKS])
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        try:
            print(task(path), flush=True)
        except (LabError, CourseError) as error:
            print(f"{path.stem}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
