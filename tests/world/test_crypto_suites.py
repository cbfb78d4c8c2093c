"""Signature suites: known answers, cross-verification, and failures that name their vector."""

from __future__ import annotations

import hashlib
import importlib.util

import pytest

from sim.world.crypto.checks import SuiteFailure, self_check, vectors
from sim.world.crypto.suites import (
    PUBLIC_KEY_BYTES,
    SECRET_KEY_BYTES,
    SIGNATURE_BYTES,
    KeyPair,
    PycryptodomeSuite,
    SignatureSuite,
    available_suites,
    suite,
)

NAMES = ("pqcrypto", "pycryptodome")


@pytest.fixture(scope="module", params=NAMES)
def one(request: pytest.FixtureRequest) -> SignatureSuite:
    return suite(request.param)


def test_both_suites_are_installed_and_the_reference_comes_first() -> None:
    assert tuple(available_suites()) == NAMES


def test_sizes_are_those_of_fips_204(one: SignatureSuite) -> None:
    keys = one.keygen()
    assert (len(keys.public), len(keys.secret)) == (2592, 4896)
    assert (PUBLIC_KEY_BYTES, SECRET_KEY_BYTES, SIGNATURE_BYTES) == (2592, 4896, 4627)
    assert len(one.sign(keys.secret, b"m")) == 4627


def test_signatures_are_hedged_and_bound_to_message_key_and_context(one: SignatureSuite) -> None:
    keys, other = one.keygen(), one.keygen()
    signature = one.sign(keys.secret, b"message", b"context")
    assert signature != one.sign(keys.secret, b"message", b"context")
    assert one.verify(keys.public, b"message", signature, b"context")
    assert not one.verify(keys.public, b"message", signature)
    assert not one.verify(keys.public, b"massage", signature, b"context")
    assert not one.verify(other.public, b"message", signature, b"context")


def test_malformed_input_is_invalid_and_no_error(one: SignatureSuite) -> None:
    keys = one.keygen()
    signature = one.sign(keys.secret, b"m")
    for bad in (b"", b"forged", signature[:-1], signature + b"\0", bytes(SIGNATURE_BYTES)):
        assert not one.verify(keys.public, b"m", bad)
    assert not one.verify(keys.public[:-1], b"m", signature)


def test_known_verifications(one: SignatureSuite) -> None:
    _, known = vectors()
    assert len(known) == 14
    assert sum(vector.valid for vector in known) == 4
    for vector in known:
        answer = one.verify(vector.public, vector.message, vector.signature, vector.context)
        assert answer == vector.valid, vector.name


def test_known_keys() -> None:
    known, _ = vectors()
    assert len(known) == 3
    for vector in known:
        keys = PycryptodomeSuite().keygen(vector.seed)
        assert hashlib.sha256(keys.public).digest() == vector.public_sha256, vector.name
        assert hashlib.sha256(keys.secret).digest() == vector.secret_sha256, vector.name


def test_seeds_are_refused_where_they_would_be_ignored() -> None:
    with pytest.raises(ValueError, match="randomness"):
        suite("pqcrypto").keygen(bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        suite("pycryptodome").keygen(bytes(31))


def test_self_check_passes_and_says_what_it_checked() -> None:
    lines = self_check()
    assert len(lines) == 2
    assert lines[0].startswith("pqcrypto: 0 key-generation and 14 verification vectors")
    assert lines[1].startswith("pycryptodome: 3 key-generation and 14 verification vectors")


class _Broken(PycryptodomeSuite):
    """A suite with one fault, planted by name."""

    name = "broken"

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault

    def keygen(self, seed: bytes | None = None) -> KeyPair:
        if self._fault == "keys" and seed is not None:
            return super().keygen(bytes(32))
        return super().keygen(seed)

    def sign(self, secret: bytes, message: bytes, context: bytes = b"") -> bytes:
        if self._fault == "context" and not context:
            return super().sign(secret, message, b"own")
        return super().sign(secret, message, context)

    def verify(self, public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
        if self._fault == "context" and not context and b"start-up" in message:
            return super().verify(public, message, signature, b"own")
        if self._fault == "accepts":
            return True
        if self._fault == "refuses":
            return False
        if self._fault == "blind" and b"start-up" in message:
            return True
        return super().verify(public, message, signature, context)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("keys", "broken fails acvp keyGen tcId 51"),
        ("accepts", "broken fails acvp sigVer tcId 66 .*accepts"),
        ("refuses", "broken fails acvp sigVer tcId 70 .*refuses"),
        ("blind", "broken accepts an altered"),
        ("context", "refuses a signature by"),
    ],
)
def test_a_broken_suite_is_named_with_its_vector(fault: str, words: str) -> None:
    with pytest.raises(SuiteFailure, match=words):
        self_check([suite("pqcrypto"), _Broken(fault)])


def test_unknown_and_missing_suites_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="known: pqcrypto, pycryptodome"):
        suite("rot13")
    real = importlib.util.find_spec

    def hide(name: str, package: str | None = None) -> object:
        if name.startswith("Crypto"):
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", hide)
    assert tuple(available_suites()) == ("pqcrypto",)
    with pytest.raises(ValueError, match="needs the package"):
        suite("pycryptodome")
