"""What each tenant has in its own schema."""
