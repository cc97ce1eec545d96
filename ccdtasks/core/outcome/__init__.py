"""What a run says it found: read, kept apart from what is only claimed, and compared with the run before."""
