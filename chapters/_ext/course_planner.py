"""The `calculator` and `explorer` directives: what training takes, and which method to choose, worked
out in the page.

    ```{calculator}
    ```

    ```{explorer}
    ```

The page gets a form, empty tables for the answer, and as JSON the tables of labs/planning.
assets/planning.js computes with them as the modules there do, and assets/planner.js fills the page.
A page may have one of each: their state stands in its address.
"""

import dataclasses
import itertools
import json
import re
from html import escape
from typing import NamedTuple

from docutils import nodes
from planning import cost, decide, memory, shapes
from sphinx.util.docutils import SphinxDirective

LEDGER = "chapters/ledger"
MODULES = ("shapes.json", "shapes.py", "memory.py", "cost.py", "decide.py")
SOURCES = [f"labs/planning/{name}" for name in MODULES]
SCRIPTS = ("planning.js", "planner.js")

# Where cost.md, the calculator's page, explains a part of the memory, and where it is measured; "" for
# no such place.
_MEASURED = "#does-the-formula-hold"
PART_LINKS = {
    "weights": ("#weights", _MEASURED),
    "frozen weights": ("#frozen", _MEASURED),
    "optimiser states": ("#optimiser-states", _MEASURED),
    "gradients": ("#gradients", _MEASURED),
    "activations": ("#activations", _MEASURED),
    "logits": ("#logits", _MEASURED),
    "bfloat16 copies": ("#working-space", _MEASURED),
    "gathered layers": ("#where-the-bytes-go", ""),  # the lab has one device
    "key–value cache": ("#cache", _MEASURED),
    "working space": ("#working-space", _MEASURED),
}

STAGES = {
    0: "0 · nothing",
    1: "1 · optimiser states",
    2: "2 · also gradients",
    3: "3 · also weights (FSDP)",
}
# What a button of the comparison is called, and what it trains.
WAYS = {"Full tuning": memory.ALL, "LoRA": memory.ADAPTER, "QLoRA": memory.QUANTISED}
# Each fact of the decision table as something to tick.
FACTS = {
    decide.DEMONSTRATIONS: "demonstrations: good responses to imitate",
    decide.COMPARISONS: "comparisons: which of two responses is better",
    decide.VERIFIER: "a verifier: a program that checks a response",
    decide.SUCCEEDS: "the base gives a good response now and then",
    decide.PROMPT: "a good prompt does it",
    decide.CHANGE: "responses depend on facts that change or must be cited",
}


# Data ---------------------------------------------------------------------------------------------


def data():
    """The tables of labs/planning as planning.js takes them."""
    return {
        "all_linear": shapes.ALL_LINEAR,
        "shapes": [dataclasses.asdict(shape) for shape in shapes.known().values()],
        "FAMILIES": _as_dicts(shapes.FAMILIES),
        "names": {name: getattr(memory, name) for name in NAMES},
        "TRAINS": memory.TRAINS,
        "OPTIMIZERS": memory.OPTIMIZERS,
        "PRECISIONS": _as_dicts(memory.PRECISIONS),
        "METHODS": _as_dicts(memory.METHODS),
        "DIVIDED_FROM": memory.DIVIDED_FROM,
        "MOMENTS8": memory.MOMENTS8,
        "NF4": memory.NF4,
        "GB": memory.GB,
        "GIB": memory.GIB,
        "MARGIN": memory.MARGIN,
        "training": _defaults(memory.Training),
        "CARDS": _as_dicts(cost.CARDS),
        "PASSES": _as_dicts(cost.PASSES),
        "job": _defaults(cost.Job),
        "FACTS": decide.FACTS,
        "SIGNALS": decide.SIGNALS,
        "PROMPT": decide.PROMPT,
        "CHANGE": decide.CHANGE,
        "TABLE": [row._asdict() for row in decide.TABLE],
        "UNTRAINED": sorted(decide.UNTRAINED),
        "FOR_ALL_PARAMETERS": decide.FOR_ALL_PARAMETERS,
        "situation": _defaults(decide.Situation),
    }


NAMES = ("ALL", "ADAPTER", "QUANTISED", "ADAMW", "FUSED", "ADAMW8", "SGD")


def _as_dicts(table):
    return {name: row._asdict() for name, row in table.items()}


def _defaults(settings):
    """The fields of a dataclass that have a default."""
    fields = dataclasses.fields(settings)
    return {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}


def script(**contents):
    """The data, so written that no text in them can end the element."""
    text = json.dumps(contents, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'


# Fields -------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """One control. default: a number, a choice, or whether a box is ticked · choices: of a select,
    value -> text, or group -> such a dict · only: "samples" where only a method that samples asks
    for it"""

    name: str
    label: str
    default: object
    choices: dict | None = None
    only: str = ""


def models():
    """The known models, by the word with which their names begin."""

    def brand(name):
        return re.match("[A-Za-z]+", name)[0]

    return {
        first: {name: name for name in names}
        for first, names in itertools.groupby(shapes.known(), brand)
    }


def itself(values):
    return {value: value for value in values}


def model_fields():
    default = _defaults(memory.Training)
    return [
        Field("model", "Model", "Llama 3.1 8B", models()),
        Field("method", "Method", default["method"], itself(memory.METHODS)),
        Field("trains", "What trains", memory.ADAPTER, itself(memory.TRAINS)),
        Field("rank", "Rank of an adapter", default["rank"]),
        Field("precision", "Precision", default["precision"], itself(memory.PRECISIONS)),
        Field("optimizer", "Optimiser", default["optimizer"], itself(memory.OPTIMIZERS)),
    ]


def step_fields():
    default = _defaults(memory.Training)
    return [
        Field("rows", "Rows on each device (DPO: pairs)", default["rows"]),
        Field("length", "Length of a row in tokens", default["length"]),
        Field("sampled", "Responses sampled at once", default["sampled"], only="samples"),
        Field("devices", "Devices", default["devices"]),
        Field("stage", "Divided among them (ZeRO)", default["stage"], STAGES),
        Field("checkpointing", "Checkpointing", default["checkpointing"]),
        Field("fused", "Fused attention", default["fused"]),
        Field("chunked", "Loss in chunks (Liger, TRL)", default["chunked"]),
        Field("accumulation", "Gradient accumulation", default["accumulation"]),
    ]


def cost_fields():
    default = _defaults(cost.Job)
    return [
        Field("tokens", "Tokens in all rows", 5_000_000),
        Field("passes", "Passes over them", default["passes"]),
        Field("card", "Card", default["card"], itself(cost.CARDS)),
        Field("reached", "Share of its peak reached", default["reached"]),
        Field(
            "reached_sampling", "Share while sampling", default["reached_sampling"], None, "samples"
        ),
        Field("price", "Dollars per card and hour", default["price"]),
    ]


def label_fields():
    return [
        Field("items", "Items to label", 5_000),
        Field("minutes", "Minutes for each", 3),
        Field("judgements", "Judgements of each", 1),
        Field("wage", "Hourly wage in dollars", 25),
    ]


def situation_fields():
    default = _defaults(decide.Situation)
    return [
        Field("examples", "Examples", default["examples"]),
        Field("parameters", "Parameters of the base, in billions", default["parameters"]),
        Field("memory", "Memory of all GPUs together, in GiB", default["memory"]),
    ]


def fact_fields():
    return [Field(fact, FACTS[fact], fact == decide.DEMONSTRATIONS) for fact in decide.FACTS]


def number(value):
    """As a reader would type it: no point where none is needed, commas in thousands."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def options(choices, default):
    """<option>s, in <optgroup>s where a choice is a dict of them."""
    made = ""
    for value, text in choices.items():
        if isinstance(text, dict):
            made += f'<optgroup label="{escape(value)}">{options(text, default)}</optgroup>'
        else:
            chosen = " selected" if value == default else ""
            made += f'<option value="{escape(str(value))}"{chosen}>{escape(text)}</option>'
    return made


def control(field, identity):
    name = f'id="{identity}" name="{escape(field.name)}"'
    if field.choices:
        kind = ' data-kind="number"' if isinstance(field.default, int) else ""
        return f"<select {name}{kind}>{options(field.choices, field.default)}</select>"
    if isinstance(field.default, bool):
        return f'<input type="checkbox" {name}{" checked" if field.default else ""}>'
    return (
        f'<input type="text" inputmode="decimal" autocomplete="off" {name} '
        f'value="{number(field.default)}" aria-describedby="{identity}-error">'
    )


def field_html(field, form):
    """A label, its control, and the place of the sentence that says what is wrong."""
    identity = f"{form}-{nodes.make_id(field.name)}"
    label = f'<label for="{identity}">{escape(field.label)}</label>'
    only = f' data-only="{field.only}"' if field.only else ""
    if isinstance(field.default, bool):
        return f'<div class="planner-tick"{only}>{control(field, identity)}{label}</div>'
    error = (
        ""
        if field.choices
        else f'<p class="planner-error" id="{identity}-error" aria-live="polite"></p>'
    )
    return f'<div class="planner-field"{only}>{label}{control(field, identity)}{error}</div>'


def fieldset(form, legend, part, fields):
    """part: of the answer, which cannot be given where one of these fields is wrong."""
    boxes = {"planner-fields": "", "planner-ticks": ""}
    for field in fields:
        kind = "planner-ticks" if isinstance(field.default, bool) else "planner-fields"
        boxes[kind] += field_html(field, form)
    inside = "".join(f'<div class="{kind}">{box}</div>' for kind, box in boxes.items() if box)
    return f'<fieldset data-part="{part}"><legend>{escape(legend)}</legend>{inside}</fieldset>'


# Widgets ------------------------------------------------------------------------------------------


def table(name, caption, heads):
    """An empty table for planner.js; a head that begins with "#" is of a column of numbers."""
    cells = "".join(
        f'<th scope="col"{" class=planner-number" if head.startswith("#") else ""}>'
        f"{escape(head.removeprefix('#'))}</th>"
        for head in heads
    )
    return (
        f'<div class="planner-scroll"><table class="table" data-fill="{name}">'
        f"<caption>{escape(caption)}</caption>"
        f"<thead><tr>{cells}</tr></thead><tbody></tbody></table></div>"
    )


def sentence(name):
    """A place for a sentence that is read out when it changes."""
    return f'<p class="planner-sentence" data-fill="{name}" aria-live="polite"></p>'


def answer(part, *contents):
    return f'<div class="planner-answer" data-answer="{part}" hidden>{"".join(contents)}</div>'


def form_html(name, title, without, contents, data_script):
    """without: what there is for somebody without JavaScript"""
    buttons = (
        '<p class="planner-buttons"><button type="button" data-do="copy">Copy link to this case</button> '
        '<button type="reset">Back to the defaults</button></p>' + sentence("copied")
    )
    return (
        f'<form class="planner" id="{name}" aria-label="{escape(title)}" novalidate>'
        f"<noscript><p>{without}</p></noscript>"
        f"{sentence('ignored')}{contents}{buttons}{data_script}</form>"
    )


def calculator_html(links=None):
    """The calculator. links: part -> (where it is explained, where it is measured)"""
    name = "calc"
    ways = [{"name": way, "trains": trains} for way, trains in WAYS.items()]
    contents = [
        fieldset(name, "Model and method", "memory", model_fields()),
        answer(
            "memory",
            table(
                "ways",
                "Three ways to train it, with these settings",
                ["Way", "#Trainable", "#Peak, GB", "#To plan for, GiB", "Smallest card"],
            ),
        ),
        fieldset(name, "A step", "memory", step_fields()),
        answer(
            "memory",
            sentence("memory"),
            '<div class="planner-bar" data-fill="bar"></div>',
            table("parts", "The peak, part by part", ["Part", "#GB", "#Share", "More"]),
            table("moments", "The moments of a step", ["Moment", "#GB", "#GiB"]),
            '<p data-fill="cards"></p>',
        ),
        fieldset(name, "Time and money", "cost", cost_fields()),
        answer(
            "cost",
            sentence("cost"),
            table("hours", "What the time goes to", ["For", "#Operations", "#Hours", "#Dollars"]),
        ),
        fieldset(name, "Labels", "labels", label_fields()),
        answer("labels", sentence("labels")),
    ]
    without = (
        "The calculator needs JavaScript. The same arithmetic stands in "
        "<code>labs/planning/memory.py</code> and <code>labs/planning/cost.py</code>."
    )
    told = script(data=data(), ways=ways, links=PART_LINKS if links is None else links)
    return form_html(name, "Calculator of memory and cost", without, "".join(contents), told)


def condition(row):
    """When a row of the decision table holds, in words."""
    if row.present:
        return " and ".join([*row.present, *(f"no {fact}" for fact in row.absent)])
    return f"none of {', '.join(row.absent)}" if row.absent else f"{left_for(row)} alone"


def left_for(row):
    """What is true in every situation that comes to this row, past those above it."""
    sets = itertools.chain.from_iterable(
        itertools.combinations(decide.FACTS, count) for count in range(len(decide.FACTS) + 1)
    )
    coming = [
        set(facts) for facts in sets if decide.decide(decide.Situation(frozenset(facts))).row is row
    ]
    return ", ".join(sorted(set.intersection(*coming)))


def row_html(count, row, link_to_claim):
    claim = f' (<a href="{escape(link_to_claim(row.claim))}">{row.claim}</a>)' if row.claim else ""
    return (
        f'<tr><td class="planner-number">{count}</td><th scope="row">{escape(condition(row))}</th>'
        f"<td>{escape(row.method)}<br><small>{escape(row.reason)}{claim}</small></td></tr>"
    )


def explorer_html(link_to_claim):
    """The explorer of the decision table. link_to_claim: claim's id -> address of its entry in the
    ledger"""
    name = "choose"
    rows = "".join(
        row_html(count, row, link_to_claim) for count, row in enumerate(decide.TABLE, start=1)
    )
    decisions = (
        '<details><summary>The table that decides</summary><div class="planner-scroll">'
        '<table class="table" data-fill="table"><caption>The first row that holds decides</caption>'
        '<thead><tr><th scope="col">Row</th><th scope="col">If you have</th>'
        f'<th scope="col">Do, and why</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )
    answers = "".join(
        f'<dt>{term}</dt><dd data-fill="{place}"></dd>'
        for term, place in [
            ("Method", "method"),
            ("What to train", "trains"),
            ("Because", "reason"),
            ("Decided by", "row"),
        ]
    )
    contents = [
        fieldset(name, "What is true of your task?", "choice", fact_fields()),
        fieldset(name, "What have you got?", "choice", situation_fields()),
        answer(
            "choice",
            f'<div aria-live="polite"><dl class="planner-choice">{answers}</dl>'
            '<div data-fill="notes"></div></div>',
            table(
                "needs",
                f"Memory of SFT, one row of {memory.Training.length:,} tokens at once; sampling takes more",
                ["What trains", "#To plan for, GiB", "Fits"],
            ),
        ),
        decisions,
    ]
    without = "To try cases of your own you need JavaScript. The table below holds without it."
    told = script(data=data())
    return form_html(name, "Explorer of the decision table", without, "".join(contents), told)


# Directives ---------------------------------------------------------------------------------------


class Widget(SphinxDirective):
    """One form with its data; the page is read again when the modules behind it change."""

    def run(self):
        for source in SOURCES:
            self.env.note_dependency(source)
        return [nodes.raw("", self.html(), format="html", planner=True)]


class Calculator(Widget):
    def html(self):
        return calculator_html()


class Explorer(Widget):
    def html(self):
        return explorer_html(self.link_to_claim)

    def link_to_claim(self, claim):
        """Raises an error, with the page's line, for a claim that claims.yml does not have."""
        from course import (
            anchor,
        )  # here, so that tests need no course.py: labs/ has a package course

        if claim not in self.env.app.course_facts.claims:
            raise self.error(f"the decision table names a claim that is not there: {claim}")
        ledger = self.env.app.builder.get_relative_uri(self.env.docname, LEDGER)
        return f"{ledger}#{anchor(claim)}"


def add_scripts(app, pagename, templatename, context, doctree):
    """On a page with a calculator or explorer alone."""
    if doctree and any(node.get("planner") for node in doctree.findall(nodes.raw)):
        for name in SCRIPTS:
            app.add_js_file(name, loading_method="defer")


def setup(app):
    app.add_directive("calculator", Calculator)
    app.add_directive("explorer", Explorer)
    app.connect("html-page-context", add_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
