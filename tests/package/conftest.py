"""What is slow is made once per session, however many workers there are. Needs a C compiler and a package index."""

import shutil

import pytest
from compiled import once
from package_tools import BUILD_TOOLS, EXAMPLES, ROOT, Venv, copy_of_checkout, install_downstream


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """source/ (a clean checkout), the sdist and the wheel, and what the build said in log."""

    def make(folder):
        source = copy_of_checkout(folder / "source")
        tools = Venv(folder / "tools")
        tools.install("-q", "build")
        (folder / "log").write_text(tools.python("-m", "build", "--outdir", folder, source))

    return once(tmp_path_factory, "package-dist", make)


@pytest.fixture(scope="session")
def installed(tmp_path_factory, dist):
    """The wheel in a fresh virtual environment; compiled against it there, the downstream package and docs/examples."""
    (wheel,) = dist.glob("*.whl")

    def make(folder):
        venv = Venv(folder / "venv")
        venv.install("-q", wheel)
        (folder / "alone").write_text(venv.python("-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
        venv.install("-q", *BUILD_TOOLS)
        log = install_downstream(venv, folder)
        examples = [shutil.copytree(ROOT / "docs" / "examples" / name, folder / name) for name in EXAMPLES]
        log += venv.install("-v", "--no-build-isolation", "--no-deps", *examples)
        (folder / "log").write_text(log)

    folder = once(tmp_path_factory, "package-installed", make)
    venv = Venv(folder / "venv")
    venv.log, venv.alone = (folder / "log").read_text(), (folder / "alone").read_text()
    return venv
