"""Golden interaction traces: a tiny command language and the transcript it must give.

A trace file holds commands (`> ...`) each followed by its transcript. With REWRITE_TRACES=1 in the
environment the transcripts are written anew: read the difference before committing it.

network COUNT [epoch_blocks=N] [timer_ms=N]   every message takes 10 ms
down NODE...                                  nodes that never start (give it before `start`)
start                                         start all others
run MS                                        run that much longer
crash NODE | restart NODE [amnesia]
cut A,B|C,D  and  heal                        drop messages between the groups, or stop doing so
twin NODE                                     NODE proposes a second block to the upper half
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.protocol.effects import (
    Accused,
    Broadcast,
    Certified,
    Committed,
    Effect,
    EpochChanged,
    Forked,
    NoVote,
    Rejected,
    Send,
    ViewChanged,
)
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    CertificateRequest,
    CertificateResponse,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    Message,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.types import QC, Operation
from tests.protocol.harness import MS, Network, rules, settings, sign

HERE = Path(__file__).parent
DELAY_NS = 10 * MS


class Transcript:
    """Run the commands of one trace and write down what validators send and observe."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[bytes, str] = {}
        self.network: Network
        self.groups: list[list[int]] = []
        self.idle: list[int] = []
        self.twins: list[int] = []

    def command(self, text: str) -> list[str]:
        self.lines = []
        name, *arguments = text.split()
        actions: dict[str, Callable[..., None]] = {
            "network": self.build,
            "down": lambda *nodes: self.idle.extend(map(int, nodes)),
            "start": self.start,
            "run": lambda ms: self.network.run(self.network.now_ns + int(ms) * MS) and None,
            "crash": lambda node: self.network.crash(int(node)),
            "restart": lambda node, how="": self.network.restart(int(node), amnesia=bool(how)),
            "cut": self.cut,
            "heal": self.groups.clear,
            "twin": lambda node: self.twins.append(int(node)),
        }
        actions[name](*arguments)
        return self.lines

    def build(self, count: str, *options: str) -> None:
        chosen = {key: int(value) for key, value in (o.split("=") for o in options)}
        self.network = Network(
            int(count),
            ledger=rules(epoch_blocks=chosen.get("epoch_blocks", 100)),
            parameters=settings(
                timer_base_ns=chosen.get("timer_ms", 200) * MS, late_vote_leaders=0
            ),
            link=self.link,
            private_ledgers=True,
        )
        execute = self.network.execute

        def traced(node: int, effect: Effect) -> None:
            line = self.tell(node, effect)
            if line:
                self.lines.append(f"{self.network.now_ns // MS:>6} ms  {node}  {line}")
            execute(node, effect)
            if node in self.twins and isinstance(effect, Broadcast):
                self.equivocate(node, effect.message)

        self.network.execute = traced  # type: ignore[method-assign]

    def start(self) -> None:
        self.network.down = set(self.idle)
        self.network.start([n for n in self.network.validators if n not in self.idle])

    def cut(self, groups: str) -> None:
        self.groups[:] = [[int(n) for n in group.split(",")] for group in groups.split("|")]

    def link(self, sender: int, receiver: int, message: Message, now_ns: int) -> int | None:
        apart = self.groups and not any(sender in g and receiver in g for g in self.groups)
        return None if apart else DELAY_NS

    def equivocate(self, node: int, message: Message) -> None:
        if isinstance(message, Proposal):
            extra = Operation("top_up", node, 1, 0)
            signed = extra._replace(signature=sign(node, extra.signed_bytes()))
            twin = replace(message.block, operations=(signed,), signature=b"")
            for peer in list(self.network.validators)[len(self.network.validators) // 2 :]:
                self.network.execute(node, Send(peer, Proposal(twin)))

    def block(self, block_id: bytes) -> str:
        genesis = self.network.validators[0].ledger.genesis_block.id
        return self.names.setdefault(block_id, "root" if block_id == genesis else self.fresh())

    def fresh(self) -> str:
        return f"b{1 + sum(name != 'root' for name in self.names.values())}"

    def qc(self, qc: QC) -> str:
        signers = [i for i in range(qc.signers.bit_length()) if qc.signers >> i & 1]
        return f"qc({qc.epoch}.{qc.view} {self.block(qc.block)} by {signers})"

    def tell(self, node: int, effect: Any) -> str | None:
        if isinstance(effect, Send):
            return None if effect.to == node else f"-> {effect.to}: {self.say(effect.message)}"
        if isinstance(effect, Broadcast):
            return f"-> all: {self.say(effect.message)}"
        if isinstance(effect, ViewChanged):
            return f"enters {effect.epoch}.{effect.view} by {effect.reason}"
        if isinstance(effect, Committed):
            return f"COMMITS {self.block(effect.block)} at height {effect.height}"
        if isinstance(effect, Certified):
            return f"certifies {self.qc(effect.qc)}"
        if isinstance(effect, EpochChanged):
            return f"opens epoch {effect.epoch} on {self.block(effect.root)}"
        if isinstance(effect, NoVote):
            return f"no vote for {self.block(effect.block)}: {effect.reason}"
        if isinstance(effect, Rejected):
            return f"rejects {effect.what} of {effect.sender}: {effect.reason}"
        if isinstance(effect, Accused):
            return f"ACCUSES {effect.evidence.offender} of {effect.evidence.kind}"
        if isinstance(effect, Forked):
            return f"fork: {effect.kind} {[self.block(b) for b in effect.branches]}"
        return None

    def say(self, message: Message) -> str:
        if isinstance(message, Proposal):
            block = message.block
            tc = "" if block.tc is None else f" tc({block.tc.view})"
            place = f"{block.epoch}.{block.view} height {block.height}"
            return f"propose {self.block(block.id)} {place} on {self.qc(block.justify)}{tc}"
        if isinstance(message, VoteMessage):
            return f"vote {self.block(message.vote.block)}"
        if isinstance(message, TimeoutMessage):
            timeout = message.timeout
            return f"timeout {timeout.epoch}.{timeout.view} high {timeout.high_qc_view}"
        if isinstance(message, TimeoutCertificateMessage):
            return f"tc {message.tc.epoch}.{message.tc.view}"
        if isinstance(message, CertificateRequest):
            return f"certificate of {self.block(message.ref.block)}?"
        if isinstance(message, CertificateResponse):
            return self.qc(message.certificate)
        if isinstance(message, EpochProofMessage):
            return f"proof of root {self.block(message.proof.root.id)}"
        if isinstance(message, BlocksRequest):
            return f"blocks above {message.above_height}?"
        if isinstance(message, BlocksResponse):
            return f"blocks {[self.block(b.id) for b in message.blocks]}"
        if isinstance(message, EvidenceMessage):
            return f"evidence against {message.evidence.offender}"
        if isinstance(message, LateVotes):
            return f"late votes of {[v.voter for v in message.votes]}"
        return type(message).__name__


def play(text: str) -> str:
    transcript = Transcript()
    out: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            out += [line, *transcript.command(line[2:])]
        elif line.startswith("#"):
            out.append(line)
    return "\n".join(out) + "\n"


TRACES = sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    text = path.read_text()
    played = play(text)
    if os.environ.get("REWRITE_TRACES"):
        path.write_text(played)
    assert played == path.read_text(), "REWRITE_TRACES=1 writes it anew"


def test_there_are_traces() -> None:
    assert len(TRACES) >= 5
