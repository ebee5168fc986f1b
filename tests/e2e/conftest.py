"""End-to-end tests share one cache of engine environments and models, so that each engine is installed once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SECONDS = 900


@pytest.fixture(scope="session")
def home():
    """JOULEMARK_HOME of all end-to-end tests: a given one, or one that is kept between runs."""
    given = os.environ.get("JOULEMARK_TEST_HOME")
    return Path(given) if given else Path.home() / ".cache" / "joulemark-tests"


@pytest.fixture
def joulemark(home, tmp_path):
    """Run a joulemark command as a user would; ``start`` leaves it running."""
    return Cli(home, tmp_path)


@pytest.fixture(scope="session")
def cli_in(home):
    """Make the command line with its warehouse in a folder, for fixtures that several tests share."""
    return lambda folder: Cli(home, folder)


class Cli:
    """The command line with a home and a warehouse of its own."""

    def __init__(self, home, folder):
        self.home, self.folder = home, folder
        self.warehouse = folder / "records"
        self.environment = {
            **os.environ,
            "JOULEMARK_HOME": str(home),
            "JOULEMARK_WAREHOUSE": str(self.warehouse),
            "PYTHONUNBUFFERED": "1",
        }

    def __call__(self, *arguments, code=0, seconds=SECONDS):
        done = subprocess.run(
            self._argv(arguments),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == code, f"{arguments} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments):
        log = (self.folder / f"start-{time.monotonic_ns()}.log").open("wb")
        process = subprocess.Popen(
            self._argv(arguments), env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        process.log = Path(log.name)
        return process

    def sweep(self, text):
        path = self.folder / "sweep.yaml"
        path.write_text(text)
        return path

    def sql(self, query):
        import json

        return json.loads(self("sql", query, "--json").stdout)

    def complete(self, sweep, runs=3, seconds=SECONDS):
        """Run a sweep until all its trials are valid, as a user on a busy machine would: the same command again."""
        for _ in range(runs):
            done = subprocess.run(
                self._argv(("run", str(sweep))),
                env=self.environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
            assert done.returncode in (0, 1), done.stderr
            if done.returncode == 0:
                return done
        pytest.fail(f"not complete after {runs} runs:\n{done.stderr}")

    def _argv(self, arguments):
        return [str(Path(sys.executable).with_name("joulemark")), *map(str, arguments)]
