"""How long grading takes: 300 synthetic submissions, and nbgrader on the same honest notebooks.

    python tools/bench_grading.py               everything, about twenty minutes on two cores
    python tools/bench_grading.py --nbgrader    only the comparison with nbgrader

Writes labs/results/grading.json, which the page for instructors shows. The first run makes an
environment with nbgrader, .nbgrader/, which takes a minute.
"""

import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "labs"), str(ROOT / "tests" / "grading")]

from course.machine import versions  # noqa: E402  (the folders must be on the path first)
from made import EXERCISE, published, solutions, submission  # noqa: E402

from grading.course import notebooks  # noqa: E402
from grading.files import write_durably  # noqa: E402
from grading.records import store  # noqa: E402
from grading.records.record import Record, Result, Status, without_timing  # noqa: E402

NUMBER, HONEST, ROUNDS, KILLS = 300, 40, 2, 3
LABS = tuple(notebooks())
NBGRADER = ROOT / ".nbgrader"
PIN = "nbgrader==0.9.6"
FILE = ROOT / "labs" / "results" / "grading.json"

# What a body does instead of its task, and what is in a cell that was added.
BODIES = [
    "while True:\n        pass",
    "import os; os._exit(0)",
    "import ctypes; ctypes.string_at(0)",
    "raise SystemExit",
    "return 0",
    "return None",
    "import torch; return torch.empty(10**11).fill_(1)",
    "return [" * 50 + "]" * 50,
    "print('x' * 10**8)",
    "import socket; socket.create_connection(('127.0.0.1', 9))",
    "return float('nan')",
    "import os; os.kill(os.getppid(), 9)",
    "open('/tmp/mine', 'w').write('x')",
    "import subprocess; subprocess.run('ls')",
]
CELLS = [
    "import os\nos._exit(0)",
    "raise KeyboardInterrupt",
    "x = (",
    "%matplotlib inline",
    "x = 1 +",
    "while True: pass",
    "import time\nwhile True: time.sleep(1)",
    "import torch\ntorch.allclose = lambda *a, **k: True",
    "import nowhere",
    "def helper(x):\n    return x",
]


def spoilt(text: str, body: str) -> str:
    """The text of an exercise's cell with another body."""
    lines = text.split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("def "))
    return "\n".join(
        [
            *lines[: start + 1],
            *(
                f"    {line.strip() if not number else line}"
                for number, line in enumerate(body.split("\n"))
            ),
        ]
    )


def make_submissions(folder: Path, number: int) -> list[str]:
    """Write submissions, the same ones at every call: most are solved, the others have one fault.

    Returns the files of those whose answers are all right, whatever else is in them.
    """
    rng, right = random.Random(0), []
    for student in range(number):
        lab, kind = LABS[student % len(LABS)], rng.random()
        answers = solutions(lab) if kind > 0.125 else {}
        after = [f"learner = {student}"]
        if kind > 0.85:
            id = rng.choice(list(answers))
            answers[id] = spoilt(answers[id], BODIES[student % len(BODIES)])
        elif kind > 0.7:
            after.append(CELLS[student % len(CELLS)])
        elif kind > 0.625:
            answers.pop(rng.choice(list(answers)))
        broken = student % 60 == 59
        if answers == solutions(lab) and not broken:
            right.append(f"learner{student:03d}/{lab}.ipynb")
        text = "no notebook" if broken else submission(lab, answers, after=after)
        place = folder / f"learner{student:03d}" / f"{lab}.ipynb"
        place.parent.mkdir(parents=True)
        place.write_text(text)
    return right


def grade_command(folder: Path, results: Path, workers: int, secret: Path) -> list[str]:
    return [
        sys.executable,
        "-E",
        "-m",
        "grading",
        str(folder),
        "--results",
        str(results),
        "--workers",
        str(workers),
        "--seed-secret",
        str(secret),
    ]


def timed_run(command: list[str]) -> tuple[float, float]:
    """Seconds that a run takes, and the peak memory of all its processes in MiB.

    Memory that processes share is counted once.
    """
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(1)
    if process.returncode not in (0, 3):
        sys.exit(f"the run ended with status {process.returncode}: {' '.join(command)}")
    return time.perf_counter() - began, peak


def memory(pid: int) -> float:
    total = 0
    try:
        for process in (parent := psutil.Process(pid), *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total / 2**20


def killed_run(command: list[str], results: Path) -> int:
    """Kill a run after a quarter, a half and three quarters of the records, then let it end.

    Returns how often it was killed.
    """
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while len(list((results / "records").glob("*.json"))) < NUMBER * (kills + 1) // (KILLS + 1):
            if process.poll() is not None:
                sys.exit(
                    f"the run ended with status {process.returncode} before it could be killed"
                )
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return kills


def marks(results: Path) -> dict[str, Record]:
    return {record.file: without_timing(record) for record in store.read_all(results)}


def whole_folder(scratch: Path) -> dict:
    """The measures of 300 submissions, with two workers, and with one that is killed on the way."""
    secret, folder = scratch / "secret", scratch / "submissions"
    secret.write_text("the secret of the benchmark")
    right = make_submissions(folder, NUMBER)
    seconds, peak = timed_run(grade_command(folder, scratch / "two", 2, secret))
    print(f"{NUMBER} submissions in {seconds:.0f} s with two workers, {peak:.0f} MiB", flush=True)
    kills = killed_run(grade_command(folder, scratch / "one", 1, secret), scratch / "one")
    two, one = marks(scratch / "two"), marks(scratch / "one")
    differing = [file for file in two.keys() | one.keys() if two.get(file) != one.get(file)]
    print(
        f"after {kills} kills {len(one)} records, {len(differing)} of them different from those "
        f"with two workers: {differing[:5]}",
        flush=True,
    )
    whole = store.read_all(scratch / "two")
    full = [record.file for record in whole if record.earned == record.points > 0]
    if sorted(full) != right:
        sys.exit(f"full marks and right answers differ for {sorted({*full} ^ {*right})}")
    return {
        "grading.submissions": (NUMBER, "submissions"),
        "grading.minutes": (seconds / 60, "minutes"),
        "grading.seconds": (
            statistics.median(record.run.seconds for record in whole),
            "seconds a submission",
        ),
        "grading.waited_for": (sum(map(hangs, whole)), "submissions"),
        "grading.peak_mib": (peak, "MiB, all processes"),
        "grading.kills": (kills, "kills"),
        "grading.records_after_kills": (len(one), "records"),
        "grading.differing": (len(differing), "records"),
        "grading.full_marks": (len(full), "submissions"),
        "grading.needs_review": (
            sum(record.status is Status.NEEDS_REVIEW for record in whole),
            "submissions",
        ),
    }


def hangs(record: Record) -> bool:
    """Whether code of the submission had to be ended because it took too long."""
    return any(check.result is Result.TIMEOUT for _, check in record.checks()) or any(
        re.search(r"left out: it .* \d+ s$", note) for note in record.notes
    )


# nbgrader -----------------------------------------------------------------------------------------


def make_nbgrader() -> Path:
    """The nbgrader program, in an environment that finds the book's packages as well."""
    program = NBGRADER / "bin" / "nbgrader"
    if not program.exists():
        print("Making .nbgrader/: this takes a minute, once.", flush=True)
        venv.create(NBGRADER, with_pip=True)
        subprocess.run(
            [str(NBGRADER / "bin" / "pip"), "install", "-q", PIN],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        site = next((NBGRADER / "lib").glob("python*")) / "site-packages"
        own = next(Path(sys.prefix, "lib").glob("python*")) / "site-packages"
        (site / "book.pth").write_text(f"{own}\n")
    return program


def as_assignment(lab: str, answers: dict[str, str]) -> str:
    """The lab's exercises alone, each an answer and a test cell for nbgrader, without training."""
    first = (
        f"import sys\nsys.path.insert(0, {str(ROOT / 'labs')!r})\n"
        "import torch\nfrom course import exercise, find, run_checks"
    )
    cells = [
        v4.new_code_cell(
            first,
            metadata={"nbgrader": nbgrader_data("first", grade=False, solution=False, locked=True)},
        )
    ]
    for cell in published(lab).cells:
        if cell.cell_type == "code" and (ids := EXERCISE.findall(cell.source)):
            text, name = answers[ids[0]], ids[0].replace(".", "_")
            function = next(line for line in text.split("\n") if line.startswith("def ")).split(
                "("
            )[0][4:]
            test = (
                f"for result in run_checks(find({ids[0]!r}), {function}, 0):\n"
                "    assert not result.mistake, result.mistake"
            )
            graded = nbgrader_data(f"test_{name}", grade=True, solution=False, locked=True) | {
                "points": 4
            }
            cells.append(
                v4.new_code_cell(
                    text, metadata={"nbgrader": nbgrader_data(name, grade=False, solution=True)}
                )
            )
            cells.append(v4.new_code_cell(test, metadata={"nbgrader": graded}))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(v4.new_notebook(cells=cells, metadata=kernel))


def nbgrader_data(id: str, grade: bool, solution: bool, locked: bool = False) -> dict:
    return {
        "grade_id": id,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "schema_version": 3,
        "task": False,
        "cell_type": "code",
    }


def against_nbgrader(scratch: Path) -> dict:
    """How many times longer nbgrader takes for the same honest answers.

    Both take turns on two cores, their start included. nbgrader grades one notebook after the
    other: it has no way to use the second core.
    """
    program, lab = make_nbgrader(), LABS[0]
    course, honest, secret = scratch / "course", scratch / "honest", scratch / "secret"
    secret.write_text("the secret of the benchmark")
    notebook = as_assignment(lab, solutions(lab))
    for place in [
        course / "source" / lab,
        *(course / "submitted" / f"s{n:02d}" / lab for n in range(HONEST)),
    ]:
        place.mkdir(parents=True)
        (place / f"{lab}.ipynb").write_text(notebook)
    for n in range(HONEST):
        (honest / f"s{n:02d}").mkdir(parents=True)
        (honest / f"s{n:02d}" / f"{lab}.ipynb").write_text(
            submission(lab, "solved", after=[f"learner = {n}"])
        )
    run_nbgrader(program, course, "generate_assignment", lab, "--create")
    ratios, theirs = [], []
    for number in range(ROUNDS):
        began = time.perf_counter()
        run_nbgrader(program, course, "autograde", lab, "--create", "--force")
        theirs.append(time.perf_counter() - began)
        ours, _ = timed_run(grade_command(honest, scratch / f"honest{number}", 2, secret))
        ratios.append(theirs[-1] / ours)
        print(
            f"round {number + 1}: nbgrader {theirs[-1]:.0f} s, here {ours:.0f} s, "
            f"{ratios[-1]:.1f} times",
            flush=True,
        )
    earned = {record.earned for record in store.read_all(scratch / "honest0")}
    if earned != {21}:
        sys.exit(f"an honest submission does not have full marks: {earned}")
    return {
        "grading.nbgrader_ratio": (
            statistics.median(ratios),
            f"times, {HONEST} honest notebooks, start included",
        ),
        "grading.nbgrader_seconds": (statistics.median(theirs) / HONEST, "seconds a notebook"),
    }


def run_nbgrader(program: Path, course: Path, *words: str) -> None:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
    }
    ended = subprocess.run(
        [str(program), *words, "--course", str(course), f"--CourseDirectory.root={course}"],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        sys.exit(
            f"nbgrader {words[0]} ended with status {ended.returncode}:\n{ended.stderr[-2000:]}"
        )


def main(words: list[str]) -> None:
    began, measures = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as scratch:
        if "--nbgrader" not in words:
            measures |= whole_folder(Path(scratch))
        measures |= against_nbgrader(Path(scratch))
    for name, (value, unit) in measures.items():
        print(f"{name:32}{value:10,.1f}  {unit}")
    if "--nbgrader" not in words:
        record = {
            "lab": "grading",
            "device": "cpu",
            "scale": "small",
            "versions": versions(),
            "seconds": round(time.perf_counter() - began, 1),
            "peak_mib": round(measures["grading.peak_mib"][0]),
            "claims": {},
            "measures": {
                name: {"value": value, "unit": unit, "interval": None, "seeds": None}
                for name, (value, unit) in measures.items()
            },
        }
        write_durably(FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
