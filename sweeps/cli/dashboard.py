"""`sweeps dashboard`: show all sweeps of a storage in the browser."""

import signal
import sys
import warnings
from typing import Annotated

import typer

from sweeps.cli.options import Runs, Storage, opened, runs_folder

ANY_ADDRESS = ("0.0.0.0", "::", "")


def dashboard(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes any free one.")
    ] = 8080,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show all sweeps in the Optuna dashboard.

    It can read and take notes, but change nothing.
    """
    from sweeps.reporting.dashboard import LOOPBACK, dashboard_of, serve

    found = opened(storage, runs)
    hosts = LOOPBACK if host in LOOPBACK else (*LOOPBACK, "*" if host in ANY_ADDRESS else host)

    def ready(port: int) -> None:
        shown = "localhost" if host in (*LOOPBACK, *ANY_ADDRESS) else host
        if host not in LOOPBACK:
            print(
                f"warning: whoever reaches port {port} of this machine sees all sweeps: there is "
                "no login",
                file=sys.stderr,
            )
        print(f"http://{shown}:{port}/dashboard  (Ctrl-C ends it)", flush=True)

    # with few trials Optuna warns of the importance that the page asks for, once for each request
    warnings.filterwarnings("ignore", module="optuna")
    app = dashboard_of(found, runs=runs_folder(runs), hosts=hosts)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C is the usual end: exit code 0
    serve(app, host=host, port=port, ready=ready)
