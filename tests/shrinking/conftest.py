"""An execution that several tests shrink."""

import pytest
from shrink_tools import failing


@pytest.fixture(scope="session")
def mail(tmp_path_factory):
    """A failing execution of the mail's program with 64 pages."""
    return failing(tmp_path_factory.mktemp("mail"), "lkml-2011", {"pages": 64})
