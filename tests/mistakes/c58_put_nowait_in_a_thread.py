"""58: `queue.put_nowait(item)` in a thread, while a task waits to get.

    microthreads: deadlock: nothing can wake the tasks that wait
      TASK     STATE   WAITS ON                    AT
      #1 main  parked  get from Queue 'inbox' (0)  c58_put_nowait_in_a_thread.py:27 in main
    other threads are alive (feeder): from there, `kernel.post(event.set)` wakes a task, where
    kernel is this one, `current_task().kernel`; a task in `sleep(math.inf)` keeps it waiting
    for that
"""
import threading

from microthreads import Queue

go = threading.Event()


def work(queue):
    go.wait()
    queue.put_nowait("news")


def main():
    queue = Queue(name="inbox")
    thread = threading.Thread(target=work, args=(queue,), name="feeder", daemon=True)
    thread.start()
    try:
        print((yield queue.get()))
    finally:
        go.set()
        thread.join()
