"""Digests of functions: the same for the same code, another one for whatever may change a result."""

import ast
import shutil
import time

import course
import pytest
from course import CourseError, provenance, session, source
from helpdesk import base

FILES = {
    "experiments/small.py": '''
"""Experiments."""
import functools
import math
from collections.abc import Sequence

import helpdesk.words
from course import mean_interval, progress
from helpdesk import base
from methods import tuning
from methods.tuning import Model as Net, rate as speed

STEPS = 10
RATES: dict[str, float] = {"a": 0.1}
RATES["b"] = 0.2
TABLE = []
for number in range(3):
    TABLE.append(number)
COUNT = 1
COUNT += 1
UNUSED = 5


def twice(function):
    """Call it two times."""
    @functools.wraps(function)
    def again(*args, **kwargs):
        function(*args, **kwargs)
        return function(*args, **kwargs)
    return again


@twice
def run(seed: int, size: Sequence[int] = (1, 2), *, scale=speed) -> dict[str, float]:
    """One run."""
    # a comment
    from methods.far import shift
    model = Net(base.load(), seed)
    total: float = tuning.tune(model, STEPS, RATES["a"]) * scale(2)
    words = [word for word in helpdesk.words.WORDS]
    for step in progress(TABLE, f"{seed!r:>{COUNT}} steps"):
        total += shift(math.sqrt(step))
    return {"loss": mean_interval([total])[0], "words": len(words)}


def other():
    return UNUSED


if __name__ == "__main__":
    print(run(0))
''',
    "methods/tuning.py": '''
from . import far
from .far import LIMIT

class Base:
    def cost(self):
        return 1

class Model(Base):
    """A model."""
    size: int = 3

    def __init__(self, base, seed):
        self.base, self.seed = base, seed

    def step(self):
        """One step."""
        return self.cost() + far.deep(self.size)

def tune(model, steps, rate):
    return sum(model.step() for _ in range(steps)) * rate * LIMIT

def rate(x):
    return x

def unused():
    return 7
''',
    "methods/far.py": """
import torch
from math import floor as down

LIMIT = 2
torch.set_default_dtype(torch.float32)

def deep(x):
    return deeper(x) + 1

def deeper(x):
    return down(x * 2)

def shift(x):
    return x
""",
    "helpdesk/base.py": """
from pathlib import Path
DATA = ("base/manifest.json",)
FOLDER = Path(__file__).parent / "base"

def load():
    return (FOLDER / "manifest.json").read_text()
""",
    "helpdesk/words.py": 'WORDS = ("a", "b")\nVERBS = ("c",)\n',
    "helpdesk/base/manifest.json": '{"sha256": {"model": "1234"}}\n',
    "course/__init__.py": "from .bars import progress\nfrom .statistics import mean_interval\n",
    "course/bars.py": "def progress(items, label):\n    return items\n",
    "course/statistics.py": "def mean_interval(values):\n    return sum(values) / len(values), None\n",
}
SMALL, TUNING, FAR = "experiments/small.py", "methods/tuning.py", "methods/far.py"


def write(folder, files=FILES):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def digest(folder, name="run"):
    return provenance.Tree(folder).digest_of([("experiments.small", name)])


@pytest.fixture
def changed(tmp_path):
    """Whether the digest of run() is another one when `old` has become `new` in a file."""

    def changed(file, old, new):
        assert FILES[file].count(old) == 1, f"{old!r} stands {FILES[file].count(old)} times"
        write(tmp_path / "before")
        write(tmp_path / "after", FILES | {file: FILES[file].replace(old, new)})
        ast.parse((tmp_path / "after" / file).read_text() if file.endswith(".py") else "")
        return digest(tmp_path / "before") != digest(tmp_path / "after")

    return changed


@pytest.mark.parametrize(
    "file, old, new",
    [
        (SMALL, "    # a comment\n", ""),
        (SMALL, '"""One run."""', '"""A run."""'),
        (SMALL, '    """One run."""\n', ""),
        (SMALL, '"""Call it two times."""', '"""Twice."""'),
        (SMALL, '"""Experiments."""', "'''More.'''"),
        (SMALL, "seed: int, size: Sequence[int]", "seed, size: 'list'"),
        (SMALL, " -> dict[str, float]", ""),
        (SMALL, "total: float = ", "total = "),
        (SMALL, "RATES: dict[str, float] = ", "RATES = "),
        (
            SMALL,
            '"loss": mean_interval([total])[0], ',
            "'loss': (mean_interval(\n  [total],\n)[0]), ",
        ),
        (SMALL, "STEPS = 10", "STEPS = 1_0"),
        (SMALL, "UNUSED = 5", "UNUSED = 6"),
        (SMALL, "print(run(0))", "print(run(1))"),
        (SMALL, "import math\n", "import math\nfrom helpdesk import evaluate\nimport json\n"),
        (SMALL, "def other():", "def another():"),
        (TUNING, '"""One step."""', "'''Step.'''"),
        (TUNING, "return 7", "return 8"),
        ("helpdesk/words.py", 'VERBS = ("c",)', 'VERBS = ("d",)'),
        ("course/bars.py", "return items", "return list(items)"),
        (
            "course/__init__.py",
            "from .bars import progress\n",
            "from .bars import progress\nX = 1\n",
        ),
    ],
)
def test_what_changes_no_result_changes_no_digest(changed, file, old, new):
    assert not changed(file, old, new)


@pytest.mark.parametrize(
    "file, old, new",
    [
        (SMALL, "STEPS = 10", "STEPS = 11"),
        (SMALL, "STEPS = 10", "STEPS = 10.0"),
        (SMALL, 'RATES["b"] = 0.2', 'RATES["b"] = 0.3'),
        (SMALL, '{"a": 0.1}', '{"a": 0.2}'),
        (SMALL, "TABLE.append(number)", "TABLE.insert(0, number)"),
        (SMALL, "for number in range(3)", "for number in range(4)"),
        (SMALL, "COUNT += 1", "COUNT += 2"),
        (SMALL, "(1, 2)", "(1, 3)"),
        (SMALL, "scale=speed", "scale=tuning.tune"),
        (SMALL, "@twice\ndef run", "def run"),
        (SMALL, "        function(*args, **kwargs)\n", ""),
        (SMALL, "{seed!r:>{COUNT}}", "{seed!s:>{COUNT}}"),
        (SMALL, ":>{COUNT}}", ":<{COUNT}}"),
        (SMALL, ' steps"', ' step"'),
        (SMALL, "rate as speed", "tune as speed"),
        (SMALL, "Model as Net", "Base as Net"),
        (SMALL, "from methods.far import shift", "from methods.far import deep as shift"),
        (SMALL, "total += shift", "total -= shift"),
        (SMALL, "helpdesk.words.WORDS", "helpdesk.words.VERBS"),
        (SMALL, "import math\n", "import cmath as math\n"),
        (TUNING, "return self.cost() + ", "return self.cost() - "),
        (TUNING, "return 1", "return 2"),
        (TUNING, "size: int = 3", "size: int = 4"),
        (TUNING, "class Model(Base)", "class Model"),
        (TUNING, "return x", "return x + 0"),
        (FAR, "LIMIT = 2", "LIMIT = 3"),
        (FAR, "deeper(x) + 1", "deeper(x) + 2"),
        (FAR, "x * 2", "x * 3"),
        (FAR, "floor as down", "ceil as down"),
        (FAR, "set_default_dtype(torch.float32)", "set_default_dtype(torch.float64)"),
        ("helpdesk/base.py", 'FOLDER / "manifest.json"', 'FOLDER / "other.json"'),
        ("helpdesk/base/manifest.json", "1234", "1235"),
        ("helpdesk/words.py", '("a", "b")', '("a", "b", "c")'),
        ("course/statistics.py", "/ len(values)", "/ 2"),
        ("course/__init__.py", ".statistics import mean_interval", ".bars import mean_interval"),
    ],
)
def test_what_may_change_a_result_changes_the_digest(changed, file, old, new):
    assert changed(file, old, new)


def test_a_renamed_variable_may_be_other_code(changed):
    assert changed(TUNING, "for _ in range(steps)", "for i in range(steps)")


@pytest.mark.parametrize(
    "body",
    [
        "return [tuning]",
        "return getattr(tuning, name)",
        "return tuning.missing",
        "import methods.tuning as t\n    return t",
        "import methods\n    return methods",
        "from methods.tuning import nothing\n    return nothing",
        "return (lambda: tuning)()",
        "return {name: tuning for name in 'a'}",
    ],
)
def test_a_module_that_is_used_as_a_value_counts_whole(tmp_path, body):
    digests = []
    for value in (7, 8):
        files = FILES | {
            SMALL: FILES[SMALL] + f"\ndef whole(name):\n    {body}\n",
            TUNING: FILES[TUNING].replace("return 7", f"return {value}"),
        }
        write(tmp_path / str(value), files)
        digests.append(digest(tmp_path / str(value), "whole"))
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    "body",
    [
        "tuning = 3\n    return tuning",
        "return [tuning for tuning in name]",
        "return (lambda tuning: tuning)(name)",
        "def inner(tuning):\n        return tuning\n    return inner",
        "for tuning in name:\n        return tuning",
    ],
)
def test_a_local_name_is_not_the_modules(tmp_path, body):
    write(tmp_path, FILES | {SMALL: FILES[SMALL] + f"\ndef own(name):\n    {body}\n"})
    names = provenance.Tree(tmp_path).names_of([("experiments.small", "own")])
    assert names == ["experiments.small.own"]


def test_names_of_a_scope_above_are_seen_from_within(tmp_path):
    text = "\ndef outer():\n    [tuning for tuning in ()]\n    def inner():\n        return tuning.rate\n"
    write(tmp_path, FILES | {SMALL: FILES[SMALL] + text})
    names = provenance.Tree(tmp_path).names_of([("experiments.small", "outer")])
    assert names == ["experiments.small.outer", "methods.tuning.rate"]


def test_a_global_that_a_function_sets_is_one_it_uses(tmp_path):
    text = "\ndef step():\n    global COUNT\n    COUNT = 4\n"
    write(tmp_path, FILES | {SMALL: FILES[SMALL] + text})
    assert "experiments.small.COUNT" in provenance.Tree(tmp_path).names_of(
        [("experiments.small", "step")]
    )


def test_a_module_that_is_only_imported_counts_with_what_that_does(tmp_path):
    digests = []
    for line in (
        "torch.use_deterministic_algorithms(True)",
        "torch.use_deterministic_algorithms(False)",
    ):
        files = {
            SMALL: "import methods.patch\n" + FILES[SMALL],
            "methods/patch.py": f"import methods.deeper\nX = '{line}'\n",
            "methods/deeper.py": f"import torch\n{line}\n",
        }
        write(tmp_path / str(len(digests)), FILES | files)
        digests.append(digest(tmp_path / str(len(digests))))
    assert digests[0] != digests[1]


def test_a_star_import_counts_whole(tmp_path):
    text = "from methods.tuning import *\ndef run():\n    return rate(1)\n"
    write(tmp_path, FILES | {SMALL: text})
    names = provenance.Tree(tmp_path).names_of([("experiments.small", "run")])
    assert "methods.tuning.unused" in names


def test_what_is_reached_is_named(tmp_path):
    write(tmp_path)
    assert provenance.Tree(tmp_path).names_of([("experiments.small", "run")]) == [
        "course.statistics.mean_interval",
        "experiments.small.COUNT",
        "experiments.small.RATES",
        "experiments.small.STEPS",
        "experiments.small.TABLE",
        "experiments.small.number",
        "experiments.small.run",
        "experiments.small.twice",
        "helpdesk.base.FOLDER",
        "helpdesk.base.load",
        "helpdesk.words.WORDS",
        "helpdesk/base/manifest.json",
        "methods.far.LIMIT",
        "methods.far.deep",
        "methods.far.deeper",
        "methods.far.shift",
        "methods.tuning.Base",
        "methods.tuning.Model",
        "methods.tuning.rate",
        "methods.tuning.tune",
    ]


def test_a_digest_is_the_same_on_every_machine(tmp_path):
    """The number is what Python 3.11 gives; another Python, or another folder, must give it too."""
    write(tmp_path / "elsewhere")
    assert digest(tmp_path / "elsewhere") == "798d59ec60aa"
    for path in (tmp_path / "elsewhere").rglob("*.*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digest(tmp_path / "elsewhere") == "798d59ec60aa"


@pytest.mark.parametrize(
    "one, two",
    [
        ("f'a' 'b' f'{x}'", "f'ab{x}'"),
        ('f"{x!r:>{w}}"', "f'{x!r:>{w}}'"),
        ("u'a'", "'a'"),
        ("-1", "- 1"),
        ("(a)", "a"),
        ("lambda x: x", "lambda x:(x)"),
    ],
)
def test_the_form_of_an_expression_says_nothing(one, two):
    assert source.written(ast.parse(one)) == source.written(ast.parse(two))


def test_an_f_string_is_one_text_however_it_is_cut():
    whole, cut = (
        ast.JoinedStr([ast.Constant(text) for text in texts]) for texts in (["ab"], ["", "a", "b"])
    )
    assert source.written(whole) == source.written(cut)


def test_a_text_does_not_depend_on_the_unicode_of_a_python():
    assert source.written(ast.parse("['é', '\U0001fae8']")).isascii()


@pytest.mark.parametrize(
    "one, two",
    [
        ("f'{x}'", "'{x}'"),
        ("f'{x:}a'", "f'{x:.2}a'"),
        ("{**a}", "{a: a}"),
        ("1", "True"),
        ("b'a'", "'a'"),
        ("def f(a, /, b): pass", "def f(a, b): pass"),
        ("def f(*, a=1): pass", "def f(a=1): pass"),
        ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
        ("async def f(): pass", "def f(): pass"),
        ("class A:\n x: int = 1", "class A:\n x = 1"),
        ("class A:\n x: int = 1", "class A:\n x: ClassVar = 1"),
        ("x[1:2]", "x[1::2]"),
        ("['é']", "['e']"),
    ],
)
def test_two_meanings_have_two_texts(one, two):
    assert source.written(ast.parse(one)) != source.written(ast.parse(two))


def test_the_real_base_model_counts_in_what_is_made_from_it():
    assert "helpdesk/base/manifest.json" in provenance.reached(base.load_base)
    assert provenance.reached(course.mean_interval) == [
        "course.statistics.T_QUANTILES",
        "course.statistics.finite",
        "course.statistics.mean_interval",
    ]


def test_the_real_tree_gives_the_same_digest_elsewhere(tmp_path):
    folder = tmp_path / "copy"
    kept = shutil.ignore_patterns("*.safetensors", "results", "*.ipynb", "__pycache__")
    shutil.copytree(session.LABS, folder, ignore=kept)
    start = [("helpdesk.base", "load_base"), ("methods.ppo", "train"), ("methods.lora", "inject")]
    assert provenance.Tree(folder).digest_of(start) == provenance.tree().digest_of(start)


def test_functions_of_a_notebook_count_with_their_text():
    def mine(x):
        return x

    def same(x):
        # as mine
        return x

    plain = provenance.digest(base.load_base)
    assert provenance.digest(base.load_base, mine) != plain
    assert len(plain) == provenance.LENGTH
    assert provenance.digest(base.load_base, mine) != provenance.digest(base.load_base, same)
    assert provenance.digest(base.load_base, mine) == provenance.digest(base.load_base, mine)


def local():
    pass


@pytest.mark.parametrize("function", [lambda: 1, local, len, time.sleep, base.BaseError().__str__])
def test_a_function_from_elsewhere_has_no_digest(function):
    with pytest.raises(CourseError, match="has no def of its own in a module of labs/"):
        provenance.digest(function)


def test_data_must_be_named_and_there(tmp_path):
    write(tmp_path, FILES | {"helpdesk/base.py": "DATA = open('x')\ndef load():\n    pass\n"})
    with pytest.raises(CourseError, match="base.py: DATA must be a tuple of paths"):
        digest(tmp_path)
    write(tmp_path)
    (tmp_path / "helpdesk/base/manifest.json").unlink()
    with pytest.raises(CourseError, match="helpdesk/base/manifest.json cannot be read"):
        digest(tmp_path)
