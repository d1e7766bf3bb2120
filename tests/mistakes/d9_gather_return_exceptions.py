"""D9: `gather(a(), b(), return_exceptions=True)`.

    TypeError: gather() got an unexpected keyword argument 'return_exceptions'
    hint: it is called as gather(*routines); it raises all failures as one ExceptionGroup: where each is to be a result, catch it in its routine
"""
from microthreads import gather


def work():
    yield


def main():
    yield gather(work(), work(), return_exceptions=True)
