"""The tenants, in the shared schema."""
