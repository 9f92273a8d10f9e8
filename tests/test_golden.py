"""Results are what they were; see golden.py, which also says how to record them anew."""

from __future__ import annotations

import json

import golden
import pytest


@pytest.mark.parametrize("name", golden.CASES)
def test_results_stay(name: str) -> None:
    assert golden.check(name, exact=False) == []


def test_messages_stay() -> None:
    expected = json.loads((golden.FOLDER / "messages.json").read_text())
    assert golden.differences(golden.messages(), expected, 0.02) == []


def test_differences_are_seen() -> None:
    expected = {"a": ["used: 1.00 levels", 2.0], "b": None}
    assert golden.differences({"a": ["used: 1.01 levels", 2.01], "b": None}, expected, 0.02) == []
    assert golden.differences({"a": ["used: 1.01 levels", 2.0], "b": None}, expected, 0) != []
    for other in ({"a": ["used: 1.20 levels", 2.0], "b": None}, {"a": ["not used: 1.00 levels", 2.0], "b": None},
                  {"a": ["used: 1.00 levels", 2.0]}, {"a": ["used: 1.00 levels"], "b": None}):  # fmt: skip
        assert golden.differences(other, expected, 0.02) != []
