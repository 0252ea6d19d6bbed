"""A Ray cluster of several machines on one: a network of their own where that is allowed,
else an address each.
"""

import contextlib
import dataclasses
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
PORT = 6390
START_TIMEOUT_S = 180.0


@dataclasses.dataclass
class Machine:
    """One of them: where its processes run, and which they are.

    Attributes:
        namespace: of its network; empty where all share this machine's.
    """

    name: str
    address: str
    namespace: str
    folder: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    def start(
        self, *command: str | Path, log: str, mounts: Mapping[Path, Path] | None = None, **env: str
    ) -> subprocess.Popen[bytes]:
        """A process of this machine.

        Args:
            log: name of the file in the machine's folder that its output goes to.
            mounts: folders that lie over others for this process and its children.
            env: what it finds in its environment besides the machine's.
        """
        words = list(map(str, command))
        if mounts:
            binds = [
                f"mount --bind {shlex.quote(str(over))} {shlex.quote(str(at))}"
                for at, over in mounts.items()
            ]
            words = [
                "unshare",
                "--mount",
                "sh",
                "-c",
                " && ".join([*binds, 'exec "$@"']),
                "sh",
                *words,
            ]
        if self.namespace:
            words = ["ip", "netns", "exec", self.namespace, *words]
        with (self.folder / log).open("wb") as file:
            process = subprocess.Popen(
                words,
                env={**self.env, **env},
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        """What a power cut does: every process of the machine is gone at once."""
        tree: dict[int, psutil.Process] = {}
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in (
                    psutil.Process(process.pid),
                    *psutil.Process(process.pid).children(recursive=True),
                ):
                    tree[each.pid] = each
        if self.namespace:  # also those whose parent is gone
            listed = subprocess.run(
                ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False
            )
            for pid in map(int, listed.stdout.split()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    tree[pid] = psutil.Process(pid)
        for each in tree.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(list(tree.values()), timeout=20)
        for process in self.processes:
            process.wait()
        self.processes.clear()


class Machines:
    """Several machines, with one secret token between them."""

    def __init__(self, folder: Path, *, networks: bool) -> None:
        self._folder = folder
        self._networks = networks
        self._prefix = f"fs{os.getpid() % 100000}"
        self._all: list[Machine] = []
        self.token = secrets.token_hex(32)
        # Ray's sockets: their paths may have 107 characters
        self._ray = Path(tempfile.mkdtemp(prefix="fsray-"))

    def __enter__(self) -> "Machines":
        if self._networks:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("link", "set", self._bridge, "up")
        return self

    def __exit__(self, *error: object) -> None:
        for machine in reversed(self._all):
            machine.kill()
            if machine.namespace:
                _ip("netns", "delete", machine.namespace)
        if self._networks:
            _ip("link", "delete", self._bridge)
        shutil.rmtree(self._ray, ignore_errors=True)

    @property
    def _bridge(self) -> str:
        return f"{self._prefix}br"

    @property
    def address(self) -> str:
        """Where the first machine's Ray answers."""
        return f"{self._all[0].address}:{PORT}"

    def add(self, name: str, **env: str) -> Machine:
        """Another machine, without processes yet, its cache of decoded images its own."""
        number = len(self._all) + 1
        namespace = f"{self._prefix}n{number}" if self._networks else ""
        address = (
            f"10.213.{os.getpid() % 250}.{number}" if self._networks else f"127.0.0.{number + 1}"
        )
        folder = self._folder / name
        folder.mkdir()
        own = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",  # a dead node is noticed after five of them
            "OMP_NUM_THREADS": "1",
            "SWEEPS_CACHE": str(folder / "cache"),
            "COLUMNS": "160",
            **env,
        }
        machine = Machine(name, address, namespace, folder, own)
        self._all.append(machine)  # before it exists wholly: it is taken down all the same
        if namespace:
            link = f"{self._prefix}v{number}"
            _ip("netns", "add", namespace)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", link, "master", self._bridge, "up")
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _ip("-n", namespace, "link", "set", device, "up")
        return machine

    def start_head(self, machine: Machine) -> None:
        """Ray's head, which runs no trials, on the first machine."""
        options = ["--head", "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", "false"]
        self._start_ray(machine, [*options, "--temp-dir", str(self._ray)], mounts=None)

    def start_worker(self, machine: Machine, *, mounts: Mapping[Path, Path] | None = None) -> None:
        """A Ray node with one CPU."""
        self._start_ray(machine, ["--address", self.address, "--num-cpus", "1"], mounts=mounts)

    def _start_ray(
        self, machine: Machine, options: list[str], *, mounts: Mapping[Path, Path] | None
    ) -> None:
        command = [
            str(BIN / "ray"),
            "start",
            "--block",
            "--node-ip-address",
            machine.address,
            *options,
        ]
        process = machine.start(
            *command, "--object-store-memory", str(80 * 2**20), log="ray.log", mounts=mounts
        )
        log = machine.folder / "ray.log"
        wait_for(
            lambda: "Ray runtime started" in log.read_text() or process.poll() is not None,
            timeout_s=START_TIMEOUT_S,
        )
        assert process.poll() is None, log.read_text()


def wait_for(condition: Callable[[], bool], *, timeout_s: float) -> None:
    """Look every tenth of a second until it is so."""
    pause = threading.Event()
    for _ in range(int(timeout_s * 10)):
        if condition():
            return
        pause.wait(0.1)
    raise AssertionError(f"nothing happened within {timeout_s:g} s")


def networks_allowed() -> bool:
    """Whether this process may make networks of its own (root, on Linux)."""
    if shutil.which("ip") is None:
        return False
    name = f"fs{os.getpid() % 100000}try"
    made = (
        subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode
        == 0
    )
    if made:
        bridge = [
            ["ip", "link", "add", f"{name}b", "type", "bridge"],
            ["ip", "link", "delete", f"{name}b"],
        ]
        made = all(
            subprocess.run(words, capture_output=True, check=False).returncode == 0
            for words in bridge
        )
        _ip("netns", "delete", name)
    return made


def mounts_allowed() -> bool:
    """Whether this process may lay one folder over another for its children alone."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode
        == 0
    )


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
