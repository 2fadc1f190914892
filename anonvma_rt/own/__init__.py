"""Compiled subjects of the user's own, and the one gate through which a name becomes running code."""
