"""A trial that fails says why in one line; what it leaves in memory is told."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeps.running import trial
from sweeps.running.messages import Assignment, TrialReport
from sweeps.running.trial import run_trial
from tests.sweeps.running.trial_runs import Listener, result
from trainer.training.fold_setup import FoldSetup
from trainer.training.memory import used_bytes


class TestLeftover:
    """256 MB of a tensor that is never written take no memory of this machine."""

    @pytest.fixture(params=["a trial that ends", "a trial that fails"])
    def hoarding(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> list[torch.Tensor]:
        hoard: list[torch.Tensor] = []
        run_fold = trial.run_fold

        def keep(*args: Any, **options: Any) -> Any:
            hoard.append(torch.empty(128 * 2**20, dtype=torch.uint8))
            if request.param == "a trial that fails":
                raise ValueError
            return run_fold(*args, **options)

        monkeypatch.setattr(trial, "run_fold", keep)
        return hoard

    def test_what_a_trial_left_in_memory_is_told(
        self, assignment: Callable[..., Assignment], hoarding: list[torch.Tensor]
    ):
        outcome = run_trial(assignment(epochs=1), Listener())
        kept = len(hoarding) * 128 * 2**20
        assert kept <= outcome.leftover_bytes < kept + 2**20
        hoarding.clear()

    def test_a_trial_gives_back_what_it_used_however_it_ends(
        self, assignment: Callable[..., Assignment]
    ):
        class Breaking(Listener):
            def report(self, report: TrialReport) -> bool:
                raise RuntimeError("x")

        device = torch.device("cpu")
        given = assignment(epochs=1, optimizer="madgrad", ema=0.9, checkpoint="best")
        run_trial(given, Listener())  # what is kept for all trials of a worker
        before = used_bytes(device)
        for number, listener, state in ((4, Listener(), "completed"), (5, Breaking(), "failed")):
            outcome = run_trial(dataclasses.replace(given, number=number), listener)
            assert (outcome.state, outcome.leftover_bytes) == (state, 0)
            assert used_bytes(device) <= before * 1.01


class TestFailures:
    def test_a_gpu_that_is_not_there_fails_the_trial(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        outcome = run_trial(dataclasses.replace(assignment(), device="cuda"), Listener())
        assert (outcome.state, outcome.leftover_bytes) == ("failed", 0)
        assert (
            outcome.reason == "device cuda: torch sees no CUDA GPU on this machine. Use cpu or auto"
        )

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (
                {"scheduler": "cyclic", "base_lr": 0.1},
                "configuration: cyclic needs base_lr <= lr, got base_lr=0.1 and lr=0.01",
            ),
            ({"lr": 0.0}, "lr: Input should be greater than 0"),
            ({"warmup": 1}, "warmup: Extra inputs are not permitted"),
            (
                {"loss": "mixture", "loss_mix.focal": -1},
                "loss_mix.focal: Input should be greater than or equal to 0",
            ),
        ],
        ids=["choices that do not fit", "out of bounds", "unknown", "an entry out of bounds"],
    )
    def test_a_configuration_that_cannot_be_fails_with_one_line(
        self, assignment: Callable[..., Assignment], values: dict[str, Any], reason: str
    ):
        given = assignment(**values)
        outcome = run_trial(given, Listener())
        assert (outcome.state, outcome.fold_scores, outcome.reason) == ("failed", (), reason)
        assert not given.files.directory.exists()

    def test_a_loss_that_becomes_nan_fails_with_where_and_what_to_do(
        self, assignment: Callable[..., Assignment]
    ):
        given = assignment(
            optimizer="sgd", lr=10.0, momentum=0.99, scheduler="none", epochs=4, batch_size=4
        )
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        values = r"\(lr=10, optimizer=sgd, backbone=test_efficientnet(, batch of 4 with [^)]+)?\)"
        assert re.fullmatch(
            r"fold 0, epoch \d(, step \d+)?: the (training|validation) loss is (nan|inf) "
            rf"{values}\. "
            "A lower lr or a warm-up usually helps",
            outcome.reason,
        )
        assert "NonFiniteLossError" in outcome.traceback

    def test_an_exception_of_our_own_fails_with_its_traceback_and_the_finished_folds(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        run_fold = trial.run_fold

        def broken(setup: FoldSetup, *args: Any) -> Any:
            if setup.fold == 1:
                raise KeyError("batch\nof lines")
            return run_fold(setup, *args)

        monkeypatch.setattr(trial, "run_fold", broken)
        given = assignment(epochs=1)
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        assert outcome.fold_scores == (result(given, 0)["metrics"]["f1"],)
        assert outcome.reason == r"KeyError: 'batch\nof lines'"
        assert outcome.traceback.startswith("Traceback (most recent call last):")
        assert 'raise KeyError("batch\\nof lines")' in outcome.traceback

    def test_an_exception_without_words_is_named(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        def broken(*args: Any, **options: Any) -> Any:
            raise ValueError

        monkeypatch.setattr(trial, "run_fold", broken)
        assert run_trial(assignment(), Listener()).reason == "ValueError"

    def test_a_damaged_checkpoint_fails_with_one_line(self, assignment: Callable[..., Assignment]):
        given = assignment(epochs=1)
        checkpoint = given.files.directory / "fold-0" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"not a checkpoint at all")
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        assert outcome.reason.startswith(f"{checkpoint}: the checkpoint is damaged")
        assert "\n" not in outcome.reason

    def test_missing_folds_fail_with_their_path(
        self, assignment: Callable[..., Assignment], tmp_path: Path
    ):
        given = dataclasses.replace(assignment(), sweep_directory=str(tmp_path / "elsewhere"))
        assert (
            run_trial(given, Listener()).reason
            == f"{tmp_path}/elsewhere/folds.npz: no such folds file"
        )

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_the_order_to_leave_passes(
        self, assignment: Callable[..., Assignment], error: type[BaseException]
    ):
        """Ray ends a worker's trial by raising SystemExit out of a report."""

        class Leaving(Listener):
            def report(self, report: TrialReport) -> bool:
                raise error

        with pytest.raises(error):
            run_trial(assignment(), Leaving())
