"""Phases apart by a regression inside the window: it finds what is there, says how well, and when it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from synthetic import S, Spec, manifest, request_table

from joulemark.warehouse.build.phase_regression import FEWEST_BINS, PhaseCosts, phase_costs
from joulemark.warehouse.build.token_bins import answer_tokens
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.store.layout import segment_file, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.warehouse.store.parquet import write_table

PREFILL_J, DECODE_J = 0.02, 0.3


def bins(random, count, noise, *, kept=0.0):
    """Return energies with errors of which the share ``kept`` goes on into the next bin, and both kinds of tokens."""
    prompt, answer = random.uniform(0, 500, count), random.uniform(10, 100, count)
    errors = random.normal(0, noise, count)
    for i in range(1, count):
        errors[i] += kept * errors[i - 1]
    return prompt * PREFILL_J + answer * DECODE_J + errors, prompt, answer


def test_without_noise_it_is_exact():
    found = phase_costs(*bins(np.random.default_rng(1), 40, 0.0))
    assert found.prefill_j == pytest.approx(PREFILL_J)
    assert found.decode_j == pytest.approx(DECODE_J)
    assert found.prefill_half_j == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(kept):
    random = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        found = phase_costs(*bins(random, 120, 2.0, kept=kept))
        held += abs(found.decode_j - DECODE_J) <= found.decode_half_j
    assert 0.88 <= held / 400 <= 0.99


def test_what_the_window_does_not_tell_is_not_told():
    energy, prompt, answer = bins(np.random.default_rng(3), FEWEST_BINS, 1.0)
    assert isinstance(phase_costs(energy, prompt, answer), PhaseCosts)
    assert phase_costs(energy[1:], prompt[1:], answer[1:]) == "few_bins"
    assert phase_costs(energy, prompt * 0, answer) == "one_phase"
    assert phase_costs(energy, answer * 4, answer) == "phases_in_step"


def test_tokens_are_counted_where_they_came():
    window = Interval(1_000_000, 2_000_500)
    rows = [
        # Two tokens in the first chunk, of which one is the prompt's; the last chunk comes after the window.
        {"sent_at": 900_000, "chunk_dt_us": [100_000, 150_000, 900_000], "chunk_tokens": [2, 3, 5]},
        {"sent_at": 1_000_000, "chunk_dt_us": None, "chunk_tokens": None},
        {"sent_at": 1_000_000, "chunk_dt_us": [], "chunk_tokens": None},
        # One token in each: before the window, in its first bin, at its end.
        {"sent_at": 800_000, "chunk_dt_us": [100_000, 100_000, 999_999, 400], "chunk_tokens": None},
    ]
    fields = [DATASETS["requests"].arrow.field(name) for name in ("sent_at", "chunk_dt_us", "chunk_tokens")]
    counts = answer_tokens(pa.Table.from_pylist(rows, schema=pa.schema(fields)), window, 100_000)
    assert counts.tolist() == [1 + 1, 3, 0, 0, 0, 0, 0, 0, 0, 1]
    assert answer_tokens(pa.schema(fields).empty_table(), window, 100_000).tolist() == [0] * 10


def phased(warehouse, spec):
    """Write a trial of one stream whose power depends on what is worked on; return its window.

    Prompts and answers have all lengths, so that the mix varies.
    """
    at_us, random = 1_760_000_000_000_000, np.random.default_rng(4)
    like = request_table(spec, at_us)[0]
    (template,) = like.slice(0, 1).to_pylist()
    rows, t_us, energy_j = [], [at_us, at_us + 15 * S], [0.0, 150.0]
    while t_us[-1] < at_us + 78 * S:
        prompt, answer = int(random.integers(50, 2000)), int(random.integers(2, 40))
        sent_us, dts = t_us[-1], [prompt * 200, *[20_000] * (answer - 1)]
        t_us += [sent_us + dts[0], sent_us + sum(dts)]
        energy_j += [energy_j[-1] + prompt * PREFILL_J, energy_j[-1] + prompt * PREFILL_J + (answer - 1) * DECODE_J]
        instants = {"scheduled_at": sent_us, "sent_at": sent_us, "first_token_at": t_us[-2]}
        instants |= {"last_token_at": t_us[-1], "ended_at": t_us[-1], "chunk_dt_us": dts}
        rows.append(template | instants | {"request": len(rows), "input_tokens": prompt, "output_tokens": answer})
    power = _power(np.arange(at_us, t_us[-1], 50_000, dtype=np.int64), t_us, energy_j)
    requests = pa.Table.from_pylist(rows, schema=like.schema)
    traces = (
        write_table(warehouse, DATASETS["power"], segment_file("power", "node-a", "1"), power),
        write_table(warehouse, DATASETS["requests"], trial_file("requests", spec.trial), requests),
    )
    made = manifest(spec, at_us, traces)
    window = Interval(at_us + 20 * S, at_us + 78 * S)
    commit(warehouse, replace(made, nodes=(replace(made.nodes[0], window=window),), ended_us=t_us[-1]))
    return window


def _power(polls_us, t_us, energy_j):
    """Return the readings of a counter at ``polls_us``."""
    count = len(polls_us)
    source = {"node": "node-a", "meter": "cpu-model", "device": "cpu", "scope": "cpu_process", "fidelity": "modelled"}
    columns = {
        **{name: [value] * count for name, value in source.items()},
        "t": pa.array(polls_us, pa.timestamp("us", tz="UTC")),
        "power_mw": pa.nulls(count, pa.int32()),
        "energy_uj": np.rint(np.interp(polls_us, t_us, energy_j) * 1e6).astype(np.int64),
        "reason": pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=DATASETS["power"].arrow)


def test_a_whole_trial(tmp_path):
    warehouse = Warehouse.at(str(tmp_path))
    window = phased(warehouse, Spec())
    with open_warehouse(tmp_path) as connection:
        (row,) = connection.sql("from phase_estimates").to_pylist()
    assert row["reason"] is None
    assert row["bins"] == pytest.approx(window.seconds / row["bin_s"], abs=1)
    assert row["prefill_j_per_token"] == pytest.approx(PREFILL_J, rel=0.05)
    assert row["decode_j_per_token"] == pytest.approx(DECODE_J, rel=0.05)
    assert abs(row["decode_j_per_token"] - DECODE_J) < 3 * row["decode_half_j"] < 0.2 * DECODE_J
