"""What a question and its answer cost: delays, bytes, crossings of regions."""
