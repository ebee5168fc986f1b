"""Meters of a place that are read over HTTP: the list ``meters`` of a site file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from joulemark.warehouse.schema.reasons import SCOPES
from joulemark.workloads.document import Item

EXPORTERS = ("dcgm", "node", "ipmi", "snmp", "kepler")
KINDS = ("gauge", "counter")
OWN_NAMES = ("nvml", "nvml-average", "rapl", "cpu-model", "none", "sampler", "agent", "device_state")
"""What joulemark calls its own meters, and other things that stand in the same column of a record."""
OVERRIDES = ("device", "scope", "kind", "factor")
TIMEOUT_S = 5.0
KEYS = (
    "name",
    "exporter",
    "mapping",
    "url",
    "node",
    "metric",
    "labels",
    "device",
    "scope",
    "kind",
    "factor",
    "every",
    "timeout",
    "refresh",
)


@dataclass(frozen=True)
class MeterSource:
    """One meter that is read from the pages of an exporter.

    ``{node}`` in a url, a device or a label stands for the node's name. ``node`` is a shell pattern of node names.
    ``metric`` picks from the mapping, ``labels`` picks samples (patterns, or lists of exact values); ``device``,
    ``scope``, ``kind`` and ``factor`` go over what the mapping says. ``mapping`` is the text of an own mapping and
    ``mapping_file`` its path. ``refresh_s`` is the user's word on how often the exporter's numbers change.
    """

    name: str
    exporter: str
    urls: tuple[str, ...]
    node: str = "*"
    mapping_file: str = ""
    mapping: str = ""
    metric: tuple[str, ...] = ()
    labels: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    device: str | None = None
    scope: str | None = None
    kind: str | None = None
    factor: float | None = None
    every_s: float | None = None
    timeout_s: float = TIMEOUT_S
    refresh_s: float | None = None

    def is_for(self, node: str) -> bool:
        """Return whether the node has this meter."""
        return fnmatchcase(node, self.node)


def parse_meters(item: Item) -> tuple[MeterSource, ...]:
    """Return the meters in a list. Raises BadInput with the place of what is wrong."""
    meters: list[MeterSource] = []
    for element in item.elements():
        meter = _meter(element)
        if meter.name in OWN_NAMES:
            raise element.error(f"joulemark has something called {meter.name!r} itself: give this meter another 'name'")
        if (meter.name, meter.node) in {(m.name, m.node) for m in meters}:
            raise element.error(f"two meters are called {meter.name!r}: give this one another 'name'")
        meters.append(meter)
    return tuple(meters)


def _meter(item: Item) -> MeterSource:
    fields = item.fields(KEYS, "a meter", required=("url",))
    if ("exporter" in fields) == ("mapping" in fields):
        raise item.error(f"a meter has either 'exporter' ({', '.join(EXPORTERS)}) or 'mapping', a file of its own")
    exporter = fields["exporter"].one_of(EXPORTERS, "exporter") if "exporter" in fields else ""
    mapping = fields["mapping"].text("mapping, a file") if "mapping" in fields else ""
    for key in OVERRIDES:
        if key in fields and "metric" not in fields:
            raise fields[key].error(f"{key!r} goes over what a mapping says of one metric: add 'metric'")
    if exporter == "snmp" and not {"metric", "labels"} <= fields.keys():
        raise item.error(
            "a meter of snmp needs 'metric' and 'labels': a PDU feeds many servers, and the mapping cannot "
            "know which outlets are this node's"
        )
    return MeterSource(
        name=_text(fields, "name") or exporter or Path(mapping).stem,
        exporter=exporter,
        urls=tuple(_url(u) for u in fields["url"].elements()),
        node=_text(fields, "node") or "*",
        mapping_file=mapping,
        metric=tuple(m.text("metric") for m in fields["metric"].elements()) if "metric" in fields else (),
        labels=_labels(fields["labels"]) if "labels" in fields else {},
        device=_text(fields, "device"),
        scope=fields["scope"].one_of(SCOPES, "scope") if "scope" in fields else None,
        kind=fields["kind"].one_of(KINDS, "kind of metric") if "kind" in fields else None,
        factor=fields["factor"].number("factor") if "factor" in fields else None,
        every_s=_duration_s(fields, "every", least_s=0.1),
        timeout_s=_duration_s(fields, "timeout", least_s=0.1) or TIMEOUT_S,
        refresh_s=_duration_s(fields, "refresh", least_s=0.0),
    )


def _text(fields: Mapping[str, Item], key: str) -> str | None:
    return fields[key].text(key) if key in fields else None


def _url(item: Item) -> str:
    url = item.text("url")
    parts = urlsplit(url.replace("{node}", "node"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise item.error(f"{url!r} is no url of an exporter: write for example http://{{node}}:9400/metrics")
    if parts.username or parts.password:
        raise item.error("no password belongs into a url here: the site file is stored with every sweep")
    return url


def _labels(item: Item) -> dict[str, str | tuple[str, ...]]:
    labels: dict[str, str | tuple[str, ...]] = {}
    for name, value in item.mapping("labels as a mapping").items():
        several = isinstance(value.value, tuple)
        words = tuple(str(v.scalar(f"a value of the label {name}")) for v in value.elements())
        if several or not isinstance(value.value, str):
            labels[name] = words
            continue
        try:
            re.compile(words[0].replace("{node}", "node"))
        except re.error as error:
            raise value.error(f"{value.shown()} is no pattern: {error}") from None
        labels[name] = words[0]
    return labels


def _duration_s(fields: Mapping[str, Item], key: str, least_s: float) -> float | None:
    if key not in fields:
        return None
    seconds = fields[key].duration_s(key)
    if seconds < least_s:
        raise fields[key].error(f"{key} must be at least {least_s:g} s, found {seconds:g}")
    return seconds
