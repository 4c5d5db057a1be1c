"""Complete the labs' sweeps, and vouch for stored rows that other code made.

    python tools/sweeps.py [02_lora | lora.rates ...]           run the settings without a row
    python tools/sweeps.py --verify [--rows N] [--seed S] ...   repeat some rows of each sweep
    python tools/sweeps.py --status ...                         name rows that nothing vouches for

--verify runs N random rows of each sweep again. Where all of them agree with what is stored, within
the tolerances that the sweep declares, every row of the sweep is stamped with the digest of the
present code. Where one does not, the differences are listed and the file stays as it is. A sweep
that breaks off keeps the rows it has and goes on from there the next time.
"""

import argparse
import ast
import importlib
import os
import random
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

LABS = Path(__file__).resolve().parents[1] / "labs"
sys.path.insert(0, str(LABS))

from course import CourseError, Sweep, machine, provenance, session  # noqa: E402 (labs/ first)
from course.sweep import Gap, Stored, complete, gaps, load, make_row  # noqa: E402


def find() -> dict[str, list[Sweep]]:
    """All sweeps in labs/experiments, by lab; raises CourseError for a name that comes twice."""
    found, all_of_them = {}, {}
    for path in sorted((session.LABS / "experiments").glob("*.py")):
        module = importlib.import_module(f"experiments.{path.stem}")
        for variable in assigned(path):  # what it imports belongs to another module
            declared = getattr(module, variable, None)
            if not isinstance(declared, Sweep) or declared is all_of_them.get(declared.name):
                continue
            if declared.name in all_of_them:
                raise CourseError(f"{declared.name} is declared twice: rename one of the sweeps.")
            all_of_them[declared.name] = declared
            found.setdefault(lab_of(path.stem), []).append(declared)
    return found


def assigned(path: Path) -> list[str]:
    """The variables that a module assigns, in its order."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = []
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = getattr(statement, "targets", None) or [statement.target]
            found += [target.id for target in targets if isinstance(target, ast.Name)]
    return found


def lab_of(module: str) -> str:
    """The lab whose experiments a module holds: 02_lora for lora, and for lora_large beside it."""
    labs = {path.stem for path in session.LABS.glob("[0-9][0-9]_*.*")}
    return min((lab for lab in labs if f"{module}_".startswith(f"{lab[3:]}_")), default=module)


def choose(names: Sequence[str]) -> dict[str, list[Sweep]]:
    """The sweeps of the labs, and of the names, that were asked for; all without any name.

    Raises CourseError for a name that is neither.
    """
    found = find()
    known = [*found, *(each.name for many in found.values() for each in many)]
    for name in names:
        if name not in known:
            raise CourseError(
                f"There is no sweep {name!r}; these are the labs and their sweeps: "
                f"{', '.join(known) or 'none yet'}."
            )
    return {
        lab: [each for each in many if not names or lab in names or each.name in names]
        for lab, many in found.items()
    }


def say(text: str) -> None:
    print(text, flush=True)


def run(stored: Stored, options: argparse.Namespace) -> bool:
    """Run the settings without a row; says how far it has come after each."""
    name, missing = stored.declared.name, len(stored.missing)
    for number, row in enumerate(complete(stored, {}), start=1):
        say(f"{name}: row {number} of {missing} took {row['seconds']:.1f} s")
    seconds = sum(stored.rows[key]["seconds"] for key in stored.grid)
    say(f"{name} has {len(stored.grid)} rows, which took {seconds:.0f} s")
    return True


def verify(stored: Stored, options: argparse.Namespace) -> bool:
    """Repeat some rows; stamp all rows if those agree, else list what does not."""
    name, keys = stored.declared.name, sample(stored, options)
    code = provenance.digest(stored.declared.run)
    found = []
    for number, key in enumerate(keys, start=1):
        row = make_row(stored.declared, stored.grid[key], stored.head["settings"], code, {})
        found += gaps(stored, key, row)
        say(f"{name}: repeated row {number} of {len(keys)} in {row['seconds']:.1f} s, {key}")
    if moved := [gap for gap in found if gap.too_large]:
        for gap in moved:
            say(f"{name}: {line_about(gap)}")
        say(f"{name}: its rows do not follow from the code: nothing was changed")
        return False
    stamp(stored, code, options.seed, len(keys), found)
    say(
        f"{name}: {len(keys)} of {len(stored.rows)} rows repeated and all agree: "
        f"{', '.join(f'{what} within {size:.3g}' for what, size in largest(found).items())}"
    )
    return True


def sample(stored: Stored, options: argparse.Namespace) -> list[str]:
    """The keys of the stored rows to repeat, drawn for each sweep by itself from one seed.

    Raises CourseError where no row is stored.
    """
    keys = [key for key in stored.grid if key in stored.rows]
    if not keys:
        stored.drawn()  # says what is missing
    rng = random.Random(f"{options.seed} {stored.declared.name}")
    return rng.sample(keys, min(options.rows, len(keys)))


def stamp(stored: Stored, code: str, seed: int, repeated: int, found: Sequence[Gap]) -> None:
    """Give all rows the present code, and write down in the file's head what vouches for it."""
    rows = [stored.rows[key] for key in stored.grid if key in stored.rows]
    before = sorted({row["code"] for row in rows if "code" in row})
    for row in rows:
        row["code"] = code
    record = {
        "code": code,
        "before": before,
        "repeated": repeated,
        "of": len(rows),
        "largest": largest(found),
        "seed": seed,
        "versions": machine.versions(),
    }
    stored.head["vouched"] = [*stored.head.get("vouched", []), record]
    stored.write()


def largest(found: Sequence[Gap]) -> dict[str, float]:
    """The largest difference of each result."""
    sizes = {}
    for gap in found:
        sizes[gap.what] = max(gap.size, sizes.get(gap.what, 0.0))
    return sizes


def line_about(gap: Gap) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in gap.settings.items())
    return (
        f"{settings}: {gap.what} stored {gap.stored:.6g}, now {gap.now:.6g}, "
        f"tolerance {gap.within:g}"
    )


def status(stored: Stored, options: argparse.Namespace) -> bool:
    """Name what is missing and what other code made; whether there is nothing of either."""
    name, code = stored.declared.name, provenance.digest(stored.declared.run)
    for key in stored.missing:
        say(f"{name}: no row for {key}")
    for key in stored.others(code):
        say(f"{name}: made by {stored.rows[key].get('code', 'unknown code')}: {key}")
    sentence = stored.not_vouched_for()
    if sentence or not stored.missing:
        say(sentence or f"{name}: all {len(stored.grid)} rows are vouched for")
    return not (sentence or stored.missing)


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one row must be repeated")
    return number


def options_from(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make sweeps", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a lab or a sweep; all without")
    task = parser.add_mutually_exclusive_group()
    for name, function in (("--verify", verify), ("--status", status)):
        task.add_argument(
            name, dest="task", action="store_const", const=function, help=function.__doc__
        )
    parser.add_argument("--rows", type=at_least_one, default=1, help="rows to repeat of each sweep")
    parser.add_argument("--seed", type=int, help="of the choice of rows; drawn and printed without")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = secrets.randbelow(10**6)
    return options


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 when all went well for every sweep."""
    options = options_from(arguments)
    task = options.task or run
    os.environ.setdefault("COURSE_SWEEPS", "book")
    if task is verify:
        say(f"seed {options.seed}")
    try:
        chosen = choose(options.names)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    good = [attempt(task, lab, each, options) for lab, many in chosen.items() for each in many]
    if not good:
        say("labs/experiments declares no sweep")
    return 0 if all(good) else 1


def attempt(task, lab: str, declared: Sweep, options: argparse.Namespace) -> bool:
    """One task for one sweep; an error becomes a sentence, so that the other sweeps have their
    turn."""
    session.outside(lab)
    try:
        return task(load(declared), options)
    except CourseError as error:
        print(error, file=sys.stderr)
    except Exception as error:  # a run may raise anything
        print(f"{declared.name} raised {type(error).__name__}: {error}", file=sys.stderr)
    return False


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Stopped. The rows that were finished are stored; run it again to go on.")
