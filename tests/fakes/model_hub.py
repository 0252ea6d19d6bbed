"""A model hub on this machine: it has the files that a test gives it, and counts its answers."""

import contextlib
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants

from trainer.model.timm_names import weights_source

COMMIT = "0" * 40
Files = Mapping[tuple[str, str], bytes]


@contextlib.contextmanager
def model_hub(files: Files, *, status: int = 404) -> Iterator[tuple[str, list[str]]]:
    """A hub with files by repository and name; `status` is its answer for all others.

    Yields:
        its address, and a list that grows by `METHOD /path` with each question.
    """
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def _answer(self) -> bytes:
            asked.append(f"{self.command} {self.path}")
            repository, _, rest = self.path[1:].partition("/resolve/")
            content = files.get((repository, rest.partition("/")[2]))
            self.send_response(status if content is None else 200)
            if content is not None:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            elif status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            return content or b""

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def move_hub(patch: pytest.MonkeyPatch, address: str) -> None:
    """Put the hub at an address, which its client otherwise reads when it is imported."""
    patch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def nowhere() -> str:
    """An address at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def made_weights(backbone: str) -> bytes:
    """A file with weights for a backbone, as the hub has it, of random numbers."""
    torch.manual_seed(123)
    return safetensors.torch.save(timm.create_model(backbone).state_dict())


def on_hub(backbone: str, content: bytes, *, name: str = "model.safetensors") -> Files:
    """The hub's files with the pretrained weights of a backbone."""
    source = weights_source(backbone)
    assert source is not None
    return {(source.hub_id, name): content}


def fill_cache(hub_cache: Path, backbone: str, content: bytes) -> Path:
    """Put weights into the hub's cache on this machine, as its client does."""
    source = weights_source(backbone)
    assert source is not None
    folder = hub_cache / f"models--{source.hub_id.replace('/', '--')}"
    path = folder / "snapshots" / COMMIT / "model.safetensors"
    path.parent.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    path.write_bytes(content)
    return path
