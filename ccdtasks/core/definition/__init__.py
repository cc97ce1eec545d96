"""What a task is made of: its name, parameters, values and settings."""
