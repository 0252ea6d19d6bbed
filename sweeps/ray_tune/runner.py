"""Tune runs the driver's trials on a cluster."""

import functools
import shutil
import tempfile
import uuid
from typing import Any

import ray
from ray import tune

from sweeps.driver import Driver
from sweeps.errors import InfrastructureError
from sweeps.messages import RunTrial
from sweeps.ray_tune.cluster import Cluster, gpu_share, trials_at_once
from sweeps.ray_tune.registry import DRIVERS
from sweeps.ray_tune.scheduler import DriverScheduler
from sweeps.ray_tune.searcher import DriverSearcher
from sweeps.ray_tune.worker import evaluate

RETRIES = 2  # of a dead worker process, from the trial's last checkpoint


def run_on_ray(driver: Driver, cluster: Cluster, *, trial: RunTrial | None = None) -> None:
    """Evaluate trials on Ray until the driver has no more. The driver is already entered.

    Args:
        trial: what a worker does with an assignment; None for `sweeps.trial.run_trial`, which only the
            workers import: torch takes seconds that this process does not have to spend.

    Raises:
        InfrastructureError: Ray is gone; what was done is recorded.
    """
    resources, key = driver.spec.resources, uuid.uuid4().hex
    at_once = trials_at_once(resources, cluster)
    tune_folder = tempfile.mkdtemp(prefix="foldsweep-tune-")
    trainable = tune.with_resources(
        functools.partial(evaluate, run_trial=trial),
        {"cpu": resources.cpu, "gpu": gpu_share(resources, gpus=cluster.gpus)},
    )
    DRIVERS[key] = driver
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=DriverSearcher(key),
                scheduler=DriverScheduler(key),
                num_samples=-1,
                max_concurrent_trials=at_once,  # else Ray asks one trial ahead
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=tune_folder,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        ).fit()
    except (tune.TuneError, ray.exceptions.RayError) as error:
        raise InfrastructureError(
            f"Ray stopped ({str(error).strip().splitlines()[0]}). What was done is recorded: run the same command "
            "again to continue"
        ) from error
    else:
        if not driver.done:  # a killed raylet lets fit() return as if all were well
            raise InfrastructureError("Ray ended before the sweep did. Run the same command again to continue")
    finally:
        del DRIVERS[key]
        shutil.rmtree(tune_folder, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['assignment']['number']:04d}-{trial.trial_id}"
