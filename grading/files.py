"""Files written whole: a reader finds the old file or the new one, never half of it."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from .errors import GradingError
from .text import clean


def write_whole(path: Path, text: str | bytes) -> None:
    """Put `text` (UTF-8) or bytes into the file `path` by renaming, on the disk before the name
    points to it.

    Raises GradingError when the disk is full or the folder cannot be written; the old file is then
    unchanged.
    """
    data = text.encode("utf-8") if isinstance(text, str) else text
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(
                file.fileno()
            )  # without it, a loss of power can leave the new name on an empty file
        os.chmod(temporary, 0o644)  # mkstemp keeps its files private
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise GradingError(told(path, error)) from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def told(path: Path, error: OSError) -> str:
    """One sentence for an error that stopped a file from being written."""
    name = clean(str(path), 300)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name} could not be written because the disk is full: make room and run the command again."
    reason = clean(error.strerror or type(error).__name__, 100)
    return f"{name} could not be written ({reason}): name a folder you can write to and run the command again."
