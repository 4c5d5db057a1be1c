"""The claims file: complete, true to its source, cited, and in step with what the labs recorded."""

import copy
import hashlib
import json
import operator
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from planning.arithmetic import compute

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"
SOURCE = (CHAPTERS / "source.md").read_text(encoding="utf-8")
CLAIMS = yaml.safe_load((CHAPTERS / "claims.yml").read_text(encoding="utf-8"))
BIB = (CHAPTERS / "references.bib").read_text(encoding="utf-8")
RESULTS = sorted((ROOT / "labs" / "results").glob("[0-9][0-9]_*.json"))

CLAIMS_PER_PART = {
    "C0": 1,
    "C1": 32,
    "C2": 18,
    "C3": 5,
    "C4": 10,
    "C5": 11,
    "C6": 4,
    "C7": 6,
    "C8": 3,
}
VERDICTS = {
    "correct": 14,
    "imprecise": 55,
    "outdated": 6,
    "wrong": 3,
    "internally inconsistent": 8,
    "unverifiable as stated": 4,
}
OUTCOMES = {
    "as expected",
    "partly shown",
    "not shown here",
    "against expectation",
    "read off afterwards",
}
BASIC_KEYS = {"id", "section", "quote", "verdict", "correction", "sources"}
LAB_KEYS = {"lab", "expected", "bound", "unit", "outcome"}
LINE_KEYS = {"result", "formula", "unit", "origin"}
OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}

BY_HAND = {  # worked out with a calculator
    ("C1.04", "states"): 112,
    ("C1.04", "moments"): 56,
    ("C1.19", "missing"): 1,
    ("C2.06", "bound"): 700_000,
    ("C2.07", "trained"): 39_976_960,
    ("C2.14", "least"): 199_242,
    ("C2.14", "most"): 1_195_452,
    ("C2.16", "hours"): 1666.67,
    ("C2.16", "high_wage"): 30,
    ("C2.16", "careful"): 8333.3,
    ("C3.01", "states"): 112,
    ("C3.01", "resumable"): 98,
    ("C3.03", "small"): 39.98,
    ("C3.03", "large"): 319.8,
    ("C3.05", "least"): 3.333,
    ("C3.05", "compute"): 12.245,
    ("C4.01", "hours"): 0.4423,
    ("C4.02", "SFT_high"): 5100,
    ("C4.02", "RLHF_high"): 51_500,
    ("C4.02", "largest"): 0.1858,
    ("C4.04", "equal"): 252,
    ("C4.04", "small"): 132.3,
    ("C4.05", "spread"): 234.146,
    ("C4.06", "low"): 16.667,
    ("C4.06", "ceiling"): 13.27,
    ("C4.07", "sft_most"): 0.2,
    ("C4.07", "pair_least"): 0.4,
    ("C4.08", "few"): 3.333,
    ("C4.08", "many"): 5,
    ("C4.09", "few"): 20.833,
    ("C4.09", "many"): 31.25,
    ("C4.10", "cheap"): 4000,
    ("C4.10", "dear"): 10_000,
    ("C4.10", "model"): 500,
    ("C5.03", "prompts"): 12_725,
    ("C5.07", "unassigned"): 26,
    ("C5.08", "apart"): 9,
    ("C5.09", "below"): 0.75,
    ("C6.04", "times"): 5,
}

# Where in source.md the claims of a section stand.
HEADINGS = {
    "0 · Framing": "### Core Comparison: Essential Differences Among Three Fine-tuning Methods",
    "1 · SFT": "#### SFT: Learning Task Mapping",
    "1 · PEFT": "#### PEFT: Parameter-Efficient Adaptation",
    "1 · RLHF": "#### RLHF: Aligning with Human Preferences",
    "2 · SFT data": "#### SFT Data Requirements",
    "2 · PEFT data": "#### PEFT Data Requirements",
    "2 · RLHF data": "#### RLHF Data Requirements",
    "3 · Choose SFT": "#### Choose SFT Scenarios",
    "3 · Choose PEFT": "#### Choose PEFT Scenarios",
    "3 · Choose RLHF": "#### Choose RLHF Scenarios",
    "4 · Comparison table": "#### Performance and Cost Comparison Table",
    "4 · Cost breakdown": "#### Cost Breakdown:",
    "5 · Combined use": "#### Combined Use (Most Common)",
    "5 · Decision flow": "#### Decision Flow",
    "5 · Decision tree": "#### Decision Tree:",
    "Summary · Core comparison table": "### Core Comparison Table",
    "Summary · Optimisation objectives": "#### 1. Optimization Objectives",
    "Summary · Mathematical essence": "#### 2. Mathematical Essence",
    "Summary · Failure modes": "#### 3. Failure Modes",
    "Summary · Practical recommendations": "### Practical Recommendations",
}

# What only the makers of a review would understand: keys of experiments, shorthand, marks of doubt.
SHORTHAND = re.compile(
    r"(?<![\w-])(?:[LG]\d{1,2}[ab]?|A\d{1,2}|seeds?|a note|s\.e\.|fn|FT|LR|RM|BT|CPT|IFT|BoN|PG|MFU)(?![\w-])"
    r"|\((?:2nd|mem)\)|§|≫|≪|⇒"
)


def ids(claims):
    return [claim["id"] for claim in claims]


def bib_keys():
    return re.findall(r"^@\w+\{([^,\s]+),", BIB, flags=re.MULTILINE)


def bib_fields(key):
    """The field names and values of one entry, outer braces removed."""
    entry = re.search(
        rf"^@\w+\{{{re.escape(key)},\n(.*?)^\}}", BIB, flags=re.MULTILINE | re.DOTALL
    )[1]
    return {
        name: " ".join(value.split())
        for name, value in re.findall(
            r"^  (\w+) = \{(.*?)\},?$", entry, flags=re.MULTILINE | re.DOTALL
        )
    }


def text_under(heading):
    """All text of source.md that stands below `heading`, wherever the heading occurs (some occur
    twice)."""
    pieces = re.split(r"^(#+ .*)$", SOURCE, flags=re.MULTILINE)
    return "\n".join(text for title, text in zip(pieces[1::2], pieces[2::2]) if title == heading)


def printed(claim):
    """The correction as the ledger prints it, with the results of its arithmetic."""
    if "arithmetic" not in claim:
        return claim["correction"]
    results = {line.result: line.value for line in compute(claim["arithmetic"])}
    return claim["correction"].format_map(results)


def meets(value, bound):
    sign, number = bound.split(" ")
    return OPERATORS[sign](value, float(number))


def result_problems(result, claims):
    """What is wrong between one results file and the claims assigned to its lab, one sentence
    each."""
    recorded = result["claims"]
    assigned = {claim["id"]: claim for claim in claims if claim.get("lab") == result["lab"]}
    problems = [
        f"{extra} is recorded but not assigned to {result['lab']}"
        for extra in recorded.keys() - assigned.keys()
    ]
    problems += [f"{missing} has no evidence" for missing in assigned.keys() - recorded.keys()]
    for key in assigned.keys() & recorded.keys():
        for field in ("expected", "bound"):
            if recorded[key][field] != assigned[key][field]:
                problems.append(f"{key}: {field} differs from claims.yml")
        if recorded[key]["holds"] is not True:
            problems.append(f"{key} is recorded as not holding")
        if not meets(recorded[key]["value"], assigned[key]["bound"]):
            problems.append(f"{key}: {recorded[key]['value']} is not {assigned[key]['bound']}")
    return problems


SUMS = [claim for claim in CLAIMS if "arithmetic" in claim]
LAB_CLAIMS = [claim for claim in CLAIMS if "lab" in claim]
every_claim = pytest.mark.parametrize("claim", CLAIMS, ids=ids(CLAIMS))
every_lab_claim = pytest.mark.parametrize("claim", LAB_CLAIMS, ids=ids(LAB_CLAIMS))


def test_source_is_untouched():
    # The document on trial is evidence: a verdict means nothing once its wording has been edited.
    digest = hashlib.sha256((CHAPTERS / "source.md").read_bytes()).hexdigest()
    assert digest == "0de0bd7e2aab60c5480147560b5e77f4300427655163f1f1555c2139a7f33f3b"


def test_every_claim_is_there_once_and_in_order():
    assert ids(CLAIMS) == [
        f"{part}.{n:02d}" for part, count in CLAIMS_PER_PART.items() for n in range(1, count + 1)
    ]


def test_verdicts_add_up():
    assert Counter(claim["verdict"] for claim in CLAIMS) == VERDICTS


@every_claim
def test_entry_has_the_known_keys_only(claim):
    wanted = BASIC_KEYS | LAB_KEYS if "lab" in claim else BASIC_KEYS
    assert claim.keys() - {"arithmetic", "identity"} == wanted
    assert "lab" in claim if "identity" in claim else True
    for line in claim.get("arithmetic", ()):
        assert line.keys() - {"inputs"} == LINE_KEYS


@every_claim
def test_a_verdict_rests_on_something(claim):
    assert claim["sources"] or claim.get("arithmetic") or claim.get("lab")


@pytest.mark.parametrize("claim", SUMS, ids=ids(SUMS))
def test_the_correction_takes_results_of_its_arithmetic(claim):
    names = [line["result"] for line in claim["arithmetic"]]
    taken = set(re.findall(r"\{(\w*)", claim["correction"]))
    assert len(set(names)) == len(names) and taken <= set(names)
    assert "{" not in printed(claim)


def test_the_arithmetic_gives_what_a_calculator_gives():
    found = {
        (claim["id"], line.result): line.value
        for claim in SUMS
        for line in compute(claim["arithmetic"])
    }
    for (claim, result), value in BY_HAND.items():
        assert found[claim, result] == pytest.approx(value, rel=5e-4), (claim, result)
    assert {claim for claim, _ in BY_HAND} == {claim["id"] for claim in SUMS}


@every_claim
def test_quote_stands_in_its_section(claim):
    assert claim["quote"].strip()
    assert claim["quote"] in SOURCE
    assert claim["quote"] in text_under(HEADINGS[claim["section"]])


@every_claim
def test_correction_is_short_and_readable(claim):
    correction = printed(claim)
    assert 10 <= len(correction.split()) <= 80
    assert not SHORTHAND.search(correction), SHORTHAND.search(correction)[0]
    for key in bib_keys():
        assert not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", correction), (
            f"{key} belongs in sources"
        )


@every_claim
def test_correction_has_no_stray_markup(claim):
    # A lone dollar sign would turn the rest of a correction into mathematics.
    correction = printed(claim)
    assert correction.count("$") % 2 == 0
    prose = re.sub(r"\$[^$]*\$", "", correction)
    assert "\\" not in prose and "_" not in prose and "`" not in prose
    assert prose.count("*") % 2 == 0
    assert "|" not in correction


def test_shorthand_is_recognised():
    for text in ("see L13", "the seed says", "(2nd)", "RM accuracy", "2 s.e.", "§4.1"):
        assert SHORTHAND.search(text)
    assert not SHORTHAND.search("eight A100 GPUs, an H100, DPO, LoRA, MLP, 16 GB")


@every_claim
def test_sources_are_in_the_bibliography(claim):
    assert set(claim["sources"]) <= set(bib_keys())
    assert len(claim["sources"]) == len(set(claim["sources"]))


def test_every_work_is_cited():
    cited = {key for claim in CLAIMS for key in claim["sources"]}
    for page in [ROOT / "index.md", *CHAPTERS.rglob("*.md")]:
        if page.exists():
            for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.read_text(encoding="utf-8")):
                cited |= {key.strip() for key in keys.split(",")}
    assert sorted(set(bib_keys()) - cited) == []


@pytest.mark.parametrize("key", bib_keys())
def test_work_is_complete(key):
    assert bib_keys().count(key) == 1
    fields = bib_fields(key)
    assert {"author", "title", "year", "url"} <= fields.keys()
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert fields["url"].startswith("https://")
    if "eprint" in fields:
        assert re.fullmatch(r"\d{4}\.\d{5}", fields["eprint"])
        assert fields["archiveprefix"] == "arXiv"
        assert fields["url"] == f"https://arxiv.org/abs/{fields['eprint']}"
        assert int("20" + fields["eprint"][:2]) <= int(fields["year"])


@every_lab_claim
def test_measured_claim_says_what_was_expected(claim):
    assert (ROOT / "labs" / f"{claim['lab']}.ipynb").exists()
    assert re.fullmatch(r"(<=|>=|<|>|==) [-+]?\d+(\.\d+)?(e[-+]?\d+)?", claim["bound"])
    assert claim["expected"].strip() and claim["unit"].strip()
    assert claim["outcome"] in OUTCOMES


@pytest.mark.parametrize("path", RESULTS, ids=[path.stem for path in RESULTS])
def test_recorded_evidence_meets_its_bound(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["lab"] == path.stem
    assert result_problems(result, CLAIMS) == []


@pytest.fixture
def sample():
    claims = [
        {"id": "C1.01", "lab": "01_sft", "expected": "a small distance", "bound": "<= 0.05"},
        {"id": "C1.02"},
    ]
    record = {"value": 0.02, "expected": "a small distance", "bound": "<= 0.05", "holds": True}
    return {"lab": "01_sft", "claims": {"C1.01": record}}, claims


@pytest.mark.parametrize(
    "change, problem",
    [
        ({}, None),
        ({"value": 0.06}, "C1.01: 0.06 is not <= 0.05"),
        ({"holds": False}, "C1.01 is recorded as not holding"),
        ({"bound": "<= 0.5"}, "C1.01: bound differs from claims.yml"),
        ({"expected": "anything"}, "C1.01: expected differs from claims.yml"),
    ],
)
def test_result_check_names_what_differs(sample, change, problem):
    result, claims = copy.deepcopy(sample)
    result["claims"]["C1.01"].update(change)
    assert result_problems(result, claims) == ([problem] if problem else [])


def test_result_check_wants_exactly_the_assigned_claims(sample):
    result, claims = sample
    result["claims"]["C1.02"] = result["claims"].pop("C1.01")
    assert result_problems(result, claims) == [
        "C1.02 is recorded but not assigned to 01_sft",
        "C1.01 has no evidence",
    ]
