"""What the engines' own logs say when they fail. An earlier pattern wins.

Where a pattern has a group, the line of the group is what is shown. The patterns were written from what engines
printed when each failure was provoked (``tests/agents/engine_logs``), those of GPUs from the texts that CUDA and
PyTorch document.
"""

from __future__ import annotations

from joulemark.workloads.engines.adapter import FailurePattern

PORT_TAKEN = FailurePattern(
    r"[Aa]ddress already in use|EADDRINUSE|[Pp]ort \d* ?is already in use|port \d+ is in use"
    r"|couldn't bind HTTP server socket",
    "port_taken",
    "another process listens on the engine's port; joulemark tries again on another one",
)
OUT_OF_MEMORY = FailurePattern(
    r"OutOfMemoryError|CUDA out of memory|HIP out of memory|can't allocate memory|Cannot allocate memory"
    r"|std::bad_alloc|\bMemoryError\b|CUBLAS_STATUS_ALLOC_FAILED",
    "out_of_memory",
    "the model and its KV cache do not fit: fewer tokens or streams, a smaller precision, or more devices (parallel)",
)
GATED = FailurePattern(
    r"GatedRepoError|gated repo|(?i:access to (this )?model \S+ is restricted)|401 Client Error|403 Client Error",
    "model_unavailable",
    "the hub gives this model only to whom it knows: accept its licence there and set HF_TOKEN where joulemark runs",
)
MISSING = FailurePattern(
    r"RepositoryNotFoundError|Repository Not Found|RevisionNotFoundError|404 Client Error[^\n]*huggingface",
    "model_unavailable",
    "the hub has no such model or revision: check its id, or set HF_TOKEN where it is private",
)
UNREACHABLE = FailurePattern(
    r"couldn't connect to 'https://huggingface.co'|couldn't connect to the Hub|outgoing traffic has been disabled"
    r"|LocalEntryNotFoundError|OfflineModeIsEnabled|Cannot send a request, as the client has been closed"
    r"|(Name or service not known|Temporary failure in name resolution|Max retries exceeded)[^\n]*"
    r"|is not a local folder and is not a valid model identifier",
    "model_unavailable",
    "the hub cannot be reached from this node, and its cache does not hold the model: fetch it beforehand "
    "(hf download), or name a local folder as the model",
)
BAD_CHECKPOINT = FailurePattern(
    r"SafetensorError|safetensors_rust|Error while deserializing header"
    r"|No such file or directory: '[^']*\.(json|safetensors)"
    r"|Cannot find any model weights|[Nn]o safetensors? weights? found|does not appear to have a file named"
    r"|[Ss]ize mismatch for|Attempted to load weight|There is no module or parameter named|KeyError: '[^']*\.weight"
    r"|Following weights were not initialized from checkpoint|assert param_data\.shape == loaded_weight\.shape"
    r"|(The size of tensor|start \(\d+\) \+ length)[^\n]*|Couldn't instantiate the backend tokenizer"
    r"|Can't load (tokenizer|the configuration|tokenizer for)",
    "bad_checkpoint",
    "the model's files are missing, damaged or not what its config.json says: check the folder or fetch it again",
)
DRIVER = FailurePattern(
    r"CUDA driver version is insufficient for CUDA runtime version|NVIDIA driver on your system is too old"
    r"|Driver/library version mismatch|cudaErrorInsufficientDriver|forward compatibility was attempted"
    r"|Found no NVIDIA driver on your system|no CUDA-capable device is detected|system not yet initialized"
    r"|CUDA unknown error - this may be due to an incorrectly set up environment",
    "driver_mismatch",
    "this node's GPU driver does not fit the engine's CUDA: update the driver (after an update: restart the node), or "
    "name an engine version made for it",
)
NO_KERNEL = FailurePattern(
    r"no kernel image is available for execution on the device|is not compatible with the current PyTorch installation"
    r"|cudaErrorNoKernelImageForDevice",
    "unsupported",
    "this build of the engine has no code for this GPU's generation: take another version, or another accelerator",
)
DEVICE = FailurePattern(
    r"(?:[^\n]*\b)(ncclSystemError|ncclRemoteError|uncorrectable ECC|fallen off the bus|unspecified launch failure"
    r"|CUDA error: unknown error|NVLink)[^\n]*",
    "engine_died",
    "a GPU or the link between GPUs failed: see the node's kernel log (dmesg) for Xid errors",
)
KILLED = FailurePattern(
    r"died unexpectedly \(exit code: (-9|-15|None)\)|exit code -9\b|scheduler is dead[^\n]*exit code: -9",
    "engine_died",
    "something outside ended one of its processes",
)
CRASHED = FailurePattern(
    r"died unexpectedly \(exit code: -\d+\)|Fatal Python error: (Segmentation fault|Illegal instruction|Aborted)"
    r"|exit code: -(4|6|7|8|11)\b",
    "engine_crashed",
    "the engine crashed in its own code: this version cannot run this combination; exclude it, or change parallel, "
    "precision or version",
)
FATAL = FailurePattern(
    r"(?:WorkerProc hit an exception|EngineCore encountered a fatal error|Scheduler hit an exception)"
    r"[^\n]*(?:\n(?!\w+(?:\.\w+)*(?:Error|Exception)\b)[^\n]*)*\n(\w[\w.]*(?:Error|Exception)\b[^\n]*)",
    "engine_crashed",
    "the engine ended by an error of its own, which the same work would bring again: exclude this combination, or "
    "change precision, parallel or engine arguments",
)
UNSUPPORTED = FailurePattern(
    r"NotImplementedError|(ValueError|RuntimeError|AssertionError|KeyError|ValidationError|ImportError)[^\n]*"
    r"([Nn]ot support|[Uu]nsupported|[Nn]ot implemented|[Dd]oes not support|[Oo]nly support|not available on)"
    r"|ValueError: Failed to find a kernel that can implement[^\n]*(\n[^\n]+)?"
    r"|Value error, [^\n]*([Nn]ot support|[Uu]nsupported|Unknown quantization method)"
    r"|_C::\w+\(\) expected at most 0 argument"
    r"|(Model architectures|architectures) \[[^\]]*\] (are|is) not supported"
    r"|model type `[^`]*` but Transformers does not recognize this architecture"
    r"|User-specified max_model_len \(\d+\) is greater than"
    r"|error: (unrecognized arguments|argument [^\n]*invalid choice)|must be divisible by|is not divisible by",
    "unsupported",
    "the engine cannot run this combination: exclude it, or change precision, KV type, parallel or engine arguments",
)
TORCH = (
    PORT_TAKEN,
    DRIVER,
    NO_KERNEL,
    OUT_OF_MEMORY,
    GATED,
    MISSING,
    UNREACHABLE,
    BAD_CHECKPOINT,
    DEVICE,
    KILLED,
    CRASHED,
    UNSUPPORTED,
    FATAL,
)
"""Of all engines that run on PyTorch."""

VLLM = (
    FailurePattern(
        r"no attribute 'cpu_gemm_wna16'",
        "unsupported",
        "this CPU lacks AVX-512, which vLLM's 4-bit kernels for the CPU need: exclude w4a16, gptq and awq here",
    ),
    FailurePattern(
        r"assert self\.intermediate_tensors is not None",
        "unsupported",
        "vLLM's CPU build does not hand on from one pipeline stage to the next: use tensor or data parallelism",
    ),
    FailurePattern(
        r"No available memory for the cache blocks|less than desired (GPU|CPU) memory utilization"
        r"|KV cache is needed, which is larger than the available|less than requested memory for kv",
        "out_of_memory",
        "no room is left for the KV cache: fewer tokens (max-model-len), a smaller precision, or more devices",
    ),
    *TORCH,
)
SGLANG = (
    FailurePattern(
        r"Not enough memory\. Please try to increase|Please try to (reduce|increase) --mem-fraction-static",
        "out_of_memory",
        "no room is left for the KV cache: set mem-fraction-static, a smaller precision, or more devices",
    ),
    *TORCH,
)
LLAMACPP = (
    PORT_TAKEN,
    FailurePattern(
        r"unknown model architecture|requires flash_attn|llama\.cpp has no parameter|Unsupported cache type",
        "unsupported",
        "llama.cpp cannot run this combination: exclude it, or change the model, KV type or engine arguments",
    ),
    FailurePattern(
        r"std::bad_alloc|unable to allocate|failed to allocate (buffer|compute)|Cannot allocate memory",
        "out_of_memory",
        OUT_OF_MEMORY.advice,
    ),
    FailurePattern(
        r"invalid magic characters|gguf_init_from_\w+: failed|error loading model|failed to load model"
        r"|not within the file bounds",
        "bad_checkpoint",
        "the GGUF file is missing or damaged: check its path, or remove it so that it is made or fetched again",
    ),
)
