"""Reading the text that names a net; it is read without torch too, see :mod:`bpfree.catalogue.spec`."""

from bpfree.catalogue.spec import Spec

__all__ = ["Spec"]
