import itertools
import math

import numpy as np
import torch


# right: the shapes of the seven matrices, each counted twice over
def right_1(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    q, kv = heads * head, kv_heads * head
    shapes = [(width, q), (width, kv), (width, kv), (q, width)]
    shapes += [(width, inner), (width, inner), (inner, width)]
    trained = layers * sum(rank * (a + b) for a, b in shapes)
    held = layers * (sum(a * b for a, b in shapes) + 2 * width) + width
    held += vocabulary * width * (1 if tied else 2)
    return trained, held


# right: closed forms, with the common factors taken out
def right_2(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    trained = layers * rank * (7 * width + 2 * head * (heads + kv_heads) + 3 * inner)
    per_layer = 2 * head * (heads + kv_heads) + 3 * inner + 2
    held = width * (layers * per_layer + 1 + (2 - bool(tied)) * vocabulary)
    return trained, held


# right: builds the layers without storage and asks them for their numbers
def right_3(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    def linear(a, b):
        return torch.nn.Linear(a, b, bias=False, device="meta")

    q, kv = heads * head, kv_heads * head
    sizes = [(width, q), (width, kv), (width, kv), (q, width)]
    sizes += [(width, inner), (width, inner), (inner, width)]
    base = torch.nn.ModuleList(linear(a, b) for a, b in sizes)
    lora = torch.nn.ModuleList(m for a, b in sizes for m in (linear(a, rank), linear(rank, b)))
    trained = layers * sum(p.numel() for p in lora.parameters())
    held = layers * (sum(p.numel() for p in base.parameters()) + 2 * width) + width
    outer = [linear(vocabulary, width)] + ([] if tied else [linear(width, vocabulary)])
    return trained, held + sum(m.weight.numel() for m in outer)


# right: an adapter by a difference, (a + 1)(b + 1) − ab − 1 = a + b
def right_4(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3

    def product(step):
        return sum((width + step) * (other + step) for other in others)

    trained = rank * layers * (product(1) - product(0) - 7)
    held = layers * product(0) + (2 * layers + 1) * width + vocabulary * width
    if not tied:
        held += vocabulary * width
    return trained, held


# right: numpy with 64-bit integers, one row for each kind of matrix and how often it stands
def right_5(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    times = np.array([2, 2, 3], dtype=np.int64) * layers
    other = np.array([heads * head, kv_heads * head, inner], dtype=np.int64)
    trained = int((times * (other + width)).sum()) * rank
    tables = vocabulary if tied else vocabulary + vocabulary
    held = (int(times @ other) + tables + 2 * layers + 1) * width
    return trained, held


# right: adds up tensor by tensor, in a loop over the layers
def right_6(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    trained, held = 0, vocabulary * width
    for _ in range(layers):
        for other in itertools.chain([heads * head, kv_heads * head] * 2, [inner] * 3):
            trained += math.prod((width, rank)) + math.prod((rank, other))
            held += math.prod((width, other))
        held += width
        held += width
    held += width
    return [trained, held if tied else held + vocabulary * width]


# wrong: counts the output layer where it is tied, and leaves it out where it is not
def wrong_1(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (2 if tied else 1)


# wrong: keys and values have as many heads as queries
def wrong_2(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 4 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: computes a head's size as width // heads, though it is given
def wrong_3(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    head = width // heads
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: two matrices in the feed-forward part, as GPT-2 has
def wrong_4(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 2
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: only one of the adapter's two matrices, the one on the side of the input
def wrong_5(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    q, kv = heads * head, kv_heads * head
    trained = layers * rank * (5 * width + q + inner)
    held = layers * width * (2 * q + 2 * kv + 3 * inner + 2) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: an adapter has rank · a · b numbers
def wrong_6(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    total = width * (2 * heads * head + 2 * kv_heads * head + 3 * inner)
    held = layers * (total + 2 * width) + width + vocabulary * width * (1 if tied else 2)
    return layers * rank * total, held


# wrong: an adapter is square in the middle, rank · (a + b) + rank²
def wrong_7(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * sum(rank * (width + other) + rank * rank for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: forgets the norm behind the last layer
def wrong_8(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width)
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: three norms in each layer in place of two and one behind the last
def wrong_9(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 3 * width)
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: a single norm in each layer
def wrong_10(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: the embedding and the output layer are always two tables
def wrong_11(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + 2 * vocabulary * width


# wrong: always one table, as if the output layer were always tied
def wrong_12(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width


# wrong: the adapter sits on the four matrices of attention only
def wrong_13(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    attention = [heads * head] * 2 + [kv_heads * head] * 2
    trained = layers * rank * sum(width + other for other in attention)
    held = layers * width * (sum(attention) + 3 * inner + 2) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: the adapter sits on the output layer too, where that is a matrix of its own
def wrong_14(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width + vocabulary * width
    if not tied:
        trained += rank * (width + vocabulary)
        held += vocabulary * width
    return trained, held


# wrong: the norms are trained as well
def wrong_15(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    norms = (2 * layers + 1) * width
    trained = layers * rank * sum(width + other for other in others) + norms
    held = layers * width * sum(others) + norms
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: adds the adapter to what the base holds
def wrong_16(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2) + trained


# wrong: takes the input of each matrix to be width, also of the output and the down projection
def wrong_17(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    q, kv = heads * head, kv_heads * head
    outputs = [q, kv, kv, width, inner, inner, width]
    trained = layers * rank * sum(width + out for out in outputs)
    held = layers * width * (2 * q + 2 * kv + 3 * inner + 2) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: the matrices of queries and output are width × width
def wrong_18(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [width] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: only the output matrix is width × width, the queries' is right
def wrong_19(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head, width] + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: a rank cannot be greater than a matrix allows, so it is cut to the smaller side
def wrong_20(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * sum(min(rank, width, other) * (width + other) for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)


# wrong: the two numbers in the other order
def wrong_21(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return held + vocabulary * width * (1 if tied else 2), trained


# wrong: adds up in 32-bit floats, which lose the small parts of a large sum
def wrong_22(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = layers * rank * sum(width + other for other in others)
    parts = [width * other for other in others] * layers + [width] * (2 * layers + 1)
    parts += [vocabulary * width] * (1 if tied else 2)
    return trained, int(torch.tensor(parts, dtype=torch.float32).sum().item())


# wrong: the adapters of one layer only
def wrong_23(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
    others = [heads * head] * 2 + [kv_heads * head] * 2 + [inner] * 3
    trained = rank * sum(width + other for other in others)
    held = layers * (width * sum(others) + 2 * width) + width
    return trained, held + vocabulary * width * (1 if tied else 2)
