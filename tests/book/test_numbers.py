"""No measured number is typed by hand into a page.

A number with a decimal point, a percent sign or a unit has to come from a result file ({measured},
{claim}), be declared a setting or arithmetic ({fixed}), or stand in a sentence that cites its
source.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "index.md", *(ROOT / "chapters").glob("**/*.md")])
QUOTED = {"source.md"}  # the document on trial, printed word for word

UNITS = """s sec seconds? minutes? hours? days? ms [KMG]i?B bytes? nats? bits? points? times ×
    parameters? tokens? steps? epochs? examples? demonstrations? samples? responses? prompts? pairs? tickets?
    replies labels? seeds? questions? words?""".split()
UNIT = "|".join(sorted(UNITS, key=len, reverse=True))
NUMBER = re.compile(rf"(?<![\w.])\d[\d,]*(?:\.\d+|\s*[%×]|[\s-]+(?:{UNIT})\b)")
FENCE = re.compile(r"\s*(?P<mark>`{3,}|~{3,}|:{3,})\s*(?:\{(?P<name>[\w:-]+)\})?(?P<rest>.*)")
WITHOUT_PROSE = {"math", "code", "code-block", "literalinclude", "raw", "image"}


def prose_lines(text):
    """The page's lines without front matter, code, comments, quotes and directive options."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.S)
    open_fences = []  # (mark, whether its content is prose)
    for line in text.splitlines():
        fence = FENCE.fullmatch(line)
        mark = fence["mark"] if fence else ""
        silent = open_fences and not open_fences[-1][1]
        closes = (
            open_fences
            and fence
            and not fence["name"]
            and not fence["rest"].strip()
            and mark[0] == open_fences[-1][0][0]
            and len(mark) >= len(open_fences[-1][0])
        )
        if closes:
            open_fences.pop()
            yield ""
        elif silent:
            continue
        elif fence:
            open_fences.append((mark, bool(fence["name"]) and fence["name"] not in WITHOUT_PROSE))
            yield fence["rest"] if open_fences[-1][1] else ""
        elif open_fences and re.match(r"\s*:[\w-]+:", line):
            continue
        else:
            yield "" if re.match(r"\s*>", line) else line


def plain(text):
    """`text` without inline code, math, roles and link targets; a citation leaves its mark."""
    text = re.sub(r"\{cite[\w:]*\}`[^`]*`", "[cited]", text)
    text = re.sub(r"\{[\w:-]+\}(`+).+?\1", "", text, flags=re.S)
    text = re.sub(r"(`+).+?\1", "", text, flags=re.S)
    text = re.sub(r"(?<!\\)\$[^$]+\$", "", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"<[^>\s][^>]*>", "", text)


def sentences(text):
    """The prose of a page, one sentence, list item, heading or table row at a time."""
    block = []
    for line in [*prose_lines(text), ""]:
        starts_own = re.match(r"\s*(?:[-*+:|#]|\d+[.)]\s)", line)
        if (not line.strip() or starts_own) and block:
            yield from re.split(r"(?<=[.!?])\s+", plain(" ".join(block)))
            block = []
        if line.strip():
            block.append(line.strip())


def typed_numbers(text):
    """Sentences with a number that looks measured and has neither a role nor a citation."""
    return [
        sentence
        for sentence in sentences(text)
        if NUMBER.search(sentence) and "[cited]" not in sentence
    ]


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if path.name not in QUOTED],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_no_number_is_typed_by_hand(path):
    found = typed_numbers(path.read_text("utf8"))
    assert not found, "Read these from results, mark them {fixed}, or cite them:\n" + "\n".join(
        found
    )


@pytest.mark.parametrize(
    "text",
    [
        "It reaches 99.5 % exact match.",
        "It reaches 99% exact match.",
        "The loss falls to 0.31.",
        "One run takes 74 s on two cores.",
        "A 64-token window.",
        "Trained on 1,024 examples.",
        "It is 3× faster.",
        "- a list item of 12 minutes",
        "| full tuning | 0.97 |",
        "```{note}\nA note says 0.5 of it.\n```",
        "::::{grid} 2\n:::{card} Title 0.5\n:::\n::::",
        "```{figure} x.svg\n:alt: 0.5\nThe caption says 0.5.\n```",
        "```{quiz} Why?\n- [x] because ; It is 0.5.\n```\n",
        "```python\nx = 1\n```\nThen 0.5 came.",
        "The first {cite}`OUY22`. The second is 0.5.",
        "# A heading of 5 steps",
    ],
)
def test_a_typed_number_is_found(text):
    assert len(typed_numbers(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "It reaches {measured}`sft.triage_exact_match .1%` exact match in {measured}`01_sft:seconds .0f` s.",
        "The claim {claim}`C1.03` and the claim C1.03 of section 2.",
        "With {fixed}`4,096` tokens and {fixed}`0.1 %`.",
        "A pool of 40 people agreed in 72.6 % of pairs {cite}`OUY22`.",
        "Inline `0.5` and math $0.5$ and $$\n0.5\n$$ stay.",
        "> The source says 99.6% of it.",
        "```python\nx = 0.5\n```",
        "```{math}\n0.5\n```",
        "````{note}\n```python\n0.5\n```\n````",
        "```{figure} x.svg\n:alt: 0.5\n```",
        "See [a link](page-0.5.md) and <https://example.org/1.5>.",
        "---\nversion: 0.5\n---\nText.",
        "<!-- 0.5 -->",
        "Two labs, 3 chapters.",
    ],
)
def test_other_numbers_are_left_alone(text):
    assert typed_numbers(text) == []


def test_there_are_pages_to_read():
    assert len(PAGES) > 5
