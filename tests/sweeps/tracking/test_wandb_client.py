"""The process of W&B's client: its environment, who is logged in, its errors."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweeps.errors import InputError, TrackerError
from sweeps.tracking.wandb_client import (
    HELPER,
    Mode,
    calls,
    has_credentials,
    is_online,
    log_in,
    prepare,
    release,
)
from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.sweeps.tracking.in_wandb import QUICK, SHORT


def test_nothing_of_another_run_reaches_the_client(tmp_path: Path):
    environ = {
        "WANDB_SWEEP_ID": "abc",
        "WANDB_RUN_ID": "def",
        "WANDB_SERVICE": "2-1-unix-x",
        "WANDB_MODE": "offline",
        "WANDB_API_KEY": "key",
        "WANDB_BASE_URL": "https://wandb.example.org",
        "WANDB_ENTITY": "team",
        "PATH": "/bin",
    }
    prepare(environ, folder=tmp_path)
    assert environ == {
        "WANDB_API_KEY": "key",
        "WANDB_BASE_URL": "https://wandb.example.org",
        "WANDB_ENTITY": "team",
        "PATH": "/bin",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(tmp_path),
    }


class TestCredentials:
    @pytest.fixture(autouse=True)
    def logged_out(self, server: WandbServer) -> None:
        """Nobody is logged in."""
        del os.environ["WANDB_API_KEY"]

    def test_without_a_login_there_are_none(self):
        assert not has_credentials()

    def test_a_key_is_found(self):
        os.environ["WANDB_API_KEY"] = "k" * 40
        assert has_credentials()

    def test_an_entry_of_netrc_is_found(self, server: WandbServer, tmp_path: Path):
        host = server.url.removeprefix("http://")
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine {host}\n  login user\n  password {'k' * 40}\n")
        netrc.chmod(0o600)
        assert has_credentials()

    def test_an_entry_of_netrc_for_another_server_is_not_one(self, tmp_path: Path):
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine other.example.org\n  login user\n  password {'k' * 40}\n")
        netrc.chmod(0o600)
        assert not has_credentials()

    def test_an_identity_token_is_found(self, tmp_path: Path):
        (tmp_path / "token.jwt").write_text("a.b.c")
        os.environ["WANDB_IDENTITY_TOKEN_FILE"] = str(tmp_path / "token.jwt")
        assert has_credentials()

    def test_a_key_that_cannot_be_one_is_an_error(self):
        os.environ["WANDB_API_KEY"] = "short"
        with pytest.raises(InputError, match=r"W&B: WANDB_API_KEY invalid: API key must have 40"):
            has_credentials()

    @pytest.mark.parametrize(
        ("mode", "key", "wandb_mode", "online"),
        [
            ("off", True, "", False),
            ("online", False, "", True),
            ("online", True, "disabled", True),  # said in the search space: it counts more
            ("auto", True, "", True),
            ("auto", True, "online", True),
            ("auto", False, "", False),
            ("auto", True, "offline", False),
            ("auto", True, "disabled", False),
        ],
    )
    def test_auto_is_online_if_somebody_is_logged_in_and_wants_it(
        self, mode: Mode, key: bool, wandb_mode: str, online: bool
    ):
        if key:
            os.environ["WANDB_API_KEY"] = "k" * 40
        if wandb_mode:
            os.environ["WANDB_MODE"] = wandb_mode
        assert is_online(mode, os.environ) is online


class TestLogIn:
    def test_it_says_whose_runs_they_are(self, server: WandbServer):
        assert log_in(patience=QUICK) == ENTITY
        assert log_in("others", patience=QUICK) == "others"
        release()
        os.environ["WANDB_ENTITY"] = "lab"
        assert log_in(patience=QUICK) == "lab"

    def test_nobody_logged_in_is_a_users_error(self, server: WandbServer):
        del os.environ["WANDB_API_KEY"]
        with pytest.raises(InputError, match=r"^W&B refuses to log in: .* Run `wandb login`"):
            log_in(patience=QUICK)

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_key_is_a_users_error(self, server: WandbServer, status: int):
        server.break_down(status=status)
        with pytest.raises(InputError, match=r"or set WANDB_API_KEY$") as caught:
            log_in(patience=QUICK)
        assert "k" * 40 not in str(caught.value)

    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"hang": True}], ids=str)
    def test_a_server_in_trouble_is_not_the_users_fault(
        self, server: WandbServer, fault: dict[str, Any]
    ):
        server.break_down(**fault)
        with pytest.raises(TrackerError, match=r"^W&B does not answer: "):
            log_in(patience=SHORT)

    def test_no_server_is_not_the_users_fault(self, server: WandbServer):
        os.environ["WANDB_BASE_URL"] = "http://127.0.0.1:9"
        with pytest.raises(TrackerError, match=r"^W&B does not answer: "):
            log_in(patience=SHORT)


def test_a_helper_process_that_hangs_is_killed(server: WandbServer):
    log_in(patience=QUICK)
    helpers = [child for child in psutil.Process().children() if child.name().startswith(HELPER)]
    assert len(helpers) == 1
    helpers[0].suspend()
    release(within_s=1)
    assert helpers[0] not in psutil.Process().children()
    assert log_in(patience=QUICK) == ENTITY  # by another one


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (ValueError("first line.\nsecond line"), "first line"),
            (ConnectionResetError(), "ConnectionResetError"),
            (SystemExit(3), "3"),
        ],
    )
    def test_every_error_of_the_client_is_one_line_of_ours(self, error: BaseException, text: str):
        with pytest.raises(TrackerError) as caught, calls("trial 7"):
            raise error
        assert str(caught.value) == f"W&B did not take trial 7: {text}"

    def test_our_own_errors_stay_what_they_are(self):
        with pytest.raises(InputError, match=r"^wrong$"), calls("trial 7"):
            raise InputError("wrong")
