import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenplace_operator.api.quantity import canonical


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("0.5", "500m"),
        (".5", "500m"),
        ("1000m", "1"),
        (1, "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("256Mi", "256Mi"),
        ("2048Gi", "2Ti"),
        ("1000M", "1G"),
        ("1500", "1500"),
        ("0", "0"),
        ("0Gi", "0"),
        ("0.5Ki", "512"),
        ("0.1Gi", "107374182400m"),
        ("1e3", "1e3"),
        ("12E4", "120e3"),
        ("1E", "1E"),
        ("100n", "100n"),
    ],
)
def test_canonical_form(written: str | int, stored: str) -> None:
    assert canonical(written) == stored


@pytest.mark.parametrize(
    "text", ["", "Mi", "1 Gi", "1ki", "--1", "1e", "one", "1_000", "1e9999999999"]
)
def test_invalid_text_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        canonical(text)


@given(
    st.integers(0, 10**9),
    st.integers(0, 999),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]),
)
def test_canonical_form_is_its_own_canonical_form(whole: int, part: int, suffix: str) -> None:
    once = canonical(f"{whole}.{part:03}{suffix}")
    assert canonical(once) == once


def test_long_quantities_are_rejected() -> None:
    with pytest.raises(ValueError, match="at most 64 characters"):
        canonical("9" * 5000)
