"""Answers to cost.cache_bytes, written from the exercise's text alone."""

import operator
from itertools import accumulate
from math import prod


# right: one product, with 2 for keys and values
def right_1(layers, kv_heads, head, rows, length, size):
    return 2 * layers * kv_heads * head * rows * length * size


# right: step by step, keys and values added
def right_2(layers, kv_heads, head, rows, length, size):
    width = kv_heads * head
    keys = layers * rows * length * width
    values = layers * rows * length * width
    return (keys + values) * size


# right: a sum over the layers, each with a shape for keys and one for values
def right_3(layers, kv_heads, head, rows, length, size):
    total = 0
    for _ in range(layers):
        for shape in ((rows, kv_heads, length, head), (rows, length, kv_heads, head)):
            total += prod(shape) * size
    return total


# right: the last of the running products of the reversed arguments
def right_4(layers, kv_heads, head, rows, length, size):
    *_, last = accumulate((length, rows, head, kv_heads, layers, size, 2), operator.mul)
    return last


# wrong: keys and values counted once, the factor 2 forgotten
def wrong_1(layers, kv_heads, head, rows, length, size):
    return layers * kv_heads * head * rows * length * size


# wrong: two bytes a number always, size is ignored
def wrong_2(layers, kv_heads, head, rows, length, size):
    bytes_per_token = 2 * layers * kv_heads * head * 2
    return bytes_per_token * rows * length


# wrong: only the earlier tokens, so one too few in each row
def wrong_3(layers, kv_heads, head, rows, length, size):
    return 2 * layers * kv_heads * head * rows * max(length - 1, 0) * size


# wrong: adds up the cache at every step, so 1 + 2 + ... + length tokens; right at length 1
def wrong_4(layers, kv_heads, head, rows, length, size):
    per_token = 2 * layers * kv_heads * head * size
    return sum(per_token * rows * (step + 1) for step in range(length))


# wrong: rows forgotten, as if there was one response; right with one row
def wrong_5(layers, kv_heads, head, rows, length, size):
    return 2 * layers * kv_heads * head * length * size


# wrong: a number takes whole bytes and at least one, so half a byte (4 bits) counts as 1
def wrong_6(layers, kv_heads, head, rows, length, size):
    size = max(1, int(size))
    return 2 * layers * kv_heads * head * rows * length * size


# wrong: rounds the length up to blocks of 16 tokens; right for the usual lengths
def wrong_7(layers, kv_heads, head, rows, length, size):
    blocks = -(-length // 16)
    return 2 * layers * kv_heads * head * rows * blocks * 16 * size


# wrong: missing brackets, only the values are multiplied by size; right with one byte
def wrong_8(layers, kv_heads, head, rows, length, size):
    keys = layers * kv_heads * head * rows * length
    values = layers * kv_heads * head * rows * length
    return keys + values * size
