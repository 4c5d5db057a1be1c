"""Running a notebook under nbval in a process of its own."""

import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent


class Outcome(NamedTuple):
    """What nbval said of one notebook, cell by cell."""

    status: int
    ran: int
    skipped: int
    failed: int
    text: str


@pytest.fixture
def validate(tmp_path):
    """A function that runs the notebook at `path` under nbval and returns its Outcome."""

    def run(path):
        report, config = tmp_path / "report.xml", tmp_path / "pytest.ini"
        config.write_text("[pytest]\n")
        environment = os.environ | {
            "COURSE_STORED": "1",
            "COURSE_RESULTS": str(tmp_path / "results"),
            "PYTHONPATH": str(HERE),
            "PYTHONHASHSEED": "0",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        environment.pop("PYTEST_ADDOPTS", None)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "nbval.plugin",
            "-p",
            "nbval_guards",
            "--nbval-lax",
            "--nbval-current-env",
            "-p",
            "no:cacheprovider",
            "-c",
            config,
            "--rootdir",
            path.parent,
            "--junitxml",
            report,
            "--color=no",
            path,
        ]
        ended = subprocess.run(
            list(map(str, command)),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        suite = xml.parse(report).getroot().find("testsuite").attrib if report.exists() else {}
        tests, skipped = (int(suite.get(name, 0)) for name in ("tests", "skipped"))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        return Outcome(
            ended.returncode, tests - skipped, skipped, failed, ended.stdout + ended.stderr
        )

    return run
