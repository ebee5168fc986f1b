"""The table of accelerators against NVIDIA's own, and that nothing is made up for those it does not have."""

from __future__ import annotations

import pytest

from joulemark.warehouse.units import BYTES_PER_GIB
from joulemark.workloads.accelerators import accelerator, accelerators, capability_in_words

# developer.nvidia.com/cuda-gpus and cuda-legacy-gpus
CAPABILITIES = {
    "V100": 70, "T4": 75, "A100": 80, "A30": 80, "A10G": 86, "A40": 86, "L4": 89, "L40S": 89, "H100": 90, "H200": 90,
    "GH200": 90, "B200": 100, "GB200": 100, "B300": 103, "GB300": 103, "RTX-PRO-6000": 120, "GB10": 121,
}  # fmt: skip
# docs.nvidia.com, MIG user guide, supported GPUs: GB of the boards
MEMORY_GB = {
    "A100": (40, 80), "A30": (24,), "H100": (80, 94, 96), "H200": (141,), "B200": (180,), "GB200": (186,),
    "RTX-PRO-6000": (96,),
}  # fmt: skip


@pytest.mark.parametrize("label", CAPABILITIES)
def test_compute_capability(label):
    assert accelerator(label).capability == CAPABILITIES[label]


@pytest.mark.parametrize("label", MEMORY_GB)
def test_memory_is_at_least_what_any_board_has(label):
    has = accelerator(label).memory_bytes
    assert has is not None
    assert max(MEMORY_GB[label]) * BYTES_PER_GIB <= has <= 1.15 * max(MEMORY_GB[label]) * BYTES_PER_GIB


def test_an_unknown_label_is_not_known():
    assert (accelerator("H900").capability, accelerator("H900").memory_bytes) == (None, None)
    assert accelerator("h100") == accelerator("H100")


def test_every_entry_says_what_it_is():
    for label, found in accelerators().items():
        assert found.memory_bytes, label
        assert found.capability or found.note, label
    assert "NVML" in str(accelerator("AMD-Instinct-MI300X-OAM").note)


def test_in_words():
    assert [capability_in_words(c) for c in (75, 89, 100, 121)] == ["7.5", "8.9", "10.0", "12.1"]
