"""Let a core run on a computer whose keys lie elsewhere, or which a fault has struck.

Owns the place of key services, and of faults of clocks, disks and keys, between a core and whoever
drives it (the driver, or a mind): what the core takes for the time, what of its own leaves and
when. Statements that an adversary makes up itself don't pass here: it holds its keys. Must not know
the timetable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from sim.engine.meter import kind_of
from sim.engine.node import Core
from sim.protocol.chain import Chain
from sim.protocol.effects import Broadcast, Dropped, NoVote, Persist, Rejected, Send, SetTimer
from sim.protocol.events import BlocksReceived, Event, MessageReceived, Restarted
from sim.protocol.messages import Message, Proposal, VoteMessage
from sim.world.adversary import Later
from sim.world.crypto.key_service import KeyService
from sim.world.faults.clock_skew import LocalClock
from sim.world.faults.disk import Disk

if TYPE_CHECKING:
    from sim.engine.custody import Account
    from sim.engine.world import Chained


class Impaired:
    """A core on such a computer: it stands in the core's place.

    `owes(me, message)` says whether a message carries a statement of its own that is not signed.
    """

    def __init__(
        self, core: Core, me: int, disk: Disk, owes: Callable[[int, Message], bool]
    ) -> None:
        self._core = core
        self._me = me
        self._owes = owes
        self.clock = LocalClock()
        self.disk = disk
        self.unsigned = 0
        """How many faults keep it from signing."""
        self.account: Account | None = None
        """Who holds its keys; None where it does so itself."""
        self.services: list[KeyService] = []
        """Who grants its signatures; all of them must."""
        self.signed = self.signing_ns = 0
        """Signatures that services granted it, and how long they took."""
        self._unwritten: Persist | None = None
        self._last_ns = 0
        """When the last of its own statements leaves: later ones never overtake it."""

    @property
    def chain(self) -> Chain:
        return cast("Chained", self._core).chain

    def replace(self, core: Core) -> None:
        """Let another core run here from now on."""
        self._core = core

    def handle(self, event: Event, now_ns: int) -> list[Any]:
        """Let the core handle `event` by its own clock; return what leaves, and when."""
        if isinstance(event, Restarted):
            # What was not written is lost with the memory.
            self._unwritten = None
            self._last_ns = now_ns
            self.disk.crash(now_ns)
        elif self.disk.full:
            lost = _blocks_in(event)
            if lost is not None:
                return [lost]
        effects: list[Any] = self._core.handle(event, self.clock.local_ns(now_ns))
        if not self.clock.true:
            effects = [self._timed(effect, now_ns) for effect in effects]
        if self._free(now_ns):
            return effects
        return self._checked(effects, now_ns)

    def _timed(self, effect: Any, now_ns: int) -> Any:
        """Turn a delay of its own clock into true time."""
        if type(effect) is not SetTimer:
            return effect
        due_ns = self.clock.true_ns(self.clock.local_ns(now_ns) + effect.delay_ns)
        return SetTimer(effect.timer_id, max(0, due_ns - now_ns))

    def _free(self, now_ns: int) -> bool:
        """Say whether all leaves as the core says it."""
        if self.unsigned or self.services or self._unwritten is not None:
            return False
        return self.disk.sound and self.disk.durable_ns(now_ns) == now_ns >= self._last_ns

    def _checked(self, effects: list[Any], now_ns: int) -> list[Any]:
        """Write before statements leave, and sign them elsewhere; say what could not be said."""
        out: list[Any] = []
        if self._unwritten is not None:
            self._write(self._unwritten, now_ns, out)
        asked: tuple[Any, int] = (None, 0)
        for effect in effects:
            if type(effect) is Persist:
                self._write(effect, now_ns, out)
            elif isinstance(effect, Send | Broadcast) and self._owes(self._me, effect.message):
                refusal = self._refusal()
                if refusal:
                    out.append(_unsaid(effect.message, refusal))
                    continue
                if asked[0] is not effect.message:
                    asked = (effect.message, self._leaves_ns(now_ns))
                out.append(_later(effect, asked[1] - now_ns))
            else:
                out.append(effect)
        return out

    def _refusal(self) -> str:
        if self._unwritten is not None:
            return "not_persisted"
        return "not_signed" if self.unsigned else ""

    def _leaves_ns(self, now_ns: int) -> int:
        """Return when a statement made now is durable and signed, each asked for at once."""
        granted = [service.sign(now_ns) for service in self.services]
        if granted:
            took_ns = max(granted) - now_ns
            self.signed += 1
            self.signing_ns += took_ns
            if self.account is not None:
                self.account.signed(took_ns)
        self._last_ns = max([self.disk.durable_ns(now_ns), self._last_ns, *granted])
        return self._last_ns

    def _write(self, effect: Persist, now_ns: int, out: list[Any]) -> None:
        done_ns = self.disk.write(now_ns)
        self._unwritten = effect if done_ns is None else None
        if done_ns is not None:
            out.append(_later(effect, done_ns - now_ns))


def _later(effect: Any, delay_ns: int) -> Any:
    return Later(effect, delay_ns) if delay_ns else effect


def _blocks_in(event: Event) -> Rejected | None:
    """Return the refusal of blocks that there is no room for; None where it brings none."""
    if isinstance(event, BlocksReceived):
        return Rejected(event.sender, "blocks", "disk_full")
    if isinstance(event, MessageReceived) and type(event.message) is Proposal:
        return Rejected(event.sender, "proposal", "disk_full")
    return None


def _unsaid(message: Message, reason: str) -> Any:
    """Return the observation of a statement that its validator could not make."""
    if type(message) is VoteMessage:
        vote = message.vote
        return NoVote(vote.epoch, vote.view, vote.block, reason)
    return Dropped(kind_of(type(message)), 1, reason)
