"""A sweep at W&B: its configuration in W&B's language, and its creation, once."""

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

from sweeps.errors import InputError
from sweeps.space.domains import Categorical, Constant, Domain, Numeric
from sweeps.space.kinds import DEPRECATED, DISTRIBUTIONS
from sweeps.space.language import read_space
from sweeps.space.parameters import Parameter
from sweeps.tracking.tracker import SweepFacts

# what W&B's client accepts, see `Settings.validate_project` of version 0.31
PROJECT_LENGTH = 128
NOT_IN_PROJECT = "/\\#?%:"
NO_PROJECTS = ("runs",)  # the client leaves this word out of the path of a run


def check_project(name: str) -> None:
    """Check that W&B accepts the name of a project.

    Raises:
        InputError: W&B does not accept the name.
    """
    found = [character for character in NOT_IN_PROJECT if character in name]
    if not name:
        problem = "is empty"
    elif len(name) > PROJECT_LENGTH:
        problem = f"has {len(name)} characters"
    elif found:
        problem = f"has {' and '.join(found)}"
    elif name in NO_PROJECTS:
        problem = "is a word of W&B's own addresses"
    else:
        return
    raise InputError(
        f"tracking.wandb.project: {name!r} {problem}. W&B takes names of 1 to {PROJECT_LENGTH} "
        f"characters without {' '.join(NOT_IN_PROJECT)}"
    )


def to_wandb(facts: SweepFacts) -> dict[str, Any]:
    """The sweep as a W&B sweep configuration.

    W&B only shows the sweep: `method: custom` keeps its server from choosing points, and without
    `run_cap` and `early_terminate` it ends nothing. Conditions (`when`) are left out, W&B's
    language has none. The uuid stands in the description, by which `find` recognises the sweep.

    Example:
        >>> facts = SweepFacts(
        ...     name="toy", uuid="1234", description="", metric="valid/f1", goal="maximize",
        ...     k=5, max_epochs=4, directory=Path("runs/toy"),
        ...     spec={"parameters": {"lr": {"min": 0.1, "max": 0.2}}})
        >>> to_wandb(facts)["parameters"]
        {'lr': {'distribution': 'uniform', 'min': 0.1, 'max': 0.2}}
    """
    space, _ = read_space(facts.spec["parameters"])  # its problems were reported long ago
    return {
        "name": facts.name,
        "description": f"{facts.description}\n\n{_mark(facts)}".strip(),
        "method": "custom",
        "metric": {"name": facts.metric, "goal": facts.goal},
        "parameters": {parameter.name: _entry(parameter) for parameter in space.parameters},
    }


def _mark(facts: SweepFacts) -> str:
    return f"foldsweep sweep {facts.uuid}"


def _entry(parameter: Parameter) -> dict[str, Any]:
    """The parameter in W&B's language, with its distribution by name.

    Deprecated distributions become those that took their place. A range of one number, which only
    we allow, becomes a constant.
    """
    domain = parameter.domain
    if isinstance(domain, Numeric):
        if domain.low == domain.high:
            domain = Constant(domain.low)
        else:
            kind = DEPRECATED.get(parameter.distribution, parameter.distribution)
            return {"distribution": kind, **_numbers(kind, domain)}
    return _listed(domain)


def _listed(domain: Domain) -> dict[str, Any]:
    if isinstance(domain, Constant):
        return {"distribution": "constant", "value": domain.value}
    assert isinstance(domain, Categorical)
    if domain.probabilities is None:
        return {"distribution": "categorical", "values": list(domain.values)}
    return {
        "distribution": "categorical_w_probabilities",
        "values": list(domain.values),
        "probabilities": list(domain.probabilities),
    }


def _numbers(kind: str, domain: Numeric) -> dict[str, float]:
    """The numbers that the distribution `kind` takes, by W&B's keys."""
    law = {} if domain.law is None else dataclasses.asdict(domain.law)
    known = {
        "min": law.pop("low", domain.low),
        "max": law.pop("high", domain.high),
        "q": domain.q,
        **law,
    }
    keys = DISTRIBUTIONS[kind]
    return {key: known[key] for key in (*keys.needs, *keys.takes)}


def create(facts: SweepFacts, *, entity: str, project: str, folder: Path) -> str:
    """The id of the sweep at W&B, which is created if it is not there.

    The client gives up a creation whose answer does not come; the server may have carried it out,
    even several times. So a file marks that a creation was tried, and where it stands, the sweep
    is looked for before it is created again. Of several copies the first that W&B lists counts.

    Args:
        folder: of the tracker, for the mark.

    Raises:
        Exception: of the client, if W&B does not answer or refuses.
    """
    import wandb

    tried = folder / "creating"
    found = find(facts, entity=entity, project=project) if tried.exists() else None
    if found is None:
        tried.touch()
        with contextlib.redirect_stdout(sys.stderr):  # it prints the id and the address
            found = wandb.sweep(to_wandb(facts), entity=entity, project=project)
    return str(found)


def find(facts: SweepFacts, *, entity: str, project: str) -> str | None:
    """The id of the sweep of this uuid in a project at W&B, or None.

    This asks W&B once for each of the project's sweeps until it is found.
    """
    import wandb

    sweeps = wandb.Api().project(project, entity).sweeps()
    try:
        return next((s.id for s in sweeps if _mark(facts) in (s.description or "")), None)
    except ValueError:  # there is no such project yet
        return None
