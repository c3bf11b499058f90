"""Engine `flower`: Flower's simulation runtime, whose nodes run in Ray actors."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

# With usage statistics off, Ray's dashboard process still asks cloud metadata servers where it runs. A proxy
# that refuses keeps even that on this machine.
_NO_WAY_OUT = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "127.0.0.1,localhost",
}


def run_flower(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Run a ServerApp to its end against `nodes` Flower nodes.

    Ray uses one CPU per node, as many at once as the machine has; nothing listens or asks beyond this machine.

    Raises:
        RuntimeError: Flower reports that the run failed.
    """
    backend: dict[str, dict[str, Any]] = {
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
    with warnings.catch_warnings(), _environment(_NO_WAY_OUT):
        warnings.simplefilter("ignore", DeprecationWarning)
        run_simulation(server_app, client_app, num_supernodes=nodes, backend_config=backend)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
