"""Run a command and learn what it, and every Python process it starts, tried to reach beyond this machine.

The guard is a `sitecustomize` module put first on PYTHONPATH, so that child processes (Ray's workers,
too) are watched as well. It uses Python's audit hooks. An attempt is refused and recorded.

Seen: connections, datagrams, host look-ups by Python code. Not seen: code that calls the operating
system itself (Ray's C++ daemons, gRPC's C core) and Python started with -I, -E or an emptied environment.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG = "BACKROW_EGRESS_LOG"

PLANTED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("egress_guard", {guard!r})
sys.modules["egress_guard"] = guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
guard.watch()
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to reach another machine.

    Attributes:
        process: the command line of the process that tried.
        call: the audited call, such as `socket.connect`.
        target: host and port, or the name looked up.
    """

    process: str
    call: str
    target: str


def run_guarded(
    command: Sequence[str], env: Mapping[str, str] | None = None, *, timeout: float = 600, cwd: Path | None = None
) -> tuple[subprocess.CompletedProcess[str], list[Attempt]]:
    """Run `command` under the guard; returns its result and the attempts, in the order they were made.

    Args:
        command: program and arguments.
        env: the whole environment of the command; None means this process's own.
        timeout: seconds after which the command is killed and subprocess.TimeoutExpired raised.
        cwd: where it runs; None means here.
    """
    with tempfile.TemporaryDirectory(prefix="egress-") as folder:
        log = Path(folder) / "attempts.jsonl"
        log.touch()
        (Path(folder) / "sitecustomize.py").write_text(PLANTED.format(guard=str(Path(__file__).resolve())))
        guarded = dict(os.environ if env is None else env)
        guarded["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, guarded.get("PYTHONPATH")]))
        guarded[LOG] = str(log)
        result = subprocess.run(
            command, env=guarded, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )
        return result, [Attempt(**json.loads(line)) for line in log.read_text().splitlines()]


def watch() -> None:
    """Refuse and record every attempt of this process from now on. Called by the planted sitecustomize."""
    import socket

    log = os.environ[LOG]

    def refuse(call: str, target: object) -> None:
        process = " ".join(getattr(sys, "orig_argv", sys.argv))
        line = json.dumps({"process": process, "call": call, "target": str(target)}) + "\n"
        # One write in append mode: processes share the file.
        handle = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.write(handle, line.encode())
        os.close(handle)
        raise OSError(f"egress guard: {call} to {target} refused")

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        match event, arguments:
            case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (socket.SocketType() as peer, address, *_)):
                # Connecting a datagram socket sends nothing (Ray finds its own address that way); sending is seen.
                address = peer.getpeername() if address is None else address
                silent = event == "socket.connect" and peer.type == socket.SOCK_DGRAM
                if not silent and not _is_here(address):
                    refuse(event, address)
            case (("socket.getaddrinfo" | "socket.gethostbyname" | "socket.gethostbyaddr"), (host, *_)):
                if not _is_here((host,)):
                    refuse(event, host)
            case _:
                pass

    def send(peer: socket.socket, *arguments: object) -> int:
        # `send` on a connected datagram socket raises no audit event.
        if peer.type == socket.SOCK_DGRAM and not _is_here(peer.getpeername()):
            refuse("socket.send", peer.getpeername())
        return plain_send(peer, *arguments)  # type: ignore[arg-type]

    plain_send = socket.socket.send
    socket.socket.send = send  # type: ignore[method-assign, assignment]
    sys.addaudithook(audit)


def _is_here(address: object) -> bool:
    """True for a path (unix socket), no address at all, this machine's names and its own addresses."""
    import ipaddress
    import socket

    if not (isinstance(address, tuple) and address):
        return True
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        ip = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    if ip.is_loopback or ip.is_unspecified:
        return True
    with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6) as probe:
        try:
            probe.bind((str(ip), 0))  # only this machine's own addresses can be bound
        except OSError:
            return False
    return True
