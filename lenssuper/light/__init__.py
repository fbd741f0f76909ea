"""Analytic light: Sersic profiles, fitted to galaxies, before a lens and behind it."""
