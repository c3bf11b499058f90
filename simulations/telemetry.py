"""Telemetry of Flower, Ray and MLflow, off. Imported before any of them."""

import os

OFF = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def switch_off() -> None:
    """Set the variables that they read when imported; inherited by every process they start."""
    os.environ.update(OFF)


switch_off()
