"""Mappings: which metrics of an exporter are power or energy, of what, and how they arise.

A mapping is a YAML file with strict keys; those that come with joulemark stand beside this module::

    slow: what to do about an exporter that refreshes too slowly
    join:                             # adds a label to samples, from another metric with the same labels
      - {metric: names_info, on: [chip], label: text, as: rail}
    metrics:
      - metric: some_power_watts
        kind: gauge                   # gauge: power; counter: energy
        factor: 1                     # watts or joules per unit of the metric
        scope: node_ac
        fidelity: metered
        device: "outlet-{outlet}"     # labels in braces; {node} is the node; {*} all labels
        where: {unit: watts}          # patterns that labels must match as a whole; groups can be used in device
        several: refuse               # samples of one device: refuse, add, or same (each is the whole device)
        slice: GPU_I_ID               # a label that only slices of a shared device have
        wraps: powercap               # the counter wraps where the kernel's file for the label `path` says
        zero: missing                 # 0 means that there is no reading
        optional: true                # may be missing
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib import resources

from joulemark.warehouse.schema.reasons import FIDELITIES, SCOPES
from joulemark.workloads.document import Item, parse_document
from joulemark.workloads.meters import KINDS, MeterSource

TOP_KEYS = ("slow", "join", "metrics")
JOIN_KEYS = ("metric", "on", "label", "as")
METRIC_KEYS = (
    "metric",
    "kind",
    "factor",
    "scope",
    "fidelity",
    "device",
    "where",
    "several",
    "slice",
    "wraps",
    "zero",
    "optional",
)
SEVERAL = ("refuse", "add", "same")
ALL_LABELS = "{*}"


@dataclass(frozen=True)
class Join:
    """Samples of other metrics get the label ``added``: the value of ``label`` where all labels ``on`` are equal."""

    metric: str
    on: tuple[str, ...]
    label: str
    added: str


@dataclass(frozen=True)
class Metric:
    """What one metric is. ``factor`` is watts (gauge) or joules (counter) per unit of the metric."""

    metric: str
    kind: str
    scope: str
    fidelity: str
    factor: float = 1.0
    device: str = ALL_LABELS
    where: dict[str, re.Pattern[str]] = field(default_factory=dict)
    several: str = "refuse"
    slice_label: str | None = None
    wraps: bool = False
    zero_is_missing: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Mapping:
    """All that is known of an exporter's metrics. ``slow`` says how to make it refresh faster."""

    metrics: tuple[Metric, ...]
    joins: tuple[Join, ...] = ()
    slow: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Metrics that must be read from a page."""
        return frozenset(m.metric for m in self.metrics) | frozenset(j.metric for j in self.joins)


def mapping_of(source: MeterSource) -> Mapping:
    """Return the mapping of a meter, narrowed and overridden as its entry in the site file says.

    Raises BadInput where an own mapping is wrong.
    """
    if source.exporter:
        text = resources.files("joulemark.agents.meters.prometheus").joinpath(f"{source.exporter}.yaml").read_text()
        mapping = parse_mapping(text, f"{source.exporter}.yaml")
    else:
        mapping = parse_mapping(source.mapping, source.mapping_file)
    if not source.metric:
        return mapping
    picked = [replace(m, optional=False) for m in mapping.metrics if m.metric in source.metric]
    if source.scope:
        # One metric can stand for several things: the user's word goes over how the mapping tells them apart.
        picked = list({m.metric: replace(m, where={}, device=ALL_LABELS) for m in picked}.values())
    picked += [_unlisted(name) for name in source.metric if name not in {m.metric for m in mapping.metrics}]
    return replace(mapping, metrics=tuple(_overridden(m, source) for m in picked))


def _unlisted(name: str) -> Metric:
    """Return a metric that the mapping does not know: power in watts, or energy in joules by its name."""
    kind = "counter" if name.endswith("_total") else "gauge"
    return Metric(name, kind, "node_ac", "metered")


def _overridden(metric: Metric, source: MeterSource) -> Metric:
    return replace(
        metric,
        kind=source.kind or metric.kind,
        scope=source.scope or metric.scope,
        device=source.device or metric.device,
        factor=metric.factor if source.factor is None else source.factor,
    )


def parse_mapping(text: str, name: str) -> Mapping:
    """Return the mapping in ``text``; ``name`` is what messages call it. Raises BadInput."""
    fields = parse_document(text, name).fields(TOP_KEYS, "a mapping", required=("metrics",))
    return Mapping(
        metrics=tuple(_metric(m) for m in fields["metrics"].elements()),
        joins=tuple(_join(j) for j in fields["join"].elements()) if "join" in fields else (),
        slow=fields["slow"].text("slow") if "slow" in fields else "",
    )


def _join(item: Item) -> Join:
    fields = item.fields(JOIN_KEYS, "a join", required=JOIN_KEYS)
    on = tuple(label.text("on, labels") for label in fields["on"].elements())
    return Join(fields["metric"].text("metric"), on, fields["label"].text("label"), fields["as"].text("as"))


def _metric(item: Item) -> Metric:
    fields = item.fields(METRIC_KEYS, "a metric", required=("metric", "kind", "scope", "fidelity"))
    if "wraps" in fields:
        fields["wraps"].one_of(("powercap",), "kind of wrap")
    if "zero" in fields:
        fields["zero"].one_of(("missing",), "meaning of 0")
    return Metric(
        metric=fields["metric"].text("metric"),
        kind=fields["kind"].one_of(KINDS, "kind of metric"),
        scope=fields["scope"].one_of(SCOPES, "scope"),
        fidelity=fields["fidelity"].one_of(FIDELITIES, "fidelity"),
        factor=fields["factor"].number("factor") if "factor" in fields else 1.0,
        device=fields["device"].text("device") if "device" in fields else ALL_LABELS,
        where=_patterns(fields["where"]) if "where" in fields else {},
        several=fields["several"].one_of(SEVERAL, "way to treat several samples") if "several" in fields else "refuse",
        slice_label=fields["slice"].text("slice, a label") if "slice" in fields else None,
        wraps="wraps" in fields,
        zero_is_missing="zero" in fields,
        optional=fields["optional"].flag("optional") if "optional" in fields else False,
    )


def _patterns(item: Item) -> dict[str, re.Pattern[str]]:
    patterns = {}
    for label, value in item.mapping("where as a mapping").items():
        try:
            patterns[label] = re.compile(str(value.scalar(f"a pattern of {label}")))
        except re.error as error:
            raise value.error(f"{value.shown()} is no pattern: {error}") from None
    return patterns
