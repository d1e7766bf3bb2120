"""A folder over HTTP: ``python3 -m examples.servers.files``. Read __main__.py first."""
