"""How long does the Optuna dashboard take to answer, ours against the stock one?

    python benchmarks/dashboard.py

A study of 2,000 trials with 35 reports each in SQLite is served in turn by `optuna_dashboard` as
its own command starts it and by `sweeps dashboard`. The numbers are seconds of this process's CPU:
the start, the first answer about the study, what an open page asks for again after the dashboard's
own cache of ten seconds, and the importance of the parameters.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import optuna_dashboard
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from report import print_header

from sweeps.reporting.dashboard import LOOPBACK, dashboard_of
from trainer.seeds import derive

CACHE_S = 11
STEPS = ("start", "first answer", "again", "importance")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--reports", type=int, default=35)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print_header("optuna", "optuna-dashboard")
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        url = f"sqlite:///{runs}/sweeps.db"
        fill(url, trials=options.trials, reports=options.reports)
        made: dict[str, Callable[[], Any]] = {
            "stock": lambda: optuna_dashboard.wsgi(RDBStorage(url)),
            "ours": lambda: dashboard_of(RDBStorage(url), runs=runs, hosts=LOOPBACK),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in made}
        for _ in range(options.repeats):
            for name, make in made.items():
                found[name].append(measured(make, trials=options.trials))
    print(f"{options.trials:,} trials of {options.reports} reports, n={options.repeats}\n")
    print(f"{'CPU seconds':<14}" + "".join(f"{name:>16}" for name in found))
    for step in (*STEPS, "MB"):
        cells = [[one[step] for one in rows] for rows in found.values()]
        print(
            f"{step:<14}"
            + "".join(f"{statistics.mean(c):8.2f} ± {statistics.stdev(c):5.2f}" for c in cells)
        )


def fill(url: str, *, trials: int, reports: int) -> None:
    """Store a study of completed trials."""
    rng = np.random.default_rng(derive(0, "dashboard"))
    study = optuna.create_study(study_name="mask", storage=url, direction="maximize")
    distributions = {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "backbone": CategoricalDistribution(["resnet18", "resnet50", "efficientnet_b4"]),
        "optimizer": CategoricalDistribution(["adam", "adamw", "madgrad"]),
    }
    study.add_trials(
        [
            create_trial(
                state=TrialState.COMPLETE,
                value=float(rng.normal(0.7, 0.02)),
                params={
                    "lr": float(10 ** rng.uniform(-5, -2)),
                    "backbone": str(rng.choice(distributions["backbone"].choices)),
                    "optimizer": str(rng.choice(distributions["optimizer"].choices)),
                },
                distributions=distributions,
                intermediate_values=dict(enumerate(rng.normal(0.6, 0.05, reports).tolist())),
            )
            for _ in range(trials)
        ]
    )


def measured(make: Callable[[], Any], *, trials: int) -> dict[str, float]:
    """Start a dashboard and ask it."""
    found: dict[str, float] = {}
    with _cpu(found, "start"):
        app = make()
    with _cpu(found, "first answer"):
        body = ask(app, "/api/studies/1")
    found["MB"] = len(body) / 1e6
    time.sleep(CACHE_S)
    with _cpu(found, "again"):
        ask(app, "/api/studies/1", query=f"after={trials}")
    time.sleep(CACHE_S)
    with _cpu(found, "importance"):
        ask(app, "/api/studies/1/param_importances")
    return found


def ask(app: Any, path: str, query: str = "") -> bytes:
    """The answer of a WSGI application."""
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "localhost",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(app(environ, lambda status, *_: statuses.append(status)))
    assert statuses[0].startswith("200"), statuses
    return body


@contextmanager
def _cpu(found: dict[str, float], step: str) -> Iterator[None]:
    began = time.process_time()
    yield
    found[step] = time.process_time() - began


if __name__ == "__main__":
    main()
