"""A6: One channel, in the kernels of two threads.

    microthreads: deadlock: nothing can wake the tasks that wait
      TASK     STATE   WAITS ON                        AT
      #1 main  parked  recv on Channel 'shared' (0/0)  a6_a_channel_in_two_kernels.py:27 in main
    other threads are alive (other): from there, `kernel.post(event.set)` wakes a task, where
    kernel is this one, `current_task().kernel`; a task in `sleep(math.inf)` keeps it waiting
    for that
"""
import threading

from microthreads import Channel, run

go = threading.Event()


def sender(channel):
    go.wait()
    yield channel.send(1)


def main():
    channel = Channel(name="shared")
    thread = threading.Thread(target=lambda: run(sender(channel)), name="other", daemon=True)
    thread.start()
    try:
        print((yield channel.recv()))
    finally:
        channel.close()
        threading.excepthook = lambda _: None
        go.set()
        thread.join()
