"""Make the notebook of a lab from its source, labs/NN_name.py.

A source is a Python file in jupytext's percent format. `# %%` begins a code cell,
`# %% [markdown]` a cell of text in comment lines, and `# %% [markdown] solution="sft.loss"` stands
for a solution cell, whose text comes from the exercise's reference. A notebook is a product: what
is edited there by hand must go into the source, or it is lost the next time the lab is stored.
"""

import ast
import hashlib
import inspect
import itertools
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import course
import jupytext
import nbformat
import nbformat.v4 as v4
from course import find
from nbformat import NotebookNode

LABS = Path(__file__).resolve().parents[1] / "labs"
PERCENT = {"extension": ".py", "format_name": "percent", "comment_magics": False}
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}
LIKE_A_MARKER = re.compile(r"\s*#\s*%%")
MARKER = re.compile(
    r"# %%"
    r'(?: \[markdown\](?: solution="[\w.]+")?)?'
    r'(?: tags=\["[\w-]+"(?:, "[\w-]+")*\])?'
)
EXERCISE = re.compile(r'^(@exercise\(\s*"([^"]+)"[^()]*\)\n)def (\w+)', re.MULTILINE)


class LabError(Exception):
    """A lab that cannot be made or stored; the message says what is wrong and what to do."""


def lab_paths(names: list[str]) -> list[Path]:
    """The sources of the labs named, or of all labs."""
    labs = {path.stem: path for path in sorted(LABS.glob("[0-9][0-9]_*.py"))}
    names = [Path(name).stem for name in names] or list(labs)
    for name in names:
        if name not in labs:
            raise LabError(
                f"There is no lab {name!r}; these are the labs: {', '.join(labs) or 'none yet'}."
            )
    if not names:
        raise LabError("labs/ holds no lab: its source is named like 01_sft.py.")
    return [labs[name] for name in names]


# --- from the source to the notebook --------------------------------------------------------------


def build(source: Path) -> NotebookNode:
    """The notebook that the source makes, not yet run. Raises LabError where it makes none."""
    notebook = v4.new_notebook(cells=read_cells(source), metadata=METADATA)
    fill_solutions(notebook)
    set_ids(notebook, source.stem)
    return notebook


def read_cells(source: Path) -> list[NotebookNode]:
    """The cells of a source, its solution cells still empty."""
    try:
        text = source.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise LabError(f"{source.name} is not UTF-8 text: {error.reason}") from None
    refuse_markers(source.name, text)
    cells = []
    for cell in jupytext.reads(text, fmt=PERCENT).cells:
        kept = {key: cell.metadata[key] for key in ("solution", "tags") if key in cell.metadata}
        make = v4.new_code_cell if cell.cell_type == "code" else v4.new_markdown_cell
        cells.append(make(cell.source, metadata=kept))
    refuse_syntax(source.name, text, cells)
    return cells


def refuse_markers(name: str, text: str) -> None:
    """Raise LabError for a line that looks like a cell marker and is none, and for text above the
    first cell."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if LIKE_A_MARKER.match(line) and not MARKER.fullmatch(line.rstrip()):
            raise LabError(
                f"{name}, line {number}: {line.strip()!r} is no cell marker; write # %%, "
                '# %% [markdown] or # %% [markdown] solution="…", then tags=["…"] if any'
            )
    first = next((line for line in lines if line.strip()), "")
    if not LIKE_A_MARKER.match(first):
        raise LabError(
            f"{name} must begin with a cell marker, # %% or # %% [markdown], not with "
            f"{first[:60]!r}: take out what stands above the first cell"
        )


def refuse_syntax(name: str, text: str, cells: list[NotebookNode]) -> None:
    """Raise LabError for a code cell that Python cannot parse, and for text that is no comment."""
    for number, cell in enumerate(cells):
        if cell.cell_type == "code":
            try:
                ast.parse(cell.source)
            except SyntaxError as error:
                raise LabError(
                    f"{name}: {name_cell(cells, number)} is no valid Python: {error.msg} "
                    f"(line {error.lineno} of the cell)"
                ) from None
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise LabError(
            f"{name}, line {error.lineno}: {error.msg}; a line of text must begin with '# '"
        ) from None


def name_cell(cells: list[NotebookNode], number: int) -> str:
    """A cell by its place among all cells, as a reader counts them, and its first line."""
    first = cells[number].source.partition("\n")[0]
    return f"cell {number + 1} ({first[:60]})"


# --- solutions ------------------------------------------------------------------------------------


def fill_solutions(notebook: NotebookNode) -> None:
    """Write the text of every solution cell. Raises LabError unless each exercise has one."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    heads = {id: (head, name) for head, id, name in EXERCISE.findall(code)}
    solved = set()
    for number, cell in enumerate(notebook.cells):
        if (id := cell.metadata.get("solution")) is None:
            continue
        if id not in heads:
            raise LabError(
                f"cell {number + 1} is to hold the solution of {id!r}, but no cell of the lab has "
                f'@exercise("{id}", …) right above a function: correct one of the two ids'
            )
        if id in solved:
            raise LabError(f"cell {number + 1} is a second solution cell of {id!r}: take one out")
        if cell.source:
            raise LabError(
                f"cell {number + 1} has text below its marker, but the solution of {id!r} is "
                "written from its reference: leave the cell empty"
            )
        solved.add(id)
        cell.source = solution(id, heads)
    if missing := [id for id in heads if id not in solved]:
        raise LabError(
            f"the exercise {missing[0]!r} has no solution cell: put the line "
            f'# %% [markdown] solution="{missing[0]}" below its hint'
        )


def solution(id: str, heads: dict[str, tuple[str, str]]) -> str:
    """The Markdown of a solution cell: what can stand in the exercise's cell, folded away.

    heads: of the lab's exercises by id: the first line, "@exercise(…)", the function's name
    """
    reference, (head, name) = find(id).reference, heads[id]
    source = re.sub(r"\Adef \w+", f"def {name}", without_guards(reference))
    written = {name: find(other).reference for other, (_, name) in heads.items()}
    code = f"{imports_of(reference, written)}{head}{source}"
    return f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>"


def without_guards(function: Callable) -> str:
    """A reference's source without the calls that refuse wrong arguments (check_…): they are no part
    of an answer."""
    source = inspect.getsource(function).rstrip()
    lines = source.split("\n")
    for statement in reversed(ast.parse(source).body[0].body):
        match statement:
            case ast.Expr(value=ast.Call(func=ast.Name(id=name))) if name.startswith("check_"):
                del lines[statement.lineno - 1 : statement.end_lineno]
    return "\n".join(lines)


def imports_of(function: Callable, written: dict[str, Callable]) -> str:
    """The import lines that a function needs in a notebook, each name from where it is defined.

    written: the notebook's own exercises, references by name; they are not imported, because the
    reader has written them
    """
    module, local = inspect.getmodule(function), inspect.unwrap(function).__code__.co_varnames
    tree = ast.parse(without_guards(function))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known, bound = vars(module), bindings(module)
    plain, listed = set(), defaultdict(set)
    for name in names.intersection(known).difference(local):
        if inspect.isfunction(known[name]) and known[name] is written.get(name):
            continue
        source, text, whole = bound.get(name, (module.__name__, name, False))
        if whole:
            plain.add((source, f"import {text}"))
        else:
            listed[source].add(text)
    lines = sorted(plain) + [
        (source, f"from {source} import {', '.join(sorted(texts, key=rank_of_name))}")
        for source, texts in sorted(listed.items())
    ]
    groups = ([line for source, line in lines if kind_of(source) == kind] for kind in range(3))
    blocks = ["\n".join(group) for group in groups if group]
    return "\n\n".join(blocks) + "\n\n\n" if blocks else ""


def bindings(module: ModuleType) -> dict[str, tuple[str, str, bool]]:
    """What a module's import statements bind: name → (source, what is written, whole module)."""
    names = {}
    for node in ast.parse(inspect.getsource(module)).body:
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            whole = isinstance(node, ast.Import)
            name = alias.asname or (alias.name.partition(".")[0] if whole else alias.name)
            source = alias.name if whole else node.module
            names[name] = source, ast.unparse(alias), whole
    return names


def kind_of(module: str) -> int:
    """0 for the standard library, 1 for an installed library, 2 for the course's own packages."""
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return 0
    return 2 if Path(course.__file__).parents[1].joinpath(package).is_dir() else 1


def rank_of_name(name: str) -> tuple[int, str]:
    """Constants, classes, others, each by the alphabet: the order in which ruff sorts names."""
    constant = name.isupper() and len(name) > 1
    return 0 if constant else 1 if name[0].isupper() else 2, name


# --- ids, and what a stored notebook has besides --------------------------------------------------


def set_ids(notebook: NotebookNode, stem: str) -> None:
    """Name every cell after its content, so that it keeps its id when others come and go."""
    seen = Counter()
    for cell in notebook.cells:
        id = content_id(cell, stem)
        seen[id] += 1
        cell.id = id if seen[id] == 1 else f"{id}-{seen[id]}"


def content_id(cell: NotebookNode, stem: str) -> str:
    """A solution's id comes from its exercise, any other cell's from its kind and text."""
    if "solution" in cell.metadata:
        return f"{stem}-solution-{re.sub(r'[^a-zA-Z0-9_-]', '-', cell.metadata.solution)}"
    digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()
    return f"{stem}-{digest[:8]}"


def is_made(cell: NotebookNode, stem: str) -> bool:
    """Whether a stored cell is as a source once made it: its id says so."""
    id = content_id(cell, stem)
    return re.fullmatch(rf"{re.escape(id)}(-\d+)?", cell.get("id", "")) is not None


def read_stored(path: Path) -> NotebookNode:
    """A stored notebook, without cells where there is none yet."""
    if not path.exists():
        return v4.new_notebook()
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises many kinds for a file that is no notebook
        reason = str(error).partition("\n")[0][:200]
        raise LabError(
            f"{path.name} is no notebook that can be read ({reason}): restore it, or let it be "
            "overwritten with --force"
        ) from None


def refuse_loss(source: Path, built: NotebookNode) -> None:
    """Raise LabError if the stored notebook has a cell that was written there by hand and that its
    source does not have."""
    stored = read_stored(source.with_suffix(".ipynb"))
    known = {(cell.cell_type, cell.source) for cell in built.cells}
    for number, cell in enumerate(stored.cells):
        if (
            cell.source.strip()
            and (cell.cell_type, cell.source) not in known
            and not is_made(cell, source.stem)
        ):
            raise LabError(
                f"{name_cell(stored.cells, number)} of {source.stem}.ipynb was written by hand and "
                f"would be lost: move it into {source.name}, or give it up with --force"
            )


def difference(source: Path, built: NotebookNode) -> str:
    """What first tells the stored notebook from the one that its source makes, and what to do; ""
    where they agree."""
    path = source.with_suffix(".ipynb")
    if not path.exists():
        return f"{path.name} has not been made yet: run make labs ARGS={source.stem}"
    stored = read_stored(path)
    pairs = enumerate(itertools.zip_longest(stored.cells, built.cells))
    differing = (
        (number, old, new)
        for number, (old, new) in pairs
        if old is None or new is None or parts(old) != parts(new)
    )
    number, old, new = next(differing, (None, None, None))
    if number is None:
        return ""
    if old is not None and not is_made(old, source.stem):
        return (
            f"{name_cell(stored.cells, number)} of {path.name} is not the source's: move it into "
            f"{source.name}, then run make labs ARGS={source.stem}"
        )
    if new is not None:
        here, there = f"{name_cell(built.cells, number)} of {source.name}", path.name
    else:
        here, there = f"{name_cell(stored.cells, number)} of {path.name}", source.name
    return (
        f"{here} does not stand there in {there}: run make labs ARGS={source.stem}, or, if the "
        f"notebook was edited by hand, move the edit into {source.name}"
    )


def parts(cell: NotebookNode) -> tuple:
    """What a source decides about a cell."""
    return cell.cell_type, cell.get("id"), cell.source, dict(cell.metadata)
