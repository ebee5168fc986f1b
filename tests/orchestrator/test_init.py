"""`joulemark init` writes files that joulemark itself takes, and never over others."""

import pytest
from click.testing import CliRunner

from joulemark.orchestrator.cli import cli
from joulemark.orchestrator.cli.init import sweep_text
from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.errors import BadInput
from joulemark.workloads.site import load_site
from joulemark.workloads.sweep import load_sweep


def test_what_it_writes_is_planned(tmp_path):
    folder = tmp_path / "new"
    done = CliRunner().invoke(cli, ["init", str(folder)], catch_exceptions=False)
    assert f"joulemark plan {folder}/sweep.yaml" in done.stdout
    assert load_site(folder / "site.yaml").name == "my-site"
    assert "joulemark run sweep.yaml" in (folder / "sweep.yaml").read_text()
    planned = CliRunner().invoke(
        cli,
        ["plan", str(folder / "sweep.yaml"), "--site", str(folder / "site.yaml"), "-w", str(tmp_path / "records")],
        catch_exceptions=False,
    )
    assert planned.exit_code == 0
    assert "16 trials" in planned.stdout


def test_with_gpus_the_sweep_is_for_these(tmp_path):
    (tmp_path / "sweep.yaml").write_text(sweep_text(Node("gpu-01", "", 8, "B200")))
    assert "accelerator: B200" in (tmp_path / "sweep.yaml").read_text()
    assert "H100" not in (tmp_path / "sweep.yaml").read_text()
    assert load_sweep(tmp_path / "sweep.yaml").name == "gpu-dense-against-moe"


def test_files_that_are_there_stay(tmp_path):
    (tmp_path / "site.yaml").write_text("mine")
    with pytest.raises(BadInput, match=r"site\.yaml: is there already"):
        CliRunner().invoke(cli, ["init", str(tmp_path)], catch_exceptions=False)
    assert (tmp_path / "site.yaml").read_text() == "mine"
    assert not (tmp_path / "sweep.yaml").exists()
    CliRunner().invoke(cli, ["init", str(tmp_path), "--force"], catch_exceptions=False)
    assert load_site(tmp_path / "site.yaml").currency == "USD"


def test_every_key_that_the_site_example_offers_is_one(tmp_path):
    CliRunner().invoke(cli, ["init", str(tmp_path)], catch_exceptions=False)
    lines = (tmp_path / "site.yaml").read_text().splitlines()
    offered = [
        line.removeprefix("# ")
        for line in lines
        if line.startswith(("# ", "#   ")) and line.rstrip().endswith(("}", ":", "1.5", "000", "0.6", "-01"))
    ]
    (tmp_path / "full.yaml").write_text("schema: 1\nname: full\ncurrency: USD\n" + "\n".join(offered) + "\n")
    site = load_site(tmp_path / "full.yaml")
    assert site.gpu_price("H100").per_hour == 3.0
    assert (site.pue, site.utilisation, site.power_budget_w) == (1.5, 0.6, 40000)
    assert site.meters[0].exporter == "ipmi"
