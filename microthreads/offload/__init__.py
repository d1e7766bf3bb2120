"""Work outside the kernel, and waiting for it."""

from microthreads.offload.futures import wait_future

__all__ = ["wait_future"]
