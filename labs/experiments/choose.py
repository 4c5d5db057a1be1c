"""What lab 07 counts and draws: the document's rules and the repaired table, on all their cases."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from course import BLUE, GREEN, ORANGE
from matplotlib.axes import Axes
from planning import decide, rules
from planning.reports import PPO, Report
from planning.rules import METHODS, NEEDS, PEFT, RLHF, SFT, Gate, Range

COLORS = {SFT: BLUE, PEFT: GREEN, RLHF: ORANGE}
OPEN_END = 2.0  # times the highest end that is drawn, for a range without one


# Gaps and faults ----------------------------------------------------------------------------------


def gaps_by_quantity(uncovered: Callable) -> dict[str, list[tuple[float, float]]]:
    """For each quantity, what `uncovered` finds between the needs of the methods."""
    return {
        quantity: uncovered([need.range[:2] for need in NEEDS if need.quantity == quantity])
        for quantity in rules.UNITS
    }


def lowest_allowed(gate: Gate, method: str) -> float:
    """The lowest value from which a gate leads to the method."""
    return min(
        place.low
        for place, methods in gate.leads_to
        if isinstance(place, Range) and method in methods
    )


def lowest_need(method: str, quantity: str) -> float:
    return min(need.range.low for need in NEEDS if need[:2] == (method, quantity))


def shares_without_a_method() -> dict[str, dict[str, float]]:
    """For both readings of the gates, the share of cases that are left without a method: of all, of
    those with clear and of those with subjective answers."""
    readings = {"as written": rules.GATES, "read generously": rules.read_generously()}
    return {reading: _shares(gates) for reading, gates in readings.items()}


def _shares(gates: Sequence[Gate]) -> dict[str, float]:
    empty = [(case["answers"], not rules.methods_left(case, gates)) for case in rules.cases()]
    by_answers = {
        answers: statistics.fmean(left for which, left in empty if which == answers)
        for answers in rules.VALUES["answers"]
    }
    return {"all": statistics.fmean(left for _, left in empty)} | by_answers


# The table ----------------------------------------------------------------------------------------


def changed_without(rows: Sequence[tuple], row: int, holes: Callable) -> int:
    """How many sets of facts are answered otherwise, or not at all, when a row is taken out."""
    names = list(decide.FACTS)
    fewer = [one for place, one in enumerate(rows) if place != row]
    unanswered = [list(facts) for facts in holes(fewer, names)]
    others = [facts for facts in decide.holes([], names) if facts not in unanswered]
    changed = [
        facts for facts in others if decide.first_row(rows, facts) != decide.first_row(fewer, facts)
    ]
    return len(unanswered) + len(changed)


def by_the_tree(report: Report) -> str:
    """The document's tree for a report, with resources and budget that are always sufficient."""
    return SFT if report.clear else "SFT + RLHF"


def agreement(reports: Iterable[Report]) -> dict[str, int]:
    """How many teams did what the tree says, and what the table says.

    RLHF and DPO stand for learning from comparisons after SFT, by whatever method.
    """
    from_comparisons = {decide.SFT_DPO, PPO, decide.SFT_DPO_RL}
    found = {"tree": 0, "table": 0}
    for report in reports:
        tree = by_the_tree(report)
        found["tree"] += report.did == tree or (tree != SFT and report.did in from_comparisons)
        table = decide.decide(report.situation).method
        found["table"] += report.did == table or {report.did, table} <= from_comparisons
    return found


# Pictures -----------------------------------------------------------------------------------------


def draw_needs(axes: Sequence[Axes]) -> None:
    """One axis for each quantity: a bar for each need, by method."""
    for ax, (quantity, unit) in zip(axes, rules.UNITS.items()):
        needs = [need for need in NEEDS if need.quantity == quantity]
        ends = [end for need in needs for end in need.range[:2] if end != float("inf")]
        for need in needs:
            low, high = need.range.low, min(need.range.high, OPEN_END * max(ends))
            y = METHODS[::-1].index(need.method)
            ax.plot([low, high], [y, y], color=COLORS[need.method], linewidth=9, alpha=0.5)
        label = quantity if quantity == unit else f"{quantity}, {unit}"
        ax.set(xscale="log", xlabel=label, ylim=(-0.6, 2.6))
        ax.set_yticks(range(3), METHODS[::-1])


def draw_shares(ax: Axes, shares: Mapping, colors: Sequence[str]) -> None:
    """Bars for clear and subjective answers, one for each reading."""
    kinds = ("subjective", "clear")
    for offset, (reading, by_answers), color in zip((0.2, -0.2), shares.items(), colors):
        places = [place + offset for place in range(2)]
        ax.barh(places, [by_answers[kind] for kind in kinds], 0.36, color=color, label=reading)
    ax.set_yticks(range(2), [f"{kind} answers" for kind in kinds])
    ax.set(xlabel="share of the cases that are left without a method", xlim=(0, 1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def draw_rows(ax: Axes, rows: Sequence[decide.Row], changed: Sequence[int], color: str) -> None:
    """A bar for each row of the table: how many sets of facts it decides by itself."""
    labels = [
        ", ".join([*row.present, *(f"no {name}" for name in row.absent)]) or "anything else"
        for row in rows
    ]
    ax.barh(range(len(rows))[::-1], changed, color=color)
    ax.set_yticks(range(len(rows))[::-1], labels, fontsize="small")
    ax.set(xlabel="sets of facts that are answered otherwise without the row")
