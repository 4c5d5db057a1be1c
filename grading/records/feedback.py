"""The page that a learner gets for one submission: one HTML file, without scripts."""

import html

from ..text import clean, readable
from .record import CheckResult, ExerciseResult, Record, Result, State, Status

PENDING = "These marks are not final: your instructor looks at a part of this submission first."
HAND_IN_AGAIN = (
    "hand in the notebook again, as a file that ends in .ipynb and opens in Jupyter, or ask your "
    "instructor"
)
# What a result means, for checks that say nothing themselves.
CHECK_HELP = {
    Result.FAILED: "Your function ran, and its answer is wrong.",
    Result.TIMEOUT: "No answer came within the time limit: look for a loop that does not end.",
    Result.CRASHED: "Python itself ended in your function: look for an endless recursion or for too "
    "much memory.",
    Result.ERROR: "Your function raised an error.",
    Result.MISSING: "This function was not found in your notebook: put its cell back, with the id "
    "above it.",
    Result.NOT_ATTEMPTED: "This function is as it was handed out: write its body.",
    Result.NEEDS_REVIEW: "This check waits for your instructor.",
}
CROSS = "✗"
SIGNS = {
    Result.PASSED: "✓",
    Result.NOT_ATTEMPTED: "–",
    Result.MISSING: "–",
    Result.NEEDS_REVIEW: "?",
}
COLOURS = {Result.PASSED: "passed", Result.NOT_ATTEMPTED: "open", Result.NEEDS_REVIEW: "open"}

STYLE = """
:root { color-scheme: light dark;
        --page: #f6f7f9; --card: #fff; --text: #1c2430; --muted: #566072; --line: #dde2ea;
        --good: #1a7f4b; --bad: #b3372a; --open: #6a5a00; --accent: #2757b8; --track: #e3e7ee; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181f; --card: #1c222c; --text: #e4e8ef; --muted: #a3adbd; --line: #323b49;
          --good: #5fd39a; --bad: #ff9a8d; --open: #e9c769; --accent: #8db4ff; --track: #323b49; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); line-height: 1.5;
       overflow-wrap: anywhere; font-family: system-ui, -apple-system, "Segoe UI", Roboto,
       "Noto Sans", "Liberation Sans", sans-serif; }
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
.bar { height: .5rem; margin: .5rem 0 1rem; border-radius: .25rem; background: var(--track);
       overflow: hidden; }
.bar span { display: block; height: 100%; background: var(--good); }
.banner { margin-block: 1rem; padding: .75rem 1rem; border-inline-start: .3rem solid var(--open);
          border-radius: .4rem; background: var(--card); }
section { margin-top: 1.5rem; padding: 1rem 1.25rem; border: 1px solid var(--line);
          border-radius: .6rem; background: var(--card); }
.head, .check { display: flex; gap: .25rem .75rem; align-items: baseline; }
.head { flex-wrap: wrap; justify-content: space-between; }
.points { flex: none; margin-inline-start: auto; font-size: .9rem; }
.hint { margin-top: .4rem; }
.checks { margin-top: .75rem; }
.checks > li { padding-block: .6rem; border-top: 1px solid var(--line); }
.checks > li:last-child { padding-bottom: 0; }
.sign { flex: none; width: 1.2rem; font-weight: 700; text-align: center; }
.name { font-weight: 500; }
.result { display: inline-block; padding: 0 .45rem; border: 1px solid; border-radius: 1rem;
          font-size: .8rem; white-space: nowrap; }
.passed { color: var(--good); } .wrong { color: var(--bad); } .open { color: var(--open); }
.message { margin-block-start: .3rem; margin-inline-start: 1.95rem; }
.message::first-letter, .reason::first-letter { text-transform: uppercase; }
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


def feedback_page(record: Record, counts: bool) -> str:
    """The page of one record. counts: whether this submission counts for its student and lab."""
    lab = readable(record.lab) if record.lab else "lab not known"
    title = f"{esc(lab)} · feedback for {esc(record.student, 120)}"
    parts = [
        header(record, lab),
        verdict(record, counts),
        *(section(number, exercise) for number, exercise in enumerate(record.exercises, 1)),
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


def header(record: Record, lab: str) -> str:
    name = (
        f'<p class="lab">Feedback · {esc(lab)}</p>\n<h1><bdi>{esc(record.student, 120)}</bdi></h1>'
    )
    if record.status is Status.UNGRADABLE:
        return f"<header>\n{name}\n</header>"
    share = 100 * record.earned / record.points if record.points else 0
    so_far = " so far" if record.status is Status.NEEDS_REVIEW else ""
    of_points = f"of {plural(record.points, 'point')}{so_far}"
    return (
        f'<header>\n{name}\n<p class="score"><strong>{record.earned}</strong> {of_points}</p>\n'
        f'<div class="bar" aria-hidden="true"><span style="width: {share:.2f}%"></span></div>\n'
        "</header>"
    )


def verdict(record: Record, counts: bool) -> str:
    """The sentences under the score: what is open, where to begin, and whether it counts."""
    other = "" if counts else '\n<p class="small">This submission is not the one that counts.</p>'
    if record.is_graded:
        return f"<p>{summary(record)}</p>{other}"
    if record.status is Status.NEEDS_REVIEW:
        return f'<p class="banner">{PENDING}</p>{other}'
    what = html.escape(fault(record))
    reason = f'<p class="reason">{what}.</p>\n' if what else ""
    return (
        f'<div class="banner"><p><strong>This submission could not be graded.</strong></p>\n{reason}'
        f"<p>It has no mark yet: {HAND_IN_AGAIN}.</p></div>"
        f"{other}"
    )


def fault(record: Record) -> str:
    """What is wrong with an ungradable submission, without what its instructor is asked to do."""
    return clean(record.reason.rpartition(": ")[0] or record.reason, 500)


def name_of(exercise: ExerciseResult) -> str:
    """The function's name as it stands in the notebook, and the exercise's id."""
    return f"{exercise.function} ({exercise.id})" if exercise.function else exercise.id


def summary(record: Record) -> str:
    checks = [
        (f"c{i}-{j}", exercise, check)
        for i, exercise in enumerate(record.exercises, 1)
        for j, check in enumerate(exercise.checks, 1)
    ]
    still_open = [entry for entry in checks if entry[2].result is not Result.PASSED]
    if not still_open:
        return "Every check passed."
    anchor, exercise, check = still_open[0]
    return (
        f"{len(checks) - len(still_open)} of {plural(len(checks), 'check')} passed. Begin with "
        f'<a href="#{anchor}">{esc(readable(check.name))}</a> in {esc(name_of(exercise), 240)}.'
    )


def section(number: int, exercise: ExerciseResult) -> str:
    """One exercise. What applies to all its checks, such as a missing function, is said once."""
    alike = exercise.state is not State.ATTEMPTED
    hint = f'<p class="hint">{CHECK_HELP[Result(exercise.state)]}</p>\n' if alike else ""
    checks = "\n".join(
        item(f"c{number}-{j}", check, alike) for j, check in enumerate(exercise.checks, 1)
    )
    of_points = f"{exercise.earned} of {plural(exercise.points, 'point')}"
    points = f'<span class="points">{of_points}</span>'
    return (
        f'<section aria-labelledby="e{number}">\n<div class="head">'
        f'<h2 id="e{number}">{esc(name_of(exercise), 240)}</h2>{points}</div>\n'
        f'{hint}<ul class="checks">\n{checks}\n</ul>\n</section>'
    )


def item(anchor: str, check: CheckResult, brief: bool) -> str:
    """One check. brief: without what the exercise says already."""
    colour = COLOURS.get(check.result, "wrong")
    sign = f'<span class="sign {colour}" aria-hidden="true">{SIGNS.get(check.result, CROSS)}</span>'
    name = (
        f'<span class="name">{esc(readable(check.name))}</span> '
        f'<span class="result {colour}">{check.result}</span>'
    )
    points = f'<span class="points">{check.earned} of {check.points}</span>'
    return (
        f'<li id="{anchor}"><div class="check">{sign}<span>{name}</span>{points}</div>'
        f"{explanation(check, brief)}</li>"
    )


def explanation(check: CheckResult, brief: bool) -> str:
    """What went wrong in a check, and what to try next."""
    if check.result is Result.NEEDS_REVIEW:
        # The grader failed, not the answer: what the check says is for the instructor.
        return f'<p class="message">{CHECK_HELP[check.result]}</p>'
    parts = []
    if not brief and check.result is not Result.PASSED:
        parts.append(f'<p class="message">{html.escape(mistake(check))}</p>')
    if step := esc(check.next):
        parts.append(f'<p class="message"><strong>Next:</strong> {step}</p>')
    return "".join(parts)


def mistake(check: CheckResult) -> str:
    """What went wrong: what the check itself says, or what its result means."""
    return clean(check.mistake, 500) or CHECK_HELP[check.result]


def notes(record: Record) -> str:
    """What the grader noticed in the notebook."""
    items = "\n".join(f"<li>{esc(line)}</li>" for line in remarks(record))
    if not items:
        return ""
    return (
        f'<section aria-labelledby="notes">\n<h2 id="notes">About your notebook</h2>\n'
        f'<ul class="notes">\n{items}\n</ul>\n</section>'
    )


def remarks(record: Record) -> list[str]:
    """What the grader noticed about the exercises, then about the notebook."""
    flags = [f"{exercise.id}: {flag}" for exercise in record.exercises for flag in exercise.flags]
    return [*flags, *record.notes]


def footer(record: Record) -> str:
    """Which file this page is about, so that a learner can tell one upload from another."""
    when = record.run.date.replace("T", " ").replace("Z", " UTC")
    facts = {
        "file": f"<bdi>{esc(record.file, 300)}</bdi>",
        "SHA-256": esc(record.sha256 or "not readable"),
        "submission": esc(record.submission, 300),
        "graded": esc(when),
    }
    lines = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    return f"<footer>\n<dl>\n{lines}\n</dl>\n</footer>"
