"""What a campaign found, in four forms."""
