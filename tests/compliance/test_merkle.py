"""The Merkle tree against the standard's recursion, its published roots, and forged proofs."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.world.compliance.merkle import (
    MerkleTree,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Roots of the first 1 to 8 leaves, as in the test data of Certificate Transparency's code."""


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word; shares no code with the tree."""
    n = len(leaves)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_path(m: int, leaves: list[bytes]) -> list[bytes]:
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_root(leaves[:k])]


def defined_proof(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if whole else [defined_root(leaves)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*defined_proof(m, leaves[:k], whole), defined_root(leaves[k:])]
    return [*defined_proof(m - k, leaves[k:], False), defined_root(leaves[:k])]


def grown(leaves: list[bytes]) -> MerkleTree:
    tree = MerkleTree()
    tree.extend(leaves)
    return tree


def test_published_roots() -> None:
    for count, root in enumerate(ROOTS, 1):
        assert grown(LEAVES[:count]).root().hex() == root


sizes = st.integers(0, 80)


@given(sizes, st.integers(0, 80))
def test_roots_do_not_depend_on_how_leaves_came(count: int, split: int) -> None:
    leaves = [bytes([i]) * 3 for i in range(count)]
    tree = grown(leaves[:split])
    for leaf in leaves[split:]:
        tree.append(leaf)
    assert len(tree) == count
    for size in range(count + 1):
        assert tree.root(size) == defined_root(leaves[:size])


@given(st.integers(1, 80), st.data())
def test_inclusion_proofs_are_the_standard_ones(count: int, data: st.DataObject) -> None:
    leaves = [bytes([i]) for i in range(count)]
    size = data.draw(st.integers(1, count))
    index = data.draw(st.integers(0, size - 1))
    tree = grown(leaves)
    proof = tree.inclusion_proof(index, size)
    assert proof == defined_path(index, leaves[:size])
    root, leaf = tree.root(size), leaf_hash(leaves[index])
    assert verify_inclusion(leaf, index, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, [*proof, leaf], root)
    for other in range(size):
        if other != index:
            assert not verify_inclusion(leaf, other, size, proof, root)


@given(st.integers(0, 80), st.data())
def test_consistency_proofs_are_the_standard_ones(count: int, data: st.DataObject) -> None:
    leaves = [bytes([i]) for i in range(count)]
    size = data.draw(st.integers(0, count))
    old = data.draw(st.integers(0, size))
    tree = grown(leaves)
    proof = tree.consistency_proof(old, size)
    if old:
        assert proof == defined_proof(old, leaves[:size])
    assert verify_consistency(old, size, proof, tree.root(old), tree.root(size))
    assert not verify_consistency(old, size, [*proof, bytes(32)], tree.root(old), tree.root(size))


@given(st.integers(2, 60), st.data())
def test_a_rewritten_past_has_no_proof(count: int, data: st.DataObject) -> None:
    """No subset of either tree's hashes makes a changed leaf consistent with the old root."""
    leaves = [bytes([i]) for i in range(count)]
    old = data.draw(st.integers(1, count - 1))
    changed = list(leaves)
    changed[data.draw(st.integers(0, old - 1))] = b"changed"
    before, after = grown(leaves), grown(changed)
    for proof in (before.consistency_proof(old), after.consistency_proof(old)):
        assert not verify_consistency(old, count, proof, before.root(old), after.root())


def test_beyond_the_tree_is_an_error() -> None:
    tree = grown(LEAVES)
    with pytest.raises(IndexError, match="leaf 8 is not in a tree of 8"):
        tree.inclusion_proof(8)
    with pytest.raises(IndexError, match="9 leaves asked for; the tree has 8"):
        tree.root(9)
    with pytest.raises(IndexError, match="a tree of 6 leaves is no prefix of one of 5"):
        tree.consistency_proof(6, 5)
    with pytest.raises(IndexError):
        tree.leaf(-1)
