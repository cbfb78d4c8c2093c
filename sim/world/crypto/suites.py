"""ML-DSA-87 implementations behind one face. `checks` holds what each must pass before use.

Owns: the sizes and the suites that are installed. Must not know: validators, statements, costs.

Source: FIPS 204, Module-Lattice-Based Digital Signature Standard, 13 August 2024. Signing is
hedged and pure (no pre-hash); the context string is empty unless given.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

PUBLIC_KEY_BYTES = 2592
SECRET_KEY_BYTES = 4896
SIGNATURE_BYTES = 4627
"""FIPS 204, table 2, ML-DSA-87."""
SEED_BYTES = 32
KEY_CACHE = 4096
"""Expanded keys a suite keeps: one each for signing and verifying per validator, with room."""


class KeyPair(NamedTuple):
    """FIPS 204 encodings: 2,592 bytes public, 4,896 bytes secret (expanded)."""

    public: bytes
    secret: bytes


class SignatureSuite(Protocol):
    """One implementation of ML-DSA-87. Keys and signatures are FIPS 204 encodings, so that any
    suite verifies what another signed."""

    @property
    def name(self) -> str: ...

    @property
    def takes_seed(self) -> bool:
        """Whether `keygen` is a function of its seed."""

    @property
    def releases_gil(self) -> bool:
        """Whether threads verify in parallel."""

    def keygen(self, seed: bytes | None = None) -> KeyPair:
        """Make a key pair, from a 32-byte seed (xi of FIPS 204) where the suite takes one."""

    def sign(self, secret: bytes, message: bytes, context: bytes = b"") -> bytes:
        """Sign; hedged, so that two signatures of one message differ."""

    def verify(self, public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
        """Say whether the signature is valid; malformed input is simply not."""


class PqcryptoSuite:
    """The reference suite: the package pqcrypto. No seeded key generation; holds the GIL."""

    name = "pqcrypto"
    takes_seed = False
    releases_gil = False

    def __init__(self) -> None:
        self._api: Any = importlib.import_module("pqcrypto.sign").ml_dsa_87

    def keygen(self, seed: bytes | None = None) -> KeyPair:
        if seed is not None:
            raise ValueError("pqcrypto generates keys from the system's randomness only")
        public, secret = self._api.keygen()
        return KeyPair(public, secret)

    def sign(self, secret: bytes, message: bytes, context: bytes = b"") -> bytes:
        return bytes(self._api.sign(secret, message, context))

    def verify(self, public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
        # An invalid signature raises InvalidSignatureError, a ValueError, as do wrong lengths.
        try:
            self._api.verify(public, message, signature, context)
        except ValueError:
            return False
        return True


class PycryptodomeSuite:
    """The faster suite: pycryptodome. Keys from a seed; releases the GIL while it computes."""

    name = "pycryptodome"
    takes_seed = True
    releases_gil = True

    def __init__(self) -> None:
        keys: Any = importlib.import_module("Crypto.PublicKey.MLDSA")
        schemes: Any = importlib.import_module("Crypto.Signature.mldsa")
        self._keys = keys
        self._set = keys.ML_DSA_87
        # Loading an expanded key recomputes its public half (0.2 ms): once a key, not a signature.
        self._signer = lru_cache(KEY_CACHE)(
            lambda secret, context: schemes.new(
                keys.construct(param_set=keys.ML_DSA_87, sk=secret), context
            )
        )
        self._verifier = lru_cache(KEY_CACHE)(
            lambda public, context: schemes.new(
                keys.construct(param_set=keys.ML_DSA_87, pk=public), context
            )
        )

    def keygen(self, seed: bytes | None = None) -> KeyPair:
        key = self._keys.construct(
            param_set=self._set, seed=os.urandom(SEED_BYTES) if seed is None else seed
        )
        return KeyPair(key.pk, key.sk)

    def sign(self, secret: bytes, message: bytes, context: bytes = b"") -> bytes:
        return bytes(self._signer(secret, context).sign(message))

    def verify(self, public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
        # Raises ValueError for an invalid signature and for wrong lengths alike.
        try:
            self._verifier(public, context).verify(message, signature)
        except ValueError:
            return False
        return True


_SUITES: dict[str, tuple[str, Callable[[], SignatureSuite]]] = {
    "pqcrypto": ("pqcrypto", PqcryptoSuite),
    "pycryptodome": ("Crypto.PublicKey.MLDSA", PycryptodomeSuite),
}
"""Suite name -> (module that must be importable, constructor). The reference suite comes first."""


def available_suites() -> dict[str, SignatureSuite]:
    """Return the installed suites by name, the reference suite first."""
    return {name: make() for name, (module, make) in _SUITES.items() if _installed(module)}


def suite(name: str) -> SignatureSuite:
    """Return one suite; raise ValueError if it is unknown or not installed."""
    if name not in _SUITES:
        raise ValueError(f"unknown signature suite {name}; known: {', '.join(_SUITES)}")
    module, make = _SUITES[name]
    if not _installed(module):
        raise ValueError(f"signature suite {name} needs the package that provides {module}")
    return make()


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
