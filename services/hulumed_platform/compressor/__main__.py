from hulumed_platform.compressor.server import main

main()
