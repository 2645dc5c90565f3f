"""Where a secret may go: entries and URLs, and what is never a match."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigError, ProblemError
from bus.security.hosts import entry_of, target_of
from bus.security.secrets import SecretEntry, Secrets
from tests.operator_keys import loaded

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=5).map(".".join)
PORT = st.integers(1, 65_535)


def matches(entry: str, url: str) -> bool:
    listed, target = entry_of(entry), target_of(url)
    assert listed is not None, entry
    return target is not None and listed.matches(target)


@given(NAME, NAME)
def test_a_name_matches_itself_alone(name: str, other: str):
    assert matches(name, f"https://{name}/v1")
    assert matches(name.upper(), f"https://{name}./v1")
    assert matches(name, f"https://{name.upper()}:8443")
    assert matches(name, f"https://{other}") is (name == other)
    assert not matches(name, f"https://{other}.{name}")
    assert not matches(name, f"https://{name}.{other}")
    assert not matches(name, f"https://x{name}")


@given(NAME, NAME)
def test_a_star_in_front_stands_for_labels_before_the_name(name: str, below: str):
    assert matches(f"*.{name}", f"https://{below}.{name}/v1")
    assert not matches(f"*.{name}", f"https://{name}")
    assert not matches(f"*.{name}", f"https://x{name}")
    longer = f"{below}.{name}.x-{below}"
    assert matches(f"*.{name}", f"https://{longer}") is longer.endswith(f".{name}")
    assert not matches(f"*.{name}", f"https://.{name}")


@given(NAME, LABEL, LABEL)
def test_a_star_in_a_label_stands_for_a_part_of_that_label(name: str, one: str, two: str):
    assert matches(f"*-api.{name}", f"https://{one}-api.{name}")
    assert not matches(f"*-api.{name}", f"https://-api.{name}")
    assert not matches(f"*-api.{name}", f"https://{one}.x-api.{name}")
    assert not matches(f"*-api.{name}", f"https://{one}-api.{two}.{name}")
    assert matches(f"a.*.{name}", f"https://a.{one}.{name}")
    assert not matches(f"a.*.{name}", f"https://a.{one}.{two}.{name}")
    assert not matches(f"a.*.{name}", f"https://a.{name}")


@given(NAME, PORT, PORT)
def test_a_port_is_the_very_port(name: str, port: int, other: int):
    assert matches(f"{name}:{port}", f"https://{name}:{port}/v1")
    assert matches(f"{name}:{port}", f"https://{name}:{other}") is (port == other)
    assert matches(f"{name}:443", f"https://{name}")
    assert matches(f"*.{name}:{port}", f"https://a.{name}:{port}")


@given(st.ip_addresses(), st.ip_addresses(), NAME)
def test_an_address_matches_itself_alone_and_no_star(one: object, other: object, name: str):
    def written(address: object) -> str:
        return f"[{address}]" if isinstance(address, IPv6Address) else str(address)

    assert matches(str(one), f"https://{written(one)}/v1")
    assert matches(f"{written(one)}:1", f"https://{written(one)}:1/v1")
    assert matches(str(one), f"https://{written(other)}") is (one == other)
    assert not matches(str(one), f"https://{name}")
    assert not matches(f"*.{name}", f"https://{written(one)}")


@given(st.ip_addresses(v=6), st.text("abc.%01", max_size=8))
def test_an_address_with_a_zone_matches_nothing(address: object, zone: str):
    for entry in (str(address), "*.b.c", "a.b.c"):
        assert not matches(entry, f"https://[{address}%{zone}]/")
        assert not matches(entry, f"https://[{address}%25{zone}.b.c]/")
    assert entry_of(f"{address}%{zone}") is None
    assert entry_of(f"[{address}%{zone}]") is None


def test_long_and_short_forms_of_an_address_are_one():
    assert matches("[0:0:0:0:0:0:0:1]:80", "http://[::1]")
    assert matches("::1", "https://[0000::0001]:8")
    assert not matches("127.0.0.1", "https://[::ffff:127.0.0.1]")


@pytest.mark.parametrize(
    "url",
    [
        "https://user@a.example/",
        "https://user:pw@a.example/",
        "https://a.example@evil.example/",
        "https://a.example:443@evil.example/",
        "https://evil.example\\@a.example/",
        "https://a.example\\.evil.example/",
        "https://evil.example#@a.example/",
        "https://evil.example?a.example",
        "https://a.example%2eevil.example/",
        "https://a%2eexample/",
        "https://a.example\u3002evil.example/",
        "https://\u24d0.example/",
        "https://\uff41.example/",
        "https://\u00e4.example/",
        "https://a..example/",
        "https://a.example../",
        "https://.a.example/",
        "https://a.example:/",
        "https://a.example:0x1bb/",
        "https://a.example:99999/",
        "https://a.example :443/",
        "https:///a.example/",
        "https:a.example",
        "//a.example/",
        "a.example",
        "ftp://a.example/",
        "https://a.example\n/",
        "https://a.example\t/",
        "https://*.example/",
        "https://*/",
        "https://[a.example]/",
        "https://[a.example/",
        "https://a.example]/",
        "https://a.example/../x",
        "https://a.example/%2e%2E/x",
        "https://a.example/x?y",
        "https://a.example/x#y",
        "",
    ],
)
def test_what_could_be_read_in_another_way_matches_nothing(url: str):
    assert not matches("a.example", url)
    assert not matches("*.example", url)


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "0", "0x7f000001"])
def test_a_number_that_is_no_address_matches_nothing(host: str):
    assert target_of(f"https://{host}/") is None
    assert entry_of(host) is None


@pytest.mark.parametrize(
    ("entry", "path", "fits"),
    [
        ("a.example/v1", "/v1", True),
        ("a.example/v1", "/v1/", True),
        ("a.example/v1/", "/v1/models", True),
        ("a.example/v1", "/v1beta", False),
        ("a.example/v1", "/", False),
        ("a.example/v1", "", False),
        ("a.example/v1", "//v1", False),
        ("a.example/v1", "/v2/v1", False),
        ("a.example/v1", "/v1/%2e%2e/v2", False),
        ("a.example/v1", "/v1/..%2fv2", False),
        ("a.example/v1", "/v1%2fx", False),
        ("a.example/v1", "/V1", False),
        ("a.example:443/v1", "/v1/x", True),
        ("a.example", "/any/%20/path", True),
    ],
)
def test_a_path_holds_all_below_it(entry: str, path: str, fits: bool):
    assert matches(entry, f"https://a.example{path}") is fits


@pytest.mark.parametrize(
    "entry",
    ["*", "a.*", "**.example", "*a*.example", "a b", "u@a.example", "a.example:x", "a..b", "",
     "https://a.example", "a.example/../b", "\u00e4.example", "a.example/%2e", "*.*", "127.*"],
)  # fmt: skip
def test_what_is_no_host_keeps_a_process_from_starting(entry: str):
    assert entry_of(entry) is None
    with pytest.raises(ConfigError):
        Secrets({"s": SecretEntry(env="KEY", hosts=(entry,))}, {})


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_read_or_not(entry: str, url: str):
    for each in (url, f"https://{url}", f"https://{url}/v1"):
        target = target_of(each)
        assert target is None or not any("*" in label for label in str(target.host))
    entry_of(entry)


@pytest.mark.parametrize(
    "url",
    [
        "https://storage.googleapis.com/v1",
        "https://www.googleapis.com/v1",
        "https://googleapis.com/v1",
        "https://evil.aiplatform.googleapis.com/v1",
        "https://aiplatform.googleapis.com",
        "https://aiplatform.googleapis.com/v1alpha1",
        "https://aiplatform.googleapis.com/upload/v1",
        "https://oauth2.googleapis.com/token",
        "https://us-east1-aiplatform.googleapis.com.evil.example/v1",
        "https://a.us-east1-aiplatform.googleapis.com/v1",
        "https://xaiplatform.googleapis.com/v1",
        "https://aiplatform.xx.rep.googleapis.com/v1",
        "http://aiplatform.googleapis.com/v1",
    ],
)
def test_googles_tokens_go_to_vertex_alone(url: str):
    secrets = loaded({"GOOGLE_APPLICATION_CREDENTIALS": "key-0123456789"})
    with pytest.raises(ProblemError, match="sent"):
        secrets.resolve("vertex", url, "acme")
