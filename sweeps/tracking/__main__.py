"""`python -m sweeps.tracking`: the tracker process, see `process`."""

import os
import sys

from sweeps.tracking.process import main

code = main()
sys.stdout.flush()
sys.stderr.flush()
# a thread of a tracker's library that hangs must not keep the process
os._exit(code)
