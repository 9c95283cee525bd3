"""slurm-nb reports which of the user's Jupyter settings it overrides, with file and setting."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slurm_nb.kit import overrides

KIT = Path(overrides.__file__).parent
NAMES = ["jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config"]
SECRETS = [("token", ""), ("password", ""), ("hashed_password", "")]
GUARDS = [
    ("disable_check_xsrf", True),
    ("allow_remote_access", True),
    ("trust_xheaders", True),
    ("allow_origin", "*"),
    ("allow_origin", "https://evil.example"),
    ("allow_origin_pat", ".*"),
    ("ip", "0.0.0.0"),  # noqa: S104  the user's mistake
    ("cookie_secret", "0123456789012345"),
    ("cookie_secret_file", "/home/alice/secret"),
    ("local_hostnames", ["localhost", "evil.example"]),
    ("login_handler_class", "theirs.Login"),
    ("identity_provider_class", "theirs.Provider"),
    ("authorizer_class", "theirs.Authorizer"),
    ("config_file", "/home/alice/x.py"),
    ("config_file_name", "x"),
    ("ip", "*"),
    ("ip", "::"),
    ("ip", ""),
]
DISARMING: list[tuple[str, str, Any]] = [
    *((section, *each) for section in ("ServerApp", "NotebookApp") for each in SECRETS + GUARDS
      if section == "ServerApp" or "config_file" not in each[0]),
    *((section, *each) for section in ("IdentityProvider", "PasswordIdentityProvider")
      for each in SECRETS),
    *((section, "transport", "tcp") for section in
      ("ConnectionFileMixin", "KernelManager", "ServerKernelManager")),
    ("KernelManager", "ip", "127.0.0.1"),
    ("ConnectionFileMixin", "ip", "/tmp/open"),
]  # fmt: skip
HARMLESS: list[tuple[str, str, Any]] = [
    ("ServerApp", "token", "their-own"),
    ("ServerApp", "password", "argon2:x"),
    ("ServerApp", "disable_check_xsrf", False),
    ("ServerApp", "allow_remote_access", False),
    ("ServerApp", "allow_origin", ""),
    ("ServerApp", "ip", "localhost"),
    ("ServerApp", "ip", "127.0.0.1"),
    ("ServerApp", "port", 8888),
    ("ServerApp", "base_url", "/mine/"),
    ("IdentityProvider", "token", "their-own"),
    ("KernelManager", "transport", "ipc"),
    ("ContentsManager", "allow_hidden", True),
    ("Other", "token", ""),
    ("Other", "ip", "127.0.0.1"),
    ("ServerApp", "local_hostnames", ["localhost"]),
    ("ServerApp", "tornado_settings", {"websocket_max_message_size": 10**8}),
    ("ServerApp", "tornado_settings", {"headers": {"X-Mine": "1"}}),
]


def found(*folders: Path) -> list[str]:
    app = SimpleNamespace(config_file_paths=[str(KIT), *map(str, folders)])
    return overrides.describe(app)


def write_py(folder: Path, name: str, section: str, setting: str, value: Any) -> Path:
    path = folder / f"{name}.py"
    text = f"c = get_config()\nc.{section}.{setting} = {value!r}\n"
    path.write_text(text, encoding="utf-8")
    return path


def write_json(folder: Path, name: str, section: str, setting: str, value: Any) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({section: {setting: value}}), encoding="utf-8")
    return path


@pytest.mark.parametrize("write", [write_py, write_json])
@pytest.mark.parametrize(("section", "setting", "value"), DISARMING)
def test_a_setting_that_opens_the_server_is_reported(
    tmp_path: Path, write: Any, section: str, setting: str, value: Any
) -> None:
    """One sentence names the file, the setting and its value."""
    path = write(tmp_path, "jupyter_server_config", section, setting, value)

    (sentence,) = found(tmp_path)

    assert f"({path})" in sentence
    assert f"{section}.{setting} = {value!r}" in sentence
    assert "slurm-nb overrides it" in sentence


@pytest.mark.parametrize("write", [write_py, write_json])
def test_a_kernel_manager_that_cannot_be_overridden_is_reported(tmp_path: Path, write: Any) -> None:
    """Its kernels are stopped, so the notice does not say that the setting was overridden."""
    write(tmp_path, "jupyter_server_config", "TheirKernelManager", "transport", "tcp")

    (sentence,) = found(tmp_path)

    assert "sets TheirKernelManager.transport = 'tcp'," in sentence
    assert sentence.endswith(": kernels of this kind cannot start")


@pytest.mark.parametrize("write", [write_py, write_json])
@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_file_of_the_server_is_searched(
    tmp_path: Path, write: Any, name: str
) -> None:
    """The notice names the file that has the setting."""
    path = write(tmp_path, name, "ServerApp", "token", "")

    (sentence,) = found(tmp_path)

    assert str(path) in sentence


@pytest.mark.parametrize("write", [write_py, write_json])
def test_headers_that_open_the_page_are_reported(tmp_path: Path, write: Any) -> None:
    """Settings that would disable the protection are reported too."""
    headers = {"headers": {"Content-Security-Policy": "frame-ancestors *"}}
    write(tmp_path, "jupyter_server_config", "ServerApp", "tornado_settings", headers)
    lock = {"allow_remote_access": True, "websocket_ping_interval": 5}
    write(tmp_path, "jupyter_config", "ServerApp", "tornado_settings", lock)

    told = found(tmp_path)

    assert len(told) == 2
    assert "sets ServerApp.tornado_settings['allow_remote_access']," in told[0]
    assert "sets ServerApp.tornado_settings['headers']," in told[1]


def an_app(folder: Path, **settings: Any) -> Any:
    """Return the parts of a ServerApp that are checked once the web application exists."""
    return SimpleNamespace(
        config_file_paths=[str(folder)],
        cookie_secret=b"ours",
        identity_provider="ours",
        authorizer="ours",
        web_app=SimpleNamespace(settings=settings),
    )


def test_headers_that_open_the_page_are_removed(tmp_path: Path) -> None:
    """Their case and origin do not matter; other headers stay."""
    own = {"content-security-policy": "", "Access-Control-Allow-Origin": "*", "X-Mine": "1"}
    write_json(tmp_path, "jupyter_config", "ServerApp", "tornado_settings", {"headers": own})
    app = an_app(tmp_path, headers={"CONTENT-SECURITY-POLICY": "", "X-Theirs": "2"})

    overrides.enforce(app)

    assert app.web_app.settings["headers"] == {"X-Mine": "1", "X-Theirs": "2"}


def test_a_harmless_tornado_setting_stays(tmp_path: Path) -> None:
    """The size of a websocket message can be set only in tornado_settings."""
    own = {"websocket_max_message_size": 10**8, "allow_remote_access": True, "debug": True}
    write_json(tmp_path, "jupyter_config", "ServerApp", "tornado_settings", own)
    app = an_app(tmp_path)

    overrides.enforce(app)

    assert app.web_app.settings["websocket_max_message_size"] == 10**8
    assert app.web_app.settings["allow_remote_access"] is False
    assert "debug" not in app.web_app.settings


def test_the_protection_overrides_the_settings_of_the_running_application(tmp_path: Path) -> None:
    """It does not matter where they came from."""
    app = an_app(
        tmp_path,
        allow_remote_access=True,
        local_hostnames=["evil.example"],
        allow_origin="*",
        allow_origin_pat=".*",
        allow_credentials=True,
        disable_check_xsrf=True,
        xsrf_cookies=False,
        cookie_secret=b"known",
        identity_provider="theirs",
        authorizer="theirs",
    )

    overrides.enforce(app)

    assert app.web_app.settings == {
        "headers": {},
        "allow_remote_access": False,
        "local_hostnames": ["localhost"],
        "allow_origin": "",
        "allow_origin_pat": "",
        "allow_credentials": False,
        "disable_check_xsrf": False,
        "xsrf_cookies": True,
        "cookie_secret": b"ours",
        "identity_provider": "ours",
        "authorizer": "ours",
    }


@pytest.mark.parametrize("name", ["jupyter_lab_config", "jupyter_notebook_config"])
def test_lab_and_notebook_files_are_searched_too(tmp_path: Path, name: str) -> None:
    """Both pages read their own file and pass its server settings on."""
    write_py(tmp_path, name, "ServerApp", "token", "")

    assert len(found(tmp_path)) == 1


def test_settings_in_two_folders_are_both_reported(tmp_path: Path) -> None:
    """They may be in a site's configuration and in the user's own."""
    (tmp_path / "site").mkdir()
    (tmp_path / "own").mkdir()
    write_json(tmp_path / "site", "jupyter_server_config", "ServerApp", "allow_origin", "*")
    write_py(tmp_path / "own", "jupyter_notebook_config", "NotebookApp", "token", "")

    told = found(tmp_path / "site", tmp_path / "own", tmp_path / "missing")

    assert len(told) == 2
    assert any("site/jupyter_server_config.json" in sentence for sentence in told)
    assert any("own/jupyter_notebook_config.py" in sentence for sentence in told)


@pytest.mark.parametrize("write", [write_py, write_json])
@pytest.mark.parametrize(("section", "setting", "value"), HARMLESS)
def test_a_harmless_setting_is_not_reported(
    tmp_path: Path, write: Any, section: str, setting: str, value: Any
) -> None:
    """It has no effect on access, or is what slurm-nb sets anyway."""
    write(tmp_path, "jupyter_server_config", section, setting, value)

    assert found(tmp_path) == []


def test_without_configuration_there_is_no_report(tmp_path: Path) -> None:
    """Most users have none."""
    assert found() == found(tmp_path) == []


def test_the_kits_own_settings_are_not_reported() -> None:
    """The list of files includes the kit's file, which is not the user's."""
    assert (KIT / "jupyter_server_config.py").exists()
    assert found() == []


def test_the_kits_own_settings_are_not_reported_through_a_link(tmp_path: Path) -> None:
    """The job script may reach a home through a link; Python knows the kit by its real path."""
    link = tmp_path / "home"
    link.symlink_to(KIT.parent)
    app = SimpleNamespace(config_file_paths=[str(link / KIT.name)])

    assert overrides._own_configs(app) == []  # noqa: SLF001  loading it would run it again


@pytest.mark.parametrize(
    "text",
    [
        "raise RuntimeError('mine')",
        "1 / 0",
        "this is no python",
        "import no_such_module",
        "c = get_config()\nc.ServerApp = 5",
        "\x00",
    ],
)
def test_a_broken_configuration_file_does_not_stop_the_session(tmp_path: Path, text: str) -> None:
    """Jupyter continues without it, and slurm-nb does too."""
    (tmp_path / "jupyter_server_config.py").write_text(text, encoding="utf-8")

    assert found(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "5", "[]", '"x"', "\x00",
        '{"ServerApp": null}', '{"ServerApp": 5}', '{"ServerApp": "token"}',
        '{"ServerApp": ["token"]}', '{"ServerApp": {"ip": ["0.0.0.0"]}}', '{"ServerApp": {}}',
    ],
)  # fmt: skip
def test_a_json_file_of_any_shape_does_not_stop_the_session(tmp_path: Path, text: str) -> None:
    """A section that is not an object opens nothing."""
    (tmp_path / "jupyter_server_config.json").write_text(text, encoding="utf-8")

    assert found(tmp_path) == []


def test_reading_a_setting_is_not_reported(tmp_path: Path) -> None:
    """A configuration file that reads a value does not set it."""
    (tmp_path / "jupyter_server_config.py").write_text(
        "c = get_config()\nc.ServerApp.allow_origin\nc.ServerApp.token\n",
        encoding="utf-8",
    )

    assert found(tmp_path) == []


def test_a_notebook_6_setting_that_jupyter_no_longer_reads_is_reported(tmp_path: Path) -> None:
    """notebook_shim passes on what ServerApp supports and silently drops the rest."""
    path = tmp_path / "jupyter_notebook_config.py"
    path.write_text(
        "c.NotebookApp.nbserver_extensions = {'x': True}\nc.NotebookApp.terminals_enabled = False\n"
    )

    (text,) = found(tmp_path)
    setting = "Jupyter no longer reads NotebookApp.nbserver_extensions"
    assert text == f"{setting}, which your configuration ({path}) sets"
