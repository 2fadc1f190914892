"""Text that users write, read without any knowledge of what it is about: TOML, arithmetic, conditions, parameters."""
