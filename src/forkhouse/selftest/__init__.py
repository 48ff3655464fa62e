"""Test an installed stack on the machine where it is to serve, with what its wheelhouse carries."""
