"""Answers to choose.uncovered, written from the exercise's text alone."""

from itertools import accumulate


# right: Sweep over the ends as events; at equal places a start counts before an end
def right_1(ranges):
    events = []
    for low, high in ranges:
        events.append((low, 0))
        events.append((high, 1))
    events.sort()
    gaps = []
    inside = 0
    left = None
    for place, is_end in events:
        if is_end:
            inside -= 1
            if inside == 0:
                left = (place,)
        else:
            if inside == 0 and left is not None and left[0] < place:
                gaps.append((left[0], place))
            inside += 1
    return gaps


# right: Begin with the whole stretch as one gap and cut each range out of the gaps left
def right_2(ranges):
    if not ranges:
        return []
    bottom = min(low for low, high in ranges)
    top = max(high for low, high in ranges)
    gaps = [(bottom, top)] if bottom < top else []
    for low, high in ranges:
        pieces = []
        for a, b in gaps:
            if high <= a or low >= b:
                pieces.append((a, b))
            else:
                if a < low:
                    pieces.append((a, low))
                if high < b:
                    pieces.append((high, b))
        gaps = pieces
    return gaps


# right: Running maximum of the high ends, zipped with the next low ends
def right_3(ranges):
    ordered = sorted(ranges)
    reached = accumulate((high for _, high in ordered), max)
    return [(h, l) for h, (l, _) in zip(reached, ordered[1:]) if h < l]


# right: A gap begins at each high end that no range goes on from, and ends at the next low end
def right_4(ranges):
    lows = {low for low, _ in ranges}
    highs = {high for _, high in ranges}
    starts = (h for h in sorted(highs) if not any(a <= h < b for a, b in ranges))
    return [(h, min(l for l in lows if l > h)) for h in starts if any(l > h for l in lows)]


# wrong: Fault: relies on the ranges being given from low to high (never sorts)
def wrong_1(ranges):
    gaps = []
    reach = None
    for low, high in ranges:
        if reach is not None and low > reach:
            gaps.append((reach, low))
        reach = high if reach is None else max(reach, high)
    return gaps


# wrong: Fault: compares with the previous range only, so a range inside an earlier one makes a false gap
def wrong_2(ranges):
    ordered = sorted(ranges)
    gaps = []
    for before, after in zip(ordered, ordered[1:]):
        if after[0] > before[1]:
            gaps.append((before[1], after[0]))
    return gaps


# wrong: Fault: an end is counted before a start at the same place, so touching ranges give an empty gap
def wrong_3(ranges):
    events = []
    for low, high in ranges:
        events.append((low, 1))
        events.append((high, -1))
    events.sort()
    gaps = []
    depth = 0
    gap_start = None
    for place, step in events:
        if step == 1 and depth == 0 and gap_start is not None:
            gaps.append((gap_start, place))
        depth += step
        if depth == 0:
            gap_start = place
    return gaps


# wrong: Fault: fails with an IndexError on the empty list
def wrong_4(ranges):
    ordered = sorted(ranges)
    gaps = []
    reach = ordered[0][1]
    for low, high in ordered[1:]:
        if low > reach:
            gaps.append((reach, low))
        reach = max(reach, high)
    return gaps


# wrong: Fault: thinks of whole numbers with both ends inside, so gaps of width one (or less) are left out
def wrong_5(ranges):
    gaps = []
    ordered = sorted(ranges)
    reach = None
    for low, high in ordered:
        if reach is None:
            reach = high
            continue
        if low > reach + 1:
            gaps.append((reach, low))
        if high > reach:
            reach = high
    return gaps


# wrong: Fault: sorts by the high end, so a long range that ends late but starts early comes too late
def wrong_6(ranges):
    ordered = sorted(ranges, key=lambda r: r[1])
    gaps = []
    for i in range(1, len(ordered)):
        reach = ordered[i - 1][1]
        low = ordered[i][0]
        if low > reach:
            gaps.append((reach, low))
    return gaps


# wrong: Fault: a dictionary by low end keeps only the last of several ranges that start at the same place
def wrong_7(ranges):
    ends = dict(ranges)
    gaps = []
    reach = None
    for low in sorted(ends):
        if reach is not None and low > reach:
            gaps.append((reach, low))
        reach = ends[low] if reach is None else max(reach, ends[low])
    return gaps


# wrong: Fault: "if reach" is meant to ask whether there is a reach yet, but a reach of 0 is also false
def wrong_8(ranges):
    gaps = []
    reach = None
    for low, high in sorted(ranges):
        if reach and low > reach:
            gaps.append((reach, low))
        if reach is None or high > reach:
            reach = high
    return gaps
