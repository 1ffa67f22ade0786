"""What is told of an exception in a component."""

from stormline.multilang.traces import told


def test_the_tuple_of_an_exception_is_shortened() -> None:
    """
    Its first 300 characters and how long it is; the error itself is whole.
    """
    try:
        raise ValueError("x" * 400)
    except ValueError as error:
        text = told(error, ("word", "y" * 5_000))

    assert "ValueError raised while processing Tuple ('word', 'yyy" in text
    assert "y" * 400 not in text
    assert "... (5,012 characters)" in text
    assert "x" * 400 in text
