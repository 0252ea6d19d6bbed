"""What a notebook imports: the public names of the packages, and what importing them costs."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "foldsweep": [
        "InputError",
        "OutOfFold",
        "Sweep",
        "SweepsError",
        "TrainerError",
        "open",
        "run",
        "sweeps",
    ],
    "sweeps": [
        "InfrastructureError",
        "InputError",
        "Leaderboard",
        "RunOptions",
        "RunResult",
        "RunState",
        "SpecError",
        "Summary",
        "SweepSpec",
        "SweepView",
        "SweepsError",
        "find_sweep",
        "leaderboard",
        "open_storage",
        "read_spec",
        "run_sweep",
        "summarise",
    ],
    "trainer": [
        "METRICS",
        "FoldResult",
        "FoldSetup",
        "Folds",
        "Goal",
        "TrainConfig",
        "TrainerError",
        "load_folds",
        "read_oof",
        "run_fold",
        "score_fold",
    ],
}
# every folder of the packages has an example in the docstring of one of its functions
WINGS = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for package in PUBLIC
    for path in (ROOT / package).rglob("__init__.py")
)


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str):
    module = importlib.import_module(package)
    assert module.__all__ == PUBLIC[package]
    for name in module.__all__:
        assert getattr(module, name).__doc__, name
    assert (ROOT / package / "py.typed").is_file()
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'best_model'"):
        module.best_model  # noqa: B018 - the access itself is what fails


@pytest.mark.parametrize("package", PUBLIC)
def test_type_checkers_see_the_same_names_as_the_interpreter(package: str):
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (homes,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    assert ast.literal_eval(homes) == seen


def test_importing_the_packages_imports_no_library():
    program = (
        "import sys; import foldsweep, sweeps, trainer; from sweeps.cli import app; "
        "heavy = {'torch', 'ray', 'optuna', 'numpy', 'sqlalchemy', 'pandas', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("wing", WINGS)
def test_the_examples_of_a_wing_are_right(wing: str):
    """One public function or class of each wing, at least, shows how it is used."""
    attempted = 0
    for path in sorted((ROOT / wing).glob("*.py")):
        if ">>>" not in path.read_text():
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found = doctest.testmod(importlib.import_module(name))
        assert found.failed == 0, name
        attempted += found.attempted
    assert attempted, f"{wing}: no example in any docstring"
