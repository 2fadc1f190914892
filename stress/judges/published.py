"""Executions to the first bug that others have published for programs of SCTBench, to print beside the lab's own.

Source: the raw figures that belong to "Selectively Uniform Concurrency Testing" (ASPLOS 2025), stats/period of the
repository zhaohuanqdcn/SURW at 2a4c5de: the mean of the seeds that found the bug, at most 10 000 executions each
(SafeStack 2 000 000), and in brackets how many of 20 did not; "-": none did. One of that tool's executions counts: the
profile that goes before is the first. Its points are all accesses to memory, and the variable that it draws is its own.
"""

__all__ = ["COLUMNS", "PUBLISHED"]

COLUMNS = ("SURW", "PCT-3", "POS", "RW")

PUBLISHED = {
    "account_bad": ("6", "4", "4", "18"),
    "barnes": ("3", "2", "3", "3"),
    "bluetooth_driver_bad": ("70", "112", "36", "215"),
    "carter01_bad": ("", "5", "2", "1"),
    "circular_buffer_bad": ("3", "9", "2", "4"),
    "ctrace-test": ("", "2", "1", "1"),
    "deadlock01_bad": ("2", "13", "4", "3"),
    "InterlockedWorkStealQueue": ("6", "48", "14", "-"),
    "InterlockedWorkStealQueueWithState": ("6", "907", "5", "26"),
    "lazy01_bad": ("2", "5", "5", "21"),
    "lu": ("3", "4", "3", "43"),
    "qsort_mt": ("3048(1)", "4714(6)", "3004(2)", "3442(1)"),
    "queue_bad": ("2", "3", "1", "1"),
    "reorder_3_bad": ("7", "185", "86", "-"),
    "reorder_4_bad": ("7", "554", "533", "-"),
    "reorder_5_bad": ("10", "647", "2169", "-"),
    "reorder_10_bad": ("17", "3225(4)", "-", "-"),
    "reorder_20_bad": ("6", "3005", "-", "-"),
    "safestack": ("368921(1)", "-", "-", "-"),
    "stack_bad": ("5", "3", "2", "176"),
    "StateWorkStealQueue": ("7", "842", "6", ""),
    "stringbuffer-jdk1.4": ("8", "281", "23", "2243(1)"),
    "token_ring_bad": ("8", "8", "9", "13"),
    "twostage_bad": ("8", "13", "15", "464"),
    "twostage_100_bad": ("454", "7466(17)", "6674(17)", "-"),
    "WorkStealQueue": ("6", "48", "12", ""),
    "wronglock_bad": ("7", "51", "10", "36"),
    "wronglock_3_bad": ("9", "58", "11", "36"),
}
