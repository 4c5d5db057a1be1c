"""The pytest plugin behind a run: how it begins and ends, and one Marker for each process.

    python -m pytest -c grading/pytest.ini grading --submissions FOLDER    marks a folder
    python -m pytest -c grading/pytest.ini grading --notebook FILE         checks your own notebook

With pytest-xdist (-p xdist -n 4) the submissions are dealt out to several processes.
"""

import contextlib
import sys
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from grading import course, notebook, run
from grading.errors import GradingError
from grading.marking import Marker, MarkingSettings
from grading.sandbox.tiers import tier_for

AT_THE_END = pytest.StashKey()  # an ExitStack, only in the process that plans the run
PLAN = pytest.StashKey()  # a Run and its pending submissions, or None


def pytest_configure(config):
    """Plan the run in the process that deals out the work; the other processes receive the plan."""
    torch.set_num_threads(1)
    config.stash[PLAN] = None
    if hasattr(config, "workerinput"):
        received = config.workerinput
        if "plan" in received:
            secret = bytes.fromhex(received["secret"])
            config.stash[PLAN] = run.load_plan(Path(received["plan"]), secret)
        return
    config.stash[AT_THE_END] = contextlib.ExitStack()
    if config.option.help:
        return
    if config.option.submissions:
        with usage_errors():
            config.stash[PLAN] = planned(config)
    elif not config.option.notebook:
        raise pytest.UsageError(
            "name what to grade: --submissions FOLDER, or --notebook FILE for your own notebook"
        )


@contextlib.contextmanager
def usage_errors():
    try:
        yield
    except GradingError as error:
        raise pytest.UsageError(str(error)) from None


def planned(config):
    """The run and what is pending in it; the results stay locked until the end."""
    option = config.option
    this = run.make_run(
        option.submissions, option.results, option.require_tier, option.seed_secret, option.part
    )
    config.stash[AT_THE_END].enter_context(run.locked(this.results))
    found, waiting = run.plan(this)
    option.all_submissions, option.trusted = found, course.digest_of_all_that_decides_marks()
    return this, waiting


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Send the plan to a process of pytest-xdist; the secret goes through the pipe, not a file."""
    if node.config.stash[PLAN]:
        this, waiting = node.config.stash[PLAN]
        plan = this.results / ".plan.json"
        run.save_plan(plan, this, waiting)
        node.workerinput |= {"plan": str(plan), "secret": this.settings.secret.hex()}


# The tests ----------------------------------------------------------------------------------------


def pytest_ignore_collect(collection_path, config):
    other = "own_notebook.py" if config.stash[PLAN] else "submissions.py"
    return True if collection_path.name == other else None


def pytest_generate_tests(metafunc):
    config = metafunc.config
    if "submission" in metafunc.fixturenames:
        _, waiting = config.stash[PLAN]
        metafunc.parametrize("submission", waiting, ids=lambda submission: submission.id)
    if "answered" in metafunc.fixturenames:
        metafunc.parametrize("answered", checks_in(config.option.notebook), ids=".".join)


def checks_in(path):
    """(exercise, check) for every check of the notebook's lab."""
    try:
        lab = notebook.find_answers(path.read_bytes(), path.name).lab
    except (OSError, notebook.Ungradable) as error:
        raise pytest.UsageError(f"{path}: {error}") from None
    return [(id, check.name) for id in lab.functions for check in course.find(id).checks]


@pytest.fixture(scope="session")
def this_run(pytestconfig):
    return pytestconfig.stash[PLAN][0]


@pytest.fixture(scope="session")
def marker(this_run):
    with Marker(this_run.settings) as marker:
        yield marker


@pytest.fixture(scope="session")
def own_marks(pytestconfig):
    """The marks of a learner's own notebook, on the inputs that the notebook's checks use."""
    path = pytestconfig.option.notebook
    with Marker(MarkingSettings(None, tier_for(None))) as marker:
        return marker.mark(path.read_bytes(), path.name)


# The end ------------------------------------------------------------------------------------------


class Bar:
    """A progress bar in place of pytest's dots."""

    def __init__(self, total, done):
        self.bar = tqdm(total=total, initial=done, desc="graded", unit="notebook", smoothing=0.05)

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.bar.update()

    def pytest_sessionfinish(self):
        self.bar.close()


def pytest_sessionstart(session):
    config = session.config
    if AT_THE_END in config.stash and config.stash[PLAN]:
        total, waiting = len(config.option.all_submissions), len(config.stash[PLAN][1])
        config.pluginmanager.register(Bar(total, total - waiting))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Write the views. The exit status is about the run, not about the marks."""
    config = session.config
    if AT_THE_END not in config.stash:
        return
    with config.stash[AT_THE_END]:
        if config.stash[PLAN] and exitstatus in (0, 1, 5):
            session.exitstatus = conclude(config, exitstatus)


def conclude(config, exitstatus):
    this, _ = config.stash[PLAN]
    found, policy = config.option.all_submissions, config.option.policy
    problems = run.finish(this, found, policy)
    if course.digest_of_all_that_decides_marks() != config.option.trusted:
        problems.append(
            "files of the course have changed during the run: check them out again, and grade afresh"
        )
    for problem in problems:
        print(problem, file=sys.stderr)
    return 0 if not problems and exitstatus != 1 and run.is_final(this, found, policy) else 3
