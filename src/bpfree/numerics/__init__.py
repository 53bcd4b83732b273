"""Pure functions on tensors, without state: the mathematics of which the learning rules are made."""
