"""The command line for the engineer on call."""
