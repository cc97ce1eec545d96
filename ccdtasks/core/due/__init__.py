"""What schedules owe by now, fired, and the watch over it."""
