"""What learners handed in: a folder or a .zip each, with an adapter and a defence.

    <student>/adapter_config.json            or  <student>.zip with the same files in it
              adapter_model.safetensors
              defence.md                     read by a person; its length is told

The files may lie one folder deeper, and a .zip may lie in a folder, as Moodle exports it. Links are
not followed, archives are read in memory, and of each file only as much as is allowed.
"""

import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import GradingError
from ..text import clean

CONFIG, WEIGHTS, DEFENCE = "adapter_config.json", "adapter_model.safetensors", "defence.md"
MOST = {CONFIG: 65_536, WEIGHTS: 3_000_000, DEFENCE: 200_000}  # bytes
LESS = {  # what to do about a file that is larger
    CONFIG: "save the adapter again",
    WEIGHTS: "save the adapter alone, with a smaller rank",
    DEFENCE: "hand in text, a page or two of it",
}
SPELLED = {name: DEFENCE for name in ("defence.md", "defense.md", "defence.txt", "defense.txt")}
QUOTED = ("peft_type", "r", "lora_alpha", "use_rslora")  # settings that messages quote
ARCHIVE = ".zip"
LEFT_BEHIND = ("Thumbs.db", "desktop.ini", "Icon\r")
MOST_FILES = 1_000  # in an archive or a folder
MOST_ARCHIVE = 10_000_000


class Refused(Exception):
    """Something that the student can put right: the message says what is wrong and what to do."""


class Artefact(NamedTuple):
    """One hand-in. files: contents by name, of those that may be read · problem: why it cannot be
    examined, "" if it can"""

    student: str
    files: Mapping[str, bytes]
    problem: str = ""


def find_artefacts(folder: Path) -> list[Artefact]:
    """All hand-ins in a folder, by student. What cannot be read is listed with its problem.

    Raises GradingError if there is no such folder or nothing in it.
    """
    if not folder.is_dir():
        raise GradingError(
            f"There is no folder {clean(str(folder), 200)}: name the one that holds the hand-ins."
        )
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise GradingError(
            f"{clean(str(folder), 200)} cannot be read ({error.strerror}): change its permissions."
        ) from None
    found = [read(path) for path in paths if is_hand_in(path)]
    if not found:
        raise GradingError(
            f"{clean(str(folder), 200)} holds no hand-in: put each student's folder or .zip there, "
            f"with {CONFIG} and {WEIGHTS} in it."
        )
    return found


def is_hand_in(path: Path) -> bool:
    """Everything but what systems leave behind: what is no hand-in is listed with the reason."""
    return not path.name.startswith((".", "__")) and path.name not in LEFT_BEHIND


def read(path: Path) -> Artefact:
    """One hand-in, whatever it is."""
    student = clean(path.stem if path.suffix.lower() == ARCHIVE else path.name, 80) or "(no name)"
    files: dict[str, bytes] = {}
    try:
        collect(files, listed_in(path))
        check_settings(files[CONFIG])
    except Refused as refusal:
        return Artefact(student, files, str(refusal))
    return Artefact(student, files)


# Names, sizes and ways to read
Listed = Iterator[tuple[str, int, Callable[[int], bytes]]]


def collect(files: dict[str, bytes], listed: Listed) -> None:
    """Put the files that count into `files`, each within its limit; raises Refused, after the last
    one, for the first that is wrong or missing."""
    wrong = []
    for name, size, take in listed:
        name = SPELLED.get(name.lower(), name)
        if name in MOST:
            try:
                files[name] = whole(name, size, take, files)
            except Refused as refusal:
                wrong.append(refusal)
    if wrong:
        raise wrong[0]
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise Refused(
                f"there is no {name} in it or one folder below: save the adapter with "
                "adapter_files.save and hand in that folder"
            )


def whole(name: str, size: int, take: Callable[[int], bytes], files: Mapping[str, bytes]) -> bytes:
    """The content of one file; raises Refused for one that is there already or too large."""
    if name in files:
        raise Refused(f"there are two files {name}: hand in one adapter")
    if size > MOST[name]:
        raise Refused(
            f"{name} has {size:,} bytes, and {MOST[name]:,} are read at most: {LESS[name]}"
        )
    data = take(MOST[name] + 1)
    if len(data) > MOST[name]:
        raise Refused(f"{name} is larger than it says: zip the folder again")
    return data


def listed_in(path: Path) -> Listed:
    """The files of a hand-in; raises Refused for what is neither a folder nor an archive."""
    kind = kind_of(path)
    if stat.S_ISLNK(kind):
        raise Refused("it is a symbolic link, and links are not followed: ask for the files")
    if stat.S_ISDIR(kind):
        return from_folder(path)
    if stat.S_ISREG(kind) and path.suffix.lower() == ARCHIVE:
        return from_archive(path)
    raise Refused("it is neither a folder nor a .zip: put the adapter and the defence into one")


def kind_of(path: Path) -> int:
    """What lies there, links not followed; raises Refused for what cannot be looked at."""
    try:
        return path.lstat().st_mode
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> Refused:
    return Refused(
        f"{clean(path.name, 80)} cannot be read ({error.strerror}): ask for it once more, or change "
        "its permissions"
    )


def from_folder(folder: Path) -> Listed:
    """The regular files of a folder and of the folders right below it, and what their archives
    hold: Moodle puts the archive that a student uploaded into a folder."""
    for number, path in enumerate(below(folder)):
        if number >= MOST_FILES:
            raise Refused(f"it holds more than {MOST_FILES:,} files: hand in the adapter alone")
        if not stat.S_ISREG(kind_of(path)):
            continue
        if path.suffix.lower() == ARCHIVE:
            yield from from_archive(path)
        else:
            yield path.name, path.lstat().st_size, lambda most, path=path: start_of(path, most)


def below(folder: Path) -> Iterator[Path]:
    """What lies in a folder, and then in the folders in it; links and hidden names left out."""
    inside = []
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith((".", "__")):
                yield path
                inside += [path] if stat.S_ISDIR(kind_of(path)) else []
        for deeper in inside:
            yield from sorted(deeper.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from None


def start_of(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise unreadable(path, error) from None


def from_archive(path: Path) -> Listed:
    """The files of an archive, wherever they lie in it; nothing is unpacked to disk."""
    data = start_of(path, MOST_ARCHIVE + 1)
    if len(data) > MOST_ARCHIVE:
        raise Refused(f"the archive is larger than {MOST_ARCHIVE:,} bytes: zip the adapter alone")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        listed = archive.infolist()
        if len(listed) > MOST_FILES:
            raise Refused(f"it holds more than {MOST_FILES:,} files: hand in the adapter alone")
        for entry in listed:
            parts = entry.filename.replace("\\", "/").split("/")
            if "__MACOSX" in parts or entry.is_dir():
                continue
            if entry.flag_bits & 1:
                raise Refused("the archive is locked with a password: zip it again without one")
            yield (
                parts[-1],
                entry.file_size,
                lambda most, entry=entry: start_in(archive, entry, most),
            )
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError):
        raise Refused("the archive is damaged: zip the folder again") from None


def start_in(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    try:
        with archive.open(entry) as file:
            return file.read(most)
    except Exception:  # what zlib, bz2 and lzma raise for damaged data is their own affair
        raise Refused("the archive is damaged: zip the folder again") from None


def check_settings(data: bytes) -> None:
    """Raises Refused for settings that are none, that would fill a page when they are quoted, or
    whose targets are a regular expression: one can be written that never ends."""
    try:
        settings = json.loads(data)
        long = [
            key for key in QUOTED if isinstance(settings, dict) and len(str(settings.get(key))) > 40
        ]
    except (ValueError, RecursionError):
        raise Refused(f"{CONFIG} is no JSON: save the adapter again") from None
    if not isinstance(settings, dict):
        raise Refused(f"{CONFIG} holds no settings: save the adapter again")
    if long:
        raise Refused(
            f"{CONFIG} gives {long[0]} a value that is far too long: save the adapter again"
        )
    targets = settings.get("target_modules")
    named = isinstance(targets, list) and all(isinstance(target, str) for target in targets)
    if targets != "all-linear" and not named:
        raise Refused(
            f'{CONFIG} names its target_modules in another way than as a list or as "all-linear": '
            "write a list of layer names"
        )
