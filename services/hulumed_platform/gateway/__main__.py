from hulumed_platform.gateway.server import main

main()
