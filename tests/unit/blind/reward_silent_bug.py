import torch


# right: one forward pass over all rows, read at each row's last real token
def right_1(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return reward_at_end(model(ids, real), real).view(len(rankings), -1)


# right: one forward pass for each ranking, stacked
def right_2(model, rankings, pad_id):
    def rewards_of(prompt, responses):
        ids, real = pad([[*prompt, *response] for response in responses], pad_id)
        device = getattr(model, "device", ids.device)
        ids, real = ids.to(device), real.to(device)
        return reward_at_end(model(ids, real), real)

    return torch.stack([rewards_of(prompt, responses) for prompt, responses in rankings])


# right: every response on its own, so that there is no company at all
def right_3(model, rankings, pad_id):
    table = []
    for prompt, responses in rankings:
        line = []
        for response in responses:
            ids, real = pad([list(prompt) + list(response)], pad_id)
            device = getattr(model, "device", ids.device)
            real = real.to(device)
            line.append(reward_at_end(model(ids.to(device), real), real)[0])
        table.append(torch.stack(line))
    return torch.stack(table)


# right: sorts the rows by length before the forward pass and puts the rewards back in order by index
def right_4(model, rankings, pad_id):
    rows = [
        list(prompt) + list(response) for prompt, responses in rankings for response in responses
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    ids, real = pad([rows[i] for i in order], pad_id)
    device = getattr(model, "device", ids.device)
    ids, real = ids.to(device), real.to(device)
    by_length = reward_at_end(model(ids, real), real)
    back = torch.argsort(torch.tensor(order, device=by_length.device))
    return by_length[back].reshape(len(rankings), len(rankings[0][1]))


# wrong: makes the mask from the ids, so a stop token with the id of padding does not count as real
def wrong_1(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, _ = pad(rows, pad_id)
    ids = ids.to(model.device)
    real = ids != pad_id
    return reward_at_end(model(ids, real), real).view(len(rankings), -1)


# wrong: runs the model without gradients, so nothing can be trained with the rewards
def wrong_2(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    with torch.no_grad():
        scores = model(ids, real)
    return reward_at_end(scores, real).view(len(rankings), -1)


# wrong: lines the rows up response by response but views them ranking by ranking, right for a single ranking only
def wrong_3(model, rankings, pad_id):
    K = len(rankings[0][1])
    rows = [prompt + responses[k] for k in range(K) for prompt, responses in rankings]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return reward_at_end(model(ids, real), real).view(len(rankings), K)


# wrong: appends each response to the caller's prompt in place, so later responses follow earlier ones and the rankings change
def wrong_4(model, rankings, pad_id):
    rows = []
    for prompt, responses in rankings:
        for response in responses:
            row = prompt
            row += response
            rows.append(list(row))
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return reward_at_end(model(ids, real), real).view(len(rankings), -1)


# wrong: reads at the right place but lets the model take padding for real tokens
def wrong_5(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    scores = model(ids, torch.ones_like(real))
    return reward_at_end(scores, real).view(len(rankings), -1)


# wrong: takes for granted that there are two responses to a prompt
def wrong_6(model, rankings, pad_id):
    rows = [prompt + response for prompt, responses in rankings for response in responses]
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return reward_at_end(model(ids, real), real).view(-1, 2)


# wrong: strips the padding id off the end of each row first, which drops the stop token where it has the same id
def wrong_7(model, rankings, pad_id):
    rows = []
    for prompt, responses in rankings:
        for response in responses:
            row = list(prompt) + list(response)
            while len(row) > 1 and row[-1] == pad_id:
                row.pop()
            rows.append(row)
    ids, real = (tensor.to(model.device) for tensor in pad(rows, pad_id))
    return reward_at_end(model(ids, real), real).view(len(rankings), -1)
