"""The Optuna dashboard of a storage: quickly, and so that nobody changes a sweep by a click.

The stock dashboard can delete a sweep, add trials to it and end them. It does not look at the Host
header, so any page that a browser shows can read it through a name that its owner points at this
machine. And it reads all trials again for each request, because it is given a plain storage.
"""

import contextlib
import copy
import gc
import heapq
import ipaddress
import json
import re
import socket
import wsgiref.simple_server
from collections.abc import Callable, Container, Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InputError
from sweeps.paths import artifacts_folder
from sweeps.reporting.fold_map import fold_map
from sweeps.study.records import SweepRecord, score_key
from sweeps.study.stored_sweep import plot_attributes
from trainer.metrics import Goal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = ("localhost", "127.0.0.1", "::1")
READS = ("GET", "HEAD")
NOTES = re.compile(r"/api/studies/\d+(/\d+)?/note/?")
MANY_TRIALS = 200
CURVES = 50  # the best trials, which keep their curves if there are more than MANY_TRIALS
# what to do instead, by what the path is about
ADVICE = (
    (re.compile(r"/tell|/skip"), "`sweeps stop` ends a sweep"),
    (re.compile(r"/api/studies/?$"), "`sweeps run SPACE` starts a sweep"),
    (re.compile(r"/rename"), "give a new sweep another `name` in its search space"),
    (re.compile(r"/artifacts/"), "the sweep itself stores the pictures of its trials"),
)


class Guard:
    """A WSGI application around the dashboard that lets read and lets write notes.

    Everything else is answered with 403 and what to do instead. So is a request for another host
    than this one.
    """

    def __init__(self, dashboard: "WSGIApplication", *, hosts: Sequence[str]) -> None:
        """Guard a dashboard.

        Args:
            hosts: the names and addresses under which the dashboard is called; "*" for this
                machine's name and any address.
        """
        self._dashboard = dashboard
        self._hosts = hosts

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        method, path = str(environ["REQUEST_METHOD"]), str(environ.get("PATH_INFO", ""))
        host = host_of(str(environ.get("HTTP_HOST", "")))
        if not is_known(host, self._hosts):
            return _refused(start, f"this dashboard is not called {host}; see --host")
        if method not in READS and not (method == "PUT" and NOTES.fullmatch(path)):
            return _refused(start, f"the dashboard shows sweeps and takes notes. {_advice(path)}")
        return self._dashboard(environ, start)


def host_of(header: str) -> str:
    """Return the host of a Host header, without its port and the brackets of an IPv6 address.

    Example:
        >>> host_of("localhost:8080"), host_of("[::1]:8080")
        ('localhost', '::1')
    """
    host = re.sub(r":\d*$", "", header.strip().lower())
    return host.removeprefix("[").removesuffix("]").removesuffix(".")


def is_known(host: str, known: Sequence[str]) -> bool:
    """Whether a request for `host` is meant for this dashboard, see Guard."""
    if host in known:
        return True
    return "*" in known and (_is_address(host) or host in _own_names())


def thin(
    trials: list[FrozenTrial], *, goal: Goal, curves: int = CURVES, many: int = MANY_TRIALS
) -> list[FrozenTrial]:
    """Return the trials of a study, most of them without intermediate values if they are many.

    The browser draws a line for each trial that has some, which takes a minute for 2,000 trials,
    and to send them takes most of the time of an answer. The best `curves` complete trials and the
    running ones keep theirs.

    Args:
        many: the most trials with intermediate values that all keep them.
    """
    drawn = [trial for trial in trials if trial.intermediate_values]
    if len(drawn) <= many:
        return trials
    complete = [trial for trial in drawn if trial.state == TrialState.COMPLETE]
    best = heapq.nsmallest(
        curves, complete, key=lambda trial: score_key(trial.values[0], trial.number, goal=goal)
    )
    kept = {trial.number for trial in best}
    return [
        trial
        if trial.number in kept or trial.state == TrialState.RUNNING
        else _without_curve(trial)
        for trial in trials
    ]


class _Shown(BaseStorage):
    """A storage as the dashboard shows it.

    Studies of many trials have few intermediate values, see `thin`. The heat map of a sweep's folds
    is that of the trials that were read last; the storage has the one of the end of the last run.

    All other methods of the interface are those of the storage behind it, see `_delegated`.
    """

    _behind: BaseStorage
    _read: dict[int, list[FrozenTrial]]  # all trials of a study, by its id, as they were read last

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials, thinned."""
        trials = self._behind.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        if states is None:
            self._read[study_id] = trials
        direction = self._behind.get_study_directions(study_id)[0]
        return thin(trials, goal=Goal[direction.name])

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies, those of sweeps with their plot of the folds."""
        studies = self._behind.get_all_studies()
        for study in studies:
            identity = SweepRecord.of(study.user_attrs, study.system_attrs).identity
            figure = None
            if identity:
                figure = fold_map(
                    self._read.get(study._study_id, ()),
                    metric=str(identity["metric"]),
                    goal=Goal[study.direction.name],
                )
            if figure is not None:
                study.system_attrs |= plot_attributes(figure, known=study.system_attrs)
        return studies


def _delegated(behind: BaseStorage) -> BaseStorage:
    """Return a _Shown of the storage."""

    def pass_on(name: str) -> Callable[..., Any]:
        return lambda self, *args, **options: getattr(self._behind, name)(*args, **options)

    others = {name: pass_on(name) for name in _Shown.__abstractmethods__}
    made: BaseStorage = type("Shown", (_Shown,), {**others, "_behind": behind, "_read": {}})()
    return made


def dashboard_of(storage: "RDBStorage", *, runs: Path, hosts: Sequence[str]) -> "WSGIApplication":
    """Return the guarded dashboard of a storage; all its trials are read now.

    Args:
        hosts: see Guard.
    """
    import optuna_dashboard

    shown = _delegated(get_storage(storage))  # the latter reads a finished trial once
    collects = gc.isenabled()
    gc.disable()  # else half of the time goes into looking at a million objects that all stay
    try:
        for study in shown.get_all_studies():
            study_id = shown.get_study_id_from_name(study.study_name)
            shown.get_all_trials(study_id, deepcopy=False)
    finally:
        if collects:
            gc.enable()
    artifacts = FileSystemArtifactStore(artifacts_folder(runs))
    dashboard = optuna_dashboard.wsgi(shown, artifact_store=artifacts)
    return Guard(dashboard, hosts=hosts)


def serve(app: "WSGIApplication", *, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Answer requests until Ctrl-C.

    Args:
        port: 0 for any free port.
        ready: is called with the port once requests are answered.

    Raises:
        InputError: the port is in use or not allowed, or the host is not one of this machine.
    """
    try:
        server = wsgiref.simple_server.make_server(
            host, port, app, server_class=_server_class(host), handler_class=_Quiet
        )
    except OSError as error:
        raise InputError(
            f"http://{host}:{port}: cannot be served ({error.strerror}). "
            "Name another --port (0: any free one) or --host"
        ) from None
    with server, contextlib.suppress(KeyboardInterrupt):
        ready(server.server_port)
        server.serve_forever()


class _Server(ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing for each request."""


def _server_class(host: str) -> type[_Server]:
    return _ServerOfIPv6 if ":" in host else _Server


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _without_curve(trial: FrozenTrial) -> FrozenTrial:
    trial = copy.copy(trial)
    trial.intermediate_values = {}
    return trial


def _own_names() -> set[str]:
    return {*LOOPBACK, socket.gethostname().lower(), socket.getfqdn().lower()}


def _advice(path: str) -> str:
    for about, advice in ADVICE:
        if about.search(path):
            return f"Here {advice}"
    return "`sweeps --help` lists what changes a sweep"


def _refused(start: "StartResponse", reason: str) -> list[bytes]:
    status = HTTPStatus.FORBIDDEN
    start(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]
