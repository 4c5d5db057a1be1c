"""Hostile text made harmless: names, files, mistakes and notes come from submissions, and all views
show them."""

import re
import unicodedata

# What a terminal obeys: titles and links (OSC), other strings, colours and movements (CSI),
# two-letter escapes. One that is never closed loses its first characters only, so it cannot swallow
# the words behind it.
ESCAPES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# they show nothing, yet count as letters or marks
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
NO_XML = "\ufffe\uffff"  # no XML file may hold them
MARKS = 3  # accents on one letter that a line has room for
FORMULA = "=+-@"  # a spreadsheet runs a cell that begins with one


def clean(text: str, width: int) -> str:
    """The text on one line of at most `width` characters, without anything that hides, moves or
    runs.

    Gone are escapes for terminals, control characters, bidirectional overrides, zero-width
    characters and piles of accents; a lone surrogate, as in a file name that is not UTF-8, becomes
    U+FFFD.
    """
    kept, marks = [], 0
    for character in map(shown, ESCAPES.sub("", text)):
        if character:  # what is dropped does not end a pile of accents
            marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            kept.append(character if marks <= MARKS else "")
    return cut(" ".join("".join(kept).split()), width)


def shown(character: str) -> str:
    """What stands for the character in a view: itself, a blank, U+FFFD or nothing."""
    kind = unicodedata.category(character)
    if character.isspace() or kind == "Cc":
        return " "
    if kind == "Cs":
        return "\ufffd"
    return "" if kind == "Cf" or character in INVISIBLE + NO_XML else character


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis: `width` characters at most."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def text_cell(text: str, width: int) -> str:
    """The cleaned text for a cell of a table: with an apostrophe in front where a spreadsheet would
    run it."""
    text = clean(text, width)
    # NFKC: a spreadsheet takes the full-width forms of the four signs for the signs themselves.
    runs = unicodedata.normalize("NFKC", text[:1]) in tuple(FORMULA)
    return f"'{text}" if runs else text


def readable(name: str) -> str:
    """The name of a check or a lab in words: is_the_mean -> is the mean."""
    return clean(name.replace("_", " "), 120)
