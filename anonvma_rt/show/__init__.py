"""An execution as something to look at: in a terminal, as a page, as a Perfetto trace, as a report."""
