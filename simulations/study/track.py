"""Figures of a sweep in MLflow, where the extra `track` is installed. Its usage telemetry is off (`telemetry`)."""

import os
from typing import Any

from backrow.privacy.errors import ScenarioError
from backrow.simulations import telemetry
from backrow.simulations.study.sweep import Sweep
from backrow.simulations.study.tables import FIGURES

_TERMS = ("epsilon", "delta", "unit", "adjacency", "releases", "trainer", "protocol", "seeds")


def require() -> None:
    """Refuse early where MLflow is missing.

    Raises:
        ScenarioError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("mlflow") is None:
        raise ScenarioError("--track needs MLflow, which is not installed: pip install 'backrow[track]'")


def track_sweep(sweep: Sweep, uri: str) -> int:
    """Log one MLflow run per point and protocol of a sweep; nothing of a single viewer, no names of people or machines.

    Args:
        uri: of the tracking server, sqlite:///FILE, or a folder.

    Returns:
        How many runs were logged.

    Raises:
        ScenarioError: MLflow is not installed, or does not take them.
    """
    require()
    telemetry.switch_off()
    if "://" not in uri or uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow asks to be told
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    lines = [line for line in sweep.summary() if line["seeds"]]
    try:
        client = MlflowClient(tracking_uri=uri)
        name = f"backrow {sweep.dataset} {sweep.split}"
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else client.create_experiment(name)
        for line in lines:
            _log(client, experiment, sweep, line)
    except (MlflowException, OSError) as problem:
        first = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ScenarioError(f"MLflow at {uri} does not take the figures ({first}); the sweep itself is kept") from None
    return len(lines)


def _log(client: Any, experiment: str, sweep: Sweep, line: dict[str, Any]) -> None:
    keys = [axis.key for axis in sweep.axes if axis.key in line]
    where = ", ".join(f"{key}={line[key]}" for key in keys)
    run = client.create_run(experiment, run_name=f"{line['model']} {where}".strip()).info.run_id
    for key in (*keys, *_TERMS):
        if line.get(key) is not None:
            client.log_param(run, key, line[key])
    for figure, short in FIGURES.items():
        for ending in ("", " sd", " low", " high"):
            if line[figure + ending] is not None:
                client.log_metric(run, short + ending.replace(" ", "_"), line[figure + ending])
    client.set_terminated(run)
