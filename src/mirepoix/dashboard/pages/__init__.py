"""The pages of the dashboard: each module reads what it shows, and renders a template."""
