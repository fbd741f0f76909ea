"""Sersics added to images by trained networks and policies. Needs torch."""
