"""Which cell of a notebook recorded a result, and which code that cell stands on.

The code of a cell is its own text, the earlier cells that bind or may change the names it uses, the
earlier cells that these stand on, and all that they reach in labs/ (course.provenance), with the
rows of the sweeps among it. Import lines count name by name: a further import changes no result.

A cell may change a name that it does not bind: by setting an attribute or an element, by calling a
method in a line of its own, or by passing it to a function of the notebook or of labs/, as in
`losses = tune(model)`. What only shows, print() and all of course, changes nothing. What cannot be
seen is the state of random number generators: seed in the cell that draws.
"""

import ast
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from . import provenance, store
from .errors import CourseError
from .source import Function, Uses, bindings, calls, root_of, targets, uses, written

Record = dict[str, object]
Cells = Sequence[Mapping[str, object]]


def running() -> str | None:
    """The mark of the cell that runs now, made of its text; None outside a notebook."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return mark(shell.history_manager.input_hist_raw[-1]) if shell else None


def mark(source: str) -> str:
    return provenance.shorten(source.strip())


def stamp(record: Record, notebook: Mapping[str, object]) -> Record:
    """The record of a lab's run with the notebook's cell id, and the code of that cell, in the
    place of every mark that measure() and evidence() left.

    notebook: as nbformat reads it, or as plain JSON, with the ids that are stored
    Raises CourseError for a result without a mark, or of a cell that the notebook does not have.
    """
    cells = notebook["cells"]
    places = {mark("".join(cell["source"])): number for number, cell in enumerate(cells)}
    stamped = dict(record)
    for kind in ("claims", "measures"):
        stamped[kind] = {
            name: placed(name, entry, cells, places) for name, entry in record[kind].items()
        }
    return stamped


def placed(name: str, entry: Record, cells: Cells, places: Mapping[str | None, int]) -> Record:
    number = places.get(entry.get("cell"))
    if number is None:
        raise CourseError(f"{name} was recorded by no cell of the notebook: run it from the top.")
    return entry | {"cell": cells[number]["id"], "code": code_of_cell(cells, number)}


def code_of_cell(cells: Cells, number: int) -> str:
    """The digest of the code behind the cell of this number, 12 hex digits.

    cells: all cells of the notebook, as nbformat or JSON gives them · number: counts from 0
    Raises CourseError for a cell on the way that is no Python.
    """
    sources = tuple(
        "".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in cells
    )
    return analysed(sources, provenance.tree()).code_of(number)


@functools.lru_cache(maxsize=8)
def analysed(sources: tuple[str, ...], tree: provenance.Tree) -> "Notebook":
    return Notebook(sources, tree)


class Cell:
    """One cell: .statements without imports, .imports, the names it .needs and .binds."""

    def __init__(self, source: str, number: int) -> None:
        try:
            body = ast.parse(source).body
        except SyntaxError as error:
            raise CourseError(
                f"cell {number + 1} cannot be read as Python ({error.msg}): correct it."
            ) from None
        lines = (ast.Import, ast.ImportFrom)
        self.imports = bindings([each for each in body if isinstance(each, lines)], "")
        self.statements = [each for each in body if not isinstance(each, lines)]
        self.binds = set(bindings(self.statements, "")) - self.imports.keys()
        self.needs, self.paths = set(), set()
        self.read(self.statements, set())

    def read(self, statements: Iterable[ast.stmt], bound: set[str]) -> None:
        """Note what the statements need that they have not bound before, in their order."""
        for statement in statements:
            if isinstance(statement, ast.For | ast.While | ast.If | ast.With):
                heads = [
                    getattr(statement, name)
                    for name in ("iter", "test")
                    if hasattr(statement, name)
                ] + [item.context_expr for item in getattr(statement, "items", [])]
                self.note(uses(heads), bound)
                inside = bound | bindings(targets_of(statement), "").keys()
                self.read(statement.body, set(inside))
                self.read(getattr(statement, "orelse", []), set(bound))
                if isinstance(statement, ast.With):
                    bound |= inside | bindings(statement.body, "").keys()
            else:
                later = isinstance(statement, Function | ast.ClassDef)  # when it is called
                self.note(uses([statement]), set() if later else bound)
                if not isinstance(statement, ast.Try):
                    bound |= bindings([statement], "").keys()

    def note(self, used: Uses, bound: set[str]) -> None:
        self.needs |= {names for names in used.names if names[0] not in bound}
        self.paths |= used.paths


def targets_of(statement: ast.stmt) -> list[ast.expr]:
    """What the head of a loop or of a with binds."""
    if isinstance(statement, ast.For):
        return [statement.target]
    return [each.optional_vars for each in getattr(statement, "items", []) if each.optional_vars]


class Notebook:
    """The cells of a notebook and what each of them stands on."""

    def __init__(self, sources: Sequence[str], tree: provenance.Tree) -> None:
        self.tree = tree
        self.cells = [Cell(source, number) for number, source in enumerate(sources)]
        self.own = {name for cell in self.cells for name in cell.binds}
        self.changes = [cell.binds | set(self.changed_by(cell)) for cell in self.cells]

    def code_of(self, number: int) -> str:
        lines, nodes = [], set()
        for cell in (self.cells[each] for each in self.below(number)):
            lines += map(written, cell.statements)
            paths = {(None, path) for path in cell.paths}
            for names in cell.needs:
                paths |= {(names, path) for path in self.imported(names, number)}
            for names, path in sorted(paths, key=str):
                meant, further = self.tree.follow(path)
                nodes |= meant
                lines += [f"{names}: {path}", *further]
            nodes |= set(self.references(cell))
        nodes = self.tree.closure(nodes)
        lines += [self.tree.digest_of(nodes), *map(rows_of, sorted(self.sweeps(nodes)))]
        return provenance.shorten("\n".join(lines))

    def below(self, number: int) -> list[int]:
        """The cells that a cell stands on, itself among them, in their order."""
        found, todo = {number}, [number]
        while todo:
            wanted = {names[0] for names in self.cells[todo.pop()].needs}
            further = {each for each in range(number) if self.changes[each] & wanted} - found
            found |= further
            todo += further
        return sorted(found)

    def imported(self, names: tuple[str, ...], number: int) -> set[tuple[str, ...]]:
        """What a name with its attributes stands for by the imports up to a cell: dotted paths."""
        first, *rest = names
        cells = [cell for cell in self.cells[: number + 1] if first in cell.imports]
        return {(*cell.imports[first].split("."), *rest) for cell in cells}

    def home_of(self, call: ast.Call) -> str:
        """The package that a called name comes from: "" for the notebook itself, "builtins" for
        what nobody binds."""
        name = root_of(call.func)
        if name is None or name in self.own:
            return ""
        paths = self.imported((name,), len(self.cells))
        return min(paths)[0] if paths else "builtins"

    def changed_by(self, cell: Cell) -> Iterator[str]:
        """The names that a cell may change without binding them."""
        for node in self.done_by(cell.statements):
            if isinstance(node, ast.Assign | ast.AugAssign):
                yield from targets(node)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                if isinstance(node.value.func, ast.Attribute) and not self.home_of(node.value):
                    yield from filter(None, [root_of(node.value.func)])
            elif isinstance(node, ast.Call) and self.may_change(node):
                values = [*node.args, *(keyword.value for keyword in node.keywords)]
                yield from filter(None, map(root_of, values))

    def done_by(self, statements: Iterable[ast.stmt]) -> Iterator[ast.AST]:
        """All nodes of what runs with the cell: not the bodies of functions, nor what only
        shows."""
        todo = list(statements)
        while todo:
            node = todo.pop()
            if isinstance(node, Function | ast.ClassDef | ast.Lambda) or self.only_shows(node):
                continue
            yield node
            todo += ast.iter_child_nodes(node)

    def only_shows(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
            return False
        home = self.home_of(node.value)
        return home == "course" or (home == "builtins" and root_of(node.value.func) == "print")

    def may_change(self, call: ast.Call) -> bool:
        """Whether a call may change what is passed to it."""
        home = self.home_of(call)
        own = not home and isinstance(call.func, ast.Name)
        in_place = isinstance(call.func, ast.Attribute) and call.func.attr.endswith("_")
        return own or in_place or (home != "course" and self.tree.module(home) is not None)

    def references(self, cell: Cell) -> Iterator[provenance.Node]:
        """The solutions that stand in for the exercises of a cell."""
        for call in calls(cell.statements):
            if root_of(call.func) == "exercise" and self.home_of(call) == "course":
                yield from self.reference(ast.literal_eval(call.args[0]))

    def reference(self, exercise: str) -> set[provenance.Node]:
        module = self.tree.module(f"checks.{exercise.partition('.')[0]}")
        statements = (
            [each for some in module.statements.values() for each in some] if module else []
        )
        for call in calls(statements):
            if call.args and written(call.args[0]) == written(ast.Constant(exercise)):
                for keyword in call.keywords:
                    if keyword.arg == "reference":
                        names = uses([keyword.value]).names
                        return {
                            node for each in names for node in self.tree.resolve(module, each)[0]
                        }
        raise CourseError(f"labs/checks has no Exercise({exercise!r}, reference=...): restore it.")

    def sweeps(self, nodes: Iterable[provenance.Node]) -> set[str]:
        """The names of the sweeps among definitions."""
        found = set()
        for module, name in nodes:
            for call in calls(self.tree.module(module).statements.get(name, [])):
                if isinstance(call.func, ast.Name | ast.Attribute) and call.args:
                    if ast.unparse(call.func).rpartition(".")[2] == "Sweep":
                        found.add(ast.literal_eval(call.args[0]))
        return found


def rows_of(sweep: str) -> str:
    """A line about the stored rows of a sweep, the same whatever code has been vouched for."""
    path = store.book_folder("cpu") / "sweeps" / f"{sweep}.json"
    return f"{sweep} {rows_at(path, path.stat().st_mtime_ns) if path.exists() else ''}"


@functools.lru_cache
def rows_at(path: Path, changed: int) -> str:
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    kept = [{name: value for name, value in row.items() if name != "code"} for row in rows]
    return provenance.shorten(json.dumps(kept))
