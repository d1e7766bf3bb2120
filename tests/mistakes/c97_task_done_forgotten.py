"""97: `queue.join()` where nobody calls `task_done`.

    microthreads: deadlock: nothing can wake the tasks that wait
      TASK     STATE   WAITS ON                                                  AT
      #1 main  parked  wait for task_done() of 1 unfinished in Queue 'jobs' (0)  c97_task_done_forgotten.py:14 in main
"""
from microthreads import Queue


def main():
    queue = Queue(name="jobs")
    yield queue.put("job")
    yield queue.get()
    yield queue.join()
