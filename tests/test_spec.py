"""The specification: every clause names tests that exist, and its table has the fields of a record."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from pathlib import Path

import pytest

from cvcache.protocol import RECORD_SCHEMA, RECORD_STATES, Record, Standing
from cvcache.store import layout
from cvcache.testing import StoreTests

TESTS = Path(__file__).parent
SPEC = (TESTS.parent / "docs" / "reference" / "spec.md").read_text()
CLAUSES = re.findall(r"^\* \*\*([A-Z]\d+)\*\* (.*?)(?=\n(?:\* |\n))", SPEC, re.MULTILINE | re.DOTALL)
FIELDS = {row.split("|")[1].strip(): row for row in SPEC.partition("\n| field |")[2].split("\n\n")[0].splitlines()[2:]}
"""What a row of the table is about, and the row."""


@functools.cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_clauses_are_numbered_in_order() -> None:
    numbers = [number for number, _ in CLAUSES]
    assert len(numbers) > 60
    assert re.findall(r"\*\*([A-Z]\d+)\*\*", SPEC) == numbers
    for letter in {number[0] for number in numbers}:
        of_letter = [number for number in numbers if number[0] == letter]
        assert of_letter == [f"{letter}{at}" for at in range(1, len(of_letter) + 1)]


@pytest.mark.parametrize(("number", "text"), CLAUSES, ids=[number for number, _ in CLAUSES])
def test_every_clause_names_tests_that_exist(number: str, text: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", text)
    of_stores = re.findall(r"`(test_\w+)`", text)
    assert named or of_stores, number
    assert all(name in functions_in(path) for path, name in named), named
    assert all(hasattr(StoreTests, name) for name in of_stores), of_stores
    assert text.count("::") == len(named)


def test_the_table_has_every_field_of_a_record() -> None:
    named = [name for subject in FIELDS for name in re.findall(r"`(\w+)`", subject)]
    assert sorted(named) == sorted(["v", *(field.name for field in dataclasses.fields(Record))])


def test_the_table_says_schema_states_and_the_fields_of_what_stands() -> None:
    assert f"| {RECORD_SCHEMA} |" in FIELDS["`v`"]
    assert tuple(re.findall(r"`(\w+)`", FIELDS["`state`"])[1:]) == RECORD_STATES
    assert re.findall(r"`(\w+)`", FIELDS["`standing`"])[1:] == [field.name for field in dataclasses.fields(Standing)]
    assert SPEC.startswith(f"# The format on disk, schema {RECORD_SCHEMA}\n")


def test_the_layout_has_every_directory_of_attempts() -> None:
    shown = re.findall(r"^<node>/_cvcache/(\w+)/<attempt>", SPEC, re.MULTILINE)
    assert set(shown) == set(layout.ATTEMPT_DIRS)
