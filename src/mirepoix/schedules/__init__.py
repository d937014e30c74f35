"""Schedules: when their fire times are, what is decided about each, and the loop that decides it once."""
