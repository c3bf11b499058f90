"""The operator's command line: `backrow opt-out`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from backrow.privacy.errors import SuppressionError
from backrow.privacy.statements import LONGEST_STATEMENT
from backrow.server.suppression import COORDINATOR, SUPPRESSION, SuppressionList, read_enrolled


def opt_out(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder, or the coordinator's own folder.")],
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="What the owner's device has signed.")],
) -> None:
    """Put a signed opt-out on a coordinator's list. It binds from the next round on, and a sum not yet frozen.

    The request is checked against the identity key under which the device is enrolled. A signed grant of everything
    that is newer lifts it again; nothing that was spent comes back.
    """
    where = _coordinator(folder)
    suppression = SuppressionList.open(where)
    enrolled = read_enrolled(where)
    with request.open("rb") as file:
        signed = file.read(LONGEST_STATEMENT + 1)
    if not suppression.add(signed, enrolled, int(time.time())):
        said = "Nothing new: the list holds this very statement already"
    else:
        said = "Heard, and on disk: it binds from the next round on"
    people = len(suppression.opted_out)
    typer.echo(f"{said}. On the list: {people} {'device' if people == 1 else 'devices'}.")


def _coordinator(folder: Path) -> Path:
    """The folder with the list."""
    for place in (folder, folder / COORDINATOR):
        if (place / SUPPRESSION).exists():
            return place
    raise SuppressionError(f"{folder} holds no list of opt-outs: name a run folder, or the coordinator's own folder")
