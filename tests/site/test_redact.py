"""Names, addresses and paths go; what is none of these stays."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.warehouse.site.redact import Redactor, redactor

REDACT = Redactor(("gpu-12", "db7", "vm", "a"), ("alice",))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("db7", "node-2"),
        ("a", "node-1"),
        ("on db7: out of memory", "on node-2: out of memory"),
        ("db7.corp.example.com is gone", "<address> is gone"),
        ("power/vm/0001.parquet", "power/node-4/0001.parquet"),
        ("power/a/0001.parquet", "power/node-1/0001.parquet"),
        ("/home/alice/models/x.gguf", "<path>/x.gguf"),
        ("/home/alice", "<path>"),
        ("cannot open '/srv/data/m/config.json': denied", "cannot open '<path>/config.json': denied"),
        ("file:///srv/m/x.bin", "<path>/x.bin"),
        ("~/models/x.gguf", "<path>/x.gguf"),
        ("started by alice today", "started by <user> today"),
        ("listening on http://10.0.0.7:8000/health", "listening on <address>"),
        ("peer 10.0.0.7:8000.", "peer <address>:8000."),
        ("peer fe80::1ff:fe23:4567:890a%eth0", "peer <address>"),
        ("mail bob@example.org", "mail <address>"),
        ("port of 0a:1b:2c:3d:4e:5f", "port of <address>"),
        ("s3://bucket/key", "<address>"),
        (
            '{"host": "db7", "versions": {"cublas": "12.4.5.8"}}',
            '{"host": "node-2", "versions": {"cublas": "12.4.5.8"}}',
        ),
    ],
)
def test_it_goes(text, wanted):
    assert REDACT.value(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "meta-llama/Llama-3.1-8B-Instruct",
        "qwen2.5-0.5b",
        "600 tokens/s at 3 J/token",
        "2026.10.11549",
        "535.104.05",
        "12:30:45",
        "GPU-5f3c2a10-aaaa-bbbb-cccc-0123456789ab",
        "nvidia-cublas==12.4.5.8",
        "input/output",
        "a model of db70 and avm",
        "std::bad_alloc",
        "and/or",
        "/health",
        "0.1.0",
    ],
)
def test_it_stays(text):
    assert REDACT.value(text) == text


def test_off_everything_stays():
    whole = Redactor(("db7",), ("alice",), on=False)
    assert whole.value({"db7": "/home/alice/x"}) == {"db7": "/home/alice/x"}


def test_users_are_found_in_paths():
    found = redactor(["n1"], ["cannot read /home/carol/x", "/Users/dave/y"], on=True)
    assert found.users == ("carol", "dave")
    assert found.text("carol and dave") == "<user> and <user>"


def test_nested_columns_too():
    kind = pa.struct([("node", pa.string()), ("devices", pa.list_(pa.string()))])
    table = pa.table({"n": pa.array([[{"node": "db7", "devices": ["GPU-1"]}], None], pa.list_(kind)), "x": [1, 2]})
    assert REDACT.table(table).to_pylist() == [
        {"n": [{"node": "node-2", "devices": ["GPU-1"]}], "x": 1},
        {"n": None, "x": 2},
    ]


@given(st.text())
def test_any_text_can_be_redacted_and_again_with_no_change(text):
    once = REDACT.text(text)
    assert REDACT.text(once) == once
    assert "/home/alice" not in once
