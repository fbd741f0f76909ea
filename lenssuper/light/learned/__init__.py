"""Sersics added to images by trained networks and policies, and how those are trained. Needs torch."""
