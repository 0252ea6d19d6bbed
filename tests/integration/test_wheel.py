"""Installed from a wheel into an empty folder, the demo needs no checkout."""

import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def test_the_wheel_carries_all_the_demo_needs(tmp_path: Path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*build, "--wheel-dir", str(tmp_path / "dist"), str(ROOT)], check=True, timeout=120
    )
    (wheel,) = (tmp_path / "dist").glob("foldsweep-*.whl")
    site = tmp_path / "site"
    folder = tmp_path / "empty"
    folder.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, timeout=120)

    packaged = (site / "sweeps" / "search_spaces").glob("*.yaml")
    assert {path.name for path in packaged} == {
        path.name for path in (ROOT / "search_spaces").glob("*.yaml")
    }

    environment = {**os.environ, "PYTHONPATH": str(site), "SWEEPS_CACHE": str(tmp_path / "cache")}
    program = (
        "import foldsweep, sweeps, sys; "
        "assert all(each.__file__.startswith(sys.argv[1]) for each in (foldsweep, sweeps)); "
        "del sys.argv[1]; "
        "from sweeps.cli import main; main()"
    )

    def sweeps(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(site), *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    demo = sweeps("demo", "digits")
    assert demo.returncode == 0, demo.stderr
    assert len(list((folder / "data" / "digits" / "images").glob("*.png"))) == 1438
    written = folder / "search_spaces" / "digits.yaml"
    assert YAML(typ="safe", pure=True).load(written.read_text())["name"] == "digits"
    assert written.read_bytes() == (ROOT / "search_spaces" / "digits.yaml").read_bytes()

    checked = sweeps("check", "search_spaces/digits.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "images     1,438\nclasses    10\n" in checked.stdout
