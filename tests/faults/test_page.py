"""docs/reliability.md names each group of faults, and the tests that keep its promises."""

from tests.support.faults.groups import GROUPS
from tests.support.faults.page import NOT_OFFERED, is_up_to_date, promises


def test_the_page_is_up_to_date():
    assert is_up_to_date(), "run `python -m tests.support.faults.page`"


def test_every_group_has_a_promise_or_is_not_offered():
    kept = {each.group for each in promises()}
    assert kept | NOT_OFFERED.keys() == GROUPS.keys()
    assert not kept & NOT_OFFERED.keys()


def test_no_two_tests_make_the_same_promise():
    made = [(each.group, each.sentence) for each in promises()]
    assert sorted(set(made)) == sorted(made)
