"""Scenarios under every release of Linux: which have a bug, and what the documentation says about it."""
