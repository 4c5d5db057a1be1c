"""The directive that sets a finding of the small model beside a real one's."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "chapters/real-model.md"


@pytest.fixture
def transfer(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "chapters/_ext")
    spec = importlib.util.spec_from_file_location(
        "ext_transfer", ROOT / "chapters/_ext/course_transfer.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pairs_have_a_name_and_two_measures(transfer):
    text = "the base = sft.a / real.b ; rank 1 = C8.01 / real.c ;"
    assert transfer.read_pairs(text) == [
        ("the base", ("sft.a", "real.b")),
        ("rank 1", ("C8.01", "real.c")),
    ]


@pytest.mark.parametrize(
    "text", ["", " ; ", "sft.a / real.b", "name = sft.a", "name = sft.a real.b"]
)
def test_what_is_no_pair_is_refused(transfer, text):
    with pytest.raises(ValueError, match="name = measure / measure"):
        transfer.read_pairs(text)


@pytest.mark.parametrize("text", ["1", "1 0", "0 0", "0 1 2", "low high"])
def test_what_is_no_scale_is_refused(transfer, text):
    with pytest.raises(ValueError):
        transfer.read_scale(text)


@pytest.mark.parametrize(
    "record, scale, places",
    [
        ({"value": 0.25, "interval": [0.0, 0.5]}, (0, 1), (25, 0, 50)),
        ({"value": 3.0, "interval": None}, (2, 6), (25, 25, 25)),
        ({"value": 0.9, "interval": [-0.2, 1.4]}, (0, 1), (90, 0, 100)),
        ({"value": -1.0, "interval": [-3.0, 1.0]}, (-2, 2), (25, 0, 75)),
        ({"value": 7.0}, (0, 5), (100, 100, 100)),
    ],
)
def test_a_record_is_drawn_at_its_place_and_cut_at_the_ends(transfer, record, scale, places):
    assert transfer.places(record, scale) == pytest.approx(places)


def test_a_finding_stands_on_the_page_with_both_numbers_of_every_pair(small_book):
    page = (small_book.html / "index.html").read_text("utf8")
    finding = page[page.index('class="transfer transfer-same"') :]
    assert "Exactness is <em>kept</em>" in finding and "share of exact matches" in finding
    rows = re.findall(r'class="transfer-dot" style="left: ([\d.]+)%', finding)
    assert rows == ["99.0", "0.0", "0.0", "99.0"]
    numbers = re.findall(r'class="measured">([^<]+)<', finding)[:4]
    assert numbers == ["99.5\xa0±\xa00.5\xa0%", "2.1\xa0%", "2.1\xa0%", "99.5\xa0±\xa00.5\xa0%"]
    assert "Why it is so" in finding


def test_every_finding_says_how_it_came_out_and_why():
    found = re.findall(r"```\{transfer\} (.+?)\n(.+?)\n```", PAGE.read_text("utf8"), re.S)
    assert len(found) >= 10
    for finding, body in found:
        options, _, reason = body.partition("\n\n")
        assert len(re.findall(r"^:(\w+):", options, re.M)) == 5, finding
        assert len(reason.split()) >= 12, f"say why: {finding}"


def test_the_front_page_counts_them_rightly():
    verdicts = re.findall(r"^:verdict: (.+)$", PAGE.read_text("utf8"), re.M)
    said = " ".join((ROOT / "index.md").read_text("utf8").split())
    asked, same = re.search(
        r"Of \{fixed\}`(\d+)` findings .*? \{fixed\}`(\d+)` came out", said
    ).groups()
    assert (len(verdicts), verdicts.count("same")) == (int(asked), int(same))
