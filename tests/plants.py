"""Planted words and times, and the search for them: in every form in which bytes could carry them.

Not searched for, because it is meant to leave: the numbers of an answer (a row of the catalogue with a weight,
which only masks and noise protect, and which a trusted edge sees) and the pseudonym. The catalogue's ids are public,
but travel in bundles only, so they are searched for everywhere else.
"""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import logging
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

LONG = 8
"""Forms from so many bytes on are not met by chance in a gigabyte (2^-34 each)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A plant where none may be."""

    plant: str | int
    form: str
    place: str


def forms_of(plant: str | int) -> dict[str, bytes]:
    """How a word or a time (Unix seconds) may be written."""
    if isinstance(plant, str):
        return _forms_of_text(plant)
    moment = datetime.fromtimestamp(plant, UTC)
    texts = {"decimal": str(plant), "hexadecimal": f"{plant:x}", "date": f"{moment:%Y-%m-%dT%H:%M:%S}"}
    texts["date with a blank"] = f"{moment:%Y-%m-%d %H:%M:%S}"
    forms = {f"{name}, {form}": data for name, text in texts.items() for form, data in _forms_of_text(text).items()}
    for order, unit in (("<", "little"), (">", "big")):
        forms[f"int32, {unit}-endian"] = struct.pack(f"{order}i", plant)
        for scale, name in ((1, "seconds"), (1000, "milliseconds"), (10**6, "microseconds")):
            forms[f"int64 of {name}, {unit}-endian"] = struct.pack(f"{order}q", plant * scale)
            forms[f"float64 of {name}, {unit}-endian"] = struct.pack(f"{order}d", plant * scale)
    return forms


def _forms_of_text(text: str) -> dict[str, bytes]:
    raw = text.encode()
    forms = {
        "as it is": raw,
        "capitals": text.upper().encode(),
        "backwards": raw[::-1],
        "UTF-16": text.encode("utf-16-le"),
        "UTF-32": text.encode("utf-32-le"),
        "JSON": json.dumps(text)[1:-1].encode(),
        "URL": urllib.parse.quote(text).encode(),
        "form": urllib.parse.quote_plus(text).encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "base32": base64.b32encode(raw).rstrip(b"="),
        "base85": base64.b85encode(raw),
    }
    for shift in range(3):  # what every base64 of bytes that hold the text has in common
        part = base64.b64encode(bytes(shift) + raw)[(0, 2, 3)[shift] :].rstrip(b"=")[:-1]
        forms[f"base64, at {shift}"] = part
        forms[f"base64 for URLs, at {shift}"] = part.translate(bytes.maketrans(b"+/", b"-_"))
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        digest = hashlib.new(name, raw, usedforsecurity=False)
        forms[name], forms[f"{name}, hex"] = digest.digest(), digest.hexdigest().encode()
    return forms


def find(plants: list[str | int], places: Mapping[str, bytes], *, shortest: int = 1) -> list[Found]:
    """Where plants are, compressed files opened.

    Args:
        places: name to bytes.
        shortest: leave out forms of fewer bytes, where bytes differ from run to run.
    """
    found = []
    opened = {name: data for place, content in places.items() for name, data in _opened(place, content)}
    for plant in plants:
        for form, needle in forms_of(plant).items():
            if len(needle) >= shortest:
                found += [Found(plant, form, place) for place, data in opened.items() if needle in data]
    return found


def _opened(place: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield place, data
    if data.startswith(b"\x1f\x8b"):
        with contextlib.suppress(OSError, EOFError):
            yield f"{place} (gunzipped)", gzip.decompress(data)
    elif data[:1] == b"\x78":
        with contextlib.suppress(zlib.error):
            yield f"{place} (inflated)", zlib.decompress(data)
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from _opened(f"{place}/{name}", archive.read(name))
    elif data.startswith(b"PAR1"):
        from pyarrow import parquet

        yield f"{place} (read)", str(parquet.read_table(io.BytesIO(data)).to_pydict()).encode()


@contextlib.contextmanager
def all_logs() -> Iterator[io.StringIO]:
    """What any logger says meanwhile, at every level."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.NOTSET)
    loggers = [logging.getLogger(name) for name in (None, "flwr", "ray", "backrow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
