"""Hostile text made harmless.

Names, files, mistakes and notes come from submissions, and every view shows them.
"""

import re
import unicodedata

# What a terminal obeys: titles and links (OSC), other strings, colours and cursor movements (CSI),
# two-letter escapes. A sequence that is never closed loses its first characters only, so it cannot
# swallow the words after it.
ESCAPES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# They show nothing, yet Unicode counts them as letters or marks.
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
NOT_IN_XML = "\ufffe\uffff"  # no XML file may contain them
MAX_ACCENTS = 3  # on one letter: more would run into the lines above
FORMULA = "=+-@"  # a spreadsheet runs a cell that begins with one of these


def clean(text: str, width: int) -> str:
    """The text on one line of at most `width` characters, with nothing that hides, moves or runs.

    Terminal escapes, control characters, bidirectional overrides, zero-width characters and piles
    of accents are removed. A lone surrogate, as in a file name that is not UTF-8, becomes U+FFFD.
    """
    kept, accents = [], 0
    for character in map(shown, ESCAPES.sub("", text)):
        if character:  # a character that is dropped does not end a pile of accents
            accents = accents + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            kept.append(character if accents <= MAX_ACCENTS else "")
    return cut(" ".join("".join(kept).split()), width)


def shown(character: str) -> str:
    """What a view shows for the character: itself, a space, U+FFFD or nothing."""
    kind = unicodedata.category(character)
    if character.isspace() or kind == "Cc":
        return " "
    if kind == "Cs":
        return "\ufffd"
    return "" if kind == "Cf" or character in INVISIBLE + NOT_IN_XML else character


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis, in at most `width` characters."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def text_cell(text: str, width: int) -> str:
    """The cleaned text for a table; an apostrophe precedes what a spreadsheet would run."""
    text = clean(text, width)
    # NFKC because a spreadsheet treats the full-width forms of the four signs alike.
    runs = unicodedata.normalize("NFKC", text[:1]) in tuple(FORMULA)
    return f"'{text}" if runs else text


def readable(name: str) -> str:
    """The name of a check or a lab as words: is_the_mean becomes "is the mean"."""
    return clean(name.replace("_", " "), 120)
