"""Browser chores by Claude Code, run in sealed containers, steered from Discord."""

__version__ = "0.1.0"
