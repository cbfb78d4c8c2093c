"""Catching up: what to ask of whom, what to answer, what of an answer may be believed.

Owns the asking's bookkeeping and the judgement of responses. Must not know votes, leaders, timers.
"""

from __future__ import annotations

from itertools import pairwise

from sim.protocol.chain import Chain
from sim.protocol.effects import Dropped, Effect, RequestBlocks, Send
from sim.protocol.epochs import check_proof
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    CertificateRequest,
    Message,
    Proposal,
)
from sim.protocol.types import BlockId, CertificateRef, ValidatorId

ANYTHING = b""
"""As `wanted`: whatever the peer follows."""
ORPHANS = 16
"""Proposals kept until their parent has been fetched."""
_PULLS = 64
_PULLS_A_CERTIFICATE = 3


class Sync:
    """What one validator has asked for and not got yet; each ask may be repeated after a while."""

    __slots__ = ("_asked_ns", "_me", "_pulls", "_retry_ns", "depth", "floor", "orphans")

    def __init__(self, me: ValidatorId, retry_ns: int) -> None:
        self._me = me
        self._retry_ns = retry_ns
        self._asked_ns: int | None = None
        self._pulls: dict[CertificateRef, tuple[int, int]] = {}
        self.orphans: dict[BlockId, tuple[ValidatorId, Proposal]] = {}
        """Parent that is not here -> sender and proposal."""
        self.depth = 0
        """How far below the final block to ask: grows while answers do not connect."""
        self.floor: int | None = None
        """Height up to which the wanted branch is here, once an answer has connected."""

    def keep_orphan(self, sender: ValidatorId, proposal: Proposal, out: list[Effect]) -> None:
        """Keep a proposal until its parent is here; the lowest view gives way."""
        self.orphans[proposal.block.parent] = (sender, proposal)
        if len(self.orphans) > ORPHANS:
            del self.orphans[min(self.orphans, key=lambda p: self.orphans[p][1].block.view)]
            out.append(Dropped("orphans", 1, "full"))

    def ask(
        self, peer: ValidatorId, wanted: BlockId, chain: Chain, now_ns: int, out: list[Effect]
    ) -> None:
        """Ask for blocks unless an answer is still awaited."""
        awaited = self._asked_ns is not None and now_ns - self._asked_ns < self._retry_ns
        if awaited or peer == self._me:
            return
        self._asked_ns = now_ns
        floor = self.floor
        if floor is None:
            floor = max(chain.epoch.root_height, chain.tree.final.height - self.depth)
        out.append(RequestBlocks(peer, wanted, floor, chain.epoch.epoch))

    def answered(self) -> None:
        self._asked_ns = None

    def pull(self, peer: ValidatorId, ref: CertificateRef, now_ns: int, out: list[Effect]) -> None:
        """Ask for a certificate, of a few peers at once at most: the first may not answer."""
        count, since_ns = self._pulls.pop(ref, (0, now_ns))
        if now_ns - since_ns >= self._retry_ns:
            count, since_ns = 0, now_ns
        if count < _PULLS_A_CERTIFICATE and peer != self._me:
            out.append(Send(peer, CertificateRequest(ref)))
            count += 1
        self._pulls[ref] = (count, since_ns)
        if len(self._pulls) > _PULLS:
            del self._pulls[next(iter(self._pulls))]


def answer(chain: Chain, request: BlocksRequest, limit: int) -> BlocksResponse:
    """Give up to `limit` blocks of the asker's epoch, ascending, and what proves them.

    An asker in an earlier epoch gets that epoch's blocks and, with its last, the proof.
    """
    tree = chain.tree
    proof = None
    if request.epoch < chain.epoch.epoch:
        proof = chain.proofs.get(request.epoch)
        if proof is None:
            return BlocksResponse(())
        target = proof.root.id
    elif request.epoch > chain.epoch.epoch:
        return BlocksResponse(())
    else:
        target = request.wanted if request.wanted in tree else chain.high_qc.block
    whole = tree.path(target, request.above_height, 1 << 30)
    blocks = whole[:limit]
    if len(blocks) < len(whole):
        return BlocksResponse(blocks, None, whole[limit].justify)
    certificate = tree.certificate(blocks[-1].id) if blocks else None
    return BlocksResponse(blocks, proof, certificate)


def check_response(chain: Chain, response: BlocksResponse) -> str | None:
    """Say why the blocks of a response may not be believed; None when they may.

    The last is certified by the response, by its proof or by a certificate that waits here;
    hashes tie the others to it. reason: wrong_epoch | broken_chain | unconnected | uncertified |
    what the certificate lacks.
    """
    blocks = response.blocks
    last = blocks[-1]
    if any(block.epoch != chain.epoch.epoch for block in blocks):
        return "wrong_epoch"
    for parent, block in pairwise(blocks):
        if block.parent != parent.id or block.justify.block != parent.id:
            return "broken_chain"
    if blocks[0].parent not in chain.tree:
        return "unconnected"
    known = chain.pending.get(last.id)
    if known is not None and known.view == last.view:
        return None
    proof = response.proof
    if proof is not None and proof.root.id == last.id:
        return check_proof(proof, chain.epoch)
    qc = response.certificate
    if qc is None or qc.block != last.id or qc.view != last.view:
        return "uncertified"
    return chain.check(qc)


def concerns(message: Message) -> str:
    """Name a message's kind for a rejection, in lower case."""
    return type(message).__name__.removesuffix("Message").lower()
