"""A sweep at one moment, as views of a test show it."""

from sweeps.running.events import Running, Snapshot

SNAPSHOT = Snapshot(
    completed=3,
    pruned=1,
    failed=1,
    interrupted=0,
    repeats=0,
    finishes=0,
    running=(
        Running(5, fold=0, epoch=0, epochs=4, value=None),
        Running(6, fold=2, epoch=3, epochs=4, value=0.81234),
    ),
    cap=16,
    k=5,
    best_score=0.9123,
    best_number=2,
    elapsed_s=3723.4,
    eta_s=61.0,
)
