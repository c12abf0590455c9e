"""How a process of ours ends: what must still happen does, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap

BEGINNING = """
import sys
from ilab_jupyter import ending

class Loud:
    def __del__(self):
        print('taken apart')
loud = Loud()

def main(arguments):
"""


def ends(main: str, say: str = "ending.run(main, ['an argument'])") -> subprocess.CompletedProcess[str]:
    """A process that does the body `main(arguments)` and ends as `say` says."""
    script = BEGINNING + textwrap.indent(textwrap.dedent(main), "    ") + "\n" + say
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_exit_joins_threads_and_runs_exit_functions_without_finalisation() -> None:
    done = ends("""
        import atexit, threading, time
        atexit.register(print, 'exit function')
        def work():
            time.sleep(0.2)
            print('thread')
        threading.Thread(target=work).start()
        print(arguments[0])
        return 7
    """)
    assert (done.returncode, done.stdout, done.stderr) == (7, "an argument\nthread\nexit function\n", "")


def test_an_error_is_printed_and_leaves_with_one() -> None:
    done = ends("raise ValueError('what went wrong')")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ValueError: what went wrong\n")


def test_fork_keeps_its_own_exit() -> None:
    done = ends("""
        import os
        child = os.fork()
        if child == 0:
            sys.exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + 10
    """)
    assert (done.returncode, done.stdout) == (13, "taken apart\n")


def test_who_leaves_at_once_has_written_what_it_printed() -> None:
    done = ends("print('said')", "main([]); ending.leave(5)")
    assert (done.returncode, done.stdout) == (5, "said\n")


def test_closed_output_does_not_prevent_exit() -> None:
    done = ends("sys.stdout = open('/dev/full', 'w'); print('said')", "main([]); ending.leave(5)")
    assert (done.returncode, done.stderr) == (5, "")
