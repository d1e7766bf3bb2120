"""A folder over HTTP: ``python3 -m examples.servers.files``. Read __main__.py first."""

from examples.servers.needed import need

need("h11")
