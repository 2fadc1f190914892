"""Who makes the next step: one short compiled module per strategy."""
