"""Strict YAML 1.2: what YAML versions read differently is refused, at its place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.scenario.document import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_NODES,
    read_document,
    reads_as_text,
)
from sim.scenario.errors import ScenarioError


def _read(text: str) -> tuple[Any, list[str]]:
    errors: list[ScenarioError] = []
    root = read_document(text, "f", errors)
    return (None if root is None else root.plain()), [str(error) for error in errors]


def test_scalars_are_exact() -> None:
    plain, errors = _read('a: 1\nb: -2.50\nc: true\nd: text here\ne: "1"\nf: 80 ms\ng: [x, 0.1]\n')
    assert errors == []
    assert plain == {
        "a": 1,
        "b": Decimal("-2.50"),
        "c": True,
        "d": "text here",
        "e": "1",
        "f": "80 ms",
        "g": ["x", Decimal("0.1")],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("on", "`true` or `false`"),
        ("yes", "`true` or `false`"),
        ("No", "`true` or `false`"),
        ("n", "`true` or `false`"),
        ("True", "is written `true` or `false`"),
        ("1e3", "exponent"),
        ("1.5E-3", "exponent"),
        ("0123", "leading zero"),
        ("00", "leading zero"),
        ("0x1F", "not decimal"),
        ("0o17", "not decimal"),
        ("1_000", "underscores"),
        ("12:30", "base-60"),
        ("1:30:00", "base-60"),
        (".5", "written short"),
        ("5.", "written short"),
        ("+5", "written short"),
        (".inf", "not a finite number"),
        (".nan", "not a finite number"),
        ("2026-11-22", "a date"),
        ("~", "no value"),
        ("null", "no value"),
    ],
)
def test_traps_are_refused_unless_quoted(text: str, words: str) -> None:
    _, errors = _read(f"key: {text}\n")
    assert len(errors) == 1
    assert errors[0].startswith("f:1:6: ")
    assert words in errors[0]
    assert _read(f'key: "{text}"\n') == ({"key": text}, [])
    # A key falls into the same traps.
    if text not in ("null", "~"):
        assert words in _read(f"{text}: 1\n")[1][0]


def test_the_places_of_all_traps_are_given_at_once() -> None:
    _, errors = _read("a: on\nb:\n  - 1e3\n  - {c: 0123}\nd:\n")
    assert [error.split(": ")[0] for error in errors] == ["f:1:4", "f:3:5", "f:4:9", "f:5:1"]


def test_duplicate_keys_are_refused_at_every_depth() -> None:
    _, errors = _read("a: {b: 1, b: 2}\nc: 1\nc: 2\n")
    assert errors == [
        "f:1:11: `b` stands here twice; first at line 1",
        "f:3:1: `c` stands here twice; first at line 2",
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: &x 1\n", "f:1:4", "anchor &x"),
        ("a: *x\n", "f:1:4", "alias *x"),
        ("a: !!int 3\n", "f:1:4", "tag tag:yaml.org,2002:int"),
        ("a: !mine 3\n", "f:1:4", "tag !mine"),
        ("<<: {a: 1}\n", "f:1:1", "merge key"),
        ("a: 1\n---\nb: 2\n", "f:2:1", "second document"),
        ("%YAML 1.1\n---\na: 1\n", "f:1:1", "directives"),
        ("a: 1\n\tb: 2\n", "f:2:1", "a tab indents"),
        ("a:\n  \t- b\n", "f:2:3", "a tab indents"),
        ("a: [1, 2\n", "f:2:1", "not YAML"),
        ("a: b: c\n", "f:1:5", "not YAML"),
        ("", "f:1:1", "empty"),
        ("# only a comment\n", "f:1:1", "empty"),
        ("a: \x07\n", "f:1:4", "control character U+0007"),
        ("\ufeffa: 1\n", "f:1:1", "control character U+FEFF"),
        ("1: a\n", "f:1:1", "a key is text"),
        ("[a]: b\n", "f:1:1", "a key is text"),
    ],
)
def test_syntax_is_refused_at_its_place(text: str, place: str, words: str) -> None:
    _, errors = _read(text)
    assert any(error.startswith(f"{place}: ") and words in error for error in errors), errors


def test_bombs_are_refused() -> None:
    # Nine levels of nine aliases each would be 9**9 values.
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    plain, errors = _read("\n".join(lines) + "\n")
    assert len(errors) == 9 + 8 * 9
    assert plain is not None
    assert "levels deep" in _read("[" * (MAX_DEPTH + 1))[1][0]
    assert f"{MAX_NODES} values" in _read("[" + "1," * (MAX_NODES + 1) + "]")[1][0]
    assert "longer than" in _read("#" * (MAX_CHARACTERS + 1))[1][0]


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    plain, errors = _read(text)
    assert plain is not None or errors


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12))
def test_what_reads_as_text_plain_is_that_text(text: str) -> None:
    plain, errors = _read(f"key: {text}\n")
    if plain == {"key": text} and not errors:
        assert reads_as_text(text)
