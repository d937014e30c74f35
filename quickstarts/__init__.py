"""Do what the README, the tutorial and the examples say, to the letter, in fresh environments."""
