"""The package as a whole."""

import openai_codex


def test_the_version_is_that_of_the_native_module():
    from openai_codex import _native

    assert openai_codex.__version__ == _native.__version__
