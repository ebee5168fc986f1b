"""Token authentication is the default, and its absence is one line that says what to do."""

import subprocess
import sys

import pytest

from joulemark.orchestrator import ray_environment
from joulemark.warehouse.errors import ClusterError


@pytest.fixture
def variables(monkeypatch, tmp_path):
    made = {"HOME": str(tmp_path)}
    monkeypatch.setattr(ray_environment.os, "environ", made)
    monkeypatch.setattr(ray_environment, "TOKEN_FILE", str(tmp_path / "auth_token"))
    return made


def test_a_local_ray_has_a_token_of_its_own_each_time(variables):
    ray_environment.prepare(None)
    first = variables.pop("RAY_AUTH_TOKEN")
    assert variables.pop("RAY_AUTH_MODE") == "token"
    ray_environment.prepare(None)
    assert len(first) == 64
    assert variables["RAY_AUTH_TOKEN"] != first


def test_a_cluster_s_token_must_be_there(variables, tmp_path):
    with pytest.raises(ClusterError, match=r"auth_token: copy that file from the head node, or set RAY_AUTH_TOKEN"):
        ray_environment.prepare("head:6379")
    (tmp_path / "auth_token").write_text("secret\n")
    ray_environment.prepare("head:6379")
    assert variables["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in variables, "Ray reads the file itself"


def test_who_wants_no_authentication_says_so(variables):
    variables["RAY_AUTH_MODE"] = "disabled"
    ray_environment.prepare("head:6379")
    assert variables["RAY_AUTH_MODE"] == "disabled"


def test_a_driver_of_a_cluster_has_the_settings_of_the_nodes(variables):
    variables["RAY_AUTH_TOKEN"] = "t"
    variables["RAY_health_check_period_ms"] = "1"
    ray_environment.prepare("head:6379")
    assert variables["RAY_health_check_period_ms"] == "1", "what the user set stays"
    assert set(ray_environment.OF_A_CLUSTER) <= set(variables)


def test_the_settings_can_be_had_by_a_shell():
    done = subprocess.run(
        ["bash", "-c", f'eval "$({sys.executable} -m joulemark.orchestrator.ray_environment)"; env'],
        capture_output=True,
        text=True,
        check=True,
    )
    for name, value in {**ray_environment.SETTINGS, **ray_environment.OF_A_CLUSTER}.items():
        assert f"{name}={value}" in done.stdout.splitlines()
