import re
from decimal import Decimal, localcontext

import numpy as np


# right: adds column by column with a carry, so that no length is too long, and compares the lists of words
def right_1(prompt, response):
    left, _, right = prompt.split(":")[-1].partition("+")
    a = [int(c) for c in reversed(left) if c in "0123456789"]
    b = [int(c) for c in reversed(right) if c in "0123456789"]
    digits, carry = [], 0
    for i in range(max(len(a), len(b)) + 1):
        carry, digit = divmod((a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) + carry, 10)
        digits.insert(0, str(digit))
    while len(digits) > 1 and digits[0] == "0":
        digits.pop(0)
    return float(response.split() == digits + ["<eos>"])


# right: checks the form of the response first, then reads its digits as a number and compares the numbers
def right_2(prompt, response):
    def number(words):
        value = 0
        for word in words:
            value = 10 * value + int(word)
        return value

    *words, stop = response.split() or [""]
    if stop != "<eos>" or not words or any(word not in list("0123456789") for word in words):
        return 0.0
    if len(words) > 1 and words[0] == "0":
        return 0.0
    try:
        asked = prompt.split()
        plus = asked.index("+")
        total = number(asked[asked.index(":") + 1 : plus]) + number(
            asked[plus + 1 : asked.index("=")]
        )
    except ValueError:
        return 0.0
    return 1.0 if number(words) == total else 0.0


# right: numpy columns, carries passed on from the right, and one string to compare with
def right_3(prompt, response):
    parts = [re.findall("[0-9]", part) for part in prompt.split(":")[-1].split("+")]
    width = max(len(part) for part in parts) + 1
    columns = np.zeros(width, dtype=np.int64)
    for part in parts:
        if part:
            columns[width - len(part) :] += np.array([int(c) for c in part], dtype=np.int64)
    for i in range(width - 1, 0, -1):
        columns[i - 1] += columns[i] // 10
        columns[i] %= 10
    text = "".join(map(str, columns)).lstrip("0") or "0"
    return float(" ".join(response.split()) == " ".join(text) + " <eos>")


# right: a regular expression for the prompt, exact decimals for the sum, then word by word with equal lengths
def right_4(prompt, response):
    found = re.search(r":([0-9\s]+)\+([0-9\s]+)=", prompt)
    if not found:
        return 0.0
    a, b = ("".join(group.split()) for group in found.groups())
    with localcontext() as context:
        context.prec = len(a) + len(b) + 2
        total = format(Decimal(a) + Decimal(b), "f")
    want, said = [*total, "<eos>"], response.split()
    return float(len(want) == len(said) and all(w == s for w, s in zip(want, said)))


# wrong: reads the words before the stop token as one number, so "66 <eos>" and "0 6 6 <eos>" are right as well
def wrong_1(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    words = response.split()
    if not words or words[-1] != "<eos>":
        return 0.0
    try:
        return float(int("".join(words[:-1])) == int(a) + int(b))
    except ValueError:
        return 0.0


# wrong: takes the stop token away before it compares, so a response without it is right as well
def wrong_2(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    said = response.replace("<eos>", "").split()
    return float(said == list(str(int(a) + int(b))))


# wrong: looks only at what stands before the first stop token, so anything may follow it
def wrong_3(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    said, stop, _ = response.partition("<eos>")
    return float(stop == "<eos>" and said.split() == list(str(int(a) + int(b))))


# wrong: the right total at the end is enough, whatever stands before it, even another digit
def wrong_4(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    want = " ".join(str(int(a) + int(b))) + " <eos>"
    return float(response.strip().endswith(want))


# wrong: raises on a response that is empty or has a word that is no digit
def wrong_5(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    words = response.split()
    digits = [int(word) for word in words[:-1]]
    total = int(a) + int(b)
    return float(words[-1] == "<eos>" and digits == [int(c) for c in str(total)])


# wrong: takes for granted that both numbers have two digits
def wrong_6(prompt, response):
    words = prompt.split()
    a, b = int(words[2] + words[3]), int(words[5] + words[6])
    return float(response.split() == [*str(a + b), "<eos>"])


# wrong: zip ends with the shorter list, so an empty response, a beginning, and a right one with a tail are right
def wrong_7(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    want = [*str(int(a) + int(b)), "<eos>"]
    return float(all(w == s for w, s in zip(want, response.split())))


# wrong: takes away all spaces, so digits that stand together, as in "66<eos>", are right as well
def wrong_8(prompt, response):
    a, b = prompt.split(":")[1].split("=")[0].replace(" ", "").split("+")
    return float("".join(response.split()) == f"{int(a) + int(b)}<eos>")
