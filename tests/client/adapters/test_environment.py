"""What environment variables and reward_kwargs make of a client."""

import pytest

from plaudit_client import Tls
from plaudit_client.environment import Server, read

HERE = {"PLAUDIT_REWARD_ADDRESS": "rewards:50051"}


def test_the_address_is_enough_and_what_is_given_goes_first():
    others = {"HOME": "/", "PLAUDIT_OTHER": "x"}
    assert read(HERE | others) == Server(address="rewards:50051", timeout_s=600.0)
    found = read(HERE | {"PLAUDIT_REWARD_MODEL": "models/a"}, {"address": "other:1", "timeout_s": 5, "tls_ca": None})
    assert found == Server(address="other:1", model="models/a", timeout_s=5.0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"PLAUDIT_REWARD_ADDRESS": ""}, "no reward server is named"),
        ({"PLAUDIT_REWARD_TIMEOUT_S": "soon"}, "PLAUDIT_REWARD_TIMEOUT_S is 'soon': give seconds, such as 600"),
        ({"PLAUDIT_REWARD_TIMEOUT_S": "nan"}, "give seconds"),
        ({"PLAUDIT_REWARD_TIMEOUT_S": "inf"}, "give seconds"),
        ({"PLAUDIT_REWARD_TIMEOUT_S": "-1"}, "give seconds"),
        (
            {"PLAUDIT_REWARD_TSL_CA": "ca.crt"},
            "PLAUDIT_REWARD_TSL_CA is no setting; there are PLAUDIT_REWARD_ADDRESS, ",
        ),
    ],
)
def test_a_mistake_is_told_by_its_name(more, message):
    with pytest.raises(ValueError, match=message):
        read(HERE | more)


def test_what_kubernetes_says_of_a_service_of_that_name_is_no_setting():
    links = {"PLAUDIT_REWARD_SERVICE_HOST": "10.0.0.1", "PLAUDIT_REWARD_PORT": "tcp://10.0.0.1:50051"}
    links |= {"PLAUDIT_REWARD_PORT_50051_TCP_ADDR": "10.0.0.1", "PLAUDIT_REWARD_SERVICE_PORT_GRPC": "50051"}
    assert read(HERE | links) == read(HERE)


def test_a_key_is_read_from_its_file(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    server = read(HERE | {"PLAUDIT_REWARD_API_KEY_FILE": str(tmp_path / "key")})
    assert server.arguments()["api_key"] == "secret"
    assert "secret" not in repr(server)
    assert read(HERE).arguments() == {
        "address": "rewards:50051",
        "model": "",
        "timeout": 600.0,
        "api_key": None,
        "tls": None,
    }


def test_tls_is_on_with_its_authorities_and_never_off_by_an_oversight():
    own = {"PLAUDIT_REWARD_TLS_CERTIFICATE": "tls.crt", "PLAUDIT_REWARD_TLS_KEY": "tls.key"}
    authorities = {"PLAUDIT_REWARD_TLS_CA": "ca.crt", "PLAUDIT_REWARD_TLS_SERVER_NAME": "rewards"}
    assert read(HERE | own | authorities).arguments()["tls"] == Tls("ca.crt", "tls.crt", "tls.key", "rewards")
    assert read(HERE | {"PLAUDIT_REWARD_TLS_CA": "system"}).arguments()["tls"] == Tls()
    with pytest.raises(ValueError, match='PLAUDIT_REWARD_TLS_CA is not set, other TLS settings are: give a file, or "'):
        read(HERE | own).arguments()
    with pytest.raises(ValueError, match="go together"):
        read(HERE | authorities | {"PLAUDIT_REWARD_TLS_KEY": "tls.key"}).arguments()
