"""From an engine's last words to a failure class and a line that helps.

``engine_logs`` holds excerpts of what engines printed when each failure was provoked on this project's own machines,
without their paths.
"""

from pathlib import Path

import pytest

from joulemark.agents.engines.diagnose import LINE_LIMIT, diagnose
from joulemark.warehouse.schema.reasons import FAILURE_CLASSES
from joulemark.workloads.engines.catalogue import engine_named

LOGS = Path(__file__).parent / "engine_logs"
RECORDED = {
    "vllm.arch": ("unsupported", "does not recognize this architecture", "exclude it"),
    "vllm.badarg": ("unsupported", "unrecognized arguments: --no-such-flag", "engine arguments"),
    "vllm.hub": ("model_unavailable", "Name or service not known", "name a local folder"),
    "vllm.kvbig": (
        "out_of_memory",
        "less than requested memory for kv (400.0 GiB)",
        "no room is left for the KV cache",
    ),
    "vllm.layers": ("bad_checkpoint", "Following weights were not initialized from checkpoint", "fetch it again"),
    "vllm.lenbig": ("out_of_memory", "KV cache is needed, which is larger than the available", "fewer tokens"),
    "vllm.lenover": ("unsupported", "max_model_len (900000) is greater than", "exclude it"),
    "vllm.notok": ("bad_checkpoint", "Couldn't instantiate the backend tokenizer", "check the folder"),
    "vllm.noweights": ("bad_checkpoint", "Cannot find any model weights", "check the folder"),
    "vllm.port": ("port_taken", "Address already in use", "tries again on another one"),
    "vllm.tp4": ("unsupported", "attention heads (6) must be divisible by tensor parallel size (4)", "parallel"),
    "vllm.truncated": ("bad_checkpoint", "incomplete metadata, file not fully covered", "fetch it again"),
    "vllm.worker-killed": ("engine_died", "died unexpectedly (exit code: None)", "something outside ended"),
    "vllm.bnb": ("unsupported", "Unknown quantization method: bitsandbytes", "exclude it"),
    "vllm.fp8-no-kernel": ("unsupported", "Failed to find a kernel that can implement the ScaledMM", "exclude it"),
    "vllm.moe-fp8": ("unsupported", "ValueError: Unsupported FP8 MoE backend", "exclude it"),
    "vllm.moe-tp2-ep": ("engine_crashed", "VllmWorker-0 died unexpectedly (exit code: -11)", "crashed in its own code"),
    "vllm.mxfp8": ("unsupported", "Failed to find a kernel that can implement the MXFP8 linear layer", "exclude it"),
    "vllm.online-fp8": ("unsupported", "static_scaled_fp8_quant() expected at most 0 argument", "exclude it"),
    "vllm.pp2": ("unsupported", "assert self.intermediate_tensors is not None", "use tensor or data parallelism"),
}
"""Recording -> class, what is shown of it, and a part of the advice."""
DOCUMENTED = {
    "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver": (
        "driver_mismatch"
    ),
    "Failed to initialize NVML: Driver/library version mismatch": "driver_mismatch",
    "RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version": "driver_mismatch",
    "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU": "driver_mismatch",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device": "unsupported",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity": (
        "out_of_memory"
    ),
    "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url": "model_unavailable",
    "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. Repository Not Found for url": (
        "model_unavailable"
    ),
    "RuntimeError: CUDA error: uncorrectable ECC error encountered": "engine_died",
    "torch.distributed.DistBackendError: NCCL error: ncclSystemError: System call failed": "engine_died",
}
"""What the documentation of CUDA, PyTorch and the hub says that is printed; none of it can be provoked without a GPU
or the hub."""


def recorded(name):
    return (LOGS / f"{name}.log").read_text().splitlines()


@pytest.mark.parametrize("name", RECORDED)
def test_a_provoked_failure(name):
    failure_class, shown, advice = RECORDED[name]
    engine = engine_named(name.partition(".")[0])
    error = diagnose(f"{engine.name} ended", recorded(name), engine.failures, otherwise="engine_failed")
    assert error.failure_class == failure_class, str(error)
    assert shown in str(error)
    assert advice in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < LINE_LIMIT + 400


def test_every_recording_is_looked_at():
    assert {path.stem for path in LOGS.glob("*.log")} == set(RECORDED)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("line", DOCUMENTED)
def test_a_documented_failure(engine, line):
    log = ["Traceback (most recent call last):", f"(Worker pid=7) ERROR 11-21 01:22:35 [core.py:1] {line}"]
    error = diagnose("it ended", log, engine_named(engine).failures)
    assert error.failure_class == DOCUMENTED[line], str(error)
    assert str(error).startswith(f"it ended: {line[:60]}")


def test_a_worker_that_was_killed_may_be_tried_again_and_one_that_crashed_not():
    failures = engine_named("vllm").failures
    for signal, failure_class in (
        (9, "engine_died"),
        (15, "engine_died"),
        (11, "engine_crashed"),
        (4, "engine_crashed"),
    ):
        log = [
            f"Worker proc VllmWorker-0 died unexpectedly (exit code: -{signal}), shutting down executor.",
            "EngineCore encountered a fatal error.",
            "RuntimeError: cancelled",
        ]
        error = diagnose("vllm ended", log, failures, otherwise="engine_died")
        assert error.failure_class == failure_class
        assert FAILURE_CLASSES[failure_class][1] is (signal in (9, 15))


def test_an_error_of_its_own_is_shown_by_its_last_line_and_not_by_its_code():
    log = [
        "(Worker pid=1) ERROR 11-21 01:46:30 [multiproc_executor.py:1063] WorkerProc hit an exception.",
        "(Worker pid=1) ERROR 11-21 01:46:30 [multiproc_executor.py:1063] Traceback (most recent call last):",
        '(Worker pid=1) ERROR 11-21 01:46:30 [multiproc_executor.py:1063]   File "x.py", line 3, in f',
        '(Worker pid=1) ERROR 11-21 01:46:30 [multiproc_executor.py:1063]     raise IndexError("seven of six")',
        "(Worker pid=1) ERROR 11-21 01:46:30 [multiproc_executor.py:1063] IndexError: seven of six",
        "(APIServer pid=2) INFO 11-21 01:46:31 [core_client.py:777] [shutdown] MPClient: complete",
    ]
    error = diagnose("vllm ended", log, engine_named("vllm").failures, otherwise="engine_died")
    assert error.failure_class == "engine_crashed"
    assert str(error).startswith("vllm ended: IndexError: seven of six -- ")


def test_a_line_that_is_only_code_is_shown_where_there_is_no_other():
    error = diagnose("it ended", ["    raise NotImplementedError"], engine_named("vllm").failures)
    assert str(error).startswith("it ended: raise NotImplementedError -- ")


@pytest.mark.parametrize("name", ["vllm", "sglang", "llamacpp"])
def test_what_is_said_without_need_means_nothing(name):
    log = [
        "WARNING 11-21 01:21:38 [system_utils.py:255] Found ulimit of 20000 and failed to automatically increase with "
        "error current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too many "
        "open files`. Consider increasing with ulimit -n",
        'INFO:     127.0.0.1:39030 - "GET /server_info HTTP/1.1" 404 Not Found',
        "last words",
    ]
    error = diagnose("it ended", log, engine_named(name).failures, otherwise="engine_died")
    assert error.failure_class == "engine_died"
    assert str(error) == "it ended; its last line: last words"
