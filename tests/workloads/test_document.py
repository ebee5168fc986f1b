"""Places, YAML 1.2 scalars and strictness of the YAML reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.warehouse.errors import BadInput, NewerSchema
from joulemark.workloads.document import check_schema, parse_document


def test_scalars_follow_yaml_1_2():
    text = "{a: true, b: no, c: on, d: 1:30, e: 12, f: 1e9, g: 0.5, h: null, i: '12', j: 2026-11-01, k: -3, l: 0x10}"
    assert parse_document(text, "f").plain() == {
        "a": True,
        "b": "no",
        "c": "on",
        "d": "1:30",
        "e": 12,
        "f": 1e9,
        "g": 0.5,
        "h": None,
        "i": "12",
        "j": "2026-11-01",
        "k": -3,
        "l": "0x10",
    }


def test_every_value_and_key_knows_its_place():
    top = parse_document("a: 1\nb:\n  c: [x, y]\n", "f.yaml")
    b = top.mapping("m")["b"]
    assert top.keys["b"] == "f.yaml:2:1"
    assert b.keys["c"] == "f.yaml:3:3"
    assert [i.where for i in b.mapping("m")["c"].elements()] == ["f.yaml:3:7", "f.yaml:3:10"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f:1:1: the file is empty"),
        ("a: [1", "f:1:6: not valid YAML"),
        ("a: 1\na: 2", "f:2:1: the key 'a' was already given at f:1:1"),
        ("a: &x [*x]", "this value contains itself"),
        ("? [1]\n: 2", "f:1:3: a key must be a word"),
        ("a: 1\n---\nb: 2", "f:2:1: not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: *nowhere", "f:1:4: not valid YAML"),
        ("\ta: 1", "f:1:1: not valid YAML"),
    ],
)
def test_bad_yaml_is_one_line_with_its_place(text, says):
    with pytest.raises(BadInput) as caught:
        parse_document(text, "f")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=80))
def test_no_text_makes_anything_but_a_value_or_a_bad_input(text):
    message = "f:"
    try:
        parse_document(text, "f")
    except BadInput as error:
        message = str(error)
    assert message.startswith("f:")


def test_anchors_may_be_used_twice():
    assert parse_document("a: &x {k: 1}\nb: *x", "f").plain() == {"a": {"k": 1}, "b": {"k": 1}}


def test_unknown_keys_name_the_nearest():
    with pytest.raises(BadInput, match=r"f:1:2: unknown key 'wurm' in pets: did you mean worm\? \(known: worm, cat\)"):
        parse_document("{wurm: 1}", "f").fields(("worm", "cat"), "pets")


@pytest.mark.parametrize(
    ("call", "text", "says"),
    [
        ("text", "12", "expected x; write it in quotes, found 12"),
        ("text", "[a]", "expected x, found a list"),
        ("whole", "1.5", "expected x, a whole number, found 1.5"),
        ("whole", "true", "a whole number, found True"),
        ("whole", "-1", "x must be at least 0, found -1"),
        ("number", "abc", "expected x, a number, found 'abc'"),
        ("flag", "yes", "expected x, true or false, found 'yes'"),
        ("duration_s", "30 days", "write for example 30s"),
        ("duration_s", "{a: 1}", "expected x, a duration such as 30s, found a mapping"),
        ("date", "2026-13-01", "a date such as 2026-11-20"),
        ("scalar", "[1]", "expected x, found a list"),
        ("mapping", "~", "expected x, found nothing"),
    ],
)
def test_wrong_types_say_what_was_expected(call, text, says):
    with pytest.raises(BadInput) as caught:
        getattr(parse_document(text, "f"), call)("x")
    assert says in str(caught.value)
    assert str(caught.value).startswith("f:1:1: ")


def test_whole_floats_are_whole_numbers():
    assert parse_document("1e3", "f").whole("x") == 1000


def test_schema_is_wanted_and_newer_ones_refused():
    check_schema(parse_document("schema: 1", "f"), "a sweep file")
    with pytest.raises(BadInput, match="write 'schema: 1'"):
        check_schema(parse_document("name: x", "f"), "a sweep file")
    with pytest.raises(NewerSchema, match=r"f:2:9: schema 2 is newer .* upgrade joulemark"):
        check_schema(parse_document("name: x\nschema: 2", "f"), "a sweep file")
