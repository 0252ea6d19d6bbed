import pytest

from sweeps.errors import InputError
from sweeps.ray_tune.addresses import chosen_address


@pytest.mark.parametrize(
    ("given", "environ", "chosen"),
    [
        (None, {}, "local"),
        (None, {"RAY_ADDRESS": ""}, "local"),
        (None, {"RAY_ADDRESS": "10.0.0.1:6379"}, "10.0.0.1:6379"),  # within a job
        ("local", {"RAY_ADDRESS": "10.0.0.1:6379"}, "local"),
        ("auto", {}, "auto"),
        ("head:6379", {"RAY_ADDRESS": "http://head:8265"}, "head:6379"),
    ],
)
def test_an_option_counts_before_rays_variable(
    given: str | None, environ: dict[str, str], chosen: str
):
    assert chosen_address(given, environ=environ) == chosen


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port"])
def test_an_address_without_host_or_port_is_refused(address: str):
    with pytest.raises(InputError, match=f"--address {address}: expected host:port, as `ray start"):
        chosen_address(address, environ={})


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ray://head:10001", "Ray Client \\(ray://\\) is not supported. Run the command on a node"),
        ("http://head:8265", "that is the address of Ray's dashboard, to which jobs are submitted"),
        ("https://head", "that is the address of Ray's dashboard"),
    ],
)
def test_an_address_of_another_kind_is_refused_with_the_one_that_works(address: str, why: str):
    with pytest.raises(InputError, match=f"RAY_ADDRESS={address}: .*{why}.*--address auto"):
        chosen_address(None, environ={"RAY_ADDRESS": address})
