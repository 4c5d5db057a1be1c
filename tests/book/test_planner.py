"""The calculator and the explorer: what they compute is what labs/planning computes, and their page can
be used with a keyboard, an address and bad input."""

import dataclasses
import importlib.util
import itertools
import json
import math
import random
import re
import time
from types import SimpleNamespace

import pytest
from planning import cost, decide, memory, shapes
from planning.memory import ADAPTER, ALL, QUANTISED, Training

from tests.book import test_browser
from tests.book.test_browser import ROOT, open_page, run_axe

browser, contexts = test_browser.browser, test_browser.contexts

NUMBERS = ("rows", "length", "rank", "devices", "sampled")
BAD = [0, -1, -3.0, 2.5, 10**7 + 1, 1e99, math.inf, math.nan, "2", None, True]
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Planner</title>
<link rel="stylesheet" href="course.css">
<style>.visually-hidden {{ position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }}</style>
</head><body><main><h1>Planner</h1>{forms}<h2 id="weights">Weights</h2></main>
<script src="planning.js"></script><script src="planner.js"></script></body></html>"""

# Everything that the page computes from one case, in JavaScript; NaN and such come as Python takes them.
ALL_OF_IT = """cases => {
    const p = window.planning(window.told);
    return cases.map(([model, settings, job]) => {
        try {
            const t = p.training({...settings, shape: p.named(model)}), j = p.job({...job, training: t});
            const peak = p.peak(t);
            return {
                trainable: p.trainable(t), frozen: p.frozenWeights(t), optimizer: p.optimizerBytes(t),
                states: p.states(t), gradients: p.gradients(t), saved: p.savedByLayer(t),
                activations: p.activations(t), cache: p.cache(t), moments: p.moments(t), peak: peak.total,
                moment: peak.name, forward: p.forwardFlops(t), trained: p.trainedFlops(t), flops: p.flops(j),
                hours: p.hours(j), dollars: p.dollars(j),
                fits: Object.keys(window.told.CARDS).filter(card => p.fits(t, card)),
            };
        } catch (error) {
            if (!(error instanceof p.Refusal)) throw error;
            return error.message;
        }
    });
}"""


@pytest.fixture(scope="module")
def planner():
    """The extension, by its path."""
    path = ROOT / "chapters/_ext/course_planner.py"
    spec = importlib.util.spec_from_file_location("ext_planner", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def address(planner, tmp_path_factory):
    """A page of both widgets, on the disk."""
    folder = tmp_path_factory.mktemp("planner")
    forms = planner.calculator_html() + planner.explorer_html("ledger.html#{}".format)
    (folder / "index.html").write_text(PAGE.format(forms=forms), "utf8")
    for name in ("course.css", *planner.SCRIPTS):
        (folder / name).write_bytes((ROOT / "chapters/assets" / name).read_bytes())
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def script(browser, planner):
    """A page with planning.js and the data, which nothing in it changes."""
    page = browser.new_page()
    page.evaluate(f"window.told = {json.dumps(planner.data())}")
    page.add_script_tag(path=ROOT / "chapters/assets/planning.js")
    yield page
    page.close()


@pytest.fixture
def page(contexts, address):
    page, faults = open_page(contexts["light"], address)
    yield page
    page.close()
    assert not faults, "\n".join(faults)


# Arithmetic ---------------------------------------------------------------------------------------


def random_case(rng, spoilt):
    """(model, settings of Training, settings of Job), one value of them bad if `spoilt`."""
    settings = {
        "method": rng.choice([*memory.METHODS]),
        "trains": rng.choice(memory.TRAINS),
        "precision": rng.choice([*memory.PRECISIONS]),
        "optimizer": rng.choice(memory.OPTIMIZERS),
        "stage": rng.randrange(4),
        "rows": round(10 ** rng.uniform(0, rng.choice([2, 7]))),
        "length": round(2 ** rng.uniform(0, rng.choice([12, 20]))),
        "rank": rng.choice([1, 8, 16, 256]),
        "devices": rng.choice([1, 1, 2, 3, 8, 1024]),
        "sampled": rng.randint(1, 512),
    }
    settings |= {
        name: rng.random() < 0.5 for name in ("checkpointing", "fused", "chunked", "accumulation")
    }
    job = {
        "tokens": 10 ** rng.uniform(0, 15),
        "passes": rng.choice([1, 3, 2.5, 100]),
        "card": rng.choice([*cost.CARDS]),
        "reached": rng.uniform(0.01, 1),
        "reached_sampling": rng.uniform(0.001, 1),
        "price": rng.uniform(0, 10),
    }
    if spoilt:
        chosen = settings if rng.random() < 0.6 else job
        name = rng.choice([*NUMBERS, "method", "trains", "stage"] if chosen is settings else [*job])
        chosen[name] = rng.choice(["", "sgd", "constructor"] if name in CHOICES else BAD[:8])
    return rng.choice([*shapes.known()]), settings, job


CHOICES = ("method", "trains", "stage", "card")


def in_python(model, settings, job):
    """What ALL_OF_IT returns, by the Python."""
    try:
        training = Training(shapes.named(model), **settings)
        whole = cost.Job(training, **job)
    except ValueError as error:
        return str(error)
    moments = memory.moments(training)
    return {
        "trainable": memory.trainable(training),
        "frozen": memory.frozen_weights(training),
        "optimizer": memory.optimizer_bytes(training),
        "states": memory.states(training),
        "gradients": memory.gradients(training),
        "saved": memory.saved_by_layer(training),
        "activations": memory.activations(training),
        "cache": memory.cache(training),
        "moments": [{"name": one.name, "parts": one.parts, "total": one.total} for one in moments],
        "peak": memory.peak(training).total,
        "moment": memory.peak(training).name,
        "forward": cost.forward_flops(training),
        "trained": cost.trained_flops(training),
        "flops": cost.flops(whole),
        "hours": cost.hours(whole),
        "dollars": cost.dollars(whole),
        "fits": [card for card in cost.CARDS if cost.fits(training, card)],
    }


def assert_same(found, expected, where=""):
    """Equal, the numbers to twelve digits, and the names of parts in the same order."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name in expected:
            assert_same(found[name], expected[name], f"{where} {name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected):
            assert_same(one, other, where)
    elif isinstance(expected, str):
        assert found == expected, where
    else:
        assert found == pytest.approx(expected, rel=1e-12, abs=0), where


def test_the_page_computes_what_python_computes(script):
    rng = random.Random(8)
    cases = [random_case(rng, spoilt=number % 8 == 0) for number in range(2400)]
    answers = script.evaluate(ALL_OF_IT, cases)
    refused = 0
    for case, found in zip(cases, answers):
        expected = in_python(*case)
        refused += isinstance(expected, str)
        if isinstance(expected, str) and isinstance(found, str):
            found, expected = as_floats(found), as_floats(expected)
        assert_same(found, expected, str(case))
    assert 200 < refused < 1000


def as_floats(sentence):
    """A refusal with its number as JavaScript has it, which makes no difference of 2 and 2.0."""
    number = re.compile(r" is (-?[\d.]+(?:e\+?\d+)?):")
    return number.sub(lambda found: f" is {float(found[1])!r}:", sentence)


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", BAD, ids=repr)
def test_both_refuse_what_is_no_count(script, field, value):
    found = script.evaluate(ALL_OF_IT, [["Llama 3.1 8B", {field: value}, {"tokens": 1}]])[0]
    expected = in_python("Llama 3.1 8B", {field: value}, {"tokens": 1})
    assert isinstance(expected, str) and as_floats(found) == as_floats(expected)


def test_both_refuse_a_row_longer_than_the_model_and_an_unknown_matrix(script):
    for model, settings in [
        ("GPT-2 124M", {"length": 1025}),
        ("GPT-2 124M", {"targets": "q"}),
        ("Llama 3.1 8B", {"targets": "qkv"}),
    ]:
        expected = in_python(model, settings, {"tokens": 1})
        assert isinstance(expected, str)
        assert script.evaluate(ALL_OF_IT, [[model, settings, {"tokens": 1}]]) == [expected]


def test_some_matrices_adapted_count_the_same(script):
    for model, targets in [("Llama 3.1 8B", ["q", "v"]), ("Mixtral 8x7B v0.1", ["gate_up"])]:
        case = (model, {"trains": ADAPTER, "targets": targets}, {"tokens": 1e6})
        assert_same(script.evaluate(ALL_OF_IT, [case])[0], in_python(*case))


COUNTED = ("linear_parameters", "layer_vectors", "embedding", "body", "total", "active")


def test_every_known_shape_is_counted_alike(script):
    camel = {name: re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in COUNTED}
    counts = script.evaluate(
        """names => { const p = window.planning(window.told);
            return p.known().map(shape => names.map(name => p[name](p.checkShape(shape)))) }""",
        [*camel.values()],
    )
    assert counts == [
        [getattr(shapes, name)(shape) for name in COUNTED] for shape in shapes.known().values()
    ]


def test_a_shape_that_no_model_can_have_is_refused_alike(script):
    shape = shapes.named("Llama 3.1 8B")
    for change in [{"family": "bert"}, {"layers": 0}, {"width": 1.5}, {"kv_heads": 5}]:
        with pytest.raises(ValueError) as refusal:
            dataclasses.replace(shape, **change)
        found = script.evaluate(
            """change => { const p = window.planning(window.told);
                try { p.checkShape({...p.named("Llama 3.1 8B"), ...change}); return "" }
                catch (error) { return error.message } }""",
            change,
        )
        assert found == str(refusal.value)


def test_the_nearest_names_are_those_of_python(script):
    rng = random.Random(3)
    names = ["", "zzz", "llama 3", "LLAMA 3.1 8b", "gpt", "Qwen 3 8B", "it's", "toString"]
    for name in shapes.known():
        letters = [letter for letter in name if rng.random() < 0.8]
        rng.shuffle(letters[:4])
        names.append("".join(letters) + rng.choice(["", "x", " 7B"]))
    found = script.evaluate(
        """names => { const p = window.planning(window.told);
            return names.map(name => { try { return p.named(name).name } catch (e) { return e.message } }) }""",
        names,
    )
    for name, told in zip(names, found):
        try:
            expected = shapes.named(name).name
        except ValueError as error:
            expected = str(error)
        assert told == expected


def test_labels_cost_the_same(script):
    cases = [(5000, 3, 1), (0, 0, 0), (1, 2.5, 3), (-1, 3, 1), (5, 3, -0.5)]
    found = script.evaluate(
        """cases => { const p = window.planning(window.told);
            return cases.map(each => { try { return p.labelHours(...each) } catch (e) { return e.message } }) }""",
        cases,
    )
    for case, told in zip(cases, found):
        try:
            assert told == pytest.approx(cost.label_hours(*case), rel=1e-12)
        except ValueError as error:
            assert told == str(error)


# Decisions ----------------------------------------------------------------------------------------

DECIDE = """situations => { const p = window.planning(window.told);
    return situations.map(each => {
        try {
            const {method, parameters, row} = p.decide(p.situation(each));
            return [method, parameters, window.told.TABLE.indexOf(row)];
        } catch (error) {
            if (!(error instanceof p.Refusal)) throw error;
            return error.message;
        } }) }"""


def test_every_set_of_facts_is_decided_alike(script):
    sets = itertools.chain.from_iterable(
        itertools.combinations(decide.FACTS, count) for count in range(len(decide.FACTS) + 1)
    )
    sizes = [(1000, 7, 24), (10**6, 7, 24), (10**6, 1, 80), (50, 70, 80), (50, 70, 30), (9, 405, 8)]
    cases = [
        {"facts": facts, "examples": examples, "parameters": parameters, "memory": room}
        for facts, (examples, parameters, room) in itertools.product(sets, sizes)
    ]
    for case, found in zip(cases, script.evaluate(DECIDE, cases)):
        facts = frozenset(case["facts"])
        expected = decide.decide(decide.Situation(**case | {"facts": facts}))
        row = decide.TABLE.index(expected.row)
        assert found == [expected.method, expected.parameters, row], case


def test_training_a_base_of_any_size_needs_the_same(script):
    cases = [(way, 10**power) for way in memory.TRAINS for power in (-6, -1, 0, 0.5, 1, 1.9, 3, 9)]
    found = script.evaluate(
        "cases => cases.map(each => window.planning(window.told).needed(...each))", cases
    )
    assert found == pytest.approx([decide.needed(*case) for case in cases], rel=1e-12)


@pytest.mark.parametrize(
    "change", [{"facts": ["luck"]}, {"examples": 0}, {"parameters": -7}, {"memory": math.nan}]
)
def test_both_refuse_an_impossible_situation(script, change):
    case = {"facts": []} | change
    with pytest.raises(ValueError) as refusal:
        decide.Situation(**case | {"facts": frozenset(case["facts"])})
    assert script.evaluate(DECIDE, [case]) == [str(refusal.value)]


# The page -----------------------------------------------------------------------------------------


def told(page, name):
    """What stands in a place of the page, as one line; the calculator's, where both have such a
    place."""
    text = page.locator(f'[data-fill="{name}"]').first.inner_text()
    return " ".join(text.split())


def rows_of(page, name):
    return [
        row.locator("th, td").all_inner_texts()
        for row in page.locator(f'[data-fill="{name}"] tbody tr').all()
    ]


def error_of(page, field):
    """The sentence that the field is described by, "" if it is not marked as wrong."""
    control = page.locator(f'[name="{field}"]')
    if control.get_attribute("aria-invalid") != "true":
        return ""
    return page.locator(f"#{control.get_attribute('aria-describedby')}").inner_text()


def hash_of(page):
    return page.evaluate("location.hash")


def test_an_8b_model_is_answered_at_once(page):
    llama = shapes.named("Llama 3.1 8B")
    ways = rows_of(page, "ways")
    assert [way[0] for way in ways] == ["Full tuning", "LoRA", "QLoRA"]
    for way, trains in zip(ways, (ALL, ADAPTER, QUANTISED)):
        gigabytes = memory.peak(Training(llama, trains=trains)).total / memory.GB
        assert float(way[2]) == pytest.approx(gigabytes, rel=0.005)
    assert ways[0][1] == "8.03 billion" and ways[1][1] == "41.9 million"
    assert "41.9 million parameters train, 0.52 %" in told(page, "memory")
    page.get_by_role("button", name="Full tuning").click()
    assert "all parameters: 8.03 billion parameters train, 100 %" in told(page, "memory")
    assert hash_of(page) == "#calc?trains=all+parameters"


def test_the_parts_have_links_and_a_bar(page, planner):
    peak = memory.peak(Training(shapes.named("Llama 3.1 8B"), trains=ADAPTER))
    parts = page.locator('[data-fill="parts"] tbody tr')
    assert parts.count() == len(peak.parts) == page.locator(".planner-bar rect").count()
    links = [link.get_attribute("href") for link in parts.first.locator("a").all()]
    assert links == [*planner.PART_LINKS["weights"]]
    assert "frozen weights 16.1 GB" in page.locator(".planner-bar svg").get_attribute("aria-label")
    moments = [row[0].removesuffix(": the peak") for row in rows_of(page, "moments")]
    assert moments == [
        moment.name for moment in memory.moments(Training(shapes.named("Llama 3.1 8B")))
    ]


def test_every_part_of_the_memory_has_a_place_in_the_links_and_a_colour(planner):
    css = (ROOT / "chapters/assets/course.css").read_text("utf8")
    names = set()
    for shape in shapes.known().values():
        for method, stage in itertools.product(memory.METHODS, (0, 3)):
            for trains, optimizer in [(ALL, memory.ADAMW), (ADAPTER, memory.FUSED)]:
                training = Training(
                    shape, method, trains, optimizer=optimizer, length=64, devices=2, stage=stage
                )
                names.update(*(moment.parts for moment in memory.moments(training)))
    assert names == set(planner.PART_LINKS)
    for name in names:
        slug = re.sub(r"\W+", "-", name, flags=re.A)
        assert css.count(f"--part-{slug}:") == 2, f"{name}: a colour for light and one for dark"
        assert f".part-{slug} {{ --part: var(--part-{slug}); }}" in css


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("0", "Write a whole number from 1 to 10 million, not “0”."),
        ("-3", "not “-3”."),
        ("2.5", "not “2.5”."),
        ("1,5", "not “1,5”."),
        ("1e99", "not “1e99”."),
        ("NaN", "not “NaN”."),
        ("two", "not “two”."),
        ("", "Write a whole number from 1 to 10 million: the field is empty."),
    ],
)
def test_bad_input_gets_one_sentence_and_no_answer(page, typed, complaint):
    page.fill('[name="rows"]', typed)
    assert error_of(page, "rows").endswith(complaint)
    assert page.locator('[data-fill="memory"]').is_hidden()
    assert page.locator('[data-fill="cost"]').is_hidden()
    assert page.locator('[data-fill="labels"]').is_visible()
    assert hash_of(page) == ""
    page.fill('[name="rows"]', "2")
    assert error_of(page, "rows") == "" and page.locator('[data-fill="memory"]').is_visible()
    assert hash_of(page) == "#calc?rows=2"


def test_a_wrong_price_leaves_the_memory_alone(page):
    page.fill('[name="price"]', "dear")
    page.fill('[name="reached"]', "40")
    assert error_of(page, "price") == "Write a number from 0 to a million dollars, not “dear”."
    assert error_of(page, "reached") == "Write a share from 0.0001 to 1, not “40”."
    assert page.locator('[data-fill="memory"]').is_visible()
    assert page.locator('[data-fill="cost"]').is_hidden()


def test_a_row_that_does_not_fit_the_model_says_what_to_do(page):
    page.select_option('[name="model"]', "GPT-2 124M")
    assert error_of(page, "length") == (
        "GPT-2 124M has 1024 positions: a row of 2048 tokens does not fit. Write 1024 or less."
    )
    page.fill('[name="length"]', "1,024")
    assert error_of(page, "length") == "" and "GPT-2 124M" in told(page, "memory")


def test_what_only_a_sampling_method_asks_for_is_hidden(page):
    assert page.locator('[name="sampled"]').is_hidden()
    page.select_option('[name="method"]', "GRPO")
    page.fill('[name="sampled"]', "none")
    assert error_of(page, "sampled")
    page.select_option('[name="method"]', "SFT")
    assert page.locator('[data-fill="memory"]').is_visible()
    assert hash_of(page) == "#calc"


def test_the_largest_case_is_still_a_number(page):
    page.select_option('[name="model"]', "Llama 3.1 405B")
    page.select_option('[name="method"]', "PPO")
    for field, value in {
        "rows": "1e7",
        "length": "1e7",
        "sampled": "1e7",
        "tokens": "1e15",
    }.items():
        page.fill(f'[name="{field}"]', value)
    page.fill('[name="reached"]', "0.0001")
    words = page.locator("#calc").inner_text()
    assert not re.search("NaN|Infinity|undefined|null", words)
    assert "× 10" in told(page, "memory")


SPOILT = {
    "rows=-3": "rows=-3 (it must be a whole number from 1 to 10 million)",
    "rows=1e99": "rows=1e99 (it must be a whole number",
    "rows=": "rows= (it must be a whole number",
    "length=NaN": "length=NaN (it must be a whole number",
    "price=Infinity": "price=Infinity (it must be a number from 0 to a million dollars)",
    "items=1e99": "items=1e99 (it must be a number from 0 to 1e9)",
    "colour=red": "colour=red (there is no such setting)",
    "__proto__=1": "__proto__=1 (there is no such setting)",
    "trains=nothing": "trains=nothing (it must be one of all parameters, an adapter, an adapter on",
    "fused=maybe": "fused=maybe (it must be yes or no)",
    "rows=2&rows=3": "rows=3 (it is there twice)",
    "model=Llama+3.1+8b": "(no model is called 'Llama 3.1 8b': the nearest are Llama 3.1 8B,",
    "x=%E0%A4%A": "(there is no such setting)",
    "x=<b>hey</b>": "x=<b>hey</b> (there is no such setting)",
}


@pytest.mark.parametrize("query", SPOILT)
def test_a_spoilt_address_says_what_was_ignored(contexts, address, query):
    page, faults = open_page(contexts["light"], f"{address}#calc?rank=8&{query}")
    assert SPOILT[query] in told(page, "ignored")
    assert told(page, "ignored").startswith("Not taken from the address, so the defaults hold")
    assert page.input_value('[name="rank"]') == "8"
    defaults = {"rows": "2" if query.startswith("rows=2") else "1", "length": "2,048"}
    for field, value in (defaults | {"model": "Llama 3.1 8B", "trains": ADAPTER}).items():
        assert page.input_value(f'[name="{field}"]') == value
    assert page.locator('[data-fill="memory"]').is_visible()
    page.fill('[name="rank"]', "4")
    assert told(page, "ignored") == ""
    page.close()
    assert not faults, "\n".join(faults)


def test_a_copied_link_brings_the_case_back(page, contexts, address):
    page.select_option('[name="model"]', "Qwen3 30B-A3B")
    page.select_option('[name="stage"]', "3")
    page.uncheck('[name="checkpointing"]')
    page.fill('[name="devices"]', "8")
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async text => { window.got = text }}})"
    )
    page.locator("#calc").get_by_role("button", name="Copy link to this case").click()
    page.locator("#calc").get_by_text("The link is copied.").wait_for()
    link = page.evaluate("window.got")
    assert link.startswith(f"{address}#calc?model=Qwen3+30B-A3B&")
    assert set(link.split("?")[1].split("&")[1:]) == {"devices=8", "stage=3", "checkpointing=no"}
    other, faults = open_page(contexts["light"], link)
    assert told(other, "memory") == told(page, "memory")
    assert told(other, "ignored") == ""
    other.close()
    assert not faults


def test_without_a_clipboard_the_link_is_there_to_be_copied(page, address):
    page.fill('[name="rows"]', "4")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.locator("#calc").get_by_role("button", name="Copy link to this case").click()
    box = page.get_by_label("Copy this link:")
    assert box.input_value() == f"{address}#calc?rows=4"
    assert not run_axe(page)
    page.fill('[name="rows"]', "none")
    page.locator("#calc").get_by_role("button", name="Copy link to this case").click()
    assert page.locator("#calc").get_by_text("Nothing is copied").is_visible()


def test_another_address_on_the_same_page_is_read(page):
    page.evaluate("location.hash = 'calc?rows=4'")
    page.wait_for_function("""document.querySelector('[name="rows"]').value === "4" """)
    page.evaluate("location.hash = 'weights'")
    page.wait_for_timeout(50)
    assert page.input_value('[name="rows"]') == "4"
    page.locator("#calc").get_by_role("button", name="Back to the defaults").click()
    page.wait_for_function("location.hash === '#calc'")
    assert page.input_value('[name="rows"]') == "1"


def test_everything_is_reached_and_done_by_keyboard(page):
    reachable = page.evaluate(
        """[...document.querySelectorAll("#calc :is(input, select, button), #calc a")]
            .filter(e => e.checkVisibility()).length"""
    )
    page.locator('[name="model"]').focus()
    seen = 1
    while page.evaluate("document.activeElement.closest('#calc') !== null"):
        page.keyboard.press("Tab")
        seen += 1
    assert seen == reachable + 1
    page.locator('[name="model"]').focus()
    page.keyboard.type("Qwen3 8B")
    assert "Qwen3 8B" in told(page, "memory")
    page.get_by_role("button", name="QLoRA").focus()
    page.keyboard.press("Enter")
    assert "an adapter on a 4-bit base" in told(page, "memory")
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "QLoRA", "the button keeps the focus"
    page.locator('[name="rows"]').focus()
    page.keyboard.type("4")
    page.keyboard.press("Enter")
    assert "rows=4" in hash_of(page) and "model=Qwen3+8B" in hash_of(page)


@pytest.mark.parametrize("state", ["", "#calc?method=PPO&rows=-1&trains=all+parameters"])
def test_the_page_passes_axe(contexts, address, state):
    page, faults = open_page(contexts["phone"], address + state)
    page.fill('[name="length"]', "no")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    faults += run_axe(page) + page.evaluate(test_browser.TOO_WIDE)
    page.close()
    assert not faults, "\n".join(faults)


def test_how_long_an_answer_takes(page):
    """Printed, not asserted: it is the machine's."""
    milliseconds = page.evaluate("""() => {
        const field = document.querySelector('[name="length"]');
        return Array.from({length: 50}, (_, i) => {
            const start = performance.now();
            field.value = String(100 + i);
            field.dispatchEvent(new Event("input", {bubbles: true}));
            document.body.getBoundingClientRect();
            return performance.now() - start;
        }).sort((a, b) => a - b) }""")
    start = time.perf_counter()
    page.locator('[name="rows"]').press("7")
    whole = 1000 * (time.perf_counter() - start)
    print(
        f"an answer with its layout: {milliseconds[25]:.1f} ms, at most {milliseconds[-1]:.1f} ms; "
        f"a key press through the driver: {whole:.0f} ms"
    )
    assert "rows=" in hash_of(page)


# The explorer -------------------------------------------------------------------------------------


def set_facts(page, *facts):
    for fact in decide.FACTS:
        page.locator(f'#choose [name="{fact}"]').set_checked(fact in facts)


@pytest.mark.parametrize(
    "facts",
    [
        (),
        (decide.DEMONSTRATIONS,),
        (decide.DEMONSTRATIONS, decide.VERIFIER),
        decide.SIGNALS,
        (decide.PROMPT,),
    ],
)
def test_the_explorer_names_method_reason_row_and_claim(page, facts):
    set_facts(page, *facts)
    expected = decide.decide(decide.Situation(frozenset(facts)))
    assert told(page, "method") == expected.method
    assert told(page, "trains") == (expected.parameters or "nothing")
    assert told(page, "reason").startswith(expected.row.reason)
    number = decide.TABLE.index(expected.row)
    assert told(page, "row").startswith(f"row {number + 1} of {len(decide.TABLE)}: ")
    if expected.row.claim:
        link = page.locator('[data-fill="reason"] a').get_attribute("href")
        assert link == f"ledger.html#{expected.row.claim}"
    current = page.locator('[data-fill="table"] tbody tr')
    marked = [row.get_attribute("aria-current") == "true" for row in current.all()]
    assert marked.index(True) == number and sum(marked) == 1


def test_facts_at_odds_and_a_memory_too_small_are_named(page):
    assert told(page, "notes") == ""
    set_facts(page, decide.PROMPT, decide.COMPARISONS)
    assert "nothing has to be trained, whatever else you have" in told(page, "notes")
    set_facts(page, decide.PROMPT, decide.CHANGE)
    assert "A prompt does not know facts that change" in told(page, "notes")
    set_facts(page, decide.CHANGE, decide.VERIFIER)
    assert "Facts that change are looked up" in told(page, "notes")
    set_facts(page, decide.DEMONSTRATIONS)
    page.fill('#choose [name="parameters"]', "405")
    assert told(page, "trains") == "a smaller base"
    assert "Nothing fits: an adapter on a 4-bit base needs" in told(page, "notes")
    assert "for a base of 405 billion parameters, and you have 24 GiB." in told(page, "notes")
    page.fill('#choose [name="parameters"]', "7")
    page.fill('#choose [name="examples"]', "2,000,000")
    assert "all parameters are worth training" in told(page, "notes")


def test_the_explorers_case_stands_in_the_address(page, contexts):
    set_facts(page, decide.VERIFIER)
    page.fill('#choose [name="memory"]', "80")
    assert hash_of(page) == "#choose?demonstrations=no&verifier=yes&memory=80"
    other, faults = open_page(contexts["light"], page.url.split("#")[0] + hash_of(page))
    assert told(other, "method") == told(page, "method")
    other.close()
    assert not faults
    page.fill('#choose [name="memory"]', "-1")
    assert error_of(page, "memory") == "Write a number above 0, up to 1e9, not “-1”."


# In the book --------------------------------------------------------------------------------------


def test_the_page_says_where_to_look_without_javascript(planner):
    for form in (planner.calculator_html(), planner.explorer_html(str)):
        sentence = re.search("<noscript><p>(.*?)</p></noscript>", form)[1]
        assert "JavaScript" in sentence


def test_the_data_cannot_end_their_element(planner):
    text = planner.script(name="</script><b>")
    assert text.count("<") == 2 and json.loads(text[text.index(">") + 1 : text.rindex("<")])


def test_only_a_page_with_a_widget_loads_the_scripts(planner):
    added = []
    app = SimpleNamespace(add_js_file=lambda name, **options: added.append(name))
    node = planner.nodes.raw("", "", format="html", planner=True)
    planner.add_scripts(app, "search", "page.html", {}, None)
    planner.add_scripts(app, "a", "page.html", {}, planner.nodes.paragraph("", "text"))
    assert added == []
    planner.add_scripts(app, "a", "page.html", {}, planner.nodes.section("", node))
    assert added == [*planner.SCRIPTS]


BOOK = """# Book

```{calculator}
```

```{explorer}
```
"""


def test_a_book_with_the_widgets(tmp_path, write_book, build_book):
    """Its claims are none of those that the decision table names."""
    write_book(tmp_path, BOOK)
    built = build_book(tmp_path, tmp_path)
    assert "the decision table names a claim that is not there: C1.07" in built.log
    page, other = (
        (built.html / name).read_text("utf8") for name in ("index.html", "labs/01_demo.html")
    )
    assert page.count('<form class="planner" id="calc"') == 1
    for name in ("planning.js", "planner.js"):
        assert re.search(rf'<script defer="defer" src="_static/{name}\b', page)
        assert name not in other
