"""A Merkle tree over an append-only list: roots, inclusion and consistency proofs.

Owns the hashes, of every complete subtree. Must not know: what the leaves say, who signs roots.

Source: RFC 6962 section 2.1 (hashes and proofs); verification as in RFC 9162 section 2.1.3.2 and
2.1.4.2. Leaves and nodes are hashed with different prefixes, so that neither passes for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash one leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """The tree of a log. Sizes and indices count leaves from 0; 64 bytes of memory a leaf.

    Every method that takes a `size` answers for the tree as it was with so many leaves; the whole
    tree where it is left out. IndexError: an index or a size beyond the tree.
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]
        """By height: hashes of complete subtrees of 2**height leaves, one after another."""

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, data: bytes) -> int:
        """Add a leaf; return its index."""
        levels = self._levels
        hashes = levels[0]
        hashes += sha256(b"\x00" + data).digest()
        count = len(hashes) // HASH_BYTES
        index = count - 1
        height = 0
        while not count & 1:
            pair = levels[height][-2 * HASH_BYTES :]
            height += 1
            if height == len(levels):
                levels.append(bytearray())
            hashes = levels[height]
            hashes += sha256(b"\x01" + pair).digest()
            count >>= 1
        return index

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves in order."""
        hashes = self._levels[0]
        hashes += b"".join([sha256(b"\x00" + leaf).digest() for leaf in leaves])
        height = 0
        while True:
            below = self._levels[height]
            pairs = len(below) // (2 * HASH_BYTES)
            if not pairs:
                return
            height += 1
            if height == len(self._levels):
                self._levels.append(bytearray())
            here = self._levels[height]
            first, last = 2 * len(here), 2 * HASH_BYTES * pairs
            view = bytes(below[first:last])
            here += b"".join(
                [
                    sha256(b"\x01" + view[at : at + 2 * HASH_BYTES]).digest()
                    for at in range(0, last - first, 2 * HASH_BYTES)
                ]
            )

    def leaf(self, index: int) -> bytes:
        """Return the hash of a leaf."""
        if not 0 <= index < len(self):
            raise IndexError(f"leaf {index} is not in a tree of {len(self)}")
        return self._node(0, index)

    def root(self, size: int | None = None) -> bytes:
        """Return the root; that of no leaves is the hash of nothing."""
        size = self._size(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return what proves that the leaf at `index` is in the tree, from the leaf upwards."""
        size = self._size(size)
        if not 0 <= index < size:
            raise IndexError(f"leaf {index} is not in a tree of {size}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _largest_power_below(end - start)
            if index < middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        proof.reverse()
        return proof

    def consistency_proof(self, old: int, size: int | None = None) -> list[bytes]:
        """Return what proves that the tree of `old` leaves is a prefix of that of `size`."""
        size = self._size(size)
        if not 0 <= old <= size:
            raise IndexError(f"a tree of {old} leaves is no prefix of one of {size}")
        if old in (0, size):
            return []
        proof: list[bytes] = []
        start, end, whole = 0, size, True
        while old != end:
            middle = start + _largest_power_below(end - start)
            if old <= middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._subtree(start, end))
        proof.reverse()
        return proof

    def _size(self, size: int | None) -> int:
        if size is None:
            return len(self)
        self._within(size)
        return size

    def _within(self, size: int) -> None:
        if not 0 <= size <= len(self):
            raise IndexError(f"{size} leaves asked for; the tree has {len(self)}")

    def _node(self, height: int, place: int) -> bytes:
        at = place * HASH_BYTES
        return bytes(self._levels[height][at : at + HASH_BYTES])

    def _subtree(self, start: int, end: int) -> bytes:
        """Hash the leaves [start, end): complete subtrees are known, the right edge is computed."""
        parts = []
        while start < end:
            length = 1 << (end - start).bit_length() - 1
            parts.append(self._node(length.bit_length() - 1, start // length))
            start += length
        found = parts.pop()
        while parts:
            found = node_hash(parts.pop(), found)
        return found


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether `proof` shows that a leaf of this hash is at `index` of a tree of `size`."""
    if not 0 <= index < size:
        return False
    node, last = index, size - 1
    found = leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes
) -> bool:
    """Tell whether `proof` shows that the tree of `old` leaves is a prefix of that of `size`."""
    if not 0 <= old <= size:
        return False
    if old == size or old == 0:
        return not proof and (old_root == root if old else old_root == EMPTY_ROOT)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    was = now = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and was == old_root and now == root


def _largest_power_below(count: int) -> int:
    """Return the largest power of two that is less than `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1
