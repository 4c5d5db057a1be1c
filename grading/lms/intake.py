"""An LMS's export, or one notebook, becomes a list of submissions. Nothing in it is trusted.

Links are not followed, and pipes and devices are not opened. Archives are read in memory and never
unpacked to disk. What cannot be read is listed with its problem, so nobody's work is silently lost.
"""

import calendar
import hashlib
import io
import os
import re
import stat
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from .. import course
from ..errors import GradingError
from ..text import clean
from .submission import CANVAS, MOODLE, Submission, match_export_name

MAX_FILES = 10_000  # in the folder, and in each archive
MAX_BYTES = 50_000_000  # of a notebook or an archive
MAX_UNPACKED = 500_000_000  # of all notebooks in one archive

LABS = {name.lower() for name in course.notebooks()}
# What lies beside the work in a folder, and is not handed in: lists of the class, notes, leftovers.
BESIDE = re.compile(
    r"(readme|notes?\b).*|.*\.(csv|tsv|xlsx?|ods|log|ini|db|lnk|url)", re.IGNORECASE
)
# A hand-in whose name tells that it is one, in a form that cannot be read.
PACKED = re.compile(r".*(\.(rar|7z|tar|tgz|tbz2?|txz)|\.tar\.\w+)", re.IGNORECASE | re.DOTALL)
RENAMED = re.compile(r"(.*\.ipynb)\W.*", re.IGNORECASE | re.DOTALL)
TRAILING_LAB = re.compile(
    rf"(?:^|[\W_])(?:{'|'.join(sorted(LABS))})(?:[\s_(-]*\d+\)?)?\Z", re.IGNORECASE
)

# Folders in which one student sorts the work.
PARTS = re.compile(
    r"(week|day|lab|unit|part|session|module|chapter|lesson|exercise|assignment|homework|hw|attempt)"
    r"[\s_-]*\d+",
    re.IGNORECASE,
)

LINK = "it is a symbolic link, and links are not followed: ask for the file itself"


class Entry(NamedTuple):
    """Something in the folder or in an archive, with the names that lead to it."""

    parts: tuple[str, ...]
    file: str
    # "notebook", "archive", "folder", "misnamed" or "other"; a notebook is always a submission
    kind: str
    modified: float
    sha256: str = ""
    problem: str = ""


class Owner(NamedTuple):
    """Whose an entry is, going by its path alone."""

    student: str
    number: str  # the LMS's number of the student, "" if there is none
    attempt: int | None
    key: tuple[str, ...]  # the same for everything that one student handed in together
    place: tuple[str, ...]  # the folder in which the name that tells the student stands
    is_file: bool  # whether that name is the entry's own, and not a folder's


# From the folder to submissions -------------------------------------------------------------------


def find_submissions(folder: Path) -> list[Submission]:
    """The submissions in a folder, or in one notebook or archive, sorted by file.

    Raises GradingError if there is no such folder, or if it holds nothing or too many files.
    """
    base, listed = listing(folder)
    entries = sorted(
        (found for entry in listed for found in inspected(base, entry)),
        key=lambda entry: entry.file,
    )
    outer = wrapper(entries)
    paths = [
        (entry, entry.parts[len(outer) if is_inside(entry, outer) else 0 :])
        for entry in entries
        if is_inside(entry, outer) or entry.kind == "misnamed"
    ]
    unlike = names_unlike_canvas(paths)
    owned = [(entry, owner_of(entry, parts, unlike)) for entry, parts in paths]
    doubts = several_at_once(owned) | spread_out(owned, len(outer)) | named_like_a_part(owned)
    doubts |= alone_within(owned, outer) | out_of_order(owned) | holding_names(owned, len(outer))
    numbers, names = defaultdict(set), defaultdict(set)
    for _, owner in owned:
        numbers[owner.student].add(owner.number)
        names[owner.number].add(owner.student)
    submissions = []
    for entry, owner in handed_in(owned):
        doubt = one_number_many_names(owner.number, names[owner.number]) or doubts.get(owner.key)
        if owner.place in unlike and match_export_name(entry.parts[-1]):
            doubt = unlike[owner.place]
        namesakes = len(numbers[owner.student]) > 1
        submissions.append(submission(entry, owner, namesakes, doubt or ""))
    if not submissions:
        raise GradingError(
            f"There is no submission in {clean(str(folder), 200)}: name the folder that holds the "
            "notebooks (.ipynb), or one notebook."
        )
    return submissions


def handed_in(owned: list[tuple[Entry, Owner]]) -> Iterator[tuple[Entry, Owner]]:
    """All notebooks, and what shows that a student without one has handed something in."""
    notebooks = {entry.parts for entry, _ in owned if entry.kind == "notebook"}
    sure = {
        entry: owner.key
        for entry, owner in owned
        if entry.kind == "notebook"
        or entry.kind == "misnamed"
        and not stands_beside(entry, notebooks)
    }
    done = set(sure.values())
    for entry, owner in owned:
        if entry in sure:
            yield entry, owner
        elif is_claim(entry, owner) and owner.key not in done:
            done.add(owner.key)
            yield entry, owner


def submission(entry: Entry, owner: Owner, namesakes: bool, doubt: str) -> Submission:
    slugs = (
        slug(owner.student),
        slug(entry.parts[-1]),
        hashlib.sha256(entry.file.encode()).hexdigest()[:10],
    )
    student = f"{owner.student} ({owner.number})" if namesakes and owner.number else owner.student
    return Submission(
        "-".join(filter(None, slugs)),
        student,
        entry.file,
        entry.sha256,
        owner.attempt,
        entry.modified,
        entry.problem or ("" if entry.kind == "notebook" else no_notebook(entry)),
        doubt,
    )


def no_notebook(entry: Entry) -> str:
    """What was found in the place of a notebook, and what to do."""
    name = clean(entry.parts[-1], 80)
    if entry.kind in ("folder", "archive"):
        return f"there is no notebook in {name}: ask for a file that ends in .ipynb"
    if RENAMED.fullmatch(entry.parts[-1]):
        return (
            f"{name} has something after .ipynb in its name: rename it to end in .ipynb if it is "
            "the notebook, or ask for it again"
        )
    if PACKED.fullmatch(entry.parts[-1]):
        return (
            f"{name} is an archive that cannot be opened here: ask for the notebook itself, or for "
            "a .zip"
        )
    return f"{name} is no notebook: ask for a file that ends in .ipynb"


def is_claim(entry: Entry, owner: Owner) -> bool:
    """Whether the entry shows that a student handed something in, though not a notebook."""
    if entry.kind == "folder":
        return entry.parts[-1].lower() not in LABS
    if entry.kind == "other":
        return bool(owner.number) or owner.is_file and not BESIDE.fullmatch(entry.parts[-1])
    return True


def stands_beside(entry: Entry, notebooks: set[tuple[str, ...]]) -> bool:
    """Whether a misnamed file is the copy of a notebook in the same folder."""
    renamed = RENAMED.fullmatch(entry.parts[-1])
    return bool(renamed) and (*entry.parts[:-1], renamed[1]) in notebooks


# Folders around the work --------------------------------------------------------------------------


def is_inside(entry: Entry, place: tuple[str, ...]) -> bool:
    return len(entry.parts) > len(place) and entry.parts[: len(place)] == place


def wrapper(entries: list[Entry]) -> tuple[str, ...]:
    """The names of the outer folders or archives that are to be looked through, outermost first.

    Such a one stands alone, and it holds the folders or files of students. An archive with the
    notebooks of one student in one folder is that student's.
    """
    place, before_archive = (), None
    while True:
        depth = len(place)
        entries = [entry for entry in entries if is_inside(entry, place)]
        tops = {entry.parts[depth] for entry in entries if entry.kind not in ("other", "misnamed")}
        if len(tops) != 1:
            return place
        top = (*place, *tops)
        inside = [entry for entry in entries if is_inside(entry, top)]
        is_archive = kind_of(top[-1]) == "archive" and any("!" in entry.file for entry in inside)
        if is_named_by_lms(top[-1], is_archive) or not holds_students(top, inside):
            return place if before_archive is None else before_archive
        if is_archive and before_archive is None:
            before_archive = place
        place = top


def is_named_by_lms(name: str, is_archive: bool) -> bool:
    """Whether an LMS gave a lone folder or archive this name, which tells whose it is."""
    return bool(MOODLE.fullmatch(name) or is_archive and match_export_name(name))


def holds_students(top: tuple[str, ...], inside: list[Entry]) -> bool:
    """Whether a lone folder or archive holds the work of students, not of one student."""
    depth = len(top)
    work = [entry for entry in inside if entry.kind in ("notebook", "archive", "misnamed")]
    files = {entry.parts[depth] for entry in work if len(entry.parts) == depth + 1}
    folders = {entry.parts[depth] for entry in inside if entry.kind == "folder"}
    folders |= {entry.parts[depth] for entry in inside if len(entry.parts) > depth + 1}
    folders -= files  # an archive is a file, though something lies in it
    if any(map(match_export_name, folders | files)):
        return True
    if top[-1].lower() in LABS:  # a folder for each lab, which owner_of knows
        return False
    if files:
        several = len({entry.parts[depth] for entry in work}) > 1
        return several and all(map(names_a_student, files))
    if folders and all(folder.lower() in LABS for folder in folders):
        return any(len(entry.parts) > depth + 2 for entry in inside)
    if folders and all(map(PARTS.fullmatch, folders)):
        return any(
            len(entry.parts) > depth + 2 or names_a_student(entry.parts[-1]) for entry in work
        )
    return bool(folders)


def names_a_student(file: str) -> bool:
    """Whether a file's name may be a student's: it does not begin with a lab's."""
    return not file.lower().startswith(tuple(LABS))


def spread_out(owned: list[tuple[Entry, Owner]], outer: int) -> dict[tuple[str, ...], str]:
    """A doubt for each folder taken for a student's in which subfolders hold files of one name.

    outer: how many names of each path are looked through
    """
    folders = defaultdict(set)
    for entry, owner in owned:
        depth = outer + len(owner.place) + 1
        if entry.kind == "notebook" and not owner.number and len(entry.parts) > depth + 1:
            folders[owner.key, entry.parts[-1].lower()].add(entry.parts[depth])
    return {
        key: f"{clean(key[-1], 60)} is taken for one learner, and its folders "
        f"{clean(', '.join(sorted(inside)), 100)} hold notebooks of one name: if they are of "
        "several learners, grade that folder by itself"
        for (key, _), inside in folders.items()
        if len(inside) > 1
    }


def named_like_a_part(owned: list[tuple[Entry, Owner]]) -> dict[tuple[str, ...], str]:
    """A doubt for each folder that is taken for a student's and is called "week 1" or the like."""
    return {
        owner.key: f"{clean(owner.key[-1], 60)} is taken for a learner: if the folder holds the work "
        "of several, grade it by itself"
        for _, owner in owned
        if not owner.is_file and PARTS.fullmatch(owner.key[-1])
    }


def alone_within(
    owned: list[tuple[Entry, Owner]], outer: tuple[str, ...]
) -> dict[tuple[str, ...], str]:
    """A doubt if a folder that was looked through holds a single one: which is the student's?"""
    found = {owner.key: owner for _, owner in handed_in(owned)}
    if not outer or kind_of(outer[-1]) == "archive" or len(found) != 1:
        return {}
    (key, owner), *_ = found.items()
    if owner.is_file or owner.number:
        return {}
    inside, around = clean(key[-1], 60), clean(outer[-1], 60)
    return {
        key: f"{inside} is taken for a learner, and stands alone in {around}: check whose it is"
    }


def out_of_order(owned: list[tuple[Entry, Owner]]) -> dict[tuple[str, ...], str]:
    """A doubt for each student whose attempts by Canvas were not uploaded in their order.

    The number at the end of a name is then likely not from Canvas but from the student's browser.
    """
    uploads = defaultdict(list)
    for entry, owner in owned:
        match = CANVAS.fullmatch(entry.parts[-1])
        if entry.kind == "notebook" and owner.number and owner.is_file and match:
            uploads[owner.key].append((owner.attempt or 0, int(match["order"])))
    return {
        key: f"the uploads of {clean(key[-1], 60)} are not in the order of their attempts: check "
        "which one counts"
        for key, found in uploads.items()
        if [order for _, order in sorted(found)] != sorted(order for _, order in found)
    }


def holding_names(owned: list[tuple[Entry, Owner]], outer: int) -> dict[tuple[str, ...], str]:
    """A doubt for each folder or archive taken for a student's that holds names of several: names
    that an LMS gives, or notebooks that are not named after labs.

    outer: how many names of each path are looked through
    """
    inside = defaultdict(dict)
    for entry, owner in owned:
        depth = outer + len(owner.place) + 1
        if owner.number or owner.is_file and entry.kind != "notebook" or len(entry.parts) <= depth:
            continue
        if name := student_named(entry, depth):
            inside[owner.key][name] = None
    return {
        key: f"{clean(key[-1], 60)} is taken for one learner, and holds "
        f"{clean(', '.join(sorted(names)), 100)}: if they are of several learners, grade it by itself"
        for key, names in inside.items()
        if len(names) > 1
    }


def student_named(entry: Entry, depth: int) -> str:
    """The name of a student that an entry's own name seems to give, or ""."""
    for part in entry.parts[depth:]:
        if match := match_export_name(part):
            return f"{match['name'] or match['number']}"
    if entry.kind != "notebook":
        return ""
    stem = stem_of(entry.parts[-1], "notebook")
    lab = TRAILING_LAB.search(stem)
    name = stem[: lab.start()] if lab else stem
    return name.strip(" _-()0123456789") if names_a_student(stem) else ""


def several_at_once(owned: list[tuple[Entry, Owner]]) -> dict[tuple[str, ...], str]:
    """A doubt for each student who has several notebooks for one lab by Canvas, of one attempt.

    Their names may fit Canvas's by chance, and be those of several students.
    """
    together = defaultdict(list)
    for entry, owner in owned:
        name = entry.parts[-1].lower()
        if entry.kind == "notebook" and owner.number and owner.is_file and not MOODLE.match(name):
            lab = next((lab for lab in sorted(LABS) if lab in name), "")
            together[owner.key, owner.attempt, lab].append(entry.parts[-1])
    return {
        key: f"{clean(key[-1], 60)} has handed in {len(files)} notebooks at once, "
        f"{clean(', '.join(files), 120)}: check that they are of one learner, and which one counts"
        for (key, *_), files in together.items()
        if len(files) > 1
    }


# Whose an entry is --------------------------------------------------------------------------------


def depth_of(parts: tuple[str, ...]) -> int:
    """Where in a path the name stands that tells the student: after the folders of labs."""
    depth = 0
    while depth < len(parts) - 1 and parts[depth].lower() in LABS:  # one folder for each lab
        depth += 1
    return depth


def names_unlike_canvas(paths: list[tuple[Entry, tuple[str, ...]]]) -> dict[tuple[str, ...], str]:
    """The folders in which names look like Canvas's, but not as a whole: a doubt for each."""
    files = defaultdict(list)
    for entry, parts in paths:
        if entry.kind in ("notebook", "archive") and len(parts) == depth_of(parts) + 1:
            files[parts[:-1]].append(parts[-1])
    found = {place: unlike_canvas(names) for place, names in files.items()}
    return {
        place: f"its name looks like one that Canvas gives, but {why}: check whose it is"
        for place, why in found.items()
        if why
    }


def unlike_canvas(files: list[str]) -> str:
    """Why the files of one folder were not named by Canvas though some look so, or ""."""
    found = {file: CANVAS.fullmatch(file) for file in files if not MOODLE.fullmatch(file)}
    fits = [match for match in found.values() if match]
    if not fits:
        return ""
    for file, match in found.items():
        if not match:
            return f"{clean(file, 80)} beside it does not"
    names = defaultdict(set)
    for match in fits:
        names[match["number"]].add(match["name"])
    for number, those in names.items():
        if doubt := one_number_many_names(number, those):
            return doubt
    (name, *others) = set().union(*names.values())
    attempts = {(match["upload"], match["attempt"]) for match in fits}
    again = len(names) == 1 and len({match["upload"] for match in fits}) == 1
    if name and not others and len(fits) > 1 and not (again and len(attempts) == len(fits)):
        return f"all the files would then be by {clean(name, 60)}"
    return ""


def one_number_many_names(number: str, names: set[str | None]) -> str:
    """The doubt about an LMS's number of a student if several names have it, or ""."""
    if not number or len(names) < 2:
        return ""
    listed = " and ".join(clean(str(name), 60) for name in sorted(map(str, names))[:3])
    return f"the number {clean(number, 30)} goes with several names, {listed}"


def owner_of(entry: Entry, parts: tuple[str, ...], unlike: Container) -> Owner:
    """The student named by the outermost folder or file.

    Names further in were chosen by the student and could be those of others. parts: the path
    without what is looked through. unlike: the folders whose names are not Canvas's.
    """
    depth = depth_of(parts)
    part, place = parts[depth], parts[:depth]
    match = MOODLE.fullmatch(part) or (None if place in unlike else CANVAS.fullmatch(part))
    is_file = len(parts) == depth + 1 and entry.kind != "folder"
    if match:
        attempt = int(match["attempt"]) if match["attempt"] else None
        student = escape(match["name"] or "").strip() or match["number"]
        key = (*place, match["number"], student)
        return Owner(student, match["number"], attempt, key, place, is_file)
    stem = stem_of(part, entry.kind if is_file else "folder")
    lab = TRAILING_LAB.search(stem)
    name = stem[: lab.start()].rstrip("_-( ") if lab else stem
    student = escape(name).strip() or escape(stem).strip() or ascii(part)
    return Owner(student, "", None, (*place, stem), place, is_file)


def stem_of(name: str, kind: str) -> str:
    """The name without its ending. A misnamed notebook has everything from .ipynb on removed."""
    if kind == "misnamed":
        return re.sub(r"(\.ipynb\W.*|(\.tar)?\.\w+)\Z", "", name, flags=re.I | re.DOTALL)
    if kind == "other":
        return os.path.splitext(name)[0]
    return re.sub(r"\.(ipynb|zip)\Z", "", name, flags=re.IGNORECASE)


def slug(name: str) -> str:
    """The name in at most 40 lower-case ASCII letters, digits and single hyphens."""
    letters = (
        unicodedata.normalize("NFKD", name[:200].removesuffix(".ipynb"))
        .encode("ascii", "ignore")
        .decode()
    )
    return re.sub("[^a-z0-9]+", "-", letters.lower())[:40].strip("-")


def escape(name: str) -> str:
    """The name as a record can hold it, with bytes that are not UTF-8 escaped; see unescape.

    A file may have ".zip!" in its name; escaped, it cannot pass for a member of an archive.
    """
    name = re.sub(r"(?<=\.zip)!", r"\\x21", name.replace("\\", r"\\"), flags=re.IGNORECASE)
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def unescape(name: str) -> str:
    return re.sub(r"\\(\\|x21|u[0-9a-f]{4})", lambda code: chr(int(code[1][1:] or "5c", 16)), name)


# Files and folders --------------------------------------------------------------------------------


def listing(folder: Path) -> tuple[str, list[Entry]]:
    """The folder that all files are relative to, and what can be seen in it."""
    if os.path.isdir(folder):
        return str(folder), walk(str(folder))
    name = clean(str(folder), 200)
    if not os.path.lexists(folder):
        raise GradingError(f"There is no folder {name}: check the path.")
    kind = kind_of(folder.name)
    if kind in ("other", "misnamed"):
        raise GradingError(
            f"{name} is no notebook: name a folder of submissions, a notebook (.ipynb) or a .zip."
        )
    return str(folder.parent), [
        Entry((folder.name,), escape(folder.name), kind, os.lstat(folder).st_mtime)
    ]


def walk(base: str) -> list[Entry]:
    """Every visible entry of the folder; links are not followed. Closed folders are problems."""
    entries, folders = [], [Entry((), "", "folder", 0.0)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(base, *folder.parts)) as inside:
                seen = islice(
                    (found for found in inside if visible([found.name])),
                    MAX_FILES + 1 - len(entries),
                )
                listed = [entry_of(folder.parts, found) for found in seen]
        except OSError as error:
            if not folder.parts:
                raise GradingError(
                    f"{clean(base, 200)} cannot be opened ({error.strerror}): check its "
                    "permissions."
                ) from None
            listed = [folder._replace(kind="notebook", problem=unreadable(error))]
        entries += listed
        folders += [entry for entry in listed if entry.kind == "folder"]
        if len(entries) > MAX_FILES:
            raise GradingError(
                f"{clean(base, 200)} holds more than {MAX_FILES:,} files: name the folder of one "
                "export."
            )
    return entries


def entry_of(parents: tuple[str, ...], found: os.DirEntry) -> Entry:
    parts = (*parents, found.name)
    file = escape("/".join(parts))
    try:
        about = found.stat(follow_symlinks=False)
    except OSError as error:  # it has disappeared in the meantime
        return Entry(parts, file, "notebook", 0.0, problem=unreadable(error))
    # is_junction is new in Python 3.12
    if stat.S_ISLNK(about.st_mode) or getattr(found, "is_junction", bool)():
        return Entry(parts, file, "notebook", about.st_mtime, problem=LINK)
    kind = "folder" if stat.S_ISDIR(about.st_mode) else kind_of(found.name)
    return Entry(parts, file, kind, about.st_mtime)


def kind_of(name: str) -> str:
    kind = {".ipynb": "notebook", ".zip": "archive"}.get(os.path.splitext(name)[1].lower())
    is_misnamed = PACKED.fullmatch(name) or RENAMED.fullmatch(name)
    return kind or ("misnamed" if is_misnamed else "other")


def visible(parts: Iterable[str]) -> bool:
    """False for what programs leave beside the work: hidden files, checkpoints, macOS's copies."""
    return not any(part.startswith(".") and part != ".." or part == "__MACOSX" for part in parts)


def inspected(base: str, entry: Entry) -> Iterator[Entry]:
    """The entry with the hash of its bytes; after an archive, what it contains."""
    if entry.problem or entry.kind not in ("notebook", "archive"):
        yield entry
        return
    try:
        data = read_file(os.path.join(base, *entry.parts))
        inside = members(entry, data) if entry.kind == "archive" else []
    except GradingError as error:
        yield entry._replace(kind="notebook", problem=str(error))
        return
    yield entry if entry.kind == "archive" else hashed(entry, data)
    yield from inside


def hashed(entry: Entry, data: bytes) -> Entry:
    problem = "" if data else "the file is empty: ask for the notebook again"
    return entry._replace(sha256=hashlib.sha256(data).hexdigest(), problem=problem)


def read_file(path: str) -> bytes:
    """The bytes of a file. Raises GradingError if it is not a regular file or exceeds MAX_BYTES."""
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY")]
    try:
        check_regular(os.lstat(path))  # merely opening a device can have an effect
        with open(os.open(path, os.O_RDONLY | sum(flags)), "rb") as file:
            # The path may have been replaced in the meantime: check what was opened.
            check_regular(os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise GradingError(unreadable(error)) from None
    if len(data) > MAX_BYTES:
        raise GradingError(too_big(f"more than {MAX_BYTES / 1e6:.0f} MB"))
    return data


def check_regular(about: os.stat_result) -> None:
    if stat.S_ISLNK(about.st_mode):
        raise GradingError(LINK)
    if not stat.S_ISREG(about.st_mode):
        raise GradingError("it is a pipe, a device or a socket: ask for a file")
    if about.st_size > MAX_BYTES:
        raise GradingError(too_big(f"{about.st_size / 1e6:.1f} MB"))


def too_big(size: str) -> str:
    limit = f"{MAX_BYTES / 1e6:.0f} MB"
    return f"it has {size}, and {limit} are the limit: ask for less output, or unpack the archive"


def unreadable(error: OSError) -> str:
    return f"it cannot be read ({error.strerror}): check its permissions, or ask for it again"


# Archives -----------------------------------------------------------------------------------------


def members(outer: Entry, data: bytes) -> list[Entry]:
    """The visible members of the archive. Raises GradingError if it is broken."""
    entries, left = [], MAX_UNPACKED
    with opened(data) as archive:
        named = Counter(info.filename for info in archive.infolist())
        for name, info in {info.filename: info for info in archive.infolist()}.items():
            entry = member(outer, info)
            if not visible(entry.parts[len(outer.parts) :]):
                continue
            if entry.kind == "notebook" and not entry.problem:
                content, problem = unpacked(archive, info, min(MAX_BYTES, left))
                left -= len(content)
                if named[name] > 1:
                    problem = "the archive has two files of this name: ask for one"
                entry = entry._replace(problem=problem) if problem else hashed(entry, content)
            entries.append(entry)
    return entries


def opened(data: bytes) -> zipfile.ZipFile:
    # Each member has one such mark; they are counted before zipfile makes an object of each.
    if data.count(b"PK\x01\x02") > MAX_FILES:
        raise GradingError(
            f"the archive holds more than {MAX_FILES:,} files: ask for the notebooks alone"
        )
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception:  # zipfile raises a dozen kinds of errors for broken archives
        raise GradingError("it is no zip archive that can be opened: ask for it again") from None


def member(outer: Entry, info: zipfile.ZipInfo) -> Entry:
    """The member as an entry, not yet unpacked. A name that leads out of it is a problem."""
    path = info.filename.replace("\\", "/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    kind, problem = "folder" if path.endswith("/") else kind_of(path), ""
    if kind == "archive":
        problem = "it is an archive in an archive: unpack the outer one"
    if kind == "notebook" and (
        path.startswith("/") or ".." in parts or re.match("[A-Za-z]:", path)
    ):
        problem = "its name leads out of the archive: ask for the notebook itself"
    try:
        modified = float(calendar.timegm(info.date_time))
    except ValueError:  # month 0, as some archivers write
        modified = outer.modified
    file = f"{outer.file}!{escape(info.filename)}"
    return Entry(outer.parts + parts, file, kind, modified, problem=problem)


def unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> tuple[bytes, str]:
    """The member's bytes, as far as they were unpacked, and what is wrong with it, or "".

    The archive's own sizes are not trusted: the bytes that come out are counted.
    """
    if stat.S_ISLNK(info.external_attr >> 16):
        return b"", LINK
    if info.flag_bits & 1:
        return b"", "it is encrypted: ask for an archive without a password"
    # zipfile cannot limit what the other methods unpack to.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = "it is packed in a rare way: ask for an ordinary zip archive, or for the notebook itself"
        return b"", problem
    content = bytearray()
    try:
        with archive.open(info) as file:
            while len(content) <= limit and (chunk := file.read(65536)):
                content += chunk
    except Exception:  # as in opened()
        return bytes(content), "it cannot be unpacked, the archive is broken: ask for it again"
    if len(content) <= limit:
        return bytes(content), ""
    if limit < MAX_BYTES:
        most = f"{MAX_UNPACKED / 1e6:.0f} MB"
        return bytes(content), f"its archive unpacks to more than {most}: ask for one notebook"
    return bytes(content), too_big(f"more than {MAX_BYTES / 1e6:.0f} MB")


def read_submission(folder: Path, submission: Submission) -> bytes:
    """The notebook's bytes. Raises GradingError if they have changed since they were listed."""
    name = clean(submission.file, 200)
    if not submission.sha256:
        raise GradingError(f"{name} was not read: {submission.problem}.")
    outer, *inner = re.split(r"(?<=\.zip)!", submission.file, maxsplit=1, flags=re.IGNORECASE)
    try:
        base = folder if os.path.isdir(folder) else folder.parent
        data = read_file(os.path.join(base, *unescape(outer).split("/")))
        if inner:
            with opened(data) as archive:
                data = unpacked(archive, archive.getinfo(unescape(inner[0])), MAX_BYTES)[0]
    except (GradingError, KeyError) as error:
        raise GradingError(
            f"{name} was there and cannot be read now ({clean(str(error), 200)})."
        ) from None
    if hashlib.sha256(data).hexdigest() != submission.sha256:
        raise GradingError(
            f"{name} has changed since the submissions were listed: run the command again."
        )
    return data
