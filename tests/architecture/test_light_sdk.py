"""The device SDK stays light: what importing it loads, and how much memory that takes."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "flwr", "ray", "pandas", "scipy", "opacus", "dp_accounting", "typer", "rich", "pydantic"}
PROBE = """
import json, re, sys
import numpy, cryptography
{}
kib = int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
print(json.dumps([kib, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def probe(statement: str) -> tuple[int, set[str]]:
    """Resident KiB and top-level modules of a fresh interpreter after the statement."""
    done = subprocess.run([sys.executable, "-c", PROBE.format(statement)], capture_output=True, text=True, check=True)
    resident, modules = json.loads(done.stdout)
    return resident, set(modules)


def test_importing_the_sdk_loads_no_heavy_package() -> None:
    _, modules = probe("import backrow.client")
    assert "backrow" in modules
    assert HEAVY & modules == set()


def test_the_probe_would_see_a_heavy_package() -> None:
    assert "scipy" in probe("import scipy")[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("ground", "most"),
    [
        ("pass", 10),  # `import cryptography` alone loads nothing of it: 6.5 of these MiB are its OpenSSL
        ("import cryptography.hazmat.primitives.ciphers.aead", 4),
    ],
)
def test_the_sdk_takes_few_mebibytes_more_than_numpy_and_cryptography(ground: str, most: float) -> None:
    alone = min(probe(ground)[0] for _ in range(3))
    sdk = min(probe(f"{ground}\nimport backrow.client")[0] for _ in range(3))
    assert (sdk - alone) / 1024 <= most
