"""Signers: what verifies, what is verified once, and what nothing depends on."""

from __future__ import annotations

import pytest

from sim.world.crypto.signer import FORGED, ModelledSigner, RealSigner, Signer, key_seed, make_keys
from sim.world.crypto.suites import PqcryptoSuite, PycryptodomeSuite


class _Counting(PycryptodomeSuite):
    def __init__(self) -> None:
        super().__init__()
        self.checks = 0

    def verify(self, public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
        self.checks += 1
        return super().verify(public, message, signature, context)


def _signers() -> list[Signer]:
    return [
        ModelledSigner(),
        RealSigner(PycryptodomeSuite(), 3, seed=1),
        RealSigner(PqcryptoSuite(), 3, seed=1),
        RealSigner(PycryptodomeSuite(), 3, seed=1, threads=2),
    ]


@pytest.mark.parametrize("which", range(4))
def test_every_mode_accepts_what_was_signed_and_refuses_what_was_forged(which: int) -> None:
    signer = _signers()[which]
    statements = [(i, b"view 7", signer.sign(i, b"view 7")) for i in range(3)]
    assert signer.verify_all(statements)
    assert signer.verify_all(statements)
    assert all(signer.verify(*statement) for statement in statements)
    assert not signer.verify(0, b"view 7", FORGED)
    assert not signer.verify_all([*statements, (1, b"view 7", FORGED)])
    assert not signer.verify_all([*statements, (1, b"view 7", FORGED)])
    assert signer.verify_all([])
    if isinstance(signer, RealSigner):
        signer.close()


def test_real_signatures_bind_signer_and_message() -> None:
    signer = RealSigner(PycryptodomeSuite(), 2, seed=1)
    signature = signer.sign(0, b"a")
    assert signer.verify(0, b"a", signature)
    assert not signer.verify(1, b"a", signature)
    assert not signer.verify(0, b"b", signature)
    assert not signer.verify(2, b"a", signature)
    assert not signer.verify(-1, b"a", signature)


@pytest.mark.parametrize("threads", [1, 2])
def test_each_distinct_statement_is_verified_once(threads: int) -> None:
    suite = _Counting()
    signer = RealSigner(suite, 4, seed=1, threads=threads)
    statements = [(i, b"m", signer.sign(i, b"m")) for i in range(4)]
    assert signer.verify(*statements[0])
    for _ in range(10):
        assert signer.verify_all(statements)
    assert not signer.verify_all([(0, b"m", FORGED), (0, b"m", FORGED)])
    assert suite.checks == signer.verified == 5
    # 40 in certificates and two forgeries, less the four first ones of which three were new.
    assert signer.hits == 10 * 4 - 3 + 1
    assert signer.signed == 4
    signer.close()


def test_memory_is_bounded_and_forgetting_only_costs_time() -> None:
    suite = _Counting()
    signer = RealSigner(suite, 1, seed=1, remembered=3)
    statements = [(0, b"%d" % i, signer.sign(0, b"%d" % i)) for i in range(5)]
    assert all(signer.verify(*statement) for statement in statements)
    assert len(signer._known) == 3
    assert signer.verify(*statements[0])
    assert suite.checks == 6


def test_threads_with_little_memory_answer_the_same() -> None:
    signer = RealSigner(PycryptodomeSuite(), 5, seed=1, remembered=2, threads=2)
    statements = [(i, b"m", signer.sign(i, b"m")) for i in range(5)]
    for _ in range(3):
        assert signer.verify_all(statements)
    forged = (0, b"x", statements[0][2])
    assert not signer.verify_all([forged, *statements])
    # Known to be bad, and pushed out by the good ones that come with it.
    assert not signer.verify(*forged)
    assert not signer.verify_all([forged, *statements])
    signer.close()


def test_keys_follow_from_seed_and_validator() -> None:
    keys = make_keys(PycryptodomeSuite(), 3, seed=1)
    assert keys == make_keys(PycryptodomeSuite(), 3, seed=1)
    assert keys[:2] == make_keys(PycryptodomeSuite(), 2, seed=1)
    assert keys != make_keys(PycryptodomeSuite(), 3, seed=2)
    assert len({pair.public for pair in keys}) == 3
    assert key_seed(1, 23) != key_seed(12, 3)
    # The reference suite takes no seed; it signs with keys another derived.
    assert keys == make_keys(PqcryptoSuite(), 3, seed=1)


def test_keys_are_random_where_no_suite_takes_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = PqcryptoSuite()
    monkeypatch.setattr("sim.world.crypto.signer.available_suites", lambda: {"pqcrypto": reference})
    keys = make_keys(reference, 2, seed=1)
    assert keys != make_keys(reference, 2, seed=1)
    signer = RealSigner(reference, 2, seed=1)
    assert signer.verify(1, b"m", signer.sign(1, b"m"))


def test_threads_are_refused_where_they_are_useless() -> None:
    with pytest.raises(ValueError, match="interpreter lock"):
        RealSigner(PqcryptoSuite(), 2, seed=1, threads=2)
