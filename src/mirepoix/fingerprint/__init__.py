"""Tell which failures have one cause, by the text of their tracebacks."""
