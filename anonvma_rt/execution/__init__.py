"""One recorded execution: its schedule, the file from which it comes again, the time machine."""
