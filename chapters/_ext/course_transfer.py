"""The `transfer` directive: one finding of the small model, asked again of a real one.

    ```{transfer} Random weights learn nearly as well
    :verdict: different
    :unit: share of right answers
    :scale: 0 1
    :show: .0%
    :pairs: the base = sft.triage_exact_match / real.full_fields ; random weights = …

    Why the two differ, in a sentence or two.
    ```

Each pair has a name and two measures, the help desk's and the real model's. A measure is drawn as a
dot on the scale, with its interval as a line where it has one, and printed beside it as {measured}
prints it. `scale` is where the drawing begins and ends; what lies outside is drawn at its end.
"""

import re

from course_element import make
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

VERDICTS = ("same", "different", "not clear")
MODELS = ("help desk", "SmolLM2")
PAIR = re.compile(r"(?P<name>.+?)\s*=\s*(?P<small>\S+)\s*/\s*(?P<real>\S+)")


def read_pairs(text):
    """[(name, (measure of the help desk, measure of the real model))]; ValueError for another
    form."""
    found = []
    for part in filter(None, map(str.strip, text.split(";"))):
        match = PAIR.fullmatch(part)
        if not match:
            raise ValueError(f"{part!r} is no pair: write name = measure / measure")
        found.append((match["name"], (match["small"], match["real"])))
    if not found:
        raise ValueError("name a pair at least: name = measure / measure")
    return found


def read_scale(text):
    """(low, high); ValueError for anything but two numbers in order."""
    ends = [float(part) for part in text.split()]
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"{text!r} is no scale: write its two ends, the lower one first")
    return tuple(ends)


def read_verdict(text):
    return directives.choice(text, VERDICTS)


def places(record, scale):
    """Where a record lies on the scale, in percent: (dot, start of its interval, end), each cut at
    the ends; without an interval all three are the same."""
    low, high = scale

    def place(value):
        return 100 * min(1.0, max(0.0, (value - low) / (high - low)))

    start, end = record.get("interval") or (record["value"], record["value"])
    return place(record["value"]), place(start), place(end)


def track(record, scale):
    """The drawing of a record; the number beside it says the same in words."""
    dot, start, end = places(record, scale)
    line = make(
        "span", class_="transfer-line", style=f"left: {start:.1f}%; width: {end - start:.1f}%"
    )
    point = make("span", class_="transfer-dot", style=f"left: {dot:.1f}%")
    return make("span", line, point, class_="transfer-track", aria_hidden="true")


class Transfer(SphinxDirective):
    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {
        "verdict": read_verdict,
        "unit": directives.unchanged_required,
        "scale": read_scale,
        "show": directives.unchanged_required,
        "pairs": read_pairs,
    }

    def run(self):
        if missing := self.option_spec.keys() - self.options.keys():
            raise self.error(f"this finding lacks {', '.join(sorted(missing))}")
        verdict = self.options["verdict"]
        head = make(
            "p",
            nodes.strong("", "", *self.inline(self.arguments[0])),
            nodes.Text(" "),
            make("span", nodes.Text(verdict), class_="transfer-verdict"),
            class_="transfer-head",
        )
        unit = make("p", nodes.Text(self.options["unit"]), class_="transfer-unit")
        rows = make("div", *self.rows(), class_="transfer-rows")
        reason = self.parse_text_to_nodes("\n".join(self.content))
        kind = f"transfer transfer-{verdict.replace(' ', '-')}"
        return [make("div", head, unit, rows, *reason, class_=kind)]

    def rows(self):
        for name, measures in self.options["pairs"]:
            yield make("span", nodes.Text(name), class_="transfer-name")
            for model, measure in zip(MODELS, measures, strict=True):
                yield make("span", nodes.Text(model), class_="transfer-model")
                yield from self.shown(measure)

    def shown(self, measure):
        """The drawing of a measure and its number, which links to the cell that measured it."""
        try:
            record, _ = self.env.app.course_facts.look_up(measure)
        except KeyError:
            record = {}
        form = " ±" if record.get("interval") else ""
        number = self.inline(f"{{measured}}`{measure}{form} {self.options['show']}`")
        yield track(record, self.options["scale"]) if record else make("span")
        yield nodes.inline("", "", *number, classes=["transfer-number"])

    def inline(self, text):
        children, _ = self.state.inline_text(text, self.lineno)
        return children


def setup(app):
    app.add_directive("transfer", Transfer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
