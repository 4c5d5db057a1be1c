"""The repaired decision table: total, by the first row that holds, and in step with the memory."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
import yaml
from planning.decide import (
    COLLECT,
    COMPARISONS,
    DEMONSTRATIONS,
    FACTS,
    NOTHING,
    PROMPT,
    SUCCEEDS,
    TABLE,
    UNTRAINED,
    VERIFIER,
    Situation,
    decide,
    first_row,
    holes,
    needed,
    trainable,
)
from planning.reports import EXAMPLES, PPO, REPORTS, by_the_tree
from planning.rules import PEFT, RLHF, SFT

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
SUBSETS = [frozenset(some) for n in range(7) for some in itertools.combinations(FACTS, n)]


def situations():
    for facts in SUBSETS:
        for parameters, memory, examples in itertools.product(
            (0.1, 7, 70), (4, 24, 80, 1_000), (10, 10_000, 5_000_000)
        ):
            yield Situation(facts, examples, parameters, memory)


def holds(row, facts):
    return set(row.present) <= facts and not set(row.absent) & facts


def test_every_situation_has_an_answer_with_a_reason():
    seen = set()
    for situation in situations():
        decision = decide(situation)
        seen.add(decision.row)
        assert holds(decision.row, situation.facts) and decision.row.reason
        assert decision.method == decision.row.method == first_row(TABLE, situation.facts)
        assert (decision.parameters == "") == (decision.method in UNTRAINED)
    assert seen == set(TABLE)  # no row is out of reach


def test_an_earlier_row_goes_before_a_later_one():
    for situation in situations():
        holding = [row for row in TABLE if holds(row, situation.facts)]
        assert decide(situation).row is holding[0]


def test_no_method_needs_a_signal_that_is_not_there():
    wanted = {"SFT": "demonstrations", "DPO": "comparisons", "RL": "verifier"}
    for situation in situations():
        for word, signal in wanted.items():
            if word in decide(situation).method:
                assert signal in situation.facts, situation


def test_where_a_prompt_does_it_nothing_is_trained():
    for situation in situations():
        if PROMPT in situation.facts:
            assert decide(situation).method == NOTHING


@pytest.mark.parametrize("signals", [{VERIFIER}, {COMPARISONS}, {VERIFIER, COMPARISONS}])
def test_a_base_that_never_succeeds_needs_demonstrations(signals):
    assert decide(Situation(frozenset(signals))).method == COLLECT
    assert decide(Situation(frozenset(signals | {SUCCEEDS}))).method != COLLECT


def test_the_table_is_total_and_its_last_row_is_needed():
    assert holes(TABLE, FACTS) == []
    assert holes(TABLE[:-1], FACTS) == [[DEMONSTRATIONS], [DEMONSTRATIONS, SUCCEEDS]]


@pytest.mark.parametrize(
    "rows, facts, answer",
    [
        ([(["a"], [], 1), ([], [], 2)], ["a", "b"], 1),
        ([(["a"], ["b"], 1), ([], [], 2)], ["a", "b"], 2),
        ([(["a", "b"], [], 1)], ["a"], None),
        ([([], ["a"], 1)], [], 1),
        ([], ["a"], None),
    ],
)
def test_the_first_row_that_holds_answers(rows, facts, answer):
    assert first_row(rows, facts) == answer


@pytest.mark.parametrize(
    "parameters, memory, examples, wanted",
    [
        (7, 131, 5_000_000, "all parameters"),  # 7 · 16 · 1.25 GB in GiB
        (7, 130, 5_000_000, "an adapter"),
        (7, 131, 999_999, "an adapter"),
        (8, 24, 1_000, "an adapter"),  # 16 of the base, 3 of logits, the rest activations
        (8, 23, 1_000, "an adapter on a 4-bit base"),
        (8, 11, 1_000, "a smaller base"),
    ],
)
def test_what_trains_fits_into_the_memory(parameters, memory, examples, wanted):
    situation = Situation(
        frozenset({DEMONSTRATIONS}), examples=examples, parameters=parameters, memory=memory
    )
    assert trainable(situation) == wanted == decide(situation).parameters
    if wanted != "a smaller base":
        assert needed(wanted, parameters) <= memory


@pytest.mark.parametrize(
    "spoilt, told",
    [
        (
            {"facts": frozenset({"ratings"})},
            "'ratings' is no fact of the table: choose from demons",
        ),
        ({"examples": 0}, "examples must be positive and finite, not 0"),
        ({"memory": -24}, "memory must be positive and finite, not -24"),
        ({"parameters": float("nan")}, "parameters must be positive and finite, not nan"),
        ({"memory": float("inf")}, "memory must be positive and finite, not inf"),
    ],
)
def test_what_cannot_be_is_refused(spoilt, told):
    with pytest.raises(ValueError, match=told):
        Situation(**{"facts": frozenset()} | spoilt)


def test_a_row_names_a_claim_of_the_ledger():
    ids = {claim["id"] for claim in yaml.safe_load((CHAPTERS / "claims.yml").read_text("utf-8"))}
    assert {row.claim for row in TABLE if row.claim} <= ids


def test_the_reports_have_sources_and_are_decided_as_they_were():
    bibliography = (CHAPTERS / "references.bib").read_text("utf-8")
    for report in REPORTS:
        assert f"{{{report.source}," in bibliography
        decided = decide(report.situation).method
        assert decided == report.did or (decided, report.did) == ("SFT, then DPO", PPO), report.name


def test_the_chapter_shows_the_table_row_by_row():
    text = (CHAPTERS / "choosing.md").read_text("utf-8")
    shown = text.partition("| if you have | do | because |")[2].partition("\n\n")[0]
    rows = shown.strip().splitlines()[1:]
    assert len(rows) == len(TABLE)
    for line, row in zip(rows, TABLE):
        assert ("{claim}`" in line) == bool(row.claim) and row.claim in line, line


# The document's examples --------------------------------------------------------------------------


def test_all_ten_examples_of_the_document_are_there():
    text = (CHAPTERS / "source.md").read_text("utf8").lower()
    section = text[text.index("### 3.") : text.index("### 4.")]
    assert len(EXAMPLES) == 10
    assert Counter(example.listed for example in EXAMPLES) == {SFT: 4, PEFT: 3, RLHF: 3}
    assert all(example.name.lower() in section for example in EXAMPLES)


def test_the_tree_knows_an_adapter_by_the_means_alone():
    assert {by_the_tree(example, "little") for example in EXAMPLES} == {PEFT}
    assert PEFT not in {by_the_tree(example, "plenty") for example in EXAMPLES}


def test_the_table_has_an_answer_to_each_example():
    answers = {example.name: decide(example.situation).method for example in EXAMPLES}
    assert answers["machine translation"] == "SFT"
    assert answers["medical assistants"] == "retrieval"
    assert answers["code generation"] == "SFT, then RL with a verifier"
