"""The wheel carries the configs and the plugin, and runs in an empty folder elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_runs_elsewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("tlfw-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    installed = {str(p.relative_to(tmp_path / "installed")) for p in (tmp_path / "installed").rglob("*") if p.is_file()}
    assert {"tlfw/conf/config.yaml", "hydra_plugins/tlfw_sweeper.py", "tlfw/__main__.py"} <= installed
    assert {f"tlfw/report/documents/page.{kind}" for kind in ("html", "css", "js")} <= installed
    assert not [name for name in installed if name.startswith(("tests", "conf/", "benchmarks"))]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [
        sys.executable, "-m", "tlfw", "-m", "+experiment=quickstart", "trainer=smoke", "tracking=disabled", "seed=0,1",
        "source.per_class=10",
    ]  # fmt: skip
    # PYTHONPATH stands before site-packages: what is imported is what the wheel holds.
    place = {"cwd": elsewhere, "env": {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}}
    told = subprocess.run(command, capture_output=True, text=True, **place)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "2 done (2 trained now, 0 were there), 0 failed" in told.stdout
    ask = "import tlfw, hydra_plugins.tlfw_sweeper as s; print(tlfw.__file__, tlfw.CONF, s.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, **place
    ).stdout.split()
    assert all(path.startswith(str(tmp_path / "installed")) for path in where)
