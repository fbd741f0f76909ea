"""Trained weights of the learned methods, and a card that says what they are."""
