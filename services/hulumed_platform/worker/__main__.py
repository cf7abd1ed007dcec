from hulumed_platform.worker.server import main

main()
