"""Costs: the committed figures, the geometric attempts, the measurement of a machine."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sim.world.chance import Chance, mix, mix_array
from sim.world.crypto import costs
from sim.world.crypto.costs import CostModel
from sim.world.crypto.suites import PycryptodomeSuite

KEY = Chance(9, 0).key("test/attempts")
WORD = 2**64 - 1


def test_committed_thresholds_are_exact() -> None:
    table = costs.attempt_thresholds()
    assert list(table) == costs.regenerate_thresholds()
    assert len(table) == 150
    # floor(2**64 x 0.257), without floats.
    assert table[0] == 257 * 2**64 // 1000
    assert table[-1] == WORD


def test_attempts_follow_the_thresholds() -> None:
    first = costs.attempt_thresholds()[0]
    assert costs.signing_attempts(0) == costs.signing_attempts(first - 1) == 1
    assert costs.signing_attempts(first) == 2
    assert costs.signing_attempts(WORD) == 151


def test_attempts_have_the_measured_mean_and_quantiles() -> None:
    count = 200_000
    draws = costs.signing_attempts_array(mix_array(KEY, np.arange(count)))
    p = 0.257
    assert abs(draws.mean() - 1 / p) < 5 * math.sqrt(1 - p) / p / math.sqrt(count)
    # 516 measured signatures: p50 3, p90 8, p99 16.
    assert [int(np.percentile(draws, q)) for q in (50, 90, 99)] == [3, 8, 16]
    for share, attempts in ((p, 1), (p * (1 - p), 2)):
        seen = int((draws == attempts).sum())
        assert abs(seen - count * share) < 5 * math.sqrt(count * share * (1 - share))


def test_scalar_and_vector_costs_are_the_same_integers() -> None:
    model = costs.load_costs("pycryptodome")
    words = [mix(KEY, i) for i in range(2_000)] + [0, WORD, 2**63]
    vector = model.sign_array(np.array(words, np.uint64))
    assert vector.dtype == np.int64
    assert [model.sign_ns(word) for word in words] == vector.tolist()


def test_committed_costs_are_the_benched_figures() -> None:
    known = costs.known_costs()
    assert list(known)[:2] == ["pqcrypto", "pycryptodome"]
    verify = {name: model.verify_ns for name, model in known.items()}
    assert verify == {
        "pqcrypto": 261_900,
        "pycryptodome": 159_000,
        "qybersafe": 40_500,
        "fast-mldsa": 70_000,
        "cryptography": 237_000,
        "pqmagic": 224_500,
        "pypqc": 227_500,
    }
    benched_us = {"pqcrypto": (13_295.4, 16_652.1), "pycryptodome": (482.4, 1_601.5)}
    for name, (mean_us, p99_us) in benched_us.items():
        model = known[name]
        mean_ns = model.sign_fixed_ns + model.sign_attempt_ns / 0.257
        p99_ns = model.sign_fixed_ns + 16 * model.sign_attempt_ns
        assert abs(mean_ns - mean_us * 1000) < 10
        assert abs(p99_ns - p99_us * 1000) < 10
        assert "Zen 5" in model.source


def test_costs_by_size_are_rounded_up() -> None:
    model = CostModel("s", 1, 2, 3, 4, 1_000, 300, "test")
    assert model.hash_ns(0) == 0
    assert model.hash_ns(1) == 1
    assert model.hash_ns(1024) == 1_000
    assert model.hash_ns(1536) == 1_500
    assert model.decode_ns(1025) == 301
    assert model.sign_ns(0) == 5
    with pytest.raises(ValueError, match="verify_ns is -4"):
        CostModel("s", 1, 2, 3, -4, 1_000, 300, "test")


def test_calibration_measures_and_reads_back(tmp_path: Path) -> None:
    models = costs.calibrate([PycryptodomeSuite()], samples=60)
    model = models["pycryptodome"]
    # A verification is a matrix product of 56 polynomials: between 10 us and 10 ms anywhere.
    assert 10_000 < model.verify_ns < 10_000_000
    assert 1_000 < model.sign_attempt_ns < 10_000_000
    assert model.keygen_ns > 10_000
    assert 0 < model.hash_ns_per_kib < 1_000_000
    assert 0 < model.decode_ns_per_kib < 1_000_000
    assert model.source.startswith("measured by calibrate on ")
    path = tmp_path / "here.json"
    path.write_text(costs.costs_text(models), encoding="utf-8")
    assert costs.load_costs(str(path)) == model
    assert costs.load_costs(str(path), "pycryptodome") == model
    with pytest.raises(ValueError, match="which suite is meant"):
        costs.load_costs(str(path), "pqcrypto")
    with pytest.raises(ValueError, match="at least 20"):
        costs.calibrate(samples=5)


def test_bad_calibration_files_say_what_is_wrong(tmp_path: Path) -> None:
    model = costs.load_costs("pqcrypto")
    text = costs.costs_text({"pqcrypto": model})
    assert costs.parse_costs(text, "good") == {"pqcrypto": model}
    for broken, words in (
        ("{", "not JSON"),
        ("[]", "schema must be"),
        (text.replace("verify_ns", "verify"), "missing .'verify_ns'.*unknown .'verify'"),
        (text.replace(str(model.verify_ns), "1.5"), "wrong type .'verify_ns'"),
        ('{"schema": "creto-sim/costs/1", "suites": {}}', "no suites"),
    ):
        with pytest.raises(ValueError, match=words):
            costs.parse_costs(broken, "file")
    with pytest.raises(ValueError, match="neither a file nor one of pqcrypto"):
        costs.load_costs(str(tmp_path / "absent.json"))
