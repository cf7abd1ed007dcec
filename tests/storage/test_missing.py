"""Which instances have lost their bytes, on both databases and both object stores."""

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.missing import fail_studies, missing_digests, restore, restored_studies
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import STUDY_UID, after, instance
from tests.support.completing import complete_quiet

TENANT = "acme"


def test_rows_without_an_object(database: Database, objects: ObjectStore) -> None:
    """Found among others, at both ends of the listing too, and the study fails until all of them are back."""
    contents = [f"{STUDY_UID}.1.{number}".encode() for number in range(20)]
    by_digest = {objects.put(TENANT, [content]).digest: content for content in contents}
    objects.put(TENANT, [b"nobody names this one"])
    with database.session() as session:
        studies = Studies(session)
        for number in range(20):
            studies.register(instance(number))
        study_id = studies.get(TENANT, STUDY_UID).id
        complete_quiet(session, after(60), quiet_s=0)
    assert list(missing_digests(database, objects, TENANT)) == []

    digests = sorted(by_digest)
    gone = [digests[0], digests[1], digests[7], digests[-1]]
    for digest in gone:
        objects.delete(TENANT, digest)
    assert list(missing_digests(database, objects, TENANT)) == gone
    with database.session() as session:
        assert fail_studies(session, TENANT, gone, after(61)) == [study_id]
        assert fail_studies(session, TENANT, gone, after(62)) == []

    assert restored_studies(database, objects, TENANT) == []
    for digest in gone:
        objects.put(TENANT, [by_digest[digest]])
    assert restored_studies(database, objects, TENANT) == [study_id]
    with database.session() as session:
        assert restore(session, study_id, after(63))
        assert not restore(session, study_id, after(64))
        assert Studies(session).by_id(study_id).state is StudyState.COMPLETE
    assert restored_studies(database, objects, "other") == []
