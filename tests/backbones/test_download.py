"""A download is whole or not there, and one that fails says what to do."""

from __future__ import annotations

import argparse
import io
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tlfw.backbones.download import fetch
from tlfw.errors import ConfigError


class Answer(io.BytesIO):
    def info(self) -> Any:
        return argparse.Namespace(getheaders=lambda _: [])


URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (urllib.error.URLError(OSError(-2, "Name or service not known")), "Name or service not known"),
        (urllib.error.HTTPError(URL, 403, "Forbidden", {}, None), "HTTP Error 403: Forbidden"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(), "no answer"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (b"half of", "invalid hash value"),
    ],
)
def test_a_download_that_fails_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: object, said: str
) -> None:
    from torchvision.models import ResNet18_Weights

    def urlopen(request: Any) -> Answer:
        assert request.full_url == URL
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", urlopen)
    with pytest.raises(ConfigError) as caught:
        fetch(ResNet18_Weights.DEFAULT)
    place = tmp_path / "hub" / "checkpoints"
    assert caught.value.field == "weights"
    for words in (said, URL, f"into {place}"):
        assert words in str(caught.value)
    assert list(place.iterdir()) == []
    assert capsys.readouterr().out == f"downloading {URL} (45 MB) to {place}\n"


def test_a_download_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published) -> None:
    """The server's answer is cut: nothing is left; then it is whole, and is kept; then it is damaged, and found."""
    from torchvision.models import ShuffleNet_V2_X0_5_Weights as Enum

    published("shufflenet_v2_x0_5")
    kept = fetch(Enum.DEFAULT)
    content = kept.read_bytes()
    kept.unlink()
    monkeypatch.setattr("torch.hub.urlopen", lambda _: Answer(content[:-1]))
    with pytest.raises(ConfigError, match="invalid hash value"):
        fetch(Enum.DEFAULT)
    assert list(kept.parent.iterdir()) == []
    monkeypatch.setattr("tlfw.backbones.download._FAILED", {})  # some time later
    (kept.parent / f"{kept.name}.0123.partial").write_bytes(content[:-1])  # of a process that was killed
    monkeypatch.setattr("torch.hub.urlopen", lambda _: Answer(content))
    assert fetch(Enum.DEFAULT).read_bytes() == content
    monkeypatch.setattr("torch.hub.urlopen", lambda _: pytest.fail("downloaded again"))
    fetch(Enum.DEFAULT)
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match=r"is damaged: .* Delete it"):
        fetch(Enum.DEFAULT)
