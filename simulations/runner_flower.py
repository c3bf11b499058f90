"""Engine `flower`: Flower's simulation runtime, whose nodes run in Ray actors."""

import logging
import os
import warnings

from backrow.simulations import telemetry

telemetry.switch_off()

from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp import ServerApp  # noqa: E402
from flwr.simulation import run_simulation  # noqa: E402


def run_flower(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Run a ServerApp to its end against `nodes` Flower nodes.

    Ray uses one CPU per node, as many at once as the machine has; nothing listens beyond this machine.

    Raises:
        RuntimeError: Flower reports that the run failed.
    """
    backend = {
        "init_args": {
            "num_cpus": os.cpu_count() or 1,
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
        },
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "actor": {"tensorflow": 0},
    }
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run_simulation(server_app, client_app, num_supernodes=nodes, backend_config=backend)
