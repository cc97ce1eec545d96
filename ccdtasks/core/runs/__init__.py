"""What people and the engine do with runs."""
