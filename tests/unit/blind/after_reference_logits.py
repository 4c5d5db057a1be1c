import contextlib
import copy

import torch


# right: remembers each layer's adapter, switches off, and puts it back even if the model raises
def right_1(policy, ids):
    layers = lora.layers(policy).values()
    before = [layer.active for layer in layers]
    try:
        for layer in layers:
            layer.active = None
        with torch.no_grad():
            return policy(input_ids=ids).logits
    finally:
        for layer, active in zip(layers, before):
            layer.active = active


# right: a context manager per layer, and no_grad, all on one stack
def right_2(policy, ids):
    @contextlib.contextmanager
    def off(layer):
        active, layer.active = layer.active, None
        try:
            yield
        finally:
            layer.active = active

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for layer in lora.layers(policy).values():
            stack.enter_context(off(layer))
        return policy(input_ids=ids).logits


# right: a copy of the policy is switched off and asked, the policy itself is never touched
def right_3(policy, ids):
    base = copy.deepcopy(policy)
    for layer in lora.layers(base).values():
        layer.active = None
    with torch.no_grad():
        return base(input_ids=ids).logits


# right: a dict of names, and detach at the end; the requires_grad flags are saved and set again as well
def right_4(policy, ids):
    layers = dict(lora.layers(policy))
    active = {name: layer.active for name, layer in layers.items()}
    trains = {name: p.requires_grad for name, p in policy.named_parameters()}
    for layer in layers.values():
        layer.active = None
    policy.requires_grad_(False)
    try:
        logits = policy(input_ids=ids).logits.detach()
    finally:
        for name, layer in layers.items():
            layer.active = active[name]
        for name, p in policy.named_parameters():
            p.requires_grad_(trains[name])
    return logits


# wrong: switches off and never on again
def wrong_1(policy, ids):
    for layer in lora.layers(policy).values():
        layer.active = None
    with torch.no_grad():
        return policy(input_ids=ids).logits


# wrong: only the gradient is off, the adapter still speaks
def wrong_2(policy, ids):
    with torch.no_grad():
        return policy(input_ids=ids).logits


# wrong: the adapter is off and on again, but gradient is recorded, so the logits carry one if any weight of the base trains
def wrong_3(policy, ids):
    layers = lora.layers(policy)
    before = {name: layer.active for name, layer in layers.items()}
    for layer in layers.values():
        layer.active = None
    logits = policy(input_ids=ids).logits
    for name, layer in layers.items():
        layer.active = before[name]
    return logits


# wrong: lora.activate switches on again and thereby sets what trains, which is a change where the adapter was frozen or more than it trained
def wrong_4(policy, ids):
    layers = list(lora.layers(policy).values())
    name = layers[0].active
    for layer in layers:
        layer.active = None
    with torch.no_grad():
        logits = policy(input_ids=ids).logits
    lora.activate(policy, name)
    return logits


# wrong: switches on the first adapter that a layer has, not the one that was active
def wrong_5(policy, ids):
    layers = lora.layers(policy).values()
    for layer in layers:
        layer.active = None
    with torch.no_grad():
        logits = policy(input_ids=ids).logits
    for layer in layers:
        layer.active = next(iter(layer.A.keys()))
    return logits


# wrong: freezes all parameters and afterwards makes all of them trainable, the base's weights too
def wrong_6(policy, ids):
    layers = lora.layers(policy)
    before = {name: layer.active for name, layer in layers.items()}
    policy.requires_grad_(False)
    for layer in layers.values():
        layer.active = None
    logits = policy(input_ids=ids).logits
    for name, layer in layers.items():
        layer.active = before[name]
    policy.requires_grad_(True)
    return logits


# wrong: switches off the first layer only
def wrong_7(policy, ids):
    layer = next(iter(lora.layers(policy).values()))
    before, layer.active = layer.active, None
    with torch.no_grad():
        logits = policy(input_ids=ids).logits
    layer.active = before
    return logits


# wrong: puts the policy into evaluation and leaves it there, a policy in training does not come back as it was
def wrong_8(policy, ids):
    layers = lora.layers(policy)
    before = {name: layer.active for name, layer in layers.items()}
    policy.eval()
    for layer in layers.values():
        layer.active = None
    with torch.no_grad():
        logits = policy(input_ids=ids).logits
    for name, layer in layers.items():
        layer.active = before[name]
    return logits
