"""The reference's sessions: who comes, who goes, what is due on a return.

Owns: one event an agent's next toggle; mass disconnects. Must not know: columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine.reference_parts import Lost, Message, at_priority
from sim.world.agents import draws, kinds
from sim.world.agents.changes import Disconnect
from sim.world.agents.draws import scaled
from sim.world.agents.kinds import GRID_NS, PPM
from sim.world.agents.population import session_tables
from sim.world.chance import mix

if TYPE_CHECKING:
    from sim.engine.reference import Reference


class SessionsReference:
    """All agents' sessions."""

    def __init__(self, plane: Reference) -> None:
        self.plane, self.p, self.env, self.people = plane, plane.p, plane.env, plane.people
        self.version = [0] * self.p.agents
        self.tables = session_tables(self.p.sessions) if self.p.sessions else None
        for agent in range(self.p.agents if self.p.sessions else 0):
            self.watch(agent)

    def watch(self, agent: int) -> None:
        toggle_ns = int(self.people.session[agent]) >> 1
        version = self.version[agent]
        event = at_priority(self.env, 0, toggle_ns - self.env.now)
        event.callbacks.append(lambda _: self._toggle(agent, version))

    def _toggle(self, agent: int, version: int) -> None:
        if version != self.version[agent]:
            return
        online = not self.plane.online(agent)
        number = int(self.people.toggles[agent])
        self.people.toggles[agent] += 1
        if self.tables is None:
            self.people.session[agent] = (1 << 62) | 1
        else:
            table = list(self.tables.whole[online])
            length = draws.duration_ns(table, mix(self.plane.keys[draws.SESSION], agent, number))
            self.people.session[agent] = (self.env.now + length) << 1 | online
            self.watch(agent)
        if online:
            self._returned(agent)

    def _returned(self, agent: int) -> None:
        """Release what is stored for an agent that came back, and renew its lease."""
        now, ttl = self.env.now, self.p.store.ttl_ns
        for _, _, stored_ns, event in self.plane.stored.pop(agent, []):
            if ttl and now - stored_ns > ttl:
                event.fail(Lost(kinds.EXPIRED))
            else:
                event.succeed()
        sessions = self.p.sessions
        if sessions and sessions.renew_within_ns:
            number = int(self.people.toggles[agent])
            ident = kinds.RETURN_ID_BIT | agent << kinds.ID_INDEX_BITS | number
            wait = mix(self.plane.keys[draws.RETURN], agent, number) % sessions.renew_within_ns
            send_ns = now + GRID_NS + wait
            size = sessions.renew_bytes
            message = Message(ident, kinds.RENEWAL, agent, -1, size, send_ns)
            self.env.process(self.plane.drawn(message))

    def disconnect(self, change: Disconnect) -> None:
        now = self.env.now
        key = self.plane.keys[draws.DISCONNECT]
        for agent in range(self.p.agents):
            inside = change.region is None or self.people.region[agent] == change.region
            inside = inside and (change.homes is None or self.people.home[agent] in change.homes)
            struck = scaled(mix(key, agent, now), PPM) < change.share_ppm
            if inside and struck and self.plane.online(agent):
                spread = mix(key, agent, now + 1) % change.spread_ns if change.spread_ns else 0
                self.people.session[agent] = (change.back_ns + spread) << 1
                self.version[agent] += 1
                self.watch(agent)
                if change.register_bytes:
                    self._forget(agent, change.back_ns + spread, change.register_bytes)

    def _forget(self, agent: int, back_ns: int, size: int) -> None:
        """End a registration; the agent registers anew once it is back."""
        self.people.lease_until_ns[agent] = 0
        number = int(self.people.toggles[agent])
        ident = kinds.RECONNECT_ID_BIT | agent << kinds.ID_INDEX_BITS | number
        message = Message(ident, kinds.REGISTRATION, agent, -1, size, back_ns + GRID_NS)
        self.env.process(self.plane.drawn(message))
        self.plane.ledgers.note("forgotten")
