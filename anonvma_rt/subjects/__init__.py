"""What every subject has: the protocols that the lab asks for, histories, states, locks."""
