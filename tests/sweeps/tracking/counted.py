"""A stored sweep that counts how often it is read."""

import collections

from optuna.trial import FrozenTrial

from sweeps.study.stored_sweep import StoredSweep

ALL = "all"
Reads = collections.Counter[int | str]


def counted(sweep: StoredSweep, reads: Reads) -> StoredSweep:
    """The sweep; `reads` gets the reads, by the number of the trial or under `ALL`."""

    class Counted(StoredSweep):
        def trial(self, number: int) -> FrozenTrial | None:
            reads[number] += 1
            return super().trial(number)

        def trials(self) -> list[FrozenTrial]:
            reads[ALL] += 1
            return super().trials()

    return Counted(**vars(sweep))
