"""The container is built from what the repository holds, and its Python is one that the set-up takes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import set_up

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / ".devcontainer" / "devcontainer.json"
GIT = ".git"  # a folder, or a file in a linked worktree


def instructions():
    """(word, rest) of each instruction in the Dockerfile, with its lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", "")
    found = re.findall(r"^([A-Z]+) +(.+)$", text, flags=re.M)
    assert [word for word, _ in found].count("FROM") == 1
    return found


def last(word):
    """What the last instruction with this word says; it is the one that counts."""
    return [rest for found, rest in instructions() if found == word][-1]


def settings():
    return json.loads(DEV.read_text("utf8"))


def copied(rest):
    """What a COPY takes, without its options and its destination."""
    words = [word for word in shlex.split(rest) if not word.startswith("--")]
    return [os.path.normpath(word) for word in words[:-1]]


def copies_before(command):
    """What lies in the image when the first RUN with this command begins."""
    found = []
    for word, rest in instructions():
        if word == "COPY":
            found += copied(rest)
        elif word == "RUN" and command in rest:
            return found
    raise AssertionError(f"no RUN has {command}")


def left_out(path):
    """Whether .dockerignore keeps this path, or a folder above it, out of the image.

    Of its syntax only what the file uses: names, folders, and **/ for any folder or none.
    """
    lines = (ROOT / ".dockerignore").read_text("utf8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"(\*\*/)?[\w./-]+", rule) for rule in rules), "teach left_out() this"
    parts = path.split("/")
    above = {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return any(
        re.fullmatch(re.escape(rule).replace(r"\*\*/", "(.*/)?"), place)
        for rule in rules
        for place in above
    )


# --- what goes in ---------------------------------------------------------------------------------


def test_all_that_is_copied_is_there():
    taken = {path for word, rest in instructions() if word == "COPY" for path in copied(rest)}
    assert {path for path in taken if not (ROOT / path).exists() or left_out(path)} == set()
    assert "." in taken


def test_the_set_up_finds_what_it_reads_and_nothing_that_changes_more_often():
    assert set(copies_before("make setup")) == {"Makefile", *set_up.INPUTS}


def test_the_real_model_is_made_from_what_is_there(tmp_path):
    for path in copies_before("smollm2.main()"):
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, tmp_path / path)
        else:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / path, tmp_path / path)
    command = [sys.executable, "-c", "from course import smollm2; print(smollm2.ROOT)"]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        command, cwd=tmp_path / "labs", env=variables, capture_output=True, text=True
    )
    assert run.stdout.strip() == str(tmp_path), run.stderr


def test_what_git_ignores_stays_out():
    ignored = (ROOT / ".gitignore").read_text("utf8").split()
    assert all(re.fullmatch(r"[\w./-]+/", pattern) for pattern in ignored)  # folders, by name
    folders = [GIT, *(pattern.rstrip("/") for pattern in ignored)]
    # git takes a name without a slash to mean a folder at any depth
    deep = [f"labs/{folder}" for folder in folders[1:] if "/" not in folder]
    assert {".venv", "mine", "_build", "labs/mine"} <= {*folders, *deep}
    assert [path for path in folders + deep if not left_out(f"{path}/file")] == []


def test_what_git_tracks_goes_in():
    if not (shutil.which("git") and (ROOT / GIT).exists()):
        pytest.skip("there is no git repository here")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = listed.strip("\0").split("\0")
    assert "Makefile" in tracked
    assert [path for path in tracked if left_out(path)] == []


# --- how it is built and used ---------------------------------------------------------------------


def test_the_set_up_takes_the_python_of_the_image():
    image = last("FROM")
    version = re.match(r"python:(\d+)\.(\d+)-", image)
    assert version, image
    assert set_up.version_problem((*map(int, version.groups()), 0)) is None


def test_no_argument_of_the_build_stays_in_the_image():
    """An index or a proxy of whoever builds it is nobody else's business."""
    arguments = {rest.partition("=")[0] for word, rest in instructions() if word == "ARG"}
    assert "PIP_EXTRA_INDEX_URL" in arguments
    kept = " ".join(rest for word, rest in instructions() if word in ("ENV", "LABEL", "CMD"))
    assert [name for name in arguments if name in kept] == []
    assert arguments >= set(settings()["build"]["args"])


def test_the_user_is_not_root_and_owns_what_is_copied():
    words = [word for word, _ in instructions()]
    assert words.index("USER") < words.index("COPY")
    assert last("USER") == "$NB_UID" and ("ARG", "NB_UID=1000") in instructions()  # as Binder asks
    copies = [rest for word, rest in instructions() if word == "COPY"]
    assert all(rest.startswith("--chown=$NB_UID ") for rest in copies)
    users = [re.search(r"useradd [^&]*?(\w+) *(?:&|$)", rest) for _, rest in instructions()]
    assert [user[1] for user in users if user] == [settings()["remoteUser"]]


def test_jupyterlab_can_be_reached_and_asks_for_its_token():
    command = json.loads(last("CMD"))
    assert command[:2] == ["make", "lab"] and "--ip=0.0.0.0" in command[2]
    assert not re.search("token|password", command[2], flags=re.I)
    assert settings()["forwardPorts"] == [int(last("EXPOSE"))]


def test_the_dev_container_has_the_dockerfile_and_the_environment_of_the_image():
    """.venv works in one folder alone. A volume there begins with what the image has; the sources are
    mounted around it, so that the .venv of the machine outside is neither used nor emptied."""
    build, folder = settings()["build"], last("WORKDIR")
    assert (DEV.parent / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (DEV.parent / build["context"]).resolve() == ROOT
    assert f"PATH={folder}/.venv/bin:$PATH" in last("ENV").split()
    assert settings()["workspaceFolder"] == folder
    assert f",target={folder},type=bind" in settings()["workspaceMount"]
    (mount,) = settings()["mounts"]
    assert mount.endswith(f",target={folder}/.venv,type=volume")
    # Docker would make the folder of the mount outside as root, and make setup could not use it there.
    assert settings()["initializeCommand"].startswith("mkdir .venv ")
