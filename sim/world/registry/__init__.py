"""The agent registry: which gateway serves whom, in shards with replicas in several regions."""
