"""What importing the device SDK costs: modules and resident memory, above numpy and cryptography alone.

.venv/bin/python benchmarks/sdk.py     # writes benchmarks/results/sdk.md
"""

import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from machine import no_options

RESULTS = Path(__file__).parent / "results"
BARE = "import numpy, cryptography"
ALONE = "import numpy, cryptography.hazmat.primitives.ciphers.aead"
"""The first loads next to nothing of cryptography; the second what any user of its ciphers loads."""
PROBE = """
import json, resource, sys, time
{before}
started = time.perf_counter()
{statement}
seconds = time.perf_counter() - started
pages = int(open("/proc/self/statm").read().split()[1])
heavy = sorted({{"torch", "flwr", "ray", "pandas", "scipy"}} & set(sys.modules))
print(json.dumps([pages * resource.getpagesize() / 2**20, seconds, heavy]))
"""
RUNS = 9


def probe(before: str, statement: str) -> tuple[float, float, list[str]]:
    """Resident MiB, seconds of the statement and heavy modules loaded, in a fresh interpreter."""
    code = PROBE.format(before=before, statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    resident, seconds, heavy = json.loads(done.stdout)
    return resident, seconds, heavy


def main() -> None:
    """Medians over fresh interpreters, taken in turn."""
    runs = [(probe("", ALONE), probe(ALONE, "import backrow.client"), probe("", BARE)) for _ in range(RUNS)]
    alone = statistics.median(ground[0] for ground, _, _ in runs)
    sdk = statistics.median(ours[0] for _, ours, _ in runs)
    bare = statistics.median(least[0] for _, _, least in runs)
    seconds = statistics.median(ours[1] for _, ours, _ in runs)
    heavy = sorted({name for _, ours, _ in runs for name in ours[2]})
    text = f"""# The device SDK

`python benchmarks/sdk.py` on {platform.machine()}, Python {platform.python_version()}
(medians of {RUNS} fresh interpreters)

| | |
|---|---|
| `{BARE}` (loads no cipher) | {bare:.1f} MiB resident |
| the same with its ciphers | {alone:.1f} MiB |
| with `backrow.client` | {sdk:.1f} MiB: {sdk - bare:.1f} and {sdk - alone:.1f} MiB more (asked: at most 10 MB more) |
| importing it, after them | {seconds * 1000:.0f} ms |
| torch, flwr, ray, pandas, scipy loaded | {", ".join(heavy) or "none"} |
"""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sdk.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    no_options(__doc__)
    main()
