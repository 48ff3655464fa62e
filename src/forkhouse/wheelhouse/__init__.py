"""The finished product: a folder of wheels with its index, and the proof that it is whole.

A wheelhouse is written beside its place and then takes it by a rename: until that moment the old
one stands untouched.
"""
