"""Loops over rows: runs, adoption, delivery, watchdog. Gets its adapters by constructor."""
