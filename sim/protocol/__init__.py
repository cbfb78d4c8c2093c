"""What validators run: pure, deterministic, standard library only. See validator.py."""
