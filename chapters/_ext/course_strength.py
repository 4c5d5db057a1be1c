"""The `check-strength` directive: how well the checks of each exercise tell right from wrong, a
table for each lab.

    ```{check-strength}
    ```

`python tools/strength.py` measures the numbers.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

FILE = "labs/results/checks/strength.json"
HEAD = [
    "Exercise",
    "Points",
    "Checks",
    "Wrong caught",
    "Right accepted",
    "Wrong, blind: at first",
    "now",
    "Right, blind",
    "Mutants killed",
    "Equivalent",
    "Flakes",
]


def read(root):
    """The file's exercises by lab, in its order: {lab: [entry, ...]}."""
    try:
        told = json.loads((root / FILE).read_text("utf8"))
    except (OSError, ValueError) as error:
        raise ExtensionError(
            f"{FILE} cannot be read: {error}; python tools/strength.py makes it"
        ) from error
    labs = {}
    for entry in told["exercises"]:
        labs.setdefault(entry["lab"], []).append(entry)
    return labs


def counts(entry):
    """The numbers of one exercise, a pair (these, of so many) where it is a part of a whole."""
    telling, blind = entry["mutants"] - len(entry["equivalent"]), entry["blind_wrong"]
    return [
        entry["points"],
        entry["checks"],
        (entry["wrong"] - len(entry["accepted"]), entry["wrong"]),
        (entry["right"] - len(entry["rejected"]), entry["right"]),
        (blind - entry["blind_accepted_at_first"], blind),
        (blind - len(entry["blind_accepted"]), blind),
        (entry["blind_right"] - len(entry["blind_rejected"]), entry["blind_right"]),
        (telling - len(entry["survivors"]), telling),
        len(entry["equivalent"]),
        (entry["flakes"], entry["verdicts"]),
    ]


def added(columns):
    """Counts of several exercises, column by column, added up."""
    return [
        tuple(map(sum, zip(*column))) if isinstance(column[0], tuple) else sum(column)
        for column in columns
    ]


def show(count):
    return f"{count[0]:,} of {count[1]:,}" if isinstance(count, tuple) else f"{count:,}"


def table(entries):
    """The lines of a Markdown table, one exercise in a row, the sum in the last."""
    rows = [(f"`{entry['id']}`", counts(entry)) for entry in entries]
    rows.append(("all", added(zip(*(numbers for _, numbers in rows)))))
    lines = [[name, *map(show, numbers)] for name, numbers in rows]
    return [
        "| " + " | ".join(cells) + " |"
        for cells in [HEAD, [":--", *["--:"] * (len(HEAD) - 1)], *lines]
    ]


class CheckStrength(SphinxDirective):
    def run(self):
        self.env.note_dependency(FILE)
        content = []
        for lab, entries in sorted(read(Path(self.env.srcdir)).items()):
            text = [f"{{doc}}`/labs/{lab}`", "", *table(entries)]
            content += self.parse_text_to_nodes("\n".join(text))
        for node in content:
            if isinstance(node, nodes.table):
                node["classes"] += ["ledger-summary", "check-strength"]
        return content


def setup(app):
    app.add_directive("check-strength", CheckStrength)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
