"""From the tree of a litmus file to the steps of a Program."""
