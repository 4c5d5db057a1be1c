"""Right solutions of lab 05's exercises."""

import copy
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from methods import lora, models, reference, rollouts, tokens
from methods.tokens import IGNORE
from torch.nn.functional import logsigmoid


def reward_by_numpy(log_probs, ref_log_probs, beta):
    return np.multiply(beta, log_probs.numpy() - ref_log_probs.numpy())


def reward_by_two_products(log_probs, ref_log_probs, beta):
    return log_probs * beta - beta * ref_log_probs


def reward_by_loops(log_probs, ref_log_probs, beta):
    both = zip(log_probs.flatten().tolist(), ref_log_probs.flatten().tolist())
    return torch.tensor([beta * (p - q) for p, q in both]).view(log_probs.shape)


def reward_in_double(log_probs, ref_log_probs, beta):
    ratio = log_probs.double().clone().sub_(ref_log_probs)
    return ratio.mul_(beta)


def dpo_by_softplus(log_probs, ref_log_probs, beta):
    ratio = log_probs - ref_log_probs
    return F.softplus(beta * (ratio[:, 1] - ratio[:, 0])).mean()


def dpo_by_cross_entropy(log_probs, ref_log_probs, beta):
    rewards = beta * (log_probs - ref_log_probs)
    return F.cross_entropy(rewards, torch.zeros(len(rewards), dtype=torch.long))


def dpo_by_loops(log_probs, ref_log_probs, beta):
    losses = []
    for (chosen, rejected), (ref_chosen, ref_rejected) in zip(log_probs, ref_log_probs):
        margin = (chosen - rejected) - (ref_chosen - ref_rejected)
        losses.append(torch.logaddexp(torch.zeros(()), -beta * margin))
    return sum(losses) / len(losses)


def dpo_by_einsum_in_double(log_probs, ref_log_probs, beta):
    rewards = beta * (log_probs.double() - ref_log_probs.double())
    signs = torch.tensor([1.0, -1.0], dtype=torch.double)
    return -logsigmoid(torch.einsum("pc,c->p", rewards, signs)).sum() / len(rewards)


def dpo_by_log_softmax(log_probs, ref_log_probs, beta):
    return -(beta * (log_probs - ref_log_probs)).log_softmax(1)[:, :1].mean(0)


def standardised_by_loops(scores, size):
    told = []
    for start in range(0, len(scores), size):
        group = scores[start : start + size].tolist()
        mean = sum(group) / size
        deviation = math.sqrt(sum((score - mean) ** 2 for score in group) / (size - 1))
        told += [(score - mean) / (deviation + 1e-4) for score in group]
    return torch.tensor(told)


def standardised_by_numpy(scores, size):
    groups = scores.numpy().reshape(-1, size)
    mean, deviation = groups.mean(1, keepdims=True), groups.std(1, ddof=1, keepdims=True)
    return ((groups - mean) / (deviation + 1e-4)).reshape(-1)


def standardised_by_repeating(scores, size):
    groups = scores.unflatten(0, (-1, size))
    mean, deviation = groups.mean(1), groups.std(1)
    mean, deviation = (each.repeat_interleave(size) for each in (mean, deviation))
    return (scores - mean) / (deviation + 1e-4)


def standardised_by_chunks(scores, size):
    return torch.cat([(g - g.mean()) / (g.std() + 1e-4) for g in scores.split(size)])


def standardised_in_double(scores, size):
    groups = scores.double().view(-1, size)
    centred = groups - torch.einsum("gs->g", groups).unsqueeze(1) / size
    deviation = (torch.einsum("gs,gs->g", centred, centred) / (size - 1)).sqrt().unsqueeze(1)
    return (centred / (deviation + 1e-4)).flatten()


def left_out_by_loops(scores, size):
    told = []
    for place, score in enumerate(scores.tolist()):
        start = place // size * size
        others = [scores[i].item() for i in range(start, start + size) if i != place]
        told.append(score - sum(others) / len(others))
    return torch.tensor(told)


def left_out_by_scaling(scores, size):
    groups = scores.view(-1, size)
    return ((groups - groups.mean(1, keepdim=True)) * size / (size - 1)).reshape(-1)


def left_out_by_a_matrix(scores, size):
    weights = (torch.ones(size, size) - torch.eye(size)) / (size - 1)
    groups = scores.view(-1, size)
    return (groups - torch.einsum("gs,st->gt", groups, weights)).flatten()


def left_out_by_numpy(scores, size):
    groups = scores.numpy().astype(np.float64).reshape(-1, size)
    return (groups - (groups.sum(1, keepdims=True) - groups) / (size - 1)).ravel()


def constant_by_index(values, counts, longest):
    return values[counts].sum() / values.shape[0] / longest


def constant_by_filling(values, counts, longest):
    return values.masked_fill(~counts, 0.0).sum(1).div(longest).mean()


def constant_by_loops(values, counts, longest):
    total = 0
    for row, places in zip(values, counts):
        for value, counted in zip(row, places):
            if counted:
                total = total + value
    return total / (longest * len(values))


def constant_in_double(values, counts, longest):
    values = torch.where(counts, values.double(), torch.zeros((), dtype=torch.double))
    return torch.einsum("bt->", values) / (len(counts) * longest)


def reverse_by_kl_div(student_logits, teacher_logits, labels):
    log_p, log_q = student_logits.log_softmax(-1), teacher_logits.log_softmax(-1)
    values = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    return values[:, :-1][labels[:, 1:] != IGNORE].mean()


def reverse_of_chosen_rows(student_logits, teacher_logits, labels):
    counts = labels[:, 1:] != IGNORE
    student, teacher = student_logits[:, :-1][counts], teacher_logits[:, :-1][counts]
    log_ratio = student.log_softmax(1) - teacher.log_softmax(1)
    return (student.softmax(1) * log_ratio).sum() / len(student)


def reverse_by_loops(student_logits, teacher_logits, labels):
    told = []
    for row, time in (labels[:, 1:] != IGNORE).nonzero().tolist():
        log_p = torch.log_softmax(student_logits[row, time], 0)
        log_q = torch.log_softmax(teacher_logits[row, time], 0)
        told.append((log_p.exp() * (log_p - log_q)).sum())
    return torch.stack(told).mean()


def reverse_by_entropies(student_logits, teacher_logits, labels):
    counts = labels.roll(-1, 1) != IGNORE
    counts[:, -1] = False
    p, log_p = student_logits.softmax(-1), student_logits - student_logits.logsumexp(-1, True)
    values = torch.einsum("btv,btv->bt", p, log_p)
    values = values - torch.einsum("btv,btv->bt", p, teacher_logits.log_softmax(-1))
    return values.where(counts, 0).sum() / counts.sum()


def reverse_in_double(student_logits, teacher_logits, labels):
    log_p = student_logits.double().log_softmax(-1)[:, :-1]
    log_q = teacher_logits.detach().double().log_softmax(-1)[:, :-1]
    values = ((log_p - log_q) * log_p.exp()).sum(-1)
    return tokens.masked_mean(values, labels[:, 1:] != IGNORE)


def reverse_with_the_logarithm_detached(student_logits, teacher_logits, labels):
    # Its own gradient, weighted by p, is 0: the probabilities always add up to 1.
    log_p = student_logits.log_softmax(-1)
    log_ratio = log_p.detach() - teacher_logits.log_softmax(-1)
    values = (log_p.exp() * log_ratio).sum(-1)[:, :-1]
    return values[labels[:, 1:] != IGNORE].mean()


def total_as_one_text(prompt, response):
    left, right = prompt[len("total :") : -1].replace(" ", "").split("+")
    return 1.0 if response == " " + " ".join(str(int(left) + int(right))) + " <eos>" else 0.0


def total_by_expressions(prompt, response):
    numbers = [int(found.replace(" ", "")) for found in re.findall(r"\d(?: \d)*", prompt)]
    return bool(re.fullmatch(f" {' '.join(str(sum(numbers)))} <eos>", response))


def total_by_words(prompt, response):
    numbers = [""]
    for word in prompt.split()[2:-1]:
        if word == "+":
            numbers.append("")
        else:
            numbers[-1] += word
    expected = list(str(sum(map(int, numbers)))) + ["<eos>"]
    said = response.split()
    return int(len(said) == len(expected) and all(a == b for a, b in zip(said, expected)))


def total_by_columns(prompt, response):
    left, right = (side.split() for side in prompt[7:-1].split("+"))
    carry, digits = 0, []
    while left or right or carry:
        ten, one = divmod(int((left or ["0"]).pop()) + int((right or ["0"]).pop()) + carry, 10)
        digits, carry = [str(one), *digits], ten
    return float(" ".join([*digits, "<eos>"]) == response.strip())


def total_after_reading(prompt, response):
    try:
        *digits, stop = response.split()
    except ValueError:
        return torch.tensor(0.0)
    wanted = eval(prompt[7:-1].replace(" ", ""))
    return torch.tensor(float(stop == "<eos>" and digits == list(str(wanted))))


@torch.no_grad()
def base_by_active(policy, ids):
    before = {path: layer.active for path, layer in lora.layers(policy).items()}
    try:
        for layer in lora.layers(policy).values():
            layer.active = None
        return policy(input_ids=ids).logits
    finally:
        for path, layer in lora.layers(policy).items():
            layer.active = before[path]


def base_of_a_copy(policy, ids):
    bare = copy.deepcopy(policy)
    lora.strip(bare)
    with torch.no_grad():
        return bare(input_ids=ids).logits


def base_by_activate(policy, ids):
    active = [layer.active for layer in lora.layers(policy).values()]
    trains = [p.requires_grad for p in policy.parameters()]
    lora.activate(policy, None)
    logits = policy(input_ids=ids).logits.detach()
    for layer, name in zip(lora.layers(policy).values(), active):
        layer.active = name
    for p, it in zip(policy.parameters(), trains):
        p.requires_grad = it
    return logits


def base_by_zeros_for_a_moment(policy, ids):
    kept = []
    with torch.no_grad():
        for layer in lora.layers(policy).values():
            B = layer.B[layer.active]
            kept.append((B, B.clone()))
            B.zero_()
        logits = policy(input_ids=ids).logits
        for B, numbers in kept:
            B.copy_(numbers)
    return logits


def base_by_functional_call(policy, ids):
    zeros = {path: torch.zeros_like(p) for path, p in policy.named_parameters() if ".B." in path}
    with torch.no_grad():
        return torch.func.functional_call(policy, zeros, kwargs={"input_ids": ids}).logits


def base_by_taking_layers_out(policy, ids):
    layers = lora.layers(policy)
    for path, layer in layers.items():
        policy.set_submodule(path, layer.base)
    with torch.inference_mode():
        logits = policy(input_ids=ids).logits
    for path, layer in layers.items():
        policy.set_submodule(path, layer)
    return logits.clone()


def base_as_the_reference(policy, ids):
    return reference.AdapterOff(policy)(input_ids=ids).logits.double()


def pairs_row_by_row(model, pairs, pad_id):
    table = []
    for prompt, both in pairs:
        for response in both:
            ids = torch.tensor([prompt + response])
            log_probs = model(input_ids=ids).logits[0].log_softmax(-1)
            places = range(len(prompt), len(prompt) + len(response))
            table.append(sum(log_probs[t - 1, ids[0, t]] for t in places))
    return torch.stack(table).view(-1, 2)


def pairs_sorted_and_put_back(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    some = [rows[row] for row in order]
    scored = []
    for start in range(0, len(some), 2):
        ids, real, labels = tokens.join(*zip(*some[start : start + 2]), pad_id)
        scored.append(rollouts.response_log_probs(model, ids, real, labels, 1.0).sum(-1))
    return torch.cat(scored)[torch.tensor(order).argsort()].view(-1, 2)


def pairs_written_to_their_places(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: sum(map(len, rows[row])))
    ids, real, labels = tokens.join(*zip(*[rows[row] for row in order]), pad_id)
    log_probs = rollouts.response_log_probs(model, ids, real, labels, 1.0).sum(-1)
    table = torch.empty(len(rows))
    table[order] = log_probs
    return table.reshape(len(pairs), 2)


def pairs_column_by_column(model, pairs, pad_id):
    columns = []
    for place in (0, 1):
        examples = [tokens.mask_prompt(prompt, both[place]) for prompt, both in pairs]
        ids, labels = tokens.collate(examples, pad_id)
        columns.append(tokens.token_log_probs(model(input_ids=ids).logits, labels).sum(1))
    return torch.stack(columns, 1)


def pairs_by_cross_entropy_in_double(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    ids, real, labels = tokens.join(*zip(*rows), pad_id)
    logits = model(**models.inputs(model, ids, real)).logits.double()[:, :-1]
    losses = F.cross_entropy(
        logits.transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORE
    )
    return -torch.einsum("rt->r", losses).view(len(pairs), 2)


RIGHT = {
    "after.implicit_reward": [
        reward_by_numpy,
        reward_by_two_products,
        reward_by_loops,
        reward_in_double,
    ],
    "after.dpo_loss": [
        dpo_by_softplus,
        dpo_by_cross_entropy,
        dpo_by_loops,
        dpo_by_einsum_in_double,
        dpo_by_log_softmax,
    ],
    "after.group_advantages": [
        standardised_by_loops,
        standardised_by_numpy,
        standardised_by_repeating,
        standardised_by_chunks,
        standardised_in_double,
    ],
    "after.leave_one_out": [
        left_out_by_loops,
        left_out_by_scaling,
        left_out_by_a_matrix,
        left_out_by_numpy,
    ],
    "after.constant_mean": [
        constant_by_index,
        constant_by_filling,
        constant_by_loops,
        constant_in_double,
    ],
    "after.reverse_kl": [
        reverse_by_kl_div,
        reverse_of_chosen_rows,
        reverse_by_loops,
        reverse_by_entropies,
        reverse_in_double,
        reverse_with_the_logarithm_detached,
    ],
    "after.verifier": [
        total_as_one_text,
        total_by_expressions,
        total_by_words,
        total_by_columns,
        total_after_reading,
    ],
    "after.reference_logits": [
        base_by_active,
        base_of_a_copy,
        base_by_activate,
        base_by_zeros_for_a_moment,
        base_by_functional_call,
        base_by_taking_layers_out,
        base_as_the_reference,
    ],
    "after.silent_bug": [
        pairs_row_by_row,
        pairs_sorted_and_put_back,
        pairs_written_to_their_places,
        pairs_column_by_column,
        pairs_by_cross_entropy_in_double,
    ],
}
