"""The parts of ``benchmarks/answer.py``.

``options`` and ``budget`` say what is asked and how the time is shared, ``store`` keeps what was measured. ``command`` has the
measuring sections (``doctor``, ``costs``, ``experiment``, ``clocks``) run by a ``worker``, a process of its own: a GPU that fails
ends that process and not the answer, and no other process holds the GPU. ``gpu_tests`` are run by themselves. ``page`` and
``figures`` show what is stored.
"""
