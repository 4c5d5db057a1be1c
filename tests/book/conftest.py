"""Builds for the tests of the site: the book itself, and a small one whose contents the tests
choose."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
JUPYTER_BOOK = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))

CLAIMS = [
    {
        "id": "C1.01",
        "section": "1 · SFT",
        "quote": r"$\theta$ | x, y_{<t}",
        "verdict": "imprecise",
        "correction": "A distribution $p(y \\mid x)$.",
        "sources": ["ONE23"],
        "lab": "01_demo",
        "expected": "a small gap",
        "bound": "<= 0.06",
        "unit": "share",
        "outcome": "as expected",
    },
    {
        "id": "C1.02",
        "section": "1 · SFT",
        "quote": "words",
        "verdict": "correct",
        "correction": "Yes, {hours:,.1f} hours for $x_{1}$.",
        "sources": [],
        "arithmetic": [
            {
                "result": "hours",
                "formula": "pairs * minutes_each / 60",
                "inputs": {"pairs": 50000, "minutes_each": 2},
                "unit": "hours",
                "origin": "line 4",
            }
        ],
    },
]
RESULTS = {
    "lab": "01_demo",
    "device": "cpu",
    "scale": "small",
    "versions": {},
    "seconds": 74.1,
    "peak_mib": 910,
    "claims": {
        "C1.01": {"value": 0.0213, "expected": "a small gap", "bound": "<= 0.06", "holds": True}
    },
    "measures": {"demo.exact_match": {"value": 0.995, "unit": "share", "interval": [0.99, 1.0]}},
}
BIBLIOGRAPHY = "@misc{ONE23, author={One, Ann}, title={A title}, year={2023}}\n"
PAGES = ["labs/01_demo", "chapters/ledger", "chapters/document", "chapters/references"]
TOC = {"format": "jb-book", "root": "index", "chapters": [{"file": page} for page in PAGES]}


def _build(source, out, *options):
    """Build the book in `source` under `out`: its exit status, its log, and the folder of its
    pages."""
    command = [
        JUPYTER_BOOK,
        "build",
        source,
        "-W",
        "-n",
        "--keep-going",
        "--path-output",
        out,
        *options,
    ]
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=source, env=environment, encoding="utf8", capture_output=True
    )
    return SimpleNamespace(
        status=done.returncode, log=done.stdout + done.stderr, html=out / "_build/html"
    )


def _write_book(folder, index):
    """A book of five pages with this book's configuration and extensions; `index` is its first
    page."""
    for name in ("chapters/_ext", "chapters/assets", "labs/planning"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "_config.yml", folder)
    texts = {
        "_toc.yml": yaml.safe_dump(TOC),
        "index.md": index,
        "labs/01_demo.md": "# A lab\n\nText.\n",
        "labs/results/01_demo.json": json.dumps(RESULTS),
        "chapters/ledger.md": "# Ledger\n\n```{ledger}\n```\n",
        "chapters/document.md": "# Document\n\n```{document}\n```\n",
        "chapters/source.md": f"<!-- A note. -->\n\n{CLAIMS[0]['quote']}\nSome words.\n",
        "chapters/references.md": "# References\n\n```{bibliography}\n```\n",
        "chapters/claims.yml": yaml.safe_dump(CLAIMS, allow_unicode=True),
        "chapters/references.bib": BIBLIOGRAPHY,
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf8")


@pytest.fixture(scope="session")
def build_book():
    return _build


@pytest.fixture(scope="session")
def write_book():
    return _write_book


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The whole book, built strictly, once for all tests."""
    return _build(ROOT, tmp_path_factory.mktemp("site"), "--all")


@pytest.fixture(scope="session")
def small_book(tmp_path_factory):
    """A small book that uses every role and directive; `.source` can be changed and built again."""
    folder = tmp_path_factory.mktemp("small")
    _write_book(folder, INDEX)
    (folder / "drawing.svg").write_text(DRAWING, "utf8")
    built = _build(folder, folder)
    built.source = folder
    built.html = Path(shutil.copytree(built.html, folder / "_pages"))
    return built


INDEX = r"""# Small book

Claims {claim}`C1.01` and {claim}`C1.02`. Measures {measured}`demo.exact_match .1%`,
{measured}`demo.exact_match interval .1%`, {measured}`demo.exact_match`, {measured}`01_demo:seconds .0f`,
{measured}`C1.01 .3f`, the sum {computed}`C1.02 hours ,.1f` and the setting {fixed}`4,096`.

```{quiz} What is $1 + 1$?
- [ ] one ; Count again.
- [x] two ; As computed,
  $1 + 1 = 2$.
```

```{transfer} Exactness is *kept*
:verdict: same
:unit: share of exact matches
:scale: 0.5 1
:show: .1%
:pairs: now = demo.exact_match / C1.01 ; once more = C1.01 / demo.exact_match

Why it is so {fixed}`4,096`.
```

![A line that falls](drawing.svg)

![A line that rises](drawing.svg)
"""
DRAWING = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 40 20"
 data-course-figure="1" role="img" aria-label="a line"><defs><path id="mark" d="M 0 0 L 9 9"/></defs>
<use xlink:href="#mark" stroke="currentColor"/><text x="5" y="15" fill="currentColor">steps</text></svg>
"""
