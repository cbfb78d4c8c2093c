"""The simulator held against theory, its twins and published figures: measured, drawn, judged."""
