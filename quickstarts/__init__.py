"""Do what the first pages and the examples say, to the letter, in fresh environments."""
