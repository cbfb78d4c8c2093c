"""What surrounds the validators, as models without an event loop."""
