"""Types of the compiled module; its own docstrings say more."""

class Rule:
    @property
    def name(self) -> str: ...
