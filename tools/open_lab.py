"""Open the labs in JupyterLab: `make lab`.

What the words after it say is handed to jupyter-lab. Two things are put right before, because
JupyterLab would end with its own words otherwise: it does not start for root, as in a container,
and it needs a home folder that it can write to.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / ".venv" / "jupyter"  # what JupyterLab keeps, where the home folder takes nothing
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


def command(words: list[str], is_root: bool) -> list[str]:
    made = [
        str(ROOT / ".venv" / "bin" / "jupyter-lab"),
        f"--ServerApp.root_dir={ROOT}",
        "--LabApp.default_url=/lab/tree/labs",
    ]
    allowed = ["--allow-root"] if is_root and "--allow-root" not in words else []
    return [*made, *allowed, *words]


def main(words: list[str]) -> None:
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    places = own_places(Path(os.path.expanduser("~")), dict(os.environ))
    if is_root:
        print("You are root, so whoever can open this JupyterLab is root too.", flush=True)
    if places:
        print(f"Your home folder takes no files: JupyterLab keeps its own in {OWN}.", flush=True)
    made = command(words, is_root)
    os.execve(made[0], made, os.environ | places)


if __name__ == "__main__":
    main(sys.argv[1:])
