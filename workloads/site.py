"""Facts of a place: prices, PUE, budgets, utilisation. ``site.yaml`` holds them, apart from what is measured.

They are stored with each sweep and enter no identity, so that every dollar can be computed again from another site.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from joulemark.workloads.document import Item, check_schema, parse_document, read_text_file
from joulemark.workloads.meters import MeterSource, parse_meters

T = TypeVar("T", float, None)

KEYS = (
    "schema",
    "name",
    "currency",
    "as_of",
    "gpu_hour",
    "cpu_node_hour",
    "electricity",
    "pue",
    "power_budget_w",
    "cooling_budget_w",
    "utilisation",
    "cpu_watts",
    "meters",
    "clients",
)
DEFAULTS_AS_OF = dt.date(2026, 11, 1)


@dataclass(frozen=True)
class Price:
    """Price of one hour. ``includes_power`` says whether electricity is in it."""

    per_hour: float
    includes_power: bool
    as_of: dt.date | None = None


@dataclass(frozen=True)
class CpuWatts:
    """Watts of a node's CPUs, all sockets together, idle and with every core at work."""

    idle: float
    full: float


@dataclass(frozen=True)
class Site:
    """One place. Prices are in ``currency``; budgets in watts for the whole site, None where there is none.

    ``gpu_hour`` is by accelerator as Ray labels it. ``pue`` is facility energy over IT energy. ``utilisation`` is the
    share of time, 0 to 1, that the site's accelerators work. ``clients`` are nodes that carry the load of sweeps whose
    client runs apart, and measure nothing in these. ``are_defaults`` says that no file was given; ``text``
    is the file otherwise.
    """

    name: str
    currency: str
    as_of: dt.date | None
    gpu_hour: Mapping[str, Price]
    cpu_node_hour: Price | None
    electricity_per_kwh: float
    electricity_as_of: dt.date | None
    pue: float
    power_budget_w: float | None = None
    cooling_budget_w: float | None = None
    utilisation: float = 1.0
    cpu_watts: CpuWatts | None = None
    meters: tuple[MeterSource, ...] = ()
    clients: frozenset[str] = frozenset()
    are_defaults: bool = False
    text: str = field(default="", repr=False)

    def gpu_price(self, accelerator: str) -> Price | None:
        """Return the hourly price of an accelerator, by its label or by a device name that holds it as a word."""
        if accelerator in self.gpu_hour:
            return self.gpu_hour[accelerator]
        words = set(re.split(r"[^A-Za-z0-9]+", accelerator.lower()))
        return next((p for label, p in self.gpu_hour.items() if label.lower() in words), None)

    def price_record(self, accelerator: str) -> dict[str, str | float | bool | None]:
        """Return the prices of one kind of device as a flat record; None is what the site does not know.

        For ``cpu``, the hour is that of a CPU node.
        """
        price = self.cpu_node_hour if accelerator == "cpu" else self.gpu_price(accelerator)
        as_of = (price.as_of if price else None) or self.as_of
        return {
            "gpu_hour": price.per_hour if price else None,
            "electricity_per_kwh": self.electricity_per_kwh,
            "pue": self.pue,
            "includes_power": price.includes_power if price else None,
            "currency": self.currency,
            "as_of": as_of.isoformat() if as_of else None,
        }


def default_site() -> Site:
    """Return the site that is assumed where no file is given. Its figures are round and for a first look only.

    GPU and CPU hours: the order of on-demand cloud prices in US dollars, power included. Electricity: about what US
    commercial customers paid in 2025 (EIA, Electric Power Monthly, table 5.3). PUE: the average of the Uptime
    Institute's Global Data Center Survey 2024. Utilisation 1: as measured.
    """
    prices = {"L4": 0.8, "A10G": 1.0, "L40S": 1.5, "A100": 1.8, "H100": 3.0, "H200": 3.7, "B200": 5.5}
    return Site(
        name="default",
        currency="USD",
        as_of=DEFAULTS_AS_OF,
        gpu_hour={name: Price(price, includes_power=True, as_of=DEFAULTS_AS_OF) for name, price in prices.items()},
        cpu_node_hour=Price(0.1, includes_power=True, as_of=DEFAULTS_AS_OF),
        electricity_per_kwh=0.13,
        electricity_as_of=DEFAULTS_AS_OF,
        pue=1.56,
        are_defaults=True,
    )


def load_site(path: Path | None) -> Site:
    """Return the site in the file ``path``, the default one without a path.

    Raises BadInput (one line with file, line and column) or NewerSchema.
    """
    if path is None:
        return default_site()
    site = parse_site(read_text_file(path, "site"), str(path))
    return replace(site, meters=tuple(_with_mapping(m, path.parent) for m in site.meters))


def parse_site(text: str, name: str) -> Site:
    """Return the site in ``text``; ``name`` is what messages call it. What is not given is as in the default site.

    Prices are the exception: a file that gives any GPU price gives all of them, so that no default slips in.
    """
    top = parse_document(text, name)
    check_schema(top, "a site file")
    fields = top.fields(KEYS, "the site file", required=("name", "currency"))
    base = default_site()
    as_of = fields["as_of"].date("as_of") if "as_of" in fields else None
    electricity = fields["electricity"].fields(("per_kwh", "as_of"), "electricity") if "electricity" in fields else {}
    return Site(
        name=fields["name"].text("name"),
        currency=fields["currency"].text("currency, such as USD"),
        as_of=as_of,
        gpu_hour=_prices(fields["gpu_hour"], as_of) if "gpu_hour" in fields else {},
        cpu_node_hour=_price(fields["cpu_node_hour"], "cpu_node_hour", as_of) if "cpu_node_hour" in fields else None,
        electricity_per_kwh=_given(electricity, "per_kwh", base.electricity_per_kwh),
        electricity_as_of=electricity["as_of"].date("as_of") if "as_of" in electricity else as_of,
        pue=fields["pue"].number("pue", least=1.0) if "pue" in fields else base.pue,
        power_budget_w=_given(fields, "power_budget_w", None),
        cooling_budget_w=_given(fields, "cooling_budget_w", None),
        utilisation=_utilisation(fields["utilisation"]) if "utilisation" in fields else base.utilisation,
        cpu_watts=_cpu_watts(fields["cpu_watts"]) if "cpu_watts" in fields else None,
        meters=parse_meters(fields["meters"]) if "meters" in fields else (),
        clients=_names(fields["clients"]) if "clients" in fields else frozenset(),
        text=text,
    )


def _with_mapping(meter: MeterSource, folder: Path) -> MeterSource:
    """Return the meter with the text of its own mapping, if it has one: nodes do not have the file."""
    if not meter.mapping_file:
        return meter
    path = folder / Path(meter.mapping_file).expanduser()
    return replace(meter, mapping_file=str(path), mapping=read_text_file(path, "mapping"))


def _prices(item: Item, as_of: dt.date | None) -> dict[str, Price]:
    return {name: _price(price, name, as_of) for name, price in item.mapping("gpu_hour as a mapping").items()}


def _price(item: Item, what: str, as_of: dt.date | None) -> Price:
    """Whether power is included has no default: the difference is the electricity bill."""
    fields = item.fields(("price", "includes_power", "as_of"), what, required=("price", "includes_power"))
    return Price(
        fields["price"].number("price"),
        fields["includes_power"].flag("includes_power"),
        fields["as_of"].date("as_of") if "as_of" in fields else as_of,
    )


def _cpu_watts(item: Item) -> CpuWatts:
    fields = item.fields(("idle", "full"), "cpu_watts", required=("idle", "full"))
    watts = CpuWatts(fields["idle"].number("idle"), fields["full"].number("full"))
    if watts.full <= watts.idle:
        raise item.error(f"cpu_watts: full ({watts.full:g}) must be more than idle ({watts.idle:g})")
    return watts


def _names(item: Item) -> frozenset[str]:
    return frozenset(name.text("name of a node") for name in item.elements())


def _utilisation(item: Item) -> float:
    value = item.number("utilisation")
    if not 0 < value <= 1:
        raise item.error(f"utilisation is a share, over 0 and up to 1, found {value:g}")
    return value


def _given(fields: Mapping[str, Item], key: str, otherwise: T) -> float | T:
    return fields[key].number(key) if key in fields else otherwise
