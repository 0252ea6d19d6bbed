"""What every benchmark prints first, and how it prints a figure."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def print_header(*libraries: str) -> None:
    """Command, commit, hardware and versions."""
    versions = ", ".join(
        f"{library} {importlib.metadata.version(library)}" for library in libraries
    )
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout
    print(f"command   python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip())
    print(f"commit    {commit.strip() or 'unknown'}")
    print(
        f"hardware  {os.cpu_count()} CPU, {platform.machine()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def mean_std(values: Sequence[float], *, digits: int = 3) -> str:
    """`1.234 ± 0.056 (n=5)`."""
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.{digits}f} ± {spread:.{digits}f} (n={len(values)})"
