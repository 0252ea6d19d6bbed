"""The sections of a report that explain the sweep as a whole: what was found, and what to do."""

import collections
import dataclasses
import importlib.metadata
import re
import statistics

from optuna.trial import TrialState

from sweeps.preparing.check_page import PageTable
from sweeps.reporting.charts import (
    best_so_far,
    cost,
    fold_grid,
    importance_bars,
    interval_rows,
    learning_curves,
    pareto,
)
from sweeps.reporting.document import Section
from sweeps.reporting.gathered import Gathered
from sweeps.reporting.words import (
    about_differences,
    about_folds,
    about_importance,
    about_the_choice,
    alike_sentence,
    difference_sentence,
    moment_text,
    time_text,
    value_text,
)
from sweeps.results.summary import failures
from sweeps.study.records import fold_scores, reason

MOST_PAIRS = 40  # of a chart; the table has all
NUMBER = re.compile(r"\d+(\.\d+)?")


def facts(found: Gathered) -> tuple[tuple[str, str], ...]:
    """The lines at the top: counts, time, data, versions, how to go on."""
    summary, manifest = found.summary, found.folds.manifest
    counts = [f"{summary.completed} completed"]
    counts += [
        f"{count} {what}"
        for what, count in (
            ("stopped early", summary.pruned),
            ("failed", summary.failed),
            ("running", summary.running),
            ("interrupted", summary.interrupted),
            ("of other sweeps", summary.history),
        )
        if count
    ]
    best = found.board.trials[0] if found.board.trials else None
    std = "" if best is None or best.std is None else f" ± {best.std:.4f}"
    spent = [time_text(summary.elapsed_s)]
    spent += [f"{summary.gpu_hours:.2f} GPU-hours"] if summary.gpu_hours else []
    images = f"{len(found.rows):,} images scored, {len(manifest.classes)} classes"
    groups = "" if manifest.groups is None else f", {len(set(manifest.groups)):,} groups"
    lines = [
        ("metric", f"{summary.metric} ({summary.goal})"),
        ("best", "none yet" if best is None else f"{best.score:.4f}{std}, trial {best.number}"),
        ("trials", ", ".join(counts)),
        ("started", "not yet" if summary.started is None else moment_text(summary.started)),
        ("time spent", ", ".join(spent)),
        ("data", images + groups),
        ("folds", f"{found.folds.k}, hash {found.folds.hash}"),
        (
            "versions",
            f"foldsweep {found.about.get('foldsweep', 'unknown')} began it, "
            f"{importlib.metadata.version('foldsweep')} wrote this",
        ),
        (
            "continue",
            found.view.record.command
            or "sweeps run SPACE, with the search space file that began it",
        ),
    ]
    return tuple(lines)


def takeaways(found: Gathered) -> Section:
    """What to take from the sweep, in sentences."""
    points, ease_K = found.points, found.statistics.adjusted.ease_K.tolist()
    failed = found.summary.failed
    lines = [
        *about_the_choice(found.choice),
        about_importance(found.statistics.importance),
        *about_differences(found.statistics.differences, metric=found.view.metric),
        *about_folds(points, ease_K, goal=found.view.goal)[:2],
        *([f"failed: {failed} of the trials; the reasons are below"] if failed else []),
    ]
    return Section("takeaways", "What to take from it", tuple(lines))


def progress(found: Gathered) -> Section | None:
    """The best so far."""
    if not found.points:
        return None
    chart = best_so_far(found.points, metric=found.view.metric, goal=found.view.goal)
    data = [
        {
            "trial": point.trial,
            "fold_adjusted_score": point.score,
            "complete": point.complete,
            "fold_scores": list(point.folds),
            "seconds_per_fold": point.seconds,
            "params": dict(point.values),
        }
        for point in found.points
    ]
    return Section("best-so-far", "Best so far", charts=(chart,), data=data)


def importance(found: Gathered) -> Section:
    """Which parameters matter."""
    said = found.statistics.importance
    rows = tuple(
        (share.parameter, f"{share.value:.1%}", f"{share.low:.1%} to {share.high:.1%}")
        for share in said.shares
    )
    title = "Shares in the explained differences"
    table = PageTable(title, ("parameter", "share", "in bootstraps"), rows)
    return Section(
        "importance",
        "Which parameters matter",
        (
            about_importance(said),
            "a share is about what was sampled: where a sampler tried good values only, a "
            "parameter seems to matter less",
        )
        if said.shares
        else (said.sentence,),
        (importance_bars(said.shares),) if said.shares else (),
        (table,) if said.shares else (),
        data={
            "explained": said.explained,
            "trials": said.trials,
            "shares": [
                {"parameter": s.parameter, "share": s.value, "low": s.low, "high": s.high}
                for s in said.shares
            ],
        },
    )


def choices(found: Gathered) -> Section:
    """Which choices are better."""
    said, metric = found.statistics.differences, found.view.metric
    if said.too_few is not None:
        return Section(
            "differences", "Which choices are better", (said.too_few,), data={"pairs": []}
        )
    pairs = sorted(said.pairs, key=lambda pair: (not pair.clear, -pair.gain))
    names = [
        f"{pair.parameter}: {value_text(pair.better)} over {value_text(pair.worse)}"
        for pair in pairs
    ]
    rows = tuple(
        (
            pair.parameter,
            value_text(pair.better),
            value_text(pair.worse),
            f"{pair.trials[0]}, {pair.trials[1]}",
            f"{pair.gain:.4f}",
            f"{pair.low:.4f} to {pair.high:.4f}",
            pair.verdict,
        )
        for pair in said.pairs
    )
    table = PageTable(
        "All pairs",
        ("parameter", "better", "worse", "trials", "difference", "95 %", "verdict"),
        rows,
        "All parameters are fitted at once; a difference is an average over what was sampled of "
        "the others. Numbers are compared at the 10 %, 50 % and 90 % quantile of what was sampled.",
    )
    clear = [difference_sentence(pair, metric=metric) for pair in pairs if pair.clear]
    unsaid = [f"{name}: {line}" for name, lines in said.unsaid.items() for line in lines]
    shown = slice(MOST_PAIRS)
    return Section(
        "differences",
        "Which choices are better",
        (*(clear[:12] or ["no difference is clear, all pairs considered"]), *unsaid),
        (interval_rows(pairs[shown], names=names[shown], metric=metric),) if pairs else (),
        (table,) if rows else (),
        data={
            "pairs": [pair.as_json() for pair in said.pairs],
            "unsaid": {name: list(lines) for name, lines in said.unsaid.items()},
        },
    )


def leaderboard(found: Gathered) -> Section | None:
    """The best complete trials, and who cannot be told from the best."""
    board = found.board
    if not board.trials:
        return None
    names = list(dict.fromkeys(name for row in board.trials for name in row.params))
    rows = tuple(
        (
            str(row.number),
            f"{row.score:.4f}" + ("" if row.std is None else f" ± {row.std:.4f}"),
            "-" if row.oof_score is None else f"{row.oof_score:.4f}",
            "-"
            if row.expected is None
            else f"{row.expected.value:.4f} ({row.expected.low:.4f} to {row.expected.high:.4f})",
            "-" if row.chance is None else f"{row.chance:.0%}",
            *(value_text(row.params[name]) if name in row.params else "" for name in names),
        )
        for row in board.trials
    )
    every = board.completed + board.history
    table = PageTable(
        "The completed trial"
        if every == 1
        else f"The best {len(rows)} of {every} completed trials",
        ("trial", f"{board.metric} ± std", "OOF", "on new data (95 %)", "is best", *names),
        rows,
        f"`sweeps export --trial {board.trials[0].number}` prints the configuration of the best.",
        trials=tuple(row.number for row in board.trials),
    )
    alike = "" if found.choice is None else alike_sentence(found.choice)
    return Section(
        "leaderboard",
        "Leaderboard",
        (alike,) if alike else (),
        tables=(_without_empty_columns(table),),
        data=board.as_json(),
    )


def _without_empty_columns(table: PageTable) -> PageTable:
    """The table without the columns in which nothing is known, e.g. when files were removed."""
    kept = [
        index for index, column in enumerate(zip(*table.rows, strict=True)) if {*column} - {"-"}
    ]
    return dataclasses.replace(
        table,
        columns=tuple(table.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
    )


def folds(found: Gathered) -> Section | None:
    """Folds by trials, and how hard each fold is."""
    if not found.points:
        return None
    ease_K = found.statistics.adjusted.ease_K.tolist()
    goal = found.view.goal
    rows = tuple(
        (
            f"fold {fold + 1}",
            f"{ease:+.4f}",
            str(sum(len(point.folds) > fold for point in found.points)),
        )
        for fold, ease in enumerate(ease_K)
    )
    table = PageTable(
        "How much a fold scores above the mean of all folds", ("fold", "ease", "trials"), rows
    )
    sentences = about_folds(found.points, ease_K, goal=goal) or [
        "no fold is seen to be harder than the others"
    ]
    chart = fold_grid(found.points, ease_K, goal=goal)
    return Section("folds", "Folds", tuple(sentences), (chart,), (table,), data={"ease": ease_K})


def costs(found: Gathered) -> Section | None:
    """Cost against score, with the trials that no other one dominates."""
    timed = [point for point in found.points if point.seconds]
    if not timed:
        return None
    front = pareto(timed, goal=found.view.goal)
    rows = tuple((f"trial {p.trial}", f"{p.seconds or 0:.1f} s", f"{p.score:.4f}") for p in front)
    table = PageTable(
        "Of these complete trials none is both better and quicker",
        ("trial", "per fold run", found.view.metric),
        rows,
        trials=tuple(point.trial for point in front),
    )
    return Section(
        "cost",
        "Cost against score",
        charts=(cost(timed, front, metric=found.view.metric),),
        tables=(table,) if rows else (),
        data=[{"trial": p.trial, "seconds_per_fold": p.seconds, "score": p.score} for p in front],
    )


def curves(found: Gathered) -> Section | None:
    """The learning curves of the best trials."""
    known = found.curves()
    if not known:
        return None
    last = [statistics.fmean(fold[-1][1] for fold in folds) for folds in known.values()]
    return Section(
        "curves",
        "Learning curves",
        charts=(learning_curves(known, metric=found.view.metric),),
        data=dict(zip(known, last, strict=True)),
    )


def endings(found: Gathered) -> Section | None:
    """Why trials failed, and which rule stopped the others after which fold."""
    failed = failures(found.view)
    stopped = collections.Counter(
        (_rule(reason(trial)), len(fold_scores(trial)))
        for trial in found.view.trials
        if trial.state == TrialState.PRUNED
    )
    if not failed and not stopped:
        return None
    of_reason: dict[str, list[int]] = {}
    for number, why in failed.items():
        of_reason.setdefault(NUMBER.sub("…", why), []).append(number)
    tables = []
    if failed:
        rows = tuple(
            (str(len(numbers)), ", ".join(map(str, numbers[:12])), failed[numbers[0]])
            for numbers in sorted(of_reason.values(), key=len, reverse=True)
        )
        tables.append(PageTable("Failed", ("trials", "numbers", "reason of the first"), rows))
    if stopped:
        rows = tuple(
            (rule, str(done), str(count)) for (rule, done), count in sorted(stopped.items())
        )
        tables.append(PageTable("Stopped early", ("rule", "finished folds", "trials"), rows))
    return Section(
        "endings",
        "Failed and stopped trials",
        tables=tuple(tables),
        data={
            "failed": failed,
            "stopped": [
                {"rule": rule, "folds": done, "trials": count}
                for (rule, done), count in sorted(stopped.items())
            ],
        },
    )


def _rule(why: str) -> str:
    """The rule that stopped a trial: what stands before the colon of its reason."""
    return why.partition(":")[0] if ":" in why else why or "unknown"


def spec(found: Gathered) -> Section | None:
    """The search space as it is now."""
    try:
        text = found.files.spec.read_text()
    except OSError:
        return None
    return Section("spec", "Search space", text=text, data=text)
