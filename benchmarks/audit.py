"""How long an audit takes: 100,000 entries, and 1,000 rounds with 4,096 noise measurements each.

Run: python benchmarks/audit.py
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measure(name: str, rounds: int, sentinels: int) -> None:
    """Write an honest ledger of so many rounds, and verify it in a process of its own."""
    sys.path.insert(0, str(ROOT))
    from tests.ledgers import honest, write

    with tempfile.TemporaryDirectory() as folder:
        run = write(Path(folder) / "run", honest([1 / rounds] * rounds, sentinels=sentinels, rows=sentinels + 6))
        size = (run / "ledger.jsonl").stat().st_size
        done = subprocess.run([sys.executable, __file__, str(run)], check=True, capture_output=True, text=True)
    print(f"| {name} | {size / 1e6:.0f} MB | {done.stdout.strip()} |", flush=True)


def verify_alone(run: Path) -> None:
    """Verify one run and print what it took."""
    from backrow.privacy.audit.verify import verify

    started, busy = time.monotonic(), time.process_time()
    report = verify(run)
    seconds, busy = time.monotonic() - started, time.process_time() - busy
    assert report.passed, report.findings
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{report.entries:,} | {seconds:.1f} s | {busy:.1f} s | {peak:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="verify this run alone")
    asked = parser.parse_args()
    if asked.run:
        verify_alone(asked.run)
    else:
        print("| ledger | file | entries | time | processor | peak memory |\n|---|---|---|---|---|---|")
        measure("1,000 rounds", 1_000, 64)
        measure("1,000 rounds, 4,096 measurements each", 1_000, 4_096)
        measure("49,997 rounds", 49_997, 0)
