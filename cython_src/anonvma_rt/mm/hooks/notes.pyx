"""The Python side of the enums in notes.pxd, which Cython makes of them."""
