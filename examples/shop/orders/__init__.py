"""Orders: placed by a view, paid and sent by tasks."""
