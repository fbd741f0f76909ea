"""Small tools that every room uses, one idea a file."""
