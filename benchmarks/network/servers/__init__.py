"""The servers of each contender, one file each. All have `SERVERS`, by style and role.

A server is called with a socket that listens and does not block, and serves for ever.
The roles are those of ../wire.py. Start with ours.py; ../server.py runs them.
"""
