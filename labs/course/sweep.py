"""Sweeps: one run over a grid of settings, made at the full scale once, its rows kept with the
book.

    RATES = Sweep("lora.rates", run=run_rate, grid=[{"rate": 1e-3, "seed": 0}], agree={"loss": 0.1})

is declared in a module of labs/experiments. A lab draws the stored rows and runs a few again:

    stored, live = sweep(lora.RATES, live=[{"rate": 1e-3, "seed": 0}], initialise=initialise)

A row is one flat dict: settings | results | {"seconds": time of the run, "code": digest}. The
digest says which code made the row, or has been shown to make the same one (tools/sweeps.py).
"""

import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType

from . import machine, provenance, store
from .bars import progress
from .bases import SHIPPED, base_of
from .errors import CourseError
from .record import check_name
from .rows import Row, What, value_of
from .session import Lab, current
from .statistics import finite

MUST_AGREE = (
    "device",
    "base",
    "torch",
    "peft",
)  # one file never mixes rows made with different ones
RESERVED = {"seconds", "code"}  # what a row holds beside settings and results

Settings = Mapping[str, object]


@dataclass(frozen=True)
class Sweep:
    """A run over a grid of settings.

    name: lab.what, in lower case
    run: takes settings as keywords and returns a dict of results: finite numbers, strings, bools,
        lists of finite numbers. What a learner writes, it takes as keyword-only parameters whose
        defaults are the references. A function at the top level of a module in labs/experiments
    grid: dicts of settings (finite numbers, strings, bools, None), or a function that returns them,
        where they follow from the rows of another sweep
    agree: how far a repeated run may be from its stored row: {what: tolerance}. `what` is the name
        of a result, of which a list stands for its mean, or a function of the row
    Raises CourseError for a name or tolerances of another form.
    """

    name: str
    run: Callable[..., dict[str, object]]
    grid: Sequence[Settings] | Callable[[], Sequence[Settings]] = field(repr=False)
    agree: Mapping[What, float] = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.name, "sweep", "lora.rates")
        if not self.agree or not all(map(is_tolerance, self.agree, self.agree.values())):
            raise CourseError(
                f"{self.name}: agree is {self.agree!r}: give each result by which a repeated run "
                'is judged a tolerance, as in {"loss": 0.01}.'
            )

    def settings(self) -> dict[str, Settings]:
        """The grid by key, in its order; raises CourseError for a grid of another form."""
        return by_key(self.grid() if callable(self.grid) else self.grid, self.name)

    @property
    def source(self) -> str:
        """The file that holds the run, from labs/ on."""
        return f"labs/{self.run.__module__.replace('.', '/')}.py"


def is_tolerance(what: object, within: object) -> bool:
    named = isinstance(what, str) or callable(what)
    return named and isinstance(within, (int, float)) and 0 <= within < math.inf


@dataclass
class Stored:
    """A sweep with its grid and the file of its rows, both by key."""

    declared: Sweep
    path: Path
    head: dict[str, object]
    rows: dict[str, Row]
    grid: dict[str, Settings]

    @property
    def missing(self) -> list[str]:
        return [key for key in self.grid if key not in self.rows]

    def drawn(self) -> list[Row]:
        """The rows of the whole grid; raises CourseError where some are missing."""
        if self.missing:
            raise CourseError(
                f"{self.declared.name} has no stored row for {len(self.missing)} of its "
                f"{len(self.grid)} settings: run `make sweeps ARGS={self.declared.name}`."
            )
        return [self.rows[key] for key in self.grid]

    def others(self, code: str) -> list[str]:
        """The keys of the rows of the grid that other code made."""
        kept = (key for key in self.grid if key in self.rows)
        return [key for key in kept if self.rows[key].get("code") != code]

    def not_vouched_for(self) -> str:
        """The sentence about rows that other code made than the run is now; "" if there are
        none."""
        if not (others := self.others(provenance.digest(self.declared.run))):
            return ""
        return (
            f"{self.declared.name}: {len(others)} of {len(self.grid)} rows were made by other code "
            f"than {self.declared.source} holds now: "
            f"run make sweeps ARGS='--verify {self.declared.name}'"
        )

    def write(self) -> None:
        store.write_whole(self.path, store.as_table(self.head, self.rows.values()))


def sweep(
    declared: Sweep, live: Sequence[Settings] = (), **own: Callable
) -> tuple[list[Row], list[Row]]:
    """The stored rows of a sweep, and the rows of `live`, a small part of it that is run now.

    live: settings of the grid · own: the learner's functions, for keyword-only parameters of the
    run. At the small scale the stored rows are the book's, and what is run now must agree with
    them. At the full scale each setting without a row is run and the file written again after it,
    so that a sweep that broke off goes on where it stopped; `live` then picks among the rows.
    Returns (stored, live): two lists of rows, in the order of the grid and of `live`.
    Raises CourseError for settings, functions or results of another form, a setting of `live`
    outside the grid, a live run that does not agree, and a file that lacks rows, cannot be read or
    was made on another device, with other versions or, at the full scale, by other code.
    """
    lab = current()
    check_own(declared, own)
    live = by_key(live, declared.name)
    stored = load(declared)
    if outside := live.keys() - stored.grid.keys():
        raise CourseError(
            f"{declared.name}: {min(outside)} is in live and not in the grid: add it to the grid."
        )
    if lab.full:
        for _ in progress(complete(stored, own), label=declared.name, total=len(stored.missing)):
            pass
    rows = stored.drawn()
    fresh = [stored.rows[key] for key in live] if lab.full else run_again(stored, live, own)
    lab.sweeps[declared.name] = {
        "rows": len(rows),
        "live": len(fresh),
        "device": stored.head.get("device", lab.device),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }
    return rows, fresh


def rows_of(declared: Sweep) -> list[Row]:
    """The stored rows of a sweep's whole grid, for a grid that follows from them; raises
    CourseError where some are missing."""
    return load(declared).drawn()


def load(declared: Sweep) -> Stored:
    """The sweep's grid and its file, where this run keeps or finds it."""
    grid = declared.settings()
    path = store.sweep_path(current(), declared.name)
    return Stored(declared, path, *read(path), grid)


def complete(stored: Stored, own: Mapping[str, Callable]) -> Iterator[Row]:
    """Run each setting without a row, write the file after it and give the row.

    Raises CourseError before the first one where new rows would not be comparable with the old.
    """
    declared, lab = stored.declared, current()
    names = sorted(set(stored.head["settings"]).union(*stored.grid.values()))
    stored.head = head_of_run(lab, declared.name, names, stored.head, stored.path)
    code = code_of(declared, own)
    if others := stored.others(code):
        raise CourseError(
            f"{store.shown(stored.path)} holds {len(others)} rows made by other code: vouch for "
            f"them with `make sweeps ARGS='--verify {declared.name}'`, or delete the file to begin "
            "the sweep afresh."
        )
    for key in stored.missing:
        stored.rows[key] = make_row(declared, stored.grid[key], names, code, own)
        stored.write()
        yield stored.rows[key]


def run_again(
    stored: Stored, live: Mapping[str, Settings], own: Mapping[str, Callable]
) -> list[Row]:
    """Run these settings now, and print how they compare with their stored rows.

    Raises CourseError where they do not agree. With another base than the shipped one there is
    nothing that they could agree with.
    """
    declared, names, fresh = stored.declared, stored.head["settings"], {}
    code = code_of(declared, own)
    for key in progress(live, label=declared.name, total=len(live)) if live else ():
        fresh[key] = make_row(declared, live[key], names, code, own)
    if base_of(current().name) != SHIPPED:
        print(f"{declared.name}: the stored rows are of the shipped base; yours are not compared")
        return list(fresh.values())
    found = [gap for key, row in fresh.items() for gap in gaps(stored, key, row)]
    for gap in found:
        print(f"{gap.what} now {gap.now:.4f}, stored {gap.stored:.4f}")
    if any(gap.too_large for gap in found):
        raise CourseError(
            f"{declared.name}: a repeated run is far from its stored row: "
            "run the checks of your functions, or put the ... back"
        )
    return list(fresh.values())


@dataclass(frozen=True)
class Gap:
    """One value of a repeated run beside the stored one; NaN stands for a missing result."""

    settings: Settings
    what: str
    stored: float
    now: float
    within: float

    @property
    def size(self) -> float:
        both_missing = math.isnan(self.stored) and math.isnan(self.now)
        return 0.0 if both_missing else abs(self.now - self.stored)

    @property
    def too_large(self) -> bool:
        return not self.size <= self.within


def gaps(stored: Stored, key: str, now: Row) -> list[Gap]:
    """How a repeated run compares with its stored row, in everything that `agree` names.

    Raises CourseError for what is no number, or is in no row of the sweep.
    """
    declared, found = stored.declared, []
    for what, within in declared.agree.items():
        name = what if isinstance(what, str) else what.__name__.replace("_", " ")
        try:
            values = [number(row, what) for row in (stored.rows[key], now)]
            known = any(not math.isnan(number(row, what)) for row in stored.rows.values())
        except (TypeError, ValueError):
            known = False
        if not known:
            raise CourseError(
                f"{declared.name}: agree names {name}, which is no number in any row: "
                "name a result that is a number or a list of numbers, or a function of a row."
            )
        found.append(Gap(stored.grid[key], name, *values, within))
    return found


def number(row: Row, what: What) -> float:
    """A result as one number: a list's mean; NaN for a result that the row does not hold."""
    try:
        value = value_of(row, what)
    except KeyError:
        return math.nan
    return statistics.fmean(value) if isinstance(value, list) else float(value)


def check_own(declared: Sweep, own: Mapping[str, Callable]) -> None:
    """Raise CourseError for a function that the run has no keyword-only parameter for."""
    parameters = signature(declared.run).parameters.values()
    taken = [each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY]
    for name in own:
        if name not in taken:
            raise CourseError(
                f"{declared.name}: its run takes no function {name!r}: "
                f"it takes {', '.join(taken) or 'none'}."
            )


def code_of(declared: Sweep, own: Mapping[str, Callable]) -> str:
    """The digest of the run; with functions of the learner's, theirs counts as well."""
    defaults = {each.name: each.default for each in signature(declared.run).parameters.values()}
    theirs = [
        function
        for name, function in sorted(own.items())
        if getattr(function, "attempted", function is not defaults[name])
    ]
    return provenance.digest(declared.run, *theirs)


def by_key(many: Iterable[Settings], name: str) -> dict[str, Settings]:
    """The settings by their key; raises CourseError for settings of another form or that come
    twice."""
    found = {}
    for settings in many:
        if not isinstance(settings, dict) or not all(map(is_setting, settings, settings.values())):
            raise CourseError(
                f"{name}: {settings!r} are no settings: give a dict of finite numbers, strings, "
                "bools or None by name, none of them named seconds or code."
            )
        if key_of(settings) in found:
            raise CourseError(f"{name}: {key_of(settings)} comes twice: take one of them out.")
        found[key_of(settings)] = settings
    return found


def is_setting(name: object, value: object) -> bool:
    scalar = (
        isinstance(value, (str, int, NoneType)) or isinstance(value, float) and math.isfinite(value)
    )
    return scalar and isinstance(name, str) and name not in RESERVED


def key_of(settings: Settings) -> str:
    """What two equal settings have in common, whatever the order of their names."""
    return json.dumps(settings, sort_keys=True)


def make_row(
    declared: Sweep,
    settings: Settings,
    names: Sequence[str],
    code: str,
    own: Mapping[str, Callable],
) -> Row:
    """Run one setting and time it; raises CourseError for results that a row cannot hold."""
    began, name = time.perf_counter(), declared.name
    results = declared.run(**settings, **own)
    seconds = round(time.perf_counter() - began, 3)
    if not isinstance(results, dict) or not all(isinstance(key, str) for key in results):
        raise CourseError(f"{name}: the run must return a dict of results by name.")
    if taken := results.keys() & {*names, *RESERVED}:
        raise CourseError(
            f"{name}: {min(taken)} is the name of a setting, of the time or of the code: "
            "rename that result."
        )
    return (
        dict(settings)
        | {key: plain(value, f"{name}, {key}") for key, value in results.items()}
        | {"seconds": seconds, "code": code}
    )


def plain(value: object, name: str) -> object:
    """A result as JSON holds it, so that a stored row and a live one are alike."""
    if isinstance(value, (list, tuple)):
        return [finite(element, name) for element in value]
    return value if isinstance(value, (str, bool)) else finite(value, name)


def head_of_run(
    lab: Lab, name: str, names: list[str], old: dict[str, object], path: Path
) -> dict[str, object]:
    """What stands above the rows; raises CourseError where new rows would not be comparable with
    the old ones."""
    now = {"device": lab.device, "base": base_of(lab.name), **machine.versions()}
    made = {"base": old.get("base", SHIPPED), **old, **old["versions"]} if "versions" in old else {}
    for what in MUST_AGREE:
        if what in made.keys() & now.keys() and made[what] != now[what]:
            raise CourseError(
                f"{store.shown(path)} was made with {what} {made[what]}, not {now[what]}: "
                "delete it to begin the sweep afresh."
            )
    return {
        "sweep": name,
        "lab": lab.name,
        "device": lab.device,
        **({} if base_of(lab.name) == SHIPPED else {"base": base_of(lab.name)}),
        "versions": machine.versions() | old.get("versions", {}),
        "vouched": old.get("vouched", []),
        "settings": names,
    }


def read(path: Path) -> tuple[dict[str, object], dict[str, Row]]:
    """The head of a sweep's file and its rows by key; raises CourseError for a file of another
    form."""
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        rows = {
            key_of({name: row[name] for name in head["settings"] if name in row}): row
            for row in head.pop("rows")
        }
        (
            head["device"],
            dict(head["versions"]),
            sum(row["seconds"] for row in rows.values()),
        )  # all must be there
    except FileNotFoundError:
        return {"settings": []}, {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CourseError(
            f"{store.shown(path)} cannot be read ({type(error).__name__}): restore the file, "
            "or delete it to begin the sweep afresh."
        ) from None
    return head, rows
