from hulumed_platform.encoder.server import main

main()
