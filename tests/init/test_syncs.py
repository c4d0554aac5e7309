"""Which syncs are proposed: of interpreted sources whose place in the image is certain, and of nothing else."""

import pytest

from devloop.core.draft import draft
from devloop.core.draft.model import DraftSync
from tests.init.making import tree

FILES = """
=== package.json
{"scripts": {"dev": "nodemon server.js", "start": "node server.js"}}
=== requirements.txt
x
=== src/app.py
x
=== src/app.js
x
=== src/style.css
x
=== www/index.html
x
=== main.go
x
=== data/notes.txt
x
=== server.js
x
"""


def proposed(dockerfile: str, files: str = FILES) -> list[DraftSync]:
    """Return the syncs of a project with this Dockerfile."""
    return list(draft(tree(f"=== Dockerfile\n{dockerfile}{files}")).syncs)


def told(dockerfile: str, files: str = FILES) -> list[str]:
    """Return the syncs in short: what is copied, and what for the program starts again."""
    return [
        " ".join(
            [
                *([sync.source] if sync.source else []),
                *(each for rule in sync.rules if rule.name == "copy" for each in rule.arguments),
                *(f"restart:{each}" for rule in sync.rules if rule.name == "restart" for each in rule.on),
            ]
        )
        for sync in proposed(dockerfile, files)
    ]


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ('FROM python\nCOPY src /src\nCMD ["python", "/src/app.py"]\n', ["src restart:src/**/*.py"]),
        ('FROM python\nCOPY src /src\nCMD ["uvicorn", "app:app", "--reload"]\n', ["src"]),
        ('FROM python\nCOPY src /src\nCMD ["flask", "run", "--debug"]\n', ["src"]),
        ('FROM node\nWORKDIR /app\nCOPY src src/\nCMD ["npm", "run", "dev"]\n', ["src"]),
        ('FROM node\nWORKDIR /app\nCOPY server.js ./\nCMD ["npm", "start"]\n', ["server.js restart:server.js"]),
        ("FROM nginx\nCOPY www /usr/share/nginx/html\n", ["www"]),
        ("FROM httpd\nCOPY src/ /www/\n", ["src restart:src/**/*.py"]),
    ],
    ids=["python", "uvicorn reloads", "flask reloads", "a dev server of node's", "node", "pages", "mixed"],
)
def test_interpreted_sources_are_synced(dockerfile: str, expected: list[str]) -> None:
    assert told(dockerfile) == expected


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM golang\nCOPY main.go .\nRUN go build -o /app .\n",
        "FROM node AS build\nCOPY src src\nRUN npm run build\nFROM nginx\nCOPY --from=build dist /www\n",
        "FROM node\nWORKDIR /app\nCOPY src src\nRUN npm ci && \\\n    npm run build\n",
        "FROM python\nCOPY src /src\nRUN pip install /src .\n",
        "FROM python\nCOPY src $WHERE\n",
        "FROM python\nCOPY data /data\n",
        "FROM python\nCOPY requirements.txt /\nRUN pip install -r requirements.txt\n",
    ],
    ids=["go", "a bundle", "built in place", "installed", "a place unknown", "data alone", "dependencies"],
)
def test_what_a_build_makes_something_of_is_built(dockerfile: str) -> None:
    assert proposed(dockerfile) == []


def test_of_a_whole_context_only_the_parts_are_synced_that_no_dependency_is_installed_from() -> None:
    found = told(
        'FROM python\nWORKDIR /app\nCOPY . .\nCMD ["python", "src/app.py"]\n', FILES.replace("=== main.go\nx\n", "")
    )

    assert found == ["server.js src www restart:src/**/*.py"]


def test_what_dockerignore_keeps_out_is_not_synced() -> None:
    files = f"{FILES}=== .dockerignore\nwww\nserver.js\nmain.go\n"

    assert told('FROM python\nWORKDIR /app\nCOPY . .\nCMD ["python", "src/app.py"]\n', files) == [
        "src restart:src/**/*.py"
    ]


def test_the_command_of_a_manifest_counts_for_more_than_the_images() -> None:
    manifest = """=== k8s.yaml
apiVersion: v1
kind: Pod
metadata: {name: app}
spec: {containers: [{name: app, image: acme/app, args: [watchmedo, auto-restart]}]}
"""

    assert told('FROM python\nCOPY src /src\nCMD ["python", "/src/app.py"]\n', FILES + manifest) == ["src"]


def test_a_base_of_other_images_is_not_synced() -> None:
    text = "=== base/Dockerfile\nFROM python\nCOPY lib /lib\n=== base/lib/a.py\nx\n=== api/Dockerfile\nFROM base\n"

    assert list(draft(tree(text)).syncs) == []
