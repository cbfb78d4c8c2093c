"""What computing costs a simulated validator: signing, verifying, hashing, decoding.

Owns: the cost model, the committed figures, the rejection count of signing, and the measurement of
the machine at hand. Must not know: validators, stations, simulated time.

Signing ML-DSA repeats until a candidate passes: the number of attempts is geometric. A signature
costs `sign_fixed_ns` (key expansion, hashing the message) and `sign_attempt_ns` an attempt.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sim.world.chance import I64, U64
from sim.world.crypto.suites import SIGNATURE_BYTES, SignatureSuite, available_suites

SCHEMA = "creto-sim/costs/1"
KIB = 1024
ACCEPTANCE_PERMILLE = 257
"""Probability that a signing attempt is accepted, in thousandths: 3.89 attempts on average over 516
measured ML-DSA-87 signatures (p50 3, p90 8, p99 16); FIPS 204 expects 3.85 repetitions."""


@cache
def attempt_thresholds() -> tuple[int, ...]:
    """Read the committed table: entry k - 1 is floor(2**64 P(attempts <= k)).

    The last of its 152 entries is 2**64 - 1: more than 153 attempts have probability below 1e-19.
    """
    path = resources.files("sim.world.crypto") / "data" / "signing_attempts.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(int(line) for line in lines[1:])


def regenerate_thresholds() -> list[int]:
    """Compute the table in exact integers: floor(2**64 (1 - (743 / 1000)**k)), k = 1, 2, ..."""
    reject = 1000 - ACCEPTANCE_PERMILLE
    thresholds: list[int] = []
    while not thresholds or thresholds[-1] < (1 << 64) - 1:
        k = len(thresholds) + 1
        thresholds.append(((1000**k - reject**k) << 64) // 1000**k)
    return thresholds


def signing_attempts(bits: int) -> int:
    """Draw the number of attempts of one signature at 64 uniform bits; at least 1."""
    return bisect_right(attempt_thresholds(), bits) + 1


@cache
def _threshold_array() -> U64:
    return np.array(attempt_thresholds(), np.uint64)


def signing_attempts_array(bits: U64) -> I64:
    """Draw elementwise; the integers of `signing_attempts`."""
    drawn = np.searchsorted(_threshold_array(), bits, side="right") + 1
    return np.asarray(drawn, np.int64)


@dataclass(frozen=True, slots=True)
class CostModel:
    """CPU time of one core for one suite. `source` says where the figures come from."""

    suite: str
    keygen_ns: int
    sign_fixed_ns: int
    sign_attempt_ns: int
    verify_ns: int
    hash_ns_per_kib: int
    """SHA-256, for block ids and digests."""
    decode_ns_per_kib: int
    """Cutting a received certificate into its signatures."""
    source: str

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.endswith(("_ns", "_kib")) and value < 0:
                raise ValueError(f"costs of {self.suite}: {item.name} is {value}; need 0 or more")

    def sign_ns(self, bits: int) -> int:
        """Draw the cost of one signature at 64 uniform bits of a keyed hash."""
        return self.sign_fixed_ns + self.sign_attempt_ns * signing_attempts(bits)

    def sign_array(self, bits: U64) -> I64:
        """Draw elementwise; the integers of `sign_ns`."""
        return self.sign_fixed_ns + self.sign_attempt_ns * signing_attempts_array(bits)

    def hash_ns(self, size_bytes: int) -> int:
        """Return the cost of hashing `size_bytes`, rounded up."""
        return -(-size_bytes * self.hash_ns_per_kib // KIB)

    def decode_ns(self, size_bytes: int) -> int:
        """Return the cost of decoding a message of `size_bytes`, rounded up."""
        return -(-size_bytes * self.decode_ns_per_kib // KIB)


def known_costs() -> Mapping[str, CostModel]:
    """Return the committed cost models by suite name."""
    path = resources.files("sim.world.crypto") / "data" / "costs.json"
    return parse_costs(path.read_text(encoding="utf-8"), "the committed calibration")


def load_costs(costs: str, suite: str | None = None) -> CostModel:
    """Return a cost model by suite name, or from a calibration file by path.

    `suite` picks the model of a file that holds several. Raises ValueError saying what is known.
    """
    known = known_costs()
    if costs in known:
        return known[costs]
    path = Path(costs)
    if not path.is_file():
        raise ValueError(f"costs {costs}: neither a file nor one of {', '.join(known)}")
    models = parse_costs(path.read_text(encoding="utf-8"), path.name)
    if suite is None and len(models) == 1:
        return next(iter(models.values()))
    if suite is None or suite not in models:
        raise ValueError(f"costs {path.name}: has {', '.join(models)}; which suite is meant?")
    return models[suite]


def parse_costs(text: str, name: str) -> dict[str, CostModel]:
    """Read a calibration file; raise ValueError naming what is missing, unknown or no integer."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        raise ValueError(f"{name}: schema must be {SCHEMA}")
    models = {}
    for suite, entry in whole.get("suites", {}).items():
        kinds = {item.name: str if item.name == "source" else int for item in fields(CostModel)}
        del kinds["suite"]
        missing = [key for key in kinds if key not in entry]
        unknown = [key for key in entry if key not in kinds]
        wrong = [key for key in kinds if key in entry and type(entry[key]) is not kinds[key]]
        if missing or unknown or wrong:
            raise ValueError(
                f"{name}: suite {suite}: missing {missing}, unknown {unknown}, wrong type {wrong}"
            )
        models[suite] = CostModel(suite=suite, **entry)
    if not models:
        raise ValueError(f"{name}: no suites")
    return models


def costs_text(models: Mapping[str, CostModel]) -> str:
    """Return the calibration file's text, which `parse_costs` reads back."""
    suites: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        entry = asdict(model)
        del entry["suite"]
        suites[name] = entry
    return json.dumps({"schema": SCHEMA, "suites": suites}, indent=2) + "\n"


def calibrate(
    suites: Iterable[SignatureSuite] | None = None, *, samples: int = 200
) -> dict[str, CostModel]:
    """Measure this machine, in CPU time of this process, for each suite (default: all installed).

    Signing: the p10 and p90 of `samples` signatures are those of 1 and 8 attempts, which gives the
    cost of an attempt and the fixed part; outliers of a busy machine don't reach them. Verifying,
    key generation, hashing, decoding: medians. About 6 s with both suites at 200 samples.
    """
    if samples < 20:
        raise ValueError(f"samples: {samples}; need at least 20 for a p10 and a p90")
    chosen = list(available_suites().values()) if suites is None else list(suites)
    day = datetime.now(UTC).date().isoformat()
    source = f"measured by calibrate on {_processor()}, {day}"
    hash_ns, decode_ns = _hash_ns_per_kib(), _decode_ns_per_kib()
    return {suite.name: _measure(suite, samples, hash_ns, decode_ns, source) for suite in chosen}


def _measure(
    suite: SignatureSuite, samples: int, hash_ns: int, decode_ns: int, source: str
) -> CostModel:
    keygen = _median([_cpu_ns(suite.keygen) for _ in range(max(5, samples // 10))])
    keys = suite.keygen()
    messages = [b"creto-sim calibration %d" % i for i in range(samples)]
    suite.sign(keys.secret, b"warm-up: the key is expanded and cached here")
    signing, signatures = [], []
    for message in messages:
        start = time.process_time_ns()
        signatures.append(suite.sign(keys.secret, message))
        signing.append(time.process_time_ns() - start)
    signing.sort()
    low, high = signing[samples // 10], signing[samples * 9 // 10]
    few, many = _attempts_at(10), _attempts_at(90)
    attempt = (high - low) // (many - few)
    verifying = []
    for message, signature in zip(messages, signatures, strict=True):
        start = time.process_time_ns()
        valid = suite.verify(keys.public, message, signature)
        verifying.append(time.process_time_ns() - start)
        if not valid:
            raise RuntimeError(f"suite {suite.name} refused its own signature of {message!r}")
    return CostModel(
        suite=suite.name,
        keygen_ns=keygen,
        sign_fixed_ns=max(0, low - few * attempt),
        sign_attempt_ns=attempt,
        verify_ns=_median(verifying),
        hash_ns_per_kib=hash_ns,
        decode_ns_per_kib=decode_ns,
        source=source,
    )


def _attempts_at(percent: int) -> int:
    return signing_attempts((percent << 64) // 100)


def _hash_ns_per_kib() -> int:
    block = bytes(64 * KIB)
    return _median([_cpu_ns(lambda: hashlib.sha256(block).digest()) for _ in range(50)]) // 64


def _decode_ns_per_kib() -> int:
    """Time the cutting of a 101-signature certificate into its parts."""
    count = 101
    wire = bytes(count * SIGNATURE_BYTES)

    def cut() -> None:
        view = memoryview(wire)
        parts = [bytes(view[i * SIGNATURE_BYTES : (i + 1) * SIGNATURE_BYTES]) for i in range(count)]
        assert len(parts) == count

    return max(1, _median([_cpu_ns(cut) for _ in range(50)]) * KIB // len(wire))


def _cpu_ns(work: Callable[[], object]) -> int:
    start = time.process_time_ns()
    work()
    return time.process_time_ns() - start


def _median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
