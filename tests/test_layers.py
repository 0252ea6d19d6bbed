"""The arrows of the design: who may import whom, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# for each module of sweeps: the modules of sweeps it may import, directly
WORKER = ["errors", "paths", "messages", "attempt"]
LANGUAGE = ["errors", "laws", "space", "language", "yaml_file"]
SPEC = [*LANGUAGE, "stopping", "spec"]
READING = [*SPEC, "fields", "points", "sections", "spec_reader", "space_only", "growth"]
STORAGE = ["paths", "processes", "database", "records", "lease", "study"]
DECIDING = ["sampling", "race", "pruning", "history", "tally", "ranking", "budget", "mirror"]
STORED = [*SPEC, "messages", "events", *STORAGE, *DECIDING]
FILES = ["data", "prepare", "oof", "results", "retention"]
ALLOWED = {
    "samples": ["samples"],
    "errors": [],
    "paths": ["errors"],
    "processes": [],
    "records": [],
    "messages": ["paths"],
    "events": [],
    "laws": [],
    "stopping": [],
    "attempt": ["paths"],
    "neighbours": ["processes"],
    "space": ["laws", "errors"],
    "language": LANGUAGE,
    "yaml_file": ["errors"],
    "spec": [*LANGUAGE, "stopping"],
    "fields": LANGUAGE,
    "points": LANGUAGE,
    "sections": [*SPEC, "fields"],
    "spec_reader": READING,
    "space_only": READING,
    "growth": LANGUAGE,
    "trial": WORKER,
    "database": ["errors"],
    "lease": ["errors", "database", "processes"],
    "study": [*SPEC, "database", "paths", "records"],
    "sampling": [*SPEC, "records"],
    "race": ["stopping"],
    "pruning": [*SPEC, "race"],
    "history": [*SPEC, "records", "sampling"],
    "tally": ["records"],
    "ranking": ["records", "paths"],
    "budget": SPEC,
    "mirror": [*SPEC, "records", "sampling", "history", "race", "pruning", "tally"],
    "data": [*SPEC, "paths"],
    "check_page": [],
    "inspection": [*SPEC, "data", "check_page"],
    "feasible": [*SPEC, "data"],
    "prepare": [*SPEC, "growth", "paths", "database", "study", "data"],
    "oof": ["errors"],
    "results": [*STORED, "prepare", "oof"],
    "retention": [*STORED, "prepare", "results"],
    "garbage": [*STORED, "prepare", "results", "retention"],
    "retry": [*STORED, "prepare"],
    "warm_start": [*STORED, "prepare", "results"],
    "asking": STORED,
    "driver": [*STORED, "asking"],
    "sweep": [
        *STORED,
        *FILES,
        "asking",
        "driver",
        "feasible",
        "warm_start",
        "neighbours",
        "local",
        "ray_tune",
    ],
    "local": ["driver", "asking", "messages", "trial", "attempt"],
    "ray_tune": [*STORED, "driver", "asking", "trial", "attempt", "ray_tune"],
    "cli": [
        "samples",
        *STORED,
        *READING,
        *FILES,
        "driver",
        "check_page",
        "inspection",
        "feasible",
        "garbage",
        "retry",
        "warm_start",
        "neighbours",
        "local",
        "ray_tune",
        "sweep",
        "cli",
    ],
}
# foreign libraries, and the only places that may import them
FOREIGN = {
    "ray": ["sweeps/ray_tune/"],
    "wandb": ["sweeps/tracking/wandb.py"],
    "optuna": [
        "sweeps/search/sampling.py",
        "sweeps/search/pruning.py",
        "sweeps/study/stored_sweep.py",
        "sweeps/study/records.py",
        "sweeps/search/history.py",
        "sweeps/search/tally.py",
        "sweeps/results/ranking.py",
        "sweeps/search/mirror.py",
        "sweeps/running/driver.py",
        "sweeps/preparing/opening.py",
        "sweeps/results/view.py",
        "sweeps/upkeep/retention.py",
        "sweeps/upkeep/retry.py",
        "sweeps/upkeep/warm_start.py",
        "sweeps/running/asking.py",
        "sweeps/sweep.py",
    ],
    "sqlalchemy": [
        "sweeps/study/database.py",
        "sweeps/study/stored_sweep.py",
        "sweeps/study/lease.py",
    ],
    "typer": ["sweeps/cli/"],
    "rich": ["sweeps/cli/"],
    "madgrad": ["trainer/learning/optimizers.py"],
    "timm": [
        "trainer/learning/average.py",
        "trainer/model/backbone.py",
        "trainer/model/freezing.py",
        "trainer/learning/optimizers.py",
        "trainer/training/preflight.py",
        "trainer/model/timm_names.py",
        "trainer/model/weights.py",
    ],
    "pandas": ["trainer/data/sources.py"],
    "jinja2": ["sweeps/preparing/check_page.py"],
    "cv2": ["trainer/images/crops.py"],
    "rembg": ["trainer/images/crops.py"],
    "onnxruntime": ["trainer/images/crops.py"],
    "PIL": [
        "trainer/images/",
        "trainer/data/",
        "sweeps/samples/",
        "sweeps/preparing/inspection.py",
    ],
    "filelock": ["trainer/images/cache.py"],
    "psutil": ["sweeps/processes.py"],
    "scipy": ["sweeps/space/laws.py", "sweeps/search/race.py", "sweeps/search/sampling.py"],
}
TORCH = ["torch", "torchvision", "timm", "madgrad", "safetensors"]
# parts of the trainer -> the only modules of it that they may import (a name stands for all below it)
INSIDE_TRAINER = {
    "cache_folder": ["errors"],
    "errors": [],
    "files": [],
    "metrics": [],
    "seeds": [],
    "fields": ["fields", "metrics"],
    "images": ["cache_folder", "errors", "fields", "files", "images", "seeds"],
    "data": ["cache_folder", "data", "errors", "fields", "files", "images", "seeds"],
    "config": ["fields", "images.preprocessing"],
    "user_code": ["config", "errors", "fields"],
    "augmentation": ["augmentation", "config", "fields", "images", "seeds"],
    "model": [
        "cache_folder",
        "config",
        "errors",
        "fields",
        "files",
        "images",
        "model",
        "user_code",
    ],
    "learning": ["config", "errors", "fields", "learning", "metrics", "model"],
}
# read by processes that train nothing: torch would cost them seconds
LIGHT = [
    "trainer/config.py",
    "trainer/fields/",
    "trainer/cache_folder.py",
    "trainer/errors.py",
    "trainer/files.py",
    "trainer/seeds.py",
    "trainer/metrics.py",
    "trainer/model/timm_names.py",
    "trainer/training/preflight.py",
    "trainer/user_code.py",
    "trainer/training/reporter.py",
    "trainer/images/manifest.py",
    "trainer/data/folds.py",
    "trainer/data/options.py",
    "trainer/images/preprocessing.py",
    "trainer/images/cache.py",
]
WRITES = {
    "create_new_trial",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            # `from sweeps import trial` names a module, too
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module in ("sweeps", "trainer")
            )


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules("sweeps"), ids=name_of)
def test_arrows_inside_sweeps_point_one_way(path: Path):
    parts = path.relative_to(ROOT / "sweeps").with_suffix("").parts
    if parts == ("__init__",):
        assert list(imports(path)) == []
        return
    allowed = {f"sweeps.{name}" for name in ALLOWED[parts[0]]}
    for imported in imports(path):
        if imported.startswith("sweeps."):
            assert ".".join(imported.split(".")[:2]) in allowed, (
                f"{name_of(path)} imports {imported}"
            )


@pytest.mark.parametrize("path", modules("trainer"), ids=name_of)
def test_the_trainer_knows_nothing_of_sweeps(path: Path):
    for imported in imports(path):
        assert imported.split(".")[0] not in (
            "sweeps",
            "ray",
            "optuna",
            "wandb",
            "typer",
            "sqlalchemy",
        )


@pytest.mark.parametrize("path", modules("trainer"), ids=name_of)
def test_arrows_inside_the_trainer_point_one_way(path: Path):
    """Names, data and the parts that a training is made of; network, inputs and what is above them is not listed."""
    part = path.relative_to(ROOT / "trainer").with_suffix("").parts[0]
    if part not in INSIDE_TRAINER:
        return
    allowed = tuple(f"trainer.{name}" for name in INSIDE_TRAINER[part])
    for imported in imports(path):
        if imported.startswith("trainer."):
            assert any(imported == name or imported.startswith(f"{name}.") for name in allowed), (
                f"{name_of(path)} imports {imported}"
            )


def test_nothing_below_imports_the_fold_run():
    """Who sees a whole training: its entry points, and nobody that a training is made of."""
    above = {
        "trainer.training.fit": ["trainer/__main__.py"],
        "trainer.training.fold_run": ["trainer/training/fit.py"],
    }
    for path in modules("trainer"):
        for imported in imports(path):
            if imported in above:
                assert name_of(path) in above[imported], f"{name_of(path)} imports {imported}"


def test_every_arrow_of_the_trainer_is_of_a_module_that_exists():
    for part in (*INSIDE_TRAINER, *(name for names in INSIDE_TRAINER.values() for name in names)):
        path = ROOT.joinpath("trainer", *part.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), part


def test_what_trains_nothing_imports_torch_only_when_it_is_called():
    light = [path for path in modules("trainer") if name_of(path).startswith(tuple(LIGHT))]
    light += [path for path in modules("sweeps") if path.name != "trial.py"]
    assert len(light) > len(LIGHT)
    for path in light:
        for imported in imports(path, top_level_only=True):
            assert imported.split(".")[0] not in TORCH, (
                f"{name_of(path)} imports {imported} at its top"
            )


def test_the_worker_side_imports_neither_optuna_nor_the_driver():
    """What a Ray worker loads before a trial begins, and the trial itself."""
    for file in (
        "sweeps/running/trial.py",
        "sweeps/running/messages.py",
        "sweeps/running/attempt.py",
        "sweeps/ray_tune/worker.py",
    ):
        for imported in imports(ROOT / file):
            assert imported.split(".")[0] not in ("optuna", "sqlalchemy")
            assert imported not in (
                "sweeps.running.driver",
                "sweeps.study.stored_sweep",
                "sweeps.space.spec",
                "sweeps.search.sampling",
            )
    assert all(
        imported.split(".")[0] != "ray" for imported in imports(ROOT / "sweeps/running/trial.py")
    )


@pytest.mark.parametrize("library", FOREIGN)
def test_a_foreign_library_appears_in_one_place(library: str):
    for path in [*modules("sweeps"), *modules("trainer")]:
        if library in {imported.split(".")[0] for imported in imports(path)}:
            assert name_of(path).startswith(tuple(FOREIGN[library])), (
                f"{name_of(path)} imports {library}"
            )


def test_only_study_writes_the_stored_study():
    """The driver's mirror writes its own in-memory study; nobody else calls a writing method of a storage."""
    for path in modules("sweeps"):
        called = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        if called & WRITES:
            assert name_of(path) in ("sweeps/study/stored_sweep.py", "sweeps/search/mirror.py")


def test_the_commands_defer_every_heavy_import():
    heavy = ("ray", "torch", "optuna", "timm", "sqlalchemy", "pandas", "sklearn", "numpy")
    light = ("sweeps.errors", "sweeps.cli")
    for path in modules("sweeps/cli"):
        if path.name == "progress.py":
            continue  # imported by `sweeps run` itself
        for imported in imports(path, top_level_only=True):
            assert imported.split(".")[0] not in heavy, (
                f"{name_of(path)} imports {imported} at its top"
            )
            if imported.startswith("sweeps."):
                assert imported.startswith(light), f"{name_of(path)} imports {imported} at its top"


def test_there_is_no_drawer_for_everything():
    for path in [*modules("sweeps"), *modules("trainer")]:
        assert path.stem not in ("utils", "common", "helpers", "misc")
