"""Where rules import their hyper-parameters from, see :mod:`bpfree.fields`."""

from bpfree.fields import Value, check, choice, flag, natural, number, numeric, params, parse, readout_field

__all__ = ["Value", "check", "choice", "flag", "natural", "number", "numeric", "params", "parse", "readout_field"]
