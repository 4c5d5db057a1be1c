"""Sweeps: one run over a grid of settings, made at the full scale once, its rows kept with the
book."""

import json
import math
import time
from types import NoneType

from . import machine, store
from .bars import progress
from .errors import CourseError
from .record import check_name, finite
from .session import current

MUST_AGREE = ("device", "torch", "peft")  # one file never mixes rows made with different ones


def sweep(name, run, grid, live=()):
    """The stored rows of `run` over `grid`, and the rows of `live`, a small part of it that is run
    now.

    name: lab.what, in lower case · run: takes settings as keywords, returns a dict of results:
    finite numbers, strings, bools, lists of finite numbers · grid: dicts of settings: finite
    numbers, strings, bools, None · live: settings of the grid A row is one flat dict: settings |
    results | {"seconds": time of the run}. At the small scale the stored rows are the book's. At
    the full scale each setting without a row is run and the file written again after it, so that a
    sweep that broke off goes on where it stopped; `live` then picks among the rows. Returns
    (stored, live): two lists of rows, in the order of `grid` and of `live`. Raises CourseError for
    a name, settings or results of another form, a setting of `live` outside the grid, and a file
    that lacks rows, cannot be read or was made on another device or with other versions.
    """
    lab = current()
    check_name(name, "sweep", "lora.rates")
    grid, live = by_key(grid, name), by_key(live, name)
    if outside := live.keys() - grid.keys():
        raise CourseError(
            f"{name}: {min(outside)} is in live and not in the grid: add it to the grid."
        )
    path = store.sweep_path(lab, name)
    head, rows = read(path)
    names = sorted(set(head["settings"]).union(*grid.values()))
    missing = [key for key in grid if key not in rows]
    if lab.full:
        head = head_of_run(lab, name, names, head, path)
        for key in progress(missing, label=name):
            rows[key] = make_row(run, grid[key], names, name)
            store.write_whole(path, store.as_table(head, rows.values()))
        fresh = [rows[key] for key in live]
    elif missing:
        raise CourseError(
            f"{name} has no stored row for {len(missing)} of its {len(grid)} settings: "
            f"run `make sweeps ARGS={lab.name}`."
        )
    else:
        again = progress(live.values(), label=name) if live else ()
        fresh = [make_row(run, settings, names, name) for settings in again]
    stored = [rows[key] for key in grid]
    used = {
        "rows": len(stored),
        "live": len(fresh),
        "device": head.get("device", lab.device),
        "seconds": round(sum(row["seconds"] for row in stored), 1),
    }
    lab.sweeps[name] = used
    return stored, fresh


def by_key(many, name):
    """The settings by their key; raises CourseError for settings of another form or that come
    twice."""
    found = {}
    for settings in many:
        if not isinstance(settings, dict) or not all(map(is_setting, settings, settings.values())):
            raise CourseError(
                f"{name}: {settings!r} are no settings: give a dict of finite numbers, strings, bools "
                "or None by name, none of them named seconds."
            )
        if key_of(settings) in found:
            raise CourseError(f"{name}: {key_of(settings)} comes twice: take one of them out.")
        found[key_of(settings)] = settings
    return found


def is_setting(name, value):
    scalar = (
        isinstance(value, (str, int, NoneType)) or isinstance(value, float) and math.isfinite(value)
    )
    return scalar and isinstance(name, str) and name != "seconds"


def key_of(settings):
    """What two equal settings have in common, whatever the order of their names."""
    return json.dumps(settings, sort_keys=True)


def make_row(run, settings, names, name):
    """Run one setting and time it; raises CourseError for results that a row cannot hold."""
    began = time.perf_counter()
    results = run(**settings)
    seconds = round(time.perf_counter() - began, 3)
    if not isinstance(results, dict) or not all(isinstance(key, str) for key in results):
        raise CourseError(f"{name}: the run must return a dict of results by name.")
    if taken := results.keys() & {*names, "seconds"}:
        raise CourseError(
            f"{name}: {min(taken)} is the name of a setting or of the time: rename that result."
        )
    return (
        settings
        | {key: plain(value, f"{name}, {key}") for key, value in results.items()}
        | {"seconds": seconds}
    )


def plain(value, name):
    """A result as JSON holds it, so that a stored row and a live one are alike."""
    if isinstance(value, (list, tuple)):
        return [finite(element, name) for element in value]
    return value if isinstance(value, (str, bool)) else finite(value, name)


def head_of_run(lab, name, names, old, path):
    """What stands above the rows; raises CourseError where new rows would not be comparable with
    the old ones."""
    made = {"device": old.get("device", lab.device), **old.get("versions", {})}
    now = {"device": lab.device, **machine.versions()}
    for what in MUST_AGREE:
        if what in made.keys() & now.keys() and made[what] != now[what]:
            raise CourseError(
                f"{store.told(path)} was made with {what} {made[what]}, not {now[what]}: "
                "delete it to begin the sweep afresh."
            )
    return {
        "sweep": name,
        "lab": lab.name,
        "device": lab.device,
        "versions": machine.versions() | old.get("versions", {}),
        "settings": names,
    }


def read(path):
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
            f"{store.told(path)} cannot be read ({type(error).__name__}): restore the file, "
            "or delete it to begin the sweep afresh."
        ) from None
    return head, rows
