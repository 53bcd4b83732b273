"""A comparison as jobs of a cluster, by submitit: each job is a command line, run in a directory of its own."""
