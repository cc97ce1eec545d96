"""What is written about runs: their moves, events, files, money and sums."""
