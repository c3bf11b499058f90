"""How long an audit takes: 100,000 entries, and 1,000 rounds with 4,096 noise measurements each.

Run: python benchmarks/audit.py
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backrow.privacy.audit.verify import verify
from tests.ledgers import KEY, honest, write


def measure(name: str, rounds: int, sentinels: int) -> None:
    """Write an honest ledger of so many rounds and verify it."""
    with tempfile.TemporaryDirectory() as folder:
        run = write(Path(folder) / "run", honest([1 / rounds] * rounds, sentinels=sentinels, rows=sentinels + 6))
        size = (run / "ledger.jsonl").stat().st_size
        started, busy = time.monotonic(), time.process_time()
        report = verify(run, KEY.public)
        seconds, busy = time.monotonic() - started, time.process_time() - busy
        assert report.passed, report.findings
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name}: {report.entries:,} entries, {size / 1e6:.0f} MB: {seconds:.1f} s ({busy:.1f} s of processor), "
            f"peak {peak:.0f} MiB"
        )


if __name__ == "__main__":
    measure("1,000 rounds", 1_000, 64)
    measure("1,000 rounds, 4,096 measurements each", 1_000, 4_096)
    measure("49,997 rounds", 49_997, 0)
