"""Compliance as mechanisms under attack: the audit log, and later access and personal data."""
