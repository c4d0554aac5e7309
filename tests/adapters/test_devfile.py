"""Loading devfiles: afresh each time, with all that they read."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devloop.adapters.devfile import PythonDevfile
from devloop.model import ImageSpec, Kind, NodeId

IMAGE = 'from devloop import image\n@image("api")\ndef api_image(): ...\n'


def write(folder: Path, **files: str) -> PythonDevfile:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return PythonDevfile(folder / "devfile.py")


def names(devfile: PythonDevfile) -> list[str]:
    loaded = devfile.load()
    assert loaded.errors == ()
    return [str(each.id) for each in loaded.declarations]


def test_loading_twice_gives_two_independent_results(tmp_path: Path) -> None:
    devfile = write(tmp_path, devfile_py=IMAGE)

    first, second = devfile.load(), devfile.load()

    assert (
        [each.id for each in first.declarations]
        == [each.id for each in second.declarations]
        == [NodeId(Kind.IMAGE, "api")]
    )
    assert first.declarations[0].function is not second.declarations[0].function


def test_a_helper_module_is_read_anew_however_soon_it_was_edited(tmp_path: Path) -> None:
    devfile = write(tmp_path, naming_py='NAME = "one"', devfile_py="from naming import NAME\n" + named("NAME"))
    assert names(devfile) == ["image:one"]

    write(tmp_path, naming_py='NAME = "two"')

    assert names(devfile) == ["image:two"]
    assert not list(tmp_path.rglob("__pycache__"))


def test_all_that_the_devfile_reads_is_recorded(tmp_path: Path) -> None:
    text = "from pathlib import Path\nimport naming\n" + named('Path(__file__).with_name("VERSION.txt").read_text()')
    devfile = write(tmp_path, naming_py="", VERSION_txt="v1", devfile_py=text)

    assert devfile.load().read >= {"devfile.py", "naming.py", "VERSION.txt"}


def test_an_included_devfile_has_a_folder_of_its_own(tmp_path: Path) -> None:
    devfile = write(
        tmp_path,
        devfile_py='from devloop import include\ninclude("services/search/devfile.py")\n',
        services__search__devfile_py=IMAGE,
    )

    (declaration,) = devfile.load().declarations

    assert declaration.folder == "services/search"
    assert str(declaration.where) == "services/search/devfile.py:3"


def test_an_include_of_nothing_is_an_error_at_its_line(tmp_path: Path) -> None:
    devfile = write(tmp_path, devfile_py='from devloop import include\ninclude("nope/devfile.py")\n')

    (error,) = devfile.load().errors

    assert (error.message, str(error.where)) == ("there is no devfile `nope/devfile.py`", "devfile.py:2")


def test_project_said_twice_is_an_error(tmp_path: Path) -> None:
    devfile = write(tmp_path, devfile_py='from devloop import project\nproject("a")\nproject("b")\n')

    (error,) = devfile.load().errors

    assert str(error.where) == "devfile.py:3"
    assert [str(where) for where in error.chain] == ["devfile.py:2"]


def test_an_exception_shows_the_users_frames_only_the_innermost_first(tmp_path: Path) -> None:
    devfile = write(
        tmp_path, naming_py="def name():\n    return {}['x']\n", devfile_py="import naming\nnaming.name()\n"
    )

    (error,) = devfile.load().errors

    assert error.message == "`devfile.py` raises KeyError: 'x'"
    assert [str(where) for where in (error.where, *error.chain)] == ["naming.py:2", "devfile.py:2"]


def test_what_is_no_python_is_an_error_with_its_place(tmp_path: Path) -> None:
    (error,) = write(tmp_path, devfile_py="x = 1\ndef f(:\n").load().errors

    assert str(error.where) == "devfile.py:2:7"


SWITCHED = """\
from devloop import image, setting
dev = setting("dev", default=False)
@image("api", target="develop" if dev else "release")
def api_image(): ...
"""


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, ("release", "default")),
        ({"dev": "true"}, {}, ("develop", "--set dev")),
        ({}, {"DEVLOOP_SET_DEV": "1"}, ("develop", "DEVLOOP_SET_DEV")),
        ({"dev": "no"}, {"DEVLOOP_SET_DEV": "1"}, ("release", "--set dev")),
    ],
)
def test_a_setting_of_the_devfile_has_its_value_while_it_is_read(
    tmp_path: Path, given: dict[str, str], environment: dict[str, str], expected: tuple[str, str]
) -> None:
    write(tmp_path, devfile_py=SWITCHED)

    loaded = PythonDevfile(tmp_path / "devfile.py", given=given, environment=environment).load()

    (image,), (setting,) = loaded.declarations, loaded.settings
    assert isinstance(image.spec, ImageSpec)
    assert (image.spec.target, setting.source) == expected
    assert (str(setting), setting.type, str(setting.where)) == ("dev", "bool", "devfile.py:2")


def test_a_setting_of_the_devfile_with_a_wrong_value_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, devfile_py=SWITCHED)

    (error,) = PythonDevfile(tmp_path / "devfile.py", given={"dev": "often"}).load().errors

    assert error.message == "setting `dev` cannot be `often`: it must be true or false"
    assert (str(error.where), error.hint) == ("devfile.py:2", "it comes from --set dev")


def named(name: str) -> str:
    return f"from devloop import image\n@image('api', name={name})\ndef api_image(): ...\n"


def test_loads_in_several_threads_do_not_disturb_one_another(tmp_path: Path) -> None:
    text = (
        "import time\nfrom devloop import image\ntime.sleep(0.01)\nimport helper\n@image(helper.NAME)\ndef one(): ...\n"
    )
    devfiles = []
    for number in range(4):
        folder = tmp_path / str(number)
        devfiles.append(write(folder, devfile_py=text, helper_py=f"NAME = 'folder{number}'\n"))

    def contexts(devfile: PythonDevfile) -> list[str]:
        found = []
        for _ in range(5):
            (declared,) = devfile.load().declarations
            assert isinstance(declared.spec, ImageSpec)
            found.append(declared.spec.context)
        return found

    with ThreadPoolExecutor(4) as threads:
        for number, found in enumerate(threads.map(contexts, devfiles)):
            assert found == [f"folder{number}"] * 5
