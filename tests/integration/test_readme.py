"""What the README says is so: its commands run (shortened by options),
its search space is valid, its files exist.
"""

import json
import re
from pathlib import Path

import pytest

from sweeps.space.spec_reader import read_spec
from tests.integration.conftest import command
from trainer.config import TrainConfig

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHORTER = {
    "sweeps run": ["--trials", "2", "--set", "parameters.epochs.value=1", "--set", "folds.k=2"],
    "sweeps score": ["--json"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_demo_of_the_readme_runs_in_an_empty_folder(tmp_path: Path):
    lines = blocks("sh")[0].strip().splitlines()
    assert [line.split()[1] for line in lines] == [
        "demo",
        "run",
        "best",
        "predict",
        "score",
    ]
    for line in lines:
        program, *arguments = line.split()
        assert program == "sweeps"
        more = SHORTER.get(f"{program} {arguments[0]}", [])
        done = command(*arguments, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if arguments[0] == "best":
            assert done.stdout.startswith("digits: 2 completed, 0 pruned, 0 failed\n")
            assert "\nensemble   " in done.stdout
    assert json.loads(done.stdout)["images"] == 359

    best = json.loads(command("best", "digits", "--json", cwd=tmp_path).stdout)
    counts = ["completed", "pruned", "failed", "taken_over", "history"]
    assert list(best) == ["sweep", "metric", "goal", *counts, "trials", "ensemble", "choice"]
    keys = [
        "number",
        "score",
        "fold_scores",
        "std",
        "oof_score",
        "params",
        "directory",
        "taken_from",
        "seconds",
        "chance",
        "estimate",
        "ci95",
    ]
    assert [list(trial) for trial in best["trials"]] == [keys, keys]
    assert (tmp_path / best["trials"][0]["directory"] / "fold-1" / "result.json").is_file()


def test_make_demo_runs_the_commands_of_the_readme():
    recipe = re.search(
        r"^demo:.*?\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE
    )
    assert recipe is not None
    assert recipe[1].replace("\t$(BIN)/", "") == blocks("sh")[0]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_search_space_is_valid_and_says_how_to_run_it(path: Path):
    assert read_spec(path).notices == ()
    header = path.read_text().split("\n\n")[0]
    assert f"sweeps run search_spaces/{path.name}" in header
    assert "Time:" in header
    assert "Score:" in header


@pytest.mark.parametrize("name", ["digits", "mask_small"])
def test_a_search_space_for_any_machine_says_what_it_took_and_scored(name: str):
    header = (ROOT / "search_spaces" / f"{name}.yaml").read_text().split("\n\n")[0]
    assert re.search(r"Time: (about )?\d+ min.* on 2 CPU", header)
    assert re.search(r"Score: macro-F1 0\.\d{3} ", header)


def test_the_search_space_of_the_readme_is_valid(tmp_path: Path):
    (example,) = blocks("yaml")
    (tmp_path / "mask.yaml").write_text(example)
    spec = read_spec(tmp_path / "mask.yaml")
    assert (spec.name, spec.notices) == ("mask", ())


def test_every_parameter_is_documented_in_a_file_that_the_readme_links_to():
    assert "](docs/parameters.md)" in README
    documented = re.findall(
        r"^\| `(\w+)` \|", (ROOT / "docs" / "parameters.md").read_text(), flags=re.MULTILINE
    )
    assert sorted(documented) == sorted(TrainConfig.model_fields)


def test_the_files_and_folders_of_the_readme_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for path in re.findall(r"^((?:trainer|sweeps)/[\w/.]+)", README, flags=re.MULTILINE):
        assert (ROOT / path).exists(), path
