"""Pack the built site into one archive that opens from the disk: python tools/release.py

It becomes _build/finetuning-compared-VERSION.zip, with everything below one folder of that name. The
version stands in CITATION.cff. The same site and version make the same bytes. `make release` builds
the site afresh first.
"""

import os
import re
import sys
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CITATION = ROOT / "CITATION.cff"
LICENSE = ROOT / "LICENSE"  # both of its licenses ask that every copy carries them
BUILD = ROOT / "_build"
NAME = "finetuning-compared"
# Sphinx's notes to itself and to other builders, and the theme's translations, which no page loads.
# _sources is not among them: the download buttons of the pages lead there.
LEFT_OUT = (".buildinfo", "objects.inv", "_static/locales", "_static/*webpack-macros.html")
# Below a result the search shows lines of the page. A browser does not let a page of the disk read
# another one, so that there each result would end in an error instead.
OPTIONS = "_static/documentation_options.js"
SUMMARY, NO_SUMMARY = b"SHOW_SEARCH_SUMMARY: true", b"SHOW_SEARCH_SUMMARY: false"
DAY = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold; one for all files, at all times
MODE = 0o100644  # a file that everybody may read


class ReleaseError(Exception):
    """Nothing can be packed; the message is a sentence for whoever ran the command."""


def version_of(citation: Path = CITATION) -> str:
    """The version that the book is released as. Raises ReleaseError if the file names none."""
    try:
        version = yaml.safe_load(citation.read_text("utf-8"))["version"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        version = None
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(version)):
        raise ReleaseError(f"{citation.name} names no version of three numbers, such as 1.0.0.")
    return version


def files_of(site: Path) -> dict[str, bytes]:
    """What a reader needs of a built site, by its path in the site. Raises ReleaseError if `site` is
    none."""
    if not (site / "index.html").is_file():
        raise ReleaseError(f"There is no built site in {site}: run make book first.")
    left_out = {found for pattern in LEFT_OUT for found in site.glob(pattern)}
    files = {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in site.rglob("*")
        if path.is_file() and left_out.isdisjoint([path, *path.parents])
    }
    if SUMMARY not in files.get(OPTIONS, b""):
        raise ReleaseError(f"{OPTIONS} of the site does not say {SUMMARY.decode()!r} any more.")
    return files | {OPTIONS: files[OPTIONS].replace(SUMMARY, NO_SUMMARY)}


def write(archive: Path, files: dict[str, bytes]) -> None:
    """Write the archive whole or not at all, its files below one folder of its own name."""
    part = archive.with_name(f".{archive.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name in sorted(files):
                entry = zipfile.ZipInfo(f"{archive.stem}/{name}", DAY)
                entry.create_system = 3  # Unix, on Windows too: it is what the mode belongs to
                entry.external_attr = MODE << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, files[name], compresslevel=9)
        os.replace(part, archive)
    finally:
        part.unlink(missing_ok=True)


def release(build: Path = BUILD, citation: Path = CITATION) -> str:
    """Pack the site that lies in `build`; returns what to tell. Raises ReleaseError or OSError."""
    archive = build / f"{NAME}-{version_of(citation)}.zip"
    files = files_of(build / "html") | {LICENSE.name: LICENSE.read_bytes()}
    write(archive, files)
    return f"{archive}: {len(files)} files, {archive.stat().st_size / 2**20:.1f} MiB"


if __name__ == "__main__":
    try:
        print(release())
    except ReleaseError as error:
        sys.exit(str(error))
