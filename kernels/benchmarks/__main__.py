from kernel_benchmarks.run import main

main()
