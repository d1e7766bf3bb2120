"""The twin of ../e02_countdown.py, with a thread for each task.

Run it a few times: even a `print` is not atomic among threads.
"""

import time
from threading import Thread


def countdown(name: str, number: int, seconds: float) -> None:
    while number > 0:
        print(name, number)
        time.sleep(seconds)
        number -= 1
    print(name, "has landed")


def main() -> None:
    Thread(target=countdown, args=("rocket", 3, 0.2)).start()
    Thread(target=countdown, args=("balloon", 2, 0.5)).start()
    print("counting")


if __name__ == "__main__":
    main()
