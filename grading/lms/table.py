"""A CSV table from another program: single cells can be changed, and every other byte stays."""

import codecs
import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import GradingError
from ..text import clean

BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# What to do about titles that are not known.
IN_ENGLISH = "set the LMS's language to English in your account, and export the table again"
# Without a byte-order mark: UTF-8 if the bytes are valid UTF-8, else what Windows writes, else a
# code page that can read any byte. Each of them writes exactly the bytes that it read.
CODECS = ("utf-8", "cp1252", "latin-1")


class Cell(NamedTuple):
    """One cell: its text, and where it begins and ends in the table's text, with its quotes."""

    text: str
    start: int
    end: int


class Table(NamedTuple):
    """An exported table: how its bytes become a text, and the cells in it, the header first."""

    bom: bytes
    codec: str
    text: str
    delimiter: str
    lines: list[list[Cell]]

    def titles(self) -> list[str]:
        return [cell.text for cell in self.lines[0]]

    def find(self, title: str) -> int | None:
        """The index of the first column with this title, or None. Case and spacing are ignored."""
        titles = [folded(text) for text in self.titles()]
        return titles.index(folded(title)) if folded(title) in titles else None

    def filled(self, changes: dict[Cell, str]) -> bytes:
        """The bytes of the table with numbers in these cells; a quoted cell stays quoted."""
        parts, done = [], 0
        for cell in sorted(changes, key=lambda cell: cell.start):
            quoted = self.text.startswith('"', cell.start) or self.delimiter in changes[cell]
            quote = '"' if quoted else ""
            parts += [self.text[done : cell.start], quote, changes[cell], quote]
            done = cell.end
        return self.bom + "".join([*parts, self.text[done:]]).encode(self.codec)


def read_table(export: bytes, key: str) -> Table:
    """The table in a CSV file with commas, semicolons or tabs: whichever gives a column `key`.

    Raises GradingError.
    """
    bom, codec, text = decoded(export)
    heads = {}
    for delimiter in ",;\t":
        with contextlib.suppress(GradingError):  # the wrong one can leave quotation marks unpaired
            heads[delimiter] = [cell.text for cell in next(split(text, delimiter))]
            if folded(key) in map(folded, heads[delimiter]):
                break
    else:
        widest = max(heads.values(), key=len, default=[])
        raise GradingError(
            f"The export has no column {key!r}, only {listed(widest) or 'none'}: {IN_ENGLISH}."
        )
    return Table(bom, codec, text, delimiter, list(split(text, delimiter)))


def decoded(export: bytes) -> tuple[bytes, str, str]:
    """The byte-order mark, the code page, and the text after the mark."""
    for bom, codec in BOMS.items():
        if export.startswith(bom):
            try:
                return bom, codec, export[len(bom) :].decode(codec)
            except UnicodeDecodeError:
                raise GradingError(
                    f"The export is damaged: it begins as {codec} and does not go on so. "
                    "Export the table again."
                ) from None
    for codec in CODECS[:-1]:
        try:
            return b"", codec, export.decode(codec)
        except UnicodeDecodeError:
            pass
    return b"", CODECS[-1], export.decode(CODECS[-1])


def split(text: str, delimiter: str) -> Iterator[list[Cell]]:
    """The lines of the text as cells, exactly as Python's csv module reads them in strict mode."""
    pattern = re.compile(
        rf'(?:"((?:[^"]++|"")*+)"|([^{delimiter}\r\n]*))({delimiter}|\r\n|\r|\n|\Z)'
    )
    line, place = [], 0
    while True:
        match = pattern.match(text, place)
        quoted, bare, end = match.groups()
        if bare and bare.startswith('"'):
            raise GradingError(
                f"The quotation marks in the export do not pair, in {clean(bare, 40)!r}: "
                "export the table again."
            )
        content = bare if quoted is None else quoted.replace('""', '"')
        line.append(Cell(content, match.start(), match.start(3)))
        place = match.end()
        if end != delimiter:
            yield line
            line = []
            if place == len(text):
                return


def folded(title: str) -> str:
    return " ".join(title.split()).casefold()


def listed(titles: list[str]) -> str:
    """The titles as part of a sentence."""
    return clean(", ".join(repr(clean(title, 60)) for title in titles), 2000)
