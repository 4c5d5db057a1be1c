"""Binder and Colab: a lab's page offers them where _config.yml has the repository's address."""

import re
from pathlib import Path

import check_html
import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "_config.yml"
NO_ADDRESS = re.compile(r"^(repository:\n  url:) [^#\n]*?( *#.*)?$", re.M)
HOSTS = re.compile(r'href="(https://(?:mybinder\.org|colab\.research\.google\.com)/[^"]*)"')
ADDRESS = "https://github.com/someone/course"


@pytest.fixture
def launched(tmp_path, write_book, build_book):
    """launched(address) -> a small book with a notebook, built with that one line changed."""

    def build(address):
        write_book(tmp_path, "# Book\n")
        (tmp_path / "labs/01_demo.md").unlink()
        kernel = {"name": "python3", "display_name": "Python 3"}
        cells = [nbformat.v4.new_markdown_cell("# A lab")]
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel}, cells=cells)
        nbformat.write(notebook, tmp_path / "labs/01_demo.ipynb")
        config = (tmp_path / CONFIG).read_text("utf8")
        config, changed = NO_ADDRESS.subn(rf"\1 {address}", config)
        assert changed == 1
        (tmp_path / CONFIG).write_text(config, "utf8")
        built = build_book(tmp_path, tmp_path)
        assert built.status == 0 and "WARNING" not in built.log, built.log
        assert check_html.check(built.html) == []
        built.branch = yaml.safe_load(config)["repository"]["branch"]
        return built

    return build


def offers(built):
    """The pages that lead to a host, and where they lead."""
    found = {path: HOSTS.findall(path.read_text("utf8")) for path in built.html.rglob("*.html")}
    return {str(path.relative_to(built.html)): links for path, links in found.items() if links}


def test_without_an_address_nothing_is_offered(launched):
    built = launched('""')
    assert offers(built) == {}
    assert "launch-buttons" not in (built.html / "labs/01_demo.html").read_text("utf8")


def test_with_an_address_each_lab_is_offered_and_no_chapter(launched):
    built = launched(ADDRESS)
    lab, branch = "labs/01_demo.ipynb", built.branch
    assert offers(built) == {
        "labs/01_demo.html": [
            f"https://mybinder.org/v2/gh/someone/course/{branch}?urlpath=lab/tree/{lab}",
            f"https://colab.research.google.com/github/someone/course/blob/{branch}/{lab}",
        ]
    }
    html = (built.html / "labs/01_demo.html").read_text("utf8")
    pictures = re.findall(r'<img alt="(\w+) logo" src="([^"]+)"', html)
    assert [name for name, _ in pictures] == ["Binder", "Colab"]
    for _, path in pictures:  # the theme brings them, so that no host learns who reads
        assert (built.html / "labs" / path).is_file()


def test_the_books_own_labs_are_offered_as_its_settings_say(site):
    address = yaml.safe_load((ROOT / CONFIG).read_text("utf8"))["repository"]["url"]
    labs = {f"labs/{path.stem}.html" for path in (ROOT / "labs").glob("[0-9]*.ipynb")}
    assert set(offers(site)) == (labs if address else set())
