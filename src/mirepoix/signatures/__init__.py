"""Signatures of tasks, the calls that fit them, and the effect of a changed signature on waiting calls."""
