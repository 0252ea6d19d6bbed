"""What fits on which machine, and what is said of a Ray that is not there."""

import os
import socket
from pathlib import Path
from typing import Literal

import pytest
from ray._private.utils import check_version_info, validate_socket_filepath
from ray.exceptions import AuthenticationError

from sweeps.errors import InputError
from sweeps.ray_tune.cluster import (
    LONGEST_TEMP,
    Cluster,
    Node,
    gpu_share,
    ray_cluster,
    resolve,
    short_temp,
    threads,
    trials_at_once,
    why_not_joined,
    why_not_started,
)
from sweeps.space.spec import Resources


def nodes(*have: tuple[float, float]) -> Cluster:
    """A cluster of nodes with so many CPUs and GPUs."""
    return Cluster.of(
        [Node(str(i), f"node-{i}", f"10.0.0.{i}", *each) for i, each in enumerate(have)]
    )


def test_a_cluster_has_what_its_nodes_have_together():
    cluster = nodes((8, 2), (4, 0))
    assert (cluster.cpus, cluster.gpus, len(cluster.each())) == (12, 2, 2)


class TestTrialsAtOnce:
    @pytest.mark.parametrize(
        ("wanted", "cluster", "expected"),
        [
            (Resources(cpu=1), Cluster(cpus=2, gpus=0), 2),
            (Resources(cpu=2), Cluster(cpus=5, gpus=0), 2),
            (Resources(cpu=0.5), Cluster(cpus=2, gpus=0), 4),
            (Resources(cpu=0.1), Cluster(cpus=0.7, gpus=0), 7),  # 0.7 / 0.1 is 6.999999999999999
            (Resources(cpu=1, gpu=0), Cluster(cpus=3, gpus=1), 3),
            (Resources(cpu=1), Cluster(cpus=8, gpus=2), 2),  # not said: one GPU where there is one
            (Resources(cpu=1, gpu=0.5), Cluster(cpus=8, gpus=1), 2),
            (Resources(cpu=1, gpu=0.1), Cluster(cpus=16, gpus=1), 10),
            (Resources(cpu=1, gpu=0.1), Cluster(cpus=16, gpus=0.7), 7),
            (
                Resources(cpu=1, gpu=0.4),
                Cluster(cpus=16, gpus=2),
                4,
            ),  # Ray splits no share over two GPUs
            (Resources(cpu=4, gpu=0.25), Cluster(cpus=8, gpus=1), 2),
            (Resources(cpu=2), nodes((3, 0), (3, 0)), 2),  # the third CPU of each is of no use
            (Resources(cpu=1, gpu=0.5), nodes((8, 1), (8, 2), (8, 0)), 6),
            (Resources(cpu=2, gpu=1), nodes((2, 4), (1, 4)), 1),
            (Resources(cpu="auto", gpu=0.5), nodes((8, 1), (4, 1)), 4),
        ],
    )
    def test_as_many_trials_run_at_once_as_fit(
        self, wanted: Resources, cluster: Cluster, expected: int
    ):
        assert trials_at_once(wanted, cluster) == expected

    @pytest.mark.parametrize(
        ("wanted", "cluster", "asked", "there", "first"),
        [
            (
                Resources(cpu=1, gpu=0.5),
                Cluster(cpus=2, gpus=0),
                "1 CPU and 0.5 GPU",
                "2 CPU and 0 GPU",
                "--set resources.gpu=0 trains without GPU. ",
            ),
            (
                Resources(cpu=1, gpu=1),
                Cluster(cpus=2, gpus=0.5),
                "1 CPU and 1 GPU",
                "2 CPU and 0.5 GPU",
                "",
            ),
            (Resources(cpu=3), Cluster(cpus=2, gpus=0), "3 CPU and 0 GPU", "2 CPU and 0 GPU", ""),
            (
                Resources(cpu="auto"),
                Cluster(cpus=0.5, gpus=0),
                "1 CPU and 0 GPU",
                "0.5 CPU and 0 GPU",
                "",
            ),
        ],
    )
    def test_more_than_a_machine_has_is_refused(
        self, wanted: Resources, cluster: Cluster, asked: str, there: str, first: str
    ):
        with pytest.raises(InputError) as raised:
            trials_at_once(wanted, cluster)
        assert str(raised.value) == (
            f"a trial asks for {asked} (resources in the search space), but there are {there}. "
            f"{first}Lower them with --set resources.cpu=... or --set resources.gpu=..., "
            "or join a larger cluster with --address"
        )

    def test_what_only_all_nodes_together_have_is_refused_with_what_each_has(self):
        with pytest.raises(InputError) as raised:
            trials_at_once(Resources(cpu=4, gpu=0.5), nodes((8, 0), (2, 1)))
        assert str(raised.value) == (
            "a trial asks for 4 CPU and 0.5 GPU (resources in the search space), "
            "but no node of the cluster has as much:\n  node-0 (10.0.0.0): 8 CPU, 0 GPU\n"
            "  node-1 (10.0.0.1): 2 CPU, 1 GPU\n"
            "Lower them with --set resources.cpu=... or --set resources.gpu=..., "
            "or join a larger cluster with --address"
        )


class TestShares:
    @pytest.mark.parametrize(
        ("gpu", "gpus", "expected"),
        [(None, 0, 0), (None, 0.5, 0.5), (None, 8, 1), (0, 8, 0), (0.25, 8, 0.25)],
    )
    def test_a_trial_gets_the_gpu_it_asks_for_else_one_where_there_is_one(
        self, gpu: float | None, gpus: float, expected: float
    ):
        assert gpu_share(Resources(gpu=gpu), gpus=gpus) == expected
        assert resolve(Resources(gpu=gpu), nodes((1, 0), (1, gpus))) == Resources(
            cpu=1, gpu=expected
        )

    @pytest.mark.parametrize(
        ("cpu", "gpu", "cluster", "expected"),
        [
            (2, 0, Cluster(cpus=8, gpus=0), 2),
            (0.5, 0, Cluster(cpus=8, gpus=0), 0.5),
            ("auto", None, Cluster(cpus=8, gpus=0), 1),
            ("auto", 0, Cluster(cpus=8, gpus=1), 1),
            ("auto", None, Cluster(cpus=8, gpus=2), 4),
            ("auto", 0.5, Cluster(cpus=8, gpus=1), 4),
            ("auto", 0.3, Cluster(cpus=8, gpus=1), 2),  # 8 / 3, whole
            (
                "auto",
                0.25,
                Cluster(cpus=2, gpus=1),
                1,
            ),  # at least one, though four shares are there
            (
                "auto",
                1,
                nodes((16, 1), (12, 2), (4, 0)),
                6,
            ),  # the node with the fewest per share; none without GPU
        ],
    )
    def test_auto_divides_a_nodes_cpus_among_its_gpu_shares(
        self, cpu: float | Literal["auto"], gpu: float | None, cluster: Cluster, expected: float
    ):
        assert resolve(Resources(cpu=cpu, gpu=gpu), cluster).cpu == expected

    @pytest.mark.parametrize(("cpu", "expected"), [(0.5, 1), (1, 1), (2.5, 2), ("auto", 4)])
    def test_a_trial_has_a_thread_per_whole_cpu(self, cpu: float | Literal["auto"], expected: int):
        assert threads(Resources(cpu=cpu), Cluster(cpus=4, gpus=1)) == expected


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing in the environment tells of a token; the home folder where Ray would look for one."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


GIVE_IT = (
    "The cluster's token (`ray get-auth-token` on its head prints it) goes into RAY_AUTH_TOKEN, "
    "into the file that RAY_AUTH_TOKEN_PATH names, or into ~/.ray/auth_token"
)


class TestWhyNot:
    def refused(self) -> Exception:
        """As Ray raises it after 20 s: the reason is the cause of the cause."""
        inner = RuntimeError(
            "Failed to connect to GCS. Last connection error: RPC error: InvalidAuthToken: ..."
        )
        error = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
        error.__cause__ = inner
        return error

    def test_a_cluster_that_asks_for_a_token_is_named_with_what_to_set(self, no_token: Path):
        assert why_not_joined(self.refused(), address="head:1") == (
            "--address head:1: cannot join this Ray cluster: it asks for a token. "
            "Set RAY_AUTH_MODE=token. " + GIVE_IT
        )

    @pytest.mark.parametrize(
        ("name", "value", "where"),
        [
            ("RAY_AUTH_TOKEN", "secret", "taken from RAY_AUTH_TOKEN"),
            (
                "RAY_AUTH_TOKEN_PATH",
                "/a/file",
                "looked for in /a/file, which RAY_AUTH_TOKEN_PATH names",
            ),
            ("RAY_AUTH_TOKEN", "", "looked for in {home}/.ray/auth_token"),
        ],
    )
    def test_a_token_that_is_not_the_clusters_is_named_by_where_it_came_from(
        self, no_token: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, where: str
    ):
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv(name, value)
        for error in (
            self.refused(),
            AuthenticationError("Token authentication is enabled but no token was found"),
        ):
            text = why_not_joined(error, address="head:1")
            assert text == (
                "--address head:1: cannot join this Ray cluster: the token is missing or not the "
                f"cluster's ({where.format(home=no_token)}). {GIVE_IT}"
            )

    def test_other_versions_are_named(self):
        with pytest.raises(RuntimeError, match="Version mismatch") as raised:
            check_version_info(
                {"ray_version": "2.59.0", "python_version": "3.12.1"}, "node 10.0.0.2"
            )
        text = why_not_joined(raised.value, address="head:1")
        assert text.startswith(
            "--address head:1: cannot join this Ray cluster: the versions differ. "
            "The cluster was started with: Ray: 2.59.0 Python: 3.12.1 This process on node "
            "10.0.0.2 was started with: Ray: "
        )
        assert text.endswith("Install the same Python and Ray here and on every node")

    @pytest.mark.parametrize(
        ("error", "reason"), [(OSError("no route"), "no route"), (RuntimeError(""), "RuntimeError")]
    )
    def test_anything_else_is_passed_on(self, error: Exception, reason: str):
        assert why_not_joined(error, address="head:1") == (
            f"--address head:1: cannot join this Ray cluster ({reason}). It needs the same Ray "
            "version, and with token authentication RAY_AUTH_MODE=token and the cluster's token"
        )
        assert why_not_started(error) == (
            f"Ray cannot start on this machine ({reason}). `sweeps run --local` works without it"
        )

    @pytest.mark.parametrize("length", [108, 200])
    def test_a_folder_whose_path_is_too_long_for_sockets_is_told_what_to_set(self, length: int):
        with pytest.raises(OSError, match="AF_UNIX") as raised:
            validate_socket_filepath("/" + "x" * length)
        assert why_not_started(raised.value) == (
            "Ray cannot start on this machine: the path of its sockets is too long. "
            "Set RAY_TMPDIR to a folder with a short path, such as /tmp"
        )

    def test_a_token_file_that_is_not_there_is_named(
        self, no_token: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/a/file")
        assert why_not_started(AuthenticationError("cannot be opened")) == (
            "Ray cannot start on this machine: its token is not there (looked for in /a/file, "
            f"which RAY_AUTH_TOKEN_PATH names). {GIVE_IT}"
        )


class TestTemporaryFolder:
    def test_one_with_a_long_path_is_replaced(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        short = short_temp("/tmp/scratch_local_disk/job_tmpdir_12345678.0")
        assert short == f"/tmp/ray-{os.getuid()}"
        assert short_temp(short) is None

    def test_sockets_fit_below_the_longest_one_that_stays(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        longest = "/" + "x" * (LONGEST_TEMP - 1)
        assert short_temp(longest) is None
        assert short_temp(longest + "x") is not None
        session = "ray/session_2026-11-28_14-06-30_123456_4194304/sockets/plasma_store.1"
        validate_socket_filepath(f"{longest}/{session}")

    def test_what_a_user_gave_ray_stays(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("RAY_TMPDIR", "/scratch")
        assert short_temp("/tmp/scratch_local_disk/job_tmpdir_12345678.0") is None


class TestAddress:
    def test_an_address_where_nobody_answers_is_refused_at_once(self):
        with socket.socket() as taken:  # bound, and nobody listens
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with (
                pytest.raises(
                    InputError,
                    match=f"--address {address}: nobody answers there .*Is the Ray head running",
                ),
                ray_cluster(address),
            ):
                raise AssertionError("joined")
