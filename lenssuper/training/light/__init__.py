"""Training of the networks and policies that add Sersics to images."""
