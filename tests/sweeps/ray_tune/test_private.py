import os
from pathlib import Path

import pytest
from ray._private import services

from sweeps.ray_tune.private import close_token_file, private

NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_each_ray_has_a_token_of_its_own_which_goes_with_it():
    tokens = []
    for _ in range(2):
        with private():
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
            os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does when it starts
        assert not os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_MODE"}
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 for token in tokens)


def test_it_is_at_home_on_the_loopback_interface_and_later_ones_are_not():
    before = services.get_node_ip_address()
    with private():
        assert services.get_node_ip_address() in ("127.0.0.1", "::1")
    assert services.get_node_ip_address() == before


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_is_kept(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "disabled")
    with private():
        assert {known: os.environ.get(known) for known in NAMES} == {
            known: "disabled" if known == name else None for known in NAMES
        }
    assert os.environ[name] == "disabled"


def test_the_mode_token_alone_names_no_token_that_could_be_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with private():
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_an_empty_token_is_none_and_stays_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    with private():
        assert os.environ["RAY_AUTH_TOKEN"]
    assert os.environ["RAY_AUTH_TOKEN"] == ""


def test_a_token_in_a_file_can_be_read_by_its_owner_alone(home: Path):
    close_token_file()  # there is none
    file = home / ".ray/auth_token"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0o644)
    close_token_file()
    assert file.stat().st_mode & 0o777 == 0o600
