"""57: `event.set()` in a thread, while the tasks wait.

    microthreads: deadlock: nothing can wake the tasks that wait
      TASK     STATE   WAITS ON                             AT
      #1 main  parked  wait for Event 'finished' (not set)  c57_event_set_in_a_thread.py:27 in main
    other threads are alive (worker): from there, `kernel.post(event.set)` wakes a task, where
    kernel is this one, `current_task().kernel`; a task in `sleep(math.inf)` keeps it waiting
    for that
"""
import threading

from microthreads import Event

go = threading.Event()


def work(event):
    go.wait()
    event.set()


def main():
    event = Event(name="finished")
    thread = threading.Thread(target=work, args=(event,), name="worker", daemon=True)
    thread.start()
    try:
        yield event.wait()
    finally:
        go.set()
        thread.join()
