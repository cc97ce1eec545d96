"""Figures over many runs, and what is cleaned up."""
