"""The scenario as plain frozen values in integers: what the engine builds a run from.

Owns: every field of a scenario with its meaning, bounds and default. A field's YAML key is its name
without the unit (`timer_base_ns` is `timer_base: 500 ms`). Units: `_ns` nanoseconds, `_bytes`,
`_bits_per_s`, `_ppm` and `_ppb` parts per million and billion, `_nhz` events per 10**9 seconds,
`_micro` millionths of a bare number, `_microdegrees`.
Must not know: YAML, pydantic, files; nor how a run is made. `load` makes these from files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from sim.scenario.agents import Agents
from sim.scenario.alerts import Alerts
from sim.scenario.attacks import Attack
from sim.scenario.base import STRICT
from sim.scenario.checks import Check
from sim.scenario.choices import ByKind
from sim.scenario.clouds import Clouds
from sim.scenario.compliance import Compliance
from sim.scenario.disturbances import Fault, Rule
from sim.scenario.fields import (
    Count,
    Flag,
    Placed,
    Placement,
    Text,
    bandwidth,
    decimal,
    duration,
    probability,
    share,
)
from sim.scenario.occurrence import Instant
from sim.scenario.protocols import CRETO, REGIONAL, Delays, Protocol
from sim.scenario.recording import STANDARD, Record
from sim.scenario.selection import MAX_VALIDATORS, ValidatorIndex
from sim.scenario.sweep import Sweep
from sim.scenario.until import Until

Stake: TypeAlias = Annotated[int, Count(0, 10**15)]
Epochs: TypeAlias = Annotated[int, Count(1, 100_000)]

Offence: TypeAlias = Literal[
    "double_vote", "double_proposal", "stale_timeout", "tc_rule", "downtime"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinates:
    """Where a region of the scenario's own lies; its latencies are fitted from distances."""

    __pydantic_config__ = STRICT
    latitude_microdegrees: Annotated[int, decimal("-90", "90")]
    """Degrees north."""
    longitude_microdegrees: Annotated[int, decimal("-180", "180")]
    """Degrees east."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Links between validators."""

    __pydantic_config__ = STRICT
    bandwidth_bits_per_s: Annotated[int, bandwidth("1 Mbit/s", "1 Tbit/s")]
    """Of each validator's uplink, and of its downlink."""
    flow_limit_bits_per_s: Annotated[int, bandwidth("1 Mbit/s", "1 Tbit/s")] = 5 * 10**9
    """Of one flow between two validators (5 Gbit/s: EC2 between placement groups)."""
    consensus_share_ppm: Annotated[int, share("1 %", "99 %")] = 500_000
    """Share of both links that is reserved for consensus; the rest is the agents'."""
    dissemination_share_ppm: Annotated[int, share("1 %", "99 %")] = 500_000
    """Share of the agents' part that is kept for transaction batches; messages have the rest."""
    lanes: Literal["isolated", "shared"] = "isolated"
    """`shared`: a lane may use what the other one left of its share in the 100 ms before."""
    loss_ppb: Annotated[int, probability("0 %", "50 %")] = 10_000
    """Probability that a message is lost (assumption: 1e-5 on cloud backbones)."""
    rules: tuple[Rule, ...] = ()
    """Link rules; the first that matches decides."""
    regions: dict[str, Coordinates] = field(default_factory=dict)
    """Regions beyond the known ones, by name."""
    delays: Delays = REGIONAL
    """How long a message takes from one computer to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualStake:
    """The same stake for everyone."""

    __pydantic_config__ = STRICT
    kind: Literal["equal"] = "equal"
    """Told apart by this."""
    amount: Annotated[int, Count(1, 10**15)] = 1_000_000
    """Stake units each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipfStake:
    """Validator i (from 0) has largest / (i + 1)**exponent, rounded down."""

    __pydantic_config__ = STRICT
    kind: Literal["zipf"]
    """Told apart by this."""
    largest: Annotated[int, Count(1, 10**15)]
    """Stake units of validator 0."""
    exponent_micro: Annotated[int, decimal("0", "4")] = 1_000_000
    """0 is equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalStake:
    """Lognormal stakes at evenly spaced quantiles, dealt out at random once a replicate."""

    __pydantic_config__ = STRICT
    kind: Literal["lognormal"]
    """Told apart by this."""
    median: Annotated[int, Count(1, 10**15)]
    """Stake units of the middle validator."""
    sigma_micro: Annotated[int, decimal("0", "4")]
    """Standard deviation of the logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStake:
    """One amount a validator, in the order of identities."""

    __pydantic_config__ = STRICT
    kind: Literal["listed"]
    """Told apart by this."""
    amounts: tuple[Stake, ...]
    """Stake units."""


Stakes: TypeAlias = Annotated[EqualStake | ZipfStake | LognormalStake | ListedStake, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Processor workers of a validator, by lane."""

    __pydantic_config__ = STRICT
    consensus: Annotated[int, Count(1, 1_024)] = 4
    """Verify, sign and hash for consensus."""
    agents: Annotated[int, Count(1, 1_024)] = 4
    """Verify agents' transactions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Identities without stake at genesis, that may register later."""

    __pydantic_config__ = STRICT
    placement: Annotated[Placement, Placed(Count(1, MAX_VALIDATORS), even=False)]
    """How many a region; they follow the genesis validators in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """Who runs consensus at genesis. Identities go region by region, in the order written."""

    __pydantic_config__ = STRICT
    count: Annotated[int, Count(1, MAX_VALIDATORS)]
    """How many; at least 4."""
    placement: Annotated[Placement, Placed(Count(0, MAX_VALIDATORS))]
    """How many a region, or a list of regions to spread evenly over."""
    stake: Stakes = EqualStake()
    """Stake at genesis."""
    initial_reputation_ppm: Annotated[int, share()] = 500_000
    """Reputation at genesis."""
    initial_uptime_ppm: Annotated[int, share()] = 1_000_000
    """Uptime at genesis."""
    workers: Workers = Workers()
    """Processors."""
    candidates: Candidates | None = None
    """Who may join later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Star:
    """The leader sends to everyone."""

    __pydantic_config__ = STRICT
    kind: Literal["star"] = "star"
    """Told apart by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Along a tree drawn anew for each message."""

    __pydantic_config__ = STRICT
    kind: Literal["tree"]
    """Told apart by this."""
    fanout: Annotated[int, Count(2, 1_000)]
    """Children of a validator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gossip:
    """Each validator passes a message on, once, to peers drawn anew for each message."""

    __pydantic_config__ = STRICT
    kind: Literal["gossip"]
    """Told apart by this."""
    fanout: Annotated[int, Count(2, 1_000)]
    """Peers of a validator."""


Dissemination: TypeAlias = Annotated[Star | Tree | Gossip, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """Pacemaker, blocks and dissemination."""

    __pydantic_config__ = STRICT
    timer_base_ns: Annotated[int, duration("1 ms", "1 h")]
    """View timer after progress."""
    timer_backoff_ppm: Annotated[int, decimal("1", "10")] = 1_500_000
    """Factor on the timer at each view without progress (a bare number: `1.5`)."""
    timer_max_ns: Annotated[int, duration("1 ms", "1 d")] = 60_000_000_000
    """Longest view timer."""
    min_block_interval_ns: Annotated[int, duration("0 s", "1 h")] = 0
    """Least time between a leader's block and its parent."""
    epoch_blocks: Annotated[int, Count(3, 1_000_000)] = 100
    """Blocks an epoch."""
    leader: Literal["weighted", "round_robin"] = "weighted"
    """How the leader of a view is drawn."""
    late_vote_leaders: Annotated[int, Count(0, 100)] = 3
    """Coming leaders to whom late votes go, for attendance."""
    max_block_transactions: Annotated[int, Count(1, 10**9)] = 100_000
    """Agent transactions a block."""
    max_block_refs: Annotated[int, Count(1, 10**6)] = 2_000
    """Payload references a block."""
    max_block_operations: Annotated[int, Count(1, 10_000)] = 64
    """Validator operations a block."""
    max_block_evidence: Annotated[int, Count(1, 10_000)] = 16
    """Proofs of offences a block."""
    max_block_attendance: Annotated[int, Count(0, 10_000)] = 128
    """Late votes a block."""
    mempool_refs: Annotated[int, Count(1, 10**7)] = 100_000
    """Payload references that a validator keeps; more are dropped, with that reason."""
    mempool_operations: Annotated[int, Count(1, 10**6)] = 1_024
    """Validator operations that a validator keeps."""
    sync_blocks: Annotated[int, Count(1, 10_000)] = 64
    """Blocks an answer to who is behind."""
    store_blocks: Annotated[int, Count(16, 10**6)] = 1_024
    """Final blocks that a validator keeps to answer who is behind. Who is further behind than all
    others keep, or lost its memory later than that, does not catch up."""
    dissemination: Dissemination = Star()
    """How broadcasts travel."""
    on_safety_violation: Literal["halt", "reconcile"] = "halt"
    """What honest validators do when they see two conflicting commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Voting weight. The three shares add up to 100 %."""

    __pydantic_config__ = STRICT
    stake_ppm: Annotated[int, share()] = 400_000
    """Share of the weight that follows stake."""
    reputation_ppm: Annotated[int, share()] = 400_000
    """Share of the weight that follows reputation."""
    uptime_ppm: Annotated[int, share()] = 200_000
    """Share of the weight that follows uptime."""
    cap_ppm: Annotated[int, share("0.01 %", "100 %")] = 150_000
    """Largest weight of a validator; the effective cap is at least 1 / n."""
    combine: Literal["additive", "stake_multiplied"] = "additive"
    """Add the three shares, or let reputation and uptime be factors on stake."""


Pair: TypeAlias = tuple[Annotated[int, share()], Annotated[int, share()]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Adaptive quorum: levels 0 (67 %), 1 (75 %), 2 (82 %). Pairs call for level 1 and 2."""

    __pydantic_config__ = STRICT
    initial_level: Annotated[int, Count(0, 2)] = 0
    """Level of the first epoch."""
    window_epochs: Annotated[int, Count(1, 1_000)] = 2
    """Epochs that are looked at."""
    cooldown_epochs: Annotated[int, Count(1, 1_000)] = 2
    """Epochs after a change before a step down."""
    byzantine_ppm: Pair = (10_000, 50_000)
    """Share of the weight proven Byzantine, summed over the window."""
    timeouts_per_block_ppm: tuple[
        Annotated[int, decimal("0", "1000")], Annotated[int, decimal("0", "1000")]
    ] = (200_000, 500_000)
    """Timeouts a committed block over the window (bare numbers)."""
    missed_ppm: Pair = (100_000, 200_000)
    """Share of the weight that did not vote, mean of the window."""
    liveness_guard: Annotated[bool, Flag()] = False
    """Rise only while proven and missed weight leave the higher level live."""
    guard_margin_ppm: Annotated[int, share()] = 20_000
    """Weight that the guard keeps free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slash:
    """Share of an offender's stake that is burned, by offence."""

    __pydantic_config__ = STRICT
    double_vote_ppm: Annotated[int, share()] = 50_000
    """Two votes in one view (5 %: Cosmos SDK, slash_fraction_double_sign)."""
    double_proposal_ppm: Annotated[int, share()] = 50_000
    """Two blocks in one view."""
    stale_timeout_ppm: Annotated[int, share()] = 50_000
    """A timeout that hides a certificate its signer had voted on."""
    tc_rule_ppm: Annotated[int, share()] = 50_000
    """A vote against the rule of the timeout certificate."""
    downtime_ppm: Annotated[int, share()] = 10_000
    """Less than `min_signed` of an epoch's blocks (1 %: Cosmos SDK, slash_fraction_downtime)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputation:
    """How reputation moves at the end of each epoch."""

    __pydantic_config__ = STRICT
    prior_ppm: Annotated[int, share()] = 500_000
    """What the score of an inactive validator decays toward."""
    half_life_epochs: Annotated[int, Count(1, 100_000)] = 8
    """Epochs in which half of the distance to the prior is gone."""
    floor_ppm: Annotated[int, share()] = 10_000
    """Least score."""
    ceiling_ppm: Annotated[int, share()] = 1_000_000
    """Greatest score."""
    attendance_gain_ppm: Annotated[int, share()] = 20_000
    """Gained by who attended all blocks of an epoch, pro rata (assumption, as all that follow)."""
    absence_loss_ppm: Annotated[int, share()] = 40_000
    """Lost by who attended none, pro rata."""
    proposal_gain_ppm: Annotated[int, share()] = 1_000
    """Gained by a committed proposal."""
    offence_loss_ppm: Annotated[int, share()] = 500_000
    """Fraction of the score lost by each proven offence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Stake and reputation."""

    __pydantic_config__ = STRICT
    min_stake: Annotated[int, Count(1, 10**15)] = 100_000
    """Stake units below which a validator is no member."""
    unbonding_epochs: Epochs = 4
    """Epochs until unbonded stake is free; it can still be slashed."""
    jail_epochs: Epochs = 2
    """Epochs before a jailed validator may return."""
    slash: Slash = Slash()
    """Fractions by offence."""
    correlation_multiplier: Annotated[int, Count(0, 100)] = 3
    """Factor on the share of stake slashed together (Ethereum: 3)."""
    correlation_epochs: Epochs = 4
    """Epochs over which offences count as together."""
    min_signed_ppm: Annotated[int, share()] = 0
    """Share of an epoch's blocks below which it is downtime (Cosmos SDK: 50 %); `0 %`: never."""
    tombstone: tuple[Offence, ...] = ("double_vote", "double_proposal")
    """Offences that jail for good (Cosmos SDK v0.53: double signing)."""
    uptime_gain_ppm: Annotated[int, share("0.01 %", "100 %")] = 250_000
    """Weight of the newest epoch in a validator's uptime (assumption)."""
    reputation: Reputation = Reputation()
    """Scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A validator operation, submitted by its operator."""

    __pydantic_config__ = STRICT
    kind: Literal["register", "top_up", "unbond", "unjail"]
    """What is asked."""
    validator: ValidatorIndex
    """By whom; candidates follow the genesis validators."""
    amount: Annotated[int, Count(0, 10**15)] = 0
    """Stake units; none for `unjail`."""
    at_ns: Instant
    """When it is submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crypto:
    """Signatures: ML-DSA-87."""

    __pydantic_config__ = STRICT
    signatures: Literal["modelled", "real"] = "modelled"
    """Sizes and costs only, or truly signed and verified."""
    suite: Literal["pqcrypto", "pycryptodome"] = "pqcrypto"
    """Which implementation signs when they are real."""
    costs: Annotated[str, Text(200, what="a cost table or a path to one")] = "pqcrypto"
    """Simulated time an operation takes: a table by name, or a file of `creto-sim calibrate`, by
    its path from the working folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One question, and everything a run needs to answer it."""

    __pydantic_config__ = STRICT
    schema_version: Literal["creto-sim/1"]
    """Version of this format."""
    name: Annotated[
        str, Text(60, r"[a-z0-9][a-z0-9_-]*", "a name of small letters, digits, _ and -")
    ]
    """Names its results; left out in a file, the file's own name."""
    title: Annotated[str, Text(100)]
    """What it is, in a few words."""
    question: Annotated[str, Text(600)]
    """What the run answers."""
    seed: Annotated[int, Count(0, 2**63 - 1)] = 1
    """Root of all chance."""
    replicates: Annotated[int, Count(1, 10_000)] = 1
    """Runs with chance of their own."""
    until: Until | None = None
    """Add replicates until an interval is narrow; `replicates` are then the pilot."""
    duration_ns: Annotated[int, duration("100 ms", "365 d")] = 60_000_000_000
    """Simulated time of a run."""
    record: Record = STANDARD
    """Which tables and samples."""
    network: Network
    """Links."""
    validators: Validators
    """Who runs consensus."""
    consensus: Consensus
    """How."""
    protocol: Protocol = CRETO
    """What the validators run: the main protocol, or a published one to compare it with."""
    weights: Weights = Weights()
    """Voting weight."""
    quorum: Quorum = Quorum()
    """Adaptive quorum."""
    ledger: Ledger = Ledger()
    """Rules of stake and reputation."""
    operations: tuple[Operation, ...] = ()
    """Validator operations."""
    crypto: Crypto = Crypto()
    """Signatures."""
    agents: Agents | None = None
    """Who uses the network; left out, nobody."""
    clouds: Clouds | None = None
    """What surrounds validators in their clouds; left out, every link is open, and plans are made
    with the defaults."""
    faults: tuple[Fault, ...] = ()
    """What breaks."""
    adversaries: tuple[Attack, ...] = ()
    """Who attacks."""
    alerts: Alerts | None = None
    """What else than the alert rules that ship is evaluated; left out, those are."""
    storage: Literal["memory", "rocksdb"] | None = None
    """Where stakes, reputations and the audit log are kept; left out, in memory."""
    start_from: Annotated[str, Text(300, what="the path of a run")] | None = None
    """A run with `storage: rocksdb`, by its path from the working folder, whose stakes and
    reputations are those of genesis and whose audit log goes on; left out, none."""
    compliance: Compliance | None = None
    """Audit, access control, personal data; left out, none of it."""
    expect: tuple[Check, ...]
    """What makes the verdict `met`."""
    sweep: Sweep | None = None
    """Settings that take several values, one point each."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the resolved scenario: every field, defaults included."""
        from sim.scenario.resolved import digest

        return digest(self)

    def to_yaml(self) -> str:
        """Return the resolved scenario as YAML that loads to an equal scenario."""
        from sim.scenario.resolved import to_yaml

        return to_yaml(self)

    def points(self) -> tuple[Point, ...]:
        """Return one scenario a point of the sweep; the scenario itself where there is none."""
        from sim.scenario.validate import points

        return points(self)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep. `settings`: (path, value as text) of what varies."""

    index: int
    settings: tuple[tuple[str, str], ...]
    scenario: Scenario
