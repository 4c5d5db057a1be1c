"""The page that a learner gets for one submission: one HTML file that needs no other file and runs
no script."""

import html

from .text import clean, readable

PENDING = "These marks are not final: your instructor looks at a part of this submission first."
# What a result means where the check itself found no words for it.
CHECK_HELP = {
    "failed": "Your function ran, and its answer is wrong.",
    "timeout": "No answer came within the time limit: look for a loop that does not end.",
    "crashed": "Python itself ended in your function: look for an endless recursion or for too much memory.",
    "error": "Your function raised an error.",
    "missing": "This function was not found in your notebook: put its cell back, with the id above it.",
    "not attempted": "This function is as it was handed out: write its body.",
    "needs review": "This check waits for your instructor.",
}
SIGNS = {
    "passed": "✓",
    "not attempted": "–",
    "missing": "–",
    "needs review": "?",
}  # the others are crosses

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2430; --muted: #566072; --line: #dde2ea;
        --good: #1a7f4b; --bad: #b3372a; --open: #6a5a00; --accent: #2757b8; --track: #e3e7ee; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181f; --card: #1c222c; --text: #e4e8ef; --muted: #a3adbd; --line: #323b49;
          --good: #5fd39a; --bad: #ff9a8d; --open: #e9c769; --accent: #8db4ff; --track: #323b49; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); line-height: 1.5; overflow-wrap: anywhere;
       font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
h1, h2, p, ul, dl, dd { margin: 0; }
h1 { font-size: 1.75rem; line-height: 1.25; }
h2 { font-size: 1.1rem; font-weight: 600; }
a { color: var(--accent); }
ul { padding: 0; list-style: none; }
.lab, .points, .small { color: var(--muted); }
.score { margin-top: 1rem; font-size: 1.1rem; }
.score strong { font-size: 2.25rem; line-height: 1.1; }
.score, .points { font-variant-numeric: tabular-nums; }
.bar { height: .5rem; margin: .5rem 0 1rem; border-radius: .25rem; background: var(--track); overflow: hidden; }
.bar span { display: block; height: 100%; background: var(--good); }
.banner { margin-block: 1rem; padding: .75rem 1rem; border-inline-start: .3rem solid var(--open);
          border-radius: .4rem; background: var(--card); }
section { margin-top: 1.5rem; padding: 1rem 1.25rem; border: 1px solid var(--line); border-radius: .6rem;
          background: var(--card); }
.head, .check { display: flex; gap: .25rem .75rem; align-items: baseline; }
.head { flex-wrap: wrap; justify-content: space-between; }
.points { flex: none; margin-inline-start: auto; font-size: .9rem; }
.hint { margin-top: .4rem; }
.checks { margin-top: .75rem; }
.checks > li { padding-block: .6rem; border-top: 1px solid var(--line); }
.checks > li:last-child { padding-bottom: 0; }
.sign { flex: none; width: 1.2rem; font-weight: 700; text-align: center; }
.name { font-weight: 500; }
.result { display: inline-block; padding: 0 .45rem; border: 1px solid; border-radius: 1rem; font-size: .8rem;
          white-space: nowrap; }
.passed { color: var(--good); } .wrong { color: var(--bad); } .open { color: var(--open); }
.told { margin-block-start: .3rem; margin-inline-start: 1.95rem; }
.told::first-letter, .reason::first-letter { text-transform: uppercase; }
.notes { margin-top: .5rem; padding-inline-start: 1.2rem; list-style: disc; }
.notes li + li { margin-top: .3rem; }
footer { margin-top: 2rem; font-size: .85rem; color: var(--muted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
@media (max-width: 30rem) {
  main { padding-top: 1.25rem; }
  section { padding-inline: 1rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
}
"""


def feedback_page(record: dict, counts: bool) -> str:
    """The page of one record. counts: whether this submission is the one that counts for its
    student and lab."""
    lab = readable(record["lab"]) if record["lab"] else "lab not known"
    title = f"{esc(lab)} · feedback for {esc(record['student'], 120)}"
    parts = [
        header(record, lab),
        verdict(record, counts),
        *(section(number, exercise) for number, exercise in enumerate(record["exercises"], 1)),
        notes(record),
        footer(record),
    ]
    body = "\n".join(filter(None, parts))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def esc(text: str, width: int = 500) -> str:
    """The text cleaned and escaped, for an element or a quoted attribute."""
    return html.escape(clean(text, width))


def plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def header(record: dict, lab: str) -> str:
    name = f'<p class="lab">Feedback · {esc(lab)}</p>\n<h1><bdi>{esc(record["student"], 120)}</bdi></h1>'
    if record["status"] == "ungradable":
        return f"<header>\n{name}\n</header>"
    earned, points = record["earned"], record["points"]
    share = 100 * earned / points if points else 0
    so_far = " so far" if record["status"] == "needs review" else ""
    return (
        f'<header>\n{name}\n<p class="score"><strong>{earned}</strong> of {plural(points, "point")}{so_far}</p>\n'
        f'<div class="bar" aria-hidden="true"><span style="width: {share:.2f}%"></span></div>\n</header>'
    )


def verdict(record: dict, counts: bool) -> str:
    """The sentences under the score: what is open, what to begin with, and whether this submission
    counts."""
    other = "" if counts else '\n<p class="small">This submission is not the one that counts.</p>'
    if record["status"] == "graded":
        return f"<p>{summary(record)}</p>{other}"
    if record["status"] == "needs review":
        return f'<p class="banner">{PENDING}</p>{other}'
    return (
        f'<div class="banner"><p><strong>This submission could not be graded.</strong></p>\n'
        f'<p class="reason">{esc(record["reason"])}</p>\n'
        f"<p>It has no mark yet: hand in the notebook again or ask your instructor.</p></div>{other}"
    )


def summary(record: dict) -> str:
    checks = [
        (f"c{i}-{j}", exercise, check)
        for i, exercise in enumerate(record["exercises"], 1)
        for j, check in enumerate(exercise["checks"], 1)
    ]
    open_ones = [entry for entry in checks if entry[2]["result"] != "passed"]
    if not open_ones:
        return "Every check passed."
    anchor, exercise, check = open_ones[0]
    return (
        f"{len(checks) - len(open_ones)} of {plural(len(checks), 'check')} passed. Begin with "
        f'<a href="#{anchor}">{esc(readable(check["name"]))}</a> in {esc(exercise["id"], 120)}.'
    )


def section(number: int, exercise: dict) -> str:
    """One exercise. What is true of all its checks, such as a function that is missing, is said
    once."""
    alike = exercise["state"] != "attempted"
    hint = f'<p class="hint">{CHECK_HELP[exercise["state"]]}</p>\n' if alike else ""
    checks = "\n".join(
        item(f"c{number}-{j}", check, alike) for j, check in enumerate(exercise["checks"], 1)
    )
    points = (
        f'<span class="points">{exercise["earned"]} of {plural(exercise["points"], "point")}</span>'
    )
    return (
        f'<section aria-labelledby="e{number}">\n<div class="head">'
        f'<h2 id="e{number}">{esc(exercise["id"], 120)}</h2>{points}</div>\n'
        f'{hint}<ul class="checks">\n{checks}\n</ul>\n</section>'
    )


def item(anchor: str, check: dict, brief: bool) -> str:
    """One check. brief: without the words that the exercise says already."""
    result = check["result"]
    colour = {"passed": "passed", "not attempted": "open", "needs review": "open"}.get(
        result, "wrong"
    )
    told = (
        "" if brief or result == "passed" else f'<p class="told">{html.escape(mistake(check))}</p>'
    )
    step = esc(check["next"])
    if (
        result == "needs review"
    ):  # the grader failed, not the answer: the words are for the instructor
        told, step = f'<p class="told">{CHECK_HELP[result]}</p>', ""
    if step:
        told += f'<p class="told"><strong>Next:</strong> {step}</p>'
    sign = f'<span class="sign {colour}" aria-hidden="true">{SIGNS.get(result, "✗")}</span>'
    name = f'<span class="name">{esc(readable(check["name"]))}</span> <span class="result {colour}">{result}</span>'
    points = f'<span class="points">{check["earned"]} of {check["points"]}</span>'
    return (
        f'<li id="{anchor}"><div class="check">{sign}<span>{name}</span>{points}</div>{told}</li>'
    )


def mistake(check: dict) -> str:
    """What went wrong: in the check's own words, cleaned, or what its result means."""
    return clean(check["mistake"], 500) or CHECK_HELP[check["result"]]


def notes(record: dict) -> str:
    """What the grader noticed in the notebook."""
    items = "\n".join(f"<li>{esc(line)}</li>" for line in remarks(record))
    if not items:
        return ""
    return (
        f'<section aria-labelledby="notes">\n<h2 id="notes">About your notebook</h2>\n'
        f'<ul class="notes">\n{items}\n</ul>\n</section>'
    )


def remarks(record: dict) -> list[str]:
    """What the grader noticed about the exercises, then about the notebook."""
    flags = [
        f"{exercise['id']}: {flag}"
        for exercise in record["exercises"]
        for flag in exercise["flags"]
    ]
    return [*flags, *record["notes"]]


def footer(record: dict) -> str:
    """Which file this page speaks of, so that a learner can tell one upload from another."""
    when = record["run"]["date"].replace("T", " ").replace("Z", " UTC")
    facts = {
        "file": f"<bdi>{esc(record['file'], 300)}</bdi>",
        "SHA-256": esc(record["sha256"] or "not readable"),
        "submission": esc(record["submission"], 300),
        "graded": esc(when),
    }
    lines = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    return f"<footer>\n<dl>\n{lines}\n</dl>\n</footer>"
