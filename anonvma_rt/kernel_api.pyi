"""Types of the compiled module, which has nothing for Python: it is cimported."""
