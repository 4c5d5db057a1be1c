"""Make the labs' notebooks, run them and store what they print, draw and measure.

    python tools/run_labs.py [01_sft ...]            all labs, or those named
    python tools/run_labs.py --check [01_sft ...]    only say whether the stored notebooks have the
                                                     cells that their sources make

A lab that raises, writes to stderr or shows a path of this machine leaves its stored notebook and
results as they were. So does one whose stored notebook has a cell that was written there by hand,
unless --force is given as well. tools/sweeps.py completes the sweeps that labs draw.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "labs"))

import lab_sources  # noqa: E402 (labs/ must be on the path first)
from course import CourseError, cells  # noqa: E402
from course.store import as_json, book_folder, write_whole  # noqa: E402
from lab_sources import LabError, build, difference, lab_paths, name_cell, refuse_loss  # noqa: E402

TIMEOUT = 1800  # seconds for one cell
WIDGET = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


def execute(notebook, path):
    """Run all cells where the lab at `path` lies; returns its record, which is not stored yet."""
    with tempfile.TemporaryDirectory() as results:
        environment = {
            "COURSE_STORED": "1",
            "COURSE_RESULTS": results,
            "COURSE_SWEEPS": "book",
            "PYTHONHASHSEED": "0",
        }
        run_cells(notebook, path.parent, os.environ | environment)
        file = Path(results, f"{path.stem}.json")
        if not file.exists():
            raise LabError(
                f"the lab recorded no results of its own: its first code cell must call "
                f'start("{path.stem}"), its last one finish()'
            )
        return json.loads(file.read_text(encoding="utf-8"))


def run_cells(notebook, folder, environment):
    """Run all cells in `folder`; raises LabError naming the cell that did not run through."""
    begun = [0]
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: begun.append(cell_index),
    )
    try:
        client.execute(env=environment, stderr=subprocess.DEVNULL)
    except CellExecutionError as error:
        message = f"raised {error.ename}: {error.evalue[:500]}"
    except (DeadKernelError, CellTimeoutError) as error:
        message = f"did not end: {str(error).splitlines()[0]}"
    else:
        return
    raise LabError(f"{name_cell(notebook.cells, begun[-1])} {message}")


def tidy(notebook):
    """Leave nothing that differs from run to run: metadata, widgets, addresses, chunks of
    streams."""
    notebook.metadata = nbformat.from_dict(lab_sources.METADATA)
    for cell in notebook.cells:
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
                text = output.text.strip()[:300]
                raise LabError(f"{name_cell(notebook.cells, number)} wrote to stderr: {text}")
            for place in {str(lab_sources.LABS.parent), str(Path.home())} - {"/"}:
                if place in json.dumps(output):
                    raise LabError(
                        f"{name_cell(notebook.cells, number)} shows a path of this machine: {place}"
                    )


def run(source, force=False):
    """Run one lab and replace its stored notebook and results; returns one line about it.

    force: also where the stored notebook has a cell that was written there by hand
    """
    began = time.perf_counter()
    notebook, path = build(source), source.with_suffix(".ipynb")
    if not force:
        refuse_loss(source, notebook)
    record = execute(notebook, source)
    tidy(notebook)
    refuse_noise(notebook)
    if not force:
        refuse_loss(source, notebook)  # once more, for the notebook may have been open meanwhile
    record = cells.stamp(record, notebook)
    write_whole(book_folder(record["device"]) / f"{path.stem}.json", as_json(record))
    write_whole(path, nbformat.writes(notebook).rstrip("\n") + "\n")
    seconds, size = time.perf_counter() - began, path.stat().st_size / 1024
    return (
        f"{path.stem}: stored after {seconds:.0f} s, {size:.0f} KiB, "
        f"{len(record['claims'])} bounds met"
    )


def run_by_force(source):
    return run(source, force=True)


def check(source):
    """Returns one line where the stored notebook is what its source makes; raises LabError where it
    is not."""
    if message := difference(source, build(source)):
        raise LabError(message)
    return f"{source.stem}: the notebook has the cells that its source makes"


TASKS = {"--check": check, "--force": run_by_force}


def main(arguments):
    """Returns the exit status: 0 when the task succeeded for every lab."""
    task = next((TASKS[argument] for argument in arguments if argument in TASKS), run)
    status = 0
    try:
        sources = lab_paths([name for name in arguments if name not in TASKS])
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    for source in sources:
        try:
            print(task(source), flush=True)
        except (LabError, CourseError) as error:
            print(f"{source.stem}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
