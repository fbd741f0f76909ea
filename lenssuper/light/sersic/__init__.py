"""Sersic profiles in numbers only: their parameters, images, and linear fits."""
