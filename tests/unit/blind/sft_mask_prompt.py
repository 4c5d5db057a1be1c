import itertools

import torch


# right: list concatenation with a block of IGNORE in front of a copy of the response
def right_1(prompt, response):
    return prompt + response, [IGNORE] * len(prompt) + response


# right: a loop over (token, counts) pairs, each list filled by append
def right_2(prompt, response):
    ids, labels = [], []
    for part, counts in ((prompt, False), (response, True)):
        for token in part:
            ids.append(token)
            labels.append(token if counts else -100)
    return ids, labels


# right: a comprehension over positions, the prompt's positions masked
def right_3(prompt, response):
    def label(position, token):
        return -100 if position < len(prompt) else token

    ids = list(itertools.chain(prompt, response))
    return ids, [label(i, t) for i, t in enumerate(ids)]


# right: a tensor of ids, a copy of it overwritten at the front, both turned back into lists
def right_4(prompt, response):
    ids = torch.tensor([*prompt, *response], dtype=torch.long)
    labels = ids.clone()
    labels[: len(prompt)] = -100
    return ids.tolist(), labels.tolist()


# wrong: += extends the caller's prompt list in place
def wrong_1(prompt, response):
    n = len(prompt)
    ids = prompt
    ids += response
    return ids, [-100] * n + ids[n:]


# wrong: masks by value, so a response token that also occurs in the prompt does not count
def wrong_2(prompt, response):
    ids = prompt + response
    seen = set(prompt)
    return ids, [-100 if token in seen else token for token in ids]


# wrong: off by one, the last token of the prompt counts ("it predicts the first response token")
def wrong_3(prompt, response):
    ids = prompt + response
    labels = list(ids)
    for i in range(len(prompt) - 1):
        labels[i] = -100
    return ids, labels


# wrong: finds the start of the response as the first place of its first token, which may lie in the prompt
def wrong_4(prompt, response):
    ids = prompt + response
    start = ids.index(response[0]) if response else len(ids)
    return ids, [-100] * start + ids[start:]


# wrong: a token with id 0 in the response is taken for "nothing" and masked
def wrong_5(prompt, response):
    ids = [*prompt, *response]
    labels = [-100] * len(prompt) + [token or -100 for token in response]
    return ids, labels


# wrong: labels already shifted by one (label at t = id at t+1), so the later shift is done twice
def wrong_6(prompt, response):
    ids = prompt + response
    labels = [-100] * len(prompt) + response
    return ids, labels[1:] + [-100]


# wrong: negative slice, an empty response gives labels[:-0], and the label list gets too long
def wrong_7(prompt, response):
    ids = prompt + response
    labels = ids[:]
    labels[: -len(response)] = [-100] * len(prompt)
    return ids, labels
