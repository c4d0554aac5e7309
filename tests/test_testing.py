"""`devloop.testing`: a project planned and rendered without any engine."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devloop import testing
from devloop.errors import InputError, InputErrors
from devloop.testing import LoadedProject
from tests.outside import ROOT


@pytest.fixture
def shop(tmp_path: Path) -> LoadedProject:
    return testing.load(shutil.copytree(ROOT / "examples/shop", tmp_path / "shop"))


def actions(project: LoadedProject, *changed: str) -> dict[str, str]:
    return {str(step.node): step.action for step in project.plan(changed=changed) if step.action}


def test_the_first_start_builds_and_deploys_everything(shop: LoadedProject) -> None:
    assert actions(shop) == {
        "image:base": "build",
        "image:front": "build",
        "image:api": "build",
        "image:worker": "build",
        "service:shop-store": "deploy",
        "service:shop-api": "deploy",
        "service:shop-worker": "deploy",
        "service:shop-front": "deploy",
    }


def test_a_changed_source_file_is_synced(shop: LoadedProject) -> None:
    assert actions(shop, "api/src/orders.py") == {"image:api": "sync"}


def test_a_changed_base_is_built_with_all_that_stands_on_it(shop: LoadedProject) -> None:
    assert actions(shop, "base/shopkit/web.py") == {
        "image:base": "build",
        "image:api": "build",
        "image:worker": "build",
        "service:shop-api": "deploy",
        "service:shop-worker": "deploy",
    }


def test_a_changed_manifest_is_deployed_without_a_build(shop: LoadedProject) -> None:
    assert actions(shop, "k8s/worker.yaml.j2") == {"service:shop-worker": "deploy"}


def test_a_folder_stands_for_all_files_in_it(shop: LoadedProject) -> None:
    assert actions(shop, "api/src") == {"image:api": "sync"}


def test_a_file_that_nothing_reads_runs_nothing(shop: LoadedProject) -> None:
    assert actions(shop, "README.md") == {}


def test_the_inputs_of_an_image_are_its_files_and_its_dockerfile(shop: LoadedProject) -> None:
    assert shop.inputs("api") == ("api/Dockerfile", "api/src/orders.py", "api/src/prices.py")


def test_the_inputs_of_a_service_are_its_manifests(shop: LoadedProject) -> None:
    assert shop.inputs("service:shop-worker") == ("k8s/worker.yaml.j2",)


def test_a_service_is_rendered_with_references_in_place_of_built_images(shop: LoadedProject) -> None:
    deployment, service = shop.render("shop-api", images={"api": "api:1.2"})

    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "api:1.2"
    assert service["kind"] == "Service"


def test_what_is_rendered_may_be_changed_freely(shop: LoadedProject) -> None:
    shop.render("shop-api")[0]["spec"]["replicas"] = 7

    assert shop.render("shop-api")[0]["spec"]["replicas"] == 1


def test_a_setting_of_the_devfile_is_given_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch AS release\nFROM release AS develop\n")
    text = 'from devloop import image, setting\ndev = setting("dev", default=False)\n'
    (tmp_path / "devfile.py").write_text(f'{text}@image(target="develop" if dev else "release")\ndef app(): ...\n')

    assert testing.load(tmp_path, settings={"dev": True}).settings == {"dev": True}
    with pytest.raises(InputErrors, match="there is no setting `deb`"):
        testing.load(tmp_path, settings={"deb": True})


def test_settings_are_given_as_plain_values(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "examples/shop", tmp_path / "shop")

    project = testing.load(folder, settings={"replicas": 3}, environment={"DEVLOOP_SET_CURRENCY": "CHF"})

    assert project.settings == {"worker.pace": 0.5, "shop-api.replicas": 3, "shop-api.currency": "CHF"}
    assert project.render("shop-api")[0]["spec"]["replicas"] == 3


def test_an_unknown_node_is_an_error_with_a_suggestion(shop: LoadedProject) -> None:
    with pytest.raises(InputError, match="no node `service:shop-apii`") as raised:
        shop.render("shop-apii")

    assert "did you mean `service:shop-api`" in (raised.value.hint or "")


def test_all_mistakes_are_raised_together(tmp_path: Path) -> None:
    (tmp_path / "devfile.py").write_text(
        "from devloop import image, service\n"
        "@image('missing')\n"
        "def api_image(): ...\n"
        "@service('gone.yaml')\n"
        "def api(api_image): ...\n"
    )

    with pytest.raises(InputErrors) as raised:
        testing.load(tmp_path)

    assert [str(error) for error in raised.value.errors] == [
        "image `api` has no Dockerfile: there is no `missing/Dockerfile`",
        "service `api` names the manifest `gone.yaml`, which does not exist",
    ]


def test_a_folder_without_a_devfile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no devfile"):
        testing.load(tmp_path)


def test_nothing_is_written(example: Callable[[str], Path]) -> None:
    folder = example("quickstart")
    before = sorted(folder.rglob("*"))

    testing.load(folder).plan()

    assert sorted(folder.rglob("*")) == before


def test_it_loads_no_client_of_docker_or_kubernetes() -> None:
    code = (
        "import sys; from devloop import testing; testing.load('examples/shop').plan();"
        "print({'kr8s', 'httpx', 'python_on_whales', 'docker', 'rich', 'typer'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
