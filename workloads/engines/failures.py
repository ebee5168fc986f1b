"""What the logs of the PyTorch engines say when they fail; each engine adds its own. An earlier pattern wins."""

from __future__ import annotations

from joulemark.workloads.engines.adapter import FailurePattern

PORT_TAKEN = FailurePattern(
    r"[Aa]ddress already in use|EADDRINUSE|[Pp]ort \d* ?is already in use|port \d+ is in use",
    "port_taken",
    "another process listens on the engine's port; joulemark tries again on another one",
)
OUT_OF_MEMORY = FailurePattern(
    r"OutOfMemoryError|CUDA out of memory|HIP out of memory|can't allocate memory|Cannot allocate memory"
    r"|std::bad_alloc|\bMemoryError\b|CUBLAS_STATUS_ALLOC_FAILED",
    "out_of_memory",
    "the model and its KV cache do not fit: fewer tokens or streams, a smaller precision, or more devices (parallel)",
)
MODEL_MISSING = FailurePattern(
    r"GatedRepoError|gated repo|RepositoryNotFoundError|Repository Not Found|RevisionNotFoundError"
    r"|is not a local folder and is not a valid model identifier|LocalEntryNotFoundError"
    r"|couldn't connect to 'https://huggingface.co'|outgoing traffic has been disabled",
    "bad_checkpoint",
    "the model could not be fetched: accept its licence on the hub and set HF_TOKEN, or name a local folder",
)
BAD_CHECKPOINT = FailurePattern(
    r"SafetensorError|safetensors_rust|Error while deserializing header"
    r"|No such file or directory: '[^']*\.(json|safetensors)"
    r"|Cannot find any model weights|[Nn]o safetensors? weights? found|does not appear to have a file named"
    r"|[Ss]ize mismatch for|Attempted to load weight|There is no module or parameter named|KeyError: '[^']*\.weight",
    "bad_checkpoint",
    "the model's files are missing, damaged or not what its config.json says: check the folder or fetch it again",
)
UNSUPPORTED = FailurePattern(
    r"NotImplementedError|(ValueError|RuntimeError|AssertionError|KeyError|ValidationError|ImportError)[^\n]*"
    r"([Nn]ot support|[Uu]nsupported|[Nn]ot implemented|[Dd]oes not support|[Oo]nly support|not available on)"
    r"|Value error, [^\n]*([Nn]ot support|[Uu]nsupported|Unknown quantization method)"
    r"|_C::\w+\(\) expected at most 0 argument"
    r"|(Model architectures|architectures) \[[^\]]*\] (are|is) not supported"
    r"|error: (unrecognized arguments|argument [^\n]*invalid choice)|must be divisible by|is not divisible by",
    "unsupported",
    "the engine cannot run this combination: exclude it, or change precision, KV type, parallel or engine arguments",
)
