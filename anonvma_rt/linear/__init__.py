"""Whether what the operations of an object returned can be explained by one order of them: linearizability."""
