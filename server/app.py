"""The Flower ServerApp: runs one coordinator over whatever grid Flower gives it."""

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from backrow.server.strategy import Coordinator, Outcome


def make_server_app(coordinator: Coordinator, finish: Callable[[Outcome], None]) -> ServerApp:
    """A ServerApp that runs `coordinator` once and hands its outcome to `finish`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        finish(coordinator.run(grid))

    return app
