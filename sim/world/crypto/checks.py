"""What a signature suite must pass before a run trusts it: known answers and cross-verification.

Owns: the committed vectors and the order of the checks. Must not know: who signs what.

Vectors are figures of NIST's ACVP server (key generation, verification) and of Wycheproof
(verification of malformed and borderline signatures); the file names the commits.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import NamedTuple

from sim.world.crypto.suites import (
    PUBLIC_KEY_BYTES,
    SECRET_KEY_BYTES,
    SIGNATURE_BYTES,
    KeyPair,
    SignatureSuite,
    available_suites,
)

_MESSAGE = b"creto-sim start-up check"


class SuiteFailure(RuntimeError):
    """A suite gave a wrong answer; the text names the suite and the vector."""


class KeygenVector(NamedTuple):
    """A seed and the SHA-256 of the two keys that FIPS 204 derives from it."""

    name: str
    seed: bytes
    public_sha256: bytes
    secret_sha256: bytes


class VerifyVector(NamedTuple):
    """A signature and whether it is valid."""

    name: str
    public: bytes
    message: bytes
    context: bytes
    signature: bytes
    valid: bool


@cache
def vectors() -> tuple[tuple[KeygenVector, ...], tuple[VerifyVector, ...]]:
    """Read the committed vectors: (key generation, verification)."""
    path = resources.files("sim.world.crypto") / "data" / "mldsa87_vectors.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    keys = {name: base64.b64decode(text) for name, text in whole["public_keys"].items()}
    keygen = tuple(
        KeygenVector(
            f"{entry['source']} {entry['id']}",
            bytes.fromhex(entry["seed"]),
            bytes.fromhex(entry["public_sha256"]),
            bytes.fromhex(entry["secret_sha256"]),
        )
        for entry in whole["keygen"]
    )
    verify = tuple(
        VerifyVector(
            f"{entry['source']} {entry['id']} ({entry['note']})",
            keys[entry["public"]],
            base64.b64decode(entry["message"]),
            base64.b64decode(entry["context"]),
            base64.b64decode(entry["signature"]),
            entry["valid"],
        )
        for entry in whole["verify"]
    )
    return keygen, verify


def self_check(suites: Iterable[SignatureSuite] | None = None) -> tuple[str, ...]:
    """Check each suite (default: all installed); return one line of evidence each.

    Key-generation vectors where the suite takes a seed, verification vectors, sizes, refusal of
    altered messages and signatures, then every suite verifies what every other one signed, with
    its own keys and with the other's. About 80 ms with both suites. Raises SuiteFailure.
    """
    chosen = list(available_suites().values()) if suites is None else list(suites)
    keys = {suite.name: _check_alone(suite) for suite in chosen}
    for signer in chosen:
        for owner in chosen:
            signature = signer.sign(keys[owner.name].secret, _MESSAGE)
            for verifier in chosen:
                if not verifier.verify(keys[owner.name].public, _MESSAGE, signature):
                    raise SuiteFailure(
                        f"suite {verifier.name} refuses a signature by {signer.name} under a key "
                        f"of {owner.name}"
                    )
    keygen, verify = vectors()
    return tuple(
        f"{suite.name}: {len(keygen) if suite.takes_seed else 0} key-generation and {len(verify)} "
        f"verification vectors, cross-verified with {len(chosen) - 1} other suite(s)"
        for suite in chosen
    )


def _check_alone(suite: SignatureSuite) -> KeyPair:
    keygen, verify = vectors()
    for known in keygen if suite.takes_seed else ():
        derived = suite.keygen(known.seed)
        hashes = tuple(hashlib.sha256(part).digest() for part in derived)
        if hashes != (known.public_sha256, known.secret_sha256):
            raise SuiteFailure(f"suite {suite.name} fails {known.name}: other keys than FIPS 204's")
    for vector in verify:
        answer = suite.verify(vector.public, vector.message, vector.signature, vector.context)
        if answer != vector.valid:
            said = "accepts" if answer else "refuses"
            raise SuiteFailure(f"suite {suite.name} fails {vector.name}: it {said} the signature")
    keys = suite.keygen()
    signature = suite.sign(keys.secret, _MESSAGE)
    sizes = (len(keys.public), len(keys.secret), len(signature))
    if sizes != (PUBLIC_KEY_BYTES, SECRET_KEY_BYTES, SIGNATURE_BYTES):
        raise SuiteFailure(f"suite {suite.name}: sizes {sizes} are not those of ML-DSA-87")
    altered = bytes([signature[0] ^ 1]) + signature[1:]
    if suite.verify(keys.public, _MESSAGE + b"!", signature) or suite.verify(
        keys.public, _MESSAGE, altered
    ):
        raise SuiteFailure(f"suite {suite.name} accepts an altered message or signature")
    return keys
