from hulumed_platform.dimse.server import main

main()
