"""Marks filled into the table that Canvas or Moodle exported.

Only the cells of one assignment change; every other byte stays as it was. A submission belongs to
the student whose number the LMS put into its path; without a number, to the only student of its
name.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from ..errors import GradingError
from ..records.record import Record, Status
from ..text import clean
from .submission import match_export_name
from .table import IN_ENGLISH, Cell, Table, folded, listed, read_table

CANVAS_ID = re.compile(r"(.*?)\s*\(([0-9]+)\)\s*", re.DOTALL)  # "Lab 01 (123456)"
NOT_FILLED = "nothing was filled in."  # how a message ends whose mark a person has to place
MOODLE_OWN = ("Identifier", "Full name", "ID number", "Email address", "Maximum Grade")


class Row(NamedTuple):
    """A student's line in the table.

    number: the LMS's own. keys: name_key of the student's names. logins: other names, which must
    match to the letter. possible: the points in the LMS. comma: whether it writes them with a
    decimal comma. closed: why the cell must not be filled, or "".
    """

    line: int
    name: str
    number: str
    names: tuple[str, ...]
    keys: set[str]
    logins: set[str]
    cell: Cell | None
    possible: Decimal | None
    comma: bool
    closed: str


def fill_canvas(
    export: bytes, records: list[Record], counted: dict[str, bool], column: str | None
) -> tuple[bytes, list[str]]:
    """The Canvas gradebook with one lab's points, and messages on what was not filled in or scaled.

    records: of one lab, and those of no lab. counted: which submissions count, by id. column: the
    assignment, with or without its number, or the number alone; None for the only one titled like
    the lab. Raises GradingError if the export is no gradebook or not exactly one column fits.
    """
    table = read_table(export, "ID")
    lab = the_lab(records, counted)
    points = points_line(table)
    index = canvas_column(table, points, column, lab)
    title, possible = table.titles()[index], table.lines[points][index].text
    if possible.strip() and number(possible) is None:
        raise GradingError(
            f"The points possible of {clean(title, 80)!r} are {clean(possible, 40)!r}, which is no "
            "number: correct them in Canvas and export the gradebook again."
        )
    if not number(possible):
        raise GradingError(
            f"The assignment {clean(title, 80)!r} has no points possible: set them in Canvas and "
            "export the gradebook again."
        )
    rows = [
        canvas_row(table, line, index, possible)
        for line in range(1, len(table.lines))
        if line != points and is_student(table.lines[line])
    ]
    chosen = [] if column else [f"{lab} was filled into the column {clean(title, 80)!r}."]
    filled, messages = fill(table, rows, records, counted)
    return filled, chosen + messages


def fill_moodle(
    export: bytes, records: list[Record], counted: dict[str, bool], column: str | None
) -> tuple[bytes, list[str]]:
    """The same for a Moodle grading worksheet. column: the title of the marks, "Grade" if None."""
    table = read_table(export, "Identifier")
    the_lab(records, counted)
    grade = required(table, column or "Grade")
    required(table, "Maximum Grade")
    if grade in map(table.find, MOODLE_OWN):
        raise GradingError(
            f"The column {clean(column, 80)!r} does not hold marks: name another, or none."
        )
    rows = [
        moodle_row(table, line, grade)
        for line in range(1, len(table.lines))
        if is_student(table.lines[line])
    ]
    return fill(table, rows, records, counted)


def the_lab(records: list[Record], counted: dict[str, bool]) -> str | None:
    """The one lab of the submissions that count; None if they have none."""
    labs = sorted(
        {record.lab for record in records if record.lab and counted.get(record.submission)}
    )
    if len(labs) > 1:
        raise GradingError(
            f"The records are of {len(labs)} labs ({', '.join(labs)}), and one column takes one "
            "lab: choose the lab."
        )
    return labs[0] if labs else None


def required(table: Table, title: str) -> int:
    index = table.find(title)
    if index is None:
        raise GradingError(
            f"The export has no column {clean(title, 80)!r}, only {listed(table.titles())}: "
            f"name one of them, or {IN_ENGLISH}."
        )
    return index


def points_line(table: Table) -> int:
    """The index of Canvas's line of points possible; a line about posting may precede it."""
    for index, line in enumerate(table.lines[:4]):
        is_theirs = re.match(r"points possible\b", folded(line[0].text))
        if is_theirs and len(line) >= len(table.lines[0]):
            return index
    if is_canvas_like(table):
        raise GradingError(
            "The export has no line 'Points Possible' under its titles, and looks like one that "
            f"Canvas made in another language: {IN_ENGLISH}."
        )
    raise GradingError(
        "The export has no line 'Points Possible' under its titles: export the gradebook from "
        "Canvas."
    )


def is_canvas_like(table: Table) -> bool:
    """Whether the titles have Canvas's form in any language: numbers of users and assignments."""
    titles = table.titles()
    return any("SIS" in title for title in titles) or any(map(CANVAS_ID.fullmatch, titles))


def canvas_column(table: Table, points: int, column: str | None, lab: str | None) -> int:
    """The index of the one assignment that `column` names, or that is titled like the lab."""
    first = required(table, "Section") + 1
    # Canvas writes "(read only)" under the totals. Under an assignment it writes points or nothing.
    titles = {
        index: title
        for index, title in enumerate(table.titles())
        if index >= first and re.fullmatch(r"\s*[0-9.,]*\s*", table.lines[points][index].text)
    }
    if not column and not lab:
        raise GradingError(
            f"No lab tells which assignment is meant: name one of {listed(list(titles.values()))}."
        )
    fits = [
        index
        for index, title in titles.items()
        if (is_named(title, column) if column else is_titled_like(title, lab))
    ]
    if len(fits) != 1:
        wanted = f"is called {clean(column, 80)!r}" if column else f"is titled like the lab {lab}"
        raise GradingError(
            f"{'More than one' if fits else 'No'} assignment in the export {wanted}: "
            f"name one of {listed(list(titles.values()))}."
        )
    return fits[0]


def is_named(title: str, column: str) -> bool:
    whole = CANVAS_ID.fullmatch(title)
    return folded(column) in {folded(title), *(map(folded, whole.groups()) if whole else ())}


def is_titled_like(title: str, lab: str) -> bool:
    """Whether a title holds the lab's name, or "lab" and the number that begins the name."""
    digits = re.match("[0-9]*", lab)[0]
    numbered = digits and re.search(
        rf"(?<![a-z])lab[\s_#-]*0*{int(digits)}(?![0-9])", title.casefold()
    )
    return bool(numbered) or name_key(lab) in name_key(title)


def is_student(line: list[Cell]) -> bool:
    """False for a blank line, and for Canvas's line about posting, which names nobody."""
    return any(cell.text.strip() for cell in line[:3])


def canvas_row(table: Table, line: int, index: int, possible: str) -> Row:
    text = reader(table, line)
    name = text("Student") or f"{text('LastName')}, {text('FirstName')}"
    last, _, first = name.partition(",")
    return Row(
        line,
        name,
        text("ID"),
        (name, f"{first} {last}"),
        keys_of(name, f"{first} {last}"),
        {text("SIS User ID"), text("SIS Login ID")} - {""},
        cell_at(table, line, index),
        number(possible),
        has_decimal_comma(possible),
        "",
    )


def moodle_row(table: Table, line: int, grade: int) -> Row:
    text = reader(table, line)
    name, identifier, possible = text("Full name"), text("Identifier"), text("Maximum Grade")
    digits = re.search("[0-9]*$", identifier)[0]
    closed = ""
    if folded(text("Grade can be changed")) == "no":
        closed = "Moodle says that the grade cannot be changed"
    if not number(possible):
        closed = "its Maximum Grade is not a number"
    return Row(
        line,
        name or identifier,
        digits,
        (name,),
        keys_of(name, identifier),
        {text("ID number"), text("Email address")} - {""},
        cell_at(table, line, grade),
        number(possible),
        has_decimal_comma(possible),
        closed,
    )


def keys_of(*names: str) -> set[str]:
    return set(filter(None, map(name_key, names)))


def reader(table: Table, line: int) -> Callable[[str], str]:
    """A function that gives the text under a title in this line, or ""."""

    def text(title: str) -> str:
        index = table.find(title)
        cell = None if index is None else cell_at(table, line, index)
        return cell.text.strip() if cell else ""

    return text


def cell_at(table: Table, line: int, index: int) -> Cell | None:
    return table.lines[line][index] if index < len(table.lines[line]) else None


def has_decimal_comma(text: str) -> bool:
    return text.rfind(",") > text.rfind(".")


def number(text: str) -> Decimal | None:
    """The value of "12", "12.5", "12,5", "1,200.5" or "1.200,5"; None for anything else."""
    grouped = re.fullmatch(r"\s*[0-9]{1,3}(?:(?:,[0-9]{3})+\.|(?:\.[0-9]{3})+,)[0-9]+\s*", text)
    if grouped:
        text = re.sub("[.,](?=.*[.,])", "", text)
    found = re.fullmatch(r"\s*([0-9]+)(?:[.,]([0-9]+))?\s*", text)
    return Decimal(f"{found[1]}.{found[2] or 0}") if found else None


def fill(
    table: Table, rows: list[Row], records: list[Record], counted: dict[str, bool]
) -> tuple[bytes, list[str]]:
    """The table with the marks that count, and a message for each that could not be placed."""
    counting = [record for record in records if counted.get(record.submission)]
    matches = {record.submission: match(record, rows) for record in counting}
    claims = Counter(
        row.line for record in counting if record.lab for row in matches[record.submission].rows
    )
    changes, messages, scales = {}, [], {}
    for record in counting:
        found, problem = matches[record.submission]
        problem = problem or obstacle(record, found[0], claims)
        if problem:
            messages.append(f"{who(record)}: {problem}; {NOT_FILLED}")
            continue
        row, mark = found[0], scaled(record, found[0].possible)
        scales[record.points, row.possible] = None
        before = row.cell.text
        if number(before) != mark:
            changes[row.cell] = now = written(mark, row.comma)
            if number(before) is not None:
                messages.append(f"{who(record)}: the cell held {clean(before, 20)}, now {now}.")
    messages += [scale_sentence(*pair) for pair in scales if pair[0] != pair[1]]
    seen = {row.line for found, _ in matches.values() for row in found}
    messages += [
        f"{clean(row.name, 60)} has no submission that counts; the cell stays as it was."
        for row in rows
        if row.line not in seen
    ]
    return table.filled(changes), messages


def who(record: Record) -> str:
    return f"{clean(record.student, 60)} ({clean(record.file, 120)})"


class Match(NamedTuple):
    """The students whom a submission may belong to, and what is wrong if it is not just one."""

    rows: list[Row]
    problem: str


def match(record: Record, rows: list[Row]) -> Match:
    numbered = number_in(record)
    if numbered:
        name, id = numbered
        mark = f"the number {clean(id, 30)} of its path"
        found = [row for row in rows if row.number == id]
        if len(found) == 1 and not agrees(name, found[0]):
            owner = clean(found[0].name, 60)
            return Match([], f"{mark} belongs to {owner}, whose name is another")
    else:
        mark, key = "this name", name_key(record.student)
        found = [row for row in rows if key in row.keys or record.student in row.logins]
    if len(found) == 1:
        return Match(found, "")
    if found:
        return Match(found, f"{len(found)} students in the export have {mark}")
    return Match([], f"nobody in the export has {mark}")


def number_in(record: Record) -> tuple[str, str] | None:
    """The name and the number that the LMS put into the submission's path, if it did.

    Names further in were chosen by the student and could be those of others. So only the first
    that looks like the LMS's is used, and only if it names the student of the record.
    """
    for part in re.split(r"/|(?<=\.zip)!", record.file, flags=re.IGNORECASE):
        if found := match_export_name(part):
            name = found["name"] or found["number"]
            both = name_key(f"{name}{found['number']}")  # as namesakes are told apart
            is_own = name_key(record.student) in (name_key(name), both)
            return (name, found["number"]) if is_own else None
    return None


def agrees(name: str, row: Row) -> bool:
    """Whether a file's name fits the row that its number points to.

    A group's name may precede it. A zip program may have garbled all letters but the ASCII ones. In
    anonymous marking the row has no name, and "" fits.
    """
    return any(
        name_key(name).endswith(name_key(known)) or ascii_key(name) == ascii_key(known)
        for known in row.names
    )


def name_key(name: str) -> str:
    """The name without case, accents, spaces and punctuation.

    Combining marks stay, except accents: in some scripts they are the vowels.
    """
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(filter(in_key, letters))


def in_key(letter: str) -> bool:
    accent = "\u0300" <= letter <= "\u036f"
    return letter.isalnum() or unicodedata.category(letter)[0] == "M" and not accent


def ascii_key(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def obstacle(record: Record, row: Row, claims: Counter) -> str:
    """Why this record's mark must not go into this row, or ""."""
    if not record.is_graded:
        needs_review = record.status is Status.NEEDS_REVIEW
        state = "it needs review" if needs_review else "it is ungradable"
        return f"{state} ({clean(record.reason, 200)})" if record.reason else state
    if record.doubt:
        return record.doubt
    if claims[row.line] > 1:
        return f"{claims[row.line]} submissions that count belong to {clean(row.name, 60)}"
    if not record.points:
        return "it has no points"
    if row.cell is None:
        return "the student's line in the export is too short"
    held = row.cell.text.strip()
    if held.strip("-") and number(held) is None:  # such as EX, for an excused student in Canvas
        return f"the cell holds {clean(held, 40)!r}"
    return row.closed


def scaled(record: Record, possible: Decimal) -> Decimal:
    """The earned points on the LMS's scale, rounded once, half up to two places."""
    exact = record.earned * possible / record.points
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def written(mark: Decimal, comma: bool) -> str:
    text = str(int(mark)) if mark == int(mark) else str(mark)
    return text.replace(".", ",") if comma else text


def scale_sentence(points: int, possible: Decimal) -> str:
    scale = f"{possible.normalize():f}"
    return (
        f"The lab has {points} points and the LMS {scale}: marks were multiplied by "
        f"{scale}/{points} and rounded half up to two places."
    )
