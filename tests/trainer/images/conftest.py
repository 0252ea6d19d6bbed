"""Every test of images leaves Pillow as it was."""

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _pillows_limit_is_put_back(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
