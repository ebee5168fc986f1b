"""The scripted server, built once, and servers that play a script."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripted_server"))
sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))
sys.path.insert(0, str(Path(__file__).parent))

from script_file import Script
from server_process import NoCompiler, ScriptedServer, build


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    try:
        return build(tmp_path_factory.mktemp("scripted-server"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def playing(program, tmp_path_factory):
    """Run a server that plays these answers; more words are those of Script."""

    @contextmanager
    def play(*answers, **more):
        with ScriptedServer(tmp_path_factory.mktemp("server"), program, Script(answers, **more)) as server:
            yield server

    return play


@pytest.fixture(scope="module", autouse=True)
def _own_clock(tmp_path_factory):
    """Give the client and the test one node clock, and leave the user's alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOULEMARK_HOME", str(tmp_path_factory.mktemp("home")))
        yield
