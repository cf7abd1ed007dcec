import sys

from hulumed_platform.archive.renderer.child import main

main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
