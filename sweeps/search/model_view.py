"""The trials of a sweep as the models of samplers see them.

A model learns from complete trials. The fold race stops most trials, so without this view a model
would see a small part of the trials only. A stopped trial has scores of finished folds, and the
fold race expects a final score from them. In this view, the trial is complete with that score.

What a model sees of a trial that was stopped early, by any rule:

- After at least one finished fold: a complete trial. Its score is the mean over its folds, plus the
  ease of all folds, minus the ease of its folds. It does not matter which rule stopped the trial,
  because the scores of finished folds are comparable in any case.
- In its first fold, or while no trial is complete: a pruned trial, as it is. The value of an early
  epoch cannot be compared with the mean over all folds. TPE ranks pruned trials below complete
  trials, and trials with more reports first. The other models do not see them.
- With a score that is not finite: a pruned trial, as it is. It has no expected score.
- With `checkpoint: best`: a pruned trial, as it is. The scores of its folds are those of the best
  epoch of each fold, and the folds of a complete trial have one epoch in common.

- That another trial finished for the ensemble: a complete trial with the score of that other trial.
  The other trial is failed in the view, which no model looks at: one point must not count twice.

The view is a function of the trials that are over. An expected score changes as more trials
complete, but it is the same for an undisturbed driver and for a restarted driver. The storage, the
leaderboard and all counts have the trials as they are.
"""

import copy
import math
import statistics
from collections.abc import Container, Iterable, Iterator, Sequence

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.search.race import Standing, expected_gains
from sweeps.space.spec import SweepSpec
from sweeps.study.records import finish_of, fold_scores, is_finish, score_key
from trainer.metrics import Goal

# The time of gp grows with the third power of the number of complete trials: 0.5 s for 300 trials,
# 7.5 s for 1,000. The driver decides nothing else meanwhile.
MOST_FOR_GP = 400


def model_view(trials: Sequence[FrozenTrial], spec: SweepSpec) -> optuna.Study:
    """A study with the trials as models see them, in which one new trial can be asked for.

    The study is a copy: no change of it reaches the study that the trials are from.

    Args:
        trials: all trials of the sweep, ordered by number.
    """
    storage = _StorageOfOneProposal(seen_by_models(trials, spec))
    return optuna.create_study(storage=storage, direction=spec.metric.goal.value)


def seen_by_models(trials: Sequence[FrozenTrial], spec: SweepSpec) -> list[FrozenTrial]:
    """The trials as models see them, in the same order; the given trials are not changed.

    A trial that waits to be continued is seen as one that runs: Optuna would ask for it again.
    """
    expected = _expected_scores(trials, spec) if spec.folds_comparable else {}
    finished = _finished_scores(trials)
    expected = {number: s for number, s in expected.items() if number not in finished}
    if spec.search == "gp":
        complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
        expected = _thinned(expected, most=max(0, MOST_FOR_GP - complete), goal=spec.metric.goal)
    seen = list(map(_seen, trials))
    for number, score in {**expected, **finished}.items():
        seen[number] = copy.copy(trials[number])
        seen[number].state = TrialState.COMPLETE
        seen[number].values = [score]
    return seen


def _expected_scores(trials: Sequence[FrozenTrial], spec: SweepSpec) -> dict[int, float]:
    """The expected scores of stopped trials, by trial number."""
    complete = _with_scores(trials, TrialState.COMPLETE)
    finished = (Standing(trial.number, scores) for trial, scores in complete)
    gains = expected_gains(finished, k=spec.folds.k)
    if gains is None:
        return {}
    return {
        trial.number: statistics.fmean(scores) + gains[len(scores) - 1]
        for trial, scores in _with_scores(trials, TrialState.PRUNED)
        if all(map(math.isfinite, scores))
    }


def _finished_scores(trials: Iterable[FrozenTrial]) -> dict[int, float]:
    """The scores of the trials that finished pruned ones, by the number of the pruned trial."""
    return {
        number: trial.values[0]
        for trial in trials
        if trial.state == TrialState.COMPLETE and (number := finish_of(trial)) is not None
    }


def _seen(trial: FrozenTrial) -> FrozenTrial:
    if not (is_finish(trial) or trial.state == TrialState.WAITING):
        return trial
    seen = copy.copy(trial)
    # the result of a trial that finishes a pruned one is seen as that of the pruned one
    seen.state = TrialState.FAIL if is_finish(trial) else TrialState.RUNNING
    seen.values = None
    return seen


def _with_scores(
    trials: Iterable[FrozenTrial], state: TrialState
) -> Iterator[tuple[FrozenTrial, tuple[float, ...]]]:
    """The trials of this state that have finished folds, with the scores of these folds."""
    for trial in trials:
        if trial.state == state and (scores := fold_scores(trial)):
            yield trial, scores


def _thinned(expected: dict[int, float], *, most: int, goal: Goal) -> dict[int, float]:
    """At most `most` of the expected scores, evenly spread over their ranking, the best included.

    A model needs to know good and bad regions of the space.
    """
    if len(expected) <= most:
        return expected
    best_first = sorted(expected, key=lambda number: score_key(expected[number], number, goal=goal))
    kept = (best_first[place * len(best_first) // most] for place in range(most))
    return {number: expected[number] for number in kept}


class _StorageOfOneProposal(InMemoryStorage):
    """Shows given trials, and after them the one trial that it holds itself.

    To copy the given trials into a storage of Optuna would take longer than most proposals.
    """

    def __init__(self, given: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._given = given

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The given trials and the own trial, if their state is one of `states`."""
        own = super().get_all_trials(study_id, deepcopy=False)
        trials = [t for t in (*self._given, *own) if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials
