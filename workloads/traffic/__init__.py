"""What the load client sends and when: arrivals, lengths and prompts, the same from the same seeds everywhere."""

from joulemark.workloads.traffic.arrivals import stagger_offsets
from joulemark.workloads.traffic.make import make_traffic
from joulemark.workloads.traffic.prompts import prompt_ids
from joulemark.workloads.traffic.request import Request
from joulemark.workloads.traffic.tables import Tables
from joulemark.workloads.traffic.traffic import Traffic

__all__ = ["Request", "Tables", "Traffic", "make_traffic", "prompt_ids", "stagger_offsets"]
