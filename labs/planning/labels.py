"""Which labels to buy next."""

from collections.abc import Sequence


def most_uncertain(margins: Sequence[float], count: int) -> list[int]:
    """The places of the `count` pairs whose rewards lie closest together, the closest first; equal
    distances keep the order of the pairs.

    margins: how much more reward the first reply of each pair gets
    """
    return sorted(range(len(margins)), key=lambda place: abs(margins[place]))[:count]
