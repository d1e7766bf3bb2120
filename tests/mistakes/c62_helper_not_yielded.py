"""62: `helper(channel)` without yield.

    microthreads: deadlock: nothing can wake the tasks that wait
      TASK     STATE   WAITS ON                      AT
      #1 main  parked  recv on Channel 'jobs' (0/0)  c62_helper_not_yielded.py:18 in main
    c62_helper_not_yielded.py:17 calls helper() without `yield` or `await`, which does nothing
"""
from microthreads import Channel


def helper(channel):
    yield channel.send(1)


def main():
    channel = Channel(name="jobs")
    helper(channel)
    print((yield channel.recv()))
