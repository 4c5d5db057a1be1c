"""What a lab hands to the book: evidence for the claims, and measures."""

import html
import re
import textwrap
import time
from collections.abc import Iterable, Mapping

import torch
from IPython.display import display

from . import bases, cells, claims, learner, machine, store
from .errors import CourseError, EvidenceError
from .session import current
from .statistics import finite, mean_interval

WIDTH = 88  # characters; a page shows so many without scrolling


def on_trial() -> None:
    """List the claims that this lab decides: the statements, and folded below them what was expected
    of each, and its bound."""
    entries = claims.assigned_to(current().name)
    for claim, entry in entries.items():
        print(wrapped(f"{claim}  “{entry['quote']}”", 7))
    folded(
        "What was expected of each, and the bound that its measurement has to meet",
        {
            claim: f"{entry['expected']}. Bound: {entry['bound']}, {entry['unit']}"
            for claim, entry in entries.items()
        },
    )


def folded(summary: str, texts: Mapping[str, str]) -> None:
    """Show a list of texts that a click unfolds; where there is no HTML, the texts themselves."""
    items = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in texts.items()
    )
    shown = {
        "text/html": f"<details><summary>{html.escape(summary)}</summary><dl>{items}</dl></details>",
        "text/plain": "\n".join(wrapped(f"{name}  {text}", 7) for name, text in texts.items()),
    }
    display(shown, raw=True)


def wrapped(text: str, indent: int) -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def evidence(claim: str, value: object, seeds: Iterable[int] | None = None) -> None:
    """Record `value` for a claim and test it against the claim's bound in chapters/claims.yml.

    claim: its id · value: a finite number in the claim's unit · seeds: the seeds behind it Raises
    CourseError for a claim that this lab does not decide or a value that is no finite number,
    EvidenceError when the bound fails.
    """
    lab = current()
    entry = claims.assigned_to(lab.name).get(claim)
    if entry is None:
        raise CourseError(
            f"{claim} is not assigned to {lab.name} in chapters/claims.yml: "
            "correct the id, or set lab: there."
        )
    value, bound = finite(value, claim), entry["bound"]
    holds = claims.satisfies(value, bound)
    lab.claims[claim] = {
        "value": value,
        "expected": entry["expected"],
        "bound": bound,
        "holds": holds,
        "seeds": listed(seeds),
    } | where()
    if not holds:
        raise EvidenceError(
            f"{claim} does not hold: {shown(value)} is not {bound}, {entry['unit']}. "
            f"{what_to_look_at()}"
        )
    print(f"{claim}: bound met, {shown(value)} ({bound}), {entry['unit']}")
    print(f"       the ledger's verdict on the statement: {entry['verdict']}")


def what_to_look_at() -> str:
    """The advice of a failed bound: the learner's own functions come first."""
    own = learner.own_functions()
    if own:
        return (
            f"Your own function is in use for {', '.join(own)}: run its check, "
            "or put the ... back to use the solution."
        )
    return (
        "The measurement no longer supports the verdict: look at the cell above before the bound."
    )


def measure(
    name: str,
    value: object,
    unit: str = "share",
    interval: Iterable[object] | None = None,
    seeds: Iterable[int] | None = None,
) -> None:
    """Record one measured number that the pages show.

    name: lab.what, in lower case · value: a finite number in `unit`, or a list of them, one for
    each seed, which stands for its mean with the 95 % interval around it · interval: [low, high]
    around a single number, cut to [0, 1] where the unit is a share
    Raises CourseError for a name of another form, a value that is no finite number, values that are
    not one for each seed, or an interval that does not hold the value.
    """
    lab = current()
    check_name(name, "measure", "sft.loss_end")
    seeds = listed(seeds)
    if isinstance(value, list | tuple):
        if seeds is not None and len(seeds) != len(value):
            raise CourseError(
                f"{name}: {len(value)} values stand beside {len(seeds)} seeds: "
                "give one value for each seed."
            )
        value, interval = mean_interval(value)
    value = finite(value, name)
    if unit.startswith("share") and not 0 <= value <= 1:
        raise CourseError(f"{name}: {shown(value)} is no share: a share lies between 0 and 1.")
    if interval is not None:
        interval = ends_around(value, interval, name, unit)
    entry = {"value": value, "unit": unit, "interval": interval, "seeds": seeds}
    lab.measures[name] = entry | where()
    ends = f" [{shown(interval[0])}, {shown(interval[1])}]" if interval else ""
    print(f"{name} = {shown(value)} {unit}{ends}")


def ends_around(value: float, interval: Iterable[object], name: str, unit: str) -> list[float]:
    """[low, high] as numbers; raises CourseError unless they lie around the value."""
    low, high = ends = [finite(end, name) for end in interval]
    if unit.startswith("share"):  # a t-interval near 0 or 1 reaches beyond what a share can be
        ends = [max(0.0, low), min(1.0, high)]
    if not low <= value <= high:
        raise CourseError(
            f"{name}: the interval [{shown(low)}, {shown(high)}] does not hold "
            f"the value {shown(value)}; give the lower end first."
        )
    return ends


def where() -> dict[str, str]:
    """The mark of the cell that runs, which make labs turns into the cell's id and its code; empty
    where nothing is stored."""
    cell = cells.running() if machine.stored() else None
    return {"cell": cell} if cell else {}


def check_name(name: str, kind: str, example: str) -> None:
    """Raise CourseError unless `name` has the form lab.what."""
    if not re.fullmatch(r"[a-z0-9]+(\.[a-z0-9_]+)+", name):
        raise CourseError(f'{name!r} is not the name of a {kind}: write it as in "{example}".')


def finish() -> None:
    """Write the lab's record to its result file, whole or not at all, and compare it with the
    book's.

    Raises CourseError when a claim of this lab has no evidence, or a bound failed, or nothing can
    be written.
    """
    lab = current()
    for claim in claims.assigned_to(lab.name):
        if claim not in lab.claims:
            raise CourseError(
                f"{claim} is assigned to {lab.name} and has no evidence yet: "
                "run every cell from the top, then finish() again."
            )
        if not lab.claims[claim]["holds"]:
            raise CourseError(f"{claim} does not hold, so nothing was written. {what_to_look_at()}")
    record = {
        "lab": lab.name,
        "device": lab.device,
        "scale": lab.scale,
        "versions": machine.versions(),
        "seconds": round(time.perf_counter() - lab.began, 1),
        "peak_mib": round(machine.peak_mib()),
    }
    if lab.device == "cuda":
        record["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    record |= {"claims": lab.claims, "measures": lab.measures}
    if lab.sweeps:
        record["sweeps"] = lab.sweeps
    if (base := bases.base_of(lab.name)) != bases.SHIPPED:
        record["base"] = base
    path = store.result_path(lab)
    store.write_whole(path, store.as_json(record))
    print(
        f"{lab.name} is recorded: bounds that are met: {len(lab.claims)}, "
        f"measures: {len(lab.measures)}"
    )
    if not machine.stored():
        print(f"written to {store.shown(path)}")
        print(store.comparison(record), end="")
        if said := bases.notice(lab.name):
            print(said)


def shown(number: float) -> str:
    """A number as a reader wants it: four digits that count, no exponent for large ones."""
    if isinstance(number, int) or abs(number) >= 10_000:
        return f"{number:,.0f}"
    return f"{number:.4g}"


def listed(seeds: Iterable[int] | None) -> list[int] | None:
    return None if seeds is None else list(seeds)
