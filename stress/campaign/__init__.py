"""Campaigns: many hunts, handed out in ranges to whoever works, kept in a store."""
