"""Results of other tools: told apart, taken in with their source, never among measured rows."""

from __future__ import annotations

import hashlib
import json

import pytest
from synthetic import Spec, add_trial, cells

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.importers.format import Said
from joulemark.warehouse.importers.read import import_file
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.store.location import Warehouse

VLLM = {
    "date": "20260102-030405",
    "endpoint_type": "openai",
    "backend": "openai",
    "label": None,
    "model_id": "Qwen/Qwen3-8B",
    "tokenizer_id": "Qwen/Qwen3-8B",
    "num_prompts": 1000,
    "request_rate": 8.0,
    "burstiness": 1.0,
    "max_concurrency": 64,
    "duration": 125.5,
    "completed": 998,
    "failed": 2,
    "total_input_tokens": 510976,
    "total_output_tokens": 127744,
    "request_throughput": 7.952,
    "output_throughput": 1017.88,
    "total_token_throughput": 5089.4,
    "itls": [[0.01, 0.02]],
    "mean_ttft_ms": 60.0,
    "median_ttft_ms": 50.0,
    "p99_ttft_ms": 180.0,
    "median_tpot_ms": 12.0,
    "median_itl_ms": 11.5,
    "p99_itl_ms": 40.0,
}
ML_ENERGY = {
    "task": "gpqa",
    "task_display_name": "GPQA Diamond",
    "configurations": [
        {
            "model_id": "Qwen/Qwen3-8B",
            "nickname": "Qwen3-8B",
            "gpu_model": "H100",
            "num_gpus": 1,
            "total_params_billions": 8.0,
            "activated_params_billions": 8.0,
            "max_num_seqs": 128,
            "max_num_batched_tokens": None,
            "energy_per_token_joules": 0.21,
            "energy_per_request_joules": 812.5,
            "median_itl_ms": 25.0,
            "output_throughput_tokens_per_sec": 3100.0,
            "p95_itl_ms": 31.0,
            "avg_batch_size": 121.5,
        },
        {"model_id": "broken", "gpu_model": "H100", "energy_per_token_joules": float("nan")},
        {"gpu_model": "H100", "energy_per_token_joules": 1.0},
    ],
}
LM_EVAL = {
    "results": {
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": 0.78,
            "exact_match_stderr,strict-match": 0.01,
            "exact_match,flexible-extract": 0.8,
            "exact_match_stderr,flexible-extract": 0.01,
        },
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 9.5, "word_perplexity_stderr,none": "N/A"},
        "mmlu": {"alias": "mmlu", "acc,none": 0.7, "acc_stderr,none": 0.003},
        "mmlu_law": {"alias": " - law", "acc,none": 0.6, "acc_stderr,none": 0.02},
    },
    "groups": {"mmlu": {"acc,none": 0.7}},
    "higher_is_better": {"gsm8k": {"exact_match": True}, "wikitext": {"word_perplexity": False}},
    "n-samples": {"gsm8k": {"original": 1319, "effective": 1319}, "mmlu_law": {"original": 100, "effective": 90}},
    "config": {"model": "vllm", "model_args": "pretrained=Qwen/Qwen3-8B,dtype=bfloat16,revision=abc123"},
    "model_name": "Qwen/Qwen3-8B",
    "lm_eval_version": "0.4.9",
}


@pytest.fixture
def warehouse(tmp_path):
    place = Warehouse.at(tmp_path / "warehouse")
    cells(place, [Spec()])
    return place


def written(tmp_path, document, name="result.json"):
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def rows(warehouse, query):
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        return connection.sql(query).to_pylist()


def test_vllm_bench(warehouse, tmp_path):
    path = written(tmp_path, VLLM)
    found = import_file(warehouse, path, said=Said(accelerator="H100", quantization="bf16"))
    assert (found.format, found.results, found.scores, found.left_out) == ("vllm-bench", 1, 0, ())
    (row,) = rows(warehouse, "from imported")
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (row["source"], row["published"], row["accelerator"]) == ("result.json", "20260102-030405", "H100")
    assert (row["model"], row["output_tokens"], row["requests_failed"]) == ("Qwen/Qwen3-8B", 127744, 2)
    assert (row["output_tokens_per_s"], row["ttft_p50_ms"], row["itl_p99_ms"]) == (1017.88, 50.0, 40.0)
    assert (row["arrivals"], row["rate_per_s"], row["concurrency"]) == ("poisson", 8.0, 64.0)
    assert (row["boundary"], row["j_per_output_token"], row["fidelity"]) == (None, None, "imported")
    details = json.loads(row["details"])
    assert details["mean_ttft_ms"] == 60.0
    assert "itls" not in details


def test_vllm_bench_results_that_were_appended(warehouse, tmp_path):
    lines = "\n".join(json.dumps(VLLM | {"request_rate": r}) for r in ("inf", 2.0))
    assert import_file(warehouse, written(tmp_path, lines)).results == 2
    found = rows(warehouse, "from imported select row, arrivals, rate_per_s order by row")
    assert [r["arrivals"] for r in found] == ["closed", "poisson"]
    assert found[0]["rate_per_s"] is None


def test_ml_energy(warehouse, tmp_path):
    found = import_file(warehouse, written(tmp_path, ML_ENERGY, "gpqa.json"))
    assert (found.format, found.results, len(found.left_out)) == ("ml-energy", 1, 2)
    (row,) = rows(warehouse, "from imported")
    assert (row["boundary"], row["j_per_output_token"], row["j_per_request"]) == ("gpu", 0.21, 812.5)
    assert (row["task"], row["accelerator"], row["devices"], row["architecture"]) == ("gpqa", "H100", 1, "dense")
    assert "Zeus" in row["energy_method"]


def test_lm_eval_scores(warehouse, tmp_path):
    found = import_file(warehouse, written(tmp_path, LM_EVAL))
    assert (found.format, found.results, found.scores) == ("lm-eval", 0, 3)
    assert len(found.left_out) == 2
    scores = {r["task"]: r for r in rows(warehouse, "from quality")}
    assert scores.keys() == {"gsm8k", "gsm8k/exact_match,flexible-extract", "mmlu_law"}
    main = scores["gsm8k"]
    assert (main["score"], main["samples"], main["metric"]) == (0.78, 1319, "exact_match,strict-match")
    assert (main["model"], main["revision"], main["quantization"]) == ("Qwen/Qwen3-8B", "abc123", "bf16")
    assert "result.json, sha256 " in main["source"]


def test_lm_eval_without_a_precision_asks_for_it(warehouse, tmp_path):
    silent = LM_EVAL | {"config": {"model": "hf", "model_args": {"pretrained": "x", "dtype": "auto"}}}
    path = written(tmp_path, silent)
    with pytest.raises(BadInput, match="give --quantization"):
        import_file(warehouse, path)
    assert import_file(warehouse, path, said=Said(quantization="fp8", model="mine")).scores == 3
    assert {r["model"] for r in rows(warehouse, "from quality")} == {"mine"}


def test_the_same_file_again_changes_nothing_but_the_time(warehouse, tmp_path):
    path = written(tmp_path, ML_ENERGY)
    assert not import_file(warehouse, path).again
    assert import_file(warehouse, path).again
    assert len(rows(warehouse, "from imported")) == 1


def test_imported_rows_are_ranked_with_measured_ones_only_where_asked(warehouse, tmp_path):
    before = rows(warehouse, "from leaderboard")
    import_file(warehouse, written(tmp_path, ML_ENERGY))
    import_file(warehouse, written(tmp_path, VLLM, "other.json"))
    assert rows(warehouse, "from leaderboard") == before
    assert {r["fidelity"] for r in rows(warehouse, "from trial_results")} == {"modelled"}
    both = rows(warehouse, "from leaderboard_with_imported")
    assert [(r["place"], r["origin"], r["boundary"]) for r in both] == [
        (1, "joulemark", "cpu"),
        (1, "ml-energy", "gpu"),
    ]


def test_simulated_cells_have_no_place_beside_imported_ones(warehouse, tmp_path):
    add_trial(warehouse, Spec(model="made-up", simulated=True), 9)
    import_file(warehouse, written(tmp_path, ML_ENERGY))
    assert "made-up" in {r["model"] for r in rows(warehouse, "from leaderboard")}
    assert "made-up" not in {r["model"] for r in rows(warehouse, "from leaderboard_with_imported")}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "none of vllm-bench, ml-energy, lm-eval"),
        ("{", "not JSON"),
        ("[1, 2]", "none of vllm-bench"),
        ("{}", "none of vllm-bench"),
        ('{"results": {}}', "none of vllm-bench"),
        ('{"task": "x", "configurations": []}', "none of vllm-bench"),
        ('{"task": "x", "configurations": [{"gpu_model": "H100"}]}', "nothing in it can be used"),
        ("[" * 100_000, "not JSON"),
        ("\x00\x01", "not JSON"),
    ],
)
def test_what_fits_no_format_is_one_line(warehouse, tmp_path, content, says):
    with pytest.raises(BadInput, match=says) as caught:
        import_file(warehouse, written(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert not warehouse.exists("imported")


def test_a_format_that_is_asked_for_must_fit(warehouse, tmp_path):
    path = written(tmp_path, VLLM)
    with pytest.raises(BadInput, match="it is no ml-energy"):
        import_file(warehouse, path, format_name="ml-energy")
    with pytest.raises(BadInput, match="there are vllm-bench"):
        import_file(warehouse, path, format_name="other")
    with pytest.raises(BadInput, match="cannot read"):
        import_file(warehouse, tmp_path / "nothing.json")
