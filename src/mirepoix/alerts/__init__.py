"""Tell people what they would want to hear, once: look, open, tell, close."""
