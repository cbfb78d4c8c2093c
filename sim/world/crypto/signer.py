"""Who signs and verifies for the validators: `modelled` (sizes and costs only) or `real`.

Owns: validators' keys, and which signatures were verified already.
Must not know: what the signed bytes say, simulated time, costs (the driver charges those at each
receiver whether or not a verification was cached here).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from sim.world.crypto.suites import SEED_BYTES, KeyPair, SignatureSuite, available_suites

Statement: TypeAlias = tuple[int, bytes, bytes]
"""(signer, signed bytes, signature)."""

FORGED = b"forged"
"""What an adversary puts where it has no key to sign: invalid to every signer, in both modes."""

REMEMBERED = 20_000
"""Verified statements kept: about 100 MB of signatures, 130 views of 150 votes."""


class Signer(Protocol):
    """What a driver needs. Neither mode's answers depend on signature bytes being equal."""

    def sign(self, signer: int, message: bytes) -> bytes:
        """Sign as a validator."""

    def verify(self, signer: int, message: bytes, signature: bytes) -> bool:
        """Say whether the signature is the validator's over the message."""

    def verify_all(self, statements: Sequence[Statement]) -> bool:
        """Say whether all are valid."""


class ModelledSigner:
    """Signatures as sizes and costs: an honest one is the empty string, anything else is invalid.

    Sound because adversaries act on effects of cores and own no other validator's signature: what
    they forge is FORGED.
    """

    __slots__ = ()

    def sign(self, signer: int, message: bytes) -> bytes:
        return b""

    def verify(self, signer: int, message: bytes, signature: bytes) -> bool:
        return not signature

    def verify_all(self, statements: Sequence[Statement]) -> bool:
        return not any(signature for _, _, signature in statements)


class RealSigner:
    """ML-DSA-87 over the canonical bytes; each distinct statement is verified once in wall time.

    Keys follow from (seed, validator) where any installed suite derives keys from seeds: the
    encodings are the standard's, so another suite signs with them; else they are random. Nothing
    in a run depends on their bytes. Forgetting (beyond `remembered` statements, oldest first)
    costs wall time only. `threads` > 1 verifies certificates in parallel where the suite releases
    the GIL, and is refused where it doesn't.
    """

    __slots__ = (
        "_known",
        "_pool",
        "_threads",
        "hits",
        "keys",
        "remembered",
        "signed",
        "suite",
        "verified",
    )

    def __init__(
        self,
        suite: SignatureSuite,
        validators: int,
        seed: int,
        *,
        remembered: int = REMEMBERED,
        threads: int = 1,
    ) -> None:
        if threads > 1 and not suite.releases_gil:
            raise ValueError(
                f"suite {suite.name} holds the interpreter lock: {threads} threads verify no "
                "faster than one"
            )
        self.suite = suite
        self.keys = make_keys(suite, validators, seed)
        self.remembered = remembered
        self._known: dict[Statement, bool] = {}
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.signed = 0
        self.verified = 0
        self.hits = 0

    def sign(self, signer: int, message: bytes) -> bytes:
        self.signed += 1
        return self.suite.sign(self.keys[signer].secret, message)

    def verify(self, signer: int, message: bytes, signature: bytes) -> bool:
        statement = (signer, message, signature)
        known = self._known.get(statement)
        if known is not None:
            self.hits += 1
            return known
        return self._remember(statement, self._check(statement))

    def verify_all(self, statements: Sequence[Statement]) -> bool:
        """Say whether all are valid; verifies every new one, so that each is known afterwards."""
        if self._pool is not None:
            return self._verify_threaded(self._pool, statements)
        valid = True
        for statement in statements:
            valid &= self.verify(*statement)
        return valid

    def close(self) -> None:
        """Stop the verification threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _verify_threaded(self, pool: ThreadPoolExecutor, statements: Sequence[Statement]) -> bool:
        # Dict keys, not a set: statements are verified in the order given.
        fresh = list(dict.fromkeys(s for s in statements if s not in self._known))
        # Read before remembering: what is remembered now may push these out.
        valid = all(self._known.get(s, True) for s in statements)
        # One task a thread: a task each would cost a tenth of the verification in hand-overs.
        parts = [fresh[i :: self._threads] for i in range(self._threads)]
        answers = [False] * len(fresh)
        for i, part in enumerate(pool.map(self._check_part, parts)):
            answers[i :: self._threads] = part
        for statement, answer in zip(fresh, answers, strict=True):
            self._remember(statement, answer)
        self.hits += len(statements) - len(fresh)
        return valid and all(answers)

    def _check_part(self, statements: Sequence[Statement]) -> list[bool]:
        return [self._check(statement) for statement in statements]

    def _check(self, statement: Statement) -> bool:
        signer, message, signature = statement
        if not 0 <= signer < len(self.keys):
            return False
        return self.suite.verify(self.keys[signer].public, message, signature)

    def _remember(self, statement: Statement, valid: bool) -> bool:
        self.verified += 1
        known = self._known
        known[statement] = valid
        if len(known) > self.remembered:
            del known[next(iter(known))]
        return valid


def make_keys(suite: SignatureSuite, validators: int, seed: int) -> tuple[KeyPair, ...]:
    """Return the validators' key pairs, from (seed, validator) where any suite can derive them."""
    for candidate in (suite, *available_suites().values()):
        if candidate.takes_seed:
            return tuple(candidate.keygen(key_seed(seed, i)) for i in range(validators))
    return tuple(suite.keygen() for _ in range(validators))


def key_seed(seed: int, validator: int) -> bytes:
    """Return the 32-byte seed of one validator's key."""
    return hashlib.sha256(f"creto-sim/key/{seed}/{validator}".encode()).digest()[:SEED_BYTES]
