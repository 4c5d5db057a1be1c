"""The book's own roles and directives: claims, measured numbers, the ledger.

    {claim}`C1.12`                             badge: verdict, measured value, links to the ledger's
                                               entry and to the cell that measured it
    {measured}`sft.triage_exact_match .1%`     a number that a lab measured, in a Python format, a
                                               link to the cell that measured it
    {measured}`sft.triage_exact_match ± .1%`   the same with half the width of its interval over seeds
    {measured}`sft.triage_exact_match interval .1%`
    {measured}`C1.01 .3f`                      the value recorded for a claim
    {measured}`01_sft:seconds .0f`             a fact about a lab's run (seconds, peak_mib, device,
                                               scale)
    {computed}`C2.16 hours ,.0f`               a result of a claim's arithmetic, in a Python format, a
                                               link to the ledger's entry
    {fixed}`4,096`                             a number that is a setting or arithmetic, printed as
                                               it is
    {ledger}                                   all claims of claims.yml
    {document}                                 the document on trial, line by line
    {lab-figure}                               a lab's figure, of course_figures.py
    {check-strength}                           how well the checks tell right from wrong, of
                                               course_strength.py
    {comparison}, {strategies}                 every method on one task, and what strategies reach in
                                               the capstone, of course_comparison.py
    {transfer}                                 a finding beside what a real model says of it, of
                                               course_transfer.py
    {calculator}, {explorer}                   memory, cost and choice worked out in the page, of
                                               course_planner.py

Everything comes from chapters/claims.yml, chapters/source.md and labs/results/*.json. A name that
is in none of them is a warning.
"""

import json
import re
import sys
from pathlib import Path

import yaml
from course_element import make
from docutils import nodes
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode

# The packages in labs/ are not installed: they lie beside the notebooks.
sys.path.append(str(Path(__file__).resolve().parents[2] / "labs"))

from planning import arithmetic

logger = logging.getLogger(__name__)

CLAIMS = "chapters/claims.yml"
SOURCE = "chapters/source.md"
RESULTS = "labs/results"
VERDICTS = [
    "correct",
    "imprecise",
    "outdated",
    "wrong",
    "internally inconsistent",
    "unverifiable as stated",
]
STATUSES = ["measured here", "computed here", "from the literature"]
RUN_FACTS = {"seconds", "peak_mib", "device", "scale"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SHORT_UNIT = 24  # a value with a longer unit stands in the ledger only


class Facts:
    """What claims.yml and the result files say, read once per build.

    claims: id -> entry, in the file's order; source: the document's text; runs: lab name -> its
    results.
    """

    def __init__(self, root):
        self.source = _load(root / SOURCE, str)
        self.claims = {entry["id"]: entry for entry in _load(root / CLAIMS, yaml.safe_load)}
        self.runs = {
            path.stem: _load(path, json.loads) for path in sorted((root / RESULTS).glob("*.json"))
        }

    def line_of(self, claim):
        """The number of the document's line on which the claim's quote starts, or None if it is not
        there."""
        before, found, _ = self.source.partition(claim["quote"])
        return before.count("\n") + 1 if found else None

    def measurement(self, claim):
        """The record that the claim's lab stored for it, or None."""
        return self.runs.get(claim.get("lab"), {}).get("claims", {}).get(claim["id"])

    def look_up(self, name):
        """What is known of a measure, a claim id or a run fact `lab:fact`: (its record, lab);
        KeyError if unknown."""
        lab, colon, fact = name.partition(":")
        if colon:
            if fact not in RUN_FACTS:
                raise KeyError(name)
            return {"value": self.runs[lab][fact]}, lab
        for lab, run in self.runs.items():
            record = run["measures"].get(name) or run["claims"].get(name)
            if record:
                return record, lab
        raise KeyError(name)


def _load(path, parse):
    try:
        return parse(path.read_text("utf8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ExtensionError(f"{path} cannot be read: {error}") from error


def status_of(claim):
    """How the book knows: a lab measures it, a calculation gives it, or the literature says it.

    An identity is computed, though a lab runs it: no data could have come out otherwise.
    """
    if claim.get("identity"):
        return "computed here"
    if claim.get("lab"):
        return "measured here"
    return "computed here" if claim.get("arithmetic") else "from the literature"


def computed_lines(claim):
    """The claim's arithmetic, computed. Raises ExtensionError for a line that has no value."""
    try:
        return arithmetic.compute(claim.get("arithmetic", ()))
    except (KeyError, ValueError) as error:
        raise ExtensionError(f"the arithmetic of {claim['id']} in {CLAIMS}: {error}") from error


def correction_of(claim):
    """The correction, with the results of the claim's arithmetic in their places: {hours:,.1f}."""
    results = {line.result: line.value for line in computed_lines(claim)}
    if not results:
        return claim["correction"]
    place = re.compile(rf"\{{({'|'.join(results)}):([^{{}}]+)\}}")
    return place.sub(lambda found: show_number(results[found[1]], found[2]), claim["correction"])


def show_number(value, spec=""):
    """`value` in the Python format `spec`; without one, a whole number in full, else three
    digits."""
    if isinstance(value, str):
        return value
    if not spec:
        whole = float(value).is_integer() and abs(value) < 1e15
        spec = ",.0f" if whole else ".3g"
    text, _, exponent = format(value, spec).partition("e")
    text = text.replace("-", "\N{MINUS SIGN}").replace("%", "\N{NO-BREAK SPACE}%")
    if not exponent:
        return text
    power = "10" + str(int(exponent)).translate(RAISED)
    return power if text == "1" else f"{text} × {power}"


def show_term(value):
    """A number of a calculation: in full up to a billion, digits after the point below 1,000."""
    if abs(value) >= 1e9:
        return show_number(value, ".3g")
    whole = float(value).is_integer() or abs(value) >= 1000
    return show_number(value, ",.0f" if whole else ".4g")


def show_interval(interval, spec=""):
    """`lo–hi`, the unit sign once at the end; `lo to hi` where a minus sign would meet the dash."""
    low, high = (show_number(end, spec) for end in interval)
    between = " to " if interval[0] < 0 else "–"
    return f"{low.removesuffix('%').rstrip()}{between}{high}"


def show_record(record, form="value", spec=""):
    """A record's "value", its "interval", or both as "±". KeyError for an interval that it lacks.

    An interval that was cut at the end of its scale is not symmetric: "±" prints it in brackets.
    """
    value, interval = record["value"], record.get("interval")
    if form == "value":
        return show_number(value, spec)
    if interval is None:
        raise KeyError("interval")
    if form == "interval":
        return show_interval(interval, spec)
    low, high = interval
    if low == high:
        return show_number(value, spec)
    if abs(low + high - 2 * value) > 1e-6 * (high - low):
        return f"{show_number(value, spec)} ({show_interval(interval, spec)})"
    middle, half = show_number(value, spec), show_number((high - low) / 2, spec)
    return f"{middle.removesuffix('%').rstrip()}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{half}"


def show_bound(bound):
    """`<= 0.06` as `≤ 0.06`."""
    operator, number = bound.split()
    sign = {"<=": "≤", ">=": "≥", "==": "="}.get(operator, operator)
    return f"{sign}\N{NO-BREAK SPACE}{show_number(float(number))}"


def anchor(claim_id):
    return "claim-" + claim_id.lower().replace(".", "-")


def span(text, *classes):
    return nodes.inline("", text, classes=list(classes))


def unseen(text):
    """Text for a screen reader, where the eye sees it from the layout."""
    return span(text, "visually-hidden")


def link(env, kind, target, *content, title=None):
    """A link to a label (kind "label") or a page (kind "page") anywhere in the book.

    Sphinx's own references keep the words of `content` only; this one keeps its spans.
    """
    return addnodes.pending_xref(
        "",
        nodes.inline("", "", *content),
        refdomain="",
        reftype=kind,
        reftarget=target,
        reftitle=title,
        refwarn=True,
        refdoc=env.docname,
    )


def link_to_lab(env, lab, record, *content, title=None):
    """A link to the cell that measured what `record` holds, or to the lab's page where the record
    does not say which cell."""
    page = f"labs/{lab}"
    if "cell" in record:
        return link(env, "label", cell_label(page, record["cell"]), *content, title=title)
    return link(env, "page", page, *content, title=title)


def resolve_link(app, env, node, content):
    """The reference for a `link`; None, which is a warning, if nothing in the book has that label
    or page."""
    target, identity = node["reftarget"], ""
    if node["reftype"] == "label":
        target, identity = env.get_domain("std").anonlabels.get(target, (None, ""))
    if node["reftype"] not in {"label", "page"} or target not in env.found_docs:
        return None
    return make_refnode(app.builder, node["refdoc"], target, identity, content, node["reftitle"])


def note_files(env, lab=None):
    """Have the current page read again when claims.yml, or this lab's results, change."""
    env.note_dependency(CLAIMS)
    if lab:
        env.note_dependency(f"{RESULTS}/{lab}.json")


class ClaimRole(SphinxRole):
    def run(self):
        facts = self.env.app.course_facts
        claim = facts.claims.get(self.text)
        if claim is None:
            note_files(self.env)
            logger.warning("no claim %s in %s", self.text, CLAIMS, location=self.get_location())
            return [nodes.literal("", self.text)], []
        note_files(self.env, claim.get("lab"))
        badge = nodes.inline("", "", classes=["claim", verdict_class(claim["verdict"])])
        badge += link(
            self.env,
            "label",
            anchor(claim["id"]),
            unseen("Claim "),
            span(claim["id"], "claim-id"),
            nodes.Text(" "),
            span(claim["verdict"], "claim-verdict"),
        )
        record = facts.measurement(claim)
        if record:
            if len(claim["unit"]) <= SHORT_UNIT:
                value = [
                    unseen("measured in its lab: "),
                    span(show_number(record["value"]), "claim-value"),
                    nodes.Text(f" {claim['unit']}"),
                ]
            else:  # a bare number would be taken for something else
                value = [span("measured", "claim-value"), unseen(" in its lab")]
            lab = link_to_lab(self.env, claim["lab"], record, *value, title=claim["unit"])
            badge += [nodes.Text(" "), lab]
        return [badge], []


FORMS = {"interval", "±"}


class MeasuredRole(SphinxRole):
    def run(self):
        name, *rest = self.text.split()
        form = rest.pop(0) if rest[:1] and rest[0] in FORMS else "value"
        spec = " ".join(rest)
        try:
            record, lab = self.env.app.course_facts.look_up(name)
            text = show_record(record, form, spec)
        except KeyError:
            kind = "value" if form == "value" else "interval"
            logger.warning("no %s of %s in %s", kind, name, RESULTS, location=self.get_location())
            return [nodes.literal("", self.text)], []
        except ValueError:
            logger.warning("%r is no number format", spec, location=self.get_location())
            return [nodes.literal("", self.text)], []
        note_files(self.env, lab)
        if "cell" not in record:
            return [span(text, "measured")], []
        title = f"measured in this cell of lab {lab}"
        return [link_to_lab(self.env, lab, record, span(text, "measured"), title=title)], []


class ComputedRole(SphinxRole):
    def run(self):
        note_files(self.env)
        name, _, rest = self.text.partition(" ")
        result, _, spec = rest.partition(" ")
        lines = computed_lines(self.env.app.course_facts.claims.get(name, {}))
        values = {line.result: line.value for line in lines}
        try:
            text = show_number(values[result], spec)
        except (KeyError, ValueError):
            logger.warning("no result %s in %s", self.text, CLAIMS, location=self.get_location())
            return [nodes.literal("", self.text)], []
        title = "computed in the ledger"
        return [link(self.env, "label", anchor(name), span(text, "measured"), title=title)], []


class FixedRole(SphinxRole):
    def run(self):
        return [nodes.Text(self.text)], []


class Ledger(SphinxDirective):
    """A table of verdicts, then one entry per claim, in the order and under the sections of
    claims.yml."""

    def run(self):
        facts = self.env.app.course_facts
        note_files(self.env)
        for lab in sorted({claim["lab"] for claim in facts.claims.values() if claim.get("lab")}):
            note_files(self.env, lab)
        groups = {}
        for claim in facts.claims.values():
            groups.setdefault(claim["section"], []).append(claim)
        self.env.note_dependency(SOURCE)
        overview = self.section("Overview", self.summary(facts.claims.values()))
        return [
            overview,
            *(
                self.section(title, [self.entry(claim, facts) for claim in claims])
                for title, claims in groups.items()
            ),
        ]

    def summary(self, claims):
        """Rows: verdicts; columns: statuses. A verdict that no claim has keeps its row of zeros."""
        counts = {(verdict, status): 0 for verdict in VERDICTS for status in STATUSES}
        for claim in claims:
            counts[claim["verdict"], status_of(claim)] += 1
        rows = [(verdict, [counts[verdict, status] for status in STATUSES]) for verdict in VERDICTS]
        rows.append(("all", [sum(column) for column in zip(*(row for _, row in rows))]))
        lines = ["| Verdict | " + " | ".join(STATUSES) + " | all |", "| :-- " + "| --: " * 4 + "|"]
        lines += [
            f"| {name} | " + " | ".join(map(str, row)) + f" | {sum(row)} |" for name, row in rows
        ]
        summary = self.parse_text_to_nodes("\n".join(lines))
        summary[0]["classes"].append("ledger-summary")
        return summary

    def section(self, title, content):
        section = nodes.section(ids=["ledger-" + nodes.make_id("s-" + title)])
        section += [nodes.title(title, title), *content]
        return section

    def entry(self, claim, facts):
        """One claim: badges, the source's words, the correction, the evidence, the literature."""
        identity = anchor(claim["id"])
        entry = make("div", id=identity, class_=f"ledger-entry {verdict_class(claim['verdict'])}")
        std = self.env.get_domain("std")
        std.note_hyperlink_target(identity, self.env.docname, identity, claim["id"])
        head = nodes.paragraph(
            "",
            "",
            span(claim["id"], "claim-id"),
            nodes.Text(" "),
            span(claim["verdict"], "claim-verdict"),
            nodes.Text(" "),
            span(status_of(claim), "claim-status"),
            nodes.Text(" "),
            classes=["ledger-head"],
        )
        line = facts.line_of(claim)
        if line is None:
            logger.warning(
                "the quote of %s is not in %s", claim["id"], SOURCE, location=self.get_location()
            )
        else:
            head += link(self.env, "label", f"source-{line}", nodes.Text(f"line {line}"))
        entry += head
        quote = nodes.paragraph("", "", nodes.literal("", claim["quote"]))
        entry += nodes.block_quote("", quote)
        entry += self.parse_text_to_nodes(correction_of(claim))
        if claim.get("arithmetic"):
            entry += computation(claim)
        if claim.get("lab"):
            entry += self.evidence(claim, facts.measurement(claim))
        if claim.get("sources"):
            sources = self.parse_text_to_nodes(f"Read in {{cite}}`{','.join(claim['sources'])}`.")
            sources[0]["classes"].append("ledger-sources")
            entry += sources
        return entry

    def evidence(self, claim, record):
        """What was expected, what the lab measured, how the two relate."""
        if record is None:
            logger.warning(
                "labs/results/%s.json has no record of %s",
                claim["lab"],
                claim["id"],
                location=self.get_location(),
            )
            return []
        lab = claim["lab"]
        measured = [
            span(show_number(record["value"]), "claim-value"),
            nodes.Text(f" {claim['unit']}; bound {show_bound(claim['bound'])}"),
        ]
        rows = [
            ("Expected", [nodes.Text(claim["expected"])]),
            ("Measured", measured),
            (
                "Outcome",
                [
                    nodes.Text(claim["outcome"] + ", in "),
                    link_to_lab(self.env, lab, record, nodes.Text(f"lab {lab}")),
                ],
            ),
        ]
        return [fields(rows)]


def computation(claim):
    """Each line of the claim's arithmetic: the formula in words and in numbers, and its result."""
    rows = []
    for line in computed_lines(claim):
        words = arithmetic.in_words(line.formula)
        numbers = arithmetic.in_numbers(line.formula, line.values, show_term)
        result = span(show_term(line.value), "claim-value")
        steps = f"{words} = {numbers} = " if line.values else f"{words} = "
        origin = nodes.Text(f" {line.unit} ({line.origin})")
        rows.append((line.result.replace("_", " "), [nodes.Text(steps), result, origin]))
    return fields(rows)


def fields(rows):
    """A definition list of (term, content of its paragraph)."""
    made = nodes.definition_list(classes=["ledger-evidence"])
    for term, content in rows:
        made += nodes.definition_list_item(
            "", nodes.term("", term), nodes.definition("", nodes.paragraph("", "", *content))
        )
    return made


class Document(SphinxDirective):
    """The document on trial as a numbered list of its lines, each an anchor `source-N`.

    Its first line is a comment of the course about the file, not of the document, and is left out.
    """

    def run(self):
        self.env.note_dependency(SOURCE)
        std = self.env.get_domain("std")
        lines = make("ol", class_="document-lines", start="2")
        lines["support_smartquotes"] = False  # printed as written
        for number, line in enumerate(self.env.app.course_facts.source.splitlines()[1:], start=2):
            identity = f"source-{number}"
            std.note_hyperlink_target(identity, self.env.docname, identity, f"line {number}")
            lines += make("li", nodes.Text(line), id=identity)
        return [lines]


def cell_label(page, cell):
    """The label of a notebook's cell: cells of two labs may have the same id."""
    return f"{page}#cell-{cell}"


def mark_cells(app, doctree):
    """Give every code cell of a notebook the anchor `cell-<id>`, and a label to link to."""
    found = [
        node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"
    ]
    if not found:
        return
    page = app.env.docname
    cells = json.loads(Path(app.env.doc2path(page)).read_text("utf8"))["cells"]
    std = app.env.get_domain("std")
    for node in found:
        cell = cells[node["cell_index"]].get("id")
        if cell is not None:
            node["ids"].append(f"cell-{cell}")
            std.note_hyperlink_target(
                cell_label(page, cell), page, f"cell-{cell}", f"cell {node['cell_index'] + 1}"
            )


def verdict_class(verdict):
    return "verdict-" + re.sub(r"\W+", "-", verdict)


def read_facts(app):
    app.course_facts = Facts(Path(app.srcdir))
    for claim in app.course_facts.claims.values():
        if claim["verdict"] not in VERDICTS:
            raise ExtensionError(
                f"{CLAIMS}: {claim['id']} has the verdict {claim['verdict']!r}; "
                f"write one of: {', '.join(VERDICTS)}"
            )


def setup(app):
    app.setup_extension("course_element")
    app.setup_extension("course_quiz")
    app.setup_extension("course_html")
    app.setup_extension("course_figures")
    app.setup_extension("course_strength")
    app.setup_extension("course_comparison")
    app.setup_extension("course_planner")
    app.setup_extension("course_transfer")
    app.connect("builder-inited", read_facts)
    app.connect("doctree-read", mark_cells)
    app.connect("missing-reference", resolve_link)
    app.add_role("claim", ClaimRole())
    app.add_role("measured", MeasuredRole())
    app.add_role("computed", ComputedRole())
    app.add_role("fixed", FixedRole())
    app.add_directive("ledger", Ledger)
    app.add_directive("document", Document)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
