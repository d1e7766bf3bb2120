"""A bank account that pays out twice, and one that does not.

Check, then act: both withdrawals see that there is enough before either takes the
money. The repair puts the check and the act under one lock, so that whoever
checks is still right when he acts. (A lock around each of the two would not do.)

Try: give `explore` a function that makes a routine, which withdraws twice at once
and asserts that the balance is not negative. For the careful account, it tells how
many schedules it has been through.
"""

from examples import Routine
from microthreads import Lock, gather, run, sleep


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance

    def withdraw(self, amount: int) -> Routine[bool]:
        if self.balance < amount:
            return False
        yield sleep(0.1)  # the machine counts the notes
        self.balance -= amount
        return True


class CarefulAccount(Account):
    def __init__(self, balance: int) -> None:
        super().__init__(balance)
        self.lock = Lock()

    def withdraw(self, amount: int) -> Routine[bool]:
        with (yield self.lock.acquire()):
            return (yield from super().withdraw(amount))


def main() -> Routine[None]:
    for account in (Account(100), CarefulAccount(100)):
        paid = yield gather(account.withdraw(100), account.withdraw(100))
        print(f"{type(account).__name__}: paid {paid}, balance {account.balance}")


if __name__ == "__main__":
    run(main())
