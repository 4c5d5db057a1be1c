"""Two tables that are read from stored sweeps.

    ```{comparison}
    ```

is the table of the book's title, every method on one task from one base, of lab 09's sweep with all
labels.

    ```{strategies}
    ```

is what usual strategies reach in the capstone. Numbers are means over the seeds, and for qualities
± half the width of a 95 % interval.
"""

import json
import statistics
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

FILE = "labs/results/sweeps/pipelines.compared.json"
STRATEGIES = "labs/results/sweeps/capstone.strategies.json"
MOST = 2000
T_QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 %, by the number of seeds
HEAD = (
    "Method",
    "Reads",
    "Gold, in points",
    "Polite, %",
    "KL, nats per reply",
    "Facts still answered, %",
    "Lost on transcripts, nats",
    "10¹² operations",
    "MB held",
    "KB stored",
)
STRATEGY_HEAD = (
    "Strategy",
    "Gold, in points",
    "Polite, %",
    "KL, nats per reply",
    "Facts answered, %",
    "Within the budget",
)
DEMONSTRATIONS, CHOICES = f"{MOST:,} demonstrations", f"{MOST:,} choices"
METHODS = {  # what each reads, and the page that explains it
    "the base": ("nothing", "helpdesk"),
    "an untrained adapter": ("nothing", "lora"),
    "SFT": (DEMONSTRATIONS, "sft"),
    "SFT, LoRA": (DEMONSTRATIONS, "lora"),
    "SFT, others' replies": ("replies to other tickets", "sft"),
    "DPO": (CHOICES, "after-ppo"),
    "DPO, LoRA": (CHOICES, "after-ppo"),
    "DPO, a coin's choices": ("a coin's choices", "after-ppo"),
    "PPO": (CHOICES, "rlhf"),
    "PPO, LoRA": (CHOICES, "after-ppo"),
    "PPO, a coin's choices": ("a coin's choices", "rlhf"),
    "RLOO": (CHOICES, "after-ppo"),
    "best of 16": (CHOICES, "rlhf"),
    "program": ("a program", "after-ppo"),
    "teacher": ("a teacher", "after-ppo"),
}


def rows_of(root, file):
    """The rows of a sweep; ExtensionError if there are none."""
    try:
        return json.loads((root / file).read_text("utf8"))["rows"]
    except (OSError, ValueError, KeyError) as error:
        raise ExtensionError(f"{file} cannot be read: {error}; make sweeps makes it") from error


def read(root):
    """The rows with all labels by method, in the order of METHODS; ExtensionError if one is missing."""
    found = {method: [] for method in METHODS}
    for row in rows_of(root, FILE):
        if row["labels"] == MOST:
            found.setdefault(row["method"], []).append(row)
    if missing := [method for method, some in found.items() if len(some) not in T_QUANTILE]:
        raise ExtensionError(f"{FILE} lacks seeds of {', '.join(missing)}: make sweeps makes them")
    if unknown := found.keys() - METHODS.keys():
        raise ExtensionError(f"{FILE} has methods that METHODS does not name: {sorted(unknown)}")
    return found


def interval(values, scale=1.0, digits=2):
    """The mean and half the width of its 95 % interval, such as "2.67 ± 0.02"."""
    values = [scale * value for value in values]
    half = T_QUANTILE[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.{digits}f} ± {half:.{digits}f}"


def mean(values, scale=1.0, digits=0):
    return f"{scale * statistics.fmean(values):,.{digits}f}"


def cells(method, rows):
    """One line of the table. What is not trained holds, spends and stores nothing."""
    of = {name: [row[name] for row in rows] for name in rows[0] if name != "method"}
    reads, page = METHODS[method]
    line = [
        f"[{method}]({page}.md)",
        reads,
        interval(of["gold"]),
        interval(of["exact"], 100, 0),
        mean([abs(nats) for nats in of["kl"]], digits=1),
        mean(of["reading"], 100),
        mean(of["forgotten"], digits=2),
    ]
    if reads == "nothing":
        return [*line, "–", "–", "–"]
    stored = mean(of["artefact_bytes"], 1e-3) if any(of["artefact_bytes"]) else "–"
    return [*line, mean(of["operations"], 1e-12, 1), mean(of["state_bytes"], 1e-6), stored]


def table(found):
    """The lines of a Markdown table."""
    lines = [HEAD, (":--", ":--", *["--:"] * (len(HEAD) - 2))]
    lines += [cells(method, rows) for method, rows in found.items()]
    return ["| " + " | ".join(line) + " |" for line in lines]


def strategies(rows):
    """The lines of a Markdown table: what each strategy of the capstone reached."""
    lines = [STRATEGY_HEAD, (":--", *["--:"] * (len(STRATEGY_HEAD) - 1))]
    for name in dict.fromkeys(row["strategy"] for row in rows):
        some = [row for row in rows if row["strategy"] == name]
        of = {what: [row[what] for row in some] for what in ("gold", "exact", "kl", "reading")}
        within = sum(row["within"] for row in some)
        lines.append(
            (
                name,
                interval(of["gold"]),
                interval(of["exact"], 100, 0),
                mean(of["kl"], digits=1),
                mean(of["reading"], 100),
                f"{within} of {len(some)}",
            )
        )
    return ["| " + " | ".join(line) + " |" for line in lines]


class StoredTable(SphinxDirective):
    """A directive whose lines are made from one stored file."""

    file = ""

    def lines(self, root):
        raise NotImplementedError

    def run(self):
        self.env.note_dependency(self.file)
        content = self.parse_text_to_nodes("\n".join(self.lines(Path(self.env.srcdir))))
        for node in content:
            if isinstance(node, nodes.table):
                node["classes"] += ["ledger-summary", "comparison"]
        return content


class Comparison(StoredTable):
    file = FILE

    def lines(self, root):
        return table(read(root))


class Strategies(StoredTable):
    file = STRATEGIES

    def lines(self, root):
        return strategies(rows_of(root, STRATEGIES))


def setup(app):
    app.add_directive("comparison", Comparison)
    app.add_directive("strategies", Strategies)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
