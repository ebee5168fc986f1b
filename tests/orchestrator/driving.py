"""A driver over scripted agents, for tests of what becomes of nodes: no Ray, no engines."""

import threading

from joulemark.agents.orders import AgentConfig
from joulemark.orchestrator.driver import Driver
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.plan import groups
from joulemark.orchestrator.progress import Progress
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.verdicts import known
from joulemark.warehouse.store.location import Warehouse


class Drive:
    """Runs sweeps over the nodes that ``alive`` holds, with agents of a class of the test's."""

    def __init__(self, folder, alive, agent):
        self.folder, self.alive, self.agent = folder, alive, agent
        self.manifests, self.told = [], []

    def committed(self, manifest):
        """Keep a manifest; the trial is valid."""
        self.manifests.append(manifest)
        return known(())

    def driver(self, todo, wanted, **options):
        """Return a driver for these groups."""
        self.manifests, self.told = [], []
        models = {t.cell.deployment.model.name: None for g in todo for t in g.trials}
        given = {
            "warehouse": Warehouse.at(self.folder),
            "sweep": SweepFacts("sweep", 1, 1, models),
            "living": lambda: list(self.alive().values()),
            "config": lambda node: AgentConfig(node.node, str(self.folder)),
            "commit": self.committed,
            "attempts": {},
            "progress": Progress("sweep", wanted, 0),
            "tell": self.told.append,
            "taken": lambda _: False,
            "valid_now": dict,
            "schedule": Schedule.of(todo, lambda _: 1.0),
            "lanes": Lanes({}),
            "agent": self.agent(),
            "clock": None,
            "patience_s": 20.0,
        }
        return Driver(**{**given, **options})

    def __call__(self, cells, starts=1, **options):
        """Run all cells once per start and return the driver."""
        driver = self.driver(groups(cells, 1, starts, ()), len(cells) * starts, **options)
        thread = threading.Thread(target=driver.run)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), self.told
        return driver
