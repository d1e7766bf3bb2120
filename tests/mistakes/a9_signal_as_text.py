"""A9: `wait_signal("SIGTERM")`.

    ValueError: wait_signal(): 'SIGTERM' is not a signal: give it as signal.SIGTERM
"""
from microthreads import wait_signal


def main():
    yield wait_signal("SIGTERM")
