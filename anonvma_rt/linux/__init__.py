"""What each release of Linux did, as data."""
