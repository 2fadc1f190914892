"""From the words of a user to subjects, strategies and explorers that are ready to run."""
