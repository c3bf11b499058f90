"""The guard of `tests/egress_guard.py` must see what it is trusted to see."""

import os
import sys

import pytest

from tests.egress_guard import run_guarded

# RFC 5737 (TEST-NET-3) and RFC 2606: an address and a name that belong to nobody.
ADDRESS, NAME = "203.0.113.7", "telemetry.invalid"

DATAGRAM = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('{ADDRESS}', 53)); "
ATTEMPTS = {
    "socket.connect": f"import socket; socket.socket().connect(('{ADDRESS}', 443))",
    "socket.getaddrinfo": f"import urllib.request; urllib.request.urlopen('https://{NAME}/')",
    "socket.gethostbyname": f"import socket; socket.gethostbyname('{NAME}')",
    "socket.sendto": f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{ADDRESS}', 53))",
    "socket.send": DATAGRAM + "s.send(b'x')",
    "socket.sendmsg": DATAGRAM + "s.sendmsg([b'x'])",
}

AT_HOME = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
socket.create_connection(("localhost", server.getsockname()[1]))
left, right = socket.socketpair()
left.send(b"x")
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.connect(("203.0.113.7", 53))  # how Ray asks for its own address: sends nothing
"""

RAY = """
import socket
import ray

@ray.remote
def call_out():
    try:
        socket.create_connection(("203.0.113.7", 443), timeout=1)
    except OSError as refused:
        return str(refused)

ray.init(num_cpus=1, include_dashboard=False, configure_logging=False)
assert "egress guard" in ray.get(call_out.remote())
"""


@pytest.mark.parametrize("call", ATTEMPTS)
def test_an_attempt_is_refused_and_recorded(call: str) -> None:
    result, attempts = run_guarded([sys.executable, "-c", ATTEMPTS[call]])
    assert result.returncode == 1
    assert "egress guard" in result.stderr
    assert [attempt.call for attempt in attempts] == [call]
    assert ADDRESS in attempts[0].target or NAME in attempts[0].target


def test_an_attempt_of_a_grandchild_is_recorded_though_nobody_looks_at_its_result() -> None:
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ATTEMPTS['socket.connect']!r}])"
    result, attempts = run_guarded([sys.executable, "-c", grandchild])
    assert result.returncode == 0
    assert len(attempts) == 1
    assert ADDRESS in attempts[0].process


def test_talk_within_this_machine_is_let_through() -> None:
    result, attempts = run_guarded([sys.executable, "-c", AT_HOME])
    assert result.stderr == ""
    assert result.returncode == 0
    assert attempts == []


def test_the_given_environment_is_kept() -> None:
    show = "import os; print(os.environ['GIVEN'], os.environ['PYTHONPATH'].split(os.pathsep)[1:])"
    result, _ = run_guarded([sys.executable, "-c", show], {**os.environ, "GIVEN": "yes", "PYTHONPATH": "own"})
    assert result.stdout.split() == ["yes", "['own']"]


@pytest.mark.ray
def test_an_attempt_of_a_ray_worker_is_recorded() -> None:
    # Ray's dashboard process asks for cloud metadata even with usage statistics off; a dead proxy keeps it at home.
    dead = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    result, attempts = run_guarded([sys.executable, "-c", RAY], {**os.environ, **dead})
    assert result.returncode == 0, result.stderr
    assert [attempt.target for attempt in attempts] == [ADDRESS]
    assert "default_worker" in attempts[0].process
