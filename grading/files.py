"""Files written whole: a reader finds the old file or the new one, never half of it."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from .errors import GradingError
from .text import clean


def write_durably(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to the file `path`, on the disk before the name points to it.

    Raises GradingError if the disk is full or the folder is not writable. The old file then stays.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            # Without it, a power failure can leave the new name on an empty file.
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes its files private
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise GradingError(explain(path, error)) from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def explain(path: Path, error: OSError) -> str:
    """One sentence on why a file could not be written, and what to do."""
    name = clean(str(path), 300)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{name} could not be written because the disk is full: make room and run the command "
            "again."
        )
    reason = clean(error.strerror or type(error).__name__, 100)
    return (
        f"{name} could not be written ({reason}): name a folder you can write to and run the "
        "command again."
    )
