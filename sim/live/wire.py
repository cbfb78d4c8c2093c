"""Frames on a stream, and the greeting by which a connection says whose it is.

Owns lengths, their bound, and what is signed before the first message. Must not know messages.
A frame is its length in 4 bytes and its content. A connection carries messages one way, from who
dialled to who listens; the listener sends one frame only, its challenge.
"""

from __future__ import annotations

import os
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from typing import NamedTuple

from sim.live.codec import ID, SIGNATURE, Refused, Source, number, record
from sim.protocol.types import canonical
from sim.world.crypto.signer import Signer

VERSION = 1
LENGTH_BYTES = 4
CHALLENGE_BYTES = 32
MAX_FRAME_BYTES = 32 << 20
"""A sync response of 16 blocks with two certificates of 150 signatures each has 22 MB."""
MAX_GREETING_BYTES = 8_192


class Greeting(NamedTuple):
    """The first frame of who dials. `network`: genesis block id; the signature answers a challenge
    and covers all of it, so that nobody speaks in another's name."""

    version: int
    network: bytes
    sender: int
    receiver: int
    signature: bytes

    def signed_bytes(self, challenge: bytes) -> bytes:
        return canonical("greeting", challenge, *self[:4])


_GREETING = record(
    Greeting,
    version=number(2),
    network=ID,
    sender=number(8),
    receiver=number(8),
    signature=SIGNATURE,
)


def frame(content: bytes) -> bytes:
    """Put the length in front."""
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


async def read_frame(reader: StreamReader, limit_bytes: int = MAX_FRAME_BYTES) -> bytes | None:
    """Return the next frame's content, None where the stream ends between two frames.

    Nothing is kept of a frame longer than `limit_bytes`. Errors: Refused (too_large, empty,
    truncated), OSError.
    """
    try:
        length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
        if length > limit_bytes:
            raise Refused("too_large")
        if not length:
            raise Refused("empty")
        return await reader.readexactly(length)
    except IncompleteReadError as error:
        if error.expected == LENGTH_BYTES and not error.partial:
            return None
        raise Refused("truncated") from None


async def dial(
    reader: StreamReader,
    writer: StreamWriter,
    *,
    network: bytes,
    me: int,
    to: int,
    signer: Signer,
) -> None:
    """Answer the listener's challenge. Errors: Refused, OSError."""
    challenge = await read_frame(reader, CHALLENGE_BYTES)
    if challenge is None or len(challenge) != CHALLENGE_BYTES:
        raise Refused("wrong_greeting")
    greeting = Greeting(VERSION, network, me, to, b"")
    signature = signer.sign(me, greeting.signed_bytes(challenge))
    out = bytearray()
    _GREETING.write(greeting._replace(signature=signature), out, 0)
    writer.write(frame(bytes(out)))
    await writer.drain()


async def welcome(
    reader: StreamReader,
    writer: StreamWriter,
    *,
    network: bytes,
    me: int,
    identities: int,
    signer: Signer,
) -> int:
    """Challenge who dialled and return who it is. Errors: Refused, OSError."""
    challenge = os.urandom(CHALLENGE_BYTES)
    writer.write(frame(challenge))
    await writer.drain()
    content = await read_frame(reader, MAX_GREETING_BYTES)
    source = Source(content or b"")
    greeting: Greeting = _GREETING.read(source, 0)
    source.finish()
    if (greeting.version, greeting.network, greeting.receiver) != (VERSION, network, me):
        raise Refused("wrong_greeting")
    if not 0 <= greeting.sender < identities or greeting.sender == me:
        raise Refused("wrong_greeting")
    if not signer.verify(greeting.sender, greeting.signed_bytes(challenge), greeting.signature):
        raise Refused("forged_greeting")
    return greeting.sender
