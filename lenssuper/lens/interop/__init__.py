"""Lens models in the parameters of other codes, none of which has to be installed."""
