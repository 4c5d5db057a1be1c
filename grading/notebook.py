"""The answers in a notebook, found without running it.

A notebook that was handed in is hostile text: it is parsed, never executed, and whatever is wrong
with it becomes a reason or a flag, not an error. `Lab` knows the published notebook; `find_answers`
compares a submission with it.

What a worker is later given of the submission, in order:
    cells with an answer, and cells that the learner added: as a whole
    cells of the published notebook, changed or not: only imports, functions, classes and literals
    that an answer needs, the lab that start() gives, and nothing that measures, trains or draws
"""

import ast
import functools
import json
import re
import sys
import warnings
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from . import course
from .records.record import State
from .text import clean

MAX_CELL, MAX_CELLS = 200_000, 5_000  # characters of a cell, cells of a notebook
# The cell magics whose body is Python, run as the cell would be.
PYTHON_MAGIC = re.compile(
    r"%%(time|timeit|capture|prun|debug|memit|snakeviz|pyinstrument|wandb)(?!\S)"
)
NAMES = re.compile(r"[\w, ]+")
MENTIONED = re.compile(rf"@{course.DECORATOR}\(\s*[\"']([\w.]+)[\"']")


class Ungradable(Exception):
    """There is nothing to grade. The message is one sentence."""


@dataclass
class Cell:
    """A code cell.

    number: among all cells, from 1. tree: the parsed source, None if there is a fault. answers: the
    functions under @exercise.
    """

    number: int
    id: str
    source: str
    tree: ast.Module | None = None
    fault: str = ""
    answers: list[ast.FunctionDef] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """What a submission has for one exercise.

    function: its name in the notebook. fault: why it cannot be run, or "". flags: what an
    instructor may want to know.
    """

    id: str
    state: State
    function: str = ""
    fault: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """A submission, ready to be graded. cells: (number, source) pairs for the worker."""

    lab: "Lab"
    cells: list[tuple[int, str]]
    answers: list[Answer]
    notes: list[str]


# Reading ------------------------------------------------------------------------------------------


def read_cells(data: bytes) -> list[Cell]:
    """The code cells of a notebook's bytes. Raises Ungradable if they are no notebook."""
    text = as_text(data)
    try:
        found = [
            Cell(number, str(cell.get("id", "")), source_of(cell))
            for number, cell in enumerate(cells_of(text), start=1)
            if cell.get("cell_type") == "code"
        ]
    except Exception as error:
        if not text.strip():
            raise Ungradable("the file is empty") from None
        raise Ungradable(
            f"the file is no notebook that Jupyter could read ({type(error).__name__})"
        ) from None
    if len(found) > MAX_CELLS:
        raise Ungradable(f"the notebook has {len(found)} code cells, and {MAX_CELLS} are the most")
    if not any(cell.source.strip() for cell in found):
        raise Ungradable("the notebook has no code")
    for cell in found:
        parse(cell)
    return found


def cells_of(text: str) -> list[dict]:
    """All cells; those of an older format as nbformat converts them."""
    notebook = json.loads(text)
    if notebook["nbformat"] == 4:
        return notebook["cells"]
    import nbformat  # takes a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nbformat.reads(text, as_version=4).cells


def as_text(data: bytes) -> str:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def source_of(cell) -> str:
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse(cell: Cell) -> None:
    """Set the cell's tree or fault, and its answers."""
    if len(cell.source) > MAX_CELL:
        cell.fault = f"the cell is longer than {MAX_CELL} characters"
        return
    try:
        cell.tree = tree_of(cell.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        if magic := other_language(cell.source):
            cell.fault = f"the cell begins with {magic}, which does not run it as Python here"
            return
        cell.source = without_magics(cell.source)
        try:
            cell.tree = tree_of(cell.source)
        except SyntaxError as error:
            version = ".".join(map(str, sys.version_info[:2]))
            cell.fault = f"the cell is no Python {version}: {error.msg}, line {error.lineno}"
        except (ValueError, RecursionError, MemoryError) as error:
            cell.fault = f"the cell cannot be read as Python ({type(error).__name__})"
    if cell.tree:
        cell.answers = [
            node for node in cell.tree.body if isinstance(node, ast.FunctionDef) and id_of(node)
        ]


def tree_of(source: str) -> ast.Module:
    """The parsed source. Raises RecursionError if it is nested too deeply for what follows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    ast.dump(tree)
    return tree


def without_magics(source: str) -> str:
    """The source with IPython's own lines replaced, line for line.

    Such a line goes on after a backslash at its end.
    """
    lines, goes_on = [], False
    for line in source.split("\n"):
        now = "" if goes_on else without_magic(line)
        goes_on = now != line and line.endswith("\\")
        lines.append(now)
    return "\n".join(lines)


def other_language(source: str) -> str:
    """The cell magic at the beginning that makes the cell something else than Python, or ""."""
    found = re.match(r"\s*(%%\S*)", source)
    return clean(found[1], 40) if found and not PYTHON_MAGIC.match(source.lstrip()) else ""


def is_magic(text: str) -> bool:
    """Whether a line is one of IPython's own, and not an expression continued with an operator."""
    if text.startswith("!"):
        return not text.startswith("!=")
    return text.startswith("?") or text.startswith("%") and text[1:2] not in ("", " ", "=")


def is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def without_magic(line: str) -> str:
    text = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if is_magic(text) or text.endswith("?") and is_name(text.rstrip("?").rstrip()):
        return f"{indent}pass"
    names, equals, value = text.partition("=")
    if equals and value.lstrip().startswith(("%", "!")) and NAMES.fullmatch(names):
        return f"{indent}{names}= None"
    return line


def id_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """The id in @exercise("…"); "" if the decorator has none, None without the decorator."""
    for decorator in function.decorator_list:
        if (
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Name)
            and decorator.func.id == course.DECORATOR
        ):
            texts = [
                argument.value
                for argument in [*decorator.args, *(word.value for word in decorator.keywords)]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
            return texts[0] if texts else ""
    return None


# The published notebook ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Lab:
    """A published lab: its functions' names by exercise, and the sources and ids of its cells."""

    name: str
    functions: dict[str, str]
    sources: frozenset[str]
    ids: frozenset[str]
    code_sha256: str

    @property
    def points(self) -> int:
        return sum(course.find(id).points for id in self.functions)


@functools.cache
def labs() -> dict[str, Lab]:
    """All published labs, by name."""
    return {name: read_lab(name, path) for name, path in course.notebooks().items()}


def read_lab(name: str, path: Path) -> Lab:
    cells = read_cells(path.read_bytes())
    functions = {id_of(function): function.name for cell in cells for function in cell.answers}
    demonstrations = [cell for cell in cells if not cell.answers]
    code = "\n".join(cell.source for cell in cells)  # stored outputs do not matter
    return Lab(
        name,
        functions,
        frozenset(map(plain, demonstrations)),
        frozenset(cell.id for cell in demonstrations if cell.id),
        sha256(code.encode()).hexdigest(),
    )


def plain(cell: Cell) -> str:
    """The source without what editors change: spaces at the ends of lines and of the cell."""
    return "\n".join(line.rstrip() for line in cell.source.strip().split("\n"))


# A submission -------------------------------------------------------------------------------------


def find_answers(data: bytes, file: str = "") -> Answers:
    """The answers in a submission. Raises Ungradable.

    file: its name, which identifies the lab if nothing in the notebook does
    """
    cells = read_cells(data)
    lab = lab_of(cells, file)
    notes = [f"cell {cell.number}: {cell.fault}" for cell in cells if is_noted(cell, lab)]
    own = [cell for cell in cells if cell.tree and is_own(cell, lab)]
    answers = [answer_to(id, name, cells, own) for id, name in lab.functions.items()]
    others = {
        id
        for cell in cells
        for function in cell.answers
        if (id := id_of(function)) and id not in lab.functions
    }
    if others:
        notes.append(f"exercises that {lab.name} does not have: {', '.join(sorted(others))[:200]}")
    return Answers(lab, cells_to_run(cells, own), answers, notes)


def is_noted(cell: Cell, lab: Lab) -> bool:
    """Whether a cell's fault is worth telling: cells of other languages are, if an answer is there.

    A shell command or a picture in HTML is no fault.
    """
    if not cell.fault or not other_language(cell.source):
        return bool(cell.fault)
    return any(mentions(cell, id, name) for id, name in lab.functions.items())


def mentions(cell: Cell, id: str, name: str) -> bool:
    """Whether the text of a cell holds the exercise's id, or a definition of its function."""
    is_defined = re.search(rf"^\s*def {re.escape(name)}\b", cell.source, re.MULTILINE)
    return id in MENTIONED.findall(cell.source) or bool(is_defined)


def lab_of(cells: list[Cell], file: str) -> Lab:
    """The lab whose exercises the notebook has: by ids, by functions' names, by the file's name."""
    ids = [
        id for cell in cells for id in [*map(id_of, cell.answers), *MENTIONED.findall(cell.source)]
    ]
    names = [
        node.name
        for cell in cells
        if cell.tree
        for node in cell.tree.body
        if isinstance(node, ast.FunctionDef)
    ]
    for found, names_of in (
        (set(ids), lambda lab: lab.functions.keys()),
        (set(names), lambda lab: set(lab.functions.values())),
    ):
        best = max(labs().values(), key=lambda lab: len(found & names_of(lab)))
        if found & names_of(best):
            return best
    for name, lab in labs().items():
        if name in file:
            return lab
    raise Ungradable("the notebook holds no exercise of any lab")


def is_own(cell: Cell, lab: Lab) -> bool:
    """Whether the learner wrote this cell: it has an answer, or the published notebook lacks it."""
    return bool(cell.answers) or not (plain(cell) in lab.sources or cell.id in lab.ids)


def answer_to(id: str, name: str, cells: list[Cell], own: list[Cell]) -> Answer:
    """The answer to one exercise, whose function in the published notebook is called `name`."""
    flags = []
    found = [function for cell in cells for function in cell.answers if id_of(function) == id]
    if not found:
        broken = [cell for cell in cells if cell.fault and id in MENTIONED.findall(cell.source)]
        if broken:
            return Answer(id, State.ATTEMPTED, name, fault=broken[-1].fault)
        if found := functions_named(name, own):
            flags.append("found by the function's name: its @exercise line is missing or changed")
        elif any(binds(name, id, cell.tree) for cell in own):
            flag = "found by its name, which is not that of a function at the top"
            return Answer(id, State.ATTEMPTED, name, flags=(flag,))
        elif broken := [cell for cell in cells if cell.fault and mentions(cell, id, name)]:
            return Answer(id, State.ATTEMPTED, name, fault=broken[-1].fault)
        elif any(is_async(node, name, id) for cell in own for node in cell.tree.body):
            fault = f"{name} is an async def, whose call returns no result: begin it with def"
            return Answer(id, State.ATTEMPTED, name, fault=fault)
        else:
            return Answer(id, State.MISSING)
    function = found[-1]  # as if all cells were run in order
    if len({ast.dump(each) for each in found}) > 1:
        flags.append(f"answered {len(found)} times, differently: the last one counts")
    state = State.NOT_ATTEMPTED if is_stub(function) else State.ATTEMPTED
    others = [cell for cell in own if id not in map(id_of, cell.answers)]
    if state is State.NOT_ATTEMPTED and any(binds(name, id, cell.tree) for cell in others):
        flags.append(
            f"another cell binds {name}, without the @exercise line: look whether it answers"
        )
    return Answer(id, state, function.name, parameters_fault(id, function), tuple(flags))


def functions_named(name: str, cells: list[Cell]) -> list[ast.FunctionDef]:
    """The functions of this name at the top level of cells, without the id of any exercise."""
    return [
        node
        for cell in cells
        for node in cell.tree.body
        if isinstance(node, ast.FunctionDef) and node.name == name and id_of(node) in (None, "")
    ]


def is_async(node: ast.stmt, name: str, id: str) -> bool:
    """Whether a statement is an `async def` that bears the exercise's id, or its name and no id."""
    return isinstance(node, ast.AsyncFunctionDef) and (
        id_of(node) == id or node.name == name and id_of(node) in (None, "")
    )


def binds(name: str, id: str, tree: ast.Module) -> bool:
    """Whether a cell binds this name other than by a function at its top level.

    That may be under a condition or by assignment.
    """
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == name
        and id_of(node) in (None, "", id)
        or isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Store)
        for node in ast.walk(tree)
    )


def is_stub(function: ast.FunctionDef) -> bool:
    """Whether the body does nothing."""
    return all(map(does_nothing, function.body))


def does_nothing(statement: ast.stmt) -> bool:
    """Whether the statement is `...`, `pass`, a docstring, or a return of None."""
    if isinstance(statement, ast.Return):
        value = statement.value
        return value is None or isinstance(value, ast.Constant) and value.value is None
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass)


def parameters_fault(id: str, function: ast.FunctionDef) -> str:
    """What is wrong with the function's parameters, or ""."""
    wanted = course.parameters(id)
    parts = function.args
    given = [
        part.arg
        for part in (*parts.posonlyargs, *parts.args, parts.vararg, *parts.kwonlyargs, parts.kwarg)
        if part
    ]
    if given == wanted:
        return ""
    return f"the parameters are ({', '.join(given)[:80]}) and must be ({', '.join(wanted)})"


# What the worker is given -------------------------------------------------------------------------


def cells_to_run(cells: list[Cell], own: list[Cell]) -> list[tuple[int, str]]:
    """The learner's cells as a whole; of the others, what these need."""
    mine = {cell.number for cell in own}
    offered = [
        (cell.number, statement)
        for cell in cells
        if cell.tree and cell.number not in mine
        for statement in cell.tree.body
        if is_harmless(statement)
    ]
    binding = {}
    for place, (_, statement) in enumerate(offered):
        for name in names_bound(statement):
            binding.setdefault(name, []).append(place)
    needed, wanted = set(), list(set().union(*(names_used(cell.tree) for cell in own)))
    while wanted:
        for place in binding.pop(wanted.pop(), ()):
            if place not in needed:
                needed.add(place)
                wanted += names_used(offered[place][1])
    parts = {}
    for place in sorted(needed):
        number, statement = offered[place]
        parts.setdefault(number, []).append(ast.unparse(statement))
    whole = {cell.number: cell.source for cell in own}
    return sorted((whole | {number: "\n".join(texts) for number, texts in parts.items()}).items())


def is_harmless(statement: ast.stmt) -> bool:
    """Whether a statement only names things: an import, a definition, a literal, the lab."""
    if isinstance(statement, ast.Assign):
        if is_start(statement):
            return True
        try:
            ast.literal_eval(statement.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False
        return all(
            isinstance(node, (ast.Name, ast.Tuple, ast.Store))
            for target in statement.targets
            for node in ast.walk(target)
        )
    return isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def is_start(statement: ast.Assign) -> bool:
    """Whether it is lab = start("…"), for which a worker has a stand-in."""
    match statement:
        case ast.Assign(
            targets=[ast.Name()],
            value=ast.Call(func=ast.Name(id=course.START), args=[ast.Constant()], keywords=[]),
        ):
            return True
    return False


def names_bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    return {
        node.id
        for target in statement.targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name)
    }


def names_used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
