"""Keys with which validators sign heads of the audit log, by generation.

Owns: who can sign what, and which generation is current. Must not know: what is signed, who
believes it, the event loop. With a real signer generation 0 is the validator's consensus key; a
rotation makes a new one. Modelled signatures are keyed hashes: nobody without the key can make one.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from sim.world.crypto.signer import RealSigner
from sim.world.crypto.suites import KeyPair

_GENERATION_BYTES = 4


class HeadKeys:
    """Sign and verify for the keeper and the witnesses. `signer`: None where it is modelled."""

    def __init__(self, signer: RealSigner | None, seed: int) -> None:
        self._signer = signer
        self._secret = sha256(f"creto-sim/audit-heads/{seed}".encode()).digest()
        self._generations: dict[int, int] = {}
        self._made: dict[tuple[int, int], KeyPair] = {}
        self._known: dict[tuple[int, bytes, bytes], bool] = {}
        """What was verified already: auditors look at the same heads again and again."""

    def generation(self, validator: int) -> int:
        """Return how often a validator's key was rotated."""
        return self._generations.get(validator, 0)

    def rotate(self, validator: int) -> None:
        """Put a new key in force: what the old one signs from now on is refused as new."""
        self._generations[validator] = self.generation(validator) + 1

    def sign(self, validator: int, message: bytes, generation: int | None = None) -> bytes:
        """Sign with the key in force, or with an older one that somebody kept."""
        used = self.generation(validator) if generation is None else generation
        prefix = used.to_bytes(_GENERATION_BYTES, "big")
        message = prefix + message
        if self._signer is None:
            return prefix + self._seal(validator, message)
        return prefix + self._signer.suite.sign(self._pair(validator, used).secret, message)

    def verify(self, validator: int, message: bytes, signature: bytes) -> bool:
        """Tell whether a key that is or was in force signed it."""
        prefix, rest = signature[:_GENERATION_BYTES], signature[_GENERATION_BYTES:]
        used = int.from_bytes(prefix, "big")
        if len(prefix) < _GENERATION_BYTES or used > self.generation(validator):
            return False
        message = prefix + message
        if self._signer is None:
            return hmac.compare_digest(rest, self._seal(validator, message))
        statement = (validator, message, rest)
        if statement not in self._known:
            public = self._pair(validator, used).public
            self._known[statement] = self._signer.suite.verify(public, message, rest)
        return self._known[statement]

    def in_force(self, validator: int, signature: bytes) -> bool:
        """Tell whether a signature claims the key that is in force now."""
        return int.from_bytes(signature[:_GENERATION_BYTES], "big") == self.generation(validator)

    def _seal(self, validator: int, message: bytes) -> bytes:
        return hmac.digest(self._secret + validator.to_bytes(4, "big"), message, "sha256")

    def _pair(self, validator: int, generation: int) -> KeyPair:
        assert self._signer is not None
        if not generation:
            return self._signer.keys[validator]
        place = validator, generation
        if place not in self._made:
            self._made[place] = self._signer.suite.keygen()
        return self._made[place]
