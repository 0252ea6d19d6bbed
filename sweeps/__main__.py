"""The command `sweeps`, also as `python -m sweeps`.

Everybody on a machine can read the arguments of its processes, and Ray shows them to everybody who
has the cluster's token. So a storage URL with a password moves into the environment first.
"""

import os
import sys

from sweeps.secret_arguments import MOVED, VARIABLE, without_secret


def main() -> None:
    """Run the command line, see `sweeps.cli.main`."""
    arguments, url = without_secret(sys.argv[1:])
    if url is not None:
        # the program begins anew, because a process cannot take its arguments back
        command = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        os.environ |= {VARIABLE: url, MOVED: "1"}
        os.execv(sys.executable, [sys.executable, *command, *arguments])
    from sweeps.cli import main as run

    run()


if __name__ == "__main__":
    main()
