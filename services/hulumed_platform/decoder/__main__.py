from hulumed_platform.decoder.server import main

main()
