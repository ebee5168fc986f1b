"""Names of devices, as CUDA takes them, and the boards that they mean."""

import pytest

from joulemark.agents.devices import HeldDevices, held_devices

A, B, C = (f"GPU-{x}{x}{x}-1" for x in "abc")
NVML = {"boards": {A: "H100", B: "H100", C: "H100"}, "mig": {B: ["MIG-1", "MIG-2"]}, "modules": {}}


@pytest.mark.parametrize(
    ("given", "boards", "reasons"),
    [
        ((), ("cpu",), ()),
        (("0", "2"), (A, C), ()),
        ((C, A), (C, A), ()),
        (("GPU-c",), (C,), ()),
        (("MIG-2",), (B,), ("mig_shared",)),
        (("MIG-1", "MIG-2"), (B,), ("mig_shared",)),
        (("1",), (B,), ("mig_shared",)),
        (("9",), ("9",), ()),
    ],
)
def test_devices_are_boards_each_once(given, boards, reasons):
    assert held_devices(given, NVML) == HeldDevices(boards, reasons)


def test_a_node_without_nvml_keeps_the_names():
    assert held_devices(("0",), {}) == HeldDevices(("0",))


def test_a_superchip_that_is_held_in_part_holds_more_than_the_deployment():
    nvml = NVML | {"mig": {}, "modules": {A: [A, B], C: [C]}}
    assert held_devices(("0", "1"), nvml).reasons == ()
    assert held_devices(("0",), nvml).reasons == ("node_not_filled",)
    assert held_devices(("1",), nvml).reasons == ()
    assert held_devices(("2",), nvml).reasons == ()
