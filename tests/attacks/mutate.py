"""Seeded changes to JSON files, of the kinds that damage and malice make."""

import copy
import json

EVIL = [
    None, True, False, 0, -1, 1, 2, 1.5, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 1e308, "", "evil", "none", "../..", "\0",
    "\udcff", "a" * 64, "0" * 10_000, [], [[]], [None], [1, 2], ["evil"], [10**6, 10**6], {}, {"a": 1}, {"a": {"b": [1]}},
]  # fmt: skip
"""What may come in the place of any value."""

BYTES = [
    b"", b"null", b"[]", b'"text"', b"5", b"NaN", b"{", b"\xff\xfe", b"\x00", b"[" * 100_000, b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000, b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1' + b"0" * 5000 + b"}", b" " * 1000,
]  # fmt: skip
"""What may come in the place of a whole file."""


def places(value, path=()):
    """The keys and positions that lead to every value inside of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mutated(values, rng):
    """A copy with one to three changes."""
    values = copy.deepcopy(values)
    for _ in range(rng.randint(1, 3)):
        found = list(places(values))
        if not found:
            return values
        *above, key = rng.choice(found)
        inside = values
        for step in above:
            inside = inside[step]
        change = rng.random()
        if change < 0.15:
            del inside[key]
        elif change < 0.25 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        elif change < 0.3 and isinstance(inside, dict):
            inside["unknown"] = copy.deepcopy(rng.choice(EVIL))
        else:
            inside[key] = copy.deepcopy(rng.choice(EVIL))
    return values


def with_text_everywhere(values, text):
    """Copies, in each of which one value is this text."""
    for *above, key in places(values):
        changed = inside = copy.deepcopy(values)
        for step in above:
            inside = inside[step]
        inside[key] = text
        yield changed


def mutated_bytes(values, rng):
    """The file of a JSON object after changes: now and then cut, with a byte changed, or another file altogether."""
    data = json.dumps(mutated(values, rng)).encode()
    change = rng.random()
    if change < 0.05:
        return rng.choice(BYTES)
    if change < 0.1:
        return data[: rng.randrange(len(data))]
    if change < 0.15:
        position = rng.randrange(len(data))
        return data[:position] + bytes([rng.randrange(256)]) + data[position + 1 :]
    if change < 0.2:
        return data.replace(b"1", rng.choice([b"NaN", b"-Infinity", b"1e999", b"[" * 50_000]), 1)
    return data
