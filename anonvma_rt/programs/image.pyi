"""Types of the compiled module; its own docstrings say more."""

class Image:
    path: str
    used: bool
    def __init__(self, path: str) -> None: ...
    @property
    def base(self) -> int: ...
