"""A failing execution made minimal."""
