"""What a benchmark says of the machine that it ran on."""

from pathlib import Path


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "this machine"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "this machine")
