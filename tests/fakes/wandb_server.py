"""A stand-in of the W&B server on this machine, which the real client talks to.

It answers the operations that the client of version 0.31 uses for sweeps, runs, history, pictures
and orders, and keeps what arrives. Any operation can be made slow, wrong or silent. What it does
not know is answered with status 400 and stands in `unknown`, so that a test can ask for none.
"""

import collections
import dataclasses
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from ruamel.yaml import YAML

ENTITY = "team"
ALL = "*"  # the operation of a fault that every operation has
HANG_S = 60.0  # longer than any test waits for an answer


@dataclasses.dataclass
class Fault:
    """What is wrong with an operation.

    Attributes:
        delay_s: the answer comes so much later.
        status: an answer with this HTTP status in place of the right one, with `message`.
        hang: no answer, until the server closes.
        drop: the connection is closed before the request is carried out.
        lose: the request is carried out, but the connection is closed before the answer.
        times: after this number of requests the operation is well again; None means never.
        run: id of the only run that has the fault; None for all runs, and what is not about one.
    """

    delay_s: float = 0.0
    status: int = 200
    message: str = "fault"
    hang: bool = False
    drop: bool = False
    lose: bool = False
    times: int | None = None
    run: str | None = None


@dataclasses.dataclass
class StoredSweep:
    """A sweep as the server has it; `name` is the short id in addresses and calls."""

    name: str
    entity: str
    project: str
    description: str
    config: str
    state: str = "RUNNING"

    @property
    def parsed(self) -> dict[str, Any]:
        """The configuration that the client sent as YAML."""
        parsed: dict[str, Any] = YAML(typ="safe", pure=True).load(self.config)
        return parsed


@dataclasses.dataclass
class StoredRun:
    """A run as the server has it.

    Attributes:
        lines: the rows of the history as they arrived, by their place in the file of the client.
        stopped: somebody pressed "Stop run".
    """

    name: str
    entity: str
    project: str
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: dict[int, str] = dataclasses.field(default_factory=dict)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    state: str = "running"
    stopped: bool = False

    @property
    def id(self) -> str:
        """The id by which the client stops the run."""
        return f"id-{self.entity}/{self.project}/{self.name}"

    @property
    def sweep(self) -> str | None:
        """The short id of the sweep that the run belongs to."""
        return self.fields.get("sweep")

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of the history in the order of the file."""
        return [json.loads(line) for _, line in sorted(self.lines.items())]

    @property
    def steps(self) -> list[int]:
        """The steps of the rows; a row that arrived twice is there twice."""
        return [row["_step"] for row in self.history]

    @property
    def values(self) -> dict[str, Any]:
        """The configuration of the run without the client's own part."""
        return {key: entry["value"] for key, entry in self.config.items() if key != "_wandb"}


class WandbServer:
    """The state of the stand-in: what arrived, and what is wrong with it at present."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.sweeps: dict[str, StoredSweep] = {}
        self.runs: dict[str, StoredRun] = {}
        self.calls: collections.Counter[str] = collections.Counter()
        self.unknown: list[str] = []
        self.url = ""
        self._faults: dict[str, Fault] = {}
        self._changed = threading.Condition(self.lock)

    # --- for tests

    def break_down(self, operation: str = ALL, **fault: Any) -> None:
        """Give an operation a fault, see `Fault`; `file_stream` and `PUT` are operations, too."""
        with self.lock:
            self._faults[operation] = Fault(**fault)

    def heal(self) -> None:
        """Every operation is well again."""
        with self.lock:
            self._faults.clear()

    def run(self, name: str) -> StoredRun:
        """The run of this id, which only one project has."""
        (run,) = (run for run in self.runs.values() if run.name == name)
        return run

    def wait_until(self, holds: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Return when `holds`, which is asked again after each request."""
        with self.lock:
            assert self._changed.wait_for(holds, timeout=timeout_s), (
                f"never: {dict(self.calls)}, unknown {self.unknown}"
            )

    # --- what the client asks

    def fault_of(self, operation: str, *, run: str | None = None) -> Fault:
        """What is wrong with an operation now; it is counted."""
        with self.lock:
            self.calls[operation] += 1
            for name in (operation, ALL):
                fault = self._faults.get(name)
                if fault is not None and fault.times != 0 and fault.run in (None, run):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return Fault()

    def answer(self, operation: str, request: "_Request") -> tuple[int, Any]:
        """The status and the JSON (or None) that answer a request."""
        with self.lock:
            handle = _OPERATIONS.get(operation)
            if handle is None:
                self.unknown.append(operation)
                return 400, {"errors": [{"message": f"unknown operation {operation}"}]}
            result = handle(self, request)
            return 200, {"data": result} if request.is_graphql else result

    def tell(self) -> None:
        """Wake who waits for something to arrive."""
        with self.lock:
            self._changed.notify_all()

    def run_of(self, values: dict[str, Any]) -> StoredRun | None:
        """The run that the variables of a request mean."""
        name = values.get("name") or values.get("run")
        return self.runs.get(f"{values['entity']}/{values['project']}/{name}")


@dataclasses.dataclass(frozen=True)
class _Request:
    server_url: str
    path: str
    body: bytes
    query: str = ""
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_graphql: bool = False

    @property
    def run(self) -> str | None:
        """The id of the run that the request is about, if it is about one."""
        if self.is_graphql:
            return self.values.get("name") or self.values.get("run")
        parts = self.path.split("/")  # /files/ENTITY/PROJECT/RUN/file_stream, /storage/...
        return parts[4] if len(parts) > 4 else None


def _viewer(server: WandbServer, request: _Request) -> Any:
    viewer = {
        "id": "VXNlcjox",
        "entity": ENTITY,
        "username": ENTITY,
        "name": ENTITY,
        "email": f"{ENTITY}@example.org",
        "admin": False,
        "flags": "{}",
        "deletedAt": None,
        "apiKeys": {"edges": []},
        "teams": {"edges": [{"node": {"name": ENTITY}}]},
    }
    return {"viewer": viewer}


def _features(server: WandbServer, request: _Request) -> Any:
    return {"serverInfo": {"features": []}}


def _upsert_sweep(server: WandbServer, request: _Request) -> Any:
    values = request.values
    if values.get("id"):  # only the state of a sweep is changed later
        sweep = server.sweeps[values["id"].removeprefix("id-")]
        sweep.state = values["state"]
    else:
        sweep = StoredSweep(
            name=f"swp{len(server.sweeps) + 1:05d}",
            entity=values.get("entityName") or ENTITY,
            project=values.get("projectName") or "uncategorized",
            description=values.get("description") or "",
            config=values["config"],
        )
        server.sweeps[sweep.name] = sweep
    shown = {"name": sweep.name, "project": _project_of(sweep.entity, sweep.project)}
    return {"upsertSweep": {"sweep": shown, "configValidationWarnings": []}}


def _project_of(entity: str, project: str) -> Any:
    return {"id": f"id-{project}", "name": project, "entity": {"id": "1", "name": entity}}


def _sweep(server: WandbServer, request: _Request) -> Any:
    sweep = server.sweeps.get(request.values.get("name") or request.values.get("sweep") or "")
    return {"project": {"sweep": None if sweep is None else _sweep_fields(server, sweep)}}


def _sweep_fields(server: WandbServer, sweep: StoredSweep) -> Any:
    return {
        "__typename": "Sweep",
        "id": f"id-{sweep.name}",
        "name": sweep.name,
        "displayName": None,
        "method": sweep.parsed["method"],
        "state": sweep.state,
        "description": sweep.description,
        "bestLoss": None,
        "config": sweep.config,
        "createdAt": "2026-11-28T00:00:00Z",
        "updatedAt": None,
        "runCount": sum(run.sweep == sweep.name for run in server.runs.values()),
        "runCountExpected": None,
        "runs": {"edges": []},
    }


def _sweeps(server: WandbServer, request: _Request) -> Any:
    place = (request.values["entity"], request.values["project"])
    found = [sweep for sweep in server.sweeps.values() if (sweep.entity, sweep.project) == place]
    projects = {
        (each.entity, each.project) for each in (*server.sweeps.values(), *server.runs.values())
    }
    if place not in projects:
        return {"project": None}
    connection = {
        "pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False},
        "edges": [{"node": _sweep_fields(server, sweep)} for sweep in found],
    }
    return {"project": {"totalSweeps": len(found), "sweeps": connection}}


def _resume_status(server: WandbServer, request: _Request) -> Any:
    run = server.run_of(request.values)
    if run is None:
        return {"model": None}
    last = max(run.lines, default=None)
    bucket = {
        "id": run.id,
        "name": run.name,
        "summaryMetrics": json.dumps(run.summary),
        "displayName": run.fields.get("displayName"),
        "logLineCount": 0,
        "historyLineCount": len(run.lines),
        "eventsLineCount": 0,
        "historyTail": json.dumps([] if last is None else [run.lines[last]]),
        "eventsTail": "[]",
        "config": json.dumps(run.config),
        "tags": run.fields.get("tags") or [],
        "notes": None,
        "wandbConfig": json.dumps({"t": 1}),
    }
    return {"model": {**_project_of(run.entity, run.project), "bucket": bucket}}


def _upsert_bucket(server: WandbServer, request: _Request) -> Any:
    values = {key: value for key, value in request.values.items() if value is not None}
    path = f"{values['entity']}/{values['project']}/{values['name']}"
    inserted = path not in server.runs
    run = server.runs.setdefault(path, StoredRun(values["name"], *path.split("/")[:2]))
    run.config.update(json.loads(values.pop("config", "{}")))
    run.summary.update(json.loads(values.pop("summaryMetrics", "{}")))
    run.fields.update(values)
    run.state = values.get("state", run.state if inserted else "running")
    bucket = {
        "id": run.id,
        "name": run.name,
        "displayName": run.fields.get("displayName"),
        "description": None,
        "config": json.dumps(run.config),
        "sweepName": run.sweep,
        "project": _project_of(run.entity, run.project),
        "historyLineCount": len(run.lines),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


def _run(server: WandbServer, request: _Request) -> Any:
    run = server.run_of(request.values)
    if run is None:
        return {"project": {"run": None}}
    fields = {
        "id": run.id,
        "projectId": "1",
        "name": run.name,
        "displayName": run.fields.get("displayName"),
        "sweepName": run.sweep,
        "state": run.state,
        "tags": run.fields.get("tags") or [],
        "config": json.dumps(run.config),
        "group": run.fields.get("groupName"),
        "jobType": run.fields.get("jobType"),
        "commit": None,
        "readOnly": False,
        "createdAt": "2026-11-28T00:00:00Z",
        "heartbeatAt": "2026-11-28T00:00:00Z",
        "description": None,
        "notes": None,
        "systemMetrics": "{}",
        "summaryMetrics": json.dumps(run.summary),
        "historyLineCount": len(run.lines),
        "user": {"name": ENTITY, "username": ENTITY},
        "historyKeys": {"lastStep": max(run.steps), "keys": {}, "sets": []} if run.lines else None,
    }
    return {"project": {"run": fields}}


def _stop_run(server: WandbServer, request: _Request) -> Any:
    server.runs[request.values["id"].removeprefix("id-")].stopped = True
    return {"stopRun": {"success": True}}


def _create_files(server: WandbServer, request: _Request) -> Any:
    run = server.run_of(request.values)
    assert run is not None
    files = [
        {"name": name, "uploadUrl": f"{request.server_url}/storage/{run.id[3:]}/{name}"}
        for name in request.values["files"]
    ]
    return {"createRunFiles": {"runID": run.id, "uploadHeaders": [], "files": files}}


def _put(server: WandbServer, request: _Request) -> Any:
    _, _, entity, project, name, file = request.path.split("/", 5)
    server.runs[f"{entity}/{project}/{name}"].files[file] = request.body


def _file_stream(server: WandbServer, request: _Request) -> Any:
    run = server.runs[request.path.removeprefix("/files/").removesuffix("/file_stream")]
    sent = json.loads(request.body)
    for name, part in sent.get("files", {}).items():
        lines = dict(enumerate(part["content"], part["offset"]))
        if name == "wandb-history.jsonl":
            run.lines.update(lines)
        elif name == "wandb-summary.json":
            run.summary = json.loads(part["content"][-1])
    if sent.get("complete"):
        run.state = "failed" if sent.get("exitcode") else "finished"
    return {"stopped": True} if run.stopped else {}


_OPERATIONS: dict[str, Callable[[WandbServer, _Request], Any]] = {
    "Viewer": _viewer,
    "GetViewer": _viewer,
    "GetDefaultEntity": _viewer,
    "ServerFeaturesQuery": _features,
    "UpsertSweep": _upsert_sweep,
    "GetSweep": _sweep,
    "GetSweeps": _sweeps,
    "RunResumeStatus": _resume_status,
    "UpsertBucket": _upsert_bucket,
    "Run": _run,
    "RunHistoryKeys": _run,
    "StopRun": _stop_run,
    "CreateRunFiles": _create_files,
    "PUT": _put,
    "file_stream": _file_stream,
}


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """The stand-in on a free port of this machine; at the end requests that hang are released."""
    server = WandbServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        http.shutdown()
        http.server_close()
        thread.join()


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # the client keeps connections

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client gave the request up, or was killed
                super().handle()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _serve(self) -> None:
            operation, request = self._read()
            fault = server.fault_of(operation, run=request.run)
            if fault.hang:
                server.over.wait(HANG_S)
            if fault.delay_s:
                server.over.wait(fault.delay_s)
            if fault.hang or fault.drop:
                self.close_connection = True
                return
            if fault.status != 200:
                message = f"{fault.message} {fault.status}"
                self._write(fault.status, {"errors": [{"message": message}]})
                return
            status, answer = server.answer(operation, request)
            if fault.lose:
                self.close_connection = True
            else:
                self._write(status, answer)
            server.tell()

        def _read(self) -> tuple[str, _Request]:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            if path == "/graphql":
                asked = json.loads(body)
                found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                operation = found[1] if found else asked["query"]
                values = asked.get("variables") or {}
                return operation, _Request(server.url, path, body, asked["query"], values, True)
            if path.endswith("/file_stream"):
                return "file_stream", _Request(server.url, path, body)
            if self.command == "PUT":
                return "PUT", _Request(server.url, path, body)
            return f"{self.command} {path}", _Request(server.url, path, body)

        def _write(self, status: int, answer: Any) -> None:
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass  # pytest's output is no place for requests

    return Handler
