"""The house: who may import whom, and how much there is in a room."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "streamdocs", ROOT / "server" / "streamdocs_server")
MOST_MODULES, MOST_LINES = 12, 300


def test_rooms_and_files_are_small():
    folders = {path for package in PACKAGES for path in [package, *package.rglob("*")] if path.is_dir()}
    modules = {folder: list(folder.glob("*.py")) for folder in folders}
    assert {str(folder): len(found) for folder, found in modules.items() if len(found) > MOST_MODULES} == {}
    files = [file for found in modules.values() for file in found]
    assert len(files) > 100
    lines = {str(file): len(file.read_text().splitlines()) for file in files}
    assert {file: count for file, count in lines.items() if count > MOST_LINES} == {}


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the two packages, and of what is checked of them."""
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, folder / package.relative_to(ROOT), ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(house: Path) -> str:
    """What the linter says of a house; "" where nothing is broken."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": f"{house}{os.pathsep}{house / 'server'}"}
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1) and "Contracts: " in done.stdout, done.stdout + done.stderr
    return done.stdout if done.returncode else ""


def test_nothing_is_imported_the_wrong_way(house):
    assert lint(house) == ""


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        # Each room of the library imports the one above it.
        ("streamdocs.errors", "streamdocs._base.arrays"),
        ("streamdocs._base.arrays", "streamdocs.store.base"),
        ("streamdocs.store.base", "streamdocs.recipes.layout"),
        ("streamdocs.recipes.layout", "streamdocs.schedule.mixture"),
        ("streamdocs.recipes.layout", "streamdocs.corpus.files"),
        ("streamdocs.recipes.keys", "streamdocs.store.base"),
        ("streamdocs.schedule.mixture", "streamdocs.corpus.files"),
        ("streamdocs.schedule.rounds", "streamdocs.store.base"),
        ("streamdocs.corpus.files", "streamdocs.schedule.mixture"),
        ("streamdocs.recipes.layout", "streamdocs.graph.edition"),
        ("streamdocs.graph.edition", "streamdocs.store.base"),
        ("streamdocs.graph.edition", "streamdocs.schedule.rounds"),
        ("streamdocs.graph.edition", "streamdocs.generations.records"),
        ("streamdocs.schedule.mixture", "streamdocs.sections"),
        ("streamdocs.sections", "streamdocs.config"),
        ("streamdocs.config", "streamdocs.run"),
        ("streamdocs.run", "streamdocs.generations.progress"),
        ("streamdocs.generations.progress", "streamdocs.ledger.sealing"),
        ("streamdocs.ledger.sealing", "streamdocs.reading.assembly"),
        ("streamdocs.reading.assembly", "streamdocs.dataset"),
        ("streamdocs.dataset", "streamdocs.integrations.composer"),
        ("streamdocs.integrations.composer", "streamdocs.demo.run"),
        ("streamdocs.demo.run", "streamdocs.export.rows"),
        ("streamdocs.checks.findings", "streamdocs.commands.cli"),
        # The library imports the server.
        ("streamdocs.commands.cli", "streamdocs_server.cli"),
        # Each room of the server imports the one above it.
        ("streamdocs_server._base.network", "streamdocs_server.gates.gates"),
        ("streamdocs_server.gates.gates", "streamdocs_server.engines.base"),
        ("streamdocs_server.supervision.supervisor", "streamdocs_server.gates.gates"),
        ("streamdocs_server.engines.base", "streamdocs_server.work.commit"),
        ("streamdocs_server.work.commit", "streamdocs_server.telling.view"),
        ("streamdocs_server.telling.view", "streamdocs_server.cli"),
    ],
)
def test_a_wrong_import_is_found(house, importer, imported):
    assert f"{importer} -> {imported}" in lint_with(house, importer, imported)


def test_two_modules_of_a_room_that_import_each_other_are_found(house):
    said = lint_with(house, "streamdocs.schedule.order", "streamdocs.schedule.rounds")
    assert "in streamdocs.schedule" in said and ".rounds -> .order" in said


@pytest.mark.parametrize("statement", ["from streamdocs import RunFile", "import streamdocs"])
def test_an_import_of_the_public_face_is_found(house, statement):
    module = house / "streamdocs/store/base.py"
    before = module.read_text()
    try:
        module.write_text(f"{before}\n{statement}\n")
        assert "streamdocs.store.base -> streamdocs (" in lint(house)
    finally:
        module.write_text(before)


def lint_with(house: Path, importer: str, imported: str) -> str:
    """What the linter says where one module imports another."""
    folder = house if importer.startswith("streamdocs.") else house / "server"
    module = folder / f"{importer.replace('.', '/')}.py"
    before = module.read_text()
    try:
        module.write_text(f"{before}\nimport {imported}\n")
        return lint(house)
    finally:
        module.write_text(before)


def test_a_room_that_the_plan_does_not_have_is_found(house):
    room = house / "streamdocs" / "attic"
    room.mkdir()
    (room / "__init__.py").touch()
    try:
        assert "streamdocs.attic" in lint(house)
    finally:
        shutil.rmtree(room)
