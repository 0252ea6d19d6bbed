"""The Optuna dashboard behind its guard."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InputError
from sweeps.paths import artifacts_folder
from sweeps.reporting.dashboard import LOOPBACK, Guard, dashboard_of, host_of, is_known, serve, thin
from sweeps.study.artifacts import attach
from trainer.metrics import Goal


class Answers:
    """A dashboard that answers everything with 200."""

    def __init__(self, body: bytes = b"shown") -> None:
        self.asked: list[tuple[str, str]] = []
        self._body = body

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        self.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        start("200 OK", [("Content-Length", str(len(self._body)))])
        return [self._body]


def ask(
    app: Any, path: str = "/api/studies", method: str = "GET", host: str = "localhost:8080"
) -> tuple[str, dict[str, str], bytes]:
    answered: list[Any] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host}
    body = b"".join(app(environ, lambda *given: answered.append(given)))
    return answered[0][0], dict(answered[0][1]), body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/dashboard"),
        ("HEAD", "/api/studies/1"),
        ("PUT", "/api/studies/1/note"),
        ("PUT", "/api/studies/1/12/note"),
    ],
)
def test_reads_and_notes_pass(method: str, path: str):
    behind = Answers()
    assert ask(Guard(behind, hosts=LOOPBACK), path, method)[0] == "200 OK"
    assert behind.asked == [(method, path)]


@pytest.mark.parametrize(
    ("method", "path", "advice"),
    [
        ("POST", "/api/studies", "Here `sweeps run SPACE` starts a sweep"),
        ("POST", "/api/trials/3/tell", "Here `sweeps stop` ends a sweep"),
        ("POST", "/api/studies/1/3/skip", "Here `sweeps stop` ends a sweep"),
        ("POST", "/api/studies/1/rename", "Here give a new sweep another `name`"),
        ("DELETE", "/api/studies/1", "`sweeps --help` lists what changes a sweep"),
        ("POST", "/api/artifacts/1/3", "Here the sweep itself stores the pictures"),
        ("PUT", "/api/studies/1/note/more", "`sweeps --help`"),
        ("PATCH", "/dashboard", "`sweeps --help`"),
    ],
)
def test_what_changes_a_sweep_is_refused_with_the_command_to_use(
    method: str, path: str, advice: str
):
    behind = Answers()
    status, headers, body = ask(Guard(behind, hosts=LOOPBACK), path, method)
    assert (status, behind.asked) == ("403 Forbidden", [])
    assert headers["Content-Type"] == "application/json"
    assert advice in json.loads(body)["reason"]


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8080", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("evil.example.", "evil.example"),
        ("", ""),
    ],
)
def test_the_host_is_read_from_its_header(header: str, host: str):
    assert host_of(header) == host


@pytest.mark.parametrize("host", ["evil.example", "", "localhost.evil.example", "10.0.0.5"])
def test_a_request_for_another_host_is_refused(host: str):
    """A page of another site reaches this machine under that site's name."""
    behind = Answers()
    status, _, body = ask(Guard(behind, hosts=LOOPBACK), host=host)
    assert (status, behind.asked) == ("403 Forbidden", [])
    assert f"this dashboard is not called {host}; see --host" in json.loads(body)["reason"]


def test_a_dashboard_for_every_network_is_called_by_addresses_and_own_names(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("socket.gethostname", lambda: "Box")
    monkeypatch.setattr("socket.getfqdn", lambda: "box.example")
    for host in ("10.0.0.5", "fe80::1", "box", "box.example", "localhost"):
        assert is_known(host, ["*"]), host
    assert not is_known("evil.example", ["*"])
    assert not is_known("box", LOOPBACK)


def trials(count: int) -> list[FrozenTrial]:
    """Every second trial is complete, the seventh runs; the score grows with the number."""
    made = []
    for number in range(count):
        state = (TrialState.COMPLETE, TrialState.PRUNED)[number % 2]
        if number == 7:
            state = TrialState.RUNNING
        value = None if state == TrialState.RUNNING else float(number)
        trial = create_trial(state=state, value=value, intermediate_values={1: 0.5})
        trial.number = number
        made.append(trial)
    return made


def drawn(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials if trial.intermediate_values]


@pytest.mark.parametrize(
    ("goal", "best"), [(Goal.MAXIMIZE, [7, 204, 206, 208]), (Goal.MINIMIZE, [0, 2, 4, 7])]
)
def test_of_many_trials_the_best_and_the_running_ones_keep_their_curves(
    goal: Goal, best: list[int]
):
    many = trials(210)
    thinned = thin(many, goal=goal, curves=3)
    assert drawn(thinned) == best
    assert [trial.number for trial in thinned] == list(range(210))
    assert len(drawn(many)) == 210  # the storage keeps its own


def test_few_trials_keep_all_curves():
    few = trials(200)
    assert thin(few, goal=Goal.MAXIMIZE) is few


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A served dashboard of a storage with one study."""
    storage = RDBStorage(f"sqlite:///{tmp_path}/sweeps.db")
    study = optuna.create_study(study_name="mask", storage=storage, direction="maximize")
    study.set_user_attr("foldsweep", {"metric": "valid/f1"})
    running = study.ask()
    picture = tmp_path / "curves.svg"
    picture.write_text("<svg/>")
    attach(storage, running._trial_id, picture, store=artifacts_folder(tmp_path), owner="mask/0")
    running.set_user_attr("fold_scores", [0.5, 0.25])
    study.tell(running, state=TrialState.PRUNED)
    study.add_trials(trials(202))
    app = dashboard_of(storage, runs=tmp_path, hosts=LOOPBACK)
    ports: list[int] = []
    up = threading.Event()

    def ready(port: int) -> None:
        ports.append(port)
        up.set()

    threading.Thread(
        target=serve,
        args=(app,),
        kwargs={"host": "127.0.0.1", "port": 0, "ready": ready},
        daemon=True,
    ).start()
    assert up.wait(60)
    yield f"http://127.0.0.1:{ports[0]}"
    storage.engine.dispose()


def fetched(url: str, **options: Any) -> Any:
    request = urllib.request.Request(url, **options)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def test_the_real_dashboard_shows_sweeps_takes_notes_and_changes_nothing_else(address: str):
    (study,) = fetched(f"{address}/api/studies")["study_summaries"]
    assert study["study_name"] == "mask"
    of_study = f"{address}/api/studies/{study['study_id']}"
    shown = fetched(of_study)["trials"]
    assert len(shown) == 203
    assert sum(bool(trial["intermediate_values"]) for trial in shown) == 51
    note = json.dumps({"version": 1, "body": "the question"}).encode()
    headers = {"Content-Type": "application/json"}
    fetched(f"{of_study}/note", data=note, headers=headers, method="PUT")
    assert fetched(of_study)["note"]["body"] == "the question"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetched(of_study, method="DELETE")
    assert len(fetched(of_study)["trials"]) == 203


def test_the_real_dashboard_shows_pictures_of_trials_and_the_folds_of_all(address: str):
    (study,) = fetched(f"{address}/api/studies")["study_summaries"]
    shown = fetched(f"{address}/api/studies/{study['study_id']}")
    (plot,) = shown["plotly_graph_objects"]
    assert json.loads(plot["graph_object"])["data"][0]["z"] == [[0.5], [0.25]]
    trial = shown["trials"][0]
    (artifact,) = trial["artifacts"]
    place = f"{study['study_id']}/{trial['trial_id']}/{artifact['artifact_id']}"
    with urllib.request.urlopen(f"{address}/artifacts/{place}", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("image/svg+xml")
        assert answer.read() == b"<svg/>"


def test_a_port_in_use_is_named(address: str):
    port = int(address.rpartition(":")[2])
    with pytest.raises(
        InputError, match=rf"http://127.0.0.1:{port}: cannot be served \(Address already in use\)"
    ):
        serve(Answers(), host="127.0.0.1", port=port, ready=lambda port: None)
