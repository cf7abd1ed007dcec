pytest_plugins = ["tests.support.chain", "tests.support.checkpoint", "tests.support.postgres", "tests.support.s3"]
