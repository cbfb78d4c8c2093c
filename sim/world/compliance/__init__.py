"""Compliance as mechanisms under attack.

`audit_logger` keeps records in the tree of `merkle`; `tree_heads` makes it tamper-evident;
`tampering` is what an insider can do to it. `access_controller` decides who may act,
`data_manager` keeps what is known of persons; both say so in the log.
"""
