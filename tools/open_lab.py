"""Open your own copies of the labs in JupyterLab: `make lab`.

Copies that are missing are made first (own_labs.py). What the words after `make lab` say is handed
to jupyter-lab. Two things are put right before, because JupyterLab would end with its own words
otherwise: it does not start for root, as in a container, and it needs a home folder that it can
write to.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import own_labs

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / ".venv" / "jupyter"  # what JupyterLab keeps, where the home folder takes nothing
# What JupyterLab is set to unless its user decides otherwise: long lines of code are wrapped, since
# the descriptions of figures would be cut off.
DEFAULTS = ROOT / ".venv" / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
WRAPPED = {"@jupyterlab/notebook-extension:tracker": {"codeCellConfig": {"lineWrap": True}}}
# Where Jupyter and IPython keep their settings and what they know of running kernels.
PLACES = {
    "JUPYTER_CONFIG_DIR": ".jupyter",
    "JUPYTER_DATA_DIR": ".local/share/jupyter",
    "JUPYTER_RUNTIME_DIR": ".local/share/jupyter/runtime",
    "JUPYTERLAB_SETTINGS_DIR": ".jupyter/lab/user-settings",
    "JUPYTERLAB_WORKSPACES_DIR": ".jupyter/lab/workspaces",
    "IPYTHONDIR": ".ipython",
}


def takes_files(folder: Path) -> bool:
    """Whether a file can be made in the folder; it is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def own_places(home: Path, variables: dict[str, str]) -> dict[str, str]:
    """The variables for places that the home folder would not take; those that are set stay."""
    return {
        name: str(OWN / place)
        for name, place in PLACES.items()
        if name not in variables and not takes_files(home / place)
    }


def command(words: list[str], is_root: bool, folder: str) -> list[str]:
    made = [
        str(ROOT / ".venv" / "bin" / "jupyter-lab"),
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{folder}",
    ]
    allowed = ["--allow-root"] if is_root and "--allow-root" not in words else []
    return [*made, *allowed, *words]


def set_defaults() -> None:
    if not DEFAULTS.exists() and takes_files(DEFAULTS.parent):
        DEFAULTS.write_text(json.dumps(WRAPPED, indent=2), "utf-8")


def copies() -> str:
    """Make the learner's copies; returns the folder to open."""
    try:
        for sentence in own_labs.complete():
            print(sentence, flush=True)
    except OSError as error:
        print(
            f"No copies for you could be made in {own_labs.OWN} ({error.strerror}): these are the "
            "book's own notebooks, with their outputs.",
            flush=True,
        )
        return "labs"
    return own_labs.OWN.name


def main(words: list[str]) -> None:
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    places = own_places(Path(os.path.expanduser("~")), dict(os.environ))
    if is_root:
        print("You are root, so whoever can open this JupyterLab is root too.", flush=True)
    if places:
        print(f"Your home folder takes no files: JupyterLab keeps its own in {OWN}.", flush=True)
    set_defaults()
    made = command(words, is_root, copies())
    os.execve(made[0], made, os.environ | places)


if __name__ == "__main__":
    main(sys.argv[1:])
