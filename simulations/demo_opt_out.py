"""The demo's last act: one viewer opts out, on a real device."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from backrow.client.egress import Egress
from backrow.client.recommend import Pick
from backrow.privacy.consent import EVERYTHING, Purpose
from backrow.privacy.units import Adjacency, PrivacyUnit
from backrow.simulations import console
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.opt_out import PROOF, OptOut, opt_out
from backrow.simulations.opt_out_rounds import DELTA, MINIMUM, OWNERS
from backrow.simulations.training import coordinator_key
from backrow.simulations.viewer import PUBLIC_KEY
from backrow.simulations.wording import size, spent


def show_opt_out(bundle: Path, dataset: Dataset, seed: int, folder: Path, shelf: Sequence[Pick]) -> None:
    """Run it and print it.

    Args:
        bundle: the model on every device.
        seed: of the coordinator's key that signed it.
        folder: to keep the ledger in; must not exist.
        shelf: what the first viewer was shown before.
    """
    console.say(f"\nviewer {dataset.viewers[0]} opts out, on a real device among {OWNERS}, in secure sums", "bold")
    print_opt_out(opt_out(bundle, dataset, coordinator_key(seed), folder, now=int(time.time())), shelf)


def print_opt_out(act: OptOut, shelf: Sequence[Pick]) -> None:
    """What left, what she said, what stayed the same, and where to check it."""
    console.out.print(_table(act, shelf))
    released = sum(entry.releases for moment in act.moments for entry in moment.left)
    console.say(
        f"epsilon: delta {DELTA:g}, unit {PrivacyUnit.DEVICE}, adjacency {Adjacency.ZERO_OUT}, by zCDP, {released} "
        f"release{'' if released == 1 else 's'}. So that it takes seconds and can be repeated to the byte, these "
        f"devices draw from seeds and accept sums of {MINIMUM}: that protects nobody.",
        "dim",
    )
    console.say("what left, by her device's log:")
    for entry in (*(entry for moment in act.moments for entry in moment.left), *act.told):
        console.say(f"  {entry}", "dim")
    console.say("what she said, by its signed receipts:")
    said = [receipt for receipt in act.receipts if receipt.record.purpose in (Purpose.TRAIN, EVERYTHING)]
    for receipt in said:
        console.say(f"  {receipt}", "dim")
    if others := len(act.receipts) - len(said):
        console.say(f"  and {others} more, about purposes that she had never allowed", "dim")
    for sentence in findings(act):
        console.say(sentence)


def _table(act: OptOut, shelf: Sequence[Pick]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for head in ("round 1: allows", "round 2: withdraws", "round 3: opted out"):
        table.add_column(head, justify="right")
    rows = {
        "calls to her device": [str(moment.asked) for moment in act.moments],
        "leaves her device": [
            _left(moment.left, act.told if moment is act.moments[-1] else ()) for moment in act.moments
        ],
        "costs her, epsilon": [spent(sum(entry.epsilon for entry in moment.left)) for moment in act.moments],
        "in the sum": [f"{moment.took_part} of {moment.invited} asked" for moment in act.moments],
        "recommendations": [
            "as above" if [pick.title for pick in moment.picks] == [pick.title for pick in shelf] else "others"
            for moment in act.moments
        ],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _left(answers: Sequence[Egress], told: Sequence[Egress]) -> str:
    """Args: told: her opt-out, by her own will."""
    bytes_left = size(sum(entry.bytes for entry in (*answers, *told)))
    if answers:
        return f"{len(answers)} messages, {bytes_left}"
    return f"opt-out, {bytes_left}" if told else "nothing"


def findings(act: OptOut) -> list[str]:
    """What was compared and proved, and what it means: sentences."""
    compared = act.same + len(act.different)
    said = f"the same rounds again, but with her device unplugged instead: of {compared} messages and files on the "
    said += f"coordinator's side ({size(act.size)}) "
    if act.different:
        said += f"{len(act.different)} differ, such as {act.different[0]}: it can tell that she withdrew"
    else:
        said += "each is the same, byte for byte: by them a withdrawal is a pulled plug"
    where = act.folder
    return [
        said,
        f"she is not in round 3, and the ledger proves it (entry {act.absent}; its audit: {act.findings} findings): "
        f"backrow audit check-proof {where / PROOF} --key {where / PUBLIC_KEY}",
        "what changed: nothing leaves her device, and since round 3 nobody may even ask it. What did not: what it "
        "recommends, and round 1. Her answer there cannot be taken back out of the sum; its epsilon bounds it.",
    ]
