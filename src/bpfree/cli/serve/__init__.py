"""``serve``: the runs of a folder in a browser of the same machine; nothing is written, and nothing outside it is read."""
