"""Makes an environment of SGLang's CUDA packages run on a CPU: what needs CUDA is not loaded.

Run by that environment's own Python, once. Standard library only.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

PLACE = Path(sysconfig.get_paths()["purelib"])

NO_KERNELS = """

# --- added by joulemark: there is no CUDA here, and the CPU paths need none of these operators.
def _load_architecture_specific_ops():
    import types

    return types.SimpleNamespace()


def _preload_cuda_library():
    return None
"""
"""The last definition of a function counts. Without operators SGLang takes torch's own."""

NO_OPERATORS = """# --- added by joulemark: beside a CPU torch the compiled operators cannot be loaded, and what
# follows only registers shapes for them. They are declared so that it can.
import torch as _torch

_declared = _torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not hasattr(_torch.ops.torchvision, _name):
        _declared.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
# ---
"""


def main() -> None:
    """Change the installed files; each only once."""
    kernels = PLACE / "sgl_kernel"
    for library in [*kernels.rglob("*.so"), *kernels.rglob("*.so.*")]:
        library.unlink()
    shutil.rmtree(PLACE / "sglang_kernel.libs", ignore_errors=True)
    loader = kernels / "load_utils.py"
    _write(loader, _text(loader) + NO_KERNELS)
    shapes = PLACE / "torchvision" / "_meta_registrations.py"
    _write(shapes, NO_OPERATORS + _text(shapes))


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if "added by joulemark" in text:
        msg = f"{path} was changed before"
        raise SystemExit(msg)
    return text


def _write(path: Path, text: str) -> None:
    # Never through a link into the installer's cache.
    path.unlink()
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
