"""emb: A kernel in a thread that waits for an Event, to run what others submit.

    microthreads.errors.Cancelled: task #2 work was cancelled: DeadlockError
    the kernel that this was submitted to has ended, since none of its tasks could go on; a
    task in `sleep(math.inf)` keeps one waiting for what other threads submit. It had said:
    nothing can wake the tasks that wait
      TASK              STATE   WAITS ON                         AT
      #1 until_stopped  parked  wait for Event 'stop' (not set)  emb_a_kernel_for_submissions.py:20 in until_stopped
      #2 work           parked  recv on Channel 'jobs' (0/0)     emb_a_kernel_for_submissions.py:24 in work
    other threads are alive (MainThread): from there, `kernel.post(event.set)` wakes a task,
    where kernel is this one, `current_task().kernel`; a task in `sleep(math.inf)` keeps it
    waiting for that
"""
import threading

from microthreads import Channel, Event, Kernel


def until_stopped(stop):
    yield stop.wait()


def work():
    yield Channel(name="jobs").recv()


kernel = Kernel()
future = kernel.submit(work())
threading.excepthook = lambda args: None
thread = threading.Thread(target=kernel.run, args=(until_stopped(Event(name="stop")),))
thread.start()
thread.join()
kernel.close()
future.result()
