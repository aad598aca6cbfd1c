"""What someone can do who writes to Redis, or gives words to a command: threats.toml lists it, with the tests."""
