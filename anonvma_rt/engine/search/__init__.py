"""Searches that leave nothing out."""
