"""Pushes to somebody's phone, and what they chose about them."""
