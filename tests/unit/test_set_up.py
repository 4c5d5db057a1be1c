"""The set-up refuses what cannot work, repairs what was left half done, and otherwise does
nothing."""

import ast
import builtins
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import open_lab
import pytest
import set_up

ROOT = Path(__file__).resolve().parents[2]
OLD_PYTHONS = ["python2.7", "python3.6", "python3.8", "python3.9", "python3.10"]

# Where a module and the distribution that brings it have different names.
DISTRIBUTIONS = {"yaml": "pyyaml"}


# --- which Python ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 1), (3, 13, 9)])
def test_supported_versions_pass(version):
    assert set_up.version_problem(version) is None


@pytest.mark.parametrize(
    "version, fault",
    [((2, 7, 18), "old"), ((3, 10, 13), "old"), ((3, 14, 0), "new"), ((4, 0, 0), "new")],
)
def test_other_versions_get_one_sentence_with_the_cure(version, fault):
    sentence = set_up.version_problem(version)
    assert f"too {fault}" in sentence
    assert ".".join(map(str, version)) in sentence
    assert "3.11, 3.12 or 3.13" in sentence and "PYTHON=python3.12" in sentence
    assert "\n" not in sentence


def old_pythons():
    on_path = [shutil.which(name) for name in OLD_PYTHONS]
    in_pyenv = sorted(Path.home().glob(".pyenv/versions/*/bin/python"))
    for python in filter(None, [*on_path, *map(str, in_pyenv)]):
        code = "import sys; print(sys.version_info[:2] < (3, 11))"
        found = subprocess.run([python, "-c", code], capture_output=True, text=True)
        if found.stdout.strip() == "True":
            yield python


def test_an_old_interpreter_is_refused_without_a_traceback(project):
    pythons = list(old_pythons())
    if not pythons:
        pytest.skip("no Python older than 3.11 is installed here")
    for python in pythons:
        run = subprocess.run(
            [python, str(project / "tools" / "set_up.py")], capture_output=True, text=True
        )
        assert run.returncode == 1, python
        assert "is too old" in run.stderr and "Traceback" not in run.stderr
        assert not (project / ".venv").exists()


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_gets_one_sentence(project, installer, monkeypatch, module):
    real_import = builtins.__import__

    def without_module(name, *rest, **more):
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_module)
    with pytest.raises(set_up.SetUpError) as refusal:
        set_up.set_up(str(project))
    assert f"its module {module} is missing" in str(refusal.value)
    assert "python3-venv" in str(refusal.value) and "\n" not in str(refusal.value)
    assert installer.commands == []


# --- the stamp ------------------------------------------------------------------------------------


class Installer:
    """Stands in for set_up.call: makes a .venv that runs, and fails or is killed where a test says
    so."""

    def __init__(self):
        self.commands = []
        self.killed_at = None
        self.failing = None
        self.failing_step = "pip"
        self.variables = {}

    def __call__(self, what, command, lock, start, variables):
        self.variables = variables
        step = "venv" if "venv" in command else "pip" if "pip" in command else "labextension"
        step = "model" if "--require-hashes" in command else step
        self.last = command
        self.commands.append(step)
        if step == self.killed_at:
            raise KeyboardInterrupt
        if step == "venv":
            make_venv(Path(command[-1]))
        return (1, self.failing) if self.failing and step == self.failing_step else (0, [""])


def make_venv(folder):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)


@pytest.fixture
def project(tmp_path):
    """A folder with the files that the set-up reads."""
    (tmp_path / "tools").mkdir()
    for name in set_up.INPUTS:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def installer(monkeypatch):
    fake = Installer()
    monkeypatch.setattr(set_up, "call", fake)
    return fake


def ready(project):
    return (project / ".venv" / ".ready").exists()


def test_a_first_run_installs_and_a_second_does_nothing(project, installer):
    set_up.set_up(str(project))
    assert installer.commands == ["venv", "pip", "labextension", "model"]
    set_up.set_up(str(project))
    assert len(installer.commands) == 4


@pytest.mark.parametrize("name", set_up.INPUTS)
def test_a_changed_input_installs_again_into_the_same_environment(project, installer, name):
    set_up.set_up(str(project))
    installer.commands.clear()
    with open(project / name, "a") as file:
        file.write("# changed\n")
    set_up.set_up(str(project))
    assert installer.commands == ["pip", "labextension", "model"]


def test_a_touched_but_equal_input_does_nothing(project, installer):
    set_up.set_up(str(project))
    installer.commands.clear()
    os.utime(project / "requirements.txt", (0, 2_000_000_000))
    set_up.set_up(str(project))
    assert installer.commands == []


@pytest.mark.parametrize("step", ["venv", "pip", "labextension", "model"])
def test_a_killed_set_up_leaves_no_stamp_and_the_next_run_starts_afresh(project, installer, step):
    installer.killed_at = step
    with pytest.raises(KeyboardInterrupt):
        set_up.set_up(str(project))
    assert not ready(project)
    installer.killed_at = None
    installer.commands.clear()
    set_up.set_up(str(project))
    assert installer.commands == ["venv", "pip", "labextension", "model"]
    assert ready(project)


def test_a_killed_update_is_not_taken_for_a_whole_environment(project, installer):
    set_up.set_up(str(project))
    (project / "requirements.txt").write_text("torch==0\n")
    installer.killed_at = "pip"
    with pytest.raises(KeyboardInterrupt):
        set_up.set_up(str(project))
    shutil.copy(ROOT / "requirements.txt", project / "requirements.txt")
    installer.killed_at = None
    installer.commands.clear()
    set_up.set_up(str(project))
    assert installer.commands == ["venv", "pip", "labextension", "model"]


@pytest.mark.parametrize("target", ["/no/such/python", "/bin/false"])
def test_an_environment_whose_python_is_broken_is_made_afresh(project, installer, target):
    set_up.set_up(str(project))
    installer.commands.clear()
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(target)
    set_up.set_up(str(project))
    assert installer.commands == ["venv", "pip", "labextension", "model"]


def test_an_environment_without_pip_is_made_afresh_when_it_must_be_updated(
    project, installer, monkeypatch
):
    set_up.set_up(str(project))
    installer.commands.clear()
    (project / "requirements.txt").write_text("torch==0\n")
    monkeypatch.setattr(set_up, "runs", lambda python, code: "pip" not in code)
    set_up.set_up(str(project))
    assert installer.commands == ["venv", "pip", "labextension", "model"]


def test_a_moved_folder_is_set_up_afresh(project, installer):
    set_up.set_up(str(project))
    installer.commands.clear()
    moved = project.with_name(project.name + "-moved")
    project.rename(moved)
    set_up.set_up(str(moved))
    assert installer.commands == ["venv", "pip", "labextension", "model"]


# --- when pip fails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, reason",
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken",
            "check the network",
        ),
        ("ERROR: No matching distribution found for torch==0", "ended with status 1"),
    ],
)
def test_a_failing_pip_gives_a_reason_its_last_lines_and_no_stamp(project, installer, line, reason):
    installer.failing = ["Collecting torch\n", line + "\n"]
    with pytest.raises(set_up.SetUpError) as refusal:
        set_up.set_up(str(project))
    sentence, *rest = str(refusal.value).split("\n")
    assert sentence.startswith("Installing the packages failed: ") and reason in sentence
    assert line in rest
    assert not ready(project)


def test_without_the_real_model_the_environment_is_whole_and_the_reader_told(
    project, installer, capsys
):
    installer.failing, installer.failing_step = ["WARNING: Retrying (Retry(total=0))\n"], "model"
    set_up.set_up(str(project))
    told = capsys.readouterr().out
    assert ready(project)
    assert "Everything but the real model is there." in told
    assert "check the network, then run `make model`" in told
    set_up.set_up(str(project))
    assert installer.commands == ["venv", "pip", "labextension", "model"]


def test_the_real_model_is_fetched_again_on_request_alone_with_its_hash_and_nothing_else(
    project, installer
):
    set_up.set_up(str(project))
    assert "--force-reinstall" not in installer.last
    installer.commands.clear()
    set_up.bring_model_again(str(project))
    assert installer.commands == ["model"]
    assert {"--no-deps", "--require-hashes", "--force-reinstall"} <= set(installer.last)
    installer.failing, installer.failing_step = ["No space left on device\n"], "model"
    with pytest.raises(set_up.SetUpError, match="the disk is full"):
        set_up.bring_model_again(str(project))
    assert ready(project)


def test_the_last_lines_of_a_real_command_are_kept(project):
    code = "for i in range(100): print(i)\nraise SystemExit(3)"
    with open(project / "requirements.txt", "rb") as lock:
        status, lines = set_up.call("Counting", [sys.executable, "-c", code], lock, time.time())
    assert status == 3
    assert lines == [f"{i}\n" for i in range(100 - set_up.LINES_SHOWN, 100)]


def test_the_command_line_says_it_in_a_sentence_and_exits_with_1(project):
    (project / "constraints.txt").unlink()
    command = [sys.executable, str(project / "tools" / "set_up.py")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "constraints.txt" in run.stderr and "Traceback" not in run.stderr


# --- what a shell sets ----------------------------------------------------------------------------

# The sources of packages, which people need, and what would spoil the set-up.
KEPT = ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_PROXY", "PIP_CERT", "HTTPS_PROXY", "HOME"]
HARMFUL = [
    *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_DEPS", "PIP_CONSTRAINT"),
    *("PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN", "PIP_PYTHON", "PIP_NO_BINARY", "PIP_PRE"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONSTARTUP", "PYTHONOPTIMIZE"),
]


def test_variables_that_spoil_the_set_up_do_not_reach_it(project, installer, monkeypatch):
    for name in KEPT + HARMFUL:
        monkeypatch.setenv(name, "/nowhere")
    set_up.set_up(str(project))
    assert ready(project) and not set(HARMFUL) & set(installer.variables)
    assert {installer.variables[name] for name in KEPT} == {"/nowhere"}


def test_of_pips_files_only_the_sources_of_packages_are_kept(project, monkeypatch):
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    file = project / "pip.conf"
    file.write_text(
        "[global]\nuser = true\nproxy = http://p:1\nindex-url = https://global/simple\n"
        "[install]\ntarget = /nowhere\nindex-url = https://install/simple\nno-deps = 1\n"
        "extra-index-url =\n  https://one\n  https://two\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_PROXY", "http://mine:2")
    made = set_up.environment_for_pip(sys.executable)
    assert not {"PIP_USER", "PIP_TARGET", "PIP_NO_DEPS"} & set(made)
    expected = {
        "PIP_CONFIG_FILE": [os.devnull],
        "PIP_PROXY": ["http://mine:2"],
        "PIP_INDEX_URL": ["https://install/simple"],
        "PIP_EXTRA_INDEX_URL": ["https://one", "https://two"],
    }
    assert {name: made[name].split() for name in expected} == expected


def test_a_real_pip_obeys(project, monkeypatch):
    """What pip itself makes of the variables: no setting is left that says where packages go."""
    for name in HARMFUL:
        monkeypatch.setenv(name, "1")
    command = [sys.executable, "-m", "pip", "config", "list"]
    made = set_up.environment_for_pip(sys.executable)
    listed = subprocess.run(command, env=made, capture_output=True, text=True, check=True).stdout
    settings = re.findall(r"^[^.]+\.([a-z-]+)=", listed.replace(":env:.", "env."), flags=re.M)
    assert set(settings) <= {*set_up.SOURCES, "config-file"}


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed here")
@pytest.mark.parametrize("target", ["book", "grade", "lab", "setup"])
def test_no_target_hands_on_what_would_change_our_python(project, monkeypatch, target):
    """With stand-ins for the Pythons and for jupyter-book, which write down what they get."""
    shutil.copy(ROOT / "Makefile", project)
    bin = project / ".venv" / "bin"
    bin.mkdir(parents=True)
    for name in ("python", "jupyter-book", "python3"):
        (bin / name).write_text("#!/bin/sh\nenv >> seen\n")
        (bin / name).chmod(0o755)
    (project / "tools" / "open_lab.py").touch()
    for name in HARMFUL:
        if name.startswith("PYTHON"):
            monkeypatch.setenv(name, "/nowhere")
    words = ["make", "-s", target, f"PYTHON={bin / 'python3'}", "SUBMISSIONS=x"]
    subprocess.run(words, cwd=project, check=True, capture_output=True)
    seen = (project / "seen").read_text()
    assert "PATH=" in seen
    assert [name for name in HARMFUL if re.search(rf"^{name}=", seen, flags=re.M)] == []


# --- another Python -------------------------------------------------------------------------------


def test_another_python_that_is_named_makes_the_environment_afresh(project, installer, monkeypatch):
    set_up.set_up(str(project))
    set_up.set_up(str(project), named=True)
    assert len(installer.commands) == 4
    runs = set_up.runs
    installer.commands.clear()
    with monkeypatch.context() as other:
        other.setattr(set_up, "runs", lambda *words: "version" not in words[1] and runs(*words))
        set_up.set_up(str(project))
        assert installer.commands == []
        set_up.set_up(str(project), named=True)
    assert installer.commands == ["venv", "pip", "labextension", "model"]


def test_a_python_that_does_not_fit_is_refused_when_it_is_named(project, installer, monkeypatch):
    set_up.set_up(str(project))
    installer.commands.clear()
    monkeypatch.setattr(set_up.sys, "version_info", (3, 14, 0))
    set_up.set_up(str(project))
    with pytest.raises(set_up.SetUpError, match="too new"):
        set_up.set_up(str(project), named=True)
    assert ready(project) and installer.commands == []


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed here")
def test_make_says_whether_a_python_was_named(project):
    shutil.copy(ROOT / "Makefile", project)
    python = project / "python3"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    path = os.environ | {"PATH": f"{project}:{os.environ['PATH']}", "PYTHON": "python3"}
    told = [
        subprocess.run(words, cwd=project, env=path, capture_output=True, text=True).stdout.split()
        for words in (["make", "-s", "setup"], ["make", "-s", "setup", "PYTHON=python3"])
    ]
    assert told == [["tools/set_up.py"], ["tools/set_up.py", "--with-this-python"]]


# --- JupyterLab -----------------------------------------------------------------------------------


def opened(monkeypatch, user, home, *words, **variables):
    """What tools/open_lab.py would start: the words and the variables."""
    calls = []
    monkeypatch.setattr(open_lab, "copies", lambda: "mine")
    monkeypatch.setattr(open_lab, "DEFAULTS", Path(home, "overrides.json"))
    monkeypatch.setattr(open_lab.os, "execve", lambda *call: calls.append(call))
    monkeypatch.setattr(open_lab.os, "geteuid", lambda: user)
    for name in open_lab.PLACES:
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": str(home)}).items():
        monkeypatch.setenv(name, value)
    open_lab.main(list(words))
    ((_, command, environment),) = calls
    return command, environment


@pytest.mark.parametrize("user, is_allowed", [(0, True), (1000, False)])
def test_root_may_open_the_labs_and_is_told(tmp_path, monkeypatch, capsys, user, is_allowed):
    command, environment = opened(monkeypatch, user, tmp_path, "--no-browser")
    assert ("--allow-root" in command) is is_allowed and command[-1] == "--no-browser"
    assert ("You are root" in capsys.readouterr().out) is is_allowed
    assert not set(open_lab.PLACES) & set(environment)
    command, _ = opened(monkeypatch, 0, tmp_path, "--allow-root")
    assert command.count("--allow-root") == 1


@pytest.mark.parametrize("home", ["/dev/null", "/proc", "file"])
def test_a_home_that_takes_no_files_is_replaced(tmp_path, monkeypatch, capsys, home):
    (tmp_path / "file").touch()
    _, environment = opened(monkeypatch, 1000, tmp_path / home, IPYTHONDIR=str(tmp_path))
    assert environment["IPYTHONDIR"] == str(tmp_path)
    for name in set(open_lab.PLACES) - {"IPYTHONDIR"}:
        assert environment[name].startswith(str(open_lab.OWN)), name
    assert "takes no files" in capsys.readouterr().out


def test_long_lines_are_wrapped_unless_somebody_has_decided_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(open_lab, "DEFAULTS", tmp_path / "settings" / "overrides.json")
    open_lab.set_defaults()
    (setting,) = json.loads(open_lab.DEFAULTS.read_text("utf8")).values()
    assert setting == {"codeCellConfig": {"lineWrap": True}}
    open_lab.DEFAULTS.write_text("{}", "utf8")
    open_lab.set_defaults()
    assert open_lab.DEFAULTS.read_text("utf8") == "{}"


def test_own_copies_are_opened_and_the_books_notebooks_where_none_can_be_made(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(open_lab.own_labs, "complete", lambda: ["New copies."])
    assert open_lab.copies() == "mine" and capsys.readouterr().out == "New copies.\n"

    def fails():
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(open_lab.own_labs, "complete", fails)
    assert open_lab.copies() == "labs"
    assert "(Read-only file system): these are the book's own" in capsys.readouterr().out
    command, _ = opened(monkeypatch, 1000, tmp_path)
    assert "--LabApp.default_url=/lab/tree/mine" in command


# --- two at once ----------------------------------------------------------------------------------

INSTALLER = """
import pathlib, time
pathlib.Path("installing").touch()
while not pathlib.Path("let_go").exists():
    time.sleep(0.02)
pathlib.Path("gone").touch()
"""
HOLDER = """
import sys
sys.path.insert(0, {tools!r})
import set_up
call = set_up.call
set_up.call = lambda what, command, *rest: call(what, [sys.executable, "-c", {installer!r}], *rest)
set_up.set_up(".")
"""


def test_the_next_set_up_waits_until_a_killed_ones_installer_is_gone(project, installer, capsys):
    code = HOLDER.format(tools=str(ROOT / "tools"), installer=INSTALLER)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, stdout=subprocess.DEVNULL
    ) as holder:
        while not (project / "installing").exists():
            assert holder.poll() is None
        holder.kill()
    release = threading.Timer(1, (project / "let_go").touch)
    release.start()
    set_up.set_up(str(project))
    assert (project / "gone").exists()
    assert "Another set-up is at work" in capsys.readouterr().out
    assert ready(project)
    release.join()


def test_a_set_up_that_waited_finds_the_work_done(project, installer):
    with open(project / "requirements.txt", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def finish():
            make_venv(project / ".venv")
            (project / ".venv" / ".ready").write_text(set_up.stamp(str(project)))
            fcntl.flock(lock, fcntl.LOCK_UN)

        other = threading.Timer(0.5, finish)
        other.start()
        set_up.set_up(str(project))
        other.join()
    assert installer.commands == []


# --- the commands and the pins --------------------------------------------------------------------


def pins(name):
    """{distribution: version} of a requirements file."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {same_case(package): version for package, version in pairs}


def same_case(name):
    return name.lower().replace("_", "-")


def test_every_requirement_is_pinned_as_in_the_constraints():
    wanted, allowed = pins("requirements.txt"), pins("constraints.txt")
    assert wanted["torch"] and len(allowed) > len(wanted)
    assert {name: allowed.get(name) for name in wanted} == wanted


def code_of(path):
    if path.suffix == ".py":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def imported(path):
    """The top-level names of the modules that a program or a notebook imports."""
    for node in ast.walk(ast.parse(code_of(path), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


OPTIONAL = {"vllm"}  # needs a GPU; methods/samplers.py says what to do without it


def test_everything_that_is_imported_is_required():
    folders = [ROOT / name for name in ("labs", "tools", "chapters/_ext", "tests")]
    programs = [
        path
        for folder in folders
        for kind in ("*.py", "*.ipynb")
        for path in folder.rglob(kind)
        if ".ipynb_checkpoints" not in path.parts
    ]
    required = pins("requirements.txt")
    own = {path.stem for path in programs} | {path.parent.name for path in programs}
    known = own | set(sys.stdlib_module_names) | OPTIONAL
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in programs
        for name in imported(path)
        if name not in known and DISTRIBUTIONS.get(name, same_case(name)) not in required
    }
    assert not missing
    assert {"torch", "yaml"} <= {name for path in programs for name in imported(path)}


def targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def pages():
    return [
        path
        for kind in ("*.md", "chapters/*.md", "labs/*.ipynb")
        for path in sorted(ROOT.glob(kind))
    ]


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_commands_that_a_page_names_are_targets(page):
    named = set(re.findall(r"(?:^|`)make ([a-z]+)(?=[ `]|$)", page.read_text("utf-8"), flags=re.M))
    assert named <= targets()
    if page.name == "README.md":
        assert {"book", "test", "lab", "labs", "bench"} <= named


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed here")
def test_make_alone_lists_every_target():
    command = ["make", "--silent", "--no-print-directory"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z]+)", listed, flags=re.M)) == targets()


def test_make_test_leaves_out_no_folder_of_tests():
    recipe = (ROOT / "Makefile").read_text("utf8").partition("\ntest:")[2].partition("\n\n")[0]
    holding = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert {word for word in re.findall(r"tests/(\w+)", recipe)} == holding


def test_make_model_ends_by_making_the_model_ready(tmp_path, monkeypatch):
    """The recipe's last line, run as make runs it, with another function in main's place."""
    recipe = (ROOT / "Makefile").read_text("utf8").partition("\nmodel:")[2].partition("\n\n")[0]
    line = recipe.strip().splitlines()[-1].strip().removeprefix("@").replace("$(BIN)", ".venv/bin")
    folder, _, command = line.partition(" && ")
    assert folder == "cd labs" and command.startswith("../.venv/bin/python -c '")
    code = command.partition("'")[2].rpartition("'")[0]
    monkeypatch.syspath_prepend(str(ROOT / "labs"))
    called = []
    monkeypatch.setattr("course.smollm2.main", lambda: called.append(True))
    exec(code, {})
    assert called == [True]
