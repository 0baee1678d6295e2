import dataclasses

import pytest
import typer

from server.cli.serve import app
from server.config import Key, Limits, Listen, ServerConfig, keys


def test_the_defaults_listen_on_this_machine_only():
    assert ServerConfig().listen.is_loopback


def test_other_machines_may_speak_to_the_server_once_there_is_a_key():
    key = "0123456789abcdef"
    assert not ServerConfig(Listen("0.0.0.0", api_key=key)).listen.is_loopback


def test_the_key_stands_in_no_representation():
    assert "0123456789abcdef" not in repr(Listen(api_key="0123456789abcdef"))


def test_the_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().max_sessions = 3


def test_every_key_says_what_it_means():
    assert all(each.info.text.endswith((".", "`.")) for _, each, _ in keys(ServerConfig()))


def test_the_flags_that_keys_name_are_the_flags_of_serve():
    command = typer.main.get_group(app).commands["serve"]
    options = {name for each in command.params for name in each.opts} - {"--weights"}
    others = {"--config", "--print-config", "--log-level"}
    infos = [each.info for _, each, _ in keys(ServerConfig())]
    assert all(isinstance(each, Key) for each in infos)
    assert {each.flag for each in infos if each.flag} == options - others
