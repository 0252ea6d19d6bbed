"""The report of a sweep: all sections, from what was read."""

from pathlib import Path

from sweeps.errors import InputError
from sweeps.reporting import sections, trial_sections
from sweeps.reporting.document import Report
from sweeps.reporting.gathered import Gathered
from sweeps.results.chosen import Choice
from sweeps.results.view import SweepView, sweep_files
from sweeps.space.yaml_file import YamlFile

# in the order of the page
SECTIONS = (
    sections.takeaways,
    sections.progress,
    sections.importance,
    sections.choices,
    sections.leaderboard,
    trial_sections.parallel,
    trial_sections.parameters,
    sections.folds,
    sections.costs,
    sections.curves,
    trial_sections.classes,
    trial_sections.errors,
    sections.endings,
    sections.spec,
)


def make_report(view: SweepView, *, runs: Path, choice: Choice | None) -> Report:
    """Return the report of a sweep that was read.

    Args:
        runs: the folder of all results.
        choice: what the sweep ships; None if nothing can be chosen.

    Raises:
        InputError, DataError: the sweep's directory or its folds are missing or damaged.
    """
    files = sweep_files(view.sweep, runs=runs)
    found = Gathered.of(view, runs=runs, files=files, choice=choice)
    made = (section(found) for section in SECTIONS)
    return Report(
        title=view.name,
        question=_description(found),
        facts=sections.facts(found),
        sections=tuple(section for section in made if section is not None),
    )


def refuse_unfinished(view: SweepView) -> None:
    """Check that there is something to report.

    Raises:
        InputError: no trial is finished.
    """
    if not any(trial.state.is_finished() for trial in view.trials):
        raise InputError(
            f"sweep {view.name!r} has no finished trial yet. `sweeps status` shows how it goes"
        )


def _description(found: Gathered) -> str:
    """The description in the search space; empty without one."""
    if not found.files.spec.is_file():
        return ""
    description = YamlFile(found.files.spec).values.get("description")
    return "" if description is None else str(description)
