"""Every kind of adversary there is: the union that the `adversaries` section is read by.

Owns: the register of kinds. Must not know: what any of them does.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from sim.scenario.adversaries import (
    AdaptiveCorruption,
    AttendanceTheft,
    Censor,
    DelayProposals,
    DoubleVote,
    Equivocate,
    EvidenceSuppression,
    Forking,
    HideCertificate,
    InvalidSignatureFlood,
    InventedHistory,
    LazyVote,
    LevelThenSilence,
    LongRange,
    SelectiveSend,
    Silent,
    Sleeper,
    StakeGrinding,
    TimeoutSpam,
    Twins,
    Withhold,
)
from sim.scenario.agent_adversaries import (
    AgentSpam,
    Eclipse,
    LookupDrop,
    LookupMisroute,
    LyingHost,
    RegistrationFlood,
    TablePoisoning,
)
from sim.scenario.choices import ByKind

Attack: TypeAlias = Annotated[
    Silent
    | Withhold
    | SelectiveSend
    | Equivocate
    | DoubleVote
    | Twins
    | DelayProposals
    | LazyVote
    | Censor
    | InvalidSignatureFlood
    | TimeoutSpam
    | AttendanceTheft
    | EvidenceSuppression
    | Sleeper
    | LevelThenSilence
    | StakeGrinding
    | AdaptiveCorruption
    | LongRange
    | Forking
    | HideCertificate
    | InventedHistory
    | AgentSpam
    | RegistrationFlood
    | LookupDrop
    | LookupMisroute
    | Eclipse
    | TablePoisoning
    | LyingHost,
    ByKind(),
]
