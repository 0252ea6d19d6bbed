"""What options and environment variables name."""

from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.results.named import nothing_yet, runs_folder, storage_url, sweep_name


def test_the_runs_folder_is_the_option_else_the_environment_else_runs(
    monkeypatch: pytest.MonkeyPatch,
):
    assert runs_folder(None) == Path("runs")
    monkeypatch.setenv("SWEEPS_RUNS", "")
    assert runs_folder(None) == Path("runs")
    monkeypatch.setenv("SWEEPS_RUNS", "/srv/runs")
    assert runs_folder(None) == Path("/srv/runs")
    assert runs_folder(Path("mine")) == Path("mine")


def test_the_storage_is_the_option_else_the_environment_else_a_file_in_the_runs_folder(
    monkeypatch: pytest.MonkeyPatch,
):
    assert storage_url(None, Path("/srv/runs")) == "sqlite:////srv/runs/sweeps.db"
    monkeypatch.setenv("SWEEPS_STORAGE", "")
    assert storage_url(None, Path("runs")) == "sqlite:///runs/sweeps.db"
    monkeypatch.setenv("SWEEPS_STORAGE", "postgresql://host/x")
    assert storage_url(None, Path("runs")) == "postgresql://host/x"
    assert storage_url("sqlite:///y.db", Path("runs")) == "sqlite:///y.db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: mask\n", "mask"),
        ("run_cap: 3\n", "space"),
        ("name: 7\n", "7"),
        ("nonsense: [1]\n", "space"),
    ],
    ids=["named", "named by its file", "a number", "not valid otherwise"],
)
def test_a_yaml_stands_for_its_sweep(tmp_path: Path, text: str, expected: str):
    for name in ("space.yaml", "space.yml"):
        (tmp_path / name).write_text(text)
        assert sweep_name(str(tmp_path / name)) == expected


def test_a_name_stands_for_itself_and_nothing_for_the_latest():
    assert sweep_name("mask") == "mask"
    assert sweep_name(None) is None


def test_a_yaml_that_is_not_there():
    with pytest.raises(
        InputError, match=r"^nowhere\.yaml: no such file\. Give a sweep's name .* or its YAML$"
    ):
        sweep_name("nowhere.yaml")


def test_nothing_is_there_yet_only_if_no_storage_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert nothing_yet(None, tmp_path)
    assert not nothing_yet("sqlite:///nowhere.db", tmp_path)
    (tmp_path / "sweeps.db").touch()
    assert not nothing_yet(None, tmp_path)
    monkeypatch.setenv("SWEEPS_STORAGE", "postgresql://host/x")
    assert not nothing_yet(None, tmp_path / "elsewhere")
