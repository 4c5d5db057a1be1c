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
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from .. import course
from ..errors import GradingError
from ..text import clean
from .submission import Submission, match_export_name

MAX_FILES = 10_000  # in the folder, and in each archive
MAX_BYTES = 50_000_000  # of a notebook or an archive
MAX_UNPACKED = 500_000_000  # of all notebooks in one archive

LABS = {name.lower() for name in course.notebooks()}
TRAILING_LAB = re.compile(
    rf"(?:^|[\W_])(?:{'|'.join(sorted(LABS))})(?:[\s_(-]*\d+\)?)?\Z", re.IGNORECASE
)

LINK = "it is a symbolic link, and links are not followed: ask for the file itself"


class Entry(NamedTuple):
    """Something in the folder or in an archive, with the names that lead to it."""

    parts: tuple[str, ...]
    file: str
    kind: str  # "notebook", "archive", "folder" or "other"; a notebook is always a submission
    modified: float
    sha256: str = ""
    problem: str = ""


class Owner(NamedTuple):
    """Whose an entry is, going by its path alone."""

    student: str
    number: str  # the LMS's number of the student, "" if there is none
    attempt: int | None
    key: tuple[str, ...]  # the same for everything that one student handed in together


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
    owned = [
        (entry, owner_of(entry.parts[outer:])) for entry in entries if len(entry.parts) > outer
    ]
    handed_in = {owner.key for entry, owner in owned if entry.kind == "notebook"}
    numbers = defaultdict(set)
    for _, owner in owned:
        numbers[owner.student].add(owner.number)
    submissions = []
    for entry, owner in owned:
        if entry.kind == "notebook" or is_claim(entry, owner) and owner.key not in handed_in:
            handed_in.add(owner.key)
            submissions.append(submission(entry, owner, namesakes=len(numbers[owner.student]) > 1))
    if not submissions:
        raise GradingError(
            f"There is no submission in {clean(str(folder), 200)}: name the folder that holds the "
            "notebooks (.ipynb), or one notebook."
        )
    return submissions


def submission(entry: Entry, owner: Owner, namesakes: bool) -> Submission:
    missing = (
        f"there is no notebook in {clean(entry.parts[-1], 80)}: ask for a file that ends in .ipynb"
    )
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
        entry.problem or ("" if entry.kind == "notebook" else missing),
    )


def is_claim(entry: Entry, owner: Owner) -> bool:
    """Whether the entry shows that a student handed something in, though not a notebook."""
    if entry.kind == "folder":
        return entry.parts[-1].lower() not in LABS
    return entry.kind == "archive" or bool(owner.number)


def wrapper(entries: list[Entry]) -> int:
    """How many outer levels to skip: 1 if one folder or archive holds the LMS's export, else 0."""
    tops = {entry.parts[0] for entry in entries}
    inside = any(len(entry.parts) > 1 and match_export_name(entry.parts[1]) for entry in entries)
    return int(len(tops) == 1 and inside and not match_export_name(tops.pop()))


def owner_of(parts: tuple[str, ...]) -> Owner:
    """The student named by the outermost folder or file.

    Names further in were chosen by the student and could be those of others.
    """
    depth = 0
    while depth < len(parts) - 1 and parts[depth].lower() in LABS:  # one folder for each lab
        depth += 1
    part, match = parts[depth], match_export_name(parts[depth])
    if match:
        attempt = int(match["attempt"]) if match["attempt"] else None
        return Owner(
            escape(match["name"] or "").strip() or match["number"],
            match["number"],
            attempt,
            (*parts[:depth], match["number"]),
        )
    stem = re.sub(r"\.(ipynb|zip)\Z", "", part, flags=re.IGNORECASE)
    lab = TRAILING_LAB.search(stem)
    name = stem[: lab.start()].rstrip("_-( ") if lab else stem
    return Owner(
        escape(name).strip() or escape(stem).strip() or ascii(part), "", None, parts[: depth + 1]
    )


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
    if kind == "other":
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
    return {".ipynb": "notebook", ".zip": "archive"}.get(os.path.splitext(name)[1].lower(), "other")


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
