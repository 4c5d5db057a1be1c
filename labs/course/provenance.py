"""Which code made a result: a digest of a function and of all that it reaches inside labs/.

The digest changes with whatever could change what the function does: its own text, the functions,
classes and constants it uses, in any module of labs/, and the data files that these modules read.
Comments, docstrings, formatting and annotations do not count. Nothing is run or imported: names are
followed through the source, from import to import.

* A class counts as a whole, and so does a module that is used as a value.
* A constant counts with every statement of its module that changes it.
* A module that reads files names them in a literal constant, relative to itself:
  DATA = ("base/manifest.json",). They count as soon as anything in that module is reached.
* labs/course is left out, since it presents and records: a new sentence in a message must not put
  results in doubt. The modules in COUNTED are the exception.

What cannot be seen: names made up at run time (importlib, globals()), and a table that another
module fills. Write tables out in their own module. The libraries' code does not count either; the
result files say their versions.
"""

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import dedent

from . import session
from .errors import CourseError
from .source import bindings, is_text, targets, uses, written

LENGTH = 12  # hex digits of a digest
RECORDING = "course"  # the package that presents and records, and is left out,
COUNTED = (  # except what computes results:
    "course.statistics",  # means and intervals over seeds
    "course.rows",  # which rows of a sweep a number is made of
    "course.smollm2",  # which weights the real model has
)
ACTS, DATA = "", "DATA"  # of a module: what importing it does, and the files it reads

Node = tuple[str, str]  # a module and the name of a definition in it, or ACTS or DATA


def digest(function: Callable, *others: Callable) -> str:
    """The digest of a function in a module of labs/ and of all it reaches there, 12 hex digits.

    others: functions from a notebook that take part; their own text counts
    Raises CourseError for a function that is not at the top level of such a module.
    """
    texts = [written(ast.parse(dedent(inspect.getsource(other)))) for other in others]
    code = tree().digest_of(start_of(function))
    return shorten("\n".join([code, *texts])) if texts else code


def reached(function: Callable) -> list[str]:
    """The names of all that counts in digest(function), as in "methods.sft.fine_tune"."""
    return tree().names_of(start_of(function))


def start_of(function: Callable) -> list[Node]:
    """The function's own definition; raises CourseError where the sources hold none."""
    plain = inspect.unwrap(function)
    module, name = (getattr(plain, what, "") for what in ("__module__", "__qualname__"))
    found = tree().module(module) if module else None
    if found is None or name not in found.statements:
        raise CourseError(
            f"{name or type(function).__name__} has no def of its own in a module of labs/: "
            "put the function at the top level of a module in labs/experiments."
        )
    return [(module, name)]


def tree() -> "Tree":
    """The sources of labs/, each read once."""
    return tree_at(session.LABS)


@functools.cache
def tree_at(root: Path) -> "Tree":
    return Tree(root)


def shorten(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


class Module:
    """One source file: what its names stand for. A folder without __init__.py is an empty one."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.imports: dict[str, str] = {}
        self.loads: list[str] = []  # modules that are imported by their dotted name
        self.statements: dict[str, list[ast.stmt]] = {ACTS: []}
        if path.exists():
            self.read(ast.parse(path.read_text(encoding="utf-8")).body)

    def read(self, body: list[ast.stmt]) -> None:
        """File every statement under the names that it defines or changes."""
        body = [statement for statement in body if not is_idle(statement)]
        for name, path in bindings(body, self.package).items():
            if path:
                self.imports[name] = path
            else:
                self.statements[name] = []
        for statement in body:
            if isinstance(statement, ast.Import):
                self.loads += [alias.name for alias in statement.names]
            elif not isinstance(statement, ast.ImportFrom):
                own = self.concerned(statement) & self.statements.keys()
                for name in sorted(own) or [ACTS]:
                    self.statements[name].append(statement)

    def concerned(self, statement: ast.stmt) -> set[str]:
        """The names that a statement defines or may change."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return {statement.name}
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            return targets(statement)
        # a loop or a call may change whatever it names
        bound = bindings([statement], self.package)
        return bound.keys() | {name for name, *_ in uses([statement], self.package).names}

    def defines(self, name: str) -> bool:
        return bool(self.statements.get(name))

    def data(self) -> list[Path]:
        """The files that DATA names; raises CourseError for another form of it."""
        found = []
        for statement in self.statements.get(DATA, []):
            try:
                names = ast.literal_eval(statement.value)
                found += [self.path.parent / name for name in names if isinstance(names, tuple)]
            except (AttributeError, TypeError, ValueError):
                found = []
        if DATA in self.statements and not found:
            raise CourseError(
                f"{self.path.name}: DATA must be a tuple of paths, relative to the module and "
                'written out, as in DATA = ("base/manifest.json",).'
            )
        return found


def is_idle(statement: ast.stmt) -> bool:
    """Whether importing the module makes nothing of a statement: texts, what is there for type
    checkers, and what only a program run by itself does."""
    if not isinstance(statement, ast.If):
        return is_text(statement)
    test = ast.unparse(statement.test)
    return "TYPE_CHECKING" in test or "__name__" in test


class Tree:
    """All modules below one folder, and what is reached from a definition in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module | None] = {}
        self.found: dict[Node, tuple[str, frozenset[Node]]] = {}

    def module(self, name: str) -> Module | None:
        """The module of this dotted name, or None if the folder holds none."""
        if name not in self.modules:
            path = self.root.joinpath(*name.split("."))
            files = [path.with_name(f"{path.name}.py"), path / "__init__.py"]
            file = next(filter(Path.is_file, files), None)
            if file is None and path.is_dir() and any(path.glob("*.py")):
                file = path / "__init__.py"
            self.modules[name] = Module(name, file) if file else None
        return self.modules[name]

    def digest_of(self, start: Iterable[Node]) -> str:
        """The digest of these definitions and all they reach."""
        nodes = self.closure(start)
        return shorten("\n".join(filter(None, (self.look_at(node)[0] for node in sorted(nodes)))))

    def names_of(self, start: Iterable[Node]) -> list[str]:
        names = {".".join(node) for node in self.closure(start) if node[1] not in (ACTS, DATA)}
        for module, name in self.closure(start):
            if name == DATA:
                files = self.module(module).data()
                names |= {file.relative_to(self.root).as_posix() for file in files}
        return sorted(names)

    def closure(self, start: Iterable[Node]) -> set[Node]:
        nodes, todo = set(), list(start)
        while todo:
            node = todo.pop()
            if node not in nodes and counts(node[0]):
                nodes.add(node)
                todo += self.look_at(node)[1]
        return nodes

    def look_at(self, node: Node) -> tuple[str, frozenset[Node]]:
        """The text of a definition, with what its names stand for, and the definitions it uses."""
        if node not in self.found:
            module, name = self.module(node[0]), node[1]
            if name == DATA:
                self.found[node] = "\n".join(map(self.stamp_of, module.data())), frozenset()
            else:
                self.found[node] = self.read(module, name)
        return self.found[node]

    def read(self, module: Module, name: str) -> tuple[str, frozenset[Node]]:
        statements = module.statements[name]
        used, nodes = uses(statements, module.package), set()
        lines = [f"{module.name}.{name}", *map(written, statements)] if statements else []
        for names in sorted(used.names):
            meant, paths = self.resolve(module, names)
            nodes |= meant
            lines += [f"{'.'.join(names)}: {path}" for path in paths]
        for path in sorted(used.paths):
            meant, paths = self.follow(path)
            nodes |= meant
            lines += [f"{'.'.join(path)}: {further}" for further in paths]
        if name == ACTS:  # importing a module imports what it imports
            nodes |= {(other, ACTS) for other in self.loaded_by(module)}
        else:
            nodes |= {
                (module.name, always) for always in (ACTS, DATA) if always in module.statements
            }
        return "\n".join(lines), frozenset(nodes)

    def loaded_by(self, module: Module) -> Iterator[str]:
        """The modules that are imported with this one."""
        for path in (*module.imports.values(), *module.loads):
            parts = path.split(".")
            for end in range(1, len(parts) + 1):
                if self.module(".".join(parts[:end])):
                    yield ".".join(parts[:end])

    def resolve(self, module: Module, names: tuple[str, ...]) -> tuple[set[Node], list[str]]:
        """What a name of a module with its attributes stands for: definitions, and the dotted paths
        of the imports on the way there."""
        first, *rest = names
        if module.defines(first):
            return {(module.name, first)}, []
        path = module.imports.get(first)
        if path:
            nodes, further = self.follow((*path.split("."), *rest))
            return nodes, [path, *further]
        if "*" in module.imports:
            return self.follow(tuple(module.imports["*"].split(".")[:-1]))
        return set(), []

    def follow(self, path: tuple[str, ...]) -> tuple[set[Node], list[str]]:
        """The definitions that a dotted path from the root stands for, none outside the root, and
        the dotted paths of the imports on the way there."""
        for end in range(len(path), 0, -1):
            module = self.module(".".join(path[:end]))
            if module:
                break
        else:
            return set(), []
        rest = path[end:]
        if rest and (rest[0] in module.imports or module.defines(rest[0])):
            nodes, further = self.resolve(module, rest)
            return nodes | {(module.name, ACTS)}, further
        return self.whole(module), []

    def whole(self, module: Module) -> set[Node]:
        """All definitions of a module, and of a package those of its modules too."""
        if not counts(module.name):
            return set()
        nodes = {(module.name, name) for name in module.statements if module.defines(name)}
        nodes.add((module.name, ACTS))
        if module.path.name == "__init__.py":
            for file in module.path.parent.glob("*.py"):
                if file != module.path:
                    nodes |= self.whole(self.module(f"{module.name}.{file.stem}"))
        return nodes

    def stamp_of(self, file: Path) -> str:
        """The digest of a data file, the same whatever its line ends."""
        name = file.relative_to(self.root).as_posix()
        try:
            content = file.read_bytes().replace(b"\r\n", b"\n")
        except OSError as error:
            raise CourseError(f"{name} cannot be read ({error.strerror}): restore it.") from None
        return f"{name} {hashlib.sha256(content).hexdigest()}"


def counts(module: str) -> bool:
    """Whether what a module defines is code that makes results."""
    return module.partition(".")[0] != RECORDING or module in COUNTED
