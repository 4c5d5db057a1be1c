"""The book builds without a warning, its pages hang together, its roles print what the results
say."""

import importlib.util
import json
import re
from html import escape
from pathlib import Path
from types import SimpleNamespace

import check_html
import nbformat
import pytest
import yaml
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("chapters/ledger.html", "chapters/document.html", "chapters/references.html", "index.html")


def words(html):
    """A page's text without tags, as one line."""
    parser = TextOf()
    parser.feed(html)
    return " ".join("".join(parser.parts).split())


class TextOf(check_html.HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts = []

    def handle_data(self, data):
        self.parts.append(data)


def page(book, name):
    return (book.html / name).read_text("utf8")


def test_the_book_builds_without_a_warning(site):
    assert site.status == 0, site.log
    assert "WARNING" not in site.log, site.log
    for name in PAGES:
        assert (site.html / name).is_file()


def test_every_link_and_file_exists_and_nothing_needs_a_network(site):
    assert check_html.check(site.html) == []


def test_no_page_names_a_folder_of_this_machine(site):
    for path in [*site.html.rglob("*.html"), *site.html.rglob("*.js")]:
        assert str(ROOT) not in path.read_text("utf8"), path


def test_the_site_is_light(site):
    size = sum(path.stat().st_size for path in site.html.rglob("*") if path.is_file())
    labs = len(list(site.html.glob("labs/*.html")))
    assert size < (8 + 1.5 * labs) * 2**20, f"{size / 2**20:.1f} MiB"
    assert not list(site.html.rglob("*.map"))
    assert not list(site.html.rglob("fontawesome.js"))


def test_the_ledger_shows_every_claim(site):
    claims = yaml.safe_load((ROOT / "chapters/claims.yml").read_text("utf8"))
    ledger = page(site, "chapters/ledger.html")
    text = words(ledger)
    for claim in claims:
        assert f'id="claim-{claim["id"].lower().replace(".", "-")}"' in ledger
        assert " ".join(claim["quote"].split()) in text, claim["id"]
        computed = claim.get("identity") or "arithmetic" in claim and "lab" not in claim
        status = "measured here" if "lab" in claim else "from the literature"
        status = "computed here" if computed else status
        assert f"{claim['id']} {claim['verdict']} {status} line" in text


def test_the_document_stands_there_word_for_word(site):
    lines = (ROOT / "chapters/source.md").read_text("utf8").splitlines()
    html = page(site, "chapters/document.html")
    for number, line in enumerate(lines[1:], start=2):
        assert f'<li id="source-{number}">{escape(line, quote=False)}</li>' in html


def test_every_lab_has_a_page(site):
    for notebook in sorted((ROOT / "labs").glob("[0-9]*.ipynb")):
        made = (site.html / "labs" / f"{notebook.stem}.html").exists()
        assert made, f"labs/{notebook.stem} stands in no line of _toc.yml: add it there"


def test_a_lab_page_offers_to_open_the_notebook(site):
    for notebook in sorted((ROOT / "labs").glob("[0-9]*.ipynb")):
        address = f"http://localhost:8888/lab/tree/mine/{notebook.name}"
        assert f'href="{address}"' in page(site, f"labs/{notebook.stem}.html")
    assert "localhost:8888" not in page(site, "index.html")


def test_a_lab_page_keeps_no_stored_figure_as_a_plain_image(site):
    for notebook in sorted((ROOT / "labs").glob("[0-9]*.ipynb")):
        drawn = page(site, f"labs/{notebook.stem}.html").count('<svg class="course-figure"')
        cells = json.loads(notebook.read_text("utf8"))["cells"]
        stored = [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]
        assert drawn == sum("image/svg+xml" in data for data in stored), notebook.name


def test_every_code_cell_of_a_lab_has_an_anchor(site):
    for notebook in sorted((ROOT / "labs").glob("[0-9]*.ipynb")):
        html = page(site, f"labs/{notebook.stem}.html")
        for cell in json.loads(notebook.read_text("utf8"))["cells"]:
            if cell["cell_type"] == "code" and "remove-cell" not in cell["metadata"].get(
                "tags", []
            ):
                assert html.count(f' id="cell-{cell["id"]}"') == 1, (notebook.name, cell["id"])


def test_roles_print_what_the_results_say(small_book):
    assert small_book.status == 0, small_book.log
    text = words(page(small_book, "index.html"))
    assert (
        "Claim C1.01 imprecise measured in its lab: 0.0213 share and Claim C1.02 correct." in text
    )
    assert (
        "Measures 99.5 %, 99.0–100.0 %, 0.995, 74, 0.021, the sum 1,666.7 and the setting 4,096."
        in text
    )
    assert 'href="chapters/ledger.html#claim-c1-01"' in page(small_book, "index.html")
    assert 'href="labs/01_demo.html"' in page(small_book, "index.html")


def test_the_ledger_counts_quotes_and_cites(small_book):
    html = page(small_book, "chapters/ledger.html")
    text = words(html)
    assert "imprecise 1 0 0 1" in text and "correct 0 1 0 1" in text and "all 1 1 0 2" in text
    assert r"$\theta$ | x, y_{<t}" in text
    assert 'href="document.html#source-3"' in html and "line 3" in text
    assert "0.0213 share; bound ≤ 0.06" in text and "as expected, in lab 01_demo" in text
    assert 'href="references.html#id2"' in html and "[One, 2023]" in text


def test_the_ledger_shows_how_a_result_is_computed(small_book):
    text = words(page(small_book, "chapters/ledger.html"))
    assert "Yes, 1,666.7 hours for" in text and "x_{1}" in text
    steps = "pairs × minutes each / 60 = 50,000 × 2 / 60 = 1,667 hours (line 4)"
    assert steps in text


def test_every_chapter_about_a_method_has_three_figures_of_the_labs(site):
    for chapter in ("sft", "lora", "rlhf"):
        html = page(site, f"chapters/{chapter}.html")
        figures = re.findall(r'<figure class="lab-figure">(.*?)</figure>', html, re.S)
        assert len(figures) >= 3, chapter
        for figure in figures:
            description = re.search(
                r'<svg class="course-figure" role="img" aria-label="([^"]+)"', figure
            )
            assert len(description[1]) > 40
            assert re.search(r'href="\.\./labs/\w+\.html#cell-', figure), description[1]
        ids = re.findall(r'\bid="([^"]+)"', "".join(figures))
        assert len(ids) == len(set(ids))


def test_a_drawing_stands_in_the_page_with_ids_of_its_own(small_book):
    html = page(small_book, "index.html")
    assert 'aria-label="A line that falls"' in html and 'aria-label="A line that rises"' in html
    assert 'href="#fig1-mark"' in html and 'href="#fig2-mark"' in html
    assert "drawing.svg" not in html
    assert check_html.check(small_book.html) == []


def test_a_new_result_reaches_the_page_without_a_full_build(small_book, build_book):
    path = small_book.source / "labs/results/01_demo.json"
    before = path.read_text("utf8")
    path.write_text(before.replace("0.995", "0.9925"), "utf8")
    try:
        text = words(page(build_book(small_book.source, small_book.source), "index.html"))
    finally:
        path.write_text(before, "utf8")
    assert "Measures 99.2 %, 99.0–100.0 %, 0.993," in text


CELLS = [
    ("markdown", "a", "# A lab", {}),
    ("code", "Ab_1-x", "rate = 1", {}),
    ("code", "b", "measure()", {"tags": ["hide-input"]}),
]
LINKS = """# Links

A claim {claim}`C1.01`, its number {measured}`C1.01 .3f`, a measure
{measured}`demo.exact_match .1%`, {measured}`demo.exact_match interval .1%` and a run of {measured}`01_demo:seconds .0f` s.
"""


def write_notebook(folder):
    """Put a notebook in the place of the small book's lab, and its cells into the results."""
    (folder / "labs/01_demo.md").unlink()
    python = {"name": "python"}
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(metadata={"language_info": python, "kernelspec": kernel})
    for kind, id, source, metadata in CELLS:
        cell = getattr(nbformat.v4, f"new_{kind}_cell")(source, id=id, metadata=metadata)
        notebook.cells.append(cell)
    nbformat.write(notebook, folder / "labs/01_demo.ipynb")
    path = folder / "labs/results/01_demo.json"
    results = json.loads(path.read_text("utf8"))
    results["claims"]["C1.01"]["cell"] = "Ab_1-x"
    results["measures"]["demo.exact_match"]["cell"] = "b"
    path.write_text(json.dumps(results), "utf8")


def test_a_number_leads_to_the_very_cell_that_measured_it(tmp_path, write_book, build_book):
    write_book(tmp_path, LINKS)
    write_notebook(tmp_path)
    built = build_book(tmp_path, tmp_path)
    assert built.status == 0 and "WARNING" not in built.log, built.log
    html = page(built, "index.html")
    assert html.count('href="labs/01_demo.html#cell-Ab_1-x"') == 2  # the badge and its number
    assert html.count('href="labs/01_demo.html#cell-b"') == 2
    assert 'href="../labs/01_demo.html#cell-Ab_1-x"' in page(built, "chapters/ledger.html")
    assert "of 74 s" in words(html) and '<span class="measured">74</span> s' in html
    assert check_html.check(built.html) == []
    # the notebook stays as it was read, and only the page with the numbers is read again
    path = tmp_path / "labs/results/01_demo.json"
    path.write_text(path.read_text("utf8").replace('"cell": "b"', '"cell": "gone"'), "utf8")
    built = build_book(tmp_path, tmp_path)
    assert built.status != 0 and "labs/01_demo#cell-gone" in built.log


BROKEN = r"""# Broken

A claim {claim}`C9.99`, a measure {measured}`demo.missing`, a lab {measured}`02_none:seconds`,
an interval {measured}`C1.01 interval .1%`, a format {measured}`demo.exact_match wide`, a source {cite}`NONE`,
a page [there](nowhere.md), a sum {computed}`C1.02 days .1f`.

```{lab-figure} 03_none A line
```

```{quiz} Which?
- [x] this ; Yes.
- [x] and this ; Yes.
```
"""
COMPLAINTS = (
    "no claim C9.99",
    "no value of demo.missing",
    "no value of 02_none:seconds",
    "no interval of C1.01",
    "'wide' is no number format",
    'could not find bibtex key "NONE"',
    "nowhere.md",
    "mark exactly one option of a quiz",
    "no result C1.02 days .1f in chapters/claims.yml",
    "no figure begins with 'A line' in labs/03_none.ipynb",
    "01_demo.json has no record of C1.01",
    "the quote of C1.02 is not in chapters/source.md",
)


def test_a_page_that_names_what_does_not_exist_fails_the_build(tmp_path, write_book, build_book):
    write_book(tmp_path, BROKEN)
    path = tmp_path / "labs/results/01_demo.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), "claims": {}}), "utf8")
    (tmp_path / "chapters/source.md").write_text("Other text.\n", "utf8")
    built = build_book(tmp_path, tmp_path)
    assert built.status != 0
    assert [complaint for complaint in COMPLAINTS if complaint not in built.log] == []


@pytest.fixture
def extension(monkeypatch):
    """extension(name) -> a module of chapters/_ext, by its path: labs/ has a package named course
    too."""
    monkeypatch.syspath_prepend(ROOT / "chapters/_ext")
    return load_extension


def load_extension(name):
    spec = importlib.util.spec_from_file_location(
        f"ext_{name}", ROOT / "chapters/_ext" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("labs/results/01_demo.json", '{"lab": ', "01_demo.json cannot be read"),
        ("chapters/claims.yml", "- id: [", "claims.yml cannot be read"),
        ("chapters/source.md", None, "source.md cannot be read"),
        ("chapters/claims.yml", None, "claims.yml cannot be read"),
        ("chapters/claims.yml", "- {id: C1.01, verdict: maybe}", "C1.01 has the verdict 'maybe'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path, write_book, extension, name, text, complaint
):
    write_book(tmp_path, "# Book\n")
    (tmp_path / name).unlink()
    if text:
        (tmp_path / name).write_text(text, "utf8")
    with pytest.raises(ExtensionError, match=complaint):
        extension("course").read_facts(SimpleNamespace(srcdir=tmp_path))


@pytest.mark.parametrize(
    ("value", "spec", "shown"),
    [
        (0.99512, "", "0.995"),
        (16777216, "", "16,777,216"),
        (8.0, "", "8"),
        (-0.5, ".2f", "−0.50"),
        (0.995, ".1%", "99.5\N{NO-BREAK SPACE}%"),
        (0.0000123, "", "1.23 × 10⁻⁵"),
        (1e-6, "", "10⁻⁶"),
        ("cpu", "", "cpu"),
    ],
)
def test_numbers_are_shown(extension, value, spec, shown):
    assert extension("course").show_number(value, spec) == shown


@pytest.mark.parametrize(
    ("value", "interval", "spec", "shown"),
    [
        (2.0806, [1.7481, 2.4131], ".2f", "2.08 ± 0.33"),
        (0.7156, [0.6534, 0.7778], ".1%", "71.6 ± 6.2 %"),
        (-2.1469, [-3.2596, -1.0342], ".1f", "−2.1 ± 1.1"),
        (1.0, [1.0, 1.0], ".3f", "1.000"),
        (0.7135, [0.0, 1.0], ".0%", "71 % (0–100 %)"),  # cut at both ends
        (0.2, [-0.1, 0.4], ".1f", "0.2 (−0.1 to 0.4)"),
    ],
)
def test_a_mean_is_shown_with_its_interval(extension, value, interval, spec, shown):
    text = extension("course").show_record({"value": value, "interval": interval}, "±", spec)
    assert text.replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    "path",
    [path for path in [ROOT / "index.md", *sorted((ROOT / "chapters").glob("*.md"))]],
    ids=lambda path: path.name,
)
def test_a_mean_over_seeds_is_printed_with_its_interval(path):
    """Somewhere on the page, at least once."""
    text = path.read_text("utf8")
    records = {}
    for results in sorted((ROOT / "labs/results").glob("0*.json")):
        records |= json.loads(results.read_text("utf8"))["measures"]
    bare = set(re.findall(r"\{measured\}`([\w.]+)[^`]*`", text))
    with_interval = set(re.findall(r"\{measured\}`([\w.]+) (?:±|interval)", text))
    means = {name for name in bare if (records.get(name) or {}).get("interval")}
    scattered = {name for name in means if len(set(records[name]["interval"])) == 2}
    assert sorted(scattered - with_interval) == []


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["text"], "starts with an option"),
        (["- [ ] a ; b"], "exactly one"),
        ([], "exactly one"),
        (["- [x] a ; b", "- [x] c ; d"], "exactly one"),
        (["- [x] a", "- [ ] b ; c"], "'a' needs an explanation"),
    ],
)
def test_a_quiz_says_what_is_missing(extension, lines, complaint):
    with pytest.raises(ValueError, match=complaint):
        extension("course_quiz").read_options(lines)


PLANTED = {
    '<a href="#gone">x</a>': "no anchor #gone",
    '<a href="other.html#gone">x</a>': "no anchor other.html#gone",
    '<a href="gone.html">x</a>': "no file gone.html",
    '<img src="picture.png">': "no alternative text for picture.png",
    '<svg role="img"></svg>': "no alternative text for an <svg>",
    '<script src="https://example.org/x.js"></script>': "loads https://example.org/x.js from a network",
    '<link rel="stylesheet" href="//example.org/x.css">': "loads //example.org/x.css from a network",
    '<script src="/x.js"></script>': "/x.js is an absolute path",
    '<script>load("https://cdn.jsdelivr.net/npm/x")</script>': "mentions cdn.jsdelivr.net/npm/x",
    '<p id="a"></p><p id="a"></p>': "the id a stands 2 times",
}


@pytest.mark.parametrize(("planted", "complaint"), PLANTED.items())
def test_check_html_finds_a_planted_fault(tmp_path, planted, complaint):
    (tmp_path / "other.html").write_text('<p id="here">text</p>', "utf8")
    (tmp_path / "picture.png").write_bytes(b"")
    sound = '<a href="other.html#here">x</a><img src="picture.png" alt="a dot"><a href="https://a.org">x</a>'
    (tmp_path / "index.html").write_text(sound, "utf8")
    assert check_html.check(tmp_path) == []
    (tmp_path / "index.html").write_text(sound + planted, "utf8")
    assert check_html.check(tmp_path) == [f"index.html: {complaint}"]


def test_check_html_finds_a_style_sheet_from_the_network(tmp_path):
    (tmp_path / "index.html").write_text("<p>text</p>", "utf8")
    (tmp_path / "x.css").write_text("p { background: url(https://example.org/x.png) }", "utf8")
    assert check_html.check(tmp_path) == ["x.css: loads https://example.org/x.png from a network"]


def test_check_html_wants_pages(tmp_path):
    with pytest.raises(FileNotFoundError, match="make book"):
        check_html.check(tmp_path)


def test_no_markup_is_left_on_a_page(site):
    """A fence that is not understood becomes text, without a warning."""
    left = [page.name for page in site.html.rglob("*.html") if "```{" in page.read_text("utf8")]
    assert left == []
