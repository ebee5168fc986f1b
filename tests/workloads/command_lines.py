"""Deployments whose command lines are held against golden texts, and against the engines' own parsers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import Span, StartFacts
from joulemark.workloads.engines.catalogue import default_version, engine_named

TINY = ModelRef("tiny-dense", "generated", "tiny-dense", None, "generated")
MOE = ModelRef("qwen3-30b-a3b", "hub", "Qwen/Qwen3-30B-A3B", None, "real")
DUMMY = ModelRef("llama-3.1-70b", "hub", "meta-llama/Llama-3.1-70B-Instruct", None, "dummy")
PINNED = ModelRef("qwen3-8b", "hub", "Qwen/Qwen3-8B", "abc", "real")
FACTS = StartFacts(model_path="/m", port=8000, slots=8, context_tokens=144, threads=2, cpus=(2, 3))


@dataclass(frozen=True)
class Case:
    """One deployment, the arguments that must be in its line, and what the engine's parser must make of it."""

    words: str
    given: dict[str, Any] = field(default_factory=dict)
    span: Span | None = None
    parsed: dict[str, Any] = field(default_factory=dict)


def deployment(name: str, given: dict[str, Any]) -> Deployment:
    """A deployment of tiny-dense on the CPU, but for what is given."""
    args = given.get("args", {})
    on_cpu = given.get("accelerator", "cpu") == "cpu"
    engine = EngineRef(name, given.get("version", default_version(name, on_cpu)), args)
    rest = {key: value for key, value in given.items() if key not in ("args", "version")}
    usual = {"model": TINY, "quantization": "bf16", "kv_type": "auto", "accelerator": "cpu", "parallel": Parallel()}
    return Deployment(**{**usual, **rest, "engine": engine})


def argv(name: str, case: Case) -> tuple[str, ...]:
    """The command line of a case."""
    facts = StartFacts(**{**vars(FACTS), "span": case.span})
    return engine_named(name).command(deployment(name, case.given), facts).argv


def _rank(rank: int) -> Span:
    return Span(rank, "10.0.0.1", 29500)


def _gpu(**given: Any) -> dict[str, Any]:
    return {"accelerator": "H100", **given}


NGRAM = {"speculative.method": "ngram", "speculative.tokens": 3}
EAGLE = {"speculative.method": "eagle3", "speculative.tokens": 4, "speculative.model": "org/draft"}
MTP = {"speculative.method": "mtp", "speculative.tokens": 1}
DRAFT = {"speculative.method": "draft", "speculative.tokens": 5, "speculative.model": "Qwen/Qwen3-0.6B"}

VLLM = {
    "cpu": Case("--dtype bfloat16 --max-model-len 144 --enforce-eager --shutdown-timeout 20"),
    "tensor": Case("--tensor-parallel-size 4", _gpu(parallel=Parallel(tensor=4)), parsed={"tensor_parallel_size": 4}),
    "all parallel": Case(
        "--tensor-parallel-size 2 --pipeline-parallel-size 2 --data-parallel-size 2 --enable-expert-parallel",
        _gpu(model=MOE, parallel=Parallel(2, 2, 2, expert=True)),
        parsed={"pipeline_parallel_size": 2, "data_parallel_size": 2, "enable_expert_parallel": True},
    ),
    "prefix caching": Case(
        "--enable-prefix-caching", _gpu(args={"prefix_caching": True}), parsed={"enable_prefix_caching": True}
    ),
    "no prefix caching": Case(
        "--no-enable-prefix-caching", _gpu(args={"prefix_caching": False}), parsed={"enable_prefix_caching": False}
    ),
    "no chunked prefill": Case(
        "--no-enable-chunked-prefill", _gpu(args={"chunked_prefill": False}), parsed={"enable_chunked_prefill": False}
    ),
    "batch limits": Case(
        "--max-num-seqs 64 --shutdown-timeout 20 --max-num-batched-tokens 4096 --gpu-memory-utilization 0.8",
        _gpu(args={"max_batched_tokens": 4096, "max_running_requests": 64, "memory_fraction": 0.8}),
        parsed={"max_num_batched_tokens": 4096, "max_num_seqs": 64, "gpu_memory_utilization": 0.8},
    ),
    "no graphs": Case(
        '--compilation-config {"cudagraph_mode":"NONE"}',
        _gpu(args={"cuda_graphs": False}),
    ),
    "graphs": Case("--max-model-len 144 --shutdown-timeout 20", _gpu(args={"cuda_graphs": True})),
    "experts": Case(
        "--moe-backend triton --all2all-backend deepep_low_latency",
        _gpu(model=MOE, args={"moe_backend": "triton", "moe_all2all": "deepep_low_latency"}),
        parsed={"moe_backend": "triton", "all2all_backend": "deepep_low_latency"},
    ),
    "ngram": Case(
        '--speculative-config {"method":"ngram","num_speculative_tokens":3,'
        '"prompt_lookup_min":2,"prompt_lookup_max":4}',
        {"args": NGRAM},
    ),
    "eagle": Case(
        '--speculative-config {"method":"eagle3","num_speculative_tokens":4,"model":"org/draft"}', _gpu(args=EAGLE)
    ),
    "mtp": Case('--speculative-config {"method":"mtp","num_speculative_tokens":1}', _gpu(args=MTP)),
    "draft": Case(
        '--speculative-config {"method":"draft_model","num_speculative_tokens":5,"model":"Qwen/Qwen3-0.6B"}',
        _gpu(args=DRAFT),
    ),
    **{
        f"kv {ours}": Case(f"--kv-cache-dtype {theirs}", _gpu(kv_type=ours), parsed={"kv_cache_dtype": theirs})
        for ours, theirs in {
            "bf16": "bfloat16",
            "fp16": "float16",
            "fp8": "fp8",
            "fp8_e4m3": "fp8_e4m3",
            "fp8_e5m2": "fp8_e5m2",
            "fp8_per_token_head": "fp8_per_token_head",
            "int8_per_token_head": "int8_per_token_head",
            "int4_per_token_head": "int4_per_token_head",
            "nvfp4": "nvfp4",
        }.items()
    },
    **{
        f"online {ours}": Case(
            f"--quantization {theirs}",
            _gpu(model=MOE, quantization=ours, args={"quantization": theirs}),
            parsed={"quantization": theirs},
        )
        for ours, theirs in {
            "fp8": "fp8_per_tensor",
            "fp8-tensor": "fp8_per_tensor",
            "fp8-channel": "fp8_per_channel",
            "fp8-block": "fp8_per_block",
            "mxfp8": "mxfp8",
            "int8-w8a16": "int8_per_channel_weight_only",
            "nvfp4": "nvfp4_per_token",
        }.items()
    },
    "dummy": Case(
        "--load-format dummy", _gpu(model=DUMMY, parallel=Parallel(tensor=8)), parsed={"load_format": "dummy"}
    ),
    "revision": Case("--revision abc", _gpu(model=PINNED), parsed={"revision": "abc"}),
    "free arguments": Case(
        "--attention-backend FLASHINFER --block-size 32 --no-async-scheduling",
        _gpu(args={"attention-backend": "FLASHINFER", "block-size": 32, "async-scheduling": False}),
        parsed={"block_size": 32, "async_scheduling": False},
    ),
    "pipeline over 2 nodes, first": Case(
        "-m vllm.entrypoints.openai.api_server --model /m --served-model-name model --host 127.0.0.1 --port 8000 "
        "--enable-prompt-tokens-details --tensor-parallel-size 8 --pipeline-parallel-size 2 --dtype bfloat16 "
        "--max-model-len 144 --shutdown-timeout 20 --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 --master-port 29500",
        _gpu(parallel=Parallel(tensor=8, pipeline=2, nodes=2)),
        _rank(0),
        {"nnodes": 2, "node_rank": 0, "master_addr": "10.0.0.1", "master_port": 29500},
    ),
    "pipeline over 2 nodes, second": Case(
        "-m vllm.entrypoints.cli.main serve /m --headless --served-model-name model "
        "--tensor-parallel-size 8 --pipeline-parallel-size 2 --dtype bfloat16 --max-model-len 144 "
        "--shutdown-timeout 20 --nnodes 2 --node-rank 1 --master-addr 10.0.0.1 --master-port 29500",
        _gpu(parallel=Parallel(tensor=8, pipeline=2, nodes=2)),
        _rank(1),
        {"nnodes": 2, "node_rank": 1, "headless": True, "model_tag": "/m"},
    ),
    "replicas over 2 nodes, first": Case(
        "--tensor-parallel-size 4 --data-parallel-size 4 --enable-expert-parallel --dtype bfloat16 "
        "--max-model-len 144 --shutdown-timeout 20 --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 "
        "--master-port 29500 --data-parallel-address 10.0.0.1 --data-parallel-rpc-port 29501",
        _gpu(model=MOE, parallel=Parallel(tensor=4, data=4, expert=True, nodes=2)),
        _rank(0),
        {"data_parallel_size": 4, "data_parallel_address": "10.0.0.1", "data_parallel_rpc_port": 29501},
    ),
    "replicas over 2 nodes, second": Case(
        "serve /m --headless --served-model-name model --tensor-parallel-size 4 --data-parallel-size 4 "
        "--enable-expert-parallel --dtype bfloat16 --max-model-len 144 --shutdown-timeout 20 --nnodes 2 --node-rank 1",
        _gpu(model=MOE, parallel=Parallel(tensor=4, data=4, expert=True, nodes=2)),
        _rank(1),
        {"node_rank": 1, "headless": True, "data_parallel_size": 4},
    ),
    "replicas over 2 nodes without GPUs, second": Case(
        "{launcher} serve /m --headless --served-model-name model --data-parallel-size 2 --dtype bfloat16 "
        "--max-model-len 144 --enforce-eager --shutdown-timeout 20 --nnodes 2 --node-rank 1 --master-addr 10.0.0.1",
        {"parallel": Parallel(data=2, nodes=2)},
        _rank(1),
        {"node_rank": 1, "headless": True, "data_parallel_size": 2},
    ),
}

SGLANG = {
    "cpu": Case("--dtype bfloat16 --device cpu --context-length 152 --attention-backend torch_native"),
    "tensor": Case("--tp-size 4", _gpu(parallel=Parallel(tensor=4)), parsed={"tp_size": 4}),
    "pipeline": Case("--tp-size 2 --pp-size 2", _gpu(parallel=Parallel(tensor=2, pipeline=2)), parsed={"pp_size": 2}),
    "replicas": Case(
        "--tp-size 2 --dp-size 2", _gpu(parallel=Parallel(tensor=2, data=2)), parsed={"tp_size": 2, "dp_size": 2}
    ),
    "experts in parallel": Case(
        "--tp-size 2 --ep-size 2", _gpu(model=MOE, parallel=Parallel(tensor=2, expert=True)), parsed={"ep_size": 2}
    ),
    "attention in replicas": Case(
        "--tp-size 8 --attn-dp-size 4 --ep-size 8",
        _gpu(model=MOE, parallel=Parallel(tensor=2, data=4, expert=True)),
        parsed={"tp_size": 8, "attn_dp_size": 4, "ep_size": 8},
    ),
    "attention in replicas, as it was": Case(
        "--tp-size 8 --ep-size 8 --dp-size 4 --enable-dp-attention",
        _gpu(model=MOE, parallel=Parallel(tensor=2, data=4, expert=True), version="0.5.10"),
    ),
    "prefix caching": Case(
        "--enable-metrics --enable-cache-report --dtype bfloat16 --context-length 152",
        _gpu(args={"prefix_caching": True}),
    ),
    "no prefix caching": Case(
        "--disable-radix-cache", _gpu(args={"prefix_caching": False}), parsed={"disable_radix_cache": True}
    ),
    "no chunked prefill": Case(
        "--chunked-prefill-size -1", _gpu(args={"chunked_prefill": False}), parsed={"chunked_prefill_size": -1}
    ),
    "batch limits": Case(
        "--chunked-prefill-size 4096 --max-prefill-tokens 4096 --max-running-requests 64 --mem-fraction-static 0.8",
        _gpu(args={"max_batched_tokens": 4096, "max_running_requests": 64, "memory_fraction": 0.8}),
        parsed={"chunked_prefill_size": 4096, "max_running_requests": 64, "mem_fraction_static": 0.8},
    ),
    "no graphs": Case(
        "--cuda-graph-backend-decode disabled --cuda-graph-backend-prefill disabled", _gpu(args={"cuda_graphs": False})
    ),
    "experts": Case(
        "--moe-runner-backend triton --moe-a2a-backend deepep",
        _gpu(model=MOE, args={"moe_backend": "triton", "moe_all2all": "deepep"}),
        parsed={"moe_runner_backend": "triton", "moe_a2a_backend": "deepep"},
    ),
    "ngram": Case(
        "--speculative-algorithm NGRAM --speculative-num-draft-tokens 4",
        _gpu(args=NGRAM),
        parsed={"speculative_algorithm": "NGRAM", "speculative_num_draft_tokens": 4},
    ),
    "eagle": Case(
        "--speculative-algorithm EAGLE3 --speculative-num-draft-tokens 5 --speculative-num-steps 4 "
        "--speculative-eagle-topk 1 --speculative-draft-model-path org/draft",
        _gpu(args=EAGLE),
        parsed={"speculative_num_steps": 4, "speculative_draft_model_path": "org/draft"},
    ),
    "mtp": Case("--speculative-algorithm EAGLE --speculative-num-draft-tokens 2", _gpu(args=MTP)),
    "draft": Case("--speculative-algorithm STANDALONE", _gpu(args=DRAFT)),
    **{
        f"kv {ours}": Case(f"--kv-cache-dtype {theirs}", _gpu(kv_type=ours), parsed={"kv_cache_dtype": theirs})
        for ours, theirs in {
            "bf16": "bfloat16",
            "fp8": "fp8_e4m3",
            "fp8_e5m2": "fp8_e5m2",
            "mxfp8": "mxfp8",
            "nvfp4": "nvfp4",
        }.items()
    },
    **{
        f"online {ours}": Case(
            f"--quantization {theirs}",
            _gpu(quantization=ours, args={"quantization": theirs}),
            parsed={"quantization": theirs},
        )
        for ours, theirs in {"fp8": "fp8", "mxfp8": "mxfp8", "nvfp4": "nvfp4_online"}.items()
    },
    "dummy": Case(
        "--load-format dummy", _gpu(model=DUMMY, parallel=Parallel(tensor=8)), parsed={"load_format": "dummy"}
    ),
    "revision": Case("--revision abc", _gpu(model=PINNED), parsed={"revision": "abc"}),
    "free arguments": Case(
        "--attention-backend triton --page-size 16",
        _gpu(args={"attention-backend": "triton", "page-size": 16}),
        parsed={"attention_backend": "triton", "page_size": 16},
    ),
    "pipeline over 2 nodes, first": Case(
        "-m sglang.launch_server --model-path /m --served-model-name model --host 127.0.0.1 --port 8000 "
        "--enable-metrics --enable-cache-report --tp-size 8 --pp-size 2 --dtype bfloat16 --nnodes 2 --node-rank 0 "
        "--dist-init-addr 10.0.0.1:29500 --context-length 152",
        _gpu(parallel=Parallel(tensor=8, pipeline=2, nodes=2)),
        _rank(0),
        {"nnodes": 2, "node_rank": 0, "dist_init_addr": "10.0.0.1:29500"},
    ),
    "pipeline over 2 nodes, second": Case(
        "--tp-size 8 --pp-size 2 --dtype bfloat16 --nnodes 2 --node-rank 1 --dist-init-addr 10.0.0.1:29500",
        _gpu(parallel=Parallel(tensor=8, pipeline=2, nodes=2)),
        _rank(1),
        {"nnodes": 2, "node_rank": 1},
    ),
    "attention in replicas over 2 nodes": Case(
        "--tp-size 16 --attn-dp-size 4 --ep-size 16 --dtype bfloat16 --nnodes 2 --node-rank 1",
        _gpu(model=MOE, parallel=Parallel(tensor=4, data=4, expert=True, nodes=2)),
        _rank(1),
        {"tp_size": 16, "attn_dp_size": 4, "nnodes": 2},
    ),
}
CASES = {"vllm": VLLM, "sglang": SGLANG}
