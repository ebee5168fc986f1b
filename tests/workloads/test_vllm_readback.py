"""What vLLM 0.32.0 wrote in its log and metrics, read back and held against what was asked."""

from __future__ import annotations

import pytest

from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import LOG
from joulemark.workloads.engines.catalogue import engine_named

MOE = ModelRef("tiny-moe", "generated", "tiny-moe", None, "generated")
HUB = ModelRef("qwen3-8b", "hub", "Qwen/Qwen3-8B", None, "real")
COMMIT = "b968826d9c46dd6066d109eabc6255188de91218"

# As written, but for paths and for what stands between the dots.
CONFIGURATION = (
    "(EngineCore pid=29476) INFO 11-21 01:21:49 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
    "model='/m', speculative_config={draft}, tokenizer='/m', skip_tokenizer_init=False, tokenizer_mode=auto, "
    "revision=None, tokenizer_revision=None, trust_remote_code=False, dtype=torch.bfloat16, max_seq_len=512, "
    "download_dir=None, load_format=auto, tensor_parallel_size={tensor}, pipeline_parallel_size=1, "
    "data_parallel_size=1, decode_context_parallel_size=1, dcp_comm_backend=ag_rs, disable_custom_all_reduce=True, "
    "quantization={quantization}, quantization_config=None, enforce_eager=True, kv_cache_dtype={kv}, "
    "device_config=cpu, seed=0, served_model_name=model, enable_prefix_caching=True, enable_chunked_prefill=True, "
    "pooler_config=None, compilation_config={{'mode': <CompilationMode.NONE: 0>, 'backend': 'inductor', "
    "'cudagraph_mode': <CUDAGraphMode.NONE: 0>, 'cudagraph_num_of_warmups': 0}}, "
    "kernel_config=KernelConfig(ir_op_priority=IrOpPriorityConfig(rms_norm=['native']), moe_backend='auto', "
    "linear_backend='auto')"
)
CACHE = (
    "(EngineCore pid=29476) INFO 11-21 01:22:24 [kv_cache_utils.py:2327] CPU KV cache size: 524,288 tokens, "
    "Maximum concurrency for 512 tokens per request: 1024.00x"
)
EXPERTS = (
    "(Worker_TP0_EP0 pid=29959) INFO 11-21 01:22:23 [unquantized.py:529] Using X86CPUUnquantizedExperts MoE backend"
)
NOTHING_MADE = "(Worker pid=2) INFO 11-21 01:15:30 [base_loader.py:151] Quantizing 0 layers of types: "
MADE = (
    "(Worker pid=2) INFO 11-21 01:39:16 [base_loader.py:151] Quantizing 8 layers of types: mlp.experts: 8 (from moe: "
    "int8_per_channel_static)"
)
INT8 = "(Worker pid=1) INFO 11-20 21:55:22 [__init__.py:846] Selected CPUInt8ScaledMMLinearKernel for X"
ATTENTION = "(Worker pid=1) INFO 11-20 21:55:22 [cuda.py:446] Using AttentionBackendEnum.FLASH_ATTN backend."
METRICS = (
    "# TYPE vllm:cache_config_info gauge\n"
    'vllm:cache_config_info{block_size="128",cache_dtype="auto",enable_prefix_caching="True",engine="0",'
    'gpu_memory_utilization="0.92",kv_cache_size_tokens="524288",num_gpu_blocks="4096",sliding_window="None"} 1.0\n'
)


def configuration(**given):
    return CONFIGURATION.format(**{"draft": "None", "tensor": 1, "quantization": "None", "kv": "auto", **given})


def reported(*lines, **documents):
    return engine_named("vllm").reported({LOG: "\n".join(lines), **documents})


def mismatches(found, **given):
    args = given.pop("args", {})
    usual = {"model": MOE, "quantization": "bf16", "kv_type": "auto", "accelerator": "cpu", "parallel": Parallel()}
    engine = EngineRef("vllm", "0.32.0", args)
    return engine_named("vllm").mismatches(Deployment(**{**usual, "engine": engine, **given}), found)


def test_all_that_the_log_and_the_metrics_say():
    found = reported(configuration(tensor=2), CACHE, EXPERTS, INT8, ATTENTION, **{"/metrics": METRICS})
    assert found == {
        "dtype": "torch.bfloat16",
        "context_tokens": 512,
        "load_format": "auto",
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "data_parallel_size": 1,
        "expert_parallel": True,
        "enforce_eager": True,
        "kv_cache_dtype": "auto",
        "prefix_caching": True,
        "chunked_prefill": True,
        "moe_backend": "auto",
        "moe_kernels": "X86CPUUnquantizedExperts",
        "linear_kernel": "CPUInt8ScaledMMLinearKernel",
        "attention_backend": "FLASH_ATTN",
        "cuda_graphs": "NONE",
        "kv_tokens": 524288,
        "kv_blocks": 4096,
        "kv_block_tokens": 128,
        "memory_fraction": 0.92,
    }
    assert mismatches(found, parallel=Parallel(tensor=2, expert=True)) == []


def test_replicas_that_know_nothing_of_each_other_are_counted():
    other = METRICS.splitlines()[1].replace('engine="0"', 'engine="1"')
    found = reported(configuration(), **{"/metrics": f"{METRICS}{other}\n"})
    assert found["data_parallel_size"] == 2
    assert mismatches(found, parallel=Parallel(data=2)) == []


def test_a_log_of_something_else_says_nothing():
    assert reported("INFO: Uvicorn running on http://127.0.0.1:8000") == {}
    assert mismatches({}, parallel=Parallel(tensor=2), quantization="w4a16") == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"parallel": Parallel(tensor=2)}, "asked for tensor_parallel_size 2, the engine says 1"),
        ({"parallel": Parallel(data=2)}, "asked for data_parallel_size 2, the engine says 1"),
        ({"parallel": Parallel(expert=True)}, "asked for expert_parallel on, the engine says off"),
        ({"quantization": "fp16"}, "asked for dtype float16, the engine says torch.bfloat16"),
        ({"quantization": "w4a16"}, "asked for quantization w4a16, the engine says none"),
        ({"kv_type": "fp8"}, "asked for kv_cache_dtype fp8, the engine says auto"),
        ({"args": {"prefix_caching": False}}, "asked for prefix_caching off, the engine says on"),
        ({"args": {"enable-chunked-prefill": False}}, "asked for chunked_prefill off, the engine says on"),
        ({"args": {"cuda_graphs": True}, "accelerator": "H100"}, "asked for CUDA graphs, the engine says that it uses"),
        ({"args": {"enforce-eager": False}}, "asked for enforce_eager off, the engine says on"),
        ({"args": {"moe_backend": "triton"}}, "asked for moe_backend triton, the engine says auto"),
        (
            {"args": {"speculative.method": "ngram", "speculative.tokens": 3}},
            "asked for speculative decoding, the engine says that it does none",
        ),
        ({"args": {"max-model-len": 4096}}, "asked for context_tokens 4096, the engine says 512"),
        ({"model": ModelRef("m", "hub", "a/m", None, "dummy")}, "asked for load_format dummy, the engine says auto"),
        ({"args": {"memory_fraction": 0.5}}, "asked for memory_fraction 0.5, the engine says 0.92"),
    ],
)
def test_each_difference_is_a_sentence(given, says):
    found = reported(configuration(), CACHE, **{"/metrics": METRICS})
    assert mismatches(found) == []
    (sentence,) = mismatches(found, **given)
    assert sentence.startswith(says)


@pytest.mark.parametrize(
    ("asked", "method"),
    [
        ("int8-w8a8", "compressed-tensors"),
        ("fp8", "compressed-tensors"),
        ("fp8-block", "fp8"),
        ("gptq", "auto_gptq"),
        ("gptq", "gptq_marlin"),
        ("awq", "awq"),
        ("mxfp4", "gpt_oss_mxfp4"),
        ("nvfp4", "modelopt_fp4"),
        ("bf16", "None"),
    ],
)
def test_the_engine_s_own_names_of_a_precision_agree_with_it(asked, method):
    found = reported(configuration(quantization=method))
    assert mismatches(found, quantization=asked) == []
    if asked != "bf16":
        assert mismatches(found, quantization="bf16") == [f"asked for quantization bf16, the engine says {method}"]


def test_what_is_made_while_loading_must_have_been_made():
    args = {"quantization": "int8_per_channel_weight_only"}
    made = reported(configuration(quantization=args["quantization"]), MADE)
    nothing = reported(configuration(quantization=args["quantization"]), NOTHING_MADE)
    assert mismatches(made, quantization="int8-w8a16", args=args) == []
    (sentence,) = mismatches(nothing, quantization="int8-w8a16", args=args)
    assert "it quantized no layer" in sentence


def test_speculation_is_read_back():
    draft = "SpeculativeConfig(method='ngram', model=None, num_spec_tokens=3)"
    found = reported(configuration(draft=draft))
    assert (found["speculative_method"], found["speculative_tokens"]) == ("ngram", 3)
    args = {"speculative.method": "ngram", "speculative.tokens": 3}
    assert mismatches(found, args=args) == []
    assert mismatches(found, args={**args, "speculative.tokens": 4}) == [
        "asked for speculative_tokens 4, the engine says 3"
    ]


def test_the_model_is_the_one_asked_for():
    def found(path):
        return reported(**{"/v1/models": {"data": [{"root": path, "max_model_len": 512}]}})

    cached = f"/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/{COMMIT}"
    assert mismatches(found("Qwen/Qwen3-8B"), model=HUB) == []
    assert mismatches(found(cached), model=HUB) == []
    assert found(cached)["model_commit"] == COMMIT
    assert mismatches(found("Qwen/Qwen3-4B"), model=HUB) == [
        "asked for the model Qwen/Qwen3-8B, the engine says Qwen/Qwen3-4B"
    ]
    assert mismatches(found("/home/models/tiny-moe-1/hf-bf16")) == []


def test_sglang_is_compared_in_all_that_it_reports():
    engine = engine_named("sglang")
    info = {
        "version": "0.5.23", "dtype": "bfloat16", "tp_size": 4, "pp_size": 1, "dp_size": 1, "attn_dp_size": 2,
        "ep_size": 4, "kv_cache_dtype": "bfloat16", "disable_radix_cache": True, "chunked_prefill_size": 2048,
        "max_prefill_tokens": 16384, "quantization": None, "load_format": "auto", "device": "cuda", "host": "0.0.0.0",
        "max_total_num_tokens": 16384, "page_size": 1, "api_key": "secret",
    }  # fmt: skip
    found = engine.reported({"/server_info": info, "/model_info": {"model_path": "Qwen/Qwen3-8B"}})
    assert not {"api_key", "host"} & set(found)

    def said(**given):
        args = given.pop("args", {"prefix_caching": False})
        usual = {
            "model": HUB, "quantization": "bf16", "kv_type": "bf16", "accelerator": "H100",
            "parallel": Parallel(tensor=2, data=2, expert=True),
        }  # fmt: skip
        return engine.mismatches(Deployment(**{**usual, "engine": EngineRef("sglang", "0.5.23", args), **given}), found)

    assert said() == []
    assert said(args={"prefix_caching": True}) == ["asked for disable_radix_cache off, the engine says on"]
    assert said(args={"max_batched_tokens": 2048}) == ["asked for max_prefill_tokens 2048, the engine says 16384"]
    assert said(quantization="fp8") == ["asked for quantization fp8, the engine says none"]
    assert said(parallel=Parallel(tensor=4)) == []
    assert len(said(parallel=Parallel(tensor=2))) == 1
    assert said(accelerator="cpu") == ["asked for device cpu, the engine says cuda"]
