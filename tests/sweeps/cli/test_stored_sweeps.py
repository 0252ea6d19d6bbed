"""Two sweeps as the version of 2026-11-28 stored them: read, shown, collected and continued
by this one.

`stored` has completed, pruned and failed trials, one that its killed driver left marked RUNNING,
and a retry that waits. `stored-more` took over trials of it by `warm_start`, has a trial with the
result of an equal one, and one that was interrupted and left a checkpoint. `expected/` holds what
the commands of that version printed.
"""

import datetime
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps.cli.conftest import Ended

ARCHIVE = Path(__file__).parents[2] / "data" / "stored-sweeps.zip"
NAMES = ("stored", "stored-more")


@pytest.fixture(autouse=True)
def stored(home: Path) -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(home)


def in_utc(value: Any) -> Any:
    """JSON with its times in one zone: they are printed in the local one."""
    if isinstance(value, dict):
        return {key: in_utc(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [in_utc(inner) for inner in value]
    if isinstance(value, str) and value.startswith("2026-11-28T"):
        return datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
    return value


def expected(name: str) -> Any:
    return in_utc(json.loads(Path("expected", f"{name}.json").read_text()))


def as_counted_then(summary: dict[str, Any]) -> dict[str, Any]:
    """That version counted a trial with the result of an equal one towards `run_cap`, finished no
    pruned trial, and did not show what runs now.
    """
    for key in ("state", "running_trials", "left_s", "failure_groups", "broken"):
        summary.pop(key, None)  # `list` has the state alone
    summary["left"]["trials"] -= summary["taken_over"]
    assert summary.pop("finishes") == 0
    return summary


def leaderboard(sweeps: Callable[..., Ended], *arguments: object) -> Any:
    """The table as JSON, with the keys that it had then."""
    found = json.loads(sweeps("best", *arguments, "--fast", "--json").out)
    del found["choice"]
    for trial in found["trials"]:
        for key in ("seconds", "chance", "estimate", "ci95"):
            del trial[key]
    return found


def test_it_is_read_as_it_was(sweeps: Callable[..., Ended]):
    for name in NAMES:
        assert in_utc(leaderboard(sweeps, name, "--topk", 10)) == expected(f"best-{name}")
        status = sweeps("status", name, "--json")
        assert as_counted_then(in_utc(json.loads(status.out))) == expected(f"status-{name}")
    listed = in_utc(json.loads(sweeps("list", "--json").out))
    assert [*map(as_counted_then, listed)] == expected("list")


def test_it_is_collected_as_it_was(sweeps: Callable[..., Ended]):
    assert json.loads(sweeps("gc", "--dry-run", "--json").out) == expected("gc")
    only_best = ("gc", "stored", "--keep", 1, "--json")
    assert (
        json.loads(sweeps(*only_best).out)["sweeps"][0]["weights"] == 0
    )  # the other sweep took both best over
    Path("runs/stored-more/spec.yaml").unlink()  # a sweep without files needs none
    assert json.loads(sweeps(*only_best).out)["sweeps"][0]["weights"] == 3


def test_what_its_killed_driver_left_is_continued(sweeps: Callable[..., Ended]):
    finished = {
        path: path.read_bytes() for path in Path("runs").glob("stored/trial-*/fold-*/result.json")
    }
    before = {trial["number"]: trial for trial in expected("best-stored")["trials"]}
    done = sweeps("run", "stored.yaml", "--local", "--plain")
    assert done.code == 0, done.err
    assert "the last driver died; trials to be continued: 6\n" in done.err
    assert "an earlier version of foldsweep began this sweep and scored otherwise" in done.err
    assert all(path.read_bytes() == content for path, content in finished.items())
    status = json.loads(sweeps("status", "stored", "--json").out)
    counts = [
        status[state]
        for state in ("completed", "pruned", "failed", "running", "interrupted", "retried")
    ]
    assert counts == [4, 3, 2, 0, 0, 1]
    reason = "RuntimeError: this network does not like batches of eight"
    assert status["failures"] == {"0": f"{reason} (repeated by trial 7)", "7": reason}
    after = {
        trial["number"]: trial for trial in leaderboard(sweeps, "stored", "--topk", 9)["trials"]
    }
    assert after.keys() - before.keys() == {6}  # 8 was pruned
    assert {number: after[number] for number in before} == before
    proposed = json.loads(Path("runs/stored/trial-0008/config.json").read_text())
    assert {name: proposed[name] for name in ("backbone", "optimizer", "lr", "momentum")} == {
        "backbone": "my_task.py:tiny",
        "optimizer": "sgd",
        "lr": pytest.approx(4.069382759927285e-05),
        "momentum": pytest.approx(0.8762331625889765),
    }


def test_an_interrupted_trial_goes_on_from_its_checkpoint(sweeps: Callable[..., Ended]):
    trial = Path("runs/stored-more/trial-0006")
    assert [path.parent.name for path in trial.glob("fold-*/last.ckpt")] == ["fold-1"]
    first_fold = (trial / "fold-0" / "result.json").read_bytes()
    done = sweeps("run", "stored-more.yaml", "--local", "--plain", "--trials", 4)
    assert done.code == 0, done.err
    assert "trial 6 continued" in done.err
    assert (trial / "fold-0" / "result.json").read_bytes() == first_fold
    assert (trial / "fold-1" / "result.json").is_file()
    assert not [*trial.glob("fold-*/last.ckpt")]
    status = json.loads(sweeps("status", "stored-more", "--json").out)
    assert (status["interrupted"], status["history"], status["taken_over"]) == (0, 3, 1)
    best = leaderboard(sweeps, "stored-more", "--topk", 10)["trials"]
    assert best[0] == expected("best-stored-more")["trials"][0]
