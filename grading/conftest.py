"""The pytest side of grading: one judge for each process, and how a run begins and ends.

    python -m pytest -c grading/pytest.ini grading --submissions FOLDER     mark a folder: one test for each submission
    python -m pytest -c grading/pytest.ini grading --notebook FILE          your own notebook: one test for each check

With pytest-xdist (-n 4) the submissions are dealt out to several processes. Each has a judge of its
own.
"""

import contextlib
import sys
from pathlib import Path

import pytest
import torch
from course import find
from tqdm import tqdm

from grading import notebook, run, sandbox
from grading.errors import GradingError
from grading.judge import Judge, Settings

DONE = pytest.StashKey()
PLAN = pytest.StashKey()


def pytest_configure(config):
    """Plan the run, in the one process that deals out the work; the others are told."""
    torch.set_num_threads(1)
    if hasattr(config, "workerinput"):
        told = config.workerinput
        config.stash[PLAN] = None
        if "plan" in told:
            config.stash[PLAN] = run.load_plan(Path(told["plan"]), bytes.fromhex(told["secret"]))
        return
    config.stash[DONE] = contextlib.ExitStack()
    config.stash[PLAN] = None
    if config.option.submissions and not config.option.help:
        with usage_errors():
            config.stash[PLAN] = planned(config)
    elif not config.option.notebook and not config.option.help:
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
    """The run and what is pending in it; the lock is held until the end."""
    option = config.option
    this = run.make_run(option.submissions, option.results, option.require_tier, option.seed_secret)
    config.stash[DONE].enter_context(run.locked(this.results))
    found, waiting = run.plan(this)
    config.option.all_submissions, config.option.trusted = found, run.trusted_files()
    return this, waiting


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell a process of pytest-xdist what to do; the secret goes down the pipe and not over a
    command line."""
    if node.config.stash[PLAN]:
        this, waiting = node.config.stash[PLAN]
        plan = this.results / ".plan.json"
        run.save_plan(plan, this, waiting)
        node.workerinput |= {"plan": str(plan), "secret": this.settings.secret.hex()}


# The tests ----------------------------------------------------------------------------------------


def pytest_ignore_collect(collection_path, config):
    if collection_path.name == (
        "test_notebook.py" if config.stash[PLAN] else "test_submissions.py"
    ):
        return True


def pytest_generate_tests(metafunc):
    if "submission" in metafunc.fixturenames:
        metafunc.parametrize(
            "submission", metafunc.config.stash[PLAN][1], ids=lambda submission: submission.id
        )
    if "answered" in metafunc.fixturenames:
        cases = checks_of(metafunc.config.option.notebook)
        metafunc.parametrize("answered", cases, ids=lambda case: ".".join(case))


def checks_of(path):
    """(exercise, check) for every check of the lab that the notebook is of."""
    try:
        lab = notebook.find_answers(path.read_bytes(), path.name).lab
    except (OSError, notebook.Ungradable) as error:
        raise pytest.UsageError(f"{path}: {error}") from None
    return [(id, check.name) for id in lab.functions for check in find(id).checks]


@pytest.fixture(scope="session")
def this_run(pytestconfig):
    return pytestconfig.stash[PLAN][0]


@pytest.fixture(scope="session")
def judge(this_run):
    with Judge(this_run.settings) as judge:
        yield judge


@pytest.fixture(scope="session")
def own_record(pytestconfig):
    """What the checks say of a learner's own notebook, on the inputs that the notebook's check
    uses."""
    path = pytestconfig.option.notebook
    with Judge(Settings(None, sandbox.tier_for(None))) as judge:
        return judge.grade(path.read_bytes(), path.name)


# The end ------------------------------------------------------------------------------------------


class Bar:
    """A progress bar in the place of pytest's dots."""

    def __init__(self, total, before):
        self.bar = tqdm(
            total=total + before, initial=before, desc="graded", unit="notebook", smoothing=0.05
        )

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.bar.update()

    def pytest_sessionfinish(self):
        self.bar.close()


def pytest_sessionstart(session):
    if session.config.stash.get(DONE, None) and session.config.stash[PLAN]:
        waiting = len(session.config.stash[PLAN][1])
        session.config.pluginmanager.register(
            Bar(waiting, len(session.config.option.all_submissions) - waiting)
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Write the views. The exit status speaks of the run, and not of the marks."""
    config = session.config
    if DONE not in config.stash:
        return
    with config.stash[DONE]:
        if config.stash[PLAN] and exitstatus in (0, 1, 5):
            session.exitstatus = conclude(config, exitstatus)


def conclude(config, exitstatus):
    this, _ = config.stash[PLAN]
    problems = run.finish(this, config.option.all_submissions, config.option.policy)
    if run.trusted_files() != config.option.trusted:
        problems.append(
            "files of the course have changed during the run: check them out again, and grade afresh"
        )
    for problem in problems:
        print(problem, file=sys.stderr)
    return 3 if problems or exitstatus == 1 else 0
