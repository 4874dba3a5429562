"""Decisions without I/O: clock and randomness are passed in, a value comes out."""
