"""The subject: Linux's reverse map of anonymous memory. The compiled modules are installed here."""
