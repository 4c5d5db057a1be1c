"""The archive of a release: what is in it, always the same bytes, whole or not there at all."""

import datetime
import os
import re
import zipfile

import pytest
import release
import yaml

CITATION = yaml.safe_load(release.CITATION.read_text("utf8"))
CHANGELOG = (release.ROOT / "CHANGELOG.md").read_text("utf8")
OPTIONS = "const DOCUMENTATION_OPTIONS = {\n    SHOW_SEARCH_SUMMARY: true,\n};"
PAGES = {
    "index.html": "<h1>Book</h1>",
    "labs/01_sft.html": '<a href="../_sources/labs/01_sft.ipynb">download</a>',
    "_sources/labs/01_sft.ipynb": "{}",
    "_static/course.css": "h1 {}",
    "_static/sub/.hidden.css": "h1 {}",
    release.OPTIONS: OPTIONS,
}
NOT_FOR_READERS = (
    ".buildinfo",
    "objects.inv",
    "_static/locales/de/LC_MESSAGES/booktheme.mo",
    "_static/sbt-webpack-macros.html",
    "_static/webpack-macros.html",
)


@pytest.fixture
def build(tmp_path):
    """A tiny built site, as `make book` leaves one."""
    for name, text in {**PAGES, **dict.fromkeys(NOT_FOR_READERS, "x")}.items():
        path = tmp_path / "_build" / "html" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf8")
    return tmp_path / "_build"


@pytest.fixture
def citation(tmp_path):
    path = tmp_path / "CITATION.cff"
    path.write_text("cff-version: 1.2.0\nversion: 2.3.4\n", "utf8")
    return path


def pack(build, citation):
    """Pack it, and return the archive's path."""
    release.release(build, citation)
    return build / "finetuning-compared-2.3.4.zip"


def test_everything_lies_below_one_folder_that_names_the_version(build, citation):
    told = release.release(build, citation)
    archive = build / "finetuning-compared-2.3.4.zip"
    assert told.startswith(f"{archive}: {len(PAGES) + 1} files, ")
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        assert packed.testzip() is None
    folder = "finetuning-compared-2.3.4/"
    assert names == sorted(folder + name for name in [*PAGES, "LICENSE"])


def test_a_page_is_packed_as_it_is_and_the_licenses_come_along(build, citation):
    with zipfile.ZipFile(pack(build, citation)) as packed:
        for name, text in PAGES.items():
            if name != release.OPTIONS:
                assert packed.read(f"finetuning-compared-2.3.4/{name}") == text.encode()
        assert packed.read("finetuning-compared-2.3.4/LICENSE") == release.LICENSE.read_bytes()


def test_a_search_from_the_disk_reads_no_other_page(build, citation):
    with zipfile.ZipFile(pack(build, citation)) as packed:
        options = packed.read(f"finetuning-compared-2.3.4/{release.OPTIONS}").decode()
    assert options == OPTIONS.replace("true", "false")
    assert (build / "html" / release.OPTIONS).read_text("utf8") == OPTIONS  # the site keeps it


def test_a_search_that_cannot_be_told_so_is_refused(build, citation):
    (build / "html" / release.OPTIONS).write_text(OPTIONS.replace("SUMMARY", "LINES"), "utf8")
    with pytest.raises(release.ReleaseError, match="does not say 'SHOW_SEARCH_SUMMARY: true'"):
        release.release(build, citation)


def test_the_same_site_makes_the_same_bytes(build, citation):
    first = pack(build, citation).read_bytes()
    for number, path in enumerate(sorted((build / "html").rglob("*"), reverse=True)):
        os.utime(path, (1e9 + number, 1e9 + number))
        if path.is_file():
            again = path.read_bytes()
            path.unlink()  # made anew, so that the folder lists it elsewhere
            path.write_bytes(again)
            path.chmod(0o600 if number % 2 else 0o755)
    assert pack(build, citation).read_bytes() == first


def test_every_file_has_the_fixed_time_and_mode_and_is_compressed(build, citation):
    with zipfile.ZipFile(pack(build, citation)) as packed:
        entries = packed.infolist()
    assert {entry.date_time for entry in entries} == {release.DAY}
    assert {(entry.create_system, entry.external_attr >> 16) for entry in entries} == {
        (3, 0o100644)
    }
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_DEFLATED}


@pytest.mark.parametrize("before", [None, b"the archive of yesterday"])
def test_an_archive_that_breaks_off_leaves_what_was_there(build, citation, monkeypatch, before):
    archive = build / "finetuning-compared-2.3.4.zip"
    if before:
        archive.write_bytes(before)
    write, seen = zipfile.ZipFile.writestr, []

    def full_disk(self, entry, *rest, **more):
        seen.append(sorted(path.name for path in build.glob("*.zip")))
        if len(seen) == 3:
            raise OSError("No space left on device")
        return write(self, entry, *rest, **more)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(OSError, match="No space left"):
        release.release(build, citation)
    assert seen == [[archive.name] if before else []] * 3
    assert [path.read_bytes() for path in build.iterdir() if path.is_file()] == (
        [before] if before else []
    )


@pytest.mark.parametrize("missing", ["html/index.html", "html", "."])
def test_without_a_built_site_it_says_what_to_run(build, citation, missing):
    (build / missing).rename(build.parent / "elsewhere")
    with pytest.raises(release.ReleaseError) as told:
        release.release(build, citation)
    assert str(told.value) == f"There is no built site in {build / 'html'}: run make book first."
    assert not list(build.parent.rglob("*.zip*"))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "title: Book",
        "version:",
        "version: 1.0",
        "version: 1.0.0-draft",
        "version: ../1.0.0",
        'version: "1.0.0\\n"',
        "- version: 1.0.0",
        "version: [1",
    ],
)
def test_without_a_version_it_says_where_one_belongs(build, citation, text):
    citation.unlink() if text is None else citation.write_text(text, "utf8")
    with pytest.raises(release.ReleaseError) as told:
        release.release(build, citation)
    assert str(told.value) == "CITATION.cff names no version of three numbers, such as 1.0.0."
    assert not list(build.parent.rglob("*.zip*"))


def test_the_citation_has_the_keys_that_the_format_asks_for():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["message"] and CITATION["title"]
    assert CITATION["authors"] == [{"name": "The course authors"}]
    assert CITATION["type"] == "software"
    assert isinstance(CITATION["date-released"], datetime.date)
    assert CITATION["license"] == ["MIT", "CC-BY-4.0"]


def test_the_citation_is_of_this_book():
    config = yaml.safe_load((release.ROOT / "_config.yml").read_text("utf8"))
    assert CITATION["title"] == config["title"].replace("\xa0", " ")
    assert CITATION["authors"] == [{"name": config["author"]}]


def test_the_newest_heading_of_the_changelog_is_this_version_and_its_day():
    newest = re.search(r"^## (.*)$", CHANGELOG, re.M)[1]
    assert newest == f"{release.version_of()} ({CITATION['date-released']})"


def test_the_changelog_has_the_newest_release_first():
    versions = re.findall(r"^## (\d+)\.(\d+)\.(\d+) ", CHANGELOG, re.M)
    numbers = [tuple(map(int, version)) for version in versions]
    assert len(numbers) == len(re.findall(r"^## ", CHANGELOG, re.M))
    assert numbers == sorted(set(numbers), reverse=True)
