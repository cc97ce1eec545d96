"""How a run ends or waits for a person, and what follows: retries, dependents, chains."""
