"""Single-fault versions of the RLHF methods, and whether the tests notice: `make mutants`.

Each mutant is one text of a file replaced by another; how the file is formatted does not matter. It
is killed if a test of the fast suite fails, breaks or hangs. The result goes to
labs/results/mutants.json with a digest of the methods and of the tests, and `make test` asks for a
new one when either changes. Exits with 1 if fewer than 95 % are killed.
`python tools/mutate.py gae` tries only those whose fault holds that word, and writes nothing.
"""

import ast
import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
METHODS = ROOT / "labs" / "methods"
TESTS = [
    f"tests/unit/test_{name}.py" for name in ("kl", "best_of_n", "reward", "sampling", "ppo")
] + ["tests/oracle/test_ppo_trl.py"]
FILE = ROOT / "labs" / "results" / "mutants.json"
TIMEOUT_SECONDS = 120  # a mutant may loop for ever
ENOUGH = 0.95


class Mutant(NamedTuple):
    file: str
    fault: str
    old: str
    new: str
    survives: str = ""  # why no test can tell it from the original


def ppo(fault: str, old: str, new: str, survives: str = "") -> Mutant:
    return Mutant("ppo.py", fault, old, new, survives)


MUTANTS = [
    # log-probabilities and rollout
    ppo(
        "temperature left out of the recomputed log-probabilities",
        "token_log_probs(logits / temperature, labels)",
        "token_log_probs(logits, labels)",
    ),
    ppo(
        "log-probabilities multiplied by the temperature",
        "token_log_probs(logits / temperature, labels)",
        "token_log_probs(logits * temperature, labels)",
    ),
    ppo(
        "sampling at another temperature than the update's",
        "pad_id=pad_id,\n                              temperature=settings.temperature)",
        "pad_id=pad_id)",
    ),
    ppo(
        "labels padded as tokens: padding counts",
        "[labels for _, labels in examples], IGNORE)[0]",
        "[labels for _, labels in examples], pad_id)[0]",
    ),
    ppo(
        "counts shifted by one",
        "counts = labels[:, 1:] != IGNORE",
        "counts = labels[:, :-1] != IGNORE",
    ),
    ppo(
        "scores that are not finite are let through",
        "if not torch.isfinite(scores).all():",
        "if False:",
    ),
    ppo(
        "policy in the place of the reference",
        "ref_log_probs = response_log_probs(reference,",
        "ref_log_probs = response_log_probs(policy,",
    ),
    ppo(
        "values shifted by one",
        "values = critic(ids, real)[:, :-1].where(counts, 0)\n    rewards",
        "values = critic(ids, real)[:, 1:].where(counts, 0)\n    rewards",
    ),
    ppo(
        "values of the prompt kept",
        "values = critic(ids, real)[:, :-1].where(counts, 0)\n    rewards",
        "values = critic(ids, real)[:, :-1]\n    rewards",
    ),
    ppo(
        "the estimator asked for is not used",
        "estimator = estimator or generalised(",
        "estimator = generalised(",
    ),
    ppo(
        "gamma and lambda swapped",
        "generalised(settings.gamma, settings.lam)",
        "generalised(settings.lam, settings.gamma)",
    ),
    ppo(
        "advantages not whitened",
        "advantages=whiten(advantages, counts), returns=returns",
        "advantages=advantages, returns=returns",
    ),
    ppo(
        "the returns are the rewards",
        "returns=returns)\n\n\n# Rewards",
        "returns=rewards)\n\n\n# Rewards",
    ),
    ppo(
        "beta left out of the rewards",
        "counts, settings.beta)\n    estimator",
        "counts, 1.0)\n    estimator",
    ),
    # rewards
    ppo(
        "the score on every token",
        "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
        "return counts",
    ),
    ppo(
        "the score on the first token",
        "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
        "return counts & (counts.cumsum(-1) == 1)",
    ),
    ppo(
        "the score on the token before the last",
        "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
        "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 2)",
    ),
    ppo(
        "the score behind the response too",
        "return counts & (counts.flip(-1).cumsum(-1).flip(-1) == 1)",
        "return counts.flip(-1).cumsum(-1).flip(-1) <= 1",
    ),
    ppo(
        "the penalty is earned",
        "penalty = beta * (log_probs - ref_log_probs)",
        "penalty = beta * (ref_log_probs - log_probs)",
    ),
    ppo(
        "the penalty is k3",
        "penalty = beta * (log_probs - ref_log_probs)",
        "penalty = beta * kl.k3(log_probs, ref_log_probs)",
    ),
    ppo(
        "the penalty is |log-ratio|",
        "penalty = beta * (log_probs - ref_log_probs)",
        "penalty = beta * (log_probs - ref_log_probs).abs()",
    ),
    ppo(
        "the prompt is paid",
        "scores.unsqueeze(-1) - penalty).where(counts, 0)",
        "scores.unsqueeze(-1) - penalty)",
    ),
    # advantages
    ppo(
        "the next value is not discounted",
        "rewards[:, t] + gamma * next_value - values[:, t]",
        "rewards[:, t] + next_value - values[:, t]",
    ),
    ppo(
        "no next value",
        "rewards[:, t] + gamma * next_value - values[:, t]",
        "rewards[:, t] - values[:, t]",
    ),
    ppo(
        "the value added", "gamma * next_value - values[:, t]", "gamma * next_value + values[:, t]"
    ),
    ppo(
        "gamma left out of the decay", "delta + gamma * lam * following", "delta + lam * following"
    ),
    ppo(
        "lambda left out of the decay",
        "delta + gamma * lam * following",
        "delta + gamma * following",
    ),
    ppo(
        "the advantage runs on past the end",
        "(delta + gamma * lam * following).where(counts[:, t], 0)",
        "delta + gamma * lam * following",
    ),
    ppo(
        "the critic bootstraps past the end",
        "next_value = values[:, t].where(counts[:, t], 0)",
        "next_value = values[:, t]",
    ),
    ppo(
        "the time runs forwards",
        "for t in reversed(range(rewards.shape[1])):",
        "for t in range(rewards.shape[1]):",
    ),
    ppo(
        "the returns without the values",
        "return advantages, (advantages + values).where(counts, 0)",
        "return advantages, advantages",
    ),
    ppo(
        "the returns of padding",
        "return advantages, (advantages + values).where(counts, 0)",
        "return advantages, advantages + values",
    ),
    ppo(
        "sequence level with the last value",
        "first = counts & (counts.cumsum(-1) == 1)",
        "first = last_token(counts)",
    ),
    ppo(
        "sequence level without its baseline",
        "(total - (values * first).sum(-1, keepdim=True)).where(counts, 0)",
        "total.where(counts, 0)",
    ),
    ppo(
        "group mean over all groups",
        "total.view(-1, size).mean(-1)",
        "total.mean().expand(len(total) // size)",
    ),
    ppo(
        "group mean of other rows", "total.view(-1, size).mean(-1)", "total.view(size, -1).mean(0)"
    ),
    # whitening
    ppo(
        "the mean over padding too",
        "return (values * counts).sum() / counts.sum()",
        "return (values * counts).mean()",
    ),
    ppo(
        "padding in the sum",
        "return (values * counts).sum() / counts.sum()",
        "return values.sum() / counts.sum()",
    ),
    ppo(
        "whitening without the mean",
        "return ((values - mean) / (variance + 1e-8).sqrt())",
        "return (values / (variance + 1e-8).sqrt())",
    ),
    ppo("whitening by the variance", "(variance + 1e-8).sqrt()).where", "(variance + 1e-8)).where"),
    ppo(
        "whitening without its small number",
        "(variance + 1e-8).sqrt()).where",
        "variance.sqrt()).where",
    ),
    ppo(
        "whitened padding",
        "(variance + 1e-8).sqrt()).where(counts, 0)",
        "(variance + 1e-8).sqrt())",
    ),
    # losses
    ppo(
        "old over new",
        "ratio = (log_probs - old_log_probs).exp()",
        "ratio = (old_log_probs - log_probs).exp()",
    ),
    ppo(
        "the ratio stays a logarithm",
        "ratio = (log_probs - old_log_probs).exp()",
        "ratio = log_probs - old_log_probs",
    ),
    ppo("no ratio", "ratio = (log_probs - old_log_probs).exp()", "ratio = log_probs.exp()"),
    ppo("the larger gain", "gain = torch.minimum(gain,", "gain = torch.maximum(gain,"),
    ppo(
        "always clipped",
        "gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantages)",
        "gain = ratio.clamp(1 - clip, 1 + clip) * advantages",
    ),
    ppo(
        "clipped from above only",
        "ratio.clamp(1 - clip, 1 + clip) * advantages",
        "ratio.clamp(max=1 + clip) * advantages",
    ),
    ppo(
        "clipped from below only",
        "ratio.clamp(1 - clip, 1 + clip) * advantages",
        "ratio.clamp(min=1 - clip) * advantages",
    ),
    ppo("never clipped", "if clip is not None:\n        gain", "if False:\n        gain"),
    ppo(
        "the sign of the policy's loss",
        "return -masked_mean(gain, counts)",
        "return masked_mean(gain, counts)",
    ),
    ppo(
        "the ratio detached", "gain = ratio * advantages\n", "gain = ratio.detach() * advantages\n"
    ),
    ppo(
        "the policy's loss over padding too",
        "return -masked_mean(gain, counts)",
        "return -gain.mean()",
    ),
    ppo(
        "the value held around the returns",
        "held = old_values + (values - old_values).clamp(-clip, clip)",
        "held = returns + (values - returns).clamp(-clip, clip)",
    ),
    ppo(
        "the value clipped, not its move",
        "held = old_values + (values - old_values).clamp(-clip, clip)",
        "held = values.clamp(-clip, clip)",
    ),
    ppo(
        "the smaller error",
        "masked_mean(torch.maximum((values",
        "masked_mean(torch.minimum((values",
    ),
    ppo(
        "the half missing",
        "(held - returns).square()), counts) / 2",
        "(held - returns).square()), counts)",
    ),
    # update
    ppo("one pass", "for _ in range(settings.passes):", "for _ in range(1):"),
    ppo(
        "the same rows in every minibatch",
        "for rows in order.split(settings.minibatch):",
        "for rows in [order[:settings.minibatch]] * len(order.split(settings.minibatch)):",
    ),
    ppo("a loss that is not finite is let through", "if not torch.isfinite(loss):", "if False:"),
    ppo(
        "gradients pile up",
        "            optimizer.zero_grad()\n            history",
        "            history",
    ),
    ppo(
        "no step",
        "            optimizer.step()\n            optimizer.zero_grad()",
        "            optimizer.zero_grad()",
    ),
    ppo(
        "rows cut one token short",
        "longest = int(rollout.real[rows].sum(-1).max())",
        "longest = int(rollout.real[rows].sum(-1).max()) - 1",
    ),
    ppo(
        "rows cut to the shortest",
        "longest = int(rollout.real[rows].sum(-1).max())",
        "longest = int(rollout.real[rows].sum(-1).min())",
    ),
    ppo(
        "the update at another temperature",
        "use_cache=False).logits / settings.temperature",
        "use_cache=False).logits",
    ),
    ppo(
        "old log-probabilities recomputed",
        "policy_loss = clipped_surrogate(log_probs, old,",
        "policy_loss = clipped_surrogate(log_probs, log_probs.detach(),",
    ),
    ppo(
        "the reference in the place of the old policy",
        "rollout.counts, rollout.log_probs, rollout.advantages",
        "rollout.counts, rollout.ref_log_probs, rollout.advantages",
    ),
    ppo(
        "rewards in the place of the returns",
        "rollout.advantages, rollout.returns, rollout.values))",
        "rollout.advantages, rollout.rewards, rollout.values))",
    ),
    ppo(
        "values in the place of the old values",
        "value_loss(values, old_values, returns,",
        "value_loss(values, values.detach(), returns,",
    ),
    ppo(
        "the values detached",
        "values = critic(ids, real)[:, :-1].where(counts, 0)\n    policy_loss",
        "values = critic(ids, real)[:, :-1].where(counts, 0).detach()\n    policy_loss",
    ),
    ppo(
        "the critic left out of the loss",
        "return policy_loss + critic_loss, told",
        "return policy_loss, told",
    ),
    ppo(
        "the critic's loss subtracted",
        "return policy_loss + critic_loss, told",
        "return policy_loss - critic_loss, told",
    ),
    ppo("the approximate KL turned round", "kl.k3(old, log_probs)", "kl.k3(log_probs, old)"),
    ppo(
        "the clip fraction of one side",
        "((log_probs - old_log_probs).exp() - 1).abs() > clip",
        "((log_probs - old_log_probs).exp() - 1) > clip",
    ),
    ppo(
        "the clip fraction of logarithms",
        "((log_probs - old_log_probs).exp() - 1).abs() > clip",
        "(log_probs - old_log_probs - 1).abs() > clip",
    ),
    ppo(
        "the entropy's sign",
        "return -(log_probs.exp() * log_probs).sum(-1)",
        "return (log_probs.exp() * log_probs).sum(-1)",
    ),
    ppo(
        "the explained variance upside down",
        "error.var() / (spread.var() + 1e-8)",
        "spread.var() / (error.var() + 1e-8)",
    ),
    ppo(
        "the explained variance of padding",
        "(returns - values)[counts], returns[counts]",
        "(returns - values), returns[counts]",
    ),
    # loop
    ppo(
        "the reference is the policy itself",
        "reference = copy.deepcopy(policy).requires_grad_(False)",
        "reference = policy",
    ),
    ppo(
        "the critic does not train",
        "itertools.chain(policy.parameters(), critic.parameters())",
        "policy.parameters()",
    ),
    ppo(
        "the policy does not train",
        "itertools.chain(policy.parameters(), critic.parameters())",
        "critic.parameters()",
    ),
    ppo(
        "no update",
        "told = update(rollout, policy, critic, optimizer, settings)",
        "told = update(rollout, copy.deepcopy(policy), copy.deepcopy(critic), optimizer, settings)",
    ),
    ppo(
        "the KL per token, not per response",
        "log_ratio.sum(-1).mean().item()",
        "log_ratio.mean().item()",
    ),
    # what it stands on
    Mutant(
        "sampling.py",
        "no temperature",
        "(output.logits[:, -1] / temperature)",
        "(output.logits[:, -1])",
    ),
    Mutant(
        "sampling.py",
        "the most probable token, not a sample",
        "torch.multinomial(choices.exp(), 1)",
        "choices.argmax(-1, keepdim=True)",
    ),
    Mutant(
        "sampling.py",
        "the stop token cut off",
        "row.index(stop_id) + 1 if stop_id in row",
        "row.index(stop_id) if stop_id in row",
    ),
    Mutant(
        "sampling.py",
        "positions count the padding",
        "positions, cache, open_rows = (real.cumsum(-1) - 1).clamp(min=0)",
        "positions, cache, open_rows = torch.arange(real.shape[1], device=real.device).expand(real.shape)",
        "the models' rotary positions are relative: the same number more for a whole row changes nothing",
    ),
    Mutant("sampling.py", "positions stand still", "positions[:, -1:] + 1", "positions[:, -1:]"),
    Mutant(
        "sampling.py",
        "the mask forgets the new token",
        "real.new_ones(len(real), 1)",
        "real.new_zeros(len(real), 1)",
    ),
    Mutant(
        "sampling.py",
        "sampling ends with the first response",
        "if not open_rows.any():",
        "if not open_rows.all():",
    ),
    Mutant(
        "sampling.py",
        "a prompt may be too long by one",
        "longest + max_new_tokens > context",
        "longest + max_new_tokens > context + 1",
    ),
    Mutant("sampling.py", "left padding without a mask", "if real[:, 0].all():", "if True:"),
    Mutant(
        "reward.py",
        "the reward read in the last column",
        "positions.where(real, -1).argmax(-1, keepdim=True)",
        "positions.expand(real.shape).argmax(-1, keepdim=True)",
    ),
    Mutant(
        "reward.py",
        "the choice the wrong way round",
        "-logsigmoid(chosen - rejected).mean()",
        "-logsigmoid(rejected - chosen).mean()",
    ),
    Mutant(
        "reward.py",
        "the log of the mean",
        "-logsigmoid(chosen - rejected).mean()",
        "-(chosen - rejected).sigmoid().mean().log()",
    ),
    Mutant(
        "reward.py",
        "pairs in both orders",
        "itertools.combinations(range(rewards.shape[1]), 2)",
        "itertools.permutations(range(rewards.shape[1]), 2)",
    ),
    Mutant(
        "reward.py",
        "the head starts at random",
        "nn.init.zeros_(self.head.weight)",
        "nn.init.normal_(self.head.weight)",
    ),
    Mutant(
        "reward.py",
        "the body is shared with the policy",
        "self.body = copy.deepcopy(model.base_model)",
        "self.body = model.base_model",
    ),
    Mutant(
        "reward.py",
        "equal rewards count as right",
        "[better > worse for row",
        "[better >= worse for row",
    ),
    Mutant(
        "reward.py",
        "the same order in every epoch",
        "        order = rng.sample(rankings, len(rankings))",
        "        order = list(rankings)",
    ),
    Mutant(
        "kl.py",
        "k3 without −1",
        "(log_q - log_p).expm1() - (log_q - log_p)",
        "(log_q - log_p).exp() - (log_q - log_p)",
    ),
    Mutant(
        "kl.py",
        "k3 of the other direction",
        "(log_q - log_p).expm1() - (log_q - log_p)",
        "(log_p - log_q).expm1() - (log_p - log_q)",
    ),
    Mutant("kl.py", "k1's sign", "return log_p - log_q", "return log_q - log_p"),
    Mutant(
        "kl.py",
        "the divergence weighted by q",
        "(log_p.exp() * (log_p - log_q))",
        "(log_q.exp() * (log_p - log_q))",
    ),
    Mutant("best_of_n.py", "the worst of n", "rewards.argmax(-1)", "rewards.argmin(-1)"),
    Mutant(
        "best_of_n.py",
        "one response too few",
        "math.comb(i, n - 1) / math.comb(m, n)",
        "math.comb(i, n) / math.comb(m, n)",
    ),
    Mutant(
        "best_of_n.py",
        "the divergence without its second term",
        "math.log(n) - (n - 1) / n",
        "math.log(n)",
    ),
]


class Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module of methods with a mutant's text."""

    def __init__(self, mutant: Mutant):
        self.mutant = mutant

    def find_spec(self, name, path, target=None):
        if name == f"methods.{Path(self.mutant.file).stem}":
            return importlib.util.spec_from_loader(
                name, self, origin=str(METHODS / self.mutant.file)
            )

    def exec_module(self, module):
        exec(compile(mutated(self.mutant), module.__spec__.origin, "exec"), module.__dict__)


def mutated(mutant: Mutant) -> str:
    """The file's text with the fault. Raises ValueError unless the old text stands there once."""
    text = (METHODS / mutant.file).read_text("utf8")
    found = list(pattern_of(mutant.old).finditer(text))
    if len(found) != 1:
        raise ValueError(
            f"{mutant.file}: the text to replace for “{mutant.fault}” stands there {len(found)} "
            "times, and once is needed: bring tools/mutate.py up to date"
        )
    return text[: found[0].start()] + mutant.new.strip() + text[found[0].end() :]


def pattern_of(code: str) -> re.Pattern:
    """Matches `code` however it is broken into lines, with or without a comma before a bracket."""
    tokens = re.findall(r"\w+|[^\w\s]", code)
    pattern = re.escape(tokens[0])
    for before, token in zip(tokens, tokens[1:]):
        gap = r"\s+" if re.fullmatch(r"\w+", before) and re.fullmatch(r"\w+", token) else r"\s*"
        pattern += (r"\s*,?\s*" if token in ")]}" else gap) + re.escape(token)
    return re.compile(pattern)


def digest() -> str:
    """Of the methods that are mutated and of the tests that judge them; blind to docstrings,
    comments and formatting."""
    files = sorted({METHODS / mutant.file for mutant in MUTANTS})
    tests = [path for path in (ROOT / test for test in TESTS) if path.exists()]
    code = "\n".join(without_docstrings(path) for path in [*files, *tests, Path(__file__)])
    return hashlib.sha256(code.encode()).hexdigest()[:12]


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


def passes(mutant: Mutant | None) -> bool:
    """Whether the tests pass with the fault, in a child of this process: torch is imported once,
    here."""
    child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT_SECONDS)
        status = 2
        with contextlib.suppress(BaseException), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            if mutant:
                sys.meta_path.insert(0, Faulty(mutant))
            status = pytest.main(
                [
                    "-x",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    *(test for test in TESTS if Path(test).exists()),
                ]
            )
        os._exit(int(status))
    return os.waitpid(child, 0)[1] == 0


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.fault for word in words)]
    for mutant in chosen:
        mutated(mutant)
    if not passes(None):
        sys.exit("the tests fail without any fault: run make test first")
    began, alive = time.perf_counter(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, survived in zip(chosen, pool.map(passes, chosen)):
            if survived:
                alive.append(mutant)
            fate = "SURVIVED" if survived else "killed  "
            why = f" ({mutant.survives})" if survived and mutant.survives else ""
            print(f"{fate} {mutant.file}: {mutant.fault}{why}", flush=True)
    killed = len(chosen) - len(alive)
    seconds = time.perf_counter() - began
    print(f"{killed} of {len(chosen)} killed ({killed / len(chosen):.1%}) in {seconds:.0f} s")
    if not words:
        record = {
            "digest": digest(),
            "mutants": len(chosen),
            "killed": killed,
            "equivalent": {m.fault: m.survives for m in alive if m.survives},
            "survivors": [f"{m.file}: {m.fault}" for m in alive if not m.survives],
        }
        write_whole(FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0 if killed >= ENOUGH * len(chosen) else 1


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
