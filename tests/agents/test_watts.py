"""The watts of the progress line, from meters that give power and from meters that only count energy."""

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.sampler.watts import Watts

PACKAGE = Channel("package-0", "cpu_package", "counter")
CORE = Channel("rapl:0:core", "cpu_core", "counter")
BOARD = Channel("GPU-1", "gpu_board", "counter")


def test_power_that_is_read_needs_no_history():
    assert Watts().total([(0, Reading(BOARD, 250_000, 5))]) == 250.0


def test_a_counter_gives_the_mean_since_the_last_time():
    watts = Watts()
    assert watts.total([(1_000_000, Reading(PACKAGE, None, 7_000_000))]) is None
    assert watts.total([(1_500_000, Reading(PACKAGE, None, 17_000_000))]) == 20.0


def test_a_zone_inside_another_is_not_added():
    watts = Watts()
    watts.total([(0, Reading(PACKAGE, None, 0)), (0, Reading(CORE, None, 0))])
    now = [(1_000_000, Reading(PACKAGE, None, 30_000_000)), (1_000_000, Reading(CORE, None, 20_000_000))]
    assert watts.total([*now, (1_000_000, Reading(BOARD, 100_000, None))]) == 130.0


def test_what_is_missing_or_went_backwards_is_not_zero():
    watts = Watts()
    watts.total([(0, Reading(PACKAGE, None, 50))])
    assert watts.total([(1, Reading(PACKAGE, None, None, "rapl: gone"))]) is None
    assert watts.total([(2, Reading(PACKAGE, None, 10))]) is None
