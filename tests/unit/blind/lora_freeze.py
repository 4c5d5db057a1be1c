import itertools


# right: freezes every parameter, then lets the named adapter's A and B require gradients where a layer has it
def right_1(model, name):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


# right: collects the identities of the adapter's parameters and sets every flag in one pass
def right_2(model, name):
    wanted = {
        id(table[name])
        for layer in lora.layers(model).values()
        if name in layer.configs
        for table in (layer.A, layer.B)
    }
    for parameter in model.parameters():
        parameter.requires_grad = id(parameter) in wanted


# right: Module.requires_grad_(False) on the whole model, then a chained generator of the adapter's parameters
def right_3(model, name):
    having = [layer for layer in lora.layers(model).values() if name in layer.configs]
    model.requires_grad_(False)
    for parameter in itertools.chain.from_iterable(
        (layer.A[name], layer.B[name]) for layer in having
    ):
        parameter.requires_grad_()


# right: walks the modules by recursion to freeze, with a nested helper that switches a layer's adapter on
def right_4(model, name):
    def freeze_tree(module):
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
        for child in module.children():
            freeze_tree(child)

    def switch_on(layer):
        if name not in layer.configs:
            return
        for table in (layer.A, layer.B):
            table[name].requires_grad = True

    freeze_tree(model)
    for layer in lora.layers(model).values():
        switch_on(layer)


# wrong: freezes only the base of each adapted layer and its other adapters, so embeddings, norms and the output layer still train
def wrong_1(model, name):
    for layer in lora.layers(model).values():
        for parameter in layer.parameters():
            parameter.requires_grad_(False)
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


# wrong: takes for granted that every layer has the adapter, and raises where one has not
def wrong_2(model, name):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)


# wrong: matches the adapter's name as a piece of the parameter's name, so "team1" also lets "team10" train (and a name like "a" nearly all)
def wrong_3(model, name):
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(name in parameter_name)


# wrong: only ever switches off, so an adapter that an earlier call froze stays frozen when its turn comes
def wrong_4(model, name):
    keep = set()
    for layer in lora.layers(model).values():
        if name in layer.configs:
            keep.add(id(layer.A[name]))
            keep.add(id(layer.B[name]))
    for parameter in model.parameters():
        if id(parameter) not in keep:
            parameter.requires_grad_(False)


# wrong: stops at the first layer without the adapter instead of going on to the next, so later layers' adapters stay frozen
def wrong_5(model, name):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in lora.layers(model).values():
        if name not in layer.configs:
            break
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)


# wrong: freezes the base model only, the other adapters go on requiring gradients
def wrong_6(model, name):
    adapters = set()
    for layer in lora.layers(model).values():
        for table in (layer.A, layer.B):
            adapters.update(id(parameter) for parameter in table.values())
    for parameter in model.parameters():
        if id(parameter) not in adapters:
            parameter.requires_grad_(False)
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


# wrong: keeps the biases trainable besides the adapter (the "bias" option of some libraries)
def wrong_7(model, name):
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter_name.endswith("bias"))
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)
