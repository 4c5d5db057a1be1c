"""How well the checks tell right from wrong: `python tools/strength.py` measures it for every
exercise.

Each exercise's checks judge its stub, its reference, its wrong solutions (labs/checks), its right
ones (tests/unit/right), and all mutants of the reference, copies with one fault each
(tools/faults.py). The counts go to labs/results/checks/strength.json, which the page for
instructors shows. Exits with 1 if a goal is missed. `python tools/strength.py ppo.gae` measures the
exercises whose id begins so and keeps the counts of the others; all of them take five minutes.
"""

import functools
import inspect
import json
import operator
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "labs"), str(ROOT / "tests" / "unit")]

import torch
from banks import right_solutions, wrong_solutions
from blind_bank import ACCEPTED_AT_FIRST, EXCUSED, blind_answers
from checks.shared import public_calls
from course.learner import NOTEBOOK_SEED
from course.registry import all_ids, find, run_checks
from course.store import write_whole
from faults import ENOUGH, Mutant, fates, judge_all, killed, mutants
from methods import models

from grading import notebook
from grading.course import digest_of_checks

FILE = ROOT / "labs" / "results" / "checks" / "strength.json"
# Not the notebook's own seed: a solution that knows its answers by heart is right there.
SEEDS = range(NOTEBOOK_SEED + 1, NOTEBOOK_SEED + 21)
SEEDS_OF_A_MUTANT = SEEDS[:3]
TIMEOUT_SECONDS = 60  # a mutant may loop for ever
# Given rows padded on the right, as here, it hands on the ids and does no more.
NOT_MUTATED = {models.inputs}

# Mutants that no check can tell from the reference, by exercise and fault, and why.
SAME_SHAPE = "both arguments have one shape, and here one device"
A_LENGTH = "only the length of it is asked, and a length has no gradient"
ANY_WIDTH = "the exercise leaves open how widely A is spread"
ANY_RANK = "the exercise does not ask what becomes of a rank that the matrix cannot have"
A_PRODUCT = "a product is the same in any order"
EITHER_WAY = "math.isclose is the same in either order"
FOR_EACH = "every argument but the loss has one entry for each process"
SOME_TOKEN = "some token counts: the docstring promises it"
A_NUMBER = "a tensor of one number is a number, too"
A_SQUARE = "a square is the same for both signs"
ONE_DEVICE = "here everything is on one device"
NOTHING_SUCH = "the exercise does not ask what becomes of no example, or of labels that do not fit"
OVERWRITTEN = "what is put there is overwritten before anybody reads it"
ROUNDING = "the groups are compared with a mean of their own afterwards: only rounding differs"
ONE_PART = "so few rows are read in one part, in any order; test_rollouts has more of them"
IN_A_SUM = "the table is summed over its columns at once: zeros beside it change nothing"
ON_THE_RIGHT = "the rows are padded on the right, where nobody looks"
BY_LENGTH = {
    "order, longest = (ids.sum(-1).argsort(), ids.shape[1])": ONE_PART,
    "order, longest = (labels.sum(-1).argsort(), ids.shape[1])": ONE_PART,
    "order, longest = (real.sum(-1).argsort(), real.shape[1])": SAME_SHAPE,
    "ends = (real * torch.arange(1, longest + 1, device=ids.device)).amax(-1)": ONE_DEVICE,
    "ends = (real * torch.arange(1, longest + 1, device=labels.device)).amax(-1)": ONE_DEVICE,
    "some = (tensor[rows, :end] for tensor in (ids, ids, labels))": ON_THE_RIGHT,
    "some = (tensor[rows, :end] for tensor in (ids, labels, labels))": ON_THE_RIGHT,
}
BY_LENGTH = {
    f"log_probs_by_length: other argument: {line}": why for line, why in BY_LENGTH.items()
} | {
    "log_probs_by_length: step left out: ends = real * torch.arange(1, longest + 1, device=real.device)": ONE_PART,
    "log_probs_by_length: loop ends early: break": ONE_PART,
    "log_probs_by_length: step left out: end = ends[rows].max()": "a tensor of one number is an index as well",
    "log_probs_by_length: off by one: some = (tensor[rows, :end + 1] for tensor in (ids, real, labels))": ONE_PART,
    "log_probs_by_length: order: tables.append(functional.pad(table, (longest - end, 0)))": IN_A_SUM,
    "log_probs_by_length: constant: tables.append(functional.pad(table, (1, longest - end)))": IN_A_SUM,
    "log_probs_by_length: sign: tables.append(functional.pad(table, (0, longest + end)))": IN_A_SUM,
    "log_probs_by_length: order: tables.append(functional.pad(table, (0, end - longest)))": IN_A_SUM,
    "log_probs_by_length: part left out: tables.append(functional.pad(table, (0, longest)))": IN_A_SUM,
}
WHOLE_GROUPS = "the exercise does not ask what becomes of scores that are no whole groups"
NO_CACHE = "the cache keeps what was computed and changes no number"
OF_GROUPS = {
    "in_groups: statement left out: raise ValueError(…)": WHOLE_GROUPS,
    "in_groups: sign: return groups + groups[:, :1]": ROUNDING,
    "in_groups: part left out: return groups": ROUNDING,
}
EQUIVALENT: dict[str, dict[str, str]] = {
    "after.constant_mean": {
        "other argument: return values.where(counts, 0).sum() / (len(counts) * longest)": SAME_SHAPE,
        "detached: return values.where(counts, 0).sum() / (len(values.detach()) * longest)": A_LENGTH,
    },
    "after.group_advantages": OF_GROUPS,
    "after.leave_one_out": OF_GROUPS,
    "after.reference_logits": {
        "detached: return policy(input_ids=ids, use_cache=False).logits.detach()": "there is no gradient any more that could be cut off",
        "constant: return policy(input_ids=ids, use_cache=True).logits": NO_CACHE,
    },
    "after.silent_bug": BY_LENGTH
    | {
        "step left out: ids, real, labels = (tensor for tensor in (ids, real, labels))": ONE_DEVICE,
        "pad_id taken to be 0: pad_id = 0": "whatever stands on padding is never read",
        "join: constant: examples = [mask_prompt(*pair) for pair in zip(prompts, responses, strict=False)]": "there are as many prompts as responses",
    },
    "after.verifier": {
        "constant: return 1.0": "no prompt is without two numbers",
        "step left out: return response.split() == [*str(total), '<eos>']": "True is 1 and False is 0",
    },
    "cost.cache_bytes": {
        "layers and kv_heads exchanged: return 2 * kv_heads * layers * head * rows * length * size": A_PRODUCT,
        "kv_heads and head exchanged: return 2 * layers * head * kv_heads * rows * length * size": A_PRODUCT,
        "head and rows exchanged: return 2 * layers * kv_heads * rows * head * length * size": A_PRODUCT,
        "rows and length exchanged: return 2 * layers * kv_heads * head * length * rows * size": A_PRODUCT,
        "length and size exchanged: return 2 * layers * kv_heads * head * rows * size * length": A_PRODUCT,
    },
    "data.label_hours": {
        "items and minutes exchanged: return minutes * items * judgements / 60": A_PRODUCT,
        "minutes and judgements exchanged: return items * judgements * minutes / 60": A_PRODUCT,
    },
    "failures.energy_left": {
        "sign: energies = -torch.linalg.svdvals(change).square()": "the sign cancels in the share",
        "step left out: everything = energies.sum()": A_NUMBER,
        "step left out: return energies[rank:].sum() / everything if everything else 0.0": A_NUMBER,
    },
    "lora.initialise": {
        "sign: A = -torch.empty(rank, d_in).uniform_(-1 / math.sqrt(d_in), 1 / math.sqrt(d_in))": "A is as likely as -A",
        "other argument: A = torch.empty(rank, d_in).uniform_(-1 / math.sqrt(d_out), 1 / math.sqrt(d_in))": ANY_WIDTH,
        "other argument: A = torch.empty(rank, d_in).uniform_(-1 / math.sqrt(d_in), 1 / math.sqrt(d_out))": ANY_WIDTH,
    },
    "lora.parameters": {
        "comparison: if not 1 < rank <= min(d_out, d_in):": ANY_RANK,
        "comparison: if not 1 <= rank < min(d_out, d_in):": ANY_RANK,
        "constant: if not 0 <= rank <= min(d_out, d_in):": ANY_RANK,
        "other function: if not 1 <= rank <= max(d_out, d_in):": ANY_RANK,
        "other argument: if not 1 <= rank <= min(d_in, d_in):": ANY_RANK,
        "other argument: if not 1 <= rank <= min(d_out, d_out):": ANY_RANK,
        "other argument: if not 1 <= rank <= min(d_out, rank):": ANY_RANK,
        "statement left out: raise ValueError(…)": ANY_RANK,
        "d_out and d_in exchanged: if not 1 <= rank <= min(d_in, d_out):; raise ValueError(…); return rank * (d_in + d_out)": "a sum and a minimum are the same in either order",
    },
    "lora.update": {"detached: return x @ A.T @ B.T * (alpha / len(A.detach()))": A_LENGTH},
    "outgrow.diagnosed": {
        "other argument: if len(set(seeds)) < len(rows):": FOR_EACH,
        "other argument: if len(set(seeds)) < len(parameters):": FOR_EACH,
        "order: if not _same(max(parameters), min(parameters)):": EITHER_WAY,
        "constant: own = [total / count for total, count in zip(loss_sums, counts, strict=False)]": FOR_EACH,
        "order: return MEAN_OF_MEANS if _same(means, loss) and (not _same(loss, whole)) else RIGHT": EITHER_WAY,
        "order: return MEAN_OF_MEANS if _same(loss, means) and (not _same(whole, loss)) else RIGHT": EITHER_WAY,
        "_same: sign: return -math.isclose(one, other, rel_tol=1e-06)": "-True is as true as True, and -False is as false as False",
        "_same: order: return math.isclose(other, one, rel_tol=1e-06)": EITHER_WAY,
    },
    "outgrow.part_weights": {"statement left out: raise ValueError(…)": SOME_TOKEN},
    "outgrow.rows_of": {
        "step left out: return [order[step + rank:step + batch:size] for step in range(0, last, batch)]": "a slice of a list is a new list"
    },
    "outgrow.silent_bug": {
        "step left out: length = math.sqrt(sum((shard.double().square().sum() for shard in shards)))": A_NUMBER,
        "step left out: length = math.sqrt(sum((shard.square().sum().item() for shard in shards)))": "only rounding differs, and the precision of the result is left open",
        "constant: factor = min(1.0, limit / length) if length else 0.0": "zeros stay zeros, whatever they are multiplied by",
    },
    "outgrow.to_minimise": {
        "step left out: if not counts:": SOME_TOKEN,
        "statement left out: raise ValueError(…)": SOME_TOKEN,
    },
    "pipelines.mixed_batch": {
        "detached: update = torch.einsum('btr,bor->bto', thin, B[adapter]) * (alpha / A.detach().shape[1])": A_LENGTH
    },
    "ppo.gae": {
        "other function: advantages, following, next_value = (torch.randn_like(values), 0.0, 0.0)": OVERWRITTEN,
        "other argument: advantages, following, next_value = (torch.zeros_like(rewards), 0.0, 0.0)": SAME_SHAPE,
        "other argument: for t in reversed(range(values.shape[1])):": SAME_SHAPE,
    },
    "ppo.silent_bug": {
        "constant: logits = model(**inputs(model, ids, real), use_cache=True).logits": NO_CACHE
    },
    "ppo.token_rewards": {
        "last_token: part left out: return counts.flip(-1).cumsum(-1).flip(-1) == 1": "what stands outside of the response is set to 0 behind it"
    },
    "ppo.value_loss": {
        "order: error = torch.maximum((returns - values).square(), (held - returns).square())": A_SQUARE,
        "order: error = torch.maximum((values - returns).square(), (returns - held).square())": A_SQUARE,
    },
    "real.rate": {
        "constant: means = {rate: statistics.fmean(some) for rate, some in zip(rates, losses, strict=False) if all(map(math.isfinite, some))}": "as many losses as rates",
        "step left out: within = means[best] + _standard_error(losses[rates.index(best)])": "rates is a list",
        "order: return (gentlest, best in (max(rates), min(rates)))": "in either order",
    },
    "real.read_values": {
        "off by one: if len(found) != 1 or found[-1].keys() != set(keys):": "there is one object",
        "off by one: return [found[-1][key] for key in keys]": "there is one object",
    },
    "real.silent_bug": {
        "other argument: place = torch.arange(ids.shape[1], device=prompts.device)": "one device"
    },
    "reward.at_end": {
        "other argument: positions = torch.arange(scores.shape[1], device=real.device)": SAME_SHAPE,
        "other argument: positions = torch.arange(real.shape[1], device=scores.device)": SAME_SHAPE,
        "constant: return scores.gather(-1, positions.where(real, 0).argmax(-1, keepdim=True)).squeeze(-1)": "every row has a real token, and no column comes before the one with the number 0",
    },
    "reward.bradley_terry_loss": {
        "other argument: if rejected.numel() == 0:": SAME_SHAPE,
        "detached: if chosen.detach().numel() == 0:": A_LENGTH,
        "statement left out: raise ValueError(…)": "the exercise does not ask what becomes of no pair at all",
    },
    "reward.ranking_loss": {
        "detached: better, worse = zip(*itertools.combinations(range(rewards.detach().shape[1]), 2))": A_LENGTH
    },
    "reward.silent_bug": {
        "statement left out: raise ValueError(…)": "rankings of one K are promised",
        "step left out: ids, real = (ids, real.to(model.device))": ONE_DEVICE,
        "pad: step left out: if not rows or not all((len(row) for row in rows)):": NOTHING_SUCH,
        "pad: step left out: if not len(rows) or not (len(row) for row in rows):": NOTHING_SUCH,
        "pad: other function: if not len(rows) or not any((len(row) for row in rows)):": NOTHING_SUCH,
        "pad: step left out: if not len(rows) or not all((row for row in rows)):": NOTHING_SUCH,
        "pad: statement left out: raise ValueError(…)": NOTHING_SUCH,
        "step left out: ids, real = (ids.to(model.device), real)": ONE_DEVICE,
        "pad_id taken to be 0: pad_id = 0": "whatever stands on padding is never read",
    },
    "sft.silent_bug": {
        "statement left out: raise ValueError(…)": NOTHING_SUCH,
        "statement left out: raise ValueError(…) (2)": NOTHING_SUCH,
        "other function: if all((len(ids) != len(labels) for ids, labels in examples)):": NOTHING_SUCH,
    },
    "sft.token_log_probs": {
        "constant: log_probs = logits.log_softmax(-1).gather(-1, labels.where(counts, 1).unsqueeze(-1)).squeeze(-1)": OVERWRITTEN
    },
}


class Case(NamedTuple):
    """A function to judge. kind: stub, reference, wrong, right, mutant, or blind wrong and blind
    right for answers written without sight of the checks · words: what a wrong one must hear."""

    id: str
    kind: str
    name: str
    make: Callable[[], Callable]
    words: str = ""

    @property
    def seeds(self) -> range:
        return SEEDS_OF_A_MUTANT if self.kind == "mutant" else SEEDS


Verdict = list[tuple[int, str]]  # of each check: points earned, and the mistake


# Cases --------------------------------------------------------------------------------------------


def cases_of(id: str) -> list[Case]:
    reference = find(id).reference
    found = [
        Case(id, "stub", "stub", lambda: stub),
        Case(id, "reference", "reference", lambda: reference),
    ]
    found += [
        Case(id, "wrong", function.__name__, functools.partial(as_it_is, function), words)
        for function, words in wrong_solutions(id)
    ]
    found += [
        Case(id, "right", function.__name__, functools.partial(as_it_is, function))
        for function in right_solutions(id)
    ]
    found += [
        Case(
            id,
            "blind right" if answer.is_right else "blind wrong",
            answer.name,
            functools.partial(as_it_is, answer.function),
        )
        for answer in blind_answers(id)
    ]
    return found + [
        Case(id, "mutant", mutant.fault, functools.partial(build, reference, part, mutant.source))
        for part, mutant in mutants_of(id)
    ]


def stub(*arguments): ...


def as_it_is(function: Callable) -> Callable:
    return function


def mutants_of(id: str) -> list[tuple[Callable, Mutant]]:
    """The mutants of the reference, and of the methods' functions that it calls and that are no
    exercises."""
    reference = find(id).reference
    names = inspect.signature(reference)
    calls = [dict(names.bind(*arguments).arguments) for arguments in public_calls(id)]
    found = [(reference, mutant) for mutant in mutants(source_of(reference), calls)]
    return found + [
        (part, mutant._replace(fault=f"{part.__name__}: {mutant.fault}"))
        for part in helpers(reference)
        for mutant in mutants(source_of(part))
    ]


def helpers(reference: Callable) -> list[Callable]:
    exercises = {find(id).reference for id in all_ids()}
    module = sys.modules[reference.__module__]
    called = [vars(module).get(name) for name in inspect.unwrap(reference).__code__.co_names]
    return [
        function
        for function in called
        if inspect.isfunction(function)
        and function.__module__.startswith("methods.")
        and not function.__name__.startswith("check_")
        and function not in exercises
        and function not in NOT_MUTATED
    ]


def source_of(function: Callable) -> str:
    return inspect.getsource(inspect.unwrap(function))


def build(reference: Callable, part: Callable, source: str) -> Callable:
    """The reference with `source` in the place of one of its parts."""
    names = {"operator": operator, "torch": torch}
    for function in (part, reference):
        names |= vars(sys.modules[function.__module__])
    for text in (source,) if part is reference else (source, source_of(reference)):
        exec(compile(text, f"<{part.__name__}>", "exec"), names)
    return names[reference.__name__]


# Judging ------------------------------------------------------------------------------------------


def judged(case: Case) -> list[Verdict]:
    """The verdict for each seed; of a mutant, only as far as it gets full marks."""
    function, verdicts = case.make(), []
    for seed in case.seeds:
        results = run_checks(find(case.id), function, seed)
        verdicts.append([(result.earned, result.mistake) for result in results])
        if case.kind == "mutant" and not full_marks(verdicts[-1]):
            break
    return verdicts


def full_marks(verdict: Verdict) -> bool:
    return not any(mistake for _, mistake in verdict)


def verdicts_of(cases: list[Case]) -> list[list[Verdict]]:
    return [
        verdicts or [[(0, f"it took longer than {TIMEOUT_SECONDS} s")] * len(find(case.id).checks)]
        for case, verdicts in zip(cases, judge_all(judged, cases, TIMEOUT_SECONDS))
    ]


# Counting -----------------------------------------------------------------------------------------


def entry(id: str, lab: str, found: list[tuple[Case, list[Verdict]]]) -> dict:
    """What is published of one exercise. Lists hold the names of what went wrong, and are empty
    where nothing did."""

    def of(*kinds: str) -> list[tuple[Case, list[Verdict]]]:
        return [(case, verdicts) for case, verdicts in found if case.kind in kinds]

    survived = [case.name for case, verdicts in of("mutant") if all(map(full_marks, verdicts))]
    solutions = of("reference", "wrong", "right")
    return {
        "id": id,
        "lab": lab,
        "points": find(id).points,
        "checks": len(find(id).checks),
        "checks_sha256": digest_of_checks(id),
        "stub_earned": max(earned(verdict) for _, verdicts in of("stub") for verdict in verdicts),
        "reference_failed": sum(
            not full_marks(verdict) for _, verdicts in of("reference") for verdict in verdicts
        ),
        "wrong": len(of("wrong")),
        "accepted": [case.name for case, verdicts in of("wrong") if any(map(full_marks, verdicts))],
        "not_named": [
            case.name
            for case, verdicts in of("wrong")
            if not all(any(case.words in mistake for _, mistake in verdict) for verdict in verdicts)
        ],
        "right": len(of("right")),
        "rejected": [
            case.name for case, verdicts in of("right") if not all(map(full_marks, verdicts))
        ],
        "blind_wrong": len(of("blind wrong")),
        "blind_accepted_at_first": sum(
            (id, name) not in EXCUSED for name in ACCEPTED_AT_FIRST.get(id, [])
        ),
        "blind_accepted": [
            case.name for case, verdicts in of("blind wrong") if any(map(full_marks, verdicts))
        ],
        "blind_right": len(of("blind right")),
        "blind_rejected": [
            case.name for case, verdicts in of("blind right") if not all(map(full_marks, verdicts))
        ],
        "mutants": len(of("mutant")),
        "raising": sum(
            all("raised" in mistake for _, mistake in verdicts[-1]) for _, verdicts in of("mutant")
        ),
        **fates(survived, EQUIVALENT.get(id, {})),
        "verdicts": sum(len(verdicts) for _, verdicts in solutions),
        "flakes": sum(flakes(verdicts) for _, verdicts in solutions),
    }


def earned(verdict: Verdict) -> int:
    return sum(points for points, _ in verdict)


def flakes(verdicts: list[Verdict]) -> int:
    """How many verdicts give other points, in total or to a check, than the most common one
    does."""
    counts = Counter(tuple(points for points, _ in verdict) for verdict in verdicts)
    return len(verdicts) - max(counts.values(), default=0)


def missed(figures: dict) -> list[str]:
    """The goals that an exercise misses."""
    goals = {
        "the stub earns points": figures["stub_earned"],
        "the reference fails": figures["reference_failed"],
        "wrong solutions are accepted": figures["accepted"],
        "mistakes are not named": figures["not_named"],
        "right solutions are rejected": figures["rejected"],
        "wrong answers written blind are accepted": figures["blind_accepted"],
        "right answers written blind are rejected": figures["blind_rejected"],
        "verdicts depend on the seed": figures["flakes"],
        "too many mutants survive": killed(figures) < ENOUGH,
    }
    return [goal for goal, failed in goals.items() if failed]


# The run ------------------------------------------------------------------------------------------


def measure(ids: list[str]) -> list[dict]:
    labs = {id: lab.name for lab in notebook.labs().values() for id in lab.functions}
    cases = [case for id in ids for case in cases_of(id)]
    found = list(zip(cases, verdicts_of(cases)))
    return [entry(id, labs[id], [pair for pair in found if pair[0].id == id]) for id in ids]


def table(many: list[dict]) -> str:
    lines = [
        f"{'exercise':26}{'wrong':>6}{'accepted':>9}{'not named':>10}{'right':>6}{'rejected':>9}{'mutants':>8}"
        f"{'equal':>6}{'survive':>8}{'killed':>8}{'flakes':>9}"
    ]
    for one in many:
        lines.append(
            f"{one['id']:26}{one['wrong']:6}{len(one['accepted']):9}{len(one['not_named']):10}{one['right']:6}"
            f"{len(one['rejected']):9}{one['mutants']:8}{len(one['equivalent']):6}{len(one['survivors']):8}"
            f"{killed(one):8.1%}{one['flakes']:4}/{one['verdicts']}"
        )
    return "\n".join(lines)


def shortcomings(figures: dict) -> list[str]:
    lines = [f"{figures['id']}: {goal}" for goal in missed(figures)]
    for what in (
        "accepted",
        "not_named",
        "rejected",
        "blind_accepted",
        "blind_rejected",
        "survivors",
    ):
        lines += [f"  {what.replace('_', ' ')}: {name}" for name in figures[what]]
    stale = set(EQUIVALENT.get(figures["id"], {})) - set(figures["equivalent"])
    return lines + [
        f"  no longer a survivor, take it out of EQUIVALENT: {name}" for name in sorted(stale)
    ]


def store(measured: list[dict]) -> None:
    """Write what was measured, and keep what is stored of the other exercises that there are."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))["exercises"] if FILE.exists() else []
    entries = {one["id"]: one for one in [*stored, *measured]}
    kept = [entries[id] for id in all_ids() if id in entries]
    record = {"seeds": len(SEEDS), "exercises": kept}
    write_whole(FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def main(words: list[str]) -> int:
    began = time.perf_counter()
    ids = [id for id in all_ids() if not words or id.startswith(tuple(words))]
    if not ids:
        sys.exit(f"no exercise begins with {' or '.join(words)}: there are {', '.join(all_ids())}")
    measured = measure(ids)
    print(table(measured))
    for one in measured:
        for line in shortcomings(one):
            print(line)
    print(f"{len(measured)} exercises in {time.perf_counter() - began:.0f} s")
    store(measured)
    return 1 if any(map(missed, measured)) else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the mutants' own
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
