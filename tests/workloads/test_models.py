"""Parameter counts against what is published, formulas against hand-worked figures, names against the catalogue."""

from __future__ import annotations

import json

import pytest

from joulemark.warehouse.errors import BadInput, UnknownModel
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.models.config import facts_from_config
from joulemark.workloads.models.facts import (
    experts_touched,
    flops_per_token,
    kv_bytes_per_token,
    weight_bytes_per_token,
)
from joulemark.workloads.models.generated import PRESETS, generated_config
from joulemark.workloads.models.resolve import resolve_model

PUBLISHED = [name for name, entry in catalogue().items() if entry.published]


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    entry = catalogue()[name]
    facts, published = entry.facts, entry.published
    active = facts.active_params - (0 if published["counts_embedding"] else facts.embedding_params)
    assert facts.total_params == pytest.approx(published["total_params"], rel=0.02)
    assert active == pytest.approx(published["active_params"], rel=0.02)
    assert (facts.architecture == "moe") == (facts.active_params < facts.total_params)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_entry_says_where_its_figures_and_weights_are(name):
    entry = catalogue()[name]
    assert entry.published["source"]
    assert entry.location in entry.checkpoints.values()


def test_llama_3_1_8b_by_the_tensors_of_its_checkpoint():
    assert catalogue()["llama-3.1-8b"].facts.total_params == 8_030_261_248


def test_gpt_oss_20b_by_the_tensors_of_its_checkpoint():
    assert catalogue()["gpt-oss-20b"].facts.total_params == 20_914_757_184


def test_generated_models_hold_the_tensors_that_their_class_makes():
    dense = generated_config("tiny-dense")
    layer = 384 * (6 + 2 + 2) * 64 + 6 * 64 * 384 + 3 * 384 * 1152 + 2 * 384 + 2 * 64
    assert facts_from_config(dense).total_params == 2048 * 384 + 8 * layer + 384
    moe = facts_from_config(generated_config("tiny-moe"))
    assert moe.total_params - moe.active_params == 8 * 6 * 3 * 384 * 384
    assert (moe.experts, moe.experts_per_token) == (8, 2)


def test_generated_configs_are_new_each_time_and_unknown_ones_refused():
    generated_config("tiny-dense")["vocab_size"] = 1
    assert generated_config("tiny-dense")["vocab_size"] == 2048
    with pytest.raises(UnknownModel, match="tiny-dense, tiny-moe"):
        generated_config("tiny")


def test_latent_attention_is_counted_as_deepseek_v3_publishes_it():
    facts = facts_from_config(DEEPSEEK_V3)
    assert facts.total_params == pytest.approx(671e9, rel=0.02)
    assert facts.active_params == pytest.approx(37e9, rel=0.02)
    assert kv_bytes_per_token(facts, 16) == 61 * (512 + 64) * 2


def test_a_nested_text_config_is_what_counts():
    config = generated_config("tiny-dense")
    assert facts_from_config({"model_type": "qwen3_vl", "text_config": config}) == facts_from_config(config)


@pytest.mark.parametrize(
    "config",
    [
        {**generated_config("tiny-dense"), "model_type": "gpt2"},
        {**generated_config("tiny-dense"), "mamba_d_state": 16},
        {**generated_config("tiny-dense"), "is_encoder_decoder": True},
    ],
)
def test_what_cannot_be_counted_is_refused(config):
    with pytest.raises(BadInput, match="cannot be computed"):
        facts_from_config(config)


def test_a_missing_key_is_named():
    config = generated_config("tiny-moe")
    del config["num_experts_per_tok"]
    with pytest.raises(BadInput, match="num_experts_per_tok or experts_per_token"):
        facts_from_config(config)


def test_flops_are_two_per_weight_plus_attention():
    facts = catalogue()["llama-3.1-8b"].facts
    weights = facts.total_params - 128256 * 4096
    assert flops_per_token(facts, 0) == 2 * weights
    assert flops_per_token(facts, 1000) - flops_per_token(facts, 0) == 4 * 32 * 32 * 128 * 1000


def test_a_tied_embedding_is_multiplied_once():
    facts = catalogue()["tiny-dense"].facts
    assert flops_per_token(facts, 0) == 2 * facts.total_params


def test_sliding_layers_see_only_their_window():
    facts = catalogue()["gpt-oss-20b"].facts
    assert (facts.sliding_layers, facts.window) == (12, 128)
    slope = flops_per_token(facts, 2000) - flops_per_token(facts, 1000)
    assert slope == 4 * 12 * 64 * 64 * 1000


def test_weights_are_shared_by_the_batch_and_experts_fill_up():
    dense, moe = catalogue()["llama-3.1-8b"].facts, catalogue()["qwen3-30b-a3b"].facts
    assert weight_bytes_per_token(dense, 16, 8) == weight_bytes_per_token(dense, 16, 1) / 8
    assert weight_bytes_per_token(dense, 8) == weight_bytes_per_token(dense, 16) / 2
    one = (moe.active_params - moe.embedding_params) * 2
    assert weight_bytes_per_token(moe, 16, 1) == pytest.approx(one)
    assert experts_touched(moe, 1) == pytest.approx(8)
    assert 100 < experts_touched(moe, 32) < 128
    assert experts_touched(moe, 1e6) == pytest.approx(128)
    assert experts_touched(dense, 4) == 0


def test_kv_cache_of_llama_3_1_8b_is_128_kib_a_token():
    assert kv_bytes_per_token(catalogue()["llama-3.1-8b"].facts, 16) == 128 * 1024


def test_catalogue_names_resolve(tmp_path):
    reference, facts = resolve_model("tiny-moe", tmp_path)
    assert (reference.source, reference.location, reference.weights) == ("generated", "tiny-moe", "generated")
    assert facts is not None
    assert facts.architecture == "moe"
    assert set(PRESETS) < set(catalogue())


def test_the_hub_id_of_a_catalogue_model_is_that_model(tmp_path):
    assert resolve_model("Qwen/Qwen3-8B", tmp_path) == resolve_model("qwen3-8b", tmp_path)
    pinned, _ = resolve_model("qwen/qwen3-8b@abc123", tmp_path)
    assert (pinned.name, pinned.revision) == ("qwen3-8b", "abc123")


def test_other_hub_ids_have_no_facts(tmp_path):
    reference, facts = resolve_model("some-org/Some.Model-7B", tmp_path)
    assert (reference.source, reference.location, reference.weights) == ("hub", "some-org/Some.Model-7B", "real")
    assert facts is None


def test_a_folder_is_read(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(generated_config("tiny-dense")))
    reference, facts = resolve_model("./mine", tmp_path)
    assert (reference.name, reference.source, reference.location) == ("mine", "path", str(folder))
    assert facts == catalogue()["tiny-dense"].facts


def test_a_folder_that_cannot_be_counted_still_serves(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "opt"}')
    reference, facts = resolve_model(str(tmp_path), tmp_path)
    assert reference.source == "path"
    assert facts is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny-mo", "did you mean tiny-moe"),
        ("qwen3-8", "qwen3-8b"),
        ("./nowhere", "there is no model at"),
        ("./empty", "holds no config.json"),
        ("./note.txt", "neither a model folder nor a .gguf file"),
        ("./broken", "cannot be read"),
        ("empty", "write ./empty for the folder"),
    ],
)
def test_unknown_models_are_one_clear_line(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    with pytest.raises(UnknownModel) as caught:
        resolve_model(name, tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gguf_file_is_a_model(tmp_path):
    (tmp_path / "some-Q4_K_M.gguf").write_bytes(b"GGUF")
    reference, facts = resolve_model("some-Q4_K_M.gguf", tmp_path)
    assert (reference.name, reference.source, facts) == ("some-Q4_K_M", "path", None)


DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
    "tie_word_embeddings": False,
}
