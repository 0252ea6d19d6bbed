"""The processes in which fold runs are rehearsed, as the workers of a sweep are processes.

A process that is killed, as Linux does when memory runs out, is a rehearsal that does not fit. What
a process holds, such as the context of CUDA, is gone when the stage is left.
"""

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from trainer.training.rehearsed import Gpus, Order, Outcome, Refused

KILLED = "the process was killed, probably because the memory of this machine is too small"


class Stage:
    """One process after another that rehearses, or several of them at once."""

    def __init__(self) -> None:
        self._processes: list[ProcessPoolExecutor] = []

    def __enter__(self) -> "Stage":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.shutdown(cancel_futures=True)

    def gpus(self) -> Gpus | None:
        """The GPUs of this machine. The process that asks for them is the first to rehearse."""
        from trainer.training.rehearsal import gpus

        return self._process(0).submit(gpus).result()

    def act(self, order: Order) -> Outcome:
        """Rehearse in one process."""
        (outcome,) = self.act_at_once([order])
        return outcome

    def act_at_once(self, orders: Sequence[Order]) -> list[Outcome]:
        """Rehearse in as many processes as there are orders, at the same time."""
        from trainer.training.rehearsal import act

        # every process has imported its libraries before the first one begins
        ready = [self._process(index).submit(_ready) for index in range(len(orders))]
        concurrent.futures.wait(ready)
        begun = [self._process(index).submit(act, order) for index, order in enumerate(orders)]
        return [self._outcome(index, future) for index, future in enumerate(begun)]

    def _outcome(self, index: int, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except BrokenProcessPool:
            self._processes[index] = _new_process()
            return Refused("memory", KILLED)

    def _process(self, index: int) -> ProcessPoolExecutor:
        while len(self._processes) <= index:
            self._processes.append(_new_process())
        return self._processes[index]


def _new_process() -> ProcessPoolExecutor:
    # not forked: CUDA cannot be used in a fork, and threads of this process would be lost
    spawned = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawned, initializer=_leave_ctrl_c_to_the_command)


def _leave_ctrl_c_to_the_command() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _ready() -> None:
    """Import in a new process what a rehearsal needs."""
    import trainer.training.rehearsal  # noqa: F401 - the import is what is asked for
