"""RFC 3161 timestamps of checkpoints: a third party's word for when a tree was there. Optional, off by default.

A checkpoint's own time is what its operator says; a witness's is that of a cosignature. A timestamping
authority's is for those who ask for one that courts know. What is stamped are the bytes of the published note.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from pactstream.errors import Fatal, InvalidInput

Authority: TypeAlias = Callable[[bytes], bytes]
"""Sends a TimeStampReq (DER) to an authority; returns its TimeStampResp. Raises `Fatal` if there is none."""


class Stamp(NamedTuple):
    """An authority's answer (DER, as `openssl ts -verify` takes it) and the time in it."""

    response: bytes
    time: datetime


def stamp(note: bytes, authority: Authority) -> Stamp:
    """The authority's timestamp of a checkpoint's note.

    The answer must be for this note and this request. The authority's certificate is checked by whoever relies
    on it, with `pactstream verify timestamp` or `openssl ts -verify`.

    Raises:
        Fatal: the authority does not answer, or refuses.
        InvalidInput: what it answered is no timestamp of this note.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    request = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256).build()
    return _checked(note, authority(request.as_bytes()), request.nonce)


def check(note: bytes, response: bytes, roots: bytes) -> Stamp:
    """The stamp in `response`, if it is of this note and by an authority under the root certificates (PEM).

    Raises:
        InvalidInput: it is not, or the certificates are none.
    """
    from cryptography import x509
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    found = _checked(note, response, None)
    builder = VerifierBuilder()
    try:
        for certificate in x509.load_pem_x509_certificates(roots):
            builder = builder.add_root_certificate(certificate)
        builder.build().verify_message(decode_timestamp_response(response), note)
    except (VerificationError, ValueError) as error:
        raise InvalidInput(f"the timestamp is not by an authority under these certificates: {error}") from None
    return found


def _checked(note: bytes, response: bytes, nonce: int | None) -> Stamp:
    from rfc3161_client import PKIStatus, decode_timestamp_response

    try:
        decoded = decode_timestamp_response(response)
        if decoded.status not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
            raise Fatal(f"the authority refuses: status {decoded.status}, {', '.join(decoded.status_string)}")
        info = decoded.tst_info
        imprint = info.message_imprint.message
    except ValueError as error:
        raise InvalidInput(f"not an RFC 3161 timestamp: {error}") from None
    if not secrets.compare_digest(imprint, sha256(note).digest()):
        raise InvalidInput("the timestamp is of other bytes than this checkpoint, or not over SHA-256")
    if nonce is not None and info.nonce != nonce:
        raise InvalidInput("the timestamp answers another request")
    return Stamp(response, info.gen_time)
