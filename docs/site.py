"""What the site adds to the pages: a hook of MkDocs (mkdocs.yml).

The site has the shape of the repository, so that a link means the same on the site, in an editor and on a forge. The
page of commands is completed from the programs themselves, and the notebook is run and becomes a page with its outputs.
"""

import logging
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

log = logging.getLogger("mkdocs.site")

ROOT = Path(__file__).parents[1]
#: What pages may link to.
SHOWN = (
    "*.md",
    "docs/*",
    "server/*.md",
    "server/sglang/*",
    "server/deploy/**/*",
    "examples/**/*",
    "tests/server/**/*.py",
)
COMMANDS = {"streamdocs": "streamdocs.commands.cli", "streamdocs-server": "streamdocs_server.cli"}
#: A page that loads something from elsewhere: links may lead there, nothing else.
ELSEWHERE = re.compile(r"""<(?!a\b)[a-z]+\b[^>]*\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take pages and what they link to by their paths in the repository, in place of those in docs/ alone."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    found = sorted({path.relative_to(ROOT) for pattern in SHOWN for path in ROOT.glob(pattern) if path.is_file()})
    shown = [path.as_posix() for path in found if "__pycache__" not in path.parts]
    made = [File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in shown]
    notebooks = [path for path in shown if path.endswith(".ipynb")]
    made += [
        File.generated(config, path.replace(".ipynb", ".md"), content=run_notebook(ROOT / path)) for path in notebooks
    ]
    return Files([*theme, *made])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let a link to the notebook lead to its page, and list the commands."""
    if page.file.src_uri == "docs/commands.md":
        return "\n\n".join([markdown, *(listed(name, module) for name, module in COMMANDS.items())])
    return markdown.replace(".ipynb)", ".md)")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> None:
    """Warn, which fails a strict build, where a page would load something from elsewhere."""
    for address in set(ELSEWHERE.findall(output)):
        log.warning("%s loads %s: the site has to do without a network", page.file.src_uri, address)


def run_notebook(path: Path) -> str:
    """A notebook in Markdown, with what its cells give; an error where one fails."""
    notebook = nbformat.read(path, as_version=4)
    local = Config({"KernelManager": {"transport": "ipc"}})  # where nobody else on this machine can listen
    NotebookClient(notebook, timeout=300, kernel_name="python3", config=local).execute()
    for cell in notebook.cells:  # warnings and progress are of the machine that builds
        cell["outputs"] = [each for each in cell.get("outputs", ()) if each.get("name") != "stderr"]
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    return str(text)


def listed(name: str, module: str) -> str:
    """A program's commands in Markdown, one level below the page's title."""
    command = [sys.executable, "-m", "typer", module, "utils", "docs", "--name", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=ROOT)
    # A bracket after a bracket would be a link.
    lines = done.stdout.replace("```console", "```text").replace("][", "]\\[").splitlines()
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in lines)
