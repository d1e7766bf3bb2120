"""62: `channel.send(1)` without yield, where that ends in a deadlock.

    microthreads: deadlock: nothing can wake the tasks that wait
      TASK     STATE   WAITS ON                      AT
      #1 main  parked  recv on Channel 'jobs' (0/1)  c62_send_not_yielded.py:14 in main
    c62_send_not_yielded.py:13 calls channel.send() without `yield` or `await`, which does nothing
"""
from microthreads import Channel


def main():
    channel = Channel(capacity=1, name="jobs")
    channel.send(1)
    print((yield channel.recv()))
