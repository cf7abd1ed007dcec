pytest_plugins = [
    "tests.support.collector",
    "tests.support.platform",
    "tests.support.processes",
    "tests.support.chain",
    "tests.support.checkpoint",
    "tests.support.decoder",
    "tests.support.orthanc",
    "tests.support.pacs",
    "tests.support.postgres",
    "tests.support.redis",
    "tests.support.s3",
    "tests.support.worklist",
]
