"""Runs a command until its own standard input ends, or for a number of seconds; then ends that process and no other.

A test holds the other end of the input: whatever becomes of the test, the server it started does not outlive it.
Usage: bounded.py SECONDS COMMAND...
"""

import os
import subprocess
import sys
import threading


def main():
    seconds, *command = sys.argv[1:]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # Not through sys.stdin, which would be locked when the interpreter ends first.
    threading.Thread(target=lambda: (os.read(0, 1), process.terminate()), daemon=True).start()
    try:
        sys.exit(process.wait(float(seconds)))
    except subprocess.TimeoutExpired:
        process.kill()
        sys.exit(process.wait())


if __name__ == "__main__":
    main()
