"""What single edits do, effect by effect: the parts that a whole run would hide in a figure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sim.protocol.effects import Broadcast, RequestBlocks, RequestPayload, Send, SetTimer
from sim.protocol.events import MessageReceived, PayloadReady
from sim.protocol.messages import (
    EvidenceMessage,
    LateVotes,
    Message,
    Proposal,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.types import (
    QC,
    Block,
    EpochParameters,
    Operation,
    PayloadRef,
    Timeout,
    Vote,
    WeightTable,
    digest,
)
from sim.world.adversary import Alarm, Attack, Corrupted, Edited, Later, Scene
from sim.world.adversary.adaptive_corruption import AdaptiveCorruption
from sim.world.adversary.attendance_theft import AttendanceTheft
from sim.world.adversary.censor import Censor
from sim.world.adversary.equivocate import Equivocate
from sim.world.adversary.evidence_suppression import EvidenceSuppression
from sim.world.adversary.invalid_signature_flood import InvalidSignatureFlood
from sim.world.adversary.lazy_vote import LazyVote
from sim.world.adversary.selective_send import SelectiveSend
from sim.world.adversary.silent import Silent
from sim.world.adversary.withhold import Withhold
from sim.world.crypto.signer import FORGED

ME, SEVEN = 2, 7
PARENT = digest("parent")
JUSTIFY = QC(1, 3, PARENT, 127)
VOTE = Vote(1, 4, digest("block"), ME)
TIMER = SetTimer((1, 4, "view"), 10)
ASK = RequestBlocks(1, b"", 0, 1)


def block(**content: Any) -> Block:
    return Block(1, 4, 4, ME, PARENT, JUSTIFY, **content)


class Core(SimpleNamespace):
    """As much of a validator as an edit looks at."""

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        self.heard.append(event)
        return [Send(5, VoteMessage(VOTE))]


def joined(attack: Attack, *members: int, **state: Any) -> Attack:
    """Give an attack its scene: seven identities, cores that stand in view 4 of epoch 1."""
    weights = WeightTable((1,) * SEVEN, SEVEN)
    epoch = EpochParameters(1, PARENT, 0, weights, 0, 5, 2, PARENT)
    chain = SimpleNamespace(epoch=epoch, high_qc=JUSTIFY, tree=state.get("tree", {}))
    cores: Any = {
        me: Core(me=me, epoch=1, view=4, chain=chain, heard=[], **state) for me in members or (ME,)
    }
    attack.join(
        Scene(
            cores,
            SEVEN,
            copy=lambda me: cores[me],
            sign=lambda me, message: message,
            sign_operation=lambda operation: operation,
        )
    )
    return attack


def receivers(effects: list[Edited], kind: type[Message]) -> list[int]:
    return sorted(e.to for e in effects if isinstance(e, Send) and isinstance(e.message, kind))


def test_silence_keeps_what_nobody_hears() -> None:
    said: list[Edited] = [TIMER, Send(1, VoteMessage(VOTE)), Broadcast(Proposal(block())), ASK]
    assert joined(Silent()).edit(ME, said, 0) == [TIMER]


def test_what_is_withheld_reaches_everybody_else() -> None:
    proposal, timeout = Proposal(block()), TimeoutMessage(Timeout(1, 4, 3, PARENT, ME))
    said: list[Edited] = [
        Send(ME, proposal),
        Broadcast(proposal),
        Broadcast(timeout),
        Send(0, VoteMessage(VOTE)),
        TIMER,
    ]
    attack = joined(Withhold(9, ("proposals", "timeouts"), (0, 1)))
    out = attack.edit(ME, said, 0)
    assert receivers(out, Proposal) == [2, 3, 4, 5, 6]
    assert receivers(out, TimeoutMessage) == [3, 4, 5, 6]
    assert receivers(out, VoteMessage) == [0]
    assert TIMER in out
    votes = joined(Withhold(9, ("votes",), (0, 1)))
    assert votes.edit(ME, [Send(0, VoteMessage(VOTE)), Broadcast(timeout)], 0) == [
        Broadcast(timeout)
    ]


def test_a_selective_sender_reaches_the_same_ones_all_through_a_view() -> None:
    attack = joined(SelectiveSend(9, 600_000), ME, 6)
    proposal = Proposal(block())
    reached = receivers(attack.edit(ME, [Broadcast(proposal)], 0), Proposal)
    # Three of the five others, and the friend.
    assert len(reached) == 4
    assert 6 in reached
    for to in range(SEVEN):
        kept = attack.edit(ME, [Send(to, VoteMessage(VOTE))], 0)
        assert bool(kept) == (to in reached or to == ME)
    assert bool(attack.edit(ME, [ASK], 0)) == (ASK.peer in reached)


def test_a_censor_leaves_out_payload_and_operations_of_its_victims_only() -> None:
    refs = (PayloadRef(0, 0, 4, 9), PayloadRef(1, 0, 4, 9))
    operations = (Operation("unbond", 3, 1, 0), Operation("unbond", 4, 1, 0))
    full, clean = block(payload=refs, operations=operations), block(payload=refs[1:])
    attack = joined(Censor((0,), (3,), False))
    mine, others = attack.edit(ME, [Send(ME, Proposal(full)), Broadcast(Proposal(full))], 0)
    assert isinstance(mine, Send)
    assert isinstance(others, Broadcast)
    assert mine.message is others.message
    assert isinstance(mine.message, Proposal)
    assert mine.message.block.payload == refs[1:]
    assert mine.message.block.operations == operations[1:]
    untouched = Broadcast(Proposal(clean))
    assert attack.edit(ME, [untouched], 0) == [untouched]
    # Who refuses votes does so for what it would have left out, and for nothing else.
    for judged, passes in ((full, False), (clean, True)):
        strict = joined(Censor((0,), (3,), True), tree={judged.id: judged})
        vote = Send(5, VoteMessage(VOTE._replace(block=judged.id)))
        assert strict.edit(ME, [vote], 0) == ([vote] if passes else [])


def test_a_lazy_voter_is_late_and_blind() -> None:
    vote = Send(5, VoteMessage(VOTE))
    wanted = RequestPayload((PayloadRef(0, 0, 4, 9),), 7)
    asked = RequestPayload((), 8)
    slow = joined(LazyVote(50, False))
    assert slow.edit(ME, [vote, wanted], 0) == [Later(vote, 50), wanted]
    blind = joined(LazyVote(50, True))
    answer = PayloadReady(wanted.refs, 7)
    assert blind.edit(ME, [wanted, asked], 0) == [Alarm(answer, 0), asked]
    # Its core is told that the payload is there, and votes.
    assert blind.woken(ME, answer, 0) == [Later(vote, 50)]
    core: Any = blind.scene.cores[ME]
    assert core.heard == [answer]


def test_an_equivocator_shows_friends_both_and_others_one() -> None:
    proposal = Proposal(block(payload=(PayloadRef(0, 0, 4, 9),)))
    attack = joined(Equivocate(9, 400_000), ME, 6)
    out = attack.edit(ME, [Broadcast(proposal)], 0)
    seen: dict[int, list[bytes]] = {}
    for effect in out:
        assert isinstance(effect, Send)
        assert isinstance(effect.message, Proposal)
        seen.setdefault(effect.to, []).append(effect.message.block.id)
    assert len(seen[6]) == 2
    assert sorted(seen) == [0, 1, 3, 4, 5, 6]
    misled = [to for to in (0, 1, 3, 4, 5) if seen[to] != [proposal.block.id]]
    assert len(misled) == 2


def test_who_suppresses_evidence_passes_on_what_concerns_strangers() -> None:
    from sim.protocol.evidence import double_vote

    def told(voter: int) -> EvidenceMessage:
        first = VOTE._replace(voter=voter)
        return EvidenceMessage(double_vote(first, first._replace(block=PARENT)))

    attack = joined(EvidenceSuppression((3,)))
    assert attack.edit(ME, [Broadcast(told(3)), Broadcast(told(4))], 0) == [Broadcast(told(4))]
    full = block(evidence=(told(3).evidence, told(4).evidence))
    (left,) = attack.edit(ME, [Broadcast(Proposal(full))], 0)
    assert isinstance(left, Broadcast)
    assert isinstance(left.message, Proposal)
    assert left.message.block.evidence == (told(4).evidence,)


def test_a_thief_counts_a_victim_where_the_quorum_needs_it() -> None:
    of_victim = MessageReceived(0, VoteMessage(VOTE._replace(voter=0)))
    of_other = MessageReceived(3, VoteMessage(VOTE._replace(voter=3)))
    attack = joined(AttendanceTheft((0, 1)))
    assert attack.see(ME, of_victim, 0) == []
    assert attack.see(ME, of_other, 0) is None
    needed = joined(AttendanceTheft((0, 1, 5)))
    assert needed.see(ME, of_victim, 0) is None
    late = LateVotes((VOTE._replace(voter=0), VOTE._replace(voter=3)))
    assert attack.edit(ME, [Send(4, late)], 0) == [Send(4, LateVotes(late.votes[1:]))]
    assert attack.edit(ME, [Send(4, LateVotes(late.votes[:1]))], 0) == []


def test_a_flood_spares_friends_and_never_claims_a_true_statement() -> None:
    attack = joined(InvalidSignatureFlood(9, 100, 3, (0, 1, 6)), ME, 6)
    assert attack.begin(ME, 0) == [Alarm("message", 100)]
    sent: dict[int, list[bytes]] = {}
    for tick in range(6):
        message, again = attack.woken(ME, "message", tick)
        assert again == Alarm("message", 100)
        assert isinstance(message, Send)
        assert isinstance(message.message, LateVotes)
        assert len(message.message.votes) == 3
        assert all(vote.signature == FORGED for vote in message.message.votes)
        sent.setdefault(message.to, []).append(message.message.votes[0].block)
    assert sorted(sent) == [0, 1]
    assert len({block for blocks in sent.values() for block in blocks}) == 6


def test_an_adversary_with_a_budget_never_owns_more() -> None:
    from sim.protocol.effects import ViewChanged

    parameters = SimpleNamespace(timer_base_ns=100)
    state = {"parameters": parameters, "leader": lambda view: view % SEVEN}
    attack = joined(AdaptiveCorruption(2, 0, True), *range(SEVEN), **state)
    owned: list[int] = []
    for view in range(1, 30):
        now_ns = view * 50
        for me in range(SEVEN):
            out = attack.edit(me, [ViewChanged(1, view, "certificate"), ASK], now_ns)
            if Corrupted() in out and me not in owned:
                owned.append(me)
        silent = [me for me in range(SEVEN) if ASK not in attack.edit(me, [ASK], now_ns)]
        assert len(silent) <= 2
        assert view % SEVEN in silent
    assert sorted(owned) == list(range(SEVEN))
    fixed = joined(AdaptiveCorruption(2, 0, False), *range(SEVEN), **state)
    for view in range(1, 30):
        for me in range(SEVEN):
            fixed.edit(me, [ViewChanged(1, view, "certificate")], view * 50)
    held = [me for me in range(SEVEN) if ASK not in fixed.edit(me, [ASK], 10_000)]
    assert len(held) == 2
