"""The verbs of the command line, a file each: ABOUT, add(parser) for its options, run(options) for its exit code."""
