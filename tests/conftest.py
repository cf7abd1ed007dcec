pytest_plugins = [
    "tests.support.collector",
    "tests.support.processes",
    "tests.support.chain",
    "tests.support.checkpoint",
    "tests.support.postgres",
    "tests.support.s3",
]
