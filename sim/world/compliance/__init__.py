"""Compliance as mechanisms under attack.

`audit_logger` keeps records in the tree of `merkle`; `tree_heads` makes it tamper-evident;
`tampering` is what an insider can do to it.
"""
