"""Python source seen through its syntax tree: what a piece of code says, and which names it takes
from elsewhere.

Comments, docstrings, formatting and the annotations of parameters, results and variables say
nothing here. The text of a tree is the same under every Python from 3.11 on, which `ast.dump` and
`ast.unparse` do not promise.
"""

import ast
from collections.abc import Iterable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
SILENT = {"ctx", "type_comment", "kind", "type_ignores", "annotation", "returns", "type_params"}


def written(node: object, within: ast.AST | None = None) -> str:
    """The text of a tree, of a list of trees or of a value in it; `within` is the node above."""
    if isinstance(node, list):
        return "[" + ", ".join(filter(None, (written(each, within) for each in node))) + "]"
    if not isinstance(node, ast.AST):
        # ascii(), since repr() depends on the Unicode tables of the Python at hand
        return f"{type(node).__name__} {ascii(node)}"
    fields = dict(ast.iter_fields(node))
    kind = type(node).__name__
    if isinstance(node, ast.AnnAssign):
        if isinstance(within, ast.ClassDef):  # a dataclass is made of its annotations
            fields["field"] = fields.pop("annotation")
        elif node.value is None:
            return ""
        else:
            kind, fields = "Assign", {"targets": [node.target], "value": node.value}
    if isinstance(node, ast.JoinedStr):
        fields["values"] = joined(node.values)
    if isinstance(node, Function | ast.ClassDef | ast.Module):
        fields["body"] = without_docstring(node.body)
    if isinstance(node, ast.FormattedValue) and not getattr(node.format_spec, "values", True):
        fields["format_spec"] = None
    parts = [
        f"{name}={written(value, node)}"
        for name, value in fields.items()
        if name not in SILENT and value is not None and value != []
    ]
    return f"{kind}({', '.join(parts)})"


def joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring constants as one: how they are cut differs
    between Pythons."""
    merged = []
    for value in values:
        text = isinstance(value, ast.Constant)
        if text and merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(merged[-1].value + value.value)
        elif not text or value.value:
            merged.append(value)
    return merged


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    return body[1:] if body and is_text(body[0]) else body


def is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, str]:
    """What an import binds: {name: dotted path}; package: the package that holds the module."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )
            for alias in node.names
        }
    base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    start = ".".join([*filter(None, base), *filter(None, [node.module])])
    return {alias.asname or alias.name: f"{start}.{alias.name}" for alias in node.names}


def bindings(body: Iterable[ast.AST], package: str) -> dict[str, str]:
    """The names that code binds in its own scope: {name: dotted path of an import, else ""}."""
    bound, elsewhere, todo = {}, set(), list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, Function | ast.ClassDef):
            bound.setdefault(node.name, "")
        elif isinstance(node, Comprehension):
            todo += [each for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= imported(node, package)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Global | ast.Nonlocal):
                elsewhere.update(node.names)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                bound.setdefault(node.id, "")
            elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                bound.setdefault(node.name, "")
            elif isinstance(node, ast.MatchMapping) and node.rest:
                bound.setdefault(node.rest, "")
            todo += ast.iter_child_nodes(node)
    return {name: path for name, path in bound.items() if name not in elsewhere}


def root_of(node: ast.AST) -> str | None:
    """The name at the beginning of `name.attribute[index]`; None if there is no name."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def targets(statement: ast.stmt) -> set[str]:
    """The names that an assignment binds, or whose elements or attributes it sets."""
    found = set()
    for target in getattr(statement, "targets", None) or [statement.target]:
        parts = [target]
        while parts:
            part = parts.pop()
            if isinstance(part, ast.Tuple | ast.List):
                parts += part.elts
            elif name := root_of(part):
                found.add(name)
    walrus = (node for node in ast.walk(statement) if isinstance(node, ast.NamedExpr))
    return found | {node.target.id for node in walrus}


class Uses(ast.NodeVisitor):
    """The names that a piece of code takes from outside: .names holds those of its module as
    (name, attribute, ...), .paths those that it imports itself, as dotted paths cut at the dots."""

    def __init__(self, package: str = "") -> None:
        self.package = package
        self.names: set[tuple[str, ...]] = set()
        self.paths: set[tuple[str, ...]] = set()
        self.scopes: list[dict[str, str]] = []

    def use(self, name: str, *attributes: str) -> None:
        for scope in reversed(self.scopes):
            if name in scope:
                if scope[name]:
                    self.paths.add((*scope[name].split("."), *attributes))
                return
        self.names.add((name, *attributes))

    def visit_Name(self, node: ast.Name) -> None:
        if self.scopes or not isinstance(node.ctx, ast.Store):  # in a scope: a global name is set
            self.use(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self.use(inner.id, *reversed(attributes))
        else:
            self.visit(inner)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.use(node.target.id)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit_all([node.target, node.value])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all([*node.decorator_list, *node.bases, *node.keywords, *node.body])

    def visit_function(self, node: Function | ast.Lambda) -> None:
        arguments = node.args
        self.visit_all(
            [*getattr(node, "decorator_list", []), *arguments.defaults, *arguments.kw_defaults]
        )
        body = node.body if isinstance(node.body, list) else [node.body]
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += filter(None, [arguments.vararg, arguments.kwarg])
        scope = {parameter.arg: "" for parameter in parameters}
        self.visit_in(scope | bindings(body, self.package), body)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function

    def visit_comprehension_expression(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        scope = bindings([each.target for each in node.generators], self.package)
        self.visit_in(scope, [each for each in ast.iter_child_nodes(node)])

    visit_ListComp = visit_SetComp = visit_comprehension_expression
    visit_DictComp = visit_GeneratorExp = visit_comprehension_expression

    def visit_in(self, scope: dict[str, str], nodes: list[ast.AST]) -> None:
        self.scopes.append(scope)
        self.visit_all(nodes)
        self.scopes.pop()

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in filter(None, nodes):
            self.visit(node)


def uses(nodes: Iterable[ast.AST], package: str = "") -> Uses:
    """What the pieces of code use together."""
    found = Uses(package)
    found.visit_all(nodes)
    return found


def calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    for node in nodes:
        yield from (each for each in ast.walk(node) if isinstance(each, ast.Call))
