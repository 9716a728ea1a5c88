"""How this process keeps its memory."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep what is freed; call it once, before any work on large arrays.

    Else each layer of each batch faults the same megabytes in again, page by page: over half of NiN's time on a CPU
    (docs/performance.md).
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        # Some versions refuse more than 32 MiB. Trimming is never set alone, which would fix the threshold at 128 KiB.
        if any(library.mallopt(_M_MMAP_THRESHOLD, size) for size in (2**30, 2**25)):
            library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
