"""Messages about a sweep, against a server of this machine."""

import http.server
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import InfrastructureError, InputError
from sweeps.running import webhook
from sweeps.running.events import EndState, Notice, Snapshot, TrialEnded
from sweeps.running.webhook import Webhook, progress_text, url_of
from sweeps.space.spec import SweepSpec

SECRET = "T0ken-of-the-chat"


class Chat(http.server.ThreadingHTTPServer):
    """A webhook that keeps what it gets and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}"

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, body, _ in self.got]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, body, dict(self.headers)))
        self.server.answers.wait(30)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def chat() -> Iterator[Chat]:
    server = Chat()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.answers.set()
    server.shutdown()
    server.server_close()


def failed(number: int, reason: str = "KeyError: 'x'") -> TrialEnded:
    return TrialEnded(number, EndState.FAILED, None, reason, best=False, seconds=1.0)


def test_each_chat_finds_the_text_where_it_looks_for_it(chat: Chat):
    with Webhook(chat.url, sweep="mask") as messages:
        messages.send("done")
    ((path, body, headers),) = chat.got
    assert path == f"/services/{SECRET}"
    assert body == {
        "text": "sweep mask: done",  # Slack, Mattermost
        "content": "sweep mask: done",  # Discord
        "allowed_mentions": {"parse": []},
    }
    assert (headers["X-Template"], headers["X-Message"]) == ("yes", "{{.text}}")  # ntfy
    assert headers["Content-Type"] == "application/json"


def test_the_first_failure_is_a_message(chat: Chat):
    with Webhook(chat.url, sweep="mask") as messages:
        for event in (Notice("x"), failed(3), failed(4)):
            messages.notify(event)
    assert chat.texts == ["sweep mask: trial 3 failed: KeyError: 'x'"]


@pytest.mark.parametrize(
    "error", [InfrastructureError("Ray is gone"), OSError(28, "No space left on device")]
)
def test_what_ends_with_exit_code_3_is_a_message_and_other_errors_are_none(
    chat: Chat, error: Exception
):
    for raised in (error, InputError("wrong"), KeyError("bug")):
        with (
            pytest.raises(type(raised)),
            Webhook(chat.url, sweep="mask"),
        ):
            raise raised
    assert chat.texts == [f"sweep mask: stopped: {error}"]


def test_without_a_url_nothing_is_sent():
    with Webhook(None, sweep="mask") as messages:
        messages.send("done")
        assert [thread.name for thread in threading.enumerate()].count("webhook") == 0


def test_a_chat_that_hangs_delays_neither_a_trial_nor_much_the_end(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.2)
    chat.answers.clear()
    with Webhook(chat.url, sweep="mask") as messages:
        messages.notify(failed(1))  # returns while the chat does not answer
    wait_for(lambda: caplog.messages)
    assert caplog.messages == ["notify.webhook: the message was not sent (TimeoutError)"]


def test_a_refusal_or_a_gone_server_is_one_line_without_the_secret(
    chat: Chat, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    chat.status = 404
    with Webhook(chat.url, sweep="mask") as messages:
        messages.send("x")
    with Webhook(f"http://127.0.0.1:1/{SECRET}", sweep="mask") as messages:
        messages.send("x")
    assert caplog.messages == [
        "notify.webhook: the message was refused with status 404",
        "notify.webhook: the message was not sent (ConnectionRefusedError)",
    ]


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"ftp://host/{SECRET}",
        f"https:///{SECRET}",
        f"http://host:port/{SECRET}",
        f"https://host/{SECRET} x",
        f"https://host/{SECRET}\n",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(
    make_spec: Callable[..., SweepSpec], url: str
):
    expected = "expected the URL of a webhook, https://... (it is a secret and not shown)"
    for spec, given, name in (
        (make_spec(), url, "$SWEEPS_WEBHOOK"),
        (make_spec(notify={"webhook": url}), None, "notify.webhook"),
    ):
        with pytest.raises(InputError) as caught:
            url_of(spec, given=given)
        assert str(caught.value) == f"{name}: {expected}"


def test_the_search_space_comes_before_the_environment(make_spec: Callable[..., SweepSpec]):
    spec = make_spec(notify={"webhook": "https://chat/a"})
    assert url_of(spec, given="https://chat/b") == "https://chat/a"
    assert url_of(make_spec(), given="https://chat/b") == "https://chat/b"
    assert url_of(make_spec(), given=None) is None


def test_the_message_at_the_end_has_counts_and_the_best(make_spec: Callable[..., SweepSpec]):
    counts = dict(completed=2, pruned=1, failed=0, interrupted=0, repeats=0, finishes=0)
    rest = dict(running=(), cap=3, k=2, elapsed_s=1.0, eta_s=None)
    end = Snapshot(**counts, **rest, best_score=0.75, best_number=1)  # type: ignore[arg-type]
    assert progress_text(make_spec(), end, how="all is over") == (
        "all is over (2 completed, 1 pruned, 0 failed; best valid/f1 0.7500 (trial 1))"
    )


def test_a_sweep_tells_its_end_and_no_file_of_it_has_the_secret(
    chat: Chat, space_file: Callable[..., Path], images: Path, tmp_path: Path
):
    from sweeps.space.spec_reader import read_spec
    from sweeps.sweep import RunOptions, run_sweep

    spec = read_spec(
        space_file(
            notify={"webhook": chat.url},
            method="grid",
            run_cap=None,
            parameters={
                "backbone": {"value": "test_resnet"},
                "weights": {"value": "none"},
                "resize": {"value": 8},
                "epochs": {"value": 1},
            },
        )
    )
    assert SECRET not in repr(spec)
    assert SECRET not in json.dumps(spec.raw) + json.dumps(spec.fixed_part())
    run_sweep(spec, RunOptions(runs=tmp_path / "runs", address=None))
    (text,) = chat.texts
    assert text.startswith("sweep toy: every trial of the cap or the grid is over")
    assert "(1 completed, 0 pruned, 0 failed; best valid/f1" in text
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    # with or without a webhook it is the same sweep
    assert (
        run_sweep(
            spec.model_copy(update={"notify": type(spec.notify)()}),
            RunOptions(runs=tmp_path / "runs", address=None, webhook=None),
        ).state.name
        == "DONE_BEFORE"
    )


def wait_for(condition: Callable[[], Any]) -> None:
    while not condition():
        threading.Event().wait(0.005)
