"""Run the sampler. It ends when its agent does: the end of stdin is an order to stop."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from joulemark.agents.meters.discover import discover, discover_simulated, discover_sources
from joulemark.agents.priority import prefer_me
from joulemark.agents.sampler.inbox import Inbox
from joulemark.agents.sampler.loop import Sampler, say
from joulemark.agents.sampler.protocol import Report, SamplerConfig
from joulemark.warehouse.errors import JoulemarkError


def main() -> None:
    """Read the configuration from the first line of stdin, then sample."""
    inbox = Inbox()
    config = msgspec.json.decode(inbox.first_line(), type=SamplerConfig)
    prefer_me()
    try:
        meters, warnings = discover(config.cpu_watts, cpu_engines=config.cpu_engines)
        remote, more = discover_sources(config.sources, config.node, config.window_s)
        made_up = discover_simulated(Path(config.spool).parent, config.node, config.simulated_gpus)
        Sampler(config, [*meters, *made_up, *remote], (*warnings, *more), inbox).run()
    except (JoulemarkError, OSError) as error:
        say(Report("failed", error=str(error)))
        sys.exit(1)


main()
