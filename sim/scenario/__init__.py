"""YAML in, validated Scenario out, or every error at file:line:column."""
