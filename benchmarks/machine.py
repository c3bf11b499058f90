"""What a benchmark says of the machine that it ran on, and of itself."""

import argparse
from pathlib import Path


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "this machine"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "this machine")


def no_options(about: str | None) -> None:
    """Answer `--help` with a benchmark's own words, and refuse whatever else it is told."""
    argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
