from hulumed_platform.ingest.server import main

main()
