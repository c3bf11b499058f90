"""Flower's and Ray's telemetry, off. Imported before either of them."""

import os

OFF = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def switch_off() -> None:
    """Set the variables that both read when imported; inherited by every process they start."""
    os.environ.update(OFF)


switch_off()
