"""The same core over asyncio sockets on loopback."""
