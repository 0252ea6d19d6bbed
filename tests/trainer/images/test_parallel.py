"""Many images at once: in order, in bounded memory, and no error is lost."""

import concurrent.futures
import threading
from collections.abc import Iterator

import pytest

from trainer.images import parallel
from trainer.images.parallel import AHEAD, map_in_order


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_results_come_in_the_order_of_the_items(threads, count):
    assert list(map_in_order(lambda item: item * item, range(count), threads=threads)) == [
        n * n for n in range(count)
    ]


def test_a_slow_item_holds_back_the_quick_ones_behind_it():
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(60)
        if item == 1:
            second_is_done.set()
        return item

    assert list(map_in_order(work, range(4), threads=2)) == [0, 1, 2, 3]


def test_all_threads_work_at_once():
    together = threading.Barrier(3)
    assert list(map_in_order(lambda _: together.wait(60) >= 0, range(3), threads=3)) == [True] * 3


@pytest.mark.parametrize("threads", [1, 3])
def test_only_a_few_results_are_ever_held(threads):
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            asked.append(item)
            yield item

    most = 0
    for taken, _ in enumerate(map_in_order(lambda item: item, items(), threads=threads)):
        most = max(most, len(asked) - taken)
    assert most == AHEAD * threads + 1
    assert len(asked) == 100


def test_an_error_passes_on_after_the_results_before_it():
    seen: list[int] = []
    results = map_in_order(
        lambda item: item if item != 2 else _fail("the third one"), range(9), threads=2
    )
    with pytest.raises(ValueError, match="the third one"):
        seen.extend(results)
    assert seen == [0, 1]


def test_an_error_of_the_items_passes_on():
    def items() -> Iterator[int]:
        yield 1
        _fail("no more items")

    with pytest.raises(ValueError, match="no more items"):
        list(map_in_order(lambda item: item, items(), threads=2))


@pytest.mark.parametrize("end", ["closed", "error"])
def test_no_thread_outlives_the_loop(end):
    before = set(threading.enumerate())
    results = map_in_order(
        lambda item: item if item != 1 or end == "closed" else _fail("in work"),
        range(50),
        threads=3,
    )
    assert next(results) == 0
    assert set(threading.enumerate()) > before
    if end == "closed":
        results.close()
    else:
        with pytest.raises(ValueError, match="in work"):
            list(results)
    assert set(threading.enumerate()) == before


def test_an_abandoned_loop_leaves_the_items_that_have_not_begun(monkeypatch):
    begun = []
    go = threading.Event()

    class Executor(concurrent.futures.ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            go.set()  # the item in work ends only after the others are cancelled
            super().shutdown(wait, cancel_futures=cancel_futures)

    def work(item: int) -> int:
        begun.append(item)
        assert item == 0 or go.wait(60)
        return item

    monkeypatch.setattr(parallel.concurrent.futures, "ThreadPoolExecutor", Executor)
    results = map_in_order(work, range(50), threads=1)
    assert next(results) == 0
    results.close()
    assert begun in ([0], [0, 1])


def _fail(why: str) -> int:
    raise ValueError(why)
