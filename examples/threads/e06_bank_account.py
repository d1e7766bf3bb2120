"""The twin of ../e06_bank_account.py."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance

    def withdraw(self, amount: int) -> bool:
        if self.balance < amount:
            return False
        time.sleep(0.1)  # the machine counts the notes
        self.balance -= amount
        return True


class CarefulAccount(Account):
    def __init__(self, balance: int) -> None:
        super().__init__(balance)
        self.lock = Lock()

    def withdraw(self, amount: int) -> bool:
        with self.lock:
            return super().withdraw(amount)


def main() -> None:
    for account in (Account(100), CarefulAccount(100)):
        with ThreadPoolExecutor() as pool:
            paid = list(pool.map(account.withdraw, (100, 100)))
        print(f"{type(account).__name__}: paid {paid}, balance {account.balance}")


if __name__ == "__main__":
    main()
