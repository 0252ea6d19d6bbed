"""docs/notebook.md runs from top to bottom, as in a kernel."""

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foldsweep
from sweeps import cli

PAGE = (Path(__file__).parents[2] / "docs" / "notebook.md").read_text()
OPTIONS = set(inspect.signature(foldsweep.run).parameters)


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{re.escape(language)}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE
    )


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell; returns the value of its last line if that is an expression."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "a cell", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "a cell", "eval"), names)


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (demo,) = blocks("sh")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", demo.split())
        patch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
    names: dict[str, Any] = {}
    results: dict[str, tuple[Any, str]] = {}  # for each cell: its value, and what it printed
    for cell in blocks("python"):
        capsys.readouterr()
        value = shown(cell, names)
        results[cell] = (value, capsys.readouterr().out)

    def result(text: str) -> tuple[Any, str]:
        (found,) = [result for cell, result in results.items() if text in cell]
        return found

    best, winner, sweep = names["best"], names["winner"], names["sweep"]
    assert result("print(error)")[1].startswith("first: 1 problem\n  parametres: unknown key. Did")
    assert len(result("sort_values")[0]) == len(sweep.trials) >= 3
    assert result("sweep.folds.pivot")[0].shape[1] == 2
    assert "<p>ensemble<br>" in result("sweep.best()")[0]._repr_html_()
    confusion = result("pd.DataFrame(")[0]
    assert confusion.to_numpy().sum() == 1438
    mistakes = result("surest_N = ")[0]
    assert all(Path(path).is_file() and said != true for path, true, said in mistakes)
    blends = result("def score")[0]
    assert blends[0.0] == round(winner.oof_score, 4)
    assert names["longer"].trials["score"].to_list() != [winner.score]
    assert np.array_equal(names["longer"].oof(0).fold_N, names["oof"].fold_N)
    assert 0 < result("run_fold(")[0] <= 1
    assert names["done"].rows == 359
    assert list(result("pd.read_csv")[0].columns) == ["id", "label"]
    assert [name for name, *_ in result("foldsweep.sweeps()")[0]] == ["first", "twice-as-long"]
    assert result("foldsweep.open(")[1].endswith("/runs/first/report.html\n")
    assert best.choice is not None


def test_what_needs_a_ray_cluster_is_called_with_options_that_there_are():
    (cell,) = blocks('python title="with Ray"')
    (call,) = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
    assert ast.unparse(call.func) == "foldsweep.run"
    assert {keyword.arg for keyword in call.keywords} <= OPTIONS
    assert (Path(__file__).parents[2] / ast.literal_eval(call.args[0])).is_file()
