"""A cache that speaks Redis's protocol: ``python3 -m examples.servers.cache``."""
