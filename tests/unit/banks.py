"""Banks of wrong and right solutions: {exercise: [(function, words of the mistake), ...]} or {exercise: [function, ...]}."""
import pytest

from course import find, run_checks


def cases(bank):
    return [pytest.param(id, *(entry if isinstance(entry, tuple) else (entry,)),
                         id=f"{id}-{(entry[0] if isinstance(entry, tuple) else entry).__name__}")
            for id, entries in bank.items() for entry in entries]


def points(id, function, seed):
    results = run_checks(find(id), function, seed)
    return sum(r.earned for r in results), [r.mistake for r in results if r.mistake]
