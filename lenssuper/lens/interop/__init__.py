"""Lens parameters in the words of other codes, and in files; none of it needs the other code."""
