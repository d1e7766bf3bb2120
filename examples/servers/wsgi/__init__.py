"""A WSGI server: ``python3 -m examples.servers.wsgi``. Read __main__.py first."""
