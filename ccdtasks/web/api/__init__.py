"""The REST API: parse, one call of the core, JSON. docs/api.md is its contract."""
