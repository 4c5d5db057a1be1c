"""The leaderboard: one HTML page without scripts, and the same as a table for a spreadsheet."""

import csv
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

from ..records.feedback import STYLE
from ..text import clean, text_cell

HALF_WIDTH = 1.96  # standard errors on each side of a 95 % interval over the tickets


class Entry(NamedTuple):
    """One hand-in and what came of it. report: None if it could not be examined · problem: why not ·
    defence: words in the defence"""

    student: str
    report: object | None
    problem: str
    defence: int


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Within the budget by gold, then those that break it by gold, then what could not be examined."""

    def order(entry: Entry) -> tuple:
        if entry.report is None:
            return 2, 0.0, entry.student.casefold()
        return bool(entry.report.faults), -entry.report.gold, entry.student.casefold()

    return sorted(entries, key=order)


def places(entries: Sequence[Entry]) -> list[str]:
    """The place of each of the ranked entries. Who cannot be told from the first of a place, because
    the difference is within the noise of the tickets, shares it; "–" outside the budget."""
    told, leader, place = [], None, 0
    for number, entry in enumerate(entries, start=1):
        report = entry.report
        if report is None or report.faults:
            told.append("–")
            continue
        apart = leader and leader.gold - report.gold
        noise = leader and HALF_WIDTH * (leader.error**2 + report.error**2) ** 0.5
        if leader is None or apart > noise:
            leader, place = report, number
        told.append(str(place))
    return told


COLUMNS = (
    "place",
    "student",
    "gold",
    "±",
    "house style",
    "KL",
    "facts",
    "bytes",
    "defence",
    "note",
)


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """The cells of the table, in the order of COLUMNS."""
    ordered = ranked(entries)
    told = []
    for place, entry in zip(places(ordered), ordered):
        report, words = entry.report, f"{entry.defence} words" if entry.defence else "missing"
        if report is None:
            told.append((place, entry.student, *[""] * 6, words, entry.problem))
            continue
        told.append(
            (
                place,
                entry.student,
                f"{report.gold:.2f}",
                f"{HALF_WIDTH * report.error:.2f}",
                f"{report.exact:.0%}",
                f"{round(report.kl, 1) + 0.0:.1f}",  # no -0.0
                f"{report.reading:.0%}",
                f"{report.bytes:,}",
                words,
                "; ".join(report.faults),
            )
        )
    return told


def as_csv(entries: Sequence[Entry]) -> str:
    """The table for a spreadsheet, which can run none of its cells; numbers stay numbers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, student, *numbers, note in rows(entries):
        writer.writerow([place, text_cell(student, 500), *numbers, text_cell(note, 500)])
    return file.getvalue()


def as_page(entries: Sequence[Entry]) -> str:
    """The page: hostile names show, and do nothing."""
    told = rows(entries)
    examined = sum(entry.report is not None for entry in entries)
    parts = [table(told[:examined])] if examined else []
    parts += [refused(told[examined:])] if examined < len(told) else []
    return PAGE.format(style=STYLE + TABLE, body="\n".join(parts), count=len(entries))


def table(told: Sequence[tuple[str, ...]]) -> str:
    """Those that were examined, as a table that scrolls by itself where the page is narrow."""
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{shown(cell)}</td>" for cell in row) + "</tr>" for row in told
    )
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>
{LEGEND}"""


def refused(told: Sequence[tuple[str, ...]]) -> str:
    """Those that could not be examined, and why."""
    items = "\n".join(
        f"<li><strong>{shown(student)}</strong>: {shown(note)}</li>"
        for _, student, *_, note in told
    )
    return f"""<section>
<h2>Not examined</h2>
<ul class="notes">
{items}
</ul>
</section>"""


def shown(cell: str) -> str:
    return html.escape(clean(cell, 500))


TABLE = """
main { max-width: 76rem; }
.scroll { margin-top: 1.5rem; overflow-x: auto; }
table { width: 100%; border-collapse: collapse; background: var(--card);
        font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); text-align: start;
         white-space: nowrap; }
th:nth-child(2), td:nth-child(2) { min-width: 9rem; white-space: normal; }
td:last-child { min-width: 18rem; white-space: normal; }
.legend { margin-top: 1rem; font-size: .9rem; }
"""

LEGEND = """<p class="legend small">gold: the judge's mean score of a reply, in points · ±: half of a
95 % interval over the tickets · house style: replies in the house's style with the right fix · KL:
from the base, in nats per reply · facts: questions about facts that it answers · bytes: of the file
of weights · – : outside the budget</p>"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Capstone · leaderboard</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Capstone</h1>
<p class="lab">Submissions: {count}. Each adapter wrote one sampled reply to each of the same hidden
tickets. One whose gold cannot be told from that of the first in a place shares that place.</p>
{body}
</main>
</body>
</html>
"""
