"""JSON documents with one value or another spoilt, whatever they say."""

import copy
import json
from typing import Any

import numpy as np
from numpy.random import Generator

from .octets import damage

JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, "", "x" * 5000, "\x00", "\u202e", 0, -1, 1e308, -1e308, 1e-320, 2**63, 10**19),
    *([[]], {"": {}}, {"value": 1}, {"value": None, "unit": []}, ["a"] * 300, "0001-01-01", "9999-99-99", "1960-13"),
)


def damaged_json(document: Any, draw: Generator) -> bytes:
    """Some of its values spoilt, and sometimes its text."""
    changed = copy.deepcopy(document)
    for _ in range(int(draw.choice([1, 1, 1, 2, 4]))):
        changed = change_json(changed, draw)
    text = json.dumps(changed, ensure_ascii=bool(draw.integers(2))).encode("utf-8", "surrogatepass")
    return damage(text, draw) if draw.random() < 0.25 else text


def change_json(node: Any, draw: Generator, depth: int = 0) -> Any:
    """Spoil one value somewhere below."""
    children = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    if isinstance(node, str) and draw.random() < 0.4:
        return node + " x" if draw.random() < 0.5 else node[:-1]
    if isinstance(node, int | float) and draw.random() < 0.4:
        return node * (2, -1, 1.25, 10**6)[int(draw.integers(4))]
    if not children or draw.random() < (0.02 if depth == 0 else 0.15):
        return copy.deepcopy(JSON_VALUES[int(draw.integers(len(JSON_VALUES)))])
    at = children[int(draw.integers(len(children)))]
    match int(draw.integers(8)):
        case 0:
            del node[at]
        case 1 if isinstance(node, dict):
            node[str(draw.choice(np.array(["", "x", at.upper(), f" {at}", "resourceType"])))] = node[at]
        case 1:
            node.insert(at, copy.deepcopy(node[at]))
        case 2:
            other = children[int(draw.integers(len(children)))]
            node[at], node[other] = node[other], node[at]
        case 3:
            for _ in range(int(draw.choice([1, 3, 80]))):
                node[at] = [node[at]] if draw.random() < 0.5 else {"a": node[at]}
        case _:
            node[at] = change_json(node[at], draw, depth + 1)
    return node
