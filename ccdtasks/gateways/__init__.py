"""What the inside of a container may reach: the model API and the public internet, each through a socket of ours."""
