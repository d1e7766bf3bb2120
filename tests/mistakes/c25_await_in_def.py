"""25: `await` in a plain `def`.

    SyntaxError: 'await' outside async function
    hint: this function is a plain `def`: make it an `async def`; or keep it, and write `yield` for `await`
"""
from microthreads import sleep


def main():
    await sleep(1)
