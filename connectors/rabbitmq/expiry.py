"""Until when a certificate is valid, read off its bytes: the standard library tells that of verified ones alone."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["expiry", "expiry_of_file"]

_CONTEXT, _YEARS_OF_TWO = 0xA0, 0x17


def expiry(certificate: bytes) -> float:
    """When a certificate, as DER, ends, in seconds since 1970. Raises `ValueError` where it is none."""
    try:
        _, body, _ = _part(certificate, 0)
        _, fields, _ = _part(certificate, body)
        tag, _, after = _part(certificate, fields)
        # Serial number, algorithm and issuer stand before the validity, and the version, which may be left out.
        at = after if tag == _CONTEXT else fields
        for _ in range(3):
            _, _, at = _part(certificate, at)
        _, begins, _ = _part(certificate, at)
        _, _, ends = _part(certificate, begins)
        tag, first, last = _part(certificate, ends)
        text = certificate[first:last].decode("ascii")
        if tag == _YEARS_OF_TWO:
            text = f"{'19' if text >= '50' else '20'}{text}"
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError) as error:
        raise ValueError(f"it is no certificate ({error})") from error


def expiry_of_file(path: Path) -> float:
    """The same of the first certificate in a PEM file."""
    text = path.read_text()
    start, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER)
    return expiry(ssl.PEM_cert_to_DER_cert(text[start : end + len(ssl.PEM_FOOTER)]))


def _part(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, beginning and end of what is written at a place."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(data[at : at + size]), at + size
    return tag, at, at + length
