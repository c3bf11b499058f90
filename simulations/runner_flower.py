"""Engine `flower`: Flower's simulation runtime, whose nodes run in Ray actors."""

import logging
import os
import time
import warnings

from backrow.simulations import telemetry

telemetry.switch_off()

from flwr.app import Context  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp import Grid, ServerApp  # noqa: E402
from flwr.simulation import run_simulation  # noqa: E402

REGISTRATION = 60.0
"""Seconds that nodes may take to appear after Flower has started the ServerApp."""


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
        run_simulation(_waiting(server_app, nodes), client_app, num_supernodes=nodes, backend_config=backend)


def _waiting(server_app: ServerApp, nodes: int) -> ServerApp:
    """Flower starts the ServerApp before it registers the nodes: the same app, once all of them are there."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        until = time.monotonic() + REGISTRATION
        while len(list(grid.get_node_ids())) < nodes and time.monotonic() < until:
            time.sleep(0.05)
        server_app(grid, context)

    return app
