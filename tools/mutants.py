"""Single faults planted in the RLHF methods, and whether the tests notice: `make mutants`.

A fault is one text of a file replaced by another (tools/faults.py). It is killed if a test of the
fast suite fails, breaks or hangs. The result goes to labs/results/mutants.json with a digest of the
methods, their tests and the faults, and `make test` asks for a new one when any of them changes.
Exits with 1 if too few are killed. `python tools/mutants.py gae` tries only the faults with that
word in them, and writes nothing.
"""

import ast
import hashlib
import importlib.abc
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import mutants_after_ppo
from faults import ENOUGH, fates, judge_all, killed, written

ROOT = Path(__file__).resolve().parents[1]
METHODS = ROOT / "labs" / "methods"
NAMES = "arguments", "kl", "tokens", "best_of_n", "reward", "rollouts", "optimize", "ppo"
TESTS = [*(f"tests/unit/test_{name}.py" for name in NAMES), "tests/oracle/test_ppo_trl.py"]
OWN_TESTS = {  # of files that stand by themselves: no other test has to run
    "dpo.py": ["unit/test_dpo.py", "oracle/test_dpo_trl.py", "oracle/test_kto_trl.py"],
    "grpo.py": ["unit/test_grpo.py", "oracle/test_grpo_trl.py", "oracle/test_rloo_trl.py"],
    "distill.py": ["unit/test_distill.py", "oracle/test_distill_trl.py"],
    "verifiers.py": ["unit/test_verifiers.py"],
    "reference.py": ["unit/test_reference.py"],
}
FILE = ROOT / "labs" / "results" / "mutants.json"
TIMEOUT_SECONDS = 120

# {file: {fault: (old text, new text)}}
FAULTS: dict[str, dict[str, tuple[str, str]]] = {
    "tokens.py": {
        "labels padded as tokens: padding counts": (
            "pad([labels for _, labels in examples], IGNORE)",
            "pad([labels for _, labels in examples], pad_id)",
        ),
        "labels that are not one for each id": (
            "if any(len(ids) != len(labels) for ids, labels in examples):",
            "if False:",
        ),
        "values that are not one for each place": (
            "if [len(row) for row in values] != counts.sum(-1).tolist():",
            "if False:",
        ),
        "the entropy's sign": ("return -(log_probs.exp()", "return (log_probs.exp()"),
        "the entropy of a token that is ruled out": (
            "log_probs.where(log_probs > -torch.inf, 0)",
            "log_probs",
        ),
        "the score on every token": (
            "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
            "return counts",
        ),
        "the score on the first token": (
            "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
            "return counts & (counts.cumsum(-1) == 1)",
        ),
        "the score on the token before the last": (
            "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
            "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 2)",
        ),
        "the score behind the response too": (
            "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
            "return counts.flip(-1).cumsum(-1).flip(-1) <= 1",
        ),
        "the mean over padding too": (
            "return values.where(counts, 0).sum() / counts.sum()",
            "return values.where(counts, 0).mean()",
        ),
        "padding in the sum": (
            "return values.where(counts, 0).sum() / counts.sum()",
            "return values.sum() / counts.sum()",
        ),
        "padding times 0 in the sum": (
            "return values.where(counts, 0).sum() / counts.sum()",
            "return (values * counts).sum() / counts.sum()",
        ),
        "whitening without the mean": (
            "centred = values - masked_mean(values, counts)",
            "centred = values",
        ),
        "whitening with the mean's rounding": (
            "centred = centred - masked_mean(centred, counts)",
            "centred = centred - 0",
        ),
        "whitening by the variance": ("(variance + 1e-8).sqrt()", "(variance + 1e-8)"),
        "whitening without its small number": ("(variance + 1e-8).sqrt()", "variance.sqrt()"),
        "whitened padding": (
            "(variance + 1e-8).sqrt()).where(counts, 0)",
            "(variance + 1e-8).sqrt())",
        ),
    },
    "rollouts.py": {
        "no temperature": ("(output.logits[:, -1] / temperature)", "(output.logits[:, -1])"),
        "the most probable token, not a sample": (
            "torch.multinomial(choices.exp(), 1)",
            "choices.argmax(-1, keepdim=True)",
        ),
        "the stop token cut off": (
            "row.index(stop_id) + 1 if stop_id in row",
            "row.index(stop_id) if stop_id in row",
        ),
        "positions count the padding": (
            "positions, cache, open_rows = (real.cumsum(-1) - 1).clamp(min=0)",
            "positions, cache, open_rows = torch.arange(real.shape[1], device=real.device).expand(real.shape)",
        ),
        "positions stand still": ("positions[:, -1:] + 1", "positions[:, -1:]"),
        "the mask forgets the new token": (
            "real.new_ones(len(real), 1)",
            "real.new_zeros(len(real), 1)",
        ),
        "sampling ends with the first response": (
            "if not open_rows.any():",
            "if not open_rows.all():",
        ),
        "temperature left out of the recomputed log-probabilities": (
            "token_log_probs(logits / temperature, labels)",
            "token_log_probs(logits, labels)",
        ),
        "log-probabilities multiplied by the temperature": (
            "token_log_probs(logits / temperature, labels)",
            "token_log_probs(logits * temperature, labels)",
        ),
        "sampling at another temperature than the update's": (
            "pad_id=pad_id, temperature=temperature) rows",
            "pad_id=pad_id)\n    rows",
        ),
        "counts shifted by one": (
            "counts = labels[:, 1:] != IGNORE",
            "counts = labels[:, :-1] != IGNORE",
        ),
        "scores that are not finite are let through": (
            "if not torch.isfinite(scores).all():",
            "if False:",
        ),
        "policy in the place of the reference": (
            "ref_log_probs = log_probs_by_length(reference,",
            "ref_log_probs = log_probs_by_length(policy,",
        ),
        "rows of a batch stay in the order of their length": (
            "torch.cat(tables)[order.argsort()]",
            "torch.cat(tables)",
        ),
        "rows put back the wrong way": (
            "torch.cat(tables)[order.argsort()]",
            "torch.cat(tables)[order]",
        ),
        "rows cut at the first one's end": ("int(ends[rows].max())", "int(ends[rows].min())"),
        "padding on the left taken for an end": (
            "(real * torch.arange(1, longest + 1, device=real.device)).amax(-1)",
            "real.sum(-1)",
        ),
        "tables filled up on the left": (
            "functional.pad(table, (0, longest - end))",
            "functional.pad(table, (longest - end, 0))",
        ),
        "every row read with the longest": ("tensor[rows, :end]", "tensor[rows]"),
        "all rows at once": ("order.split(ROWS_AT_ONCE)", "order.split(len(order))"),
        "no temperature in a large batch": (
            "response_log_probs(model, *some, temperature)",
            "response_log_probs(model, *some, 1.0)",
        ),
        "rows cut one token short": (
            "int(self.real[rows].sum(-1).max())",
            "int(self.real[rows].sum(-1).max()) + 1",
        ),
        "rows cut to the shortest": (
            "int(self.real[rows].sum(-1).max())",
            "int(self.real[rows].sum(-1).min())",
        ),
        "one pass": ("for _ in range(passes):", "for _ in range(1):"),
        "the same rows in every minibatch": (
            "yield from torch.randperm(len(rollout.ids), device=rollout.ids.device).split(size)",
            "order = torch.randperm(len(rollout.ids), device=rollout.ids.device).split(size)\n"
            "        yield from [order[0]] * len(order)",
        ),
        "the KL per token, not per response": (
            "kl.k1(rollout.log_probs, rollout.ref_log_probs).sum(-1).mean()",
            "kl.k1(rollout.log_probs, rollout.ref_log_probs).mean()",
        ),
    },
    "models.py": {
        "left padding without a mask": ("if real[:, 0].all():", "if True:"),
        "left padding for every model": (
            'if "position_ids" not in _arguments(model):',
            "if False:",
        ),
        "dropout stays": ("part.training = False", "pass"),
        "dropout does not come back": ("part.training = True", "pass"),
        "a head as wide as the hidden state": ("if output is None else output.weight.shape[1]", ""),
        "a prompt may be too long by one": (
            "ids.shape[1] + room > context",
            "ids.shape[1] + room > context + 1",
        ),
        "the response needs no room": ("ids.shape[1] + room > context", "ids.shape[1] > context"),
        "the first id behind the vocabulary is let through": (
            "ids.max() < len(embeddings.weight)",
            "ids.max() <= len(embeddings.weight)",
        ),
        "negative ids are let through": ("not 0 <= ids.min() <= ids.max()", "not ids.max()"),
    },
    "arguments.py": {
        "any shapes": ("if len({tensor.shape for", "if False and len({tensor.shape for"),
        "any sizes": ("if not fits: wanted", "if False:\n        wanted"),
        "a table fits any": ("len(sizes) == tensor.dim() and", ""),
        "counts may be numbers": ("if counts.dtype != torch.bool:", "if False:"),
        "one less will do": (
            "operator.index(value) >= least",
            "operator.index(value) >= least - 1",
        ),
        "0 is positive": ("if not 0 < value", "if not 0 <= value"),
        "infinity will do": ('0 < value < float("inf")', '0 < value <= float("inf")'),
        "infinity will do from 0": ('0 <= value < float("inf")', '0 <= value <= float("inf")'),
        "anything from below 0": ("if not 0 <= value <", "if not value <"),
        "a row without an end": ("if len(empty :=", "if False and len(empty :="),
    },
    "optimize.py": {
        "a loss that is not finite is let through": (
            '_check_finite("loss", losses[-1], len(losses), refusal)',
            "pass",
        ),
        "a gradient that is not finite is let through": (
            '_check_finite("gradient\'s norm", gradient_norm(optimizer), len(losses), refusal)',
            "pass",
        ),
        "any loss will do": ("check_loss(value)", "pass"),
        "gradients pile up": ("optimizer.zero_grad()", "pass"),
        "no step": ("optimizer.step()", "pass"),
    },
    "ppo.py": {
        # rollout
        "values shifted by one": (
            "critic(rollout.ids, rollout.real)[:, :-1]",
            "critic(rollout.ids, rollout.real)[:, 1:]",
        ),
        "values of the prompt kept": (
            "critic(rollout.ids, rollout.real)[:, :-1].where(counts, 0)",
            "critic(rollout.ids, rollout.real)[:, :-1]",
        ),
        "beta left out of the rewards": ("counts, config.beta", "counts, 1.0"),
        "the estimator asked for is not used": (
            "estimator = estimator or generalised(",
            "estimator = generalised(",
        ),
        "gamma and lambda swapped": (
            "generalised(config.gamma, config.lam)",
            "generalised(config.lam, config.gamma)",
        ),
        "advantages not whitened": (
            "advantages=whiten(advantages, counts)",
            "advantages=advantages",
        ),
        "the returns are the rewards": (
            "advantages=whiten(advantages, counts), returns=returns",
            "advantages=whiten(advantages, counts), returns=rewards",
        ),
        # rewards
        "the penalty is earned": (
            "penalty = beta * (log_probs - ref_log_probs)",
            "penalty = beta * (ref_log_probs - log_probs)",
        ),
        "the penalty is k3": (
            "penalty = beta * (log_probs - ref_log_probs)",
            "penalty = beta * kl.k3(log_probs, ref_log_probs)",
        ),
        "the penalty is |log-ratio|": (
            "penalty = beta * (log_probs - ref_log_probs)",
            "penalty = beta * (log_probs - ref_log_probs).abs()",
        ),
        "the prompt is paid": (
            "scores.unsqueeze(-1) - penalty).where(counts, 0)",
            "scores.unsqueeze(-1) - penalty)",
        ),
        "the next value is not discounted": (
            "rewards[:, t] + gamma * next_value - values[:, t]",
            "rewards[:, t] + next_value - values[:, t]",
        ),
        "no next value": (
            "rewards[:, t] + gamma * next_value - values[:, t]",
            "rewards[:, t] - values[:, t]",
        ),
        "the value added": (
            "gamma * next_value - values[:, t]",
            "gamma * next_value + values[:, t]",
        ),
        "gamma left out of the decay": (
            "delta + gamma * lam * following",
            "delta + lam * following",
        ),
        "lambda left out of the decay": (
            "delta + gamma * lam * following",
            "delta + gamma * following",
        ),
        "the advantage runs on past the end": (
            "(delta + gamma * lam * following).where(counts[:, t], 0)",
            "delta + gamma * lam * following",
        ),
        "the critic bootstraps past the end": (
            "next_value = values[:, t].where(counts[:, t], 0)",
            "next_value = values[:, t]",
        ),
        "the time runs forwards": (
            "for t in reversed(range(rewards.shape[1])):",
            "for t in range(rewards.shape[1]):",
        ),
        "the returns without the values": (
            "return advantages, (advantages + values).where(counts, 0)",
            "return advantages, advantages",
        ),
        "the returns of padding": (
            "return advantages, (advantages + values).where(counts, 0)",
            "return advantages, advantages + values",
        ),
        "sequence level with the last value": (
            "first = counts & (counts.cumsum(-1) == 1)",
            "first = last_token(counts)",
        ),
        "sequence level without its baseline": (
            "(total - (values * first).sum(-1, keepdim=True)).where(counts, 0)",
            "total.where(counts, 0)",
        ),
        "group mean over all groups": (
            "total.view(-1, size).mean(-1)",
            "total.mean().expand(len(total) // size)",
        ),
        "group mean of other rows": (
            "total.view(-1, size).mean(-1)",
            "total.view(size, -1).mean(0)",
        ),
        "old over new": (
            "ratio = (log_probs - old_log_probs).exp()",
            "ratio = (old_log_probs - log_probs).exp()",
        ),
        "the ratio stays a logarithm": (
            "ratio = (log_probs - old_log_probs).exp()",
            "ratio = log_probs - old_log_probs",
        ),
        "no ratio": ("ratio = (log_probs - old_log_probs).exp()", "ratio = log_probs.exp()"),
        "the larger gain": ("gain = torch.minimum(gain,", "gain = torch.maximum(gain,"),
        "always clipped": (
            "gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantages)",
            "gain = ratio.clamp(1 - clip, 1 + clip) * advantages",
        ),
        "clipped from above only": (
            "ratio.clamp(1 - clip, 1 + clip) * advantages",
            "ratio.clamp(max=1 + clip) * advantages",
        ),
        "clipped from below only": (
            "ratio.clamp(1 - clip, 1 + clip) * advantages",
            "ratio.clamp(min=1 - clip) * advantages",
        ),
        "never clipped": (
            'if clip is not None: check_from_0("clip", clip) gain',
            "if False:\n        gain",
        ),
        "the sign of the policy's loss": (
            "return -masked_mean(gain, counts)",
            "return masked_mean(gain, counts)",
        ),
        "the ratio detached": ("gain = ratio * advantages", "gain = ratio.detach() * advantages"),
        "the policy's loss over padding too": (
            "return -masked_mean(gain, counts)",
            "return -gain.mean()",
        ),
        "the value held around the returns": (
            "held = old_values + (values - old_values).clamp(-clip, clip)",
            "held = returns + (values - returns).clamp(-clip, clip)",
        ),
        "the value clipped, not its move": (
            "held = old_values + (values - old_values).clamp(-clip, clip)",
            "held = values.clamp(-clip, clip)",
        ),
        "the smaller error": ("error = torch.maximum(", "error = torch.minimum("),
        "the half missing": (
            "return masked_mean(error, counts) / 2",
            "return masked_mean(error, counts)",
        ),
        "the update at another temperature": (
            "logits = logits / config.temperature",
            "logits = logits / 1",
        ),
        "old log-probabilities recomputed": (
            "clipped_surrogate(log_probs, old,",
            "clipped_surrogate(log_probs, log_probs.detach(),",
        ),
        "the reference in the place of the old policy": (
            "part.counts, part.log_probs",
            "part.counts, part.ref_log_probs",
        ),
        "rewards in the place of the returns": (
            "part.values, part.returns,",
            "part.values, part.rewards,",
        ),
        "values in the place of the old values": (
            "value_loss(values, part.values,",
            "value_loss(values, values.detach(),",
        ),
        "the values detached": (
            "critic(part.ids, part.real)[:, :-1].where(counts, 0)",
            "critic(part.ids, part.real)[:, :-1].where(counts, 0).detach()",
        ),
        "the critic left out of the loss": (
            "return policy_loss + critic_loss, metrics",
            "return policy_loss, metrics",
        ),
        "the critic's loss subtracted": (
            "return policy_loss + critic_loss, metrics",
            "return policy_loss - critic_loss, metrics",
        ),
        "an advantage that is not finite is let through": (
            "if not (advantages + returns)[counts].isfinite().all():",
            "if False:",
        ),
        "groups that do not come out even": ("if len(rewards) % size:", "if False:"),
        "returns that do not vary are explained": (
            "if spread.numel() < 2 or spread.std() <= 1e-6 * spread.abs().max():",
            "if False:",
        ),
        "the critic drops out": ("with evaluating(critic):", "if True:"),
        "the update drops out": ("with evaluating(policy, critic):", "if True:"),
        "the approximate KL turned round": ("kl.k3(old, log_probs)", "kl.k3(log_probs, old)"),
        "the clip fraction of one side": (
            "((log_probs - old_log_probs).exp() - 1).abs() > clip",
            "((log_probs - old_log_probs).exp() - 1) > clip",
        ),
        "the clip fraction of logarithms": (
            "((log_probs - old_log_probs).exp() - 1).abs() > clip",
            "(log_probs - old_log_probs - 1).abs() > clip",
        ),
        "the explained variance upside down": (
            "error.var() / spread.var()",
            "spread.var() / error.var()",
        ),
        "the explained variance of padding": (
            "(returns - values)[counts], returns[counts]",
            "(returns - values), returns[counts]",
        ),
        "the reference is the policy itself": (
            "reference = reference_of(policy)",
            "reference = policy",
        ),
        "the critic does not train": (
            "itertools.chain(policy.parameters(), critic.parameters())",
            "policy.parameters()",
        ),
        "the policy does not train": (
            "itertools.chain(policy.parameters(), critic.parameters())",
            "critic.parameters()",
        ),
        "no update": (
            "metrics = update(rollout, policy, critic,",
            "metrics = update(rollout, copy.deepcopy(policy), copy.deepcopy(critic),",
        ),
    },
    "reward.py": {
        "the reward read in the last column": (
            "positions.where(real, -1).argmax(-1, keepdim=True)",
            "positions.expand(real.shape).argmax(-1, keepdim=True)",
        ),
        "the choice the wrong way round": (
            "-logsigmoid(chosen - rejected).mean()",
            "-logsigmoid(rejected - chosen).mean()",
        ),
        "the log of the mean": (
            "-logsigmoid(chosen - rejected).mean()",
            "-(chosen - rejected).sigmoid().mean().log()",
        ),
        "pairs in both orders": (
            "itertools.combinations(range(rewards.shape[1]), 2)",
            "itertools.permutations(range(rewards.shape[1]), 2)",
        ),
        "the head starts at random": (
            "nn.init.zeros_(self.head.weight)",
            "nn.init.normal_(self.head.weight)",
        ),
        "the body is shared with the policy": (
            "self.body = copy.deepcopy(model.base_model)",
            "self.body = model.base_model",
        ),
        "equal rewards count as right": ("[better > worse for row", "[better >= worse for row"),
        "the same order in every epoch": (
            "order = rng.sample(rankings, len(rankings))",
            "order = list(rankings)",
        ),
    },
    "kl.py": {
        "k3 without −1": (
            "(log_q - log_p).expm1() - (log_q - log_p)",
            "(log_q - log_p).exp() - (log_q - log_p)",
        ),
        "k3 of the other direction": (
            "(log_q - log_p).expm1() - (log_q - log_p)",
            "(log_p - log_q).expm1() - (log_p - log_q)",
        ),
        "k1's sign": ("return log_p - log_q", "return log_q - log_p"),
        "the divergence weighted by q": ("return (log_p.exp() *", "return (log_q.exp() *"),
        "a token that p rules out counts": (
            "(log_p - log_q).where(log_p > -torch.inf, 0)",
            "(log_p - log_q)",
        ),
    },
    "best_of_n.py": {
        "the worst of n": ("rewards.argmax(-1)", "rewards.argmin(-1)"),
        "one response too few": (
            "math.comb(i, n - 1) / math.comb(m, n)",
            "math.comb(i, n) / math.comb(m, n)",
        ),
        "the divergence without its second term": ("math.log(n) - (n - 1) / n", "math.log(n)"),
    },
}
FAULTS |= mutants_after_ppo.FAULTS


class Planted(NamedTuple):
    """A method's file with one fault in it. fault: with the file's name"""

    file: str
    fault: str
    source: str


def planted() -> list[Planted]:
    return [
        Planted(file, f"{file}: {mutant.fault}", mutant.source)
        for file, faults in FAULTS.items()
        for mutant in written((METHODS / file).read_text("utf8"), faults)
    ]


class Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module of methods with a fault in it."""

    def __init__(self, case: Planted):
        self.case = case

    def find_spec(self, name, path, target=None):
        if name == f"methods.{Path(self.case.file).stem}":
            origin = str(METHODS / self.case.file)
            return importlib.util.spec_from_loader(name, self, origin=origin)

    def exec_module(self, module):
        exec(compile(self.case.source, module.__spec__.origin, "exec"), module.__dict__)


def passes(case: Planted | None) -> bool:
    """Whether the tests pass with the fault."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    if case:
        sys.meta_path.insert(0, Faulty(case))
    chosen = tests(case.file) if case else all_tests()
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", *map(str, chosen)]) == 0


def tests(file: str) -> list[Path]:
    """The tests that a fault in this file is given to; the oracle is not in every copy of the
    course."""
    own = [f"tests/{test}" for test in OWN_TESTS.get(file, ())]
    return [path for path in (ROOT / test for test in own or TESTS) if path.exists()]


def all_tests() -> list[Path]:
    return list(dict.fromkeys(path for file in FAULTS for path in tests(file)))


# The stored result --------------------------------------------------------------------------------


def digest() -> str:
    """Of the methods that have faults, their tests and the faults; blind to docstrings, comments
    and formatting."""
    files = [METHODS / file for file in sorted(FAULTS)]
    code = [without_docstrings(path) for path in [*files, *all_tests()]]
    return hashlib.sha256("\n".join([*code, repr(FAULTS)]).encode()).hexdigest()[:12]


def without_docstrings(path: Path) -> str:
    tree = ast.parse(path.read_text("utf8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return repr(skeleton(tree))


def skeleton(node):
    """A syntax tree as nested tuples that are the same in every version of Python."""
    if isinstance(node, list):
        return [skeleton(element) for element in node]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return type(node).__name__, [
        (name, skeleton(value)) for name, value in fields if name != "kind"
    ]


def main(words: list[str]) -> int:
    chosen = [case for case in planted() if all(word in case.fault for word in words)]
    if not all(judge_all(passes, [None], 5 * TIMEOUT_SECONDS)):  # it runs all of the tests
        sys.exit("the tests fail without any fault: run make test first")
    began, survived = time.perf_counter(), []
    for case, passed in zip(chosen, judge_all(passes, chosen, TIMEOUT_SECONDS)):
        if passed:
            survived.append(case.fault)
        print(f"{'SURVIVED' if passed else 'killed  '} {case.fault}", flush=True)
    count = len(chosen) - len(survived)
    figures = {"mutants": len(chosen), "killed": count, **fates(survived, equivalent={})}
    seconds = time.perf_counter() - began
    print(f"{count} of {len(chosen)} killed ({killed(figures):.1%}) in {seconds:.0f} s")
    if not words:
        record = {"digest": digest(), **figures}
        write_whole(FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0 if killed(figures) >= ENOUGH else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "labs"), str(ROOT / "tests" / "unit")]
    import pytest
    import torch
    import transformers  # noqa: F401  (its import takes seconds)
    from course.store import write_whole
    from transformers import LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
