"""The simulated kernel as the engine and the lab see it."""
