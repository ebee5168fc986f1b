"""The scripted server, built once, and servers that play a script."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripted_server"))

from script_file import Script
from server_process import NoCompiler, ScriptedServer, build


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    try:
        return build(tmp_path_factory.mktemp("scripted-server"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture
def playing(program, tmp_path_factory):
    """Run a server that plays these answers; more words are those of Script."""

    @contextmanager
    def play(*answers, **more):
        with ScriptedServer(tmp_path_factory.mktemp("server"), program, Script(answers, **more)) as server:
            yield server

    return play
