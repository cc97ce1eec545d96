"""The demonstration: a small shop, a scripted stand-in for the model, and one real run between them."""
