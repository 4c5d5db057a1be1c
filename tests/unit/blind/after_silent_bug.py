import torch


# right: no sorting, all rows in one batch, chosen and rejected in turn
def right_1(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    ids, real, labels = join([p for p, _ in rows], [r for _, r in rows], pad_id)
    return response_log_probs(model, ids, real, labels, 1.0).sum(-1).view(-1, 2)


# right: sorted halves, put back with the inverse of the order, which is its argsort
def right_2(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    some, scored = [rows[row] for row in order], []
    for half in (some[: len(some) // 2], some[len(some) // 2 :]):
        batch = join([p for p, _ in half], [r for _, r in half], pad_id)
        scored.append(response_log_probs(model, *batch, 1.0).sum(1))
    return torch.cat(scored)[torch.argsort(torch.tensor(order))].view(-1, 2)


# right: every row by itself, so that nothing is padded and nothing sorted
def right_3(model, pairs, pad_id):
    def score(prompt, response):
        return response_log_probs(model, *join([prompt], [response], pad_id), 1.0).sum()

    return torch.stack([torch.stack([score(prompt, y) for y in both]) for prompt, both in pairs])


# right: one batch for the chosen and one for the rejected, each sorted and copied to its place by index_copy
def right_4(model, pairs, pad_id):
    columns = []
    for column in (0, 1):
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1][column]))
        prompts, responses = [pairs[i][0] for i in order], [pairs[i][1][column] for i in order]
        scored = response_log_probs(model, *join(prompts, responses, pad_id), 1.0).sum(-1)
        place = torch.tensor(order, device=scored.device)
        columns.append(torch.zeros_like(scored).index_copy(0, place, scored))
    return torch.stack(columns, dim=1)


# wrong: the same bug in another dress, gathers by the order where it should scatter
def wrong_1(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]) + len(rows[row][1]))
    ids, real, labels = join([rows[i][0] for i in order], [rows[i][1] for i in order], pad_id)
    scored = response_log_probs(model, ids, real, labels, 1.0).sum(-1)
    return torch.stack([scored[place] for place in order]).view(-1, 2)


# wrong: rows in the right order, but the view makes the first half chosen and the second half rejected
def wrong_2(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    ids, real, labels = join([p for p, _ in rows], [r for _, r in rows], pad_id)
    return response_log_probs(model, ids, real, labels, 1.0).sum(-1).view(2, -1).T


# wrong: the mean over the tokens of a response, not the log-probability of the whole
def wrong_3(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    ids, real, labels = join([p for p, _ in rows], [r for _, r in rows], pad_id)
    scored = response_log_probs(model, ids, real, labels, 1.0).sum(-1)
    lengths = torch.tensor([len(r) for _, r in rows], device=scored.device)
    return (scored / lengths).view(-1, 2)


# wrong: the places are right, but the numbers are copied into a fresh tensor as floats, so the gradient is lost
def wrong_4(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    ids, real, labels = join([rows[i][0] for i in order], [rows[i][1] for i in order], pad_id)
    scored = response_log_probs(model, ids, real, labels, 1.0).sum(-1)
    result = torch.zeros(len(rows))
    for place, row in enumerate(order):
        result[row] = scored[place].item()
    return result.view(-1, 2)


# wrong: each pair is sorted by length and not put back, so column 0 holds the longer one
def wrong_5(model, pairs, pad_id):
    rows = [(prompt, r) for prompt, both in pairs for r in sorted(both, key=len, reverse=True)]
    ids, real, labels = join([p for p, _ in rows], [r for _, r in rows], pad_id)
    return response_log_probs(model, ids, real, labels, 1.0).sum(-1).view(-1, 2)


# wrong: whole pairs are sorted in place, so the caller's list and the order of the rows change
def wrong_6(model, pairs, pad_id):
    pairs.sort(key=lambda pair: -len(pair[0]) - max(len(r) for r in pair[1]))
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    ids, real, labels = join([p for p, _ in rows], [r for _, r in rows], pad_id)
    return response_log_probs(model, ids, real, labels, 1.0).sum(-1).view(-1, 2)


# wrong: finds the numbers again by the response alone, and the same response to two prompts collides
def wrong_7(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    rows.sort(key=lambda row: -len(row[0]) - len(row[1]))
    ids, real, labels = join([p for p, _ in rows], [r for _, r in rows], pad_id)
    scored = response_log_probs(model, ids, real, labels, 1.0).sum(-1)
    found = {tuple(response): scored[i] for i, (_, response) in enumerate(rows)}
    return torch.stack([torch.stack([found[tuple(r)] for r in both]) for _, both in pairs])


# wrong: undoes the sort by turning the order round, which is its inverse only for rows that stood shortest first
def wrong_8(model, pairs, pad_id):
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    ids, real, labels = join([rows[i][0] for i in order], [rows[i][1] for i in order], pad_id)
    scored = response_log_probs(model, ids, real, labels, 1.0).sum(-1)
    return scored.flip(0).view(-1, 2)
