"""Lazy vote: vote late, and without having looked at the payload."""

from __future__ import annotations

from typing import Any, ClassVar

from sim.protocol.effects import RequestPayload
from sim.protocol.events import PayloadReady
from sim.world.adversary import Alarm, Attack, Edited, Later, own_vote


class LazyVote(Attack):
    """Hold each own vote back for `delay_ns`; with `blind`, vote before the payload is held.

    Late votes cost the chain latency where the quorum needs them (members above 1 - q), and the
    members their attendance where it does not. Blind votes certify blocks whose transactions too
    few may hold: with honest holders below a quorum such a block is final, and who lacks the
    payload has to pull it. Neither convicts; neither touches agreement.
    """

    kind: ClassVar[str] = "lazy_vote"

    def __init__(self, delay_ns: int, blind: bool) -> None:
        self._delay_ns = delay_ns
        self._blind = blind

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            if own_vote(effect, me) is not None:
                effect = Later(effect, self._delay_ns)  # type: ignore[arg-type]
            elif self._blind and isinstance(effect, RequestPayload) and effect.refs:
                effect = Alarm(PayloadReady(effect.refs, effect.request_id), 0)
            out.append(effect)
        return out

    def woken(self, me: int, token: Any, now_ns: int) -> list[Edited]:
        assert isinstance(token, PayloadReady)
        return self.edit(me, list(self.scene.cores[me].handle(token, now_ns)), now_ns)
