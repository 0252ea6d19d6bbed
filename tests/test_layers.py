"""The arrows of docs/architecture.md: who may import whom, read from the source."""

import ast
import graphlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A wing (a folder, or a file of the top level) imports only itself and what stands before its line.
# Wings on one line do not know of each other.
WINGS = {
    "trainer": [
        "lazy",
        "cores errors files metrics seeds",
        "cache_folder fields",
        "images config",
        "user_code",
        "data user_code_checks",
        "augmentation model",
        "learning",
        "training",
        "prediction",
        "predict",
        "parameters",
        "data_page",
        "__main__",
    ],
    "sweeps": [
        "errors processes secret_arguments",
        "paths threads",
        "space",
        "study",
        "search preparing results",
        "running",
        "upkeep ray_tune samples",
        "tracking",
        "reporting shipping",
        "sweep",
        "cli",
        "__main__",
    ],
    "foldsweep": [
        "shown",
        "stored",
        "starting",
    ],
}
PACKAGES = tuple(WINGS)
# `config` puts the fields together, and is itself what the images are prepared by
SIDE_BY_SIDE = {("trainer.config", "trainer.images.preprocessing")}
# where a foreign library may be imported, as prefixes of paths
FOREIGN = {
    "ray": ["sweeps/ray_tune/"],
    "wandb": ["sweeps/tracking/"],
    "typer": ["sweeps/cli/"],
    "rich": ["sweeps/cli/"],
    "optuna.storages": [
        "sweeps/study/",
        "sweeps/search/mirror.py",
        "sweeps/search/model_view.py",
        "sweeps/preparing/opening.py",
        "sweeps/results/view.py",
        "sweeps/upkeep/leftovers.py",
        "sweeps/reporting/dashboard.py",
    ],
    "optuna_dashboard": ["sweeps/reporting/dashboard.py"],
    "sqlalchemy": ["sweeps/study/"],
    "optuna": [
        "sweeps/study/",
        "sweeps/search/",
        "sweeps/preparing/opening.py",
        "sweeps/reporting/",
        "sweeps/results/",
        "sweeps/running/",
        "sweeps/upkeep/",
        "sweeps/tracking/reading.py",
        "sweeps/tracking/recorded.py",
        "sweeps/sweep.py",
    ],
    "psutil": ["sweeps/processes.py"],
    "ruamel": [
        "sweeps/space/yaml_file.py",
        "sweeps/space/yaml_marks.py",
        "sweeps/space/fixing.py",
        "sweeps/preparing/opening.py",
        "sweeps/reporting/trial_file.py",
        "trainer/__main__.py",
    ],
    "jinja2": ["sweeps/preparing/check_page.py"],
    "scipy": ["sweeps/space/laws.py", "sweeps/search/", "sweeps/results/"],
    "madgrad": ["trainer/learning/optimizers.py"],
    "timm": ["trainer/model/", "trainer/learning/", "trainer/training/preflight.py"],
    "safetensors": ["trainer/model/"],
    "huggingface_hub": ["trainer/model/hub.py"],
    "pandas": ["trainer/data/frames.py", "trainer/data/sources.py", "sweeps/reporting/export.py"],
    "pyarrow": [],
    "sklearn": ["sweeps/samples/", "sweeps/results/importance.py"],
    "cv2": ["trainer/images/crops.py"],
    "rembg": ["trainer/images/crops.py"],
    "pillow_heif": ["trainer/images/other_formats.py"],
    "onnx": ["trainer/prediction/onnx_export.py"],
    "onnxscript": ["trainer/prediction/onnx_export.py"],
    "onnxruntime": ["trainer/images/crops.py", "trainer/prediction/onnx_export.py"],
    "PIL": [
        "trainer/images/",
        "trainer/data/",
        "sweeps/preparing/inspection.py",
        "sweeps/reporting/contact_sheet.py",
        "sweeps/samples/",
        "sweeps/tracking/event_file.py",
    ],
    "mlflow": ["sweeps/tracking/mlflow_runs.py"],
    "tensorboardX": ["sweeps/tracking/event_protocol.py"],
    "filelock": ["sweeps/tracking/", "trainer/images/pool.py", "trainer/images/cache.py"],
}
HEAVY = ("torch", "torchvision", "timm", "madgrad", "safetensors")
# a command imports what it needs when it is called
HEAVY_FOR_COMMANDS = (*HEAVY, "ray", "optuna", "sqlalchemy", "pandas", "sklearn", "numpy", "scipy")
WRITES = (
    "create_new_trial",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
)
FILE_LINES = 400
TEST_LINES = 600
PARAMETERS = 7


def files(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


MODULES = {module_of(path): path for path in files(*PACKAGES)}


@cache
def imports(path: Path, *, top_level_only: bool = False) -> tuple[str, ...]:
    """The modules that a file imports; what is imported for type checkers alone is left out."""
    return tuple(_imports(path, top_level_only=top_level_only))


def _imports(path: Path, *, top_level_only: bool) -> Iterator[str]:
    nodes = list(tree_of(path).body if top_level_only else ast.walk(tree_of(path)))
    for_types = {
        inner
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in nodes:
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in named if name in MODULES]
            yield from inside or [node.module]


def ours(path: Path) -> Iterator[str]:
    return (name for name in imports(path) if name in MODULES)


def wing_of(module: str) -> tuple[str, str]:
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def may_import(package: str, wing: str) -> set[str]:
    """The wings of its own package that a wing may import."""
    before: set[str] = set()
    for line in WINGS[package]:
        if wing in line.split():
            return {*before, wing}
        before |= set(line.split())
    raise AssertionError(f"{package}/{wing} is not in WINGS: give it a place in the order")


@pytest.mark.parametrize(
    "path",
    [p for p in files(*PACKAGES) if p.parent.parent != ROOT or p.stem != "__init__"],
    ids=name_of,
)
def test_a_wing_imports_only_what_stands_before_it(path: Path):
    package, wing = wing_of(module_of(path))
    allowed = may_import(package, wing)
    for imported in ours(path):
        other_package, other = wing_of(imported)
        if (module_of(path), imported) in SIDE_BY_SIDE or other_package != package or not other:
            continue
        assert other in allowed, f"{name_of(path)} imports {imported}"


def test_every_place_in_the_order_is_a_wing_that_exists():
    for package, lines in WINGS.items():
        for wing in " ".join(lines).split():
            place = ROOT / package / wing
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{package}/{wing}"


def test_the_picture_in_the_documentation_is_this_order():
    text = (ROOT / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    drawn: dict[str, list[str]] = {}
    for line in picture.splitlines():
        if line.startswith("  "):
            drawn[list(drawn)[-1]].append(line.strip().split("   ")[0])
        else:
            drawn[line] = []
    assert drawn == WINGS


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: set(ours(path)) - {name} for name, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", files("trainer"), ids=name_of)
def test_the_trainer_knows_nothing_of_sweeps(path: Path):
    for imported in imports(path):
        assert imported.split(".")[0] not in (
            "sweeps",
            "foldsweep",
            "ray",
            "optuna",
            "wandb",
            "typer",
        )


def test_a_notebook_and_the_commands_know_nothing_of_each_other():
    """What both need stands before both of them."""
    for path in files("sweeps"):
        assert not any(name.split(".")[0] == "foldsweep" for name in imports(path)), name_of(path)
    for path in files("foldsweep"):
        assert not any(wing_of(name) == ("sweeps", "cli") for name in ours(path)), name_of(path)


@pytest.mark.parametrize("library", FOREIGN)
def test_a_foreign_library_appears_in_one_place(library: str):
    for path in files(*PACKAGES):
        if any(f"{name}.".startswith(f"{library}.") for name in imports(path)):
            assert name_of(path).startswith(tuple(FOREIGN[library])), f"{name_of(path)}: {library}"


def loaded_by(*modules: str) -> set[str]:
    """All of our modules that these import, at once or when they are called."""
    found: set[str] = set()
    left = list(modules)
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += ours(MODULES[module])
    return found


def test_a_worker_never_loads_optuna_or_a_database():
    for module in loaded_by("sweeps.ray_tune.worker", "sweeps.running.trial"):
        for imported in imports(MODULES[module]):
            assert imported.split(".")[0] not in ("optuna", "sqlalchemy", "wandb"), module


def test_only_the_trial_loads_torch_at_its_top():
    """Processes that train nothing are quick to start: torch costs them seconds."""
    trained_here = {"sweeps.running.trial", "sweeps.running.local"}
    light = {name for name in MODULES if name.startswith("sweeps.")} - trained_here
    for module in light | {"trainer.training.preflight", "trainer.model.timm_names"}:
        for loaded in top_level(module):
            for imported in imports(MODULES[loaded], top_level_only=True):
                assert imported.split(".")[0] not in HEAVY, f"{module} loads {loaded}: {imported}"


def top_level(module: str) -> set[str]:
    """All of our modules that are imported when this one is."""
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            at_once = imports(MODULES[name], top_level_only=True)
            left += [imported for imported in at_once if imported in MODULES]
    return found


@pytest.mark.parametrize("path", files("sweeps/cli"), ids=name_of)
def test_the_commands_defer_every_heavy_import(path: Path):
    if path.name == "progress.py":
        return  # imported by the commands when they are called
    for module in top_level(module_of(path)):
        for imported in imports(MODULES[module], top_level_only=True):
            assert imported.split(".")[0] not in HEAVY_FOR_COMMANDS, f"{module} imports {imported}"


def test_only_the_study_writes_the_storage():
    """The mirror of a driver writes its own in-memory study; nobody else calls a writing method."""
    for path in files("sweeps", "foldsweep"):
        called = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
        if called & set(WRITES):
            assert name_of(path).startswith(("sweeps/study/", "sweeps/search/mirror.py"))


def test_only_records_reads_the_attributes_of_stored_trials():
    for path in files("sweeps", "foldsweep"):
        read = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
        if "user_attrs" in read and path.name != "records.py":
            lines = [line for line in path.read_text().splitlines() if "user_attrs" in line]
            assert all("SweepRecord.of(" in line for line in lines), name_of(path)


@pytest.mark.parametrize("path", files(*PACKAGES, "tests"), ids=name_of)
def test_files_and_functions_are_short_enough_to_read(path: Path):
    limit = TEST_LINES if name_of(path).startswith("tests/") else FILE_LINES
    assert len(path.read_text().splitlines()) <= limit
    if name_of(path).startswith(("tests/", "sweeps/cli/", "foldsweep/")):
        return  # a command has a parameter for each of its options, and so has it in a notebook
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [each.arg for each in given if each.arg not in ("self", "cls")]
            assert len(names) <= PARAMETERS, f"{node.name} has {len(names)} parameters"


def test_the_files_that_pyproject_names_import_their_library():
    """`"filelock>=3.16",  # trainer/images/cache.py: why` is true of every library."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    optional = itertools.chain.from_iterable(project["optional-dependencies"].values())
    commented = dict(
        re.findall(r'"([a-z0-9.-]+)[^"\n]*"[],]+ *# ([^:\n]+)', text.split("[project.scripts]")[0])
    )
    for requirement in (*project["dependencies"], *optional):
        library = re.split(r"[\[>=<]", requirement)[0]
        if commented[library].startswith("none of our files"):
            continue
        module = IMPORTED_AS.get(library, library)
        places = re.findall(r"(?:sweeps|trainer|tests)/(?:[\w/]*\.py)?[\w/]*", commented[library])
        assert places, f"{library}: which file needs it?"
        for place in places:
            found = {name for path in _below(place) for name in imports(path)}
            assert any(f"{name}.".startswith(f"{module}.") for name in found), f"{library}: {place}"


def _below(place: str) -> list[Path]:
    return [ROOT / place] if place.endswith(".py") else files(place)


IMPORTED_AS = {
    "huggingface-hub": "huggingface_hub",
    "pillow": "PIL",
    "opencv-python-headless": "cv2",
    "pillow-heif": "pillow_heif",
    "scikit-learn": "sklearn",
    "ruamel.yaml": "ruamel",
    "optuna-dashboard": "optuna_dashboard",
    "tensorboardx": "tensorboardX",
}


def test_there_is_no_drawer_for_everything():
    for path in files(*PACKAGES):
        assert path.stem not in ("utils", "common", "helpers", "misc")
