"""The quick verdict on trials says what the build step and its views say, trial by trial and for many at once."""

from dataclasses import replace

import pytest
from synthetic import EPOCH_US, Meter, S, Spec, add_trial

from joulemark.warehouse.build.judge import Judge, built_reasons
from joulemark.warehouse.store.layout import manifest_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import decode

GPUS = ("GPU-1", "GPU-2")
BOARDS = tuple(Meter("nvml", g, "gpu_board", "counter", 100_000, 100_000) for g in GPUS)
SPECS = {
    "fine": Spec(),
    "of two nodes": Spec(nodes=("node-a", "node-b")),
    "some requests failed": Spec(fail_every=3),
    "the agent's reasons": Spec(reasons=("not_steady", "client_bound")),
    "reasons of wider boundaries only": Spec(reasons=("node_not_filled",)),
    "gpus": Spec(devices=GPUS, accelerator="H100", meters=BOARDS),
    "gpus beside sockets": Spec(
        devices=GPUS, accelerator="H100", meters=(*BOARDS, Meter("rapl", "package-0", "cpu_package", "counter"))
    ),
    "a gpu without a meter": Spec(devices=GPUS, accelerator="H100", meters=BOARDS[:1]),
    "no meter of these": Spec(devices=GPUS, accelerator="H100", meters=(replace(BOARDS[0], device="GPU-9"),)),
    "a counter that is off": Spec(
        devices=GPUS, accelerator="H100", meters=(BOARDS[0], replace(BOARDS[1], power=False, counter=False))
    ),
}


def manifests(warehouse, specs):
    for number, spec in enumerate(specs):
        add_trial(warehouse, spec, number)
    return [decode("", warehouse.read(manifest_file(s.trial))) for s in specs]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_verdict_is_that_of_the_views(tmp_path, spec):
    warehouse = Warehouse.at(tmp_path)
    (manifest,) = manifests(warehouse, [spec])
    judge = Judge(warehouse)
    found = judge.reasons([manifest])
    assert not warehouse.exists("built"), "a verdict writes nothing"
    assert judge.reasons([manifest]) == found, "nothing is left of the one before"
    judge.close()
    assert set(found[manifest.trial]) == set(built_reasons(warehouse, manifest.trial))


def test_many_at_once_get_what_each_would_get_alone(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    specs = [replace(s, repeat=n, at_us=EPOCH_US + n * 200 * S) for n, s in enumerate(SPECS.values())]
    found = manifests(warehouse, specs)
    judge = Judge(warehouse)
    together = judge.reasons(found)
    assert together == {m.trial: judge.reasons([m])[m.trial] for m in found}
    assert len({frozenset(r) for r in together.values()}) > 3
    judge.close()


def test_records_that_lie_elsewhere_by_now_are_found_by_the_build_step(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    (manifest,) = manifests(warehouse, [Spec(reasons=("not_steady",))])
    moved = tuple(replace(t, path=f"{t.path}.gone") for t in manifest.traces)
    judge = Judge(warehouse)
    assert judge.reasons([replace(manifest, traces=moved)]) == {manifest.trial: ("not_steady",)}
    judge.close()


def test_readings_of_an_earlier_segment_bracket_a_window(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    first, second = manifests(warehouse, [Spec(), Spec(repeat=1)])
    own = tuple(t for t in second.traces if t.dataset != "power")
    # All readings came with the trial before, as from a node that seals for several engines.
    early = replace(first, traces=(*first.traces, *(t for t in second.traces if t.dataset == "power")))
    judge = Judge(warehouse)
    judge.reasons([early])
    assert judge.reasons([replace(second, traces=own)]) == {second.trial: ()}
    judge.close()
